"""Snapshots that a hub takes by itself, of projects that were used since it looked last.

Two cheap questions a minute say what there is to do, whatever the number of projects: which were edited since the time
up to which this was asked before (an index of the store), and which of those that were noted are due (another). Those
that run count as used. One after the other is taken, in a task of its own, with a pause after each as long as it took.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

import structlog

from projecthub.errors import HubError
from projecthub.files.snapshots.shelves import sweep_pool
from projecthub.hub.snapshot_keeping import Order
from projecthub.store.records import State

if TYPE_CHECKING:
    from collections.abc import Sequence

    from projecthub.hub.clock import Clock
    from projecthub.hub.snapshot_keeping import SnapshotKeeping
    from projecthub.store import Store
    from projecthub.store.records import HomeSnapshot, Project
    from projecthub.wire.ids import ProjectId

DAYS: Final = 7
WEEKS: Final = 4
_ALL_KEPT: Final = timedelta(days=1)
_AGAIN: Final = timedelta(hours=1)
_NOTED_AT_ONCE: Final = 500
_TAKEN_AT_ONCE: Final = 20
_EXPIRED_AT_ONCE: Final = 100
_POOL_PARTS: Final = 256

_log = structlog.get_logger()


class SnapshotSchedule:
    """Takes snapshots by itself, and lets those go whose time is over."""

    def __init__(self, store: Store, keeping: SnapshotKeeping, clock: Clock, *, hours: int) -> None:
        """Make the service.

        Args:
            store: The store.
            keeping: Takes them.
            clock: Tells when.
            hours: How long after the last look at a project another is taken if it was used; 0: none are.
        """
        self._store = store
        self._keeping = keeping
        self._clock = clock
        self._every = timedelta(hours=hours)
        self._task: asyncio.Task[None] | None = None
        self._pool_part = 0
        self._has_repaired = False

    async def sweep(self) -> None:
        """See what is due, once a minute; the work itself goes on beside."""
        if self._task is None or self._task.done():
            if self._every:
                await self._note_used()
            self._task = asyncio.create_task(self._told(), name="snapshots")

    async def close(self) -> None:
        """End."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
        self._keeping.close()

    async def settled(self) -> None:
        """Wait for the end of the work that the last `sweep` has begun."""
        if self._task is not None:
            await self._task

    async def _told(self) -> None:
        try:
            await self._work()
        except Exception:
            _log.exception("snapshots.failed")

    async def _note_used(self) -> None:
        """Note which projects were used, and when the hub is to look at them."""
        now = self._clock.now()
        async with self._store.read() as tx:
            seen = await tx.snapshots.seen()
            edited = await tx.snapshots.edited(seen or now - self._every, limit=_NOTED_AT_ONCE)
            running = await tx.projects.in_states([State.RUNNING])
            edits = {**{project.project_id: now for project in running}, **dict(edited)}
            looked_at = await tx.snapshots.looked_at(list(edits))
        runs = {project.project_id for project in running}
        due: list[tuple[ProjectId, datetime]] = []
        for project_id, edited_at in edits.items():
            last, is_due = looked_at.get(project_id, (None, None))
            if is_due is None and (last is None or project_id in runs or edited_at > last):
                due.append((project_id, now if last is None else max(now, last + self._every)))
        up_to = edited[-1][1] if edited else seen or now
        if due or up_to != seen:
            async with self._store.write() as tx:
                await tx.snapshots.make_due(due)
                await tx.snapshots.set_seen(up_to)

    async def _work(self) -> None:
        if not self._has_repaired:
            self._has_repaired = True
            await self._keeping.repair()
        await self._drop_expired()
        await self._sweep_pool()
        if not self._every:
            return
        async with self._store.read() as tx:
            due = await tx.snapshots.due(self._clock.now(), limit=_TAKEN_AT_ONCE)
        for project_id in due:
            began = time.monotonic()
            await self._take(project_id)
            await asyncio.sleep(time.monotonic() - began)  # at most half of the time is spent on this

    async def _take(self, project_id: ProjectId) -> None:
        """Look at one project. What goes wrong is tried again in an hour, and keeps no other waiting."""
        looked_at = self._clock.now()  # what is changed from here on may not be in it
        try:
            async with self._store.read() as tx:
                project = await tx.projects.get(project_id)
            if project is not None and not project.deleted:
                await self._take_of(project)
            again_at = None
        except HubError as error:
            _log.warning("snapshots.not_taken", project_id=project_id, error=error.message)
            again_at = self._clock.now() + min(self._every, _AGAIN)
        async with self._store.write() as tx:
            await tx.snapshots.looked(project_id, at=looked_at, again_at=again_at)

    async def _take_of(self, project: Project) -> None:
        async with self._keeping.turn(project.project_id) as shelf:
            taken = await self._keeping.take(project, shelf, Order(account_id=None, automatic=True, only_if_other=True))
            if taken is None:
                return
            rows = (await self._keeping.of_project(project.project_id)).rows
            doomed = outgrown([row for row in rows if row.automatic], self._clock.now())
            if doomed:
                ids = [row.id for row in doomed]
                why = "there are newer ones"
                await self._keeping.drop(project.project_id, shelf, ids, account_id=None, reason=why)

    async def _drop_expired(self) -> None:
        async with self._store.read() as tx:
            expired = await tx.snapshots.expired(self._clock.now(), limit=_EXPIRED_AT_ONCE)
        for project_id in dict.fromkeys(project_id for project_id, _ in expired):
            ids = [snapshot_id for owner, snapshot_id in expired if owner == project_id]
            try:
                async with self._keeping.turn(project_id) as shelf:
                    why = "its time was over"
                    await self._keeping.drop(project_id, shelf, ids, account_id=None, reason=why)
            except HubError as error:
                _log.warning("snapshots.not_expired", project_id=project_id, error=error.message)

    async def _sweep_pool(self) -> None:
        prefix = f"{self._pool_part:02x}"
        self._pool_part = (self._pool_part + 1) % _POOL_PARTS
        await self._keeping.run(lambda: sweep_pool(self._keeping.root, prefix))


def outgrown(automatic: Sequence[HomeSnapshot], now: datetime) -> list[HomeSnapshot]:
    """Which automatic snapshots go: all but those of the last day, and the newest of each of 7 days and 4 weeks.

    Args:
        automatic: Those of one project, newest first.
        now: What time it is.
    """
    days: set[object] = set()
    weeks: set[object] = set()
    doomed: list[HomeSnapshot] = []
    for row in automatic:
        day, week = row.created_at.date(), row.created_at.isocalendar()[:2]
        first_of_day, first_of_week = day not in days, week not in weeks
        stays = now - row.created_at < _ALL_KEPT
        stays |= first_of_day and len(days) < DAYS
        stays |= first_of_week and len(weeks) < WEEKS
        days.add(day)
        weeks.add(week)
        if not stays:
            doomed.append(row)
    return doomed
