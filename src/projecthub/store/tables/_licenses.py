"""Licenses. See `projecthub.store.tables`."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Table, Text

from projecthub.store.tables._columns import KEY, VALUE, Moment, metadata, reference

licenses = Table(
    "licenses",
    metadata,
    Column("id", KEY, primary_key=True),
    Column("title", Text, nullable=False),
    Column("quota", VALUE, nullable=False),
    Column("run_limit", BigInteger),
    Column("activates_at", Moment),
    Column("expires_at", Moment),
    Column("created_at", Moment, nullable=False),
    Column("description", Text, nullable=False, default="", server_default=""),
)

license_uses = Table(
    "license_uses",
    metadata,
    reference("license_id", "licenses.id", primary_key=True),
    reference("project_id", "projects.project_id", primary_key=True, index=True),
    sqlite_with_rowid=False,
)
"""Which licenses a project was last started with; they are in use as long as it runs."""
