"""Licenses, and which projects run with them.

Source: Wire contract 7.3.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final, TypeAlias

from sqlalchemy import BigInteger, bindparam, delete, func, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from projecthub.errors import Conflict, NotFound
from projecthub.store.expressions import upserting
from projecthub.store.records import License, Selection, State
from projecthub.store.selections import checked_changes, in_chunks, rows_of
from projecthub.store.tables import Moment, license_uses, licenses, projects
from projecthub.wire.ids import ProjectId

IN_USE: Final = (State.STARTING, State.RUNNING, State.RESTARTING)
"""States in which a project uses the licenses that it was last started with."""

_Found: TypeAlias = list[License]  # within the class below, `list` is a method
_Projects: TypeAlias = list[ProjectId]
_Rows: TypeAlias = list[dict[str, Any]]

_FIXED: Final = ("id", "created_at")
_FIELDS: Final = tuple(License.__dataclass_fields__)
_RECORD: Final = [licenses.c[name] for name in _FIELDS]

_EXISTING: Final = select(licenses.c.id).where(licenses.c.id.in_(bindparam("ids", expanding=True)))
_GET: Final = select(*_RECORD).where(licenses.c.id == bindparam("of_license"))
# All who lock several do so in the order of the ids, so that they cannot wait for each other in a ring.
_LOCK: Final = (
    select(*_RECORD)
    .where(licenses.c.id.in_(bindparam("ids", expanding=True)))
    .order_by(licenses.c.id)
    .with_for_update()
)
_INSERT: Final = upserting(licenses).on_conflict_do_nothing(index_elements=["id"]).returning(licenses.c.id)
_END: Final = (
    update(licenses)
    .where(
        licenses.c.id == bindparam("of_license"),
        or_(licenses.c.expires_at.is_(None), licenses.c.expires_at > bindparam("at", type_=Moment)),
    )
    .values(expires_at=bindparam("at", type_=Moment))
)
_used: Final = (
    select(license_uses.c.license_id, func.count(type_=BigInteger).label("used"))
    .join_from(license_uses, projects, projects.c.project_id == license_uses.c.project_id)
    .where(license_uses.c.license_id.in_(bindparam("ids", expanding=True)), projects.c.state.in_(IN_USE))
    .group_by(license_uses.c.license_id)
)
_USED_BY_OTHERS: Final = _used.where(license_uses.c.project_id != bindparam("of_project"))
_USERS: Final = (
    select(license_uses.c.project_id)
    .join_from(license_uses, projects, projects.c.project_id == license_uses.c.project_id)
    .where(license_uses.c.license_id == bindparam("of_license"), projects.c.state.in_(IN_USE))
    .order_by(license_uses.c.project_id)
    .limit(bindparam("at_most"))
)
_FORGET_USES: Final = delete(license_uses).where(license_uses.c.project_id == bindparam("of_project"))
_NOTE_USE: Final = license_uses.insert()


class Licenses:
    """The licenses, within a transaction."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def existing(self, ids: Sequence[str]) -> set[str]:
        """Those of the ids that belong to licenses, whether in force or not."""
        found: set[str] = set()
        for chunk in in_chunks(ids):
            found.update((await self._connection.execute(_EXISTING, {"ids": chunk})).scalars())
        return found

    async def create(
        self,
        *,
        id: str,
        title: str,
        quota: Mapping[str, Any],
        description: str = "",
        run_limit: int | None = None,
        activates_at: datetime | None = None,
        expires_at: datetime | None = None,
        created_at: datetime,
    ) -> None:
        """Add a license. The values are those of `License`.

        Raises:
            Conflict: There is a license with that id already.
        """
        row = {
            "id": id,
            "title": title,
            "description": description,
            "quota": quota,
            "run_limit": run_limit,
            "activates_at": activates_at,
            "expires_at": expires_at,
            "created_at": created_at,
        }
        if (await self._connection.execute(_INSERT, row)).first() is None:
            raise Conflict(f"There is a license with id '{id}' already; choose another id", id=id)

    async def get(self, id: str) -> License | None:
        """A license by its id."""
        row = (await self._connection.execute(_GET, {"of_license": id})).first()
        return None if row is None else License(**row._mapping)

    async def locked(self, ids: Sequence[str]) -> dict[str, License]:
        """The licenses of these ids, as far as there are any, by their ids; held until this transaction ends.

        Another transaction that asks for one of them here waits until then. So what this one counts afterwards is what
        those before it have left.
        """
        found: dict[str, License] = {}
        for chunk in in_chunks(sorted(ids)):
            rows = await self._connection.execute(_LOCK, {"ids": chunk})
            found.update((row.id, License(**row._mapping)) for row in rows)
        return found

    async def list(self, *, limit: int, after: str | None = None) -> _Found:
        """A page of licenses, newest first.

        Args:
            limit: Licenses at most.
            after: The last license of the page before.

        Raises:
            NotFound: There is no license ``after``.
        """
        statement = select(*_RECORD).order_by(licenses.c.created_at.desc(), licenses.c.id).limit(limit)
        if after is not None:
            last = await self.get(after)
            if last is None:
                raise NotFound(f"no license with id '{after}' to list after; start again without it", id=after)
            older = licenses.c.created_at < last.created_at
            beside = (licenses.c.created_at == last.created_at) & (licenses.c.id > after)
            statement = statement.where(older | beside)
        return [License(**row._mapping) for row in await self._connection.execute(statement)]

    async def select(self, selection: Selection) -> _Rows:
        """Rows of licenses, each from column name to value; newest first unless the selection has an order.

        Raises:
            InvalidArgument: See `selections`.
        """
        return await rows_of(self._connection, licenses, selection, order_by=(("created_at", True),))

    async def update(self, id: str, changes: Mapping[str, Any]) -> bool:
        """Change columns of a license, by their names.

        Returns:
            Whether there is such a license.

        Raises:
            InvalidArgument: A column is unknown or never changes, or there are no changes.
        """
        statement = update(licenses).where(licenses.c.id == id)
        changed = await self._connection.execute(statement.values(checked_changes(licenses, changes, fixed=_FIXED)))
        return changed.rowcount > 0

    async def end(self, id: str, at: datetime) -> bool:
        """Have a license expire at a time, unless it did so earlier.

        Returns:
            Whether that changed anything.
        """
        return (await self._connection.execute(_END, {"of_license": id, "at": at})).rowcount > 0

    # -- uses --------------------------------------------------------------------------------------

    async def note_uses(self, project_id: ProjectId, ids: Sequence[str]) -> None:
        """Note with which licenses a project is started; they are in use while its state is among `IN_USE`.

        Raises:
            Conflict: One of the ids is of no license. The transaction is lost.
        """
        await self._connection.execute(_FORGET_USES, {"of_project": project_id})
        if rows := [{"license_id": id, "project_id": project_id} for id in dict.fromkeys(ids)]:
            await self._connection.execute(_NOTE_USE, rows)

    async def used(self, ids: Sequence[str], *, besides: ProjectId | None = None) -> dict[str, int]:
        """How many projects use each of the licenses now; those that nobody uses are left out.

        Args:
            ids: Which licenses.
            besides: A project that is not counted.
        """
        statement = _used if besides is None else _USED_BY_OTHERS
        values = {} if besides is None else {"of_project": besides}
        found: dict[str, int] = {}
        for chunk in in_chunks(ids):
            rows = await self._connection.execute(statement, {**values, "ids": chunk})
            found.update((row.license_id, row.used) for row in rows)
        return found

    async def users(self, id: str, *, limit: int) -> _Projects:
        """Projects that use a license now, by their ids in order."""
        rows = await self._connection.execute(_USERS, {"of_license": id, "at_most": limit})
        return [ProjectId(row.project_id) for row in rows]
