from __future__ import annotations

import os
from collections.abc import Sequence
from types import TracebackType
from typing import Any, Self

import httpx2

from projecthub.client import requests, settings
from projecthub.client._async.connection import AsyncConnection
from projecthub.client._async.files import AsyncProjectFiles
from projecthub.client._async.jobs import AsyncJobs
from projecthub.client._async.project_jupyter import AsyncProjectJupyter
from projecthub.client._async.project_system import AsyncProjectSystem
from projecthub.client._async.snapshots import AsyncSnapshots
from projecthub.client.requests import USUAL_WAIT_S
from projecthub.client.retries import DEFAULT_RETRIES
from projecthub.wire.methods import Endpoint


class AsyncProject:
    """The inside of one project. Every call starts the project if it does not run.

    Attributes:
        system: Commands in the project.
        jobs: Commands that run on when nobody waits for them.
        jupyter: Its kernels, and sessions of them that keep their state.
        files: Its files, of any size; for these it is not started.
        snapshots: What it held at other times; nor for these.
        project_id: Which project; None: the one that a project's own key belongs to.

    Example:
        ```python
        async with AsyncProject(project_id=project_id) as project:
            print((await project.system.exec("date"))["stdout"])
        ```
    """

    system: AsyncProjectSystem
    jobs: AsyncJobs
    jupyter: AsyncProjectJupyter
    files: AsyncProjectFiles
    snapshots: AsyncSnapshots
    project_id: str | None

    def __init__(
        self,
        api_key: str | None = None,
        host: str | None = None,
        project_id: str | None = None,
        *,
        timeout_s: float | None = USUAL_WAIT_S,
        client: httpx2.AsyncClient | None = None,
        retries: int = DEFAULT_RETRIES,
    ) -> None:
        """Choose a project, a hub and a key; nothing is sent yet.

        Args:
            api_key: The key of a member of the project, or a key of the project's own. Default: as for a hub.
            host: The hub's address. Default: as for a hub.
            project_id: The project; with a key of the project's own it may be left out.
            timeout_s: Seconds an answer may take; None: no bound.
            client: An HTTP client to use; you close it.
            retries: How often a call is sent again when no hub answered, 0 or more.

        Raises:
            InvalidArgument: The address, the key or ``retries`` is malformed.
            NotSignedIn: There is no key anywhere.
        """
        target = settings.resolve(api_key, host, os.environ)
        self._use(AsyncConnection(target, client=client, timeout_s=timeout_s, retries=retries), project_id)

    @property
    def host(self) -> str:
        """The hub's address, without a slash at its end."""
        return self._connection.target.host

    async def call(self, name: str, args: Sequence[Any] = (), timeout: int | None = None) -> Any:
        """Call any method of the project as it stands on the wire.

        Args:
            name: Wire name, such as ``system.exec``.
            args: The wire's list of arguments; most methods take one object in it.
            timeout: Bound on the wait in milliseconds, as on the wire, from when the project runs; None: none.

        Returns:
            The reply, whatever it is.

        Raises:
            HubError: The hub or the project refused; CallTimeout when ``timeout`` has passed.
            InvalidArgument: The arguments are not JSON.

        Example:
            ```python
            await project.call("system.ping", [{}])
            ```
        """
        request = requests.raw(Endpoint.PROJECT, name, args, project_id=self.project_id or None, timeout_ms=timeout)
        return await self._connection.send(request)

    async def aclose(self) -> None:
        """Close its connections; those of a hub that it came from stay open. Idempotent.

        Example:
            ```python
            project = AsyncProject(project_id=project_id)
            try:
                print(await project.system.ping())
            finally:
                await project.aclose()
            ```
        """
        await self._connection.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.host!r}, project_id={self.project_id!r})"

    async def _own_id(self) -> str:
        """The project's id, which the hub is asked for where a key of the project's own says it."""
        if not self.project_id:
            self.project_id = (await self.system.test())["project_id"]
        return self.project_id

    @classmethod
    def _over(cls, connection: AsyncConnection, project_id: str | None) -> Self:
        project = cls.__new__(cls)
        project._use(connection, project_id)
        return project

    def _use(self, connection: AsyncConnection, project_id: str | None) -> None:
        self._connection = connection
        self.project_id = project_id
        self.system = AsyncProjectSystem(connection, project_id or None)
        self.jobs = AsyncJobs(connection, project_id or None)
        self.jupyter = AsyncProjectJupyter(connection, project_id or None)
        self.files = AsyncProjectFiles(connection, self)
        self.snapshots = AsyncSnapshots(connection, self)
