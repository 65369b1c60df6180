"""Taking snapshots of homes and letting them go: the rows, what lies on disk, and the share of the quota.

Of one project there is one such work at a time. Its shelf is marked before anything of it changes: what a killed hub
leaves in the middle is brought to an end by the next one, when it opens, or by the next work on that project.
"""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, TypeVar
from weakref import WeakValueDictionary

import structlog

from projecthub.errors import HubError, LimitError
from projecthub.files.failures import unwritable
from projecthub.files.paths import shown
from projecthub.files.plans import CopyCancelledError, Course
from projecthub.files.snapshots import restoring
from projecthub.files.snapshots.shelves import Shelf, unfinished
from projecthub.files.snapshots.sweeping import freed_by, sweep
from projecthub.files.snapshots.taking import Taking
from projecthub.files.threads import in_thread
from projecthub.store.records import HomeSnapshot
from projecthub.wire.ids import AccountId
from projecthub.wire.units import to_mb

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence
    from datetime import datetime
    from pathlib import Path

    from projecthub.hub.clock import Clock
    from projecthub.hub.homes import ProjectHomes
    from projecthub.store import Store
    from projecthub.store.records import HomeSnapshots, Project
    from projecthub.wire.ids import ProjectId

T = TypeVar("T")

MAX_SNAPSHOTS: Final = 500
"""Of one project."""
_THREADS: Final = 4
_GLANCE_BYTES: Final = 8_000_000

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What snapshot is wanted.

    Attributes:
        account_id: Who wants it; None: the hub by itself.
        title: What people call it.
        automatic: Whether it may go when there are newer ones, or room is needed.
        expires_at: When it goes.
        keeps: Snapshots that do not go for it, whatever room it needs.
        only_if_other: Whether none is made if the home is as in the newest one.
    """

    account_id: AccountId | None
    title: str = ""
    automatic: bool = False
    expires_at: datetime | None = None
    keeps: frozenset[str] = frozenset()
    only_if_other: bool = False


@dataclass(slots=True)
class UnderWay:
    """A snapshot that is being taken."""

    taking: Taking | None = None
    course: Course = field(default_factory=lambda: Course(None))


class SnapshotKeeping:
    """Takes snapshots and lets them go; whoever calls has looked whether they may.

    Attributes:
        under_way: Those that are being taken, by their projects.
    """

    def __init__(self, store: Store, homes: ProjectHomes, clock: Clock, root: Path, *, percent: int) -> None:
        """Make the service.

        Args:
            store: The store.
            homes: The homes.
            clock: Tells when.
            root: Where they are kept, in a directory that is there.
            percent: Of its disk quota, what the snapshots of a project may take beside it.
        """
        self._store = store
        self._homes = homes
        self._clock = clock
        self.root = root
        self._percent = percent
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="snapshot")
        self._locks: WeakValueDictionary[ProjectId, asyncio.Lock] = WeakValueDictionary()
        self.under_way: dict[ProjectId, UnderWay] = {}

    def shelf(self, project_id: ProjectId) -> Shelf:
        """Where the snapshots of a project are."""
        return Shelf(self.root, project_id)

    def share_bytes(self, project: Project) -> int:
        """What the snapshots of a project may take."""
        return self._homes.disk_quota_bytes(project.run_quota) * self._percent // 100

    @contextlib.asynccontextmanager
    async def turn(self, project_id: ProjectId) -> AsyncIterator[Shelf]:
        """Work on the snapshots of a project, alone; what a killed hub has left is brought to an end first."""
        async with self._locks.setdefault(project_id, asyncio.Lock()):
            shelf = self.shelf(project_id)
            if shelf.is_unfinished:
                try:
                    await self._repair(project_id, shelf)
                except HubError as error:  # what is wanted now may be done all the same
                    _log.warning("snapshots.not_repaired", project_id=project_id, error=error.message)
            yield shelf

    async def run(self, work: Callable[[], T], course: Course | None = None) -> T:
        """Do blocking work.

        Raises:
            LimitError: The disk is full.
            HubError: What the work raises, and what else the system refuses.
        """
        try:
            return await in_thread(self._threads, work, cancel=None if course is None else course.cancel)
        except OSError as error:
            raise unwritable(error, "the snapshots of the project") from error
        except CopyCancelledError:
            raise asyncio.CancelledError from None

    async def of_project(self, project_id: ProjectId) -> HomeSnapshots:
        """The snapshots of a project."""
        async with self._store.read() as tx:
            return await tx.snapshots.of_project(project_id)

    async def take(self, project: Project, shelf: Shelf, order: Order) -> HomeSnapshot | None:
        """Take a snapshot, within a `turn`; None: the home is as in the newest one, and another is not wanted.

        Raises:
            LimitError: It does not fit into the project's share, or on the disk, or there are too many.
        """
        known = await self.of_project(project.project_id)
        if len(known.rows) >= MAX_SNAPSHOTS:
            raise LimitError(
                f"project '{project.project_id}' has {len(known.rows)} snapshots, and may have {MAX_SNAPSHOTS}; "
                "delete some first"
            )
        work = self.under_way[project.project_id] = UnderWay()
        try:
            home = await self._homes.opened(project)
            previous = next((path for row in known.rows if (path := shelf.manifest(row.id)).exists()), None)
            take = self._taker(self.share_bytes(project))
            taking = work.taking = await self.run(
                lambda: Taking(shelf, home.path, previous, check=work.course.check, take=take)
            )
            try:
                await self.run(taking.run, work.course)
                count = taking.count
                same = bool(known.rows) and not count.differs and count.skipped == known.rows[0].skipped
                if order.only_if_other and same:
                    return None
                return await self._place(project, shelf, taking, order, known)
            finally:
                await self.run(taking.close)
        finally:
            del self.under_way[project.project_id]

    def _taker(self, share: int) -> Callable[[int], None]:
        """Called with what is about to be written; refuses what could never fit."""
        taken = glance_at = 0

        def take(size: int) -> None:
            nonlocal taken, glance_at
            taken += size
            if taken > share:
                raise LimitError(
                    f"a snapshot of this project would add more than the {to_mb(share)} MB that all its snapshots may "
                    f"take ({self._percent} % of its disk quota); delete files that it does not need, or ask for a "
                    "larger quota"
                )
            if taken >= glance_at:
                self._homes.require_room(size, "this snapshot")
                glance_at = taken + _GLANCE_BYTES

        return take

    async def _place(
        self, project: Project, shelf: Shelf, taking: Taking, order: Order, known: HomeSnapshots
    ) -> HomeSnapshot:
        doomed = await self._make_room(project, shelf, taking, order, known)
        count = taking.count
        snapshot = HomeSnapshot(
            id=str(uuid.uuid4()),
            project_id=project.project_id,
            account_id=order.account_id,
            title=order.title,
            automatic=order.automatic,
            files=count.files,
            bytes=count.bytes,
            own_bytes=count.new_bytes,
            skipped=count.skipped,
            changing=count.changing,
            created_at=self._clock.now(),
            expires_at=order.expires_at,
        )
        await self.run(shelf.begin)
        await self.run(lambda: taking.place(snapshot.id))
        used = await self.run(shelf.used_bytes)
        async with self._store.write() as tx:
            await tx.snapshots.add(snapshot)
            await tx.snapshots.set_used(project.project_id, used)
            event = {"event": "snapshot_created", "snapshot_id": snapshot.id, "files": count.files}
            event |= {"bytes": count.bytes, "own_bytes": count.new_bytes, "automatic": order.automatic}
            await tx.log.append(project.project_id, order.account_id, event, at=snapshot.created_at)
        if doomed:
            await self.drop(project.project_id, shelf, doomed, account_id=None, reason="room was needed for another")
        else:
            shelf.end()
        return snapshot

    async def _make_room(
        self, project: Project, shelf: Shelf, taking: Taking, order: Order, known: HomeSnapshots
    ) -> list[str]:
        """Which automatic snapshots have to go so that a new one fits, the oldest first.

        Raises:
            LimitError: Not even without all of them would it.
        """
        share, used = self.share_bytes(project), await self.run(shelf.used_bytes)
        needed = used + taking.count.new_bytes - share
        if needed <= 0:
            return []
        may_go = [row for row in reversed(known.rows) if row.automatic and row.id not in order.keeps]
        stay = [row for row in known.rows if row not in may_go]
        files = sum(row.files for row in known.rows) + taking.count.files
        freed = await self.run(
            lambda: freed_by(
                shelf,
                [shelf.manifest(row.id) for row in may_go],
                [*(shelf.manifest(row.id) for row in stay), taking.manifest],
                files,
            )
        )
        for number, size in enumerate(freed):
            needed -= size
            if needed <= 0:
                return [row.id for row in may_go[: number + 1]]
        raise LimitError(
            f"the snapshots of project '{project.project_id}' take {to_mb(used)} MB of the {to_mb(share)} MB that they "
            f"may ({self._percent} % of its disk quota), and this one would add {to_mb(taking.count.new_bytes)} MB; "
            "delete one of them, or ask for a larger quota",
            used_bytes=used,
            quota_bytes=share,
            needed_bytes=taking.count.new_bytes,
        )

    async def drop(
        self,
        project_id: ProjectId,
        shelf: Shelf,
        ids: Sequence[str],
        *,
        account_id: AccountId | None,
        reason: str | None = None,
    ) -> int:
        """Let snapshots go, within a `turn`; tells what came free of what they count."""
        await self.run(shelf.begin)
        async with self._store.write() as tx:
            for snapshot_id in await tx.snapshots.remove(ids):
                event: dict[str, Any] = {"event": "snapshot_deleted", "snapshot_id": snapshot_id}
                if reason is not None:
                    event["reason"] = reason
                await tx.log.append(project_id, account_id, event, at=self._clock.now())
        return await self._clear(project_id, shelf)

    async def _clear(self, project_id: ProjectId, shelf: Shelf) -> int:
        """Remove from a shelf all that no row of the store needs; the end of whatever was under way."""
        rows = (await self.of_project(project_id)).rows
        files = sum(row.files for row in rows)

        def work() -> tuple[int, int]:
            there = shelf.ids()
            freed = sweep(shelf, [shelf.manifest(row.id) for row in rows if row.id in there], files)
            for dead in there - {row.id for row in rows}:
                shelf.manifest(dead).unlink(missing_ok=True)
            return freed, shelf.used_bytes()

        freed, used = await self.run(work)
        async with self._store.write() as tx:
            await tx.snapshots.set_used(project_id, used)
        shelf.end()
        return freed

    # -- what a killed hub has left ----------------------------------------------------------------

    async def repair(self) -> None:
        """Bring to an end what a killed hub has left in the middle."""
        for project_id in await self.run(lambda: list(unfinished(self.root))):
            async with self.turn(project_id):
                pass

    async def _repair(self, project_id: ProjectId, shelf: Shelf) -> None:
        async with self._store.read() as tx:
            project = await tx.projects.get(project_id)
        if project is not None:
            await self.finish_restoring(project)
        await self._clear(project_id, shelf)

    async def finish_restoring(self, project: Project) -> list[str]:
        """Bring about what was decided for a home, if anything was; tells what went to the trash.

        Raises:
            HubError: Something resists; it is tried again.
        """
        home = self._homes.found(project.project_id)
        plan = await self.run(lambda: restoring.pending(home))
        if plan is None:
            return []
        at = self._clock.now()
        before = self.shelf(project.project_id).manifest(plan.before)
        finish = self._homes.lending([project.project_id], lambda: restoring.finish(home, plan, at, before))
        in_trash = await self.run(finish)
        async with self._store.write() as tx:
            event: dict[str, Any] = {
                "event": "snapshot_restored",
                "snapshot_id": plan.snapshot_id,
                "path": shown(plan.path),
            }
            event |= {"files": plan.files, "bytes": plan.bytes, "before": plan.before}
            event |= {"in_trash": [shown(path) for path in in_trash]}
            await tx.log.append(project.project_id, AccountId(plan.by), event, at=at)
        await self.run(lambda: restoring.forget(home))
        return in_trash

    def close(self) -> None:
        """End: what is under way is given up."""
        for work in self.under_way.values():
            work.course.cancel()
        self._threads.shutdown(wait=False, cancel_futures=True)
