"""Copies from many projects or to many."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

KEY = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
VALUE = sa.JSON().with_variant(JSONB(), "postgresql")


def upgrade() -> None:
    _create_operations()
    _create_targets()
    _create_handouts()


def _create_operations() -> None:
    op.create_table(
        "copy_operations",
        sa.Column("id", KEY, nullable=False),
        sa.Column("account_id", KEY, nullable=False),
        sa.Column("state", KEY, nullable=False),
        sa.Column("policy", KEY, nullable=False),
        sa.Column("options", VALUE, nullable=False),
        sa.Column("applies", sa.Boolean(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("updated_at", sa.BigInteger(), nullable=False),
        sa.Column("finished_at", sa.BigInteger()),
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
        sa.Column("undo_until", sa.BigInteger()),
        sa.Column("totals", VALUE, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_copy_operations"),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.account_id"], name="fk_copy_operations_account_id"),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_copy_operations_account_id", "copy_operations", ["account_id", "created_at", "id"])
    op.create_index("ix_copy_operations_expires_at", "copy_operations", ["expires_at"])
    for name, column, where in (
        ("open", "state", "state IN ('planning', 'running')"),
        ("undo_until", "undo_until", "undo_until IS NOT NULL"),
    ):
        op.create_index(
            f"ix_copy_operations_{name}",
            "copy_operations",
            [column],
            sqlite_where=sa.text(where),
            postgresql_where=sa.text(where),
        )


def _create_targets() -> None:
    op.create_table(
        "copy_targets",
        sa.Column("operation_id", KEY, nullable=False),
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("source_project_id", KEY, nullable=False),
        sa.Column("source_path", sa.Text(), nullable=False),
        sa.Column("target_project_id", KEY, nullable=False),
        sa.Column("target_path", sa.Text(), nullable=False),
        sa.Column("state", KEY, nullable=False),
        sa.Column("manifest", KEY),
        sa.Column("base", KEY),
        sa.Column("summary", VALUE),
        sa.Column("error", sa.Text()),
        sa.Column("error_code", KEY),
        sa.Column("kept_bytes", sa.BigInteger()),
        sa.PrimaryKeyConstraint("operation_id", "number", name="pk_copy_targets"),
        sa.ForeignKeyConstraint(["operation_id"], ["copy_operations.id"], name="fk_copy_targets_operation_id"),
        sqlite_with_rowid=False,
    )
    for column in ("source_project_id", "target_project_id"):
        op.create_index(f"ix_copy_targets_{column}", "copy_targets", [column, "operation_id"])
    op.create_index("ix_copy_targets_base", "copy_targets", ["base"])
    op.create_index(
        "ix_copy_targets_kept",
        "copy_targets",
        ["target_project_id", "operation_id"],
        sqlite_where=sa.text("kept_bytes IS NOT NULL"),
        postgresql_where=sa.text("kept_bytes IS NOT NULL"),
    )


def _create_handouts() -> None:
    op.create_table(
        "handouts",
        sa.Column("project_id", KEY, nullable=False),
        sa.Column("path", sa.Text(), nullable=False),
        sa.Column("manifest", KEY, nullable=False),
        sa.Column("handed_out_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("project_id", "path", name="pk_handouts"),
        sa.ForeignKeyConstraint(["project_id"], ["projects.project_id"], name="fk_handouts_project_id"),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_handouts_manifest", "handouts", ["manifest"])
