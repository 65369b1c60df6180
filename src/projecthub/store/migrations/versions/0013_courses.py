"""Which projects are students' in which course."""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0011"
branch_labels = None
depends_on = None

KEY = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    name = "course_projects"
    op.create_table(
        name,
        sa.Column("project_id", KEY, nullable=False),
        sa.Column("course_project_id", KEY, nullable=False),
        sa.Column("student", KEY, nullable=False),
        sa.PrimaryKeyConstraint("project_id", name=f"pk_{name}"),
        sa.ForeignKeyConstraint(["project_id"], ["projects.project_id"], name=f"fk_{name}_project_id"),
        sa.ForeignKeyConstraint(["course_project_id"], ["projects.project_id"], name=f"fk_{name}_course_project_id"),
        sqlite_with_rowid=False,
    )
    op.create_index(f"ix_{name}_course_project_id", name, ["course_project_id", "student"], unique=True)
