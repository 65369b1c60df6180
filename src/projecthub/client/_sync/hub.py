# Written by tools/unasync.py from client/_async; change it there.
from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx2

from projecthub.client import requests, settings
from projecthub.client._sync.accounts import Accounts
from projecthub.client._sync.audit import Audit
from projecthub.client._sync.classes import Classes
from projecthub.client._sync.connection import Connection
from projecthub.client._sync.copies import Copies
from projecthub.client._sync.database import Database
from projecthub.client._sync.jupyter import HubJupyter
from projecthub.client._sync.keys import Keys
from projecthub.client._sync.licenses import Licenses
from projecthub.client._sync.messages import Messages
from projecthub.client._sync.organizations import Organizations
from projecthub.client._sync.project import Project
from projecthub.client._sync.projects import Projects
from projecthub.client._sync.purchases import Purchases
from projecthub.client._sync.sync import Sync
from projecthub.client._sync.system import HubSystem
from projecthub.client.embedding import EmbeddedTransport
from projecthub.client.requests import USUAL_WAIT_S
from projecthub.client.retries import DEFAULT_RETRIES
from projecthub.wire.methods import Endpoint


class Hub:
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
        with Hub() as hub:
            project_id = hub.projects.create_project("Analysis")
            hub.projects.start(project_id)
            print(hub.project(project_id).system.exec("uname -a"))
        ```
    """

    projects: Projects
    system: HubSystem
    db: Database
    sync: Sync
    accounts: Accounts
    keys: Keys
    licenses: Licenses
    jupyter: HubJupyter
    messages: Messages
    org: Organizations
    audit: Audit
    purchases: Purchases
    classes: Classes
    copies: Copies

    def __init__(
        self,
        api_key: str | None = None,
        host: str | None = None,
        *,
        timeout_s: float | None = USUAL_WAIT_S,
        client: httpx2.Client | None = None,
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
        self._use(Connection(target, client=client, timeout_s=timeout_s, retries=retries))

    @classmethod
    def embedded(cls, data_dir: str | Path | None = None, **settings: Any) -> Self:
        """A whole hub inside this process, signed in as its admin: for tests, notebooks and scripts.

        Enter it with ``with``; leaving ends the hub and its projects.

        Args:
            data_dir: Directory to keep its projects in. Default: a temporary one, which is removed in the end.
            **settings: The hub's settings, by their names in its configuration.

        Raises:
            ClientError: The hub's own part is not installed.

        Example:
            ```python
            with Hub.embedded() as hub:
                print(hub.system.ping())
            ```
        """
        return cls._over(Connection.embedded(EmbeddedTransport(data_dir, settings)))

    @property
    def host(self) -> str:
        """The hub's address, without a slash at its end."""
        return self._connection.target.host

    def project(self, project_id: str) -> Project:
        """The inside of a project, over this hub's connections and under its key.

        Args:
            project_id: Whose; it is not checked before the first call.

        Example:
            ```python
            result = hub.project(project_id).system.exec("ls")
            ```
        """
        return Project._over(self._connection.shared(), project_id)

    def with_key(self, api_key: str) -> Self:
        """The same hub under another key, over this hub's connections; closing it closes nothing.

        Args:
            api_key: The other key.

        Raises:
            InvalidArgument: The key is malformed.

        Example:
            ```python
            ada = hub.with_key(hub.keys.create(account_id="ada@example.org")["secret"])
            ```
        """
        return self._over(self._connection.shared(settings.check_key(api_key)))

    def call(self, name: str, args: Sequence[Any] = (), timeout: int | None = None) -> Any:
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
            hub.call("projects.state", [{"project_id": project_id}])
            ```
        """
        return self._connection.send(requests.raw(Endpoint.HUB, name, args, timeout_ms=timeout))

    def close(self) -> None:
        """Close the connections; an embedded hub ends. Idempotent.

        Example:
            ```python
            hub = Hub()
            try:
                print(hub.system.ping())
            finally:
                hub.close()
            ```
        """
        self._connection.close()

    def __enter__(self) -> Self:
        self._connection.open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.host!r})"

    @classmethod
    def _over(cls, connection: Connection) -> Self:
        hub = cls.__new__(cls)
        hub._use(connection)
        return hub

    def _use(self, connection: Connection) -> None:
        self._connection = connection
        self.projects = Projects(connection)
        self.system = HubSystem(connection)
        self.db = Database(connection)
        self.sync = Sync(connection)
        self.accounts = Accounts(connection)
        self.keys = Keys(connection)
        self.licenses = Licenses(connection)
        self.jupyter = HubJupyter(connection)
        self.messages = Messages(connection)
        self.org = Organizations(connection)
        self.audit = Audit(connection)
        self.purchases = Purchases(connection)
        self.classes = Classes(self)
        self.copies = Copies(connection)
