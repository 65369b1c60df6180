"""How runs end: waits for it, once for all who ask, and remembers what was seen."""

from __future__ import annotations

import asyncio
import signal
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Final

import structlog

from projecthub.engines.local import processes, uplink
from projecthub.engines.local.cgroups import Group
from projecthub.engines.local.records import Record, project_dir, read_exit
from projecthub.engines.port import Exit, Isolation

_REMEMBERED: Final = 1024
# How long an init may outlive its server. It ends with it, or with what it has asked to end, which may take its time.
_OUTLIVES_S = 10.0

_log = structlog.get_logger()


class Ends:
    """The ends of an engine's runs."""

    def __init__(self, runtime_dir: Path) -> None:
        """Make one, for the runs whose directories are in ``runtime_dir``."""
        self._runtime_dir = runtime_dir
        self._before_boot: set[str] = set()
        self._oom_kills: dict[str, int] = {}  # by session, as of the last look at its activity
        self._watches: dict[str, asyncio.Task[Exit]] = {}
        self._exits: OrderedDict[str, Exit] = OrderedDict()

    @property
    def watches(self) -> Mapping[str, asyncio.Task[Exit]]:
        """The tasks that wait for ends, by session."""
        return self._watches

    def before_boot(self, session_id: str) -> None:
        """Remember that a run ended because the machine was booted anew."""
        self._before_boot.add(session_id)

    def seen_oom_kills(self, session_id: str, kills: int) -> None:
        """Remember how many processes of a run had been ended for want of memory when it was looked at last."""
        self._oom_kills[session_id] = kills

    async def exit_of(self, session_id: str, record: Record | None) -> Exit:
        """How a run ends or has ended; ``record`` is what there is of its project now, of this run or another."""
        if session_id not in self._exits and session_id not in self._watches:
            if record is None or record.session_id != session_id:
                return Exit(rebooted=session_id in self._before_boot)
            self.watch(record)
        if session_id in self._watches:
            return await asyncio.shield(self._watches[session_id])
        return self._exits[session_id]

    def watch(self, record: Record) -> asyncio.Task[Exit]:
        """The task that waits for the end of a run, one for all who ask."""
        session_id = record.session_id
        watch = self._watches.get(session_id)
        if watch is None:
            watch = self._watches[session_id] = asyncio.create_task(self._see_end(record))
            watch.add_done_callback(lambda _: self._watches.pop(session_id))
        return watch

    async def _see_end(self, record: Record) -> Exit:
        if record.boot_id == processes.boot_id():
            await _end_of_init(record)
            await uplink.end(project_dir(self._runtime_dir, record.project_id))
        known = read_exit(project_dir(self._runtime_dir, record.project_id))
        kills = Group(record.groups).oom_kills() - self._oom_kills.pop(record.session_id, 0)
        if kills > 0:
            killed = known.code is None and known.signal in (None, signal.SIGKILL)
            known = replace(known, out_of_memory=killed, oom_kills=kills)
        self._exits[record.session_id] = known
        if len(self._exits) > _REMEMBERED:
            self._exits.popitem(last=False)
        return known


async def _end_of_init(record: Record) -> None:
    """Wait for the end of an init, and see to it if it does not end after its server: it may have been stopped."""
    init = asyncio.ensure_future(processes.end_of(record.init))
    server = asyncio.ensure_future(processes.end_of(record.server))
    try:
        await asyncio.wait([init, server], return_when=asyncio.FIRST_COMPLETED)
        done, _ = await asyncio.wait([init], timeout=_OUTLIVES_S)
        if not done:
            _log.warning("engine.init_outlives_server", project_id=record.project_id)
            if record.isolation is Isolation.NONE:
                processes.kill_tree(record.init.pid)
            processes.send(record.init, signal.SIGKILL)
            await init
    finally:
        init.cancel()
        server.cancel()
