"""The audit log, which refuses changes."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

KEY = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
VALUE = sa.JSON().with_variant(JSONB(), "postgresql")
SERIAL = sa.BigInteger().with_variant(sa.Integer(), "sqlite")

SQLITE_TRIGGER = """
CREATE TRIGGER audit_log_is_append_only BEFORE UPDATE ON audit_log
BEGIN SELECT RAISE(ABORT, 'audit_log is append-only'); END
"""
POSTGRESQL_FUNCTION = """
CREATE FUNCTION audit_log_is_append_only() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN RAISE EXCEPTION 'audit_log is append-only'; END $$
"""
POSTGRESQL_TRIGGER = """
CREATE TRIGGER audit_log_is_append_only BEFORE UPDATE ON audit_log
FOR EACH STATEMENT EXECUTE FUNCTION audit_log_is_append_only()
"""


def upgrade() -> None:
    op.create_table(
        "audit_log",
        sa.Column("id", SERIAL, nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("began_at", sa.BigInteger(), nullable=False),
        sa.Column("account_id", KEY),
        sa.Column("key_id", sa.BigInteger()),
        sa.Column("key_kind", KEY),
        sa.Column("request_id", KEY),
        sa.Column("address", KEY),
        sa.Column("method", KEY, nullable=False),
        sa.Column("project_id", KEY),
        sa.Column("target", VALUE),
        sa.Column("outcome", KEY, nullable=False),
        sa.Column("message", sa.Text()),
        sa.Column("times", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_audit_log"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_audit_log_at", "audit_log", ["at", "id"])
    for column in ("account_id", "project_id", "method", "outcome"):
        op.create_index(f"ix_audit_log_{column}", "audit_log", [column, "at", "id"])
    if op.get_bind().dialect.name == "postgresql":
        op.execute(POSTGRESQL_FUNCTION)
        op.execute(POSTGRESQL_TRIGGER)
    else:
        op.execute(SQLITE_TRIGGER)
    op.create_table(
        "audit_open",
        sa.Column("id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("began_at", sa.BigInteger(), nullable=False),
        sa.Column("call", VALUE, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_audit_open"),
        sqlite_with_rowid=False,
    )
