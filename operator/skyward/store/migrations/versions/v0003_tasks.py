"""What is promised of a task, what it used, and its attempts one by one."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    for name, kind, default in (
        ("policy", sa.String(), ""),
        ("ttl_s", sa.Float(), "3600"),
        ("seconds", sa.Float(), "0"),
        ("cost_usd", sa.Float(), "0"),
        ("pool_generation", sa.Integer(), "0"),
        ("template_hash", sa.String(), ""),
    ):
        op.add_column("tasks", sa.Column(name, kind, nullable=False, server_default=default))
    op.drop_index("ix_tasks_finished_at", "tasks")
    op.create_index("ix_tasks_finished_at", "tasks", ["finished_at", "ttl_s"])
    op.add_column("items", sa.Column("seconds", sa.Float(), nullable=True))
    op.add_column("items", sa.Column("ready_at", sa.Float(), nullable=True))
    op.add_column("items", sa.Column("leased_at", sa.Float(), nullable=True))
    op.create_table(
        "attempts",
        *(sa.Column(name, sa.Integer(), nullable=False) for name in ("task", "item", "attempt")),
        sa.Column("node", sa.String(), nullable=False),
        sa.Column("outcome", sa.String(), nullable=False),
        sa.Column("at", sa.Float(), nullable=False),
        sa.Column("seconds", sa.Float(), nullable=False),
        sa.Column("failure", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("task", "item", "attempt"),
        sqlite_with_rowid=False,
    )
