"""Messages. See `projecthub.store.tables`."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, ForeignKey, Index, Table, Text

from projecthub.store.tables._columns import KEY, SERIAL, VALUE, Moment, flag, metadata, reference

messages = Table(
    "messages",
    metadata,
    Column("id", SERIAL, primary_key=True),
    reference("from_id", "accounts.account_id", nullable=False),
    Column("to_ids", VALUE),
    Column("organization", KEY),
    Column("thread_id", BigInteger),
    Column("subject", Text, nullable=False),
    Column("sent_at", Moment, nullable=False),
    Column("body", Text, nullable=False),
    sqlite_autoincrement=True,
)
"""What was written, once. ``to_ids`` is null if it went to all members of ``organization``, a name."""

message_copies = Table(
    "message_copies",
    metadata,
    reference("account_id", "accounts.account_id", primary_key=True),
    Column("message_id", BigInteger, ForeignKey("messages.id"), primary_key=True),
    flag("is_recipient"),
    flag("is_sender"),
    flag("read"),
    flag("saved"),
    flag("starred"),
    flag("liked"),
    flag("deleted"),
    sqlite_with_rowid=False,
)
"""A message as one account has it, its sender included: their own flags, side by side with their other messages."""
_unread = message_copies.c.is_recipient & ~message_copies.c.read & ~message_copies.c.saved & ~message_copies.c.deleted
Index(
    "ix_message_copies_unread",
    message_copies.c.account_id,
    message_copies.c.message_id,
    sqlite_where=_unread,
    postgresql_where=_unread,
)
