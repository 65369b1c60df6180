"""The methods of a project server, by their names on the wire."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from typing import TypedDict

from projecthub.errors import UnknownMethod
from projecthub.projectserver.environment import make_environment
from projecthub.projectserver.execution import Executor
from projecthub.projectserver.identity import Identity
from projecthub.projectserver.jobs import Jobs
from projecthub.projectserver.jupyter.execution import Jupyter
from projecthub.projectserver.jupyter.notebooks import Notebooks
from projecthub.projectserver.system import System

Method = Callable[[Sequence[object]], Awaitable[object]]
StreamMethod = Callable[[Sequence[object]], AsyncGenerator[object, None]]


class _Place(TypedDict):
    """Where and as whom things are done."""

    home: str
    environment: Mapping[str, str]
    session_id: str


class Methods:
    """What a project server can be asked to do."""

    def __init__(self, identity: Identity) -> None:
        """Make the methods of one project server."""
        self._identity = identity
        place: _Place = {
            "home": identity.home,
            "environment": make_environment(identity),
            "session_id": identity.session_id,
        }
        self._jobs = jobs = Jobs(**place)
        executor = Executor(**place, jobs=jobs)
        self._jupyter = jupyter = Jupyter(**place)
        system = System(identity.home, place["environment"])
        self._table: dict[str, Method] = {
            "jupyter.kernels": jupyter.specs,
            "system.exec": executor.execute,
            "system.jupyterExecute": jupyter.execute,
            "system.listJupyterKernels": jupyter.listing,
            "system.stopJupyterKernel": jupyter.stop,
            "system.activity": self._activity,
            "system.configuration": system.configuration,
            "system.signal": system.signal,
            "system.version": system.version,
            "ping": system.ping,
            "system.ping": self._ping,
            "system.test": self._test,
            "jupyter.sessions.open": jupyter.sessions.open,
            "jupyter.sessions.list": jupyter.sessions.listing,
            "jupyter.sessions.get": jupyter.sessions.get,
            "jupyter.sessions.execute": jupyter.sessions.execute,
            "jupyter.sessions.executions": jupyter.sessions.executions,
            "jupyter.sessions.ends": jupyter.sessions.ends,
            "jupyter.sessions.execution": jupyter.sessions.execution,
            "jupyter.sessions.interrupt": jupyter.sessions.interrupt,
            "jupyter.sessions.restart": jupyter.sessions.restart,
            "jupyter.sessions.complete": jupyter.sessions.complete,
            "jupyter.sessions.close": jupyter.sessions.close,
            "jupyter.run_notebook": Notebooks(jobs, identity.home).run,
            "jobs.start": jobs.start,
            "jobs.write": jobs.write,
            "jobs.signal": jobs.signal,
            "jobs.remove": jobs.remove,
        }
        self._streams: dict[str, StreamMethod] = {
            "jobs.follow": jobs.follow,
            "jupyter.sessions.follow": jupyter.sessions.follow,
        }

    async def call(self, name: str, arguments: Sequence[object]) -> object:
        """Call a method by its name and return its JSON value.

        Raises:
            UnknownMethod: There is none of that name.
            HubError: As the method says.
        """
        method = self._table.get(name)
        if method is None:
            raise UnknownMethod(f"unknown function '{name}'")
        return await method(arguments)

    def stream(self, name: str, arguments: Sequence[object]) -> AsyncGenerator[object, None]:
        """Call a method that has many JSON values to give, by its name. Closing what is returned ends it.

        Raises:
            UnknownMethod: There is none of that name.
            HubError: As the method says; while it is iterated.
        """
        method = self._streams.get(name)
        if method is None:
            raise UnknownMethod(f"unknown stream '{name}'")
        return method(arguments)

    async def close(self) -> None:
        """The server ends: note how what it has begun ends with it."""
        await self._jobs.close()

    async def _activity(self, _: Sequence[object]) -> object:
        """What runs without anybody waiting for it."""
        return {"jobs": self._jobs.running(), "executions": self._jupyter.sessions.unended()}

    async def _ping(self, _: Sequence[object]) -> object:
        return {"now": _now_ms()}

    async def _test(self, _: Sequence[object]) -> object:
        return {"project_id": self._identity.project_id, "server_time": _now_ms()}


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
