"""Organizations, messages, sign-in tokens."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

KEY = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
VALUE = sa.JSON().with_variant(JSONB(), "postgresql")
SERIAL = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    _create_organizations()
    _create_organization_members()
    _create_messages()
    _create_message_copies()
    _create_sign_in_tokens()
    _create_sign_in_keys()


def _create_organizations() -> None:
    op.create_table(
        "organizations",
        sa.Column("organization_id", KEY, nullable=False),
        sa.Column("name", KEY, nullable=False),
        sa.Column("title", sa.Text()),
        sa.Column("description", sa.Text()),
        sa.Column("link", sa.Text()),
        sa.Column("email_address", sa.Text()),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("organization_id", name="pk_organizations"),
    )
    op.create_index("ix_organizations_name", "organizations", [sa.text("lower(name)")], unique=True)


def _create_organization_members() -> None:
    op.create_table(
        "organization_members",
        sa.Column("account_id", KEY, nullable=False),
        sa.Column("organization_id", KEY, nullable=False),
        sa.Column("is_admin", sa.Boolean(), nullable=False),
        sa.Column("added_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("account_id", name="pk_organization_members"),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.account_id"], name="fk_organization_members_account_id"),
        sa.ForeignKeyConstraint(
            ["organization_id"], ["organizations.organization_id"], name="fk_organization_members_organization_id"
        ),
        sqlite_with_rowid=False,
    )
    op.create_index(
        "ix_organization_members_organization_id", "organization_members", ["organization_id", "account_id"]
    )
    op.create_index(
        "ix_organization_members_admins",
        "organization_members",
        ["organization_id"],
        sqlite_where=sa.text("is_admin = 1"),
        postgresql_where=sa.text("is_admin"),
    )


def _create_messages() -> None:
    op.create_table(
        "messages",
        sa.Column("id", SERIAL, nullable=False),
        sa.Column("from_id", KEY, nullable=False),
        sa.Column("to_ids", VALUE),
        sa.Column("organization", KEY),
        sa.Column("thread_id", sa.BigInteger()),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("sent_at", sa.BigInteger(), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_messages"),
        sa.ForeignKeyConstraint(["from_id"], ["accounts.account_id"], name="fk_messages_from_id"),
        sqlite_autoincrement=True,
    )


def _create_message_copies() -> None:
    flags = ("is_recipient", "is_sender", "read", "saved", "starred", "liked", "deleted")
    op.create_table(
        "message_copies",
        sa.Column("account_id", KEY, nullable=False),
        sa.Column("message_id", sa.BigInteger(), nullable=False),
        *(sa.Column(name, sa.Boolean(), nullable=False) for name in flags),
        sa.PrimaryKeyConstraint("account_id", "message_id", name="pk_message_copies"),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.account_id"], name="fk_message_copies_account_id"),
        sa.ForeignKeyConstraint(["message_id"], ["messages.id"], name="fk_message_copies_message_id"),
        sqlite_with_rowid=False,
    )
    op.create_index(
        "ix_message_copies_unread",
        "message_copies",
        ["account_id", "message_id"],
        sqlite_where=sa.text("is_recipient = 1 AND read = 0 AND saved = 0 AND deleted = 0"),
        postgresql_where=sa.text("is_recipient AND NOT read AND NOT saved AND NOT deleted"),
    )


def _create_sign_in_tokens() -> None:
    op.create_table(
        "sign_in_tokens",
        sa.Column("hash", KEY, nullable=False),
        sa.Column("account_id", KEY, nullable=False),
        sa.Column("created_by", KEY, nullable=False),
        sa.Column("purpose", KEY, nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("hash", name="pk_sign_in_tokens"),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.account_id"], name="fk_sign_in_tokens_account_id"),
        sa.ForeignKeyConstraint(["created_by"], ["accounts.account_id"], name="fk_sign_in_tokens_created_by"),
        sqlite_with_rowid=False,
    )
    for column in ("account_id", "created_by", "expires_at"):
        op.create_index(f"ix_sign_in_tokens_{column}", "sign_in_tokens", [column])


def _create_sign_in_keys() -> None:
    op.create_table(
        "sign_in_keys",
        sa.Column("key_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("token_hash", KEY, nullable=False),
        sa.PrimaryKeyConstraint("key_id", name="pk_sign_in_keys"),
        sa.ForeignKeyConstraint(["token_hash"], ["sign_in_tokens.hash"], name="fk_sign_in_keys_token_hash"),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_sign_in_keys_token_hash", "sign_in_keys", ["token_hash"])
