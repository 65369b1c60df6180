"""Watches over the ways out of projects: one that was killed is replaced, as long as its project lives.

A project whose uplink is gone has no network, which nobody inside can tell from one that is broken elsewhere.
"""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Final

import structlog

from projecthub.engines.local import processes, uplink
from projecthub.engines.local.cgroups import Group
from projecthub.engines.local.records import Record, project_dir
from projecthub.errors import StartFailed

_FIRST_S: Final = 0.25
"""Before another: the init of a project that ends lets go of its uplink a moment before it is gone itself."""
_MOST_S: Final = 60.0
_log = structlog.get_logger()


class Uplinks:
    """The watches of an engine's runs."""

    def __init__(self, runtime_dir: Path) -> None:
        """Make it, for the runs whose directories are in ``runtime_dir``."""
        self._runtime_dir = runtime_dir
        self._watches: dict[str, asyncio.Task[None]] = {}

    def watch(self, record: Record) -> None:
        """Watch over the uplink of a run, if it has one and nobody does yet."""
        directory = project_dir(self._runtime_dir, record.project_id)
        if record.session_id in self._watches or not uplink.is_wanted(directory):
            return
        watch = self._watches[record.session_id] = asyncio.create_task(_watch(directory, record))
        watch.add_done_callback(lambda _: self._watches.pop(record.session_id, None))

    async def leave(self, record: Record) -> None:
        """Watch no longer over a run that is to end, and begin no other uplink of it."""
        await self._end(self._watches.get(record.session_id))

    async def close(self) -> None:
        """Watch no longer over any."""
        for watch in [*self._watches.values()]:
            await self._end(watch)

    async def _end(self, watch: asyncio.Task[None] | None) -> None:
        if watch is not None:
            watch.cancel()
            await asyncio.wait([watch])


async def _watch(directory: Path, record: Record) -> None:
    """Replace the uplink of a run whenever it has ended, later each time if it does not last."""
    wait_s = _FIRST_S
    while True:
        begin = time.monotonic()
        process = uplink.saved(directory)
        if process is not None:
            await processes.end_of(process, reap=True)
        if time.monotonic() - begin > _MOST_S:
            wait_s = _FIRST_S
        await asyncio.sleep(wait_s)
        wait_s = min(2 * wait_s, _MOST_S)
        if not record.is_alive():
            return
        told = {"project_id": record.project_id}
        try:
            await uplink.attach_again(directory, record.init, record.server, Group(record.groups))
            _log.warning("engine.uplink_replaced", **told)
        except (StartFailed, OSError) as error:
            why = error.message if isinstance(error, StartFailed) else error.strerror
            if record.is_alive():
                _log.error("engine.uplink_lost", **told, error=why, again_in_s=wait_s)
