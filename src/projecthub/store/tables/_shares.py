"""What projects share. See `projecthub.store.tables`."""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, Column, Index, Table, Text, text

from projecthub.store.tables._columns import KEY, Moment, flag, metadata, reference

public_paths = Table(
    "public_paths",
    metadata,
    Column("id", KEY, primary_key=True),
    reference("project_id", "projects.project_id", nullable=False, index=True),
    Column("path", Text, nullable=False),
    Column("name", Text),
    Column("description", Text),
    flag("disabled"),
    flag("unlisted"),
    flag("authenticated"),
    Column("vhost", Text),
    Column("license", Text),
    Column("created_at", Moment, nullable=False),
    Column("last_edited_at", Moment, nullable=False),
    Column("last_saved_at", Moment),
    Column("counter", BigInteger, nullable=False, default=0),
    Column("compute_image", Text),
    Column("site_license_id", Text),
    Column("url", Text),
    Column("redirect", Text),
    Column("jupyter_api", Boolean),
    Column("image", Text),
    Column("token", Text),
)
Index(
    "ix_public_paths_listed",
    public_paths.c.last_edited_at,
    public_paths.c.id,
    sqlite_where=text("disabled = 0 AND unlisted = 0 AND vhost IS NULL"),
    postgresql_where=text("NOT disabled AND NOT unlisted AND vhost IS NULL"),
)
