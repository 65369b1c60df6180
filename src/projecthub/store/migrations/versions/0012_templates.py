"""Projects that new ones can begin as, and an index of the shares that everybody may browse."""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

KEY = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    op.create_table(
        "templates",
        sa.Column("project_id", KEY, nullable=False),
        sa.Column("everybody", sa.Boolean(), nullable=False),
        sa.Column("set_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("project_id", name="pk_templates"),
        sa.ForeignKeyConstraint(["project_id"], ["projects.project_id"], name="fk_templates_project_id"),
        sqlite_with_rowid=False,
    )
    op.create_index(
        "ix_templates_everybody",
        "templates",
        ["everybody"],
        sqlite_where=sa.text("everybody = 1"),
        postgresql_where=sa.text("everybody"),
    )
    op.create_index(
        "ix_public_paths_listed",
        "public_paths",
        ["last_edited_at", "id"],
        sqlite_where=sa.text("disabled = 0 AND unlisted = 0 AND vhost IS NULL"),
        postgresql_where=sa.text("NOT disabled AND NOT unlisted AND vhost IS NULL"),
    )
