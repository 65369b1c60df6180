"""Who used which file last; where to look for accounts by parts of their names."""

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
    op.create_table(
        "name_parts",
        sa.Column("part", KEY, nullable=False),
        sa.Column("account_id", KEY, nullable=False),
        sa.PrimaryKeyConstraint("part", "account_id", name="pk_name_parts"),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.account_id"], name="fk_name_parts_account_id"),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_name_parts_account_id", "name_parts", ["account_id"])
    seen_at: sa.ColumnElement[int] = sa.func.coalesce(sa.column("last_active_at"), sa.column("created_at"))
    op.create_index("ix_accounts_seen_at", "accounts", [seen_at, "account_id"])
    _note_names()


def _note_names() -> None:
    """Keep the parts of the names of those who are there already."""
    connection = op.get_bind()
    accounts = sa.table("accounts", *map(sa.column, ("account_id", "first_name", "last_name", "name")))
    parts = sa.table("name_parts", sa.column("part"), sa.column("account_id"))
    after = ""
    while page := connection.execute(
        sa.select(accounts).where(accounts.c.account_id > after).order_by(accounts.c.account_id).limit(1000)
    ).all():
        rows = [{"part": part, "account_id": row[0]} for row in page for part in _parts(*row[1:])]
        if rows:
            connection.execute(parts.insert(), rows)
        after = page[-1][0]


def _parts(first_name: str, last_name: str, name: str | None) -> set[str]:
    names = (first_name.lower(), last_name.lower(), "" if name is None else f"@{name.lower()}")
    return {text[start : start + 3] for text in names for start in range(len(text))}
