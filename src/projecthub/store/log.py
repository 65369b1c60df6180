"""What happened in projects.

Source: Wire contract 2.4, 3.10.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from sqlalchemy import and_, bindparam, delete, select
from sqlalchemy.ext.asyncio import AsyncConnection

from projecthub.store.expressions import Following
from projecthub.store.records import Selection
from projecthub.store.selections import rows_of
from projecthub.store.tables import memberships, project_log
from projecthub.wire.ids import AccountId, ProjectId

_APPEND: Final = project_log.insert()
_OF_PROJECT: Final = (
    select(project_log.c.id, project_log.c.logged_at.label("time"), project_log.c.event, project_log.c.account_id)
    .where(project_log.c.project_id == bindparam("of_project"))
    .order_by(project_log.c.logged_at.desc(), project_log.c.id.desc())
    .limit(bindparam("at_most"))
)
# Numbers follow time: the oldest entries are found by theirs, without an index of times over all projects.
_OLDEST: Final = (
    select(project_log.c.id).where(project_log.c.id > 0).order_by(project_log.c.id).limit(bindparam("most"))
)
_PRUNE: Final = delete(project_log).where(
    project_log.c.id.in_(_OLDEST.scalar_subquery()), project_log.c.logged_at < bindparam("before")
)
_NEWEST_FIRST: Final = (("logged_at", True), ("id", True))


class Log:
    """The projects' logs, within a transaction."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def append(
        self, project_id: ProjectId, account_id: AccountId | None, event: Mapping[str, Any], *, at: datetime
    ) -> None:
        """Note an event, caused by an account or by the hub itself."""
        row = {"project_id": project_id, "account_id": account_id, "event": event, "logged_at": at}
        await self._connection.execute(_APPEND, row)

    async def prune(self, before: datetime, *, at_most: int) -> int:
        """Delete entries of all projects from before a time, the oldest first.

        Args:
            before: The time.
            at_most: So many oldest ones are looked at.

        Returns:
            How many were deleted.
        """
        return (await self._connection.execute(_PRUNE, {"before": before, "most": at_most})).rowcount

    async def append_all(
        self, entries: Sequence[tuple[ProjectId, Mapping[str, Any]]], account_id: AccountId | None, *, at: datetime
    ) -> None:
        """Note events of several projects, caused by one account."""
        rows = [
            {"project_id": project_id, "account_id": account_id, "event": event, "logged_at": at}
            for project_id, event in entries
        ]
        if rows:
            await self._connection.execute(_APPEND, rows)

    async def of_project(self, project_id: ProjectId, *, limit: int) -> list[dict[str, Any]]:
        """A project's events, newest first, as ``id`` (a number), ``time`` (a datetime), ``event``, ``account_id``."""
        rows = await self._connection.execute(_OF_PROJECT, {"of_project": project_id, "at_most": limit})
        return [dict(row._mapping) for row in rows]

    async def select(
        self,
        selection: Selection,
        *,
        project_id: ProjectId | None = None,
        member: AccountId | None = None,
        after: datetime | None = None,
    ) -> list[dict[str, Any]]:
        """Rows of logs, each from column name to value; newest first unless the selection has an order.

        Args:
            selection: Columns, conditions, order and limit.
            project_id: Only this project's.
            member: Only of projects that this account is on, in whatever role.
            after: Only what happened later than this.

        Raises:
            InvalidArgument: See `selections`.
        """
        where = [] if after is None else [project_log.c.logged_at > after]
        source = None
        if member is not None:
            # The time is part of the join: each project's newest entries are read, and no others.
            on = and_(project_log.c.project_id == memberships.c.project_id, *where)
            source = Following(memberships, project_log, on)
            where = [memberships.c.account_id == member]
        if project_id is not None:
            where.append(project_log.c.project_id == project_id)
        return await rows_of(self._connection, project_log, selection, *where, source=source, order_by=_NEWEST_FIRST)
