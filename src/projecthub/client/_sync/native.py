# Written by tools/unasync.py from client/_async; change it there.
from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

import httpx2

from projecthub.client import problems, replies
from projecthub.client._sync.connection import Connection
from projecthub.client._sync.project_system import ProjectSystem

_CONNECT_S: Final = 10.0


class NativeProject:
    """Requests to the native API about one project."""

    def __init__(self, connection: Connection, project_id: str | None) -> None:
        self._connection = connection
        self._project_id = project_id

    def json(
        self, method: str, path: str, *, body: Any = None, content: bytes | None = None, wait_s: float | None = 120.0
    ) -> Any:
        """Ask for something, and return the answer's value; None if it has none.

        Args:
            method: HTTP method.
            path: What follows the project's address, such as ``/jobs``.
            body: To be sent as JSON.
            content: To be sent as it is.
            wait_s: Seconds the answer may take; None: no bound.

        Raises:
            HubError: The hub refused; TransportError if it did not answer.
        """
        options = {"json": body} if content is None and body is not None else {"content": content}
        with self.stream(method, path, wait_s=wait_s, **options) as response:
            response.read()
            return response.json() if response.content else None

    @contextmanager
    def stream(
        self,
        method: str,
        path: str,
        *,
        headers: Mapping[str, str] | None = None,
        wait_s: float | None = None,
        **options: Any,
    ) -> Iterator[httpx2.Response]:
        """Ask for something whose answer is read piece by piece.

        Raises:
            HubError: The hub refused; TransportError if it did not answer, or ended in the middle.
        """
        target, client = self._connection.target, self._connection.client
        if self._project_id is None:
            self._project_id = (ProjectSystem(self._connection, None).test())["project_id"]
        url = f"{target.host}/api/v1/projects/{self._project_id}{path}"
        try:
            with client.stream(
                method,
                url,
                headers={"authorization": f"Bearer {target.api_key}", **(headers or {})},
                timeout=httpx2.Timeout(wait_s, connect=_CONNECT_S, pool=None),
                **options,
            ) as response:
                if response.status_code >= 300:
                    response.read()
                    raise problems.refusal(response, host=target.host)
                yield response
        except httpx2.RequestError as error:
            raise replies.no_answer(error, host=target.host, name=path) from error
