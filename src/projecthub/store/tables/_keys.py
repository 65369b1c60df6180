"""API keys, and calls that are not to be made twice. See `projecthub.store.tables`."""

from __future__ import annotations

from sqlalchemy import Boolean, Column, Integer, Table, Text, false

from projecthub.store.tables._columns import KEY, SERIAL, VALUE, Moment, metadata, reference

api_keys = Table(
    "api_keys",
    metadata,
    Column("id", SERIAL, primary_key=True),
    reference("account_id", "accounts.account_id", nullable=False, index=True),
    reference("project_id", "projects.project_id", index=True),
    Column("hash", KEY, unique=True),
    Column("trunc", Text, nullable=False, default=""),
    Column("name", Text, nullable=False),
    Column("created_at", Moment, nullable=False),
    Column("expires_at", Moment),
    Column("last_active_at", Moment),
    Column("scopes", VALUE),  # a list of abilities; null: all there are
    Column("calls_per_minute", Integer),
    Column("is_session", Boolean, nullable=False, default=False, server_default=false()),
    sqlite_autoincrement=True,  # the number is part of the key: never used again
)

idempotency_keys = Table(
    "idempotency_keys",
    metadata,
    reference("account_id", "accounts.account_id", primary_key=True),
    Column("key", KEY, primary_key=True),
    Column("fingerprint", Text, nullable=False),
    Column("result", VALUE),
    Column("created_at", Moment, nullable=False, index=True),
    sqlite_with_rowid=False,
)
