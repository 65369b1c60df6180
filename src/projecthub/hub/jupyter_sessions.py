"""Sessions of kernels in projects: they live in the project server, and the hub keeps nothing of them."""

from __future__ import annotations

from contextlib import aclosing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from projecthub.errors import ServerLost

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from projecthub.hub.calls import ProjectCalls
    from projecthub.hub.cell_log import CellLog
    from projecthub.hub.principals import Principal
    from projecthub.wire.ids import ProjectId

Told = dict[str, Any]

MAX_INDEX: Final = 2**53
"""Below this are the indices of outputs."""


@dataclass(frozen=True, slots=True)
class Output:
    """An output of an execution.

    Attributes:
        index: Which one, counted from 0.
        text: It, as JSON on one line.
    """

    index: int
    text: str


class JupyterSessions:
    """Sessions of projects. Who may use them is settled before, by `ProjectCalls.access`."""

    def __init__(self, calls: ProjectCalls, log: CellLog) -> None:
        """Make the service."""
        self._calls = calls
        self._log = log

    async def all_of(self, project_id: ProjectId) -> list[Told]:
        """The sessions of a project; none if it does not run."""
        if not self._calls.reaches(project_id):
            return []
        return _objects(await self._calls.call(project_id, "jupyter.sessions.list", []))

    async def kernels(self, project_id: ProjectId) -> list[Told]:
        """The kernels that a project has."""
        return _objects(await self._calls.call(project_id, "jupyter.kernels", []))

    async def ask(self, project_id: ProjectId, what: str, name: str, **options: object) -> Told:
        """Ask a session of a project that was woken for something that is told by one object.

        Args:
            project_id: The project.
            what: Last word of the project server's method: ``open``, ``get``, ``execute``, ``close``, ...
            name: Of the session.
            **options: Of the method.

        Raises:
            HubError: What the project server refuses.
        """
        told = await self._calls.call(project_id, f"jupyter.sessions.{what}", [{"name": name, **options}])
        return _objects([told])[0]

    async def execute(self, caller: Principal, project_id: ProjectId, name: str, *, id: str, code: str) -> Told:
        """Have a session of a project that was woken run code, and do not wait for it; noted in the project's log.

        Raises:
            HubError: What the project server refuses.
        """
        told = await self.ask(project_id, "execute", name, id=id, code=code)
        self._log.began(project_id, caller.account_id, name, id, code, told)
        return told

    async def executions(self, project_id: ProjectId, name: str) -> list[Told]:
        """The executions that a session remembers, oldest first.

        Raises:
            NotFound: It is not open.
        """
        return _objects(await self._calls.call(project_id, "jupyter.sessions.executions", [{"name": name}]))

    async def follow(
        self, project_id: ProjectId, name: str, id: str, index: int
    ) -> AsyncGenerator[Output | Told, None]:
        """An execution, then its outputs from one on, as they come, and at last itself again.

        Raises:
            NotFound: There is no such session or execution.
            ServerLost: The project was stopped.
        """
        arguments = [{"name": name, "id": id, "index": index}]
        async with aclosing(self._calls.stream(project_id, "jupyter.sessions.follow", arguments)) as values:
            async for value in values:
                match value:
                    case {"index": int(index), "output": str(text)} if _is_one(index, text):
                        yield Output(index, text)
                    case {"execution": dict(told)}:
                        yield told
                    case _:
                        raise ServerLost("the project server's reply is no output of an execution")


def _is_one(index: int, text: str) -> bool:
    """Whether this may be an output; what is JSON is not looked at, but it must not become several events."""
    return 0 <= index < MAX_INDEX and "\n" not in text and "\r" not in text


def _objects(reply: object) -> list[Told]:
    """A list of objects, as a project server has to give; it may have been replaced by something that gives another."""
    if not isinstance(reply, list) or not all(isinstance(item, dict) for item in reply):
        raise ServerLost("the project server's reply is no list of objects")
    return reply
