"""Snapshots of homes. See `projecthub.store.tables`."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Index, Table, Text

from projecthub.store.tables._columns import KEY, Moment, flag, metadata, reference

snapshots = Table(
    "snapshots",
    metadata,
    Column("id", KEY, primary_key=True),
    reference("project_id", "projects.project_id", nullable=False),
    reference("account_id", "accounts.account_id"),
    Column("title", Text, nullable=False, default=""),
    flag("automatic"),
    Column("files", BigInteger, nullable=False),
    Column("bytes", BigInteger, nullable=False),
    Column("own_bytes", BigInteger, nullable=False),
    Column("skipped", BigInteger, nullable=False, default=0),
    Column("changing", BigInteger, nullable=False, default=0),
    Column("created_at", Moment, nullable=False),
    Column("expires_at", Moment),
    Index("ix_snapshots_project_id", "project_id", "created_at"),
    sqlite_with_rowid=False,
)
"""Their contents lie on disk; ``own_bytes`` is what each added to those of its project when it was taken."""
Index(
    "ix_snapshots_expires_at",
    snapshots.c.expires_at,
    sqlite_where=snapshots.c.expires_at.is_not(None),
    postgresql_where=snapshots.c.expires_at.is_not(None),
)

snapshot_homes = Table(
    "snapshot_homes",
    metadata,
    reference("project_id", "projects.project_id", primary_key=True),
    Column("used_bytes", BigInteger, nullable=False, default=0),
    Column("looked_at", Moment),
    Column("due_at", Moment),
    sqlite_with_rowid=False,
)
"""What the snapshots of a project take; when the hub looked last by itself whether one is needed, and when it will."""
Index(
    "ix_snapshot_homes_due_at",
    snapshot_homes.c.due_at,
    sqlite_where=snapshot_homes.c.due_at.is_not(None),
    postgresql_where=snapshot_homes.c.due_at.is_not(None),
)
