# Written by tools/unasync.py from client/_async; change it there.
from __future__ import annotations

from typing import Any

from projecthub.client._sync.connection import Connection
from projecthub.client.requests import of_method
from projecthub.wire import shapes
from projecthub.wire.methods import METHODS, Endpoint
from projecthub.wire.project_system import Configuration, Configured, Signal

_METHODS = METHODS[Endpoint.PROJECT]


class ProjectServer:
    """What a project tells of itself, and signals to its processes."""

    _connection: Connection
    _project_id: str | None

    def configuration(self, aspect: str = "main") -> Configured:
        """What programs the project has.

        Args:
            aspect: ``main``, or ``x11``, of which there is nothing.

        Returns:
            `timestamp`, and `capabilities`: from names to true or false, some of them grouped.

        Raises:
            PermissionDenied: You are not on the project, or only view it.

        Example:
            ```python
            project.system.configuration()["capabilities"]["pandoc"]  # False
            ```
        """
        reply: Configured = self._ask("system.configuration", Configuration(aspect=aspect))
        return reply

    def signal(self, signal: int | str, pid: int | None = None, pids: list[int] | None = None) -> None:
        """Send a signal to processes of the project.

        Args:
            signal: A number, or a name such as ``SIGINT``.
            pid: A process.
            pids: More of them; each gets it that can.

        Raises:
            NotFound: There is no such process.
            InvalidArgument: There is no such signal, or it is the project's own server; nothing was sent.
            PermissionDenied: You are not on the project, or only view it.

        Example:
            ```python
            project.system.signal("SIGTERM", pid)
            ```
        """
        self._ask("system.signal", Signal(signal=signal, pid=pid, pids=pids))

    def version(self) -> int:
        """A number that grows with what projects offer.

        Raises:
            PermissionDenied: You are not on the project.

        Example:
            ```python
            project.system.version()  # 1
            ```
        """
        reply: int = self._ask("system.version", shapes.NoArguments())
        return reply

    def pong(self) -> str:
        """The shortest sign of life there is: the call `ping`, without a group.

        Raises:
            PermissionDenied: You are not on the project.

        Example:
            ```python
            project.system.pong()  # 'pong'
            ```
        """
        reply: str = self._ask("ping", shapes.NoArguments())
        return reply

    def _ask(self, name: str, arguments: Any) -> Any:
        request = of_method(_METHODS[name], arguments, project_id=self._project_id)
        return self._connection.call(_METHODS[name], request)
