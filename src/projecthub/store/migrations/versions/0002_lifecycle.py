"""What the life of projects needs: deaths and the next attempt, signs of use, licenses in use."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

KEY = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    op.add_column("projects", sa.Column("crashes", sa.Integer(), nullable=False, server_default="0"))
    op.add_column("projects", sa.Column("retry_at", sa.BigInteger()))
    op.add_column("projects", sa.Column("active_at", sa.BigInteger()))
    running = sa.text("desired = 'running'")
    op.create_index("ix_projects_desired", "projects", ["desired"], sqlite_where=running, postgresql_where=running)
    op.add_column("licenses", sa.Column("description", sa.Text(), nullable=False, server_default=""))
    op.create_table(
        "license_uses",
        sa.Column("license_id", KEY, nullable=False),
        sa.Column("project_id", KEY, nullable=False),
        sa.PrimaryKeyConstraint("license_id", "project_id", name="pk_license_uses"),
        sa.ForeignKeyConstraint(["license_id"], ["licenses.id"], name="fk_license_uses_license_id"),
        sa.ForeignKeyConstraint(["project_id"], ["projects.project_id"], name="fk_license_uses_project_id"),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_license_uses_project_id", "license_uses", ["project_id"])
