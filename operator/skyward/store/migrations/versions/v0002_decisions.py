"""Decisions on record, the templates that pools had, and who leads."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    texts = ("kind", "key", "reason", "message", "inputs")
    op.create_table(
        "decisions",
        *(sa.Column(name, sa.String(), nullable=False) for name in ("uid", "verdict", "rule", "target")),
        sa.Column("at", sa.Float(), nullable=False),
        sa.Column("until", sa.Float(), nullable=True),
        *(sa.Column(name, sa.String(), nullable=False) for name in texts),
        sa.Column("count", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("uid", "verdict", "rule", "target", "at"),
    )
    op.create_index("ix_decisions_uid", "decisions", ["uid", "at"])
    op.create_index("ix_decisions_key", "decisions", ["key", "kind"])
    op.create_index("ix_decisions_until", "decisions", ["until"])
    op.create_table(
        "revisions",
        sa.Column("pool_uid", sa.String(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("template_hash", sa.String(), nullable=False),
        sa.Column("template", sa.String(), nullable=False),
        sa.Column("created_at", sa.Float(), nullable=False),
        sa.Column("cause", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("pool_uid", "number"),
    )
    op.create_table(
        "leases",
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("holder", sa.String(), nullable=False),
        sa.Column("epoch", sa.Integer(), nullable=False),
        sa.Column("duration_s", sa.Float(), nullable=False),
        sa.Column("renewals", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("name"),
    )
