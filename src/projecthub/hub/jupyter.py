"""Code that is run in a project's kernels, by a call of the hub.

Source: Wire contract 5.3.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from projecthub.errors import InvalidArgument, ServerLost
from projecthub.hub.permissions import member_access, not_deleted, project_id_of
from projecthub.wire.methods import Ability
from projecthub.wire.units import to_iso

if TYPE_CHECKING:
    from projecthub.hub.calls import ProjectCalls
    from projecthub.hub.clock import Clock
    from projecthub.hub.command_log import CommandLog
    from projecthub.hub.principals import Principal
    from projecthub.store import Store
    from projecthub.wire import shapes
    from projecthub.wire.ids import ProjectId


@dataclass(frozen=True, slots=True)
class Result:
    """What came of some code.

    Attributes:
        output: Its outputs, as JSON on one line.
        created: An ISO time.
    """

    output: str
    created: str


class Jupyter:
    """Kernels of projects. Nothing is cached: what is asked for twice runs twice."""

    def __init__(self, store: Store, clock: Clock, calls: ProjectCalls, log: CommandLog) -> None:
        """Make the service."""
        self._log = log
        self._store = store
        self._clock = clock
        self._calls = calls

    async def kernels(self, caller: Principal, project_id: str | None) -> list[shapes.JupyterKernelSpec]:
        """The kernels that a project has; it is started if it does not run.

        Raises:
            InvalidArgument: No project is given, or no uuid.
            PermissionDenied: The caller is not on the project.
            Conflict, StartFailed: See `Lifecycle.start`.
        """
        checked = await self._wake(caller, project_id)
        return cast("list[shapes.JupyterKernelSpec]", _items(await self._calls.call(checked, "jupyter.kernels", [])))

    async def execute(self, caller: Principal, request: shapes.JupyterRun) -> Result | None:
        """Run code in a fresh kernel of a project; it is started if it does not run.

        Returns:
            What came of it; None if only the hash of an earlier run is given, for none is kept.

        Raises:
            InvalidArgument: An argument is missing, no project is given, or there is no such kernel.
            PermissionDenied: The caller is not on the project.
            ProjectError: The kernel did not come up.
            Conflict, StartFailed: See `Lifecycle.start`.
        """
        if request.input is None and request.hash is None:
            raise InvalidArgument("input or hash must not be null")
        if request.input is None:
            return None
        if request.kernel is None:
            raise InvalidArgument("kernel must be specified in hash is not specified")
        checked = await self._wake(caller, request.project_id)
        options = {
            "input": request.input,
            "kernel": request.kernel,
            "history": request.history,
            "path": request.path,
        }
        return Result(await self.run(caller, checked, [options]), to_iso(self._clock.now()))

    async def run(self, caller: Principal, project_id: ProjectId, arguments: Sequence[Any]) -> str:
        """``system.jupyterExecute`` of a project that was woken, noted in the project's log.

        Returns:
            Its outputs as JSON. The hub reads nothing of it: there may be millions of values in it.

        Raises:
            HubError: What the project server refuses; see `Engine.call`.
        """
        given = arguments[0] if arguments and isinstance(arguments[0], dict) else {}
        with self._log.cell(project_id, caller.account_id, given.get("input")) as note:
            told = await self._calls.call(project_id, "system.jupyterExecute", arguments)
            outputs = _outputs(told)
            note.result = {"outcome": told["outcome"] if isinstance(told, dict) else "ok", "bytes": len(outputs)}
        return outputs

    async def _wake(self, caller: Principal, project_id: str | None) -> ProjectId:
        if not project_id:
            raise InvalidArgument("Jupyter API is not enabled on this server.")
        checked = project_id_of(project_id)
        async with self._store.read() as tx:
            denial = "permission denied -- user must be collaborator on project"
            project = (await member_access(tx, caller, checked, denial, Ability.RUN)).project
        not_deleted(project)
        await self._calls.wake(caller, project)
        return checked


def _items(reply: object) -> list[shapes.JupyterOutput]:
    """A list of objects, as a project server has to give; it may have been replaced by something that gives another."""
    if not isinstance(reply, list) or not all(isinstance(item, dict) for item in reply):
        raise ServerLost("the project server's reply is no list of objects")
    return reply


def _outputs(reply: object) -> str:
    """Outputs as text that is a list of JSON, by its ends; a project whose server lies here spoils its own replies."""
    if isinstance(reply, list):  # of a project server that is older than this hub
        return json.dumps(_items(reply))
    text = reply.get("outputs") if isinstance(reply, dict) and isinstance(reply.get("outcome"), str) else None
    if not isinstance(text, str) or "\n" in text or not (text.startswith("[") and text.endswith("]")):
        raise ServerLost("the project server's reply is no list of outputs")
    return text
