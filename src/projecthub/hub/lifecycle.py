"""The life of projects: started, stopped, found again.

The store holds what is wished (``desired``) and what was seen last (``state``) of every project, and the number of its
last start (``epoch``). Each project that has something to do has one *turn* at a time: a task that carries out the
wishes for it in the order they came, and writes every step to the store before it tells anybody. A wish to stop cancels
a start that is under way. Nothing that matters lives only in memory: `open` compares the store with what the engine
finds and brings the two together.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import structlog

from projecthub.engines.port import Exit, Instance, StartSpec
from projecthub.errors import Conflict, HubError, NotFound
from projecthub.hub.permissions import not_deleted
from projecthub.store.records import Project, State
from projecthub.wire.units import from_ms, to_ms

if TYPE_CHECKING:
    from projecthub.engines.port import Engine
    from projecthub.hub.clock import Clock
    from projecthub.hub.homes import ProjectHomes
    from projecthub.store import Store
    from projecthub.wire.ids import ProjectId

_log = structlog.get_logger()


@dataclass(slots=True)
class _Wish:
    """Something asked of a project, with everybody who waits for it."""

    want: Literal["running", "stopped"]
    changes: dict[str, Any] = field(default_factory=dict)
    waiters: list[asyncio.Future[Project]] = field(default_factory=list)

    def settle(self, outcome: Project | BaseException) -> None:
        for waiter in self.waiters:
            if waiter.done():
                continue
            if isinstance(outcome, BaseException):
                waiter.set_exception(outcome)
                waiter.exception()  # a waiter may have gone away: that is no error of ours
            else:
                waiter.set_result(outcome)


@dataclass(slots=True)
class _Actor:
    """What this hub knows of one project: the instance it watches, and the wishes in their order."""

    instance: Instance | None = None
    watch: asyncio.Task[None] | None = None
    wishes: deque[_Wish] = field(default_factory=deque)
    turn: asyncio.Task[None] | None = None
    starting: asyncio.Task[Instance] | None = None


class Lifecycle:
    """Starts and stops projects, and notices when they end."""

    def __init__(self, store: Store, engine: Engine, homes: ProjectHomes, clock: Clock) -> None:
        """Make the service; `open` before use."""
        self._store = store
        self._engine = engine
        self._homes = homes
        self._clock = clock
        self._actors: dict[ProjectId, _Actor] = {}
        self._promised: set[asyncio.Task[None]] = set()
        self._watches: set[asyncio.Task[None]] = set()

    # -- opening and closing -----------------------------------------------------------------------

    async def open(self) -> None:
        """Find the projects that run, end those that should not, and correct the store.

        Raises:
            StartFailed: The engine cannot run.
        """
        await self._engine.open()
        try:
            await self._compare()
        except BaseException:
            await self.close(stop_projects=False)
            raise

    async def _compare(self) -> None:
        found = {instance.project_id: instance for instance in await self._engine.running()}
        for instance in found.values():
            await self._adopt(instance)
        async with self._store.read() as tx:
            unsettled = await tx.projects.in_states([State.STARTING, State.RUNNING, State.STOPPING, State.RESTARTING])
        for project in unsettled:
            if project.project_id not in self._actors:
                await self._settle_lost(project)

    async def _adopt(self, instance: Instance) -> None:
        async with self._store.read() as tx:
            project = await tx.projects.get(instance.project_id)
        wanted = (
            project is not None
            and project.desired == "running"
            and project.epoch == instance.epoch
            and not project.deleted
        )
        if project is None or not wanted:
            await self._engine.stop(instance)
            return
        if project.state is not State.RUNNING:
            await self._write(project.project_id, _running(instance) | {"state_at": self._clock.now()})
        self._watch(self._actor(project.project_id), instance)

    async def _settle_lost(self, project: Project) -> None:
        """No instance answers to this row: the machine was restarted, or the hub while something was under way."""
        await self._end_unwatched(project)
        if project.state is State.STARTING and project.desired == "running" and not project.deleted:
            self.start_soon(project.project_id)  # a start may have been promised to somebody who does not wait for it
            return
        ended = {"desired": "stopped", "instance": None, "state_at": self._clock.now()}
        if project.state is State.RUNNING:
            text = "the project ended while no hub was running, most likely in a restart of the machine; start it again"
            await self._write(project.project_id, {**ended, "state": State.ERROR, "state_error": text})
        else:
            await self._write(project.project_id, {**ended, "state": State.STOPPED, "state_error": None})

    async def close(self, *, stop_projects: bool) -> None:
        """Let the wishes under way come to their end; then stop all projects, or leave them running."""
        for promised in self._promised:
            promised.cancel()  # first, or one of them could begin a start behind the back of the stops
        await asyncio.gather(*self._promised, return_exceptions=True)
        if stop_projects:
            running = [project_id for project_id, actor in self._actors.items() if actor.instance or actor.wishes]
            await asyncio.gather(*(self.stop(project_id) for project_id in running), return_exceptions=True)
        turns = [actor.turn for actor in self._actors.values() if actor.turn]
        await asyncio.gather(*turns, return_exceptions=True)
        for watch in self._watches:
            watch.cancel()
        await asyncio.gather(*self._watches, return_exceptions=True)
        await self._engine.close()

    # -- what callers ask for ----------------------------------------------------------------------

    def instance(self, project_id: ProjectId) -> Instance | None:
        """The instance of a project that runs and is not being stopped."""
        actor = self._actors.get(project_id)
        if actor is None or (actor.wishes and actor.wishes[0].want == "stopped"):
            return None
        return actor.instance

    async def start(self, project: Project) -> Project:
        """Have the project running; returns when its server has answered. The start is shared by all who ask for it.

        Args:
            project: The project as just read.

        Raises:
            Conflict: It is deleted, or was stopped meanwhile.
            StartFailed: It could not be started.
        """
        not_deleted(project)
        actor = self._actors.get(project.project_id)
        if actor and actor.instance and not actor.wishes and project.state is State.RUNNING:
            return project
        return await self._ask(project.project_id, "running")

    def start_soon(self, project_id: ProjectId) -> None:
        """Have a project running whose row says that it is starting, without waiting for it."""
        task = asyncio.create_task(self._start_promised(project_id), name=f"start-{project_id}")
        self._promised.add(task)
        task.add_done_callback(self._promised.discard)

    async def _start_promised(self, project_id: ProjectId) -> None:
        try:
            project = await self._read(project_id)
            if project.desired == "running":  # nobody has stopped it meanwhile
                await self.start(project)
        except HubError as error:
            _log.warning("project.start_failed", project_id=project_id, error=error.message)

    async def stop(self, project_id: ProjectId, changes: Mapping[str, Any] | None = None) -> Project:
        """Have the project stopped; returns when nothing of it runs. Cancels a start that is under way.

        Args:
            project_id: The project.
            changes: Columns to write together with the wish.
        """
        return await self._ask(project_id, "stopped", changes)

    def restart_soon(self, project_id: ProjectId) -> None:
        """Stop a project and start it again, without waiting for it."""
        task = asyncio.create_task(self._restart(project_id), name=f"restart-{project_id}")
        self._promised.add(task)
        task.add_done_callback(self._promised.discard)

    async def _restart(self, project_id: ProjectId) -> None:
        try:
            await self.start(await self.stop(project_id))
        except HubError as error:
            _log.warning("project.restart_failed", project_id=project_id, error=error.message)

    async def _ask(
        self, project_id: ProjectId, want: Literal["running", "stopped"], changes: Mapping[str, Any] | None = None
    ) -> Project:
        actor = self._actor(project_id)
        if want == "stopped":
            _cancel_starts(actor)
        # The first wish may be under way already: only a start can still be joined there, for it has one outcome.
        last = actor.wishes[-1] if actor.wishes else None
        joins = last is not None and last.want == want and (want == "running" or len(actor.wishes) > 1)
        if last is None or not joins:
            last = _Wish(want)
            actor.wishes.append(last)
        last.changes.update(changes or {})
        waiter: asyncio.Future[Project] = asyncio.get_running_loop().create_future()
        last.waiters.append(waiter)
        if actor.turn is None:
            actor.turn = asyncio.create_task(self._turn(project_id, actor), name=f"project-{project_id}")
        return await waiter

    # -- the turn of one project -------------------------------------------------------------------

    def _actor(self, project_id: ProjectId) -> _Actor:
        return self._actors.setdefault(project_id, _Actor())

    async def _turn(self, project_id: ProjectId, actor: _Actor) -> None:
        try:
            while actor.wishes:
                wish = actor.wishes[0]
                try:
                    outcome: Project | BaseException = await self._carry_out(project_id, actor, wish)
                except Exception as error:
                    if not isinstance(error, HubError):
                        _log.exception("lifecycle.failed", project_id=project_id, want=wish.want)
                    outcome = error
                actor.wishes.popleft()
                wish.settle(outcome)
        finally:
            actor.turn = None
            for wish in actor.wishes:
                wish.settle(Conflict("the hub is stopping; ask again when it is back"))
            if actor.instance is None and self._actors.get(project_id) is actor:
                del self._actors[project_id]

    async def _carry_out(self, project_id: ProjectId, actor: _Actor, wish: _Wish) -> Project:
        if wish.want == "running":
            return await self._carry_out_start(project_id, actor)
        return await self._carry_out_stop(project_id, actor, wish.changes)

    async def _carry_out_start(self, project_id: ProjectId, actor: _Actor) -> Project:
        if actor.instance is not None:
            return await self._read(project_id)
        project = await self._begin_start(project_id)
        actor.starting = asyncio.create_task(self._launch(project))
        if len(actor.wishes) > 1:  # a stop came while the wish was written, and saw no start to cancel
            actor.starting.cancel()
        try:
            instance = await actor.starting
        except asyncio.CancelledError:
            if not actor.starting.cancelled():
                raise  # it is this turn that is cancelled: the hub goes down
            ended = {"desired": "stopped", "state": State.STOPPED, "state_at": self._clock.now()}
            await self._write(project_id, ended)
            raise Conflict(f"the start of project '{project_id}' was cancelled by a stop; start it again") from None
        except Exception as error:
            why = error.message if isinstance(error, HubError) else "the hub made a mistake, which its log holds"
            failed = {"desired": "stopped", "state": State.ERROR, "state_error": why}
            await self._write(project_id, {**failed, "state_at": self._clock.now()})
            raise
        finally:
            actor.starting = None
        try:
            await self._write(project_id, _running(instance) | {"state_at": self._clock.now()})
        except BaseException:
            await self._engine.stop(instance)  # what the store does not know must not run
            raise
        self._watch(actor, instance)
        return await self._read(project_id)

    async def _begin_start(self, project_id: ProjectId) -> Project:
        """Write the wish, the state and the new epoch, in one transaction."""
        now = self._clock.now()
        async with self._store.write() as tx:
            project = await tx.projects.get(project_id)
            if project is None:
                raise NotFound(f"unknown project_id '{project_id}'", project_id=project_id)
            not_deleted(project)
            changes = {
                "desired": "running",
                "state": State.STARTING,
                "state_at": now,
                "state_error": None,
                "epoch": project.epoch + 1,
                "last_edited_at": now,
            }
            if not await tx.projects.update(project_id, changes, epoch=project.epoch):
                raise Conflict(f"project '{project_id}' is being started elsewhere; ask for its state")
            started = await tx.projects.get(project_id)
        assert started is not None
        return started

    async def _launch(self, project: Project) -> Instance:
        home = await self._homes.ensure(project.project_id, project.unix_slot)
        spec = StartSpec(
            project_id=project.project_id,
            epoch=project.epoch,
            home=home,
            uid=self._homes.uid(project.unix_slot),
            environment=dict(project.env or {}),
        )
        return await self._engine.start(spec)

    async def _carry_out_stop(self, project_id: ProjectId, actor: _Actor, changes: dict[str, Any]) -> Project:
        project = await self._read(project_id)
        if actor.instance is None and project.state is State.STOPPED:
            if changes:
                await self._write(project_id, changes)
                return await self._read(project_id)
            return project
        stopping = {"desired": "stopped", "state": State.STOPPING, "state_at": self._clock.now(), "state_error": None}
        await self._write(project_id, {**changes, **stopping})
        instance, actor.instance = actor.instance, None
        if actor.watch is not None:
            actor.watch.cancel()
            actor.watch = None
        if instance is not None:
            await self._engine.stop(instance)
        else:
            await self._end_unwatched(project)
        await self._write(project_id, {"state": State.STOPPED, "instance": None, "state_at": self._clock.now()})
        return await self._read(project_id)

    async def _end_unwatched(self, project: Project) -> None:
        """End what runs under the name that the store has last seen, though it does not answer or nobody watches it."""
        if project.instance is not None:
            await self._engine.stop(_last_seen(project.project_id, project.instance))

    # -- noticing the end --------------------------------------------------------------------------

    def _watch(self, actor: _Actor, instance: Instance) -> None:
        actor.instance = instance
        actor.watch = asyncio.create_task(self._await_end(actor, instance), name=f"watch-{instance.project_id}")
        self._watches.add(actor.watch)
        actor.watch.add_done_callback(self._watches.discard)

    async def _await_end(self, actor: _Actor, instance: Instance) -> None:
        try:
            ended = await self._engine.wait(instance)
            if actor.instance is not instance:
                return
            actor.instance = None
            actor.watch = None
            await self._engine.stop(instance)
            await self._note_end(instance, ended)
        except Exception:
            # Nobody waits for this task. The next start or stop of the project puts the store right.
            _log.exception("lifecycle.watch_failed", project_id=instance.project_id)
        if actor.instance is None and actor.turn is None and self._actors.get(instance.project_id) is actor:
            del self._actors[instance.project_id]

    async def _note_end(self, instance: Instance, ended: Exit) -> None:
        changes = {
            "desired": "stopped",
            "state": State.ERROR,
            "state_at": self._clock.now(),
            "state_error": _describe(ended),
            "instance": None,
        }
        async with self._store.write() as tx:
            await tx.projects.update(instance.project_id, changes, epoch=instance.epoch, state=[State.RUNNING])
        _log.warning("project.ended", project_id=instance.project_id, code=ended.code, signal=ended.signal)

    # -- the store ---------------------------------------------------------------------------------

    async def _read(self, project_id: ProjectId) -> Project:
        async with self._store.read() as tx:
            project = await tx.projects.get(project_id)
        if project is None:
            raise NotFound(f"unknown project_id '{project_id}'", project_id=project_id)
        return project

    async def _write(self, project_id: ProjectId, changes: Mapping[str, Any]) -> None:
        async with self._store.write() as tx:
            await tx.projects.update(project_id, changes)


def _cancel_starts(actor: _Actor) -> None:
    """A stop has come: the start under way is cancelled, and starts that wait for their turn are refused."""
    if actor.starting is not None:
        actor.starting.cancel()
    waiting = list(actor.wishes)[1:]
    for wish in waiting:
        if wish.want == "running":
            actor.wishes.remove(wish)
            wish.settle(Conflict("the start was cancelled by a stop; start it again"))


def _running(instance: Instance) -> dict[str, Any]:
    seen = {
        "pid": instance.pid,
        "session_id": instance.session_id,
        "start_ts": to_ms(instance.started_at),
        "epoch": instance.epoch,
    }
    return {"state": State.RUNNING, "state_error": None, "instance": seen}


def _last_seen(project_id: ProjectId, seen: Mapping[str, Any]) -> Instance:
    """The instance that `_running` has told the store."""
    return Instance(
        project_id=project_id,
        epoch=seen["epoch"],
        pid=seen["pid"],
        session_id=seen["session_id"],
        started_at=from_ms(seen["start_ts"]),
    )


def _describe(ended: Exit) -> str:
    if ended.signal is not None:
        with contextlib.suppress(ValueError):
            return f"the project server was ended by signal {signal.Signals(ended.signal).name}; start it again"
        return f"the project server was ended by signal {ended.signal}; start it again"
    if ended.code is not None:
        return f"the project server ended by itself with exit code {ended.code}; start it again"
    return "the project server ended; start it again"
