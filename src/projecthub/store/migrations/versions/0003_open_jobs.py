"""Jobs whose end is still to be noted in their project's log."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

KEY = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    op.create_table(
        "open_jobs",
        sa.Column("project_id", KEY, nullable=False),
        sa.Column("job_id", KEY, nullable=False),
        sa.Column("account_id", KEY, nullable=False),
        sa.Column("started_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("project_id", "job_id", name="pk_open_jobs"),
        sa.ForeignKeyConstraint(["project_id"], ["projects.project_id"], name="fk_open_jobs_project_id"),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.account_id"], name="fk_open_jobs_account_id"),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_open_jobs_account_id", "open_jobs", ["account_id"])
