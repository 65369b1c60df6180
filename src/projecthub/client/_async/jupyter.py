from __future__ import annotations

from typing import Any

from projecthub.client._async.connection import AsyncConnection
from projecthub.client.requests import of_method
from projecthub.wire import shapes
from projecthub.wire.methods import METHODS, Endpoint

_OF_HUB = METHODS[Endpoint.HUB]


class AsyncHubJupyter:
    """Code run in the kernels of projects. Every call starts the project if it does not run."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def kernels(self, project_id: str | None = None) -> list[shapes.JupyterKernelSpec]:
        """The kernels that a project has.

        Args:
            project_id: The project; a hub has no kernels of its own.

        Raises:
            PermissionDenied: You are not on the project.
            StartFailed: The project could not be started.

        Example:
            ```python
            names = [kernel["name"] for kernel in await hub.jupyter.kernels(project_id)]
            ```
        """
        method = _OF_HUB["jupyter.kernels"]
        request = of_method(method, shapes.JupyterSpecs(project_id=project_id), repeatable=True)
        reply: list[shapes.JupyterKernelSpec] = await self._connection.call(method, request)
        return reply

    async def execute(
        self,
        input: str,
        kernel: str,
        history: list[str] | None = None,
        project_id: str | None = None,
        path: str | None = None,
        timeout: float | None = 90,
    ) -> shapes.JupyterResult:
        """Run code in a fresh kernel of a project. Asked twice, it runs twice.

        Args:
            input: The code.
            kernel: The kernel's name, such as ``python3``.
            history: Code to run before it in the same kernel; its output is dropped.
            project_id: The project.
            path: Directory to run in, relative to the project's home.
            timeout: Seconds to wait for the answer.

        Returns:
            `output`: as of `Project.system.jupyter_execute`; `created`: when it was there.

        Raises:
            InvalidArgument: There is no such kernel, or no project is given.
            CallTimeout: It did not end in time.
            PermissionDenied: You are not on the project.
            StartFailed: The project could not be started.

        Example:
            ```python
            await hub.jupyter.execute("1+1", "python3", project_id=project_id)
            ```
        """
        method = _OF_HUB["jupyter.execute"]
        arguments: Any = shapes.JupyterRun(
            input=input, kernel=kernel, history=history, project_id=project_id, path=path
        )
        reply: shapes.JupyterResult = await self._connection.call(
            method, of_method(method, arguments, timeout_s=timeout)
        )
        return reply
