"""The audit log: appended to, read in pages, and cut off at its old end; nothing in it is ever changed.

Every page is a range of one index, in the order of time, whatever it is filtered by: rows of one project, account,
method or outcome stand side by side in it. A second filter is looked at row by row, in a bounded number of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from sqlalchemy import BindParameter, Column, ColumnElement, Select, bindparam, delete, literal, select, text, tuple_
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.sql.expression import CompoundSelect, union_all

from projecthub.store.expressions import upserting
from projecthub.store.records import AuditFilter
from projecthub.store.selections import in_chunks
from projecthub.store.tables import KEY, Moment, audit_log, audit_open

WINDOW: Final = 20_000
"""Rows that one page looks at, at most, in search of those that fit all of several filters."""

_AFTER_ALL: Final = "\U0010ffff"
_APPEND: Final = audit_log.insert()
_BEGIN: Final = upserting(audit_open).on_conflict_do_nothing()
_END: Final = delete(audit_open).where(audit_open.c.id.in_(bindparam("ids", expanding=True)))
_LAST: Final = select(audit_open.c.id).order_by(audit_open.c.id.desc()).limit(1)
_LEFT: Final = (
    select(audit_open)
    .where(audit_open.c.id <= bindparam("up_to"))
    .order_by(audit_open.c.id)
    .limit(bindparam("at_most"))
)
_PLACE: Final = select(audit_log.c.at, audit_log.c.id).where(audit_log.c.id == bindparam("of_entry"))
_OLD: Final = (
    select(audit_log.c.id)
    .where(audit_log.c.at < bindparam("before"))
    .order_by(audit_log.c.at, audit_log.c.id)
    .limit(bindparam("at_most"))
)
_DELETE: Final[Any] = delete(audit_log).where(audit_log.c.id.in_(bindparam("ids", expanding=True)))
# From each method to the next one, by way of the index: there are few, and millions of rows.
_METHODS: Final = text(
    "WITH RECURSIVE found(method) AS ("
    "SELECT min(method) FROM audit_log WHERE method >= :first AND method < :last "
    "UNION ALL SELECT (SELECT min(method) FROM audit_log WHERE method > found.method AND method < :last) "
    "FROM found WHERE found.method IS NOT NULL) "
    "SELECT method FROM found WHERE method IS NOT NULL"
).bindparams(bindparam("first", type_=KEY), bindparam("last", type_=KEY))

_Rows = Select[Any] | CompoundSelect[Any]


class Audit:
    """The audit log, within a transaction."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def begin(self, calls: Sequence[tuple[int, datetime, Mapping[str, Any]]]) -> None:
        """Put down calls that are about to change something: a number that is free, when they began, and the rest.

        Those that stand there stay: a commit that was cut off may have been one.
        """
        rows = [{"id": id, "began_at": began_at, "call": call} for id, began_at, call in calls]
        await self._connection.execute(_BEGIN, rows)

    async def append(self, rows: Sequence[Mapping[str, Any]], *, ended: Sequence[int] = ()) -> None:
        """Add rows, each from column name to value; ``ended`` are the calls that are under way no more."""
        if rows:
            await self._connection.execute(_APPEND, list(rows))
        for chunk in in_chunks(ended):
            await self._connection.execute(_END, {"ids": chunk})

    async def last_begun(self) -> int:
        """The highest number of the calls that were put down and have not ended; 0: there are none."""
        return (await self._connection.execute(_LAST)).scalar() or 0

    async def left(self, *, up_to: int, limit: int) -> list[tuple[int, datetime, dict[str, Any]]]:
        """Calls that were put down and have not ended, up to a number, lowest first, as `begin` was given them."""
        rows = await self._connection.execute(_LEFT, {"up_to": up_to, "at_most": limit})
        return [(row.id, row.began_at, row.call) for row in rows]

    async def page(
        self, wanted: AuditFilter, *, after: int | None, newest_first: bool, limit: int
    ) -> tuple[list[dict[str, Any]], int | None]:
        """A page of entries, each from column name to value, and the number to go on after; None: that was all.

        A page may be short, or empty, and not the last: it looks at `WINDOW` rows at most.

        Args:
            wanted: What has to hold of them.
            after: Only what comes after this entry in the order; one that is gone was the oldest.
            newest_first: The order: by time, and by number at the same time.
            limit: Entries at most.
        """
        bounds = _times(wanted)
        if after is not None:
            place = (await self._connection.execute(_PLACE, {"of_entry": after})).first()
            if place is None and newest_first:
                return [], None
            if place is not None:
                here, there = tuple_(audit_log.c.at, audit_log.c.id), tuple_(literal(place[0], Moment), literal(after))
                bounds.append(here < there if newest_first else here > there)
        column, values, rest = await self._driving(wanted)
        if column is not None and not values:
            return [], None
        window = _ordered(_range(column, values, bounds), newest_first)
        if not rest:
            found = await self._rows(window.limit(limit))
            return found, found[-1]["id"] if len(found) == limit else None
        inner = window.limit(WINDOW).subquery()
        fitting = select(inner).where(*(clause_of(inner.c) for clause_of in rest))
        direction = "desc" if newest_first else "asc"
        order = (getattr(inner.c.at, direction)(), getattr(inner.c.id, direction)())
        found = await self._rows(fitting.order_by(*order).limit(limit))
        if len(found) == limit:
            return found, found[-1]["id"]
        last = window.with_only_columns(audit_log.c.id) if isinstance(window, Select) else window
        end = (await self._connection.execute(last.limit(1).offset(WINDOW - 1))).first()
        return found, None if end is None else end.id

    async def prune(self, before: datetime, *, limit: int) -> int:
        """Delete the oldest entries, as long as they are older than ``before``, ``limit`` of them at most.

        Returns:
            How many there were.
        """
        rows = await self._connection.execute(_OLD, {"before": before, "at_most": limit})
        ids = rows.scalars().all()
        for chunk in in_chunks(ids):
            await self._connection.execute(_DELETE, {"ids": chunk})
        return len(ids)

    async def _rows(self, query: _Rows) -> list[dict[str, Any]]:
        return [dict(row._mapping) for row in await self._connection.execute(query)]

    async def _driving(self, wanted: AuditFilter) -> tuple[Column[Any] | None, Sequence[str], list[Any]]:
        """Which index is gone through, at which values of its first column, and what is looked at row by row."""
        columns = audit_log.c
        filters: list[tuple[Column[Any], Sequence[str]]] = []
        if wanted.project_id is not None:
            filters.append((columns.project_id, [wanted.project_id]))
        if wanted.account_id is not None:
            filters.append((columns.account_id, [wanted.account_id]))
        if wanted.outcomes is not None:
            filters.append((columns.outcome, wanted.outcomes))
        if wanted.method is not None:
            filters.append((columns.method, await self._methods(wanted.method)))
        if not filters:
            return None, (), []
        (column, values), *others = filters
        rest = [lambda c, name=other.name, some=tuple(some): c[name].in_(some) for other, some in others]
        return column, values, rest

    async def _methods(self, prefix: str) -> list[str]:
        """The methods in the log whose names begin so."""
        given = {"first": prefix, "last": prefix + _AFTER_ALL}
        return list((await self._connection.execute(_METHODS, given)).scalars())


def _times(wanted: AuditFilter) -> list[ColumnElement[bool]]:
    bounds: list[ColumnElement[bool]] = []
    if wanted.since is not None:
        bounds.append(audit_log.c.at >= wanted.since)
    if wanted.until is not None:
        bounds.append(audit_log.c.at < wanted.until)
    return bounds


def _range(column: Column[Any] | None, values: Sequence[str], bounds: Sequence[ColumnElement[bool]]) -> _Rows:
    """Rows of one range of an index, or of one for each value: both databases merge those in their order."""
    if column is None:
        return select(audit_log).where(*bounds)
    ranges = [select(audit_log).where(column == _bound(column, value), *bounds) for value in values]
    return ranges[0] if len(ranges) == 1 else union_all(*ranges)


def _bound(column: Column[Any], value: str) -> BindParameter[Any]:
    return literal(value, column.type)


def _ordered(rows: _Rows, newest_first: bool) -> _Rows:
    columns = rows.selected_columns
    if newest_first:
        return rows.order_by(columns.at.desc(), columns.id.desc())
    return rows.order_by(columns.at, columns.id)
