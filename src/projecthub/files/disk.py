"""The disk use of one home, measured on a budget of processor time."""

from __future__ import annotations

import asyncio
import math
import time
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from projecthub.files.scans import HomeScan, Steps
from projecthub.files.space import Disk, HomeSpace
from projecthub.wire.ids import ProjectId

_FRESH_S = 3.0
_SHARE = 0.05
"""Of one processor core, what looks at one home take at most, however often somebody asks."""
_STALE_S = 60.0
"""A figure that is older is not told or relied on as long as a new one can be had soon."""
_STALE_WAIT_S = 2.0
_MAX_DIRECTORIES = 200_000
"""About 100 MB."""


@dataclass(frozen=True, slots=True)
class DiskUse:
    """How much a home takes on disk.

    Attributes:
        used_bytes: With directories and without holes; a file with several names counts once.
        age_s: Files that grew or shrank in place within the last ``age_s`` seconds may still count with their size of
            before. What was made or deleted counts as of the last look, some seconds ago.
    """

    used_bytes: int
    age_s: float


class DiskGauge:
    """The disk use of one home: the last look, and the one under way."""

    def __init__(
        self,
        scan: HomeScan,
        executor: Executor,
        now: Callable[[], float] = time.monotonic,
        *,
        ended: Callable[[int, float], None] = lambda used_bytes, began: None,
    ) -> None:
        """Make ready.

        Args:
            scan: Measures the home.
            executor: Where its looks run, one slice of time after the other, so that all scans in there take turns.
            now: The clock, in seconds.
            ended: Told of the result of each look, with when it began.
        """
        self._scan = scan
        self._executor = executor
        self._now = now
        self._ended = ended
        self._known: int | None = None
        self._looked_at = now()
        self._rests_until = 0.0
        self._look: asyncio.Task[None] | None = None
        self._spent_s = 0.0  # what the last look has taken
        self._whole_s = 0.0  # and the last one at each file

    @property
    def is_looking(self) -> bool:
        """Whether a look is under way."""
        return self._look is not None

    async def read(self, wait_s: float) -> DiskUse:
        """Disk use, measured at most a few seconds ago if that takes no longer than ``wait_s`` seconds.

        Otherwise the last known value; if that is older than a minute, it waits up to 2 seconds; if there is none, to
        the end.
        """
        if self._known is None or self._now() >= self._rests_until:
            look = self._begin()
            if self._known is None:
                await asyncio.shield(look)
            else:
                age_s = self._now() - self._looked_at
                await asyncio.wait([look], timeout=wait_s if age_s < _STALE_S else _STALE_WAIT_S)
        return self._use()

    async def read_recent(self) -> DiskUse:
        """Disk use as of a look that ended less than a minute ago; waits for one if need be."""
        if self._known is None or self._now() - self._looked_at >= _STALE_S:
            await asyncio.shield(self._begin())
        return self._use()

    async def read_fresh(self) -> DiskUse:
        """Disk use as of a look that ended at most twenty times as long ago as it took; waits for one if need be."""
        if self._known is None or self._now() - self._looked_at >= self._spent_s / _SHARE:
            await asyncio.shield(self._begin())
        return self._use()

    async def read_whole(self) -> DiskUse:
        """The same as of a look at each file, also at those that grow in place."""
        if self._look is not None:
            await asyncio.shield(self._look)
        if self._known is None or self._now() - self._scan.round_began >= self._whole_s / _SHARE:
            await asyncio.shield(self._begin(is_whole=True))
        return self._use()

    async def read_now(self) -> DiskUse:
        """Disk use as of a look that begins now; waits for it, and for the one under way before."""
        if self._look is not None:
            await asyncio.shield(self._look)
        await asyncio.shield(self._begin())
        return self._use()

    def _use(self) -> DiskUse:
        return DiskUse(self._known or 0, max(0.0, self._now() - self._scan.round_began))

    def _begin(self, *, is_whole: bool = False) -> asyncio.Task[None]:
        if self._look is None:
            self._look = asyncio.create_task(self._measure(is_whole=is_whole or self._known is None))
        return self._look

    async def _measure(self, *, is_whole: bool) -> None:
        try:
            began = self._now()
            budget_s = math.inf if is_whole else (began - self._looked_at) * _SHARE
            steps = self._scan.look(budget_s)
            spent_s, has_ended = 0.0, False
            while not has_ended:
                taken_s, has_ended = await asyncio.get_running_loop().run_in_executor(self._executor, _step, steps)
                spent_s += taken_s
            self._looked_at = self._now()
            self._known = self._scan.used_bytes or None  # a home that does not exist may do so at any moment
            self._spent_s, self._whole_s = spent_s, spent_s if is_whole else self._whole_s
            self._rests_until = self._looked_at + max(_FRESH_S, spent_s / _SHARE)
        finally:
            self._look = None
        self._ended(self._scan.used_bytes, began)


def _step(steps: Steps) -> tuple[float, bool]:
    """Run one slice of a look; tells its seconds, and whether it was the last one."""
    began = time.perf_counter()
    has_ended = next(steps, _END) is _END
    return time.perf_counter() - began, has_ended


_END = object()


@dataclass(frozen=True, slots=True)
class MeasuredHome:
    """One home with all that is known of its size.

    Attributes:
        scan: Measures it.
        gauge: Asks for measurements, and tells them.
        space: Holds copies to what may be added to it.
    """

    scan: HomeScan
    gauge: DiskGauge
    space: HomeSpace


class MeasuredHomes:
    """Homes as they are asked for, with the one thread that their scans share."""

    def __init__(
        self,
        disk: Disk,
        max_directories: int = _MAX_DIRECTORIES,
        promised: Callable[[ProjectId, HomeSpace], object] = lambda project_id, space: None,
    ) -> None:
        """Make ready.

        Args:
            disk: What they lie on.
            max_directories: How many directories the scans together remember from one look to the next.
            promised: As `HomeSpace` tells it.
        """
        self._disk = disk
        self._promised = promised
        self._max_directories = max_directories
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="disk")
        self._homes: OrderedDict[ProjectId, MeasuredHome] = OrderedDict()

    def get(self, project_id: ProjectId, home: Path) -> MeasuredHome:
        """The home of a project, which lies at ``home``."""
        known = self._homes.get(project_id)
        if known is None:
            scan = HomeScan(home)
            space = HomeSpace(project_id, self._disk, lambda: self._promised(project_id, space))

            def ended(used_bytes: int, began: float) -> None:
                space.measured(used_bytes, began)
                self._forget()

            known = MeasuredHome(scan, DiskGauge(scan, self._executor, ended=ended), space)
            self._homes[project_id] = known
        self._homes.move_to_end(project_id)
        return known

    def _forget(self) -> None:
        """Keep what is remembered within bounds: what nobody has asked for longest goes first."""
        remembered = sum(home.scan.directories for home in self._homes.values())
        for home in self._homes.values():
            if remembered <= self._max_directories:
                return
            if not home.gauge.is_looking:
                remembered -= home.scan.directories
                home.scan.forget()
