"""Who used which file last."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0006"
down_revision = "0004"
branch_labels = None
depends_on = None

KEY = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
VALUE = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")


def upgrade() -> None:
    op.create_table(
        "file_use",
        sa.Column("id", KEY, nullable=False),
        sa.Column("project_id", KEY, nullable=False),
        sa.Column("path", sa.Text(), nullable=False),
        sa.Column("users", VALUE, nullable=False),
        sa.Column("last_edited_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_file_use"),
        sa.ForeignKeyConstraint(["project_id"], ["projects.project_id"], name="fk_file_use_project_id"),
    )
    op.create_index("ix_file_use_project_id", "file_use", ["project_id", "last_edited_at"])
