"""Looks after what runs, once a minute: projects that nobody uses are stopped, for reasons that one can read.

Signs of use are calls (each marks the project as used when it comes, and as long as it lasts), jobs and executions in
sessions that run, whatever they do, processor time of the project's processes, and open terminals. Once a minute every
project that runs is looked at. One that has shown no sign for as long as its quota says is warned in its log, and
stopped at the next look. What ran out of memory is noted there too.

Of jobs and executions only the project's server knows; it is asked if the project has any processes.

Source: Wire contract 7.2.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

import structlog

from projecthub.errors import HubError
from projecthub.hub import figures
from projecthub.store.records import Project, State
from projecthub.wire.units import to_iso

if TYPE_CHECKING:
    from projecthub.engines.port import Activity, Engine, Instance
    from projecthub.hub.calls import ProjectCalls
    from projecthub.hub.clock import Clock
    from projecthub.hub.lifecycle import Lifecycle
    from projecthub.hub.quotas import Quotas
    from projecthub.store import Store
    from projecthub.wire import shapes
    from projecthub.wire.ids import ProjectId

WARNED_BEFORE: Final = timedelta(minutes=5)
"""The warning comes this long before the stop at most."""

_WARNED_SHARE: Final = 5
"""And no more than this part of the time without use before it: who comes back in time has not been warned in vain."""

BUSY: Final = 0.01
"""Processor time that counts as use, as a share of one processor since the last look."""

_JUMP: Final = timedelta(minutes=5)
"""If there is more than this between two looks, the clock was set or the machine slept: counting begins anew."""

_ASKED_AT_ONCE: Final = 64
_MOST: Final = 1_000_000
_log = structlog.get_logger()


@dataclass(slots=True)
class _Watched:
    """What was seen of one run.

    Attributes:
        session_id: Which run.
        cpu_s: Its processor time at the last look.
        looked_at: When that was.
        active_at: When it last showed a sign of use other than a call that came.
        sign: Which.
        terminals: How many were open at the last look.
        jobs: How many ran then, runs of notebooks among them.
        executions: How many ran or waited in sessions then.
        oom_kills: How many of its processes had been ended for want of memory by then.
        told_oom_kills: How many of these the log tells of.
        warned: Since when it had been idle when it was warned.
    """

    session_id: str
    cpu_s: float
    looked_at: datetime
    active_at: datetime
    sign: str = "it was started"
    terminals: int = 0
    jobs: int = 0
    executions: int = 0
    oom_kills: int = 0
    told_oom_kills: int = 0
    warned: datetime | None = None


class Idle:
    """Finds projects that are not used, and stops them."""

    def __init__(
        self, store: Store, engine: Engine, lifecycle: Lifecycle, calls: ProjectCalls, quotas: Quotas, clock: Clock
    ) -> None:
        """Make the service; somebody has to call `look` once a minute."""
        self._store = store
        self._engine = engine
        self._lifecycle = lifecycle
        self._calls = calls
        self._quotas = quotas
        self._clock = clock
        self._watched: dict[ProjectId, _Watched] = {}
        self._asking = asyncio.Semaphore(_ASKED_AT_ONCE)
        self._last_look: datetime | None = None
        self._opened_at = clock.now()
        self._counts_from: datetime | None = None

    async def look(self) -> int:
        """Look at all projects that run; warn and stop those that are idle. Tells how many were stopped."""
        now = self._clock.now()
        if self._last_look is not None and not timedelta(0) <= now - self._last_look <= _JUMP:
            self._counts_from = self._opened_at = now
        self._last_look = now
        instances = {instance.project_id: instance for instance in self._lifecycle.instances()}
        self._watched = {each: seen for each, seen in self._watched.items() if each in instances}
        seen = await asyncio.gather(*(self._see(instance, now) for instance in instances.values()))
        active = [project_id for project_id, is_active in zip(instances, seen, strict=True) if is_active]
        await self._tell_oom_kills(now)
        if active:
            async with self._store.write() as tx:
                await tx.projects.mark_active(active, at=now)
        async with self._store.read() as tx:
            running = await tx.projects.in_states([State.RUNNING])
        stopped = [await self._judge(project, now) for project in running if project.project_id in instances]
        return sum(stopped)

    async def _see(self, instance: Instance, now: datetime) -> bool:
        """Look at one instance; whether it is in use, other than by a call that came."""
        activity = await self._engine.activity(instance)
        if activity is None:
            return False
        watched = self._watched.get(instance.project_id)
        if watched is None or watched.session_id != instance.session_id:
            # Of a run that began while this hub was there all of its time counts.
            known = self._opened_at <= instance.started_at < now
            cpu_s, looked_at = (0.0, instance.started_at) if known else (activity.cpu_s, now)
            self._watched[instance.project_id] = _Watched(
                instance.session_id, cpu_s, looked_at, min(instance.started_at, now)
            )
            watched = self._watched[instance.project_id]
        watched.oom_kills, watched.terminals = activity.oom_kills, activity.terminals
        watched.jobs, watched.executions = await self._running(instance.project_id) if activity.processes else (0, 0)
        blocks = self._blocks(instance.project_id)
        sign = blocks[0] if blocks else _busy(watched, activity, now)
        watched.cpu_s, watched.looked_at = activity.cpu_s, now
        if sign is None:
            return False
        watched.active_at, watched.sign = now, sign
        return True

    async def _running(self, project_id: ProjectId) -> tuple[int, int]:
        """How many jobs run, and executions in sessions run or wait, as the project says; else (0, 0)."""
        try:
            async with self._asking:
                told = await self._calls.ask(project_id, "system.activity", [])
        except HubError:  # it does not answer, or is older than this hub
            return 0, 0
        jobs, executions = (told.get(name) if isinstance(told, dict) else None for name in ("jobs", "executions"))
        return _count(jobs), _count(executions)

    async def _tell_oom_kills(self, now: datetime) -> None:
        """Note in the log of projects that processes of theirs were ended for want of memory."""
        seen = {each: watched.oom_kills for each, watched in self._watched.items()}
        new = {each: kills - self._watched[each].told_oom_kills for each, kills in seen.items()}
        new = {each: kills for each, kills in new.items() if kills > 0}
        if not new:
            return
        async with self._store.write() as tx:
            for project_id, kills in new.items():
                await tx.log.append(project_id, None, {"event": "project_out_of_memory", "processes": kills}, at=now)
        figures.oom_killed(sum(new.values()))
        for project_id in new:
            if watched := self._watched.get(project_id):
                watched.told_oom_kills = seen[project_id]

    def _blocks(self, project_id: ProjectId) -> list[str]:
        """What keeps a project from being idle: calls under way, and what ran and was open at the last look."""
        found = [(self._calls.under_way(project_id), "a call is under way", "calls are under way")]
        if (watched := self._watched.get(project_id)) is not None:
            found += [
                (watched.jobs, "a job runs", "jobs run"),
                (watched.executions, "an execution runs in a session", "executions run in sessions"),
                (watched.terminals, "a terminal is open", "terminals are open"),
            ]
        return [f"{count} {many}" if count > 1 else one for count, one, many in found if count]

    async def _judge(self, project: Project, now: datetime) -> bool:
        """Warn or stop a project if its time has come; whether it was stopped."""
        watched = self._watched.get(project.project_id)
        since, _ = self._idle_since(project, now)
        stop_at = self._would_stop_at(project, since)
        if watched is None or stop_at is None or now < stop_at - self._warned_before(project):
            return False
        if watched.warned != since:  # nobody is stopped without having been warned a look earlier
            watched.warned = since
            await self._warn(project, max(stop_at, now), now)
            return False
        if now < stop_at or not await self._still_idle(project):
            return False
        reason = f"it was idle for {round((now - since).total_seconds() / 60)} minutes"
        try:
            await self._lifecycle.stop(project.project_id, reason=reason)
        except HubError as error:
            _log.warning("project.not_stopped", project_id=project.project_id, error=error.message)
            return False
        figures.stopped_idle()
        return True

    async def _still_idle(self, project: Project) -> bool:
        """Whether nobody has come since the look began."""
        async with self._store.read() as tx:
            latest = await tx.projects.get(project.project_id)
        unused = latest is not None and latest.last_edited_at == project.last_edited_at
        return unused and not self._calls.under_way(project.project_id)

    async def _warn(self, project: Project, stop_at: datetime, now: datetime) -> None:
        event = {"event": "project_idle_warning", "would_stop_at": to_iso(stop_at)}
        async with self._store.write() as tx:
            await tx.log.append(project.project_id, None, event, at=now)

    def _idle_since(self, project: Project, now: datetime) -> tuple[datetime, str]:
        """Since when a project that runs has shown no sign of use, and what the last one was."""
        watched = self._watched.get(project.project_id)
        signs = [
            *([(watched.active_at, watched.sign)] if watched else []),
            (project.last_edited_at, "it was called or touched"),
            *([(project.active_at, "its processes were busy")] if project.active_at else []),
            *([(self._counts_from, "the clock was set")] if self._counts_from else []),
        ]
        # A time to come was written before the clock was set back: it tells nothing.
        past = [(at, sign) for at, sign in signs if at <= now]
        return max(past, key=lambda each: each[0], default=(now, "the clock was set back"))

    def _would_stop_at(self, project: Project, since: datetime) -> datetime | None:
        timeout_s = self._quotas.idle_timeout_s(project.run_quota)
        if timeout_s is None or self._quotas.always_running(project.run_quota, project.settings):
            return None
        if self._blocks(project.project_id):
            return None
        # A hub that was away for long leaves time to come back to what it still remembers.
        return max(since + timedelta(seconds=timeout_s), self._opened_at + WARNED_BEFORE)

    def _warned_before(self, project: Project) -> timedelta:
        timeout_s = self._quotas.idle_timeout_s(project.run_quota) or 0
        return min(WARNED_BEFORE, timedelta(seconds=timeout_s / _WARNED_SHARE))

    async def look_at(self, instance: Instance) -> None:
        """Look at one project now, so that `report` tells of this moment."""
        await self._see(instance, self._clock.now())

    def report(self, project: Project) -> shapes.Idle:
        """Since when a project that runs is not used, why, and when it would be stopped."""
        now = self._clock.now()
        since, sign = self._idle_since(project, now)
        stop_at = self._would_stop_at(project, since)
        blocked_by = self._blocks(project.project_id)
        if self._quotas.always_running(project.run_quota, project.settings):
            blocked_by.append("it is to run always")
        timeout_s = self._quotas.idle_timeout_s(project.run_quota)
        if timeout_s is None:
            blocked_by.append("its quota has no idle timeout")
        return {
            "idle_for_s": round((now - since).total_seconds()),
            "idle_timeout_s": timeout_s,
            "would_stop_at": None if stop_at is None else to_iso(stop_at),
            "because": f"{sign} at {to_iso(since)}",
            "blocked_by": blocked_by,
        }


def _busy(watched: _Watched, activity: Activity, now: datetime) -> str | None:
    """The sign of use that processor time is, if there was enough of it since the last look."""
    used_s = activity.cpu_s - watched.cpu_s
    elapsed_s = (now - watched.looked_at).total_seconds()
    return "its processes were busy" if elapsed_s > 0 and used_s >= BUSY * elapsed_s else None


def _count(told: object) -> int:
    """What a project says is a number of things."""
    return told if isinstance(told, int) and not isinstance(told, bool) and 0 < told < _MOST else 0
