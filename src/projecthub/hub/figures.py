"""What a hub counts of itself, for Prometheus. No label ever holds an id, so that there are few series.

The counters belong to the process, as is the habit with Prometheus; `Figures` adds what is looked up at a scrape.
"""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

import structlog
from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from projecthub.errors import HubError
from projecthub.store.records import State

if TYPE_CHECKING:
    from collections.abc import Callable

    from projecthub.hub.clock import Clock
    from projecthub.store import Store

FRESH_FOR: Final = timedelta(seconds=5)
"""For how long the number of projects by state is good, however often it is asked for."""

_STARTS: Final = Histogram(
    "projecthub_start_seconds",
    "Time of a start until the project server has answered, by whether it was the project's first.",
    ["kind"],
    buckets=(0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60),
)
_FAILED_STARTS: Final = Counter("projecthub_starts_failed", "Starts that did not come up.")
_RESTARTS: Final = Counter("projecthub_restarts", "Running projects that were restarted, by whom.", ["by"])
_CRASHES: Final = Counter("projecthub_crashes", "Project servers that ended though nobody had asked.")
_OOM_KILLS: Final = Counter("projecthub_oom_kills", "Processes of projects that were ended for want of memory.")
_IDLE_STOPS: Final = Counter("projecthub_idle_stops", "Projects that were stopped because nobody used them.")
_COPIES: Final = Histogram(
    "projecthub_copy_seconds",
    "Time of copies between projects, by outcome.",
    ["outcome"],
    buckets=(0.005, 0.02, 0.1, 0.5, 2, 10, 60, 300),
)
_COPIED_BYTES: Final = Counter("projecthub_copied_bytes", "Bytes that copies between projects have written.")

_log = structlog.get_logger()


def started(seconds: float, *, first: bool) -> None:
    """A project server has answered, so many seconds after its start began; ``first``: of a project never started."""
    _STARTS.labels("first" if first else "again").observe(seconds)


def start_failed() -> None:
    """A start did not come up. Not one that a stop has cancelled."""
    _FAILED_STARTS.inc()


def restarted(*, by_hub: bool) -> None:
    """A project was restarted: because somebody asked, or by the hub after a death or for a new quota."""
    _RESTARTS.labels("hub" if by_hub else "call").inc()


def crashed() -> None:
    """A project server ended though nobody had asked."""
    _CRASHES.inc()


def oom_killed(processes: int = 1) -> None:
    """Processes of a project were ended for want of memory."""
    _OOM_KILLS.inc(processes)


def stopped_idle() -> None:
    """A project was stopped because nobody used it."""
    _IDLE_STOPS.inc()


def copied(seconds: float, written_bytes: int, *, outcome: str = "ok") -> None:
    """A copy has ended; ``outcome`` is ``ok`` or the code of its error."""
    _COPIES.labels(outcome).observe(seconds)
    _COPIED_BYTES.inc(written_bytes)


class Figures:
    """All figures of a hub, as text for Prometheus."""

    def __init__(self, store: Store, clock: Clock) -> None:
        """Make the service; the projects are counted in ``store``, ``clock`` tells when that was."""
        self._store = store
        self._clock = clock
        self._registry = CollectorRegistry()
        self._projects = Gauge(
            "projecthub_projects", "Projects by state; deleted ones are stopped.", ["state"], registry=self._registry
        )
        self._counted_at: datetime | None = None
        self._counting = asyncio.Lock()

    def queue(self, name: str, help: str, length: Callable[[], int]) -> None:
        """Show the length of a queue as ``projecthub_<name>``: ``length`` is called at every scrape, and is cheap."""
        Gauge(f"projecthub_{name}", help, registry=self._registry).set_function(length)

    async def text(self) -> bytes:
        """The figures in Prometheus's own format. Without the projects by state when the store does not answer."""
        async with self._counting:
            await self._count_projects()
        return generate_latest(REGISTRY) + generate_latest(self._registry)

    async def _count_projects(self) -> None:
        now = self._clock.now()
        if self._counted_at is not None and timedelta() <= now - self._counted_at < FRESH_FOR:
            return
        try:
            async with self._store.read() as tx:
                counts = await tx.projects.count_by_state()
        except HubError as error:
            _log.warning("figures.not_counted", error=error.message)
            self._projects.clear()
            return
        for state in State:
            self._projects.labels(state.value).set(counts.get(state, 0))
        self._counted_at = now
