"""Histories of files. See `projecthub.store.tables`."""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, Column, Index, Integer, LargeBinary, Table, Text

from projecthub.store.tables._columns import KEY, VALUE, Moment, metadata, reference

histories = Table(
    "histories",
    metadata,
    Column("id", KEY, primary_key=True),  # follows from project and path
    reference("project_id", "projects.project_id", nullable=False),
    Column("path", Text, nullable=False),
    Column("first_seq", Integer, nullable=False),
    Column("snapshot_seq", Integer, nullable=False),
    Column("last_seq", Integer, nullable=False),
    Column("first_at", Moment, nullable=False),
    Column("last_at", Moment, nullable=False),
    Column("digest", KEY, nullable=False),
    Column("mark", KEY, nullable=False),
    Column("stored_bytes", BigInteger, nullable=False),
    Column("text_bytes", BigInteger, nullable=False),
    Index("ix_histories_project_id", "project_id", "first_at"),
)
"""Text files that were seen to change. ``digest`` is of the newest text, ``mark`` says what was written down last."""

history_versions = Table(
    "history_versions",
    metadata,
    reference("history_id", "histories.id", primary_key=True),
    Column("seq", Integer, primary_key=True, autoincrement=False),
    Column("at", Moment, nullable=False),
    Column("account_id", KEY),
    Column("event", KEY, nullable=False),
    Column("is_snapshot", Boolean, nullable=False),
    Column("data", LargeBinary, nullable=False),
    Column("text_bytes", BigInteger, nullable=False),
)
"""Their states, as compressed patches or, of a snapshot, texts; see `projecthub.hub.versions`."""

history_sizes = Table(
    "history_sizes",
    metadata,
    reference("project_id", "projects.project_id", primary_key=True),
    Column("stored_bytes", BigInteger, nullable=False),
    Column("taken", VALUE, nullable=False, default=list),
    sqlite_with_rowid=False,
)
"""What the histories of a project take, and the names of the journals that were written down last."""
