"""Shares: the public paths of projects.

Source: Wire contract 7.4.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from sqlalchemy import bindparam, delete, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from projecthub.errors import Conflict
from projecthub.store.expressions import upserting
from projecthub.store.records import Selection, Share
from projecthub.store.selections import checked_changes, rows_of
from projecthub.store.tables import public_paths
from projecthub.wire.ids import ProjectId

_FIXED: Final = ("id", "project_id", "path", "created_at", "last_edited_at")
_GET: Final = select(*(public_paths.c[name] for name in Share.__dataclass_fields__)).where(
    public_paths.c.id == bindparam("of_share")
)
_DELETE: Final = delete(public_paths).where(public_paths.c.id == bindparam("of_share"))


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
