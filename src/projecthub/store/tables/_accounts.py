"""Accounts, and what they are found by. See `projecthub.store.tables`."""

from __future__ import annotations

from sqlalchemy import Column, ColumnElement, Index, Table, Text, func, text

from projecthub.store.tables._columns import KEY, VALUE, Moment, flag, metadata, reference

accounts = Table(
    "accounts",
    metadata,
    Column("account_id", KEY, primary_key=True),
    Column("email_address", KEY),
    Column("password_hash", Text),
    Column("first_name", Text, nullable=False, default=""),
    Column("last_name", Text, nullable=False, default=""),
    Column("name", KEY),
    flag("is_admin"),
    flag("unlisted"),
    flag("banned"),
    Column("profile", VALUE),
    Column("preferences", VALUE, nullable=False, default=dict),
    Column("created_at", Moment, nullable=False),
    Column("last_active_at", Moment),
    Column("deleted_at", Moment),
)
Index(
    "ix_accounts_email_address",
    func.lower(accounts.c.email_address),
    unique=True,
    sqlite_where=accounts.c.deleted_at.is_(None),
    postgresql_where=accounts.c.deleted_at.is_(None),
)
Index("ix_accounts_name", func.lower(accounts.c.name), unique=True)
Index("ix_accounts_created_at", accounts.c.created_at)
Index(
    "ix_accounts_is_admin",
    accounts.c.is_admin,
    accounts.c.created_at,
    sqlite_where=text("is_admin = 1"),
    postgresql_where=text("is_admin"),
)

name_parts = Table(
    "name_parts",
    metadata,
    Column("part", KEY, primary_key=True),
    reference("account_id", "accounts.account_id", primary_key=True),
    Index("ix_name_parts_account_id", "account_id"),
    sqlite_with_rowid=False,
)
"""Where to look for an account whose names have a word in them; kept by `name_parts`."""

SEEN_AT: ColumnElement[int] = func.coalesce(accounts.c.last_active_at, accounts.c.created_at)
"""When somebody was seen last; nobody is before his account is made."""
Index("ix_accounts_seen_at", SEEN_AT, accounts.c.account_id)
