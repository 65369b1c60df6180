"""What a hub does by itself, now and then."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from datetime import timedelta
from typing import TYPE_CHECKING, Final

import structlog

from projecthub.errors import Conflict

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from projecthub.hub.cell_log import CellLog
    from projecthub.hub.clock import Clock
    from projecthub.hub.command_log import CommandLog
    from projecthub.hub.idle import Idle
    from projecthub.hub.jobs import Jobs
    from projecthub.hub.keys import Keys
    from projecthub.hub.lifecycle import Lifecycle
    from projecthub.hub.projects import Projects
    from projecthub.store import Store

FLUSH_EVERY_S: Final = 5.0
SWEEP_EVERY_S: Final = 60.0
IDEMPOTENCY_KEPT: Final = timedelta(hours=24)
LOG_BATCH: Final = 500
LOG_BATCHES: Final = 20
"""So many batches of old entries are deleted at most once a minute, each in a transaction of its own."""


_log = structlog.get_logger()


class Housekeeping:
    """Writes what was used and run, stops idle projects, deletes those whose lifetime is over, forgets old keys."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        keys: Keys,
        projects: Projects,
        lifecycle: Lifecycle,
        idle: Idle,
        jobs: Jobs,
        commands: CommandLog,
        cells: CellLog,
        also: Sequence[Callable[[], Awaitable[object]]] = (),
        *,
        log_kept: timedelta | None = None,
    ) -> None:
        """Make the service; ``also`` is done once a minute, too.

        ``log_kept``: for how long entries of projects' logs are kept; None: for ever.
        """
        self._log_kept = log_kept
        self._jobs = jobs
        self._commands = commands
        self._cells = cells
        self._also = also
        self._store = store
        self._clock = clock
        self._keys = keys
        self._projects = projects
        self._lifecycle = lifecycle
        self._idle = idle
        self._task: asyncio.Task[None] | None = None

    def open(self) -> None:
        """Begin."""
        self._task = asyncio.create_task(self._run(), name="housekeeping")

    async def close(self) -> None:
        """End, and write what is still to be written."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
        await self._keys.flush()
        await self._cells.close()
        await self._commands.flush()

    async def _run(self) -> None:
        since_sweep = SWEEP_EVERY_S
        while True:
            await _each(
                self._keep_claim, self._keys.flush, self._cells.look, self._commands.flush, self._jobs.note_ends
            )
            if since_sweep >= SWEEP_EVERY_S:
                since_sweep = 0.0
                await self.sweep()
            await asyncio.sleep(FLUSH_EVERY_S)
            since_sweep += FLUSH_EVERY_S

    async def _keep_claim(self) -> None:
        try:
            await self._store.keep_claim()
        except Conflict as error:
            # Two hubs would each run every project. This one ends, as if it had been asked to; projects run on.
            _log.critical("hub.store_taken", error=error.message)
            signal.raise_signal(signal.SIGTERM)

    async def sweep(self) -> None:
        """Do what is done once a minute. What fails keeps nothing else from being done."""
        own = (self._idle.look, self._projects.delete_expired, self._lifecycle.settle_all, self._prune, self._prune_log)
        await _each(*own, *self._also)

    async def _prune(self) -> None:
        async with self._store.write() as tx:
            await tx.idempotency.prune(self._clock.now() - IDEMPOTENCY_KEPT)

    async def _prune_log(self) -> None:
        """Delete what is too old in the logs of projects."""
        if self._log_kept is None:
            return
        before = self._clock.now() - self._log_kept
        for _ in range(LOG_BATCHES):
            async with self._store.write() as tx:
                deleted = await tx.log.prune(before, at_most=LOG_BATCH)
            if deleted < LOG_BATCH:
                return


async def _each(*works: Callable[[], Awaitable[object]]) -> None:
    """Do one after the other. What fails keeps nothing else from being done."""
    for work in works:
        try:
            await work()
        except Exception:
            _log.exception("housekeeping.failed", work=getattr(work, "__qualname__", ""))
