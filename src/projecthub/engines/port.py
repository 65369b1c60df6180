"""The engine's port: where a project server runs, and how the hub reaches it.

An engine starts, finds, observes and stops project servers. It knows nothing of accounts, rules or the store. What it
needs to find a project again it saves by itself before `Engine.start` returns, so that a hub that was killed at any
moment finds every project again, or can end it.

Every engine passes the suite in ``tests/contract/test_engines.py``.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Protocol

from projecthub.wire.ids import ProjectId


class Isolation(StrEnum):
    """What keeps projects apart, strongest first."""

    FULL = "full"
    """Own namespaces, own read-only system, own uid on the machine. The hub is root, if of a user namespace only."""
    USER = "user"
    """Own namespaces and read-only system; on the machine all projects share the hub's uid (user namespaces)."""
    NONE = "none"
    """Plain processes: projects can see and signal each other and the hub."""


class Network(StrEnum):
    """What a project reaches of the network."""

    NONE = "none"
    """A loopback of its own, and nothing else."""
    INTERNET = "internet"
    """A network of its own with a way out; nothing reaches in, and the machine's loopback is not reached."""
    HOST = "host"
    """The machine's own network: every loopback service and abstract socket of the machine is within reach."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a project may use at most; None: as much as the machine has.

    Attributes:
        memory_bytes: Memory of all its processes, with the files in its `/tmp` and the like.
        cpu_cores: Processor time a second, as a number of cores: 0.5 is half of one.
        processes: Processes and threads at a time.
    """

    memory_bytes: int | None = None
    cpu_cores: float | None = None
    processes: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Means:
    """By what an engine holds projects to their limits, in words for people; None: nothing does.

    Attributes:
        memory: Such as ``cgroup v2``, ``cgroup v1`` or ``rlimit``.
        cpu: The same.
        processes: The same.
    """

    memory: str | None = None
    cpu: str | None = None
    processes: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StartSpec:
    """What is to be started.

    Attributes:
        project_id: Whose server it is.
        epoch: Number of this start, larger than that of every earlier start of the project.
        home: The project's home on the machine; exists, and belongs to `uid` if one is given.
        uid: The project's user and group id on the machine; None: the hub's own.
        environment: Variables to add to the project's environment; they win over the engine's.
        limits: What it may use at most.
        network: What it reaches; one of the engine's `Engine.networks`.
    """

    project_id: ProjectId
    epoch: int
    home: Path
    uid: int | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    limits: Limits = Limits()
    network: Network = Network.HOST


@dataclass(frozen=True, slots=True, kw_only=True)
class Instance:
    """One run of a project server.

    Attributes:
        project_id: Whose server it is.
        epoch: The epoch it was started with.
        pid: Process id of the project server as the machine sees it.
        session_id: A uuid of its own for every run.
        started_at: When it was started.
    """

    project_id: ProjectId
    epoch: int
    pid: int
    session_id: str
    started_at: datetime


@dataclass(frozen=True, slots=True)
class Exit:
    """How an instance ended: the project server's exit code, or the signal that ended it, or neither if unknown.

    Attributes:
        code: Exit code of the project server.
        signal: Number of the signal that ended it.
        out_of_memory: Whether the server seems to have been ended for want of memory.
        oom_kills: How many processes were ended for want of memory since its activity was asked for last.
        log: The last lines that the server wrote, at most 2,000 characters; not to be trusted.
        rebooted: Whether the machine was booted since; then nothing else is known.
    """

    code: int | None = None
    signal: int | None = None
    out_of_memory: bool = False
    oom_kills: int = 0
    log: str = ""
    rebooted: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """What all processes of an instance use together. Sizes in bytes, times in seconds.

    Attributes:
        processes: Number of processes.
        rss: Sum of resident sizes (pages shared between processes count in each).
        pss: Sum of proportional sizes (shared pages count once, divided among their users).
        uss: Sum of private sizes.
        swap: Sum of swapped sizes.
        cpu_s: Processor time of all processes that live, with that of their ended children.
        oom_kills: How many processes of this run were ended for want of memory, as far as the engine can tell.
    """

    processes: int
    rss: int
    pss: int
    uss: int
    swap: int
    cpu_s: float
    oom_kills: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Activity:
    """Signs that somebody uses an instance, cheap enough to ask for all instances every minute.

    Attributes:
        cpu_s: Processor time of all its processes since the start, those that have ended included.
        terminals: Number of processes that have a terminal and lead its session: shells, mostly.
        processes: Number of processes, without the server and its init.
        oom_kills: As in `Usage`.
    """

    cpu_s: float
    terminals: int
    processes: int
    oom_kills: int = 0


class Engine(Protocol):
    """Starts, finds, observes and stops project servers."""

    @property
    def name(self) -> str:
        """The engine's name in settings and reports: ``local``."""
        ...

    @property
    def isolation(self) -> Isolation:
        """The isolation that is in force for every instance it starts."""
        ...

    @property
    def networks(self) -> frozenset[Network]:
        """What `StartSpec.network` may be; known once the engine is open."""
        ...

    @property
    def means(self) -> Means:
        """By what instances are held to their limits; known once the engine is open."""
        ...

    async def open(self) -> None:
        """Make ready to start projects, and end what belongs to no run that can be found.

        Raises:
            StartFailed: It cannot, with the reason and the remedy.
        """
        ...

    async def close(self) -> None:
        """Let go of everything but the projects, which run on."""
        ...

    async def ready(self) -> None:
        """Return if a project could be started now; cheap.

        Raises:
            StartFailed: None could, with the reason.
        """
        ...

    async def start(self, spec: StartSpec) -> Instance:
        """Start a project server and wait until it has answered.

        If an instance of an older epoch of the project still runs, it is ended first. If the call fails or is
        cancelled, nothing of the new instance is left.

        Raises:
            StartFailed: It did not come up; the text is for people.
        """
        ...

    async def find(self, project_id: ProjectId) -> Instance | None:
        """The instance of a project that runs now, whoever started it; None if none does."""
        ...

    async def running(self) -> Sequence[Instance]:
        """All instances that run now, as `find` would find them."""
        ...

    async def stop(self, instance: Instance, *, grace_s: float = 2.0) -> None:
        """End an instance: ask, wait up to ``grace_s`` seconds, kill, wait for the end. Idempotent.

        When it returns no process, mount, socket or temporary file of the instance is left.
        """
        ...

    async def end_all(self, project_id: ProjectId) -> None:
        """End whatever runs of a project, also what does not answer and `find` does not find. Idempotent."""
        ...

    async def wait(self, instance: Instance) -> Exit:
        """Wait until an instance has ended by whatever cause, and tell how. Returns at once if it has already.

        May be called by several waiters at the same time, and may be cancelled.
        """
        ...

    async def usage(self, instance: Instance) -> Usage:
        """What the instance uses now; all zero if it has ended."""
        ...

    async def activity(self, instance: Instance) -> Activity | None:
        """What shows that the instance is in use; None if it has ended."""
        ...

    async def call(
        self,
        instance: Instance,
        name: str,
        arguments: Sequence[object],
        *,
        timeout_s: float | None = None,
        max_reply_bytes: int | None = None,
    ) -> object:
        """Call a method of the project server and return its JSON value. Safe to use concurrently.

        Args:
            instance: Which server.
            name: Wire name of the method, such as ``system.exec``.
            arguments: The ``args`` of the wire, unchanged.
            timeout_s: Bound on the wait in seconds; None: no bound. The work in the project goes on.
            max_reply_bytes: What the reply may have at most; None: what engines take.

        Raises:
            ServerLost: No answer, or not an answer of a project server (whatever runs in there is not trusted).
            CallTimeout: No answer within ``timeout_s``.
            UnknownMethod, InvalidArgument, ExecFailed: As the project server says.
        """
        ...

    def stream(self, instance: Instance, name: str, arguments: Sequence[object]) -> AsyncGenerator[object, None]:
        """Call a method of the project server that has many JSON values to give, and yield them as they come.

        Closing the generator ends the work in the project. What is not taken waits in the project, not here.

        Args:
            instance: Which server.
            name: Name of the method.
            arguments: As for `call`.

        Raises:
            ServerLost: The server ended, or what came is not of a project server.
            UnknownMethod, InvalidArgument, NotFound, LimitError, ProjectError: As the project server says.
        """
        ...
