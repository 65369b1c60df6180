"""What keys may do and how often, sessions of people, and the site admins at hand."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

VALUE = sa.JSON().with_variant(JSONB(), "postgresql")


def upgrade() -> None:
    op.add_column("api_keys", sa.Column("scopes", VALUE))
    op.add_column("api_keys", sa.Column("calls_per_minute", sa.Integer()))
    op.add_column("api_keys", sa.Column("is_session", sa.Boolean(), nullable=False, server_default=sa.false()))
    op.create_index(
        "ix_accounts_is_admin",
        "accounts",
        ["is_admin", "created_at"],
        sqlite_where=sa.text("is_admin = 1"),
        postgresql_where=sa.text("is_admin"),
    )
