"""Shares: the public paths of projects.

Source: Wire contract 7.4.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from sqlalchemy import bindparam, delete, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from projecthub.errors import Conflict, NotFound
from projecthub.store.expressions import Following, upserting
from projecthub.store.records import Selection, Share
from projecthub.store.selections import checked_changes, rows_of
from projecthub.store.tables import projects, public_paths
from projecthub.wire.ids import ProjectId

_FIXED: Final = ("id", "project_id", "path", "created_at", "last_edited_at")
_GET: Final = select(*(public_paths.c[name] for name in Share.__dataclass_fields__)).where(
    public_paths.c.id == bindparam("of_share")
)
_DELETE: Final = delete(public_paths).where(public_paths.c.id == bindparam("of_share"))
_COUNT: Final = (
    update(public_paths)
    .where(public_paths.c.id == bindparam("of_share"))
    .values(counter=public_paths.c.counter + bindparam("more"))
)
TOLD: Final = (
    "id", "project_id", "path", "name", "description", "license", "disabled", "unlisted", "authenticated",
    "compute_image", "url", "image", "counter", "created_at", "last_edited_at", "last_saved_at", "site_license_id",
)  # fmt: skip
_TOLD: Final = select(
    *(public_paths.c[name] for name in TOLD), projects.c.title.label("project_title"), public_paths.c.vhost
).select_from(Following(public_paths, projects, projects.c.project_id == public_paths.c.project_id))
_ONE: Final = _TOLD.where(public_paths.c.id == bindparam("of_share"))
_OF_PROJECT: Final = _TOLD.where(public_paths.c.project_id == bindparam("of_project")).order_by(public_paths.c.path)
_LISTED: Final = (
    # The condition of the index, word for word; the bound has it searched and not read.
    _TOLD.where(~public_paths.c.disabled, ~public_paths.c.unlisted, public_paths.c.vhost.is_(None))
    .where(public_paths.c.last_edited_at <= bindparam("until"))
    .order_by(public_paths.c.last_edited_at.desc(), public_paths.c.id.desc())
    .limit(bindparam("at_most"))
)
_FAR: Final = datetime(9999, 1, 1, tzinfo=UTC)


class Shares:
    """The shares, within a transaction."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def get(self, id: str) -> Share | None:
        """A share by its id."""
        row = (await self._connection.execute(_GET, {"of_share": id})).first()
        return None if row is None else Share(**row._mapping)

    async def select(self, selection: Selection, *, project_id: ProjectId) -> list[dict[str, Any]]:
        """Rows of a project's shares, each from column name to value.

        Raises:
            InvalidArgument: See `selections`.
        """
        return await rows_of(self._connection, public_paths, selection, public_paths.c.project_id == project_id)

    async def select_shown(self, selection: Selection, id: str) -> list[dict[str, Any]]:
        """The row of a share that is shown to everybody: neither disabled nor of a host of its own.

        Raises:
            InvalidArgument: See `selections`.
        """
        shown = (public_paths.c.id == id, ~public_paths.c.disabled, public_paths.c.vhost.is_(None))
        return await rows_of(self._connection, public_paths, selection, *shown)

    async def told(self, id: str) -> dict[str, Any] | None:
        """A share as it is told: the columns of `TOLD`, ``project_title`` and ``vhost``."""
        row = (await self._connection.execute(_ONE, {"of_share": id})).first()
        return None if row is None else dict(row._mapping)

    async def of_project(self, project_id: ProjectId) -> list[dict[str, Any]]:
        """All shares of a project, by their paths, as `told`."""
        return [dict(row._mapping) for row in await self._connection.execute(_OF_PROJECT, {"of_project": project_id})]

    async def listed(self, *, limit: int, after: str | None, anybody: bool) -> list[dict[str, Any]]:
        """Shares that may be browsed, edited last first, as `told`.

        Args:
            limit: How many at most.
            after: The last one of the page before.
            anybody: Whether only those that are for people without an account, too.

        Raises:
            NotFound: There is no share ``after``.
        """
        statement, until = _LISTED, _FAR
        if anybody:
            statement = statement.where(~public_paths.c.authenticated)
        if after is not None:
            last = await self.told(after)
            if last is None:
                raise NotFound(f"no share with id '{after}' to list after; start again without it", id=after)
            until = last["last_edited_at"]
            statement = statement.where((public_paths.c.last_edited_at < until) | (public_paths.c.id < after))
        rows = await self._connection.execute(statement, {"until": until, "at_most": limit})
        return [dict(row._mapping) for row in rows]

    async def count(self, id: str, *, times: int = 1) -> None:
        """Note that something was taken from a share, so many times."""
        await self._connection.execute(_COUNT, {"of_share": id, "more": times})

    async def delete(self, id: str) -> bool:
        """Delete a share.

        Returns:
            Whether there was one.
        """
        return (await self._connection.execute(_DELETE, {"of_share": id})).rowcount > 0

    async def upsert(
        self, id: str, project_id: ProjectId, path: str, changes: Mapping[str, Any], *, at: datetime
    ) -> None:
        """Make a share, or change one.

        Args:
            id: The share's id.
            project_id: Whose path.
            path: What is shared, relative to the project's home.
            changes: Values by column names; may be empty.
            at: Now: when it is edited, and when it is created if it is new.

        Raises:
            Conflict: The id belongs to another path.
            InvalidArgument: A column is unknown or kept by the store.
        """
        values = checked_changes(public_paths, changes, fixed=_FIXED) if changes else {}
        new = {"id": id, "project_id": project_id, "path": path, "created_at": at, "last_edited_at": at, **values}
        made = upserting(public_paths).values(new).on_conflict_do_nothing(index_elements=["id"])
        if (await self._connection.execute(made.returning(public_paths.c.id))).first() is not None:
            return
        changed = (
            update(public_paths)
            .where(public_paths.c.id == id, public_paths.c.project_id == project_id, public_paths.c.path == path)
            .values({**values, "last_edited_at": at})
        )
        if (await self._connection.execute(changed)).rowcount == 0:
            raise Conflict(f"The share '{id}' is of another path; a share's path never changes", id=id)
