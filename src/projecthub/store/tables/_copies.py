"""Copies from many projects or to many. See `projecthub.store.tables`."""

from __future__ import annotations

import json
from collections.abc import Callable

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Dialect,
    ForeignKey,
    Index,
    Integer,
    Table,
    Text,
    TypeDecorator,
    text,
)

from projecthub.store.tables._columns import KEY, VALUE, Moment, metadata


class PathText(TypeDecorator[str]):
    r"""A path as Python has it, kept as ASCII: names of any bytes hold half surrogates, which no database takes."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        """To ASCII."""
        return None if value is None else json.dumps(value)[1:-1]

    def result_processor(self, dialect: Dialect, coltype: object) -> Callable[[str | None], str | None]:
        """From ASCII."""
        return _path


def _path(value: str | None) -> str | None:
    return None if value is None else str(json.loads(f'"{value}"'))


copy_operations = Table(
    "copy_operations",
    metadata,
    Column("id", KEY, primary_key=True),
    Column("account_id", KEY, ForeignKey("accounts.account_id"), nullable=False),
    Column("state", KEY, nullable=False),
    Column("policy", KEY, nullable=False),
    Column("options", VALUE, nullable=False),
    Column("applies", Boolean, nullable=False),
    Column("created_at", Moment, nullable=False),
    Column("updated_at", Moment, nullable=False),
    Column("finished_at", Moment),
    Column("expires_at", Moment, nullable=False, index=True),
    Column("undo_until", Moment),
    Column("totals", VALUE, nullable=False),
    Index("ix_copy_operations_account_id", "account_id", "created_at", "id"),
    sqlite_with_rowid=False,
)
"""Copies that are planned, under way, or done. ``applies``: whether the plan is to be applied, or was."""
Index(
    "ix_copy_operations_open",
    copy_operations.c.state,
    sqlite_where=text("state IN ('planning', 'running')"),
    postgresql_where=text("state IN ('planning', 'running')"),
)
Index(
    "ix_copy_operations_undo_until",
    copy_operations.c.undo_until,
    sqlite_where=copy_operations.c.undo_until.is_not(None),
    postgresql_where=copy_operations.c.undo_until.is_not(None),
)

copy_targets = Table(
    "copy_targets",
    metadata,
    Column("operation_id", KEY, ForeignKey("copy_operations.id"), primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("source_project_id", KEY, nullable=False),
    Column("source_path", PathText, nullable=False),
    Column("target_project_id", KEY, nullable=False),
    Column("target_path", PathText, nullable=False),
    Column("state", KEY, nullable=False),
    Column("manifest", KEY),
    Column("base", KEY),
    Column("summary", VALUE),
    Column("error", Text),
    Column("error_code", KEY),
    Column("kept_bytes", BigInteger),
    Index("ix_copy_targets_source_project_id", "source_project_id", "operation_id"),
    Index("ix_copy_targets_target_project_id", "target_project_id", "operation_id"),
    Index("ix_copy_targets_base", "base"),
    sqlite_with_rowid=False,
)
"""One source and one target of an operation, from 0 on. Its projects may be none that there are: it is refused then.

``manifest`` and ``base`` name lists of what a source held: now, and when it was copied to that place last.
``kept_bytes``: what it takes to undo it; null: it cannot be undone.
"""
Index(
    "ix_copy_targets_kept",
    copy_targets.c.target_project_id,
    copy_targets.c.operation_id,
    sqlite_where=copy_targets.c.kept_bytes.is_not(None),
    postgresql_where=copy_targets.c.kept_bytes.is_not(None),
)

handouts = Table(
    "handouts",
    metadata,
    Column("project_id", KEY, ForeignKey("projects.project_id"), primary_key=True),
    Column("path", PathText, primary_key=True),
    Column("manifest", KEY, nullable=False, index=True),
    Column("handed_out_at", Moment, nullable=False),
    sqlite_with_rowid=False,
)
"""What was copied to a place last: what people have changed there since is told by it."""
