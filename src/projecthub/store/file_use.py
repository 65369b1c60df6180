"""Who used which file last, and how.

Source: Wire contract 3.10.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from sqlalchemy import and_, bindparam, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from projecthub.store.expressions import Following, upserting
from projecthub.store.records import Selection
from projecthub.store.selections import rows_of
from projecthub.store.tables import file_use, memberships
from projecthub.wire.ids import AccountId, ProjectId

_MAKE: Final = upserting(file_use).on_conflict_do_nothing(index_elements=["id"])
_USERS: Final = select(file_use.c.users).where(file_use.c.id == bindparam("of_file"))
_LOCK: Final = _USERS.with_for_update()
_UPDATE: Final = (
    update(file_use)
    .where(file_use.c.id == bindparam("of_file"))
    .values(users=bindparam("used"), last_edited_at=bindparam("at"))
)


class FileUse:
    """The uses of files, within a transaction."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def lock(self, id: str, project_id: ProjectId, path: str, *, at: datetime) -> dict[str, dict[str, int]]:
        """Who used a file so far; a file that nobody has used gets a row. Others wait until this transaction ends.

        Args:
            id: Follows from the two below.
            project_id: Whose file.
            path: Which file, relative to the project's home.
            at: Now.

        Returns:
            For each account id, words for what it did, with milliseconds since the epoch.
        """
        row = {"id": id, "project_id": project_id, "path": path, "users": {}, "last_edited_at": at}
        await self._connection.execute(_MAKE, row)
        users: dict[str, dict[str, int]] = (await self._connection.execute(_LOCK, {"of_file": id})).scalar_one()
        return users

    async def users(self, id: str) -> dict[str, dict[str, int]]:
        """Who used a file so far, as `lock` tells it; nothing of a file that nobody has used."""
        users: dict[str, dict[str, int]] | None = (
            await self._connection.execute(_USERS, {"of_file": id})
        ).scalar_one_or_none()
        return users or {}

    async def update(self, id: str, users: Mapping[str, Mapping[str, int]], *, at: datetime) -> None:
        """Note who has used a file, of those before and those now, and that it is used now."""
        await self._connection.execute(_UPDATE, {"of_file": id, "used": users, "at": at})

    async def select(
        self,
        selection: Selection,
        *,
        after: datetime,
        project_id: ProjectId | None = None,
        member: AccountId | None = None,
    ) -> list[dict[str, Any]]:
        """Rows of files, each from column name to value.

        Args:
            selection: Columns, conditions, order and limit.
            after: Only of files used later than this.
            project_id: Only of this project.
            member: Only of projects that this account is on, in whatever role.

        Raises:
            InvalidArgument: See `selections`.
        """
        recent = file_use.c.last_edited_at > after
        if member is None:
            return await rows_of(self._connection, file_use, selection, recent, file_use.c.project_id == project_id)
        on = and_(file_use.c.project_id == memberships.c.project_id, recent)
        source = Following(memberships, file_use, on)
        return await rows_of(self._connection, file_use, selection, memberships.c.account_id == member, source=source)
