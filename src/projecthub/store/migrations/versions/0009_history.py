"""Histories of text files, and their versions."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

VALUE = sa.JSON().with_variant(JSONB(), "postgresql")
KEY = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    op.create_table(
        "histories",
        sa.Column("id", KEY, nullable=False),
        sa.Column("project_id", KEY, nullable=False),
        sa.Column("path", sa.Text(), nullable=False),
        sa.Column("first_seq", sa.Integer(), nullable=False),
        sa.Column("snapshot_seq", sa.Integer(), nullable=False),
        sa.Column("last_seq", sa.Integer(), nullable=False),
        sa.Column("first_at", sa.BigInteger(), nullable=False),
        sa.Column("last_at", sa.BigInteger(), nullable=False),
        sa.Column("digest", KEY, nullable=False),
        sa.Column("mark", KEY, nullable=False),
        sa.Column("stored_bytes", sa.BigInteger(), nullable=False),
        sa.Column("text_bytes", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_histories"),
        sa.ForeignKeyConstraint(["project_id"], ["projects.project_id"], name="fk_histories_project_id"),
    )
    op.create_index("ix_histories_project_id", "histories", ["project_id", "first_at"])
    op.create_table(
        "history_versions",
        sa.Column("history_id", KEY, nullable=False),
        sa.Column("seq", sa.Integer(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("account_id", KEY),
        sa.Column("event", KEY, nullable=False),
        sa.Column("is_snapshot", sa.Boolean(), nullable=False),
        sa.Column("data", sa.LargeBinary(), nullable=False),
        sa.Column("text_bytes", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("history_id", "seq", name="pk_history_versions"),
        sa.ForeignKeyConstraint(["history_id"], ["histories.id"], name="fk_history_versions_history_id"),
    )
    op.create_table(
        "history_sizes",
        sa.Column("project_id", KEY, nullable=False),
        sa.Column("stored_bytes", sa.BigInteger(), nullable=False),
        sa.Column("taken", VALUE, nullable=False),
        sa.PrimaryKeyConstraint("project_id", name="pk_history_sizes"),
        sa.ForeignKeyConstraint(["project_id"], ["projects.project_id"], name="fk_history_sizes_project_id"),
        sqlite_with_rowid=False,
    )
