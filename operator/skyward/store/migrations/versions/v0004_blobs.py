"""Which task names which blob."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    op.create_table(
        "blob_refs",
        sa.Column("task", sa.Integer(), nullable=False),
        sa.Column("digest", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("task", "digest"),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_blob_refs_digest", "blob_refs", ["digest"])
