"""Invitations to projects, and mail that is to be sent."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

KEY = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
SERIAL = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    _create_project_invite_tokens()
    _create_mails()


def _create_project_invite_tokens() -> None:
    tokens = "project_invite_tokens"
    op.create_table(
        tokens,
        sa.Column("token", KEY, nullable=False),
        sa.Column("project_id", KEY, nullable=False),
        sa.Column("account_id", KEY, nullable=False),
        sa.Column("role", KEY, nullable=False),
        sa.Column("email_address", KEY),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("expires_at", sa.BigInteger()),
        sa.Column("usage_limit", sa.BigInteger()),
        sa.Column("counter", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("token", name=f"pk_{tokens}"),
        sa.ForeignKeyConstraint(["project_id"], ["projects.project_id"], name=f"fk_{tokens}_project_id"),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.account_id"], name=f"fk_{tokens}_account_id"),
        sqlite_with_rowid=False,
    )
    op.create_index(f"ix_{tokens}_account_id", tokens, ["account_id"])
    op.create_index(f"ix_{tokens}_project_id", tokens, ["project_id", "created_at"])
    op.create_index(f"ix_{tokens}_expires_at", tokens, ["expires_at"])
    addressed = sa.text("email_address IS NOT NULL")
    op.create_index(
        f"ix_{tokens}_email_address",
        tokens,
        ["email_address"],
        sqlite_where=addressed,
        postgresql_where=addressed,
    )


def _create_mails() -> None:
    op.create_table(
        "mails",
        sa.Column("id", SERIAL, nullable=False),
        sa.Column("account_id", KEY, nullable=False),
        sa.Column("project_id", KEY),
        sa.Column("message_id", sa.Text(), nullable=False),
        sa.Column("to_address", KEY, nullable=False),
        sa.Column("reply_to", sa.Text()),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("state", KEY, nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("next_at", sa.BigInteger()),
        sa.Column("error", sa.Text()),
        sa.PrimaryKeyConstraint("id", name="pk_mails"),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.account_id"], name="fk_mails_account_id"),
        sa.ForeignKeyConstraint(["project_id"], ["projects.project_id"], name="fk_mails_project_id"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_mails_account_id", "mails", ["account_id", "created_at"])
    op.create_index("ix_mails_project_id", "mails", ["project_id", "to_address", "created_at"])
    op.create_index("ix_mails_to_address", "mails", ["to_address", "created_at"])
    op.create_index("ix_mails_created_at", "mails", ["created_at"])
    waiting = sa.text("state = 'waiting'")
    op.create_index("ix_mails_next_at", "mails", ["next_at"], sqlite_where=waiting, postgresql_where=waiting)
