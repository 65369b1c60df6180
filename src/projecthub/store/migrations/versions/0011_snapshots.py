"""Snapshots of homes."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

KEY = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    op.create_table(
        "snapshots",
        sa.Column("id", KEY, nullable=False),
        sa.Column("project_id", KEY, nullable=False),
        sa.Column("account_id", KEY),
        sa.Column("title", sa.Text(), nullable=False),
        sa.Column("automatic", sa.Boolean(), nullable=False),
        *(sa.Column(name, sa.BigInteger(), nullable=False) for name in ("files", "bytes", "own_bytes")),
        *(sa.Column(name, sa.BigInteger(), nullable=False) for name in ("skipped", "changing", "created_at")),
        sa.Column("expires_at", sa.BigInteger()),
        sa.PrimaryKeyConstraint("id", name="pk_snapshots"),
        sa.ForeignKeyConstraint(["project_id"], ["projects.project_id"], name="fk_snapshots_project_id"),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.account_id"], name="fk_snapshots_account_id"),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_snapshots_project_id", "snapshots", ["project_id", "created_at"])
    _create_partial_index("snapshots", "expires_at")
    op.create_table(
        "snapshot_homes",
        sa.Column("project_id", KEY, nullable=False),
        sa.Column("used_bytes", sa.BigInteger(), nullable=False),
        sa.Column("looked_at", sa.BigInteger()),
        sa.Column("due_at", sa.BigInteger()),
        sa.PrimaryKeyConstraint("project_id", name="pk_snapshot_homes"),
        sa.ForeignKeyConstraint(["project_id"], ["projects.project_id"], name="fk_snapshot_homes_project_id"),
        sqlite_with_rowid=False,
    )
    _create_partial_index("snapshot_homes", "due_at")


def _create_partial_index(table: str, column: str) -> None:
    where = sa.text(f"{column} IS NOT NULL")
    op.create_index(f"ix_{table}_{column}", table, [column], sqlite_where=where, postgresql_where=where)
