"""The life of projects: started, stopped, restarted, found again.

The store holds what is wished (``desired``) and what was seen last (``state``) of every project, and the number of its
last start (``epoch``). Each project that has something to do has one *turn* at a time: a task that carries out the
wishes for it in the order they came, and writes every step to the store before it tells anybody. A wish to stop cancels
a start that is under way.

Nothing that matters lives only in memory. Where a step could not be written, or a hub was killed in the middle, store
and engine differ; to *settle* a project is to bring them together, as the store wishes it. `open` settles all that are
not at rest, `tick` those that are due: what failed on the way, and projects that died and are to come back.
"""

from __future__ import annotations

import asyncio
import contextvars
import time
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

import structlog

from projecthub.engines.port import Exit, Instance, StartSpec
from projecthub.errors import Conflict, EndFailed, HubError, InternalError, LimitError, NotFound, StoppedMeanwhile
from projecthub.hub import figures
from projecthub.hub.chronicle import Chronicle, last_seen
from projecthub.hub.deaths import LONGEST_DELAY, describe
from projecthub.hub.disk_limits import hold
from projecthub.hub.permissions import not_deleted
from projecthub.hub.wishes import Actor, Want, Wish
from projecthub.store.records import Project, State

if TYPE_CHECKING:
    from projecthub.engines.port import Engine
    from projecthub.hub.clock import Clock
    from projecthub.hub.homes import ProjectHomes
    from projecthub.hub.quotas import Quotas
    from projecthub.store import Store
    from projecthub.wire.ids import AccountId, ProjectId

STARTS_AT_A_TIME: Final = 64
"""More starts than these wait for a place, so that a start that has begun is not slowed down by hundreds of others."""

TICK_S: Final = 1.0
SETTLE_AGAIN: Final = timedelta(seconds=5)

_LOOK_S: Final = 1.0
QUOTA_CHANGED: Final = "its quota was changed"
"""Why a restart is promised that nobody waits for."""

_NOT_AT_REST: Final = (State.STARTING, State.RUNNING, State.STOPPING, State.RESTARTING)

_log = structlog.get_logger()


class Lifecycle:
    """Starts and stops projects, and notices when they end."""

    def __init__(self, store: Store, engine: Engine, homes: ProjectHomes, quotas: Quotas, clock: Clock) -> None:
        """Make the service; `open` before use."""
        self._store = store
        self._engine = engine
        self._homes = homes
        self._quotas = quotas
        self._chronicle = Chronicle(store, quotas, clock)
        self._clock = clock
        self._actors: dict[ProjectId, Actor] = {}
        self._due: dict[ProjectId, datetime] = {}
        self._something_due = asyncio.Event()
        self._places = asyncio.Semaphore(STARTS_AT_A_TIME)
        self._promised: set[asyncio.Task[None]] = set()
        self._watches: set[asyncio.Task[None]] = set()
        self._ticking: asyncio.Task[None] | None = None

    # -- opening and closing -----------------------------------------------------------------------

    async def open(self) -> None:
        """Find the projects that run, end those that should not, and correct the store.

        Raises:
            StartFailed: The engine cannot run.
        """
        await self._engine.open()
        try:
            for instance in await self._engine.running():
                self._watch(self._actor(instance.project_id), instance)
            await self.settle_all()
        except BaseException:
            await self.close(stop_projects=False)
            raise
        self._ticking = asyncio.create_task(self._tick_forever(), name="lifecycle")

    async def settle_all(self) -> None:
        """Settle every project of which store and engine do not tell the same."""
        async with self._store.read() as tx:
            known = [*await tx.projects.wished_running(), *await tx.projects.in_states(_NOT_AT_REST)]
        rows = {project.project_id: project for project in known}
        running = [project_id for project_id, actor in self._actors.items() if actor.instance]
        unsettled = [each for each in {*rows, *running} if not self._is_settled(each, rows.get(each))]
        outcomes = await asyncio.gather(*(self._settle(project_id) for project_id in unsettled), return_exceptions=True)
        for project_id, outcome in zip(unsettled, outcomes, strict=True):
            if isinstance(outcome, BaseException):
                _log.error("lifecycle.not_settled", project_id=project_id, error=str(outcome))

    def _is_settled(self, project_id: ProjectId, project: Project | None) -> bool:
        """Whether a project runs as its row says, or is about to be brought in order."""
        actor = self._actors.get(project_id)
        if project_id in self._due or (actor is not None and actor.wishes):
            return True
        if project is None or actor is None or actor.instance is None:
            return False
        wished = project.state is State.RUNNING and project.desired == "running" and not project.deleted
        return wished and project.epoch == actor.instance.epoch

    async def _settle(self, project_id: ProjectId) -> None:
        actor = self._actors.get(project_id)
        if actor is None or not actor.wishes:  # a wish that is under way settles it by itself
            await self._ask(project_id, Want.SETTLE)

    async def close(self, *, stop_projects: bool) -> None:
        """Let the wishes under way come to their end; then stop all projects, or leave them running."""
        for task in [*self._promised, *([self._ticking] if self._ticking else [])]:
            task.cancel()  # first, or one of them could begin a start behind the back of the stops
        await asyncio.gather(*self._promised, return_exceptions=True)
        if stop_projects:
            await self.stop_all(by=None, reason="the hub was stopped", for_now=True)
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
        if actor is None or (actor.wishes and actor.wishes[0].want in (Want.STOP, Want.RESTART)):
            return None
        return actor.instance

    def instances(self) -> list[Instance]:
        """The instances that run and have nothing to wait for."""
        return [actor.instance for actor in self._actors.values() if actor.instance and not actor.wishes]

    @property
    def waiting(self) -> int:
        """How many wishes are under way or wait for their turn."""
        return sum(len(actor.wishes) for actor in self._actors.values())

    async def start(self, project: Project, *, by: AccountId | None = None) -> Project:
        """Have the project running; returns when its server has answered. The start is shared by all who ask for it.

        Args:
            project: The project as just read.
            by: Who asks; None: the hub itself.

        Raises:
            Conflict: It is deleted, or was stopped meanwhile.
            StartFailed: It could not be started.
        """
        not_deleted(project)
        actor = self._actors.get(project.project_id)
        if actor and actor.instance and not actor.wishes and self._is_settled(project.project_id, project):
            return project
        return await self._ask(project.project_id, Want.START, by)

    def start_soon(self, project_id: ProjectId, *, by: AccountId | None = None) -> None:
        """Have a project running whose row says that it is wished, without waiting for it."""
        self._promise(project_id, Want.START, by, None)

    async def restart(self, project: Project, *, by: AccountId | None = None) -> Project:
        """Stop the project if it runs, and have it running again. Raises as `start`."""
        not_deleted(project)
        return await self._ask(project.project_id, Want.RESTART, by)

    def restart_soon(self, project_id: ProjectId, *, by: AccountId | None = None, reason: str | None = None) -> None:
        """Restart a project if it runs or is about to, without waiting for it."""
        actor = self._actors.get(project_id)
        if actor is not None and (actor.instance is not None or actor.wishes):
            self._promise(project_id, Want.RESTART, by, reason)

    def _promise(self, project_id: ProjectId, want: Want, by: AccountId | None, reason: str | None) -> None:
        task = asyncio.create_task(self._keep_promise(project_id, want, by, reason), name=f"{want}-{project_id}")
        self._promised.add(task)
        task.add_done_callback(self._promised.discard)

    async def _keep_promise(self, project_id: ProjectId, want: Want, by: AccountId | None, reason: str | None) -> None:
        try:
            await self._ask(project_id, want, by, reason, if_wished=True)
        except StoppedMeanwhile:
            pass  # and that is what counts
        except HubError as error:
            _log.warning("project.start_failed", project_id=project_id, error=error.message)

    async def stop(
        self,
        project_id: ProjectId,
        changes: Mapping[str, Any] | None = None,
        *,
        by: AccountId | None = None,
        reason: str | None = None,
    ) -> Project:
        """Have the project stopped; returns when nothing of it runs. Cancels a start that is under way.

        Args:
            project_id: The project.
            changes: Columns to write together with the wish.
            by: Who asks; None: the hub itself.
            reason: Why, for the project's log.
        """
        return await self._ask(project_id, Want.STOP, by, reason, changes)

    async def stop_all(
        self, *, by: AccountId | None, reason: str | None = None, for_now: bool = False
    ) -> tuple[int, dict[ProjectId, str]]:
        """Stop every project that runs or is about to; tells how many, and the failures by project.

        Args:
            by: Who asks; None: the hub itself.
            reason: Why, for the projects' logs.
            for_now: Whether those that are to run always come back when the hub is opened again.
        """
        async with self._store.read() as tx:
            wished = await tx.projects.wished_running()
        stays = {
            project.project_id
            for project in wished
            if for_now and self._quotas.always_running(project.run_quota, project.settings)
        }
        running = [*{project.project_id for project in wished} | self._actors.keys()]
        stops = (
            self.stop(each, {"desired": "running"} if each in stays else None, by=by, reason=reason) for each in running
        )
        outcomes = zip(running, await asyncio.gather(*stops, return_exceptions=True), strict=True)
        failed = {project_id: str(outcome) for project_id, outcome in outcomes if isinstance(outcome, BaseException)}
        return len(running) - len(failed), failed

    async def _ask(
        self,
        project_id: ProjectId,
        want: Want,
        by: AccountId | None = None,
        reason: str | None = None,
        changes: Mapping[str, Any] | None = None,
        *,
        if_wished: bool = False,
    ) -> Project:
        actor = self._actor(project_id)
        wish = actor.add(want, by, reason, changes, if_wished=if_wished)
        waiter: asyncio.Future[Project] = asyncio.get_running_loop().create_future()
        wish.waiters.append(waiter)
        if actor.turn is None:
            actor.turn = asyncio.create_task(self._turn(project_id, actor), name=f"project-{project_id}")
        return await waiter

    # -- the turn of one project -------------------------------------------------------------------

    def _actor(self, project_id: ProjectId) -> Actor:
        return self._actors.setdefault(project_id, Actor())

    async def _turn(self, project_id: ProjectId, actor: Actor) -> None:
        try:
            while actor.wishes:
                wish = actor.wishes[0]
                try:
                    outcome: Project | BaseException = await self._carry_out(project_id, actor, wish)
                except Exception as error:
                    if not isinstance(error, HubError) or isinstance(error, EndFailed):
                        _log.exception("lifecycle.failed", project_id=project_id, want=wish.want)
                    if not isinstance(error, HubError) or isinstance(error, InternalError | LimitError | EndFailed):
                        # The store may not say what is: it is brought in order as soon as it can be written again, or
                        # what runs has been ended.
                        self._settle_at(project_id, self._clock.now() + SETTLE_AGAIN)
                    outcome = error
                actor.wishes.popleft()
                wish.settle(outcome)
        finally:
            actor.turn = None
            for wish in actor.wishes:
                wish.settle(Conflict("the hub is stopping; ask again when it is back"))
            self._forget(project_id, actor)

    def _forget(self, project_id: ProjectId, actor: Actor) -> None:
        """Let go of a project with which nothing goes on."""
        if actor.instance is None and actor.turn is None and self._actors.get(project_id) is actor:
            del self._actors[project_id]

    async def _carry_out(self, project_id: ProjectId, actor: Actor, wish: Wish) -> Project:
        match wish.want:
            case Want.START if actor.instance is not None:
                settled = await self._carry_out_settle(project_id, actor, wish)
                return settled if actor.instance else await self._carry_out_start(project_id, actor, wish)
            case Want.START | Want.RESTART:
                return await self._carry_out_start(project_id, actor, wish)
            case Want.STOP:
                return await self._carry_out_stop(project_id, actor, wish)
            case Want.SETTLE:
                return await self._carry_out_settle(project_id, actor, wish)

    # -- starting and stopping ---------------------------------------------------------------------

    async def _carry_out_start(self, project_id: ProjectId, actor: Actor, wish: Wish) -> Project:
        again = actor.instance is not None
        begin = time.perf_counter()
        project = await self._chronicle.starting(project_id, wish, again=again)
        if again:
            await self._end(actor, project)
        actor.starting = asyncio.create_task(self._launch(project))
        if actor.next_stop:  # it came while the wish was written, and saw no start to cancel
            actor.starting.cancel()
        try:
            instance = await actor.starting
        except asyncio.CancelledError:
            stop = actor.next_stop
            if not actor.starting.cancelled() or stop is None:
                raise  # it is this turn that is cancelled: the hub goes down
            await self._chronicle.cancelled(project, stop)
            text = f"the start of project '{project_id}' was cancelled by a stop; start it again"
            raise StoppedMeanwhile(text) from None
        except Exception as error:
            figures.start_failed()
            self._settle_at(project_id, await self._chronicle.failed(project, error))
            raise
        finally:
            actor.starting = None
        try:
            project = await self._chronicle.running(project, instance, wish, again=again)
        except BaseException:
            await self._engine.stop(instance)  # what the store does not know must not run
            raise
        figures.started(time.perf_counter() - begin, first=project.epoch == 1)
        if again:
            figures.restarted(by_hub=wish.by is None or wish.reason is not None)
        self._watch(actor, instance)
        return project

    async def _launch(self, project: Project) -> Instance:
        async with self._places:
            home = await self._homes.ensure(project.project_id, project.unix_slot)
            await hold(self._store, self._homes, [project.project_id])
            spec = StartSpec(
                project_id=project.project_id,
                epoch=project.epoch,
                home=home,
                uid=self._homes.uid(project.unix_slot),
                environment=dict(project.env or {}),
                limits=self._quotas.limits(project.run_quota),
                network=self._quotas.network(project.run_quota, project.settings, self._engine.networks),
            )
            return await self._engine.start(spec)

    async def _carry_out_stop(self, project_id: ProjectId, actor: Actor, wish: Wish) -> Project:
        project = await self._chronicle.stopping(project_id, wish.changes, runs=actor.instance is not None)
        if project.state is State.STOPPED:
            return project
        await self._end(actor, project)
        return await self._chronicle.stopped(project, wish)

    async def _end(self, actor: Actor, project: Project) -> None:
        """End what runs of a project: the instance that is watched, or else what the store has last seen."""
        instance, actor.instance = actor.instance or last_seen(project), None
        if actor.watch is not None:
            actor.watch.cancel()
            actor.watch = None
        if instance is not None:
            await self._engine.stop(instance)
        else:  # it may run though no hub was ever told of it, and does not answer
            await self._engine.end_all(project.project_id)

    # -- settling ----------------------------------------------------------------------------------

    async def _carry_out_settle(self, project_id: ProjectId, actor: Actor, wish: Wish) -> Project:
        try:
            project = await self._chronicle.read(project_id)
        except NotFound:
            if actor.instance is not None:  # it runs, and no store knows it
                await self._engine.stop(actor.instance)
                actor.instance = None
            raise
        instance = actor.instance
        if instance is not None and project.epoch != instance.epoch:
            await self._end(actor, project)  # of an older start: refused, whatever the engine believes
        elif instance is not None and project.desired == "running" and not project.deleted:
            if project.state is State.RUNNING:
                return project
            again = project.state is State.RESTARTING
            seen = last_seen(project)
            if again and seen is not None and seen.session_id == instance.session_id:  # the restart has not begun yet
                self.restart_soon(project_id, reason=QUOTA_CHANGED)
                return project
            return await self._chronicle.running(project, instance, wish, again=again)
        if project.desired == "running" and not project.deleted:
            return await self._settle_wished(project, wish)
        if project.state in _NOT_AT_REST:
            return await self._carry_out_stop(project_id, actor, wish)
        return project

    async def _settle_wished(self, project: Project, wish: Wish) -> Project:
        """No instance is there of a project that is to run: it died unseen, or its start was cut short."""
        seen = last_seen(project)
        if seen is not None:
            ended = await self._ended(seen)
            await self._engine.stop(seen)
            if project.state is State.RUNNING and seen.epoch == project.epoch and not (ended and ended.rebooted):
                why = describe(ended, unwatched=True) if ended else "the project server did not answer"
                self._settle_at(project.project_id, await self._chronicle.died(seen, ended or Exit(), why))
                return await self._chronicle.read(project.project_id)
        if project.state is State.RUNNING:
            project = await self._chronicle.interrupted(project)
        if project.retry_at is not None and not self._is_due(project.retry_at):
            self._settle_at(project.project_id, project.retry_at)
            return project
        self.start_soon(project.project_id)
        return project

    async def _ended(self, instance: Instance) -> Exit | None:
        """How an instance ended; None if it is there and does not answer."""
        waiting = asyncio.ensure_future(self._engine.wait(instance))
        done, _ = await asyncio.wait([waiting], timeout=_LOOK_S)
        waiting.cancel()
        return waiting.result() if done else None

    def _settle_at(self, project_id: ProjectId, at: datetime | None) -> None:
        if at is not None:
            self._due[project_id] = at
            self._something_due.set()

    def _is_due(self, at: datetime) -> bool:
        now = self._clock.now()
        return now >= at or at - now > 2 * LONGEST_DELAY  # a clock that was set back must not keep a project waiting

    async def tick(self) -> None:
        """Settle what is due."""
        due = [project_id for project_id, at in self._due.items() if self._is_due(at)]
        for project_id in due:
            del self._due[project_id]
        for project_id in due:
            try:
                await self._settle(project_id)
            except HubError as error:
                _log.warning("lifecycle.not_settled", project_id=project_id, error=error.message)

    async def _tick_forever(self) -> None:
        while True:
            await self._something_due.wait()  # with nothing due, nothing is done
            await asyncio.sleep(TICK_S)
            await self.tick()
            if not self._due:
                self._something_due.clear()

    # -- noticing the end --------------------------------------------------------------------------

    def _watch(self, actor: Actor, instance: Instance) -> None:
        actor.instance = instance
        # What happens to it later has nothing to do with the request that started it.
        actor.watch = asyncio.create_task(
            self._await_end(actor, instance), name=f"watch-{instance.project_id}", context=contextvars.Context()
        )
        self._watches.add(actor.watch)
        actor.watch.add_done_callback(self._watches.discard)

    async def _await_end(self, actor: Actor, instance: Instance) -> None:
        try:
            ended = await self._engine.wait(instance)
            if actor.instance is not instance:
                return
            actor.instance = None
            actor.watch = None
            await self._engine.stop(instance)
            retry_at = await self._chronicle.died(instance, ended, describe(ended))
            self._settle_at(instance.project_id, retry_at)
        except Exception:
            _log.exception("lifecycle.watch_failed", project_id=instance.project_id)
            self._settle_at(instance.project_id, self._clock.now() + SETTLE_AGAIN)
        self._forget(instance.project_id, actor)
