"""Histories of text files.

Source: Wire contract 5.3, `sync.history`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import bindparam, delete, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from projecthub.errors import Conflict
from projecthub.store.expressions import upserting
from projecthub.store.tables import histories, history_sizes, history_versions
from projecthub.wire.ids import AccountId, ProjectId

_version: Final = history_versions.c


@dataclass(frozen=True, slots=True)
class History:
    """A text file that was seen to change.

    Attributes:
        id: Follows from the two below.
        project_id: Whose file.
        path: Relative to the project's home.
        first_seq: Number of the oldest version that is kept.
        snapshot_seq: Number of the newest version that is kept as a whole.
        last_seq: Number of the newest version.
        first_at: When the oldest was seen.
        last_at: When the newest was seen.
        digest: SHA-256 of the newest text, in hex.
        mark: What the newest was taken from, so that nothing is taken twice.
        stored_bytes: What all of its versions take.
        text_bytes: How long their patches and texts are together.
    """

    id: str
    project_id: ProjectId
    path: str
    first_seq: int
    snapshot_seq: int
    last_seq: int
    first_at: datetime
    last_at: datetime
    digest: str
    mark: str
    stored_bytes: int
    text_bytes: int


@dataclass(frozen=True, slots=True)
class Version:
    """A state of a text file.

    Attributes:
        history_id: Of which.
        seq: Its number.
        at: When it was seen; later than the one before.
        account_id: Who made it; None: nobody knows.
        event: What was done.
        is_snapshot: Whether ``data`` is all of the text, else a patch.
        data: Compressed.
        text_bytes: How long it is when it is not.
    """

    history_id: str
    seq: int
    at: datetime
    account_id: AccountId | None
    event: str
    is_snapshot: bool
    data: bytes
    text_bytes: int


_INSERT: Final = histories.insert()
_INSERT_VERSIONS: Final = history_versions.insert()
_UPDATE: Final = (
    update(histories)
    .where(histories.c.id == bindparam("of_id"), histories.c.last_seq == bindparam("seen_seq"))
    .values(
        {name: bindparam(name) for name in History.__dataclass_fields__ if name not in ("id", "project_id", "path")}
    )
)
_VERSIONS: Final = (
    select(history_versions)
    .where(
        _version.history_id == bindparam("of_id"),
        _version.seq >= bindparam("from_seq"),
        _version.seq <= bindparam("to_seq"),
    )
    .order_by(_version.seq)
)
_TIMES: Final = (
    select(_version.at)
    .where(_version.history_id == bindparam("of_id"), _version.account_id == bindparam("of_account"))
    .order_by(_version.seq)
)
_OLDEST: Final = (
    select(histories).where(histories.c.project_id == bindparam("of_project")).order_by(histories.c.first_at).limit(1)
)
_SIZE: Final = select(history_sizes.c.stored_bytes).where(history_sizes.c.project_id == bindparam("of_project"))
_TAKEN: Final = select(history_sizes.c.taken).where(history_sizes.c.project_id == bindparam("of_project"))
_TAKE: Final = (
    update(history_sizes).where(history_sizes.c.project_id == bindparam("of_project")).values(taken=bindparam("names"))
)
_ADD_SIZE: Final = upserting(history_sizes).on_conflict_do_update(
    index_elements=["project_id"],
    set_={"stored_bytes": history_sizes.c.stored_bytes + bindparam("added")},
)
_DROP_VERSIONS: Final = delete(history_versions).where(
    _version.history_id == bindparam("of_id"), _version.seq < bindparam("before_seq")
)
_REPLACE_VERSION: Final = (
    update(history_versions)
    .where(_version.history_id == bindparam("of_id"), _version.seq == bindparam("of_seq"))
    .values(is_snapshot=True, data=bindparam("new_data"), text_bytes=bindparam("new_bytes"))
)
_FORGET: Final = delete(histories).where(histories.c.id == bindparam("of_id"))
_MAX_SEQ: Final = 2**31 - 1


class Histories:
    """Histories, within a transaction."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def get(self, ids: Collection[str]) -> dict[str, History]:
        """Those that are there, by their ids."""
        rows = await self._connection.execute(select(histories).where(histories.c.id.in_(ids)))
        return {row.id: History(**row._mapping) for row in rows}

    async def versions(self, id: str, first: int = 0, last: int = _MAX_SEQ) -> list[Version]:
        """The versions of one with numbers from ``first`` to ``last``, in their order."""
        rows = await self._connection.execute(_VERSIONS, {"of_id": id, "from_seq": first, "to_seq": last})
        return [Version(**row._mapping) for row in rows]

    async def times(self, id: str, account_id: str) -> list[datetime]:
        """When an account has made versions of one, oldest first."""
        rows = await self._connection.execute(_TIMES, {"of_id": id, "of_account": account_id})
        return list(rows.scalars())

    async def add(
        self,
        changes: Sequence[tuple[History | None, History]],
        versions: Iterable[Version],
        taken: Sequence[str] | None = None,
    ) -> None:
        """Add versions, all of one project.

        Args:
            changes: Each history as it was, None if there was none, and as it is with them.
            versions: Of any of these.
            taken: Names of the journals that are written down with this; None: it is of none.

        Raises:
            Conflict: Somebody else has added to one of them meanwhile.
        """
        fresh = [asdict(after) for before, after in changes if before is None]
        if fresh:
            await self._connection.execute(_INSERT, fresh)
        for before, after in changes:
            if before is not None:
                await self._change(before, after)
        rows = [asdict(version) for version in versions]
        if rows:
            await self._connection.execute(_INSERT_VERSIONS, rows)
        grown = sum(after.stored_bytes - (before.stored_bytes if before else 0) for before, after in changes)
        if changes:
            project_id = changes[0][1].project_id
            await self._resize(project_id, grown)
            if taken is not None:
                await self._connection.execute(_TAKE, {"of_project": project_id, "names": list(taken)})

    async def shorten(self, before: History, after: History, snapshot: Version | None = None) -> None:
        """Forget the oldest versions of one.

        Args:
            before: As it is.
            after: As it is to be.
            snapshot: The oldest version that stays, to be kept as a whole; None: it is.

        Raises:
            Conflict: Somebody else has added to it meanwhile.
        """
        await self._change(before, after)
        await self._connection.execute(_DROP_VERSIONS, {"of_id": before.id, "before_seq": after.first_seq})
        if snapshot is not None:
            new = {"new_data": snapshot.data, "new_bytes": snapshot.text_bytes}
            await self._connection.execute(_REPLACE_VERSION, {"of_id": before.id, "of_seq": snapshot.seq, **new})
        await self._resize(before.project_id, after.stored_bytes - before.stored_bytes)

    async def forget(self, history: History) -> None:
        """Forget one with all of its versions."""
        await self._connection.execute(_DROP_VERSIONS, {"of_id": history.id, "before_seq": _MAX_SEQ})
        await self._connection.execute(_FORGET, {"of_id": history.id})
        await self._resize(history.project_id, -history.stored_bytes)

    async def oldest(self, project_id: ProjectId) -> History | None:
        """Of a project's histories the one with the oldest version."""
        row = (await self._connection.execute(_OLDEST, {"of_project": project_id})).one_or_none()
        return None if row is None else History(**row._mapping)

    async def stored_bytes(self, project_id: ProjectId) -> int:
        """What the histories of a project take."""
        return (await self._connection.execute(_SIZE, {"of_project": project_id})).scalar_one_or_none() or 0

    async def taken(self, project_id: ProjectId) -> list[str]:
        """The journals of a project that were written down last: those that are still there are to be removed."""
        return (await self._connection.execute(_TAKEN, {"of_project": project_id})).scalar_one_or_none() or []

    async def _change(self, before: History, after: History) -> None:
        row = asdict(after)
        values = {name: value for name, value in row.items() if name not in ("id", "project_id", "path")}
        done = await self._connection.execute(_UPDATE, {"of_id": before.id, "seen_seq": before.last_seq, **values})
        if done.rowcount != 1:
            raise Conflict("somebody else has added to the history of this file meanwhile; call again")

    async def _resize(self, project_id: ProjectId, grown: int) -> None:
        row = {"project_id": project_id, "stored_bytes": max(0, grown), "taken": [], "added": grown}
        await self._connection.execute(_ADD_SIZE, row)
