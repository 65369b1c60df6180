"""Invitations, and mail. See `projecthub.store.tables`."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Index, Integer, Table, Text, text

from projecthub.store.tables._columns import KEY, SERIAL, Moment, metadata, reference

project_invite_tokens = Table(
    "project_invite_tokens",
    metadata,
    Column("token", KEY, primary_key=True),
    reference("project_id", "projects.project_id", nullable=False),
    reference("account_id", "accounts.account_id", nullable=False, index=True),
    Column("role", KEY, nullable=False),
    Column("email_address", KEY),
    Column("created_at", Moment, nullable=False),
    Column("expires_at", Moment),
    Column("usage_limit", BigInteger),
    Column("counter", BigInteger, nullable=False, default=0),
    Index("ix_project_invite_tokens_project_id", "project_id", "created_at"),
    sqlite_with_rowid=False,
)
"""What lets its holder onto a project. One with an address (in lower case) also invites whoever
gets an account with it."""
Index(
    "ix_project_invite_tokens_email_address",
    project_invite_tokens.c.email_address,
    sqlite_where=project_invite_tokens.c.email_address.is_not(None),
    postgresql_where=project_invite_tokens.c.email_address.is_not(None),
)
Index("ix_project_invite_tokens_expires_at", project_invite_tokens.c.expires_at)

mails = Table(
    "mails",
    metadata,
    Column("id", SERIAL, primary_key=True),
    reference("account_id", "accounts.account_id", nullable=False),
    reference("project_id", "projects.project_id"),
    Column("message_id", Text, nullable=False),
    Column("to_address", KEY, nullable=False),
    Column("reply_to", Text),
    Column("subject", Text, nullable=False),
    Column("body", Text, nullable=False),
    Column("created_at", Moment, nullable=False),
    Column("state", KEY, nullable=False),
    Column("attempts", Integer, nullable=False, default=0),
    Column("next_at", Moment),
    Column("error", Text),
    Index("ix_mails_account_id", "account_id", "created_at"),
    Index("ix_mails_project_id", "project_id", "to_address", "created_at"),
    Index("ix_mails_to_address", "to_address", "created_at"),
    Index("ix_mails_created_at", "created_at"),
    sqlite_autoincrement=True,
)
"""Mail that is to be sent, and for a while what became of it; addresses in lower case."""
Index(
    "ix_mails_next_at",
    mails.c.next_at,
    sqlite_where=mails.c.state == text("'waiting'"),
    postgresql_where=mails.c.state == text("'waiting'"),
)
