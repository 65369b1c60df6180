"""Organizations. See `projecthub.store.tables`."""

from __future__ import annotations

from sqlalchemy import Column, Index, Table, Text, func, text

from projecthub.store.tables._columns import KEY, Moment, flag, metadata, reference

organizations = Table(
    "organizations",
    metadata,
    Column("organization_id", KEY, primary_key=True),
    Column("name", KEY, nullable=False),
    Column("title", Text),
    Column("description", Text),
    Column("link", Text),
    Column("email_address", Text),
    Column("created_at", Moment, nullable=False),
)
Index("ix_organizations_name", func.lower(organizations.c.name), unique=True)

organization_members = Table(
    "organization_members",
    metadata,
    reference("account_id", "accounts.account_id", primary_key=True),
    reference("organization_id", "organizations.organization_id", nullable=False),
    flag("is_admin"),
    Column("added_at", Moment, nullable=False),
    Index("ix_organization_members_organization_id", "organization_id", "account_id"),
    sqlite_with_rowid=False,
)
"""The account alone is the key: nobody is in two organizations."""
Index(
    "ix_organization_members_admins",
    organization_members.c.organization_id,
    sqlite_where=text("is_admin = 1"),
    postgresql_where=organization_members.c.is_admin,
)
