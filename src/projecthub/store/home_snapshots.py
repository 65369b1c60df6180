"""Snapshots of homes, and when the next ones are due. What they hold lies on disk."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

from sqlalchemy import bindparam, delete, func, select, true, update
from sqlalchemy.ext.asyncio import AsyncConnection

from projecthub.store.expressions import upserting
from projecthub.store.records import HomeSnapshot, HomeSnapshots
from projecthub.store.selections import in_chunks
from projecthub.store.tables import Moment, counters, projects, snapshot_homes, snapshots
from projecthub.wire.ids import ProjectId
from projecthub.wire.units import from_ms, to_ms

_Looks = tuple[datetime | None, datetime | None]

_SEEN: Final = "snapshots_seen"
"""A counter: edits of projects up to this time, in milliseconds, have been looked at."""
_FIELDS: Final = tuple(HomeSnapshot.__dataclass_fields__)
_RECORD: Final = [snapshots.c[name] for name in _FIELDS]

_OF_PROJECT: Final = (
    select(*_RECORD)
    .where(snapshots.c.project_id == bindparam("of_project"))
    .order_by(snapshots.c.created_at.desc(), snapshots.c.id.desc())
)
_USED: Final = select(snapshot_homes.c.used_bytes).where(snapshot_homes.c.project_id == bindparam("of_project"))
_EXPIRED: Final = (
    select(snapshots.c.project_id, snapshots.c.id)
    .where(snapshots.c.expires_at.is_not(None), snapshots.c.expires_at <= bindparam("now", type_=Moment))
    .order_by(snapshots.c.expires_at)
    .limit(bindparam("at_most"))
)
_insert_home: Final = upserting(snapshot_homes)
_SET_USED: Final = _insert_home.on_conflict_do_update(
    index_elements=["project_id"], set_={"used_bytes": _insert_home.excluded.used_bytes}
)
_SET_DUE: Final = _insert_home.on_conflict_do_update(
    index_elements=["project_id"],
    set_={"due_at": func.coalesce(snapshot_homes.c.due_at, _insert_home.excluded.due_at)},
)
_LOOKED: Final = (
    update(snapshot_homes)
    .where(snapshot_homes.c.project_id == bindparam("of_project"))
    .values(looked_at=bindparam("at", type_=Moment), due_at=bindparam("due", type_=Moment))
)
_LOOKED_AT: Final = select(snapshot_homes.c.project_id, snapshot_homes.c.looked_at, snapshot_homes.c.due_at).where(
    snapshot_homes.c.project_id.in_(bindparam("ids", expanding=True))
)
_DUE: Final = (
    select(snapshot_homes.c.project_id)
    .where(snapshot_homes.c.due_at.is_not(None), snapshot_homes.c.due_at <= bindparam("now", type_=Moment))
    .order_by(snapshot_homes.c.due_at)
    .limit(bindparam("at_most"))
)
_EDITED: Final = (
    select(projects.c.project_id, projects.c.last_edited_at)
    .where(
        projects.c.last_edited_at >= bindparam("since", type_=Moment),
        projects.c.last_edited_at > projects.c.created_at,  # one that was only made holds nothing yet
        projects.c.deleted.is_not(true()),
    )
    .order_by(projects.c.last_edited_at)
    .limit(bindparam("at_most"))
)
_insert_counter: Final = upserting(counters)
_SET_SEEN: Final = _insert_counter.on_conflict_do_update(
    index_elements=["name"], set_={"value": _insert_counter.excluded.value}
)
_GET_SEEN: Final = select(counters.c.value).where(counters.c.name == _SEEN)


class SnapshotRows:
    """The snapshots of homes, within a transaction."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def of_project(self, project_id: ProjectId) -> HomeSnapshots:
        """The snapshots of a project, newest first, and what they take."""
        rows = await self._connection.execute(_OF_PROJECT, {"of_project": project_id})
        found = tuple(HomeSnapshot(**dict(zip(_FIELDS, row, strict=True))) for row in rows)
        return HomeSnapshots(found, await self.used_bytes(project_id))

    async def used_bytes(self, project_id: ProjectId) -> int:
        """What the snapshots of a project took when that was looked at last."""
        return int((await self._connection.execute(_USED, {"of_project": project_id})).scalar() or 0)

    async def add(self, snapshot: HomeSnapshot) -> None:
        """Add one whose contents are on disk."""
        await self._connection.execute(snapshots.insert(), {name: getattr(snapshot, name) for name in _FIELDS})

    async def remove(self, ids: Sequence[str]) -> list[str]:
        """Remove some; tells which were there."""
        removed: list[str] = []
        for chunk in in_chunks(ids):
            statement = delete(snapshots).where(snapshots.c.id.in_(chunk)).returning(snapshots.c.id)
            removed += [row.id for row in await self._connection.execute(statement)]
        return removed

    async def set_used(self, project_id: ProjectId, used_bytes: int) -> None:
        """Note what the snapshots of a project take."""
        await self._connection.execute(_SET_USED, {"project_id": project_id, "used_bytes": used_bytes})

    async def expired(self, now: datetime, *, limit: int) -> list[tuple[ProjectId, str]]:
        """Projects and ids of those whose time is over."""
        rows = await self._connection.execute(_EXPIRED, {"now": now, "at_most": limit})
        return [(ProjectId(row.project_id), row.id) for row in rows]

    # -- when the next ones are due ----------------------------------------------------------------

    async def seen(self) -> datetime | None:
        """Up to when edits of projects have been looked at; None: never."""
        value = (await self._connection.execute(_GET_SEEN)).scalar()
        return None if value is None else from_ms(int(value))

    async def set_seen(self, at: datetime) -> None:
        """Note that edits have been looked at up to this time."""
        await self._connection.execute(_SET_SEEN, {"name": _SEEN, "value": to_ms(at)})

    async def edited(self, since: datetime, *, limit: int) -> list[tuple[ProjectId, datetime]]:
        """Projects that were edited then or later and are not deleted, and when, in the order of that."""
        rows = await self._connection.execute(_EDITED, {"since": since, "at_most": limit})
        return [(ProjectId(row.project_id), row.last_edited_at) for row in rows]

    async def looked_at(self, project_ids: Sequence[ProjectId]) -> dict[ProjectId, _Looks]:
        """When the hub has looked at projects by itself, and when it will; what is not there has no row yet."""
        found: dict[ProjectId, _Looks] = {}
        for chunk in in_chunks(project_ids):
            rows = await self._connection.execute(_LOOKED_AT, {"ids": chunk})
            found.update({ProjectId(row.project_id): (row.looked_at, row.due_at) for row in rows})
        return found

    async def make_due(self, due_at: Sequence[tuple[ProjectId, datetime]]) -> None:
        """Have the hub look at projects then; those that are due already stay so."""
        rows: list[dict[str, Any]] = [
            {"project_id": project_id, "used_bytes": 0, "due_at": at} for project_id, at in due_at
        ]
        if rows:
            await self._connection.execute(_SET_DUE, rows)

    async def due(self, now: datetime, *, limit: int) -> list[ProjectId]:
        """Projects that are due, those that have waited longest first."""
        rows = await self._connection.execute(_DUE, {"now": now, "at_most": limit})
        return [ProjectId(row.project_id) for row in rows]

    async def looked(self, project_id: ProjectId, *, at: datetime, again_at: datetime | None = None) -> None:
        """The hub has looked at a project; it looks again at the given time, or when somebody has used it."""
        await self._connection.execute(_LOOKED, {"of_project": project_id, "at": at, "due": again_at})
