"""The local engine: project servers as processes of this machine, each in a sandbox."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import weakref
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, TypeVar
from uuid import uuid4

import structlog

from projecthub.engines import calls
from projecthub.engines.connections import Connections, listener
from projecthub.engines.local import cgroups, probe, processes, uplink
from projecthub.engines.local.cgroups import Group, Trees
from projecthub.engines.local.ends import Ends
from projecthub.engines.local.launching import LauncherLost, Launching, to_the_end
from projecthub.engines.local.looks import Looks
from projecthub.engines.local.records import (
    INIT_NAME,
    SKELETON,
    SOCKET_FILE,
    Record,
    is_locked_alive,
    project_dir,
)
from projecthub.engines.local.uplinks import Uplinks
from projecthub.engines.local.usage import activity_of_run, usage_of_run
from projecthub.engines.port import Activity, Exit, Instance, Isolation, Means, Network, StartSpec, Usage
from projecthub.errors import EndFailed, ServerLost, StartFailed
from projecthub.wire.ids import ProjectId, is_uuid

_START_TIMEOUT_S = 30.0
_FIND_TIMEOUT_S = 1.0
_LAUNCHERS = 3
"""How many launchers may be lost in a row before it is given up."""
_NOTHING = Usage(processes=0, rss=0, pss=0, uss=0, swap=0, cpu_s=0.0)
# How long an init that has no pid namespace may take to kill and reap everything before it is killed itself.
_HUNT_S = 5.0
# How long is waited between attempts to remove a group: what was killed is mostly gone, and reaped, in less than a
# millisecond.
_REMOVALS_S = (0.0003, 0.0006, 0.0012, 0.0025, 0.005, *[0.01] * 100)

_T = TypeVar("_T")

_log = structlog.get_logger()


class LocalEngine:
    """Runs project servers on this machine. Implements `projecthub.engines.port.Engine`."""

    def __init__(
        self,
        *,
        runtime_dir: Path,
        isolation: Isolation | None = None,
        hidden: Sequence[Path] = (),
        network: Network = Network.HOST,
    ) -> None:
        """Make an engine; `open` starts it.

        Args:
            runtime_dir: Where identities, sockets and logs of running projects are kept; the engine's alone. Made if
                missing. Its content is of no use after a reboot.
            isolation: What is to keep projects apart; None: the best that this machine offers.
            hidden: Directories of the hub that no project may see, even if they lie inside the system.
            network: What most projects will reach: their start is prepared. Others are started on request.
        """
        self._runtime_dir = runtime_dir.absolute()
        self._isolation: Isolation | None = isolation
        self._hidden = tuple(path.absolute() for path in hidden)
        self._network = network
        self._networks = frozenset({Network.HOST})
        self._trees = Trees()
        self._counts_processes = False
        self._launcher: Launching | None = None
        self._launcher_lock = asyncio.Lock()
        self._launcher_watch: asyncio.Task[None] | None = None
        self._locks: weakref.WeakValueDictionary[ProjectId, asyncio.Lock] = weakref.WeakValueDictionary()
        self._records: dict[ProjectId, Record] = {}  # of runs that were started or found here: files can be spoiled
        self._ends = Ends(self._runtime_dir)
        self._connections = Connections()
        self._looks = Looks()
        self._uplinks = Uplinks(self._runtime_dir)

    @property
    def name(self) -> str:
        """``local``."""
        return "local"

    @property
    def isolation(self) -> Isolation:
        """The isolation in force; known once the engine is open."""
        if self._isolation is None:
            raise RuntimeError("open the engine first: the machine has not been tried yet")
        return self._isolation

    @property
    def networks(self) -> frozenset[Network]:
        """What projects can be given; known once the engine is open."""
        return self._networks

    @property
    def means(self) -> Means:
        """By what projects are held to their limits; known once the engine is open."""
        return Means(
            memory=self._by("memory") or "rlimit, for each process",
            cpu=self._by("cpu"),
            processes=self._by("processes") or ("rlimit" if self._counts_processes else None),
        )

    def _by(self, purpose: str) -> str | None:
        version = self._trees.version(purpose)
        return None if version is None else f"cgroup v{version}"

    async def open(self) -> None:
        """Try the machine, start the launcher, and clean up what an earlier boot has left.

        Raises:
            StartFailed: The isolation that was asked for cannot be had, with the reason and the remedy.
        """
        self._runtime_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._runtime_dir.chmod(0o700)
        (self._runtime_dir / SKELETON).mkdir(exist_ok=True)
        if self._isolation is None:
            self._isolation = await asyncio.to_thread(probe.best_isolation)
        elif self._isolation is not Isolation.NONE and (self._isolation is Isolation.FULL) != (os.geteuid() == 0):
            other = "run it as root" if self._isolation is Isolation.FULL else "ask for 'full'"
            raise StartFailed(f"isolation '{self._isolation}' is not for a hub of this user: {other}")
        self._trees = await asyncio.to_thread(cgroups.find, self._runtime_dir)
        await self._clean()
        await self._ready_launcher()

    async def _clean(self) -> None:
        """Remove what has no meaning any more: starts that were never completed, runs that are over."""
        boot_id = processes.boot_id()
        for left in self._runtime_dir.glob(".environment-*"):
            left.unlink(missing_ok=True)
        records = self._recorded()
        await self._end_unrecorded(records.values())
        for project_id, record in records.items():
            directory = project_dir(self._runtime_dir, project_id)
            try:
                if record is None:
                    await self._end_unknown(directory)
                elif record.boot_id != boot_id:
                    self._ends.before_boot(record.session_id)
                    shutil.rmtree(directory, ignore_errors=True)
                elif not record.is_alive():
                    await self._end(record, grace_s=0.0)  # how it ended is remembered
            except EndFailed as error:  # one project must not keep the hub from opening
                _log.error("engine.not_ended", project_id=project_id, error=error.message)

    async def _end_unknown(self, directory: Path) -> None:
        """End a run whose record cannot be read: its socket still tells who listens there."""
        server_pid = listener(directory / SOCKET_FILE)
        init = processes.find_above(server_pid, INIT_NAME) if server_pid is not None else None
        if init is not None:
            killed = processes.kill_tree(init.pid)
            await asyncio.gather(*(processes.end_of(process) for process in killed))
        if not is_locked_alive(directory):
            shutil.rmtree(directory, ignore_errors=True)

    async def _end_unrecorded(self, records: Iterable[Record | None]) -> None:
        """End all in groups of ours that belongs to none of these runs: a launcher that is gone had begun it."""
        kept = {Path(directory).name for record in records if record for directory in record.groups.values()}
        await asyncio.gather(*(self._end_group(self._trees.group(name)) for name in self._trees.names() - kept))

    async def _end_group(self, group: Group) -> None:
        await group.kill()
        for wait_s in _REMOVALS_S:
            if group.remove():
                return
            await asyncio.sleep(wait_s)
        _log.warning("engine.group_stays", group=str(next(iter(group.directories.values()), "")))

    def _known(self) -> list[ProjectId]:
        return [ProjectId(each.name) for each in self._runtime_dir.iterdir() if is_uuid(each.name)]

    def _recorded(self) -> dict[ProjectId, Record | None]:
        """The record of each known project; None where it cannot be read."""
        return {project_id: self._load(project_id) for project_id in self._known()}

    async def _ready_launcher(self) -> Launching:
        async with self._launcher_lock:
            await self._sweep_up()
            if self._launcher is None:
                self._launcher = await _with_another(self._begin_launcher, "the launcher could not be started: {error}")
                self._networks, _ = await uplink.networks(self._launcher.trial_pid)
                self._counts_processes = self._launcher.counts_processes
                self._launcher_watch = asyncio.create_task(self._watch_launcher(self._launcher))
            return self._launcher

    async def _watch_launcher(self, launcher: Launching) -> None:
        """When a launcher has ended, end what it leaves behind, even if no start ever asks for another."""
        await launcher.end()
        async with self._launcher_lock:
            await self._sweep_up()

    async def _sweep_up(self) -> None:
        """Let go of a launcher that has ended, and end what it had begun."""
        if self._launcher is not None and not self._launcher.is_alive:
            await self._launcher.close()
            self._launcher = None
            await self._end_unrecorded(self._recorded().values())

    async def _begin_launcher(self) -> Launching:
        return await Launching.begin(
            isolation=self.isolation,
            network=self._network,
            trees=self._trees,
            runtime_dir=self._runtime_dir,
            hidden=self._hidden,
        )

    async def ready(self) -> None:
        """Return if a project could be started now: if there is a launcher, or a new one can be had.

        Raises:
            StartFailed: There is none, with the reason.
        """
        await self._ready_launcher()

    async def close(self) -> None:
        """Let go of everything but the projects, which run on."""
        self._connections.close()
        self._looks.close()
        await self._uplinks.close()
        watches: list[asyncio.Task[Any]] = [*self._ends.watches.values()]
        if self._launcher_watch is not None:
            watches.append(self._launcher_watch)
        for watch in watches:
            watch.cancel()
        await asyncio.gather(*watches, return_exceptions=True)
        async with self._launcher_lock:
            if self._launcher is not None:
                await self._launcher.close()
                self._launcher = None
                await self._end_unrecorded(self._recorded().values())
                self._trees.remove()

    def _lock(self, project_id: ProjectId) -> asyncio.Lock:
        """One lock a project, for starting and stopping; gone when nobody holds it."""
        return self._locks.setdefault(project_id, asyncio.Lock())

    def _load(self, project_id: ProjectId) -> Record | None:
        known = self._records.get(project_id)
        return known if known is not None else Record.load(project_dir(self._runtime_dir, project_id))

    async def start(self, spec: StartSpec) -> Instance:
        """Start a project server and wait until it has answered. See `Engine.start`.

        Raises:
            StartFailed: It did not come up; the text is for people.
        """
        self._check(spec)
        lock = self._lock(spec.project_id)
        async with lock:
            older = self._load(spec.project_id)
            if older is not None:
                if older.is_alive() and older.epoch >= spec.epoch:
                    raise StartFailed(
                        f"start {spec.epoch} of the project is out of date: start {older.epoch} is running"
                    )
                await self._end(older, grace_s=2.0)
            directory = project_dir(self._runtime_dir, spec.project_id)
            if older is None and is_locked_alive(directory):
                await self._end_unknown(directory)
                if is_locked_alive(directory):
                    raise StartFailed(
                        "the project could not be started: an earlier run of it is alive, and its record is damaged; "
                        "restart the hub, which ends it"
                    )
            told = "the project could not be started: {error}; try again"
            return await _with_another(lambda: self._launch(spec), told)

    async def _launch(self, spec: StartSpec) -> Instance:
        """Start a project server with the launcher that there is, and undo all of it if that fails.

        Raises:
            StartFailed: It did not come up.
            LauncherLost: The launcher ended meanwhile, of which the project is innocent.
        """
        session_id = str(uuid4())
        launcher = await self._ready_launcher()
        try:
            record = await launcher.launch(spec, session_id)
            if spec.network is Network.INTERNET:
                directory, group = project_dir(self._runtime_dir, spec.project_id), Group(record.groups)
                await uplink.attach(directory, record.init, record.server, group)
            await self._confirm(record, _START_TIMEOUT_S)
        except BaseException as error:
            await to_the_end(self._undo(spec.project_id, session_id))
            if isinstance(error, TimeoutError):
                raise StartFailed(
                    f"the project did not answer within {_START_TIMEOUT_S:.0f} seconds of its start; start it again, "
                    "and if that does not help, ask the operator what keeps this machine so busy"
                ) from error
            if isinstance(error, ServerLost):
                raise StartFailed(f"the project could not be started: {error}") from error
            raise
        return self._remember(record)

    def _check(self, spec: StartSpec) -> None:
        """Refuse what cannot work, in words, before anything is done.

        Raises:
            StartFailed: The home is missing or the uid is not one that this engine can give.
        """
        if not is_uuid(spec.project_id):
            raise StartFailed(f"the project could not be started: '{spec.project_id}' is not a project's id")
        if self.isolation is Isolation.FULL and not spec.uid:
            raise StartFailed("the project could not be started: full isolation needs a uid of its own, other than 0")
        if spec.uid is not None and os.geteuid() not in (0, spec.uid):
            raise StartFailed(f"the project could not be started: only a hub that runs as root can give uid {spec.uid}")
        if spec.network not in self.networks:
            raise StartFailed(f"the project could not be started: this machine offers no network '{spec.network}'")
        if not spec.home.is_dir():
            raise StartFailed("the project could not be started: its home does not exist")

    async def _confirm(self, record: Record, timeout_s: float) -> None:
        """Make sure that the server of a record answers, and that it is that server.

        Raises:
            ServerLost, TimeoutError: It is not.
        """
        directory = project_dir(self._runtime_dir, record.project_id)
        async with asyncio.timeout(timeout_s):
            answer = await calls.identify(directory / SOCKET_FILE)
        if (answer["project_id"], answer["epoch"], answer["session_id"]) != (
            record.project_id,
            record.epoch,
            record.session_id,
        ):
            raise ServerLost("another project server answers")

    async def _undo(self, project_id: ProjectId, session_id: str) -> None:
        record = self._load(project_id)
        if record is None:  # the launcher was lost before it had saved who they are: they end with it
            shutil.rmtree(project_dir(self._runtime_dir, project_id), ignore_errors=True)
        elif record.session_id == session_id:
            await self._end(record, grace_s=0.0)

    async def find(self, project_id: ProjectId) -> Instance | None:
        """The instance of a project that runs now, whoever started it; None if none does.

        It is asked who it is; one that takes its time is known by its record.
        """
        record = self._load(project_id) if is_uuid(project_id) else None
        if record is None or not record.is_alive():
            return None
        if uplink.is_missing(project_dir(self._runtime_dir, project_id)):
            return None  # its start was never completed
        try:
            await self._confirm(record, _FIND_TIMEOUT_S)
        except ServerLost:
            return None
        except TimeoutError:  # it is busy, or was stopped by its own people: not to be ended for that
            if not record.is_alive():
                return None
        return self._remember(record)

    def _remember(self, record: Record) -> Instance:
        self._records[record.project_id] = record
        self._uplinks.watch(record)
        return record.instance()

    async def running(self) -> Sequence[Instance]:
        """All instances that run now, as `find` would find them."""
        found = await asyncio.gather(*(self.find(project_id) for project_id in self._known()))
        return [instance for instance in found if instance is not None]

    async def stop(self, instance: Instance, *, grace_s: float = 2.0) -> None:
        """End an instance: ask, wait up to ``grace_s`` seconds, kill, wait for the end. Idempotent."""
        lock = self._lock(instance.project_id)
        async with lock:
            record = self._load(instance.project_id)
            if record is not None and record.session_id == instance.session_id:
                await self._end(record, grace_s=grace_s)

    async def end_all(self, project_id: ProjectId) -> None:
        """End whatever runs of a project, also what does not answer. Idempotent."""
        async with self._lock(project_id):
            record = self._load(project_id)
            if record is not None:
                await self._end(record, grace_s=0.0)
            elif is_uuid(project_id):
                await self._end_unknown(project_dir(self._runtime_dir, project_id))

    async def _end(self, record: Record, *, grace_s: float) -> None:
        await self._uplinks.leave(record)
        if record.is_alive():
            await self._end_processes(record, grace_s)
        if record.isolation is Isolation.NONE and processes.is_alive(record.server):
            # Its init was killed, and nothing but the parent's end held the rest together.
            killed = processes.kill_tree(record.server.pid)
            await asyncio.gather(*(processes.end_of(process) for process in killed))
        await asyncio.wait([self._ends.watch(record)])
        await self._end_group(Group(record.groups))
        if record.isolation is Isolation.NONE:
            # Only here is /tmp the machine's own: the scripts of commands that were killed with their server.
            for left in Path("/tmp").glob(f"exec-{record.session_id}-*"):  # noqa: S108
                shutil.rmtree(left, ignore_errors=True)
        shutil.rmtree(project_dir(self._runtime_dir, record.project_id), ignore_errors=True)
        self._records.pop(record.project_id, None)

    async def _end_processes(self, record: Record, grace_s: float) -> None:
        """Ask a run to end, then make it. The end of its init is the end of all of it."""
        ended = self._ends.watch(record)
        steps = [(signal.SIGTERM, grace_s), (signal.SIGKILL, None)]
        if record.isolation is Isolation.NONE:
            steps.insert(1, (signal.SIGUSR1, _HUNT_S))
        for number, patience_s in steps:
            if number is signal.SIGKILL and record.isolation is Isolation.NONE:
                processes.kill_tree(record.init.pid)
            processes.send(record.init, number)
            done, _ = await asyncio.wait([ended], timeout=patience_s)
            if done:
                return

    async def wait(self, instance: Instance) -> Exit:
        """Wait until an instance has ended by whatever cause, and tell how. See `Engine.wait`."""
        return await self._ends.exit_of(instance.session_id, self._load(instance.project_id))

    def _alive(self, instance: Instance) -> Record | None:
        """The record of an instance that runs."""
        record = self._load(instance.project_id)
        ours = record is not None and record.session_id == instance.session_id and record.is_alive()
        return record if ours else None

    async def usage(self, instance: Instance) -> Usage:
        """What the instance uses now; all zero if it has ended."""
        record = self._alive(instance)
        if record is None:
            return _NOTHING
        return await self._looks.share((record.session_id, "usage"), lambda: usage_of_run(record))

    async def activity(self, instance: Instance) -> Activity | None:
        """What shows that the instance is in use; None if it has ended."""
        record = self._alive(instance)
        if record is None:
            return None
        activity = await self._looks.share((record.session_id, "activity"), lambda: activity_of_run(record))
        self._ends.seen_oom_kills(record.session_id, activity.oom_kills)
        return activity

    async def call(
        self,
        instance: Instance,
        name: str,
        arguments: Sequence[object],
        *,
        timeout_s: float | None = None,
        max_reply_bytes: int | None = None,
    ) -> object:
        """Call a method of the project server and return its JSON value. See `Engine.call`.

        Raises:
            ServerLost: No answer, or not an answer of a project server.
            CallTimeout: No answer within ``timeout_s``.
            UnknownMethod, InvalidArgument, ExecFailed: As the project server says.
        """
        socket = project_dir(self._runtime_dir, instance.project_id) / SOCKET_FILE
        most = calls.MAX_REPLY_BYTES if max_reply_bytes is None else max_reply_bytes
        return await calls.call(
            self._connections,
            socket,
            instance.session_id,
            name,
            arguments,
            timeout_s=timeout_s,
            max_reply_bytes=most,
        )

    def stream(self, instance: Instance, name: str, arguments: Sequence[object]) -> AsyncGenerator[object, None]:
        """The values of a streaming method of a project server.

        Raises:
            ServerLost, UnknownMethod, InvalidArgument, NotFound, LimitError, ProjectError: As `Engine.stream` says.
        """
        socket = project_dir(self._runtime_dir, instance.project_id) / SOCKET_FILE
        return calls.stream(socket, instance.session_id, name, arguments)


async def _with_another(attempt: Callable[[], Awaitable[_T]], told: str) -> _T:
    """Try again while launchers are lost, a few times.

    Args:
        attempt: What needs a launcher.
        told: What to say when the last one is lost, with ``{error}`` in it.

    Raises:
        StartFailed: All were lost.
    """
    for left in reversed(range(_LAUNCHERS)):
        try:
            return await attempt()
        except LauncherLost as error:
            if not left:
                raise StartFailed(told.format(error=error)) from error
    raise AssertionError("the last attempt returns or raises")
