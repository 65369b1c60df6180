"""Tokens to sign in with. See `projecthub.store.tables`."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Table

from projecthub.store.tables._columns import KEY, Moment, metadata, reference

sign_in_tokens = Table(
    "sign_in_tokens",
    metadata,
    Column("hash", KEY, primary_key=True),
    reference("account_id", "accounts.account_id", nullable=False, index=True),
    reference("created_by", "accounts.account_id", nullable=False, index=True),
    Column("purpose", KEY, nullable=False),
    Column("created_at", Moment, nullable=False),
    Column("expires_at", Moment, nullable=False, index=True),
    sqlite_with_rowid=False,
)

sign_in_keys = Table(
    "sign_in_keys",
    metadata,
    Column("key_id", BigInteger, primary_key=True, autoincrement=False),
    reference("token_hash", "sign_in_tokens.hash", nullable=False, index=True),
    sqlite_with_rowid=False,
)
"""API keys that were got for a token, and end with it. A key may be gone before: its number is never used again."""
