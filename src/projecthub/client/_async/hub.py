from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx2

from projecthub.client import requests, settings
from projecthub.client._async.accounts import AsyncAccounts
from projecthub.client._async.audit import AsyncAudit
from projecthub.client._async.classes import AsyncClasses
from projecthub.client._async.connection import AsyncConnection
from projecthub.client._async.copies import AsyncCopies
from projecthub.client._async.database import AsyncDatabase
from projecthub.client._async.jupyter import AsyncHubJupyter
from projecthub.client._async.keys import AsyncKeys
from projecthub.client._async.licenses import AsyncLicenses
from projecthub.client._async.messages import AsyncMessages
from projecthub.client._async.organizations import AsyncOrganizations
from projecthub.client._async.project import AsyncProject
from projecthub.client._async.projects import AsyncProjects
from projecthub.client._async.purchases import AsyncPurchases
from projecthub.client._async.sync import AsyncSync
from projecthub.client._async.system import AsyncHubSystem
from projecthub.client.embedding import AsyncEmbeddedTransport
from projecthub.client.requests import USUAL_WAIT_S
from projecthub.client.retries import DEFAULT_RETRIES
from projecthub.wire.methods import Endpoint


class AsyncHub:
    """A hub, called under one key.

    Every method raises the `projecthub.errors.HubError` that says who can act: for example `NotFound`,
    `PermissionDenied`, or `TransportError` if no hub answered. Use it as a context manager, or close it; calls may run
    concurrently.

    Attributes:
        projects: Projects: list, create, start, stop, copy, share.
        system: Who the key is; other people.
        db: User queries.
        sync: Histories of text files.
        accounts: Accounts, for site admins.
        keys: API keys.
        licenses: Licenses, for site admins.
        jupyter: Code run in the kernels of projects.
        messages: Messages between people.
        org: Organizations.
        audit: The audit log, for site admins.
        purchases: Balances, which are 0.
        classes: Classes: hand out, collect, return, as a class file says.
        copies: Copies from one project to many, or from many to one.

    Example:
        ```python
        async with AsyncHub() as hub:
            project_id = await hub.projects.create_project("Analysis")
            await hub.projects.start(project_id)
            print(await hub.project(project_id).system.exec("uname -a"))
        ```
    """

    projects: AsyncProjects
    system: AsyncHubSystem
    db: AsyncDatabase
    sync: AsyncSync
    accounts: AsyncAccounts
    keys: AsyncKeys
    licenses: AsyncLicenses
    jupyter: AsyncHubJupyter
    messages: AsyncMessages
    org: AsyncOrganizations
    audit: AsyncAudit
    purchases: AsyncPurchases
    classes: AsyncClasses
    copies: AsyncCopies

    def __init__(
        self,
        api_key: str | None = None,
        host: str | None = None,
        *,
        timeout_s: float | None = USUAL_WAIT_S,
        client: httpx2.AsyncClient | None = None,
        retries: int = DEFAULT_RETRIES,
    ) -> None:
        """Choose a hub and a key; nothing is sent yet.

        Args:
            api_key: The key. Default: ``PROJECTHUB_API_KEY``, then ``COCALC_API_KEY``, then, for a hub on this machine
                that you started, the key in its data directory.
            host: The hub's address. Default: ``PROJECTHUB_URL``, then ``COCALC_HOST``, then ``http://127.0.0.1:8000``.
            timeout_s: Seconds an answer may take; None: no bound. A call that is given a bound of its own keeps that,
                and copies may take as long as they need.
            client: An HTTP client to use, with proxies or certificates of your own; you close it.
            retries: How often a call is sent again when no hub answered, 0 or more. A call that may have arrived is
                sent again only if doing it twice does no harm.

        Raises:
            InvalidArgument: The address, the key or ``retries`` is malformed.
            NotSignedIn: There is no key anywhere.
        """
        target = settings.resolve(api_key, host, os.environ)
        self._use(AsyncConnection(target, client=client, timeout_s=timeout_s, retries=retries))

    @classmethod
    def embedded(cls, data_dir: str | Path | None = None, **settings: Any) -> Self:
        """A whole hub inside this process, signed in as its admin: for tests, notebooks and scripts.

        Enter it with ``async with``; leaving ends the hub and its projects.

        Args:
            data_dir: Directory to keep its projects in. Default: a temporary one, which is removed in the end.
            **settings: The hub's settings, by their names in its configuration.

        Raises:
            ClientError: The hub's own part is not installed.

        Example:
            ```python
            async with AsyncHub.embedded() as hub:
                print(await hub.system.ping())
            ```
        """
        return cls._over(AsyncConnection.embedded(AsyncEmbeddedTransport(data_dir, settings)))

    @property
    def host(self) -> str:
        """The hub's address, without a slash at its end."""
        return self._connection.target.host

    def project(self, project_id: str) -> AsyncProject:
        """The inside of a project, over this hub's connections and under its key.

        Args:
            project_id: Whose; it is not checked before the first call.

        Example:
            ```python
            result = await hub.project(project_id).system.exec("ls")
            ```
        """
        return AsyncProject._over(self._connection.shared(), project_id)

    def with_key(self, api_key: str) -> Self:
        """The same hub under another key, over this hub's connections; closing it closes nothing.

        Args:
            api_key: The other key.

        Raises:
            InvalidArgument: The key is malformed.

        Example:
            ```python
            ada = hub.with_key((await hub.keys.create(account_id="ada@example.org"))["secret"])
            ```
        """
        return self._over(self._connection.shared(settings.check_key(api_key)))

    async def call(self, name: str, args: Sequence[Any] = (), timeout: int | None = None) -> Any:
        """Call any method of the hub as it stands on the wire.

        Such a call is sent again only if the method is known to do the same once and twice.

        Args:
            name: Wire name, such as ``projects.start``.
            args: The wire's list of arguments; most methods take one object in it.
            timeout: Bound on the wait in milliseconds, as on the wire; None: none. The operation goes on beyond it.

        Returns:
            The reply, whatever it is.

        Raises:
            HubError: The hub refused; CallTimeout when ``timeout`` has passed.
            InvalidArgument: The arguments are not JSON.

        Example:
            ```python
            await hub.call("projects.state", [{"project_id": project_id}])
            ```
        """
        return await self._connection.send(requests.raw(Endpoint.HUB, name, args, timeout_ms=timeout))

    async def aclose(self) -> None:
        """Close the connections; an embedded hub ends. Idempotent.

        Example:
            ```python
            hub = AsyncHub()
            try:
                print(await hub.system.ping())
            finally:
                await hub.aclose()
            ```
        """
        await self._connection.aclose()

    async def __aenter__(self) -> Self:
        await self._connection.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.host!r})"

    @classmethod
    def _over(cls, connection: AsyncConnection) -> Self:
        hub = cls.__new__(cls)
        hub._use(connection)
        return hub

    def _use(self, connection: AsyncConnection) -> None:
        self._connection = connection
        self.projects = AsyncProjects(connection)
        self.system = AsyncHubSystem(connection)
        self.db = AsyncDatabase(connection)
        self.sync = AsyncSync(connection)
        self.accounts = AsyncAccounts(connection)
        self.keys = AsyncKeys(connection)
        self.licenses = AsyncLicenses(connection)
        self.jupyter = AsyncHubJupyter(connection)
        self.messages = AsyncMessages(connection)
        self.org = AsyncOrganizations(connection)
        self.audit = AsyncAudit(connection)
        self.purchases = AsyncPurchases(connection)
        self.classes = AsyncClasses(self)
        self.copies = AsyncCopies(connection)
