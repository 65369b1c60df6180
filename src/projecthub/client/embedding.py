"""Transports to a whole hub inside this process. Hand-written on both sides: they differ in more than words."""

from __future__ import annotations

import atexit
import functools
import threading
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any, Final

import httpx2

from projecthub.client.settings import Target
from projecthub.errors import ClientError

_ADMIN: Final = "embedded"
"""Stands for the admin's key, which the hub makes when it starts: later than the client needs one."""

_TARGET: Final = Target("http://embedded", _ADMIN)


class AsyncEmbeddedTransport(httpx2.AsyncBaseTransport):
    """Carries requests to a hub on the event loop of whoever opens it."""

    target = _TARGET

    def __init__(self, data_dir: str | Path | None, settings: Mapping[str, Any]) -> None:
        """Make a hub; `open` starts it.

        Raises:
            ClientError: The hub's own part is not installed.
        """
        self._hub = _hub_module().EmbeddedHub(_as_path(data_dir), **settings)
        self._app: httpx2.ASGITransport | None = None

    async def open(self) -> None:
        """Start the hub. Idempotent."""
        if self._app is None:
            await self._hub.__aenter__()
            self._app = httpx2.ASGITransport(app=self._hub.app, raise_app_exceptions=False)

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Hand a request to the hub.

        Raises:
            ClientError: The hub has not been started.
        """
        if self._app is None:
            raise ClientError("the embedded hub is not running: use `async with AsyncHub.embedded() as hub`")
        _sign(request, self._hub.admin_key)
        return await self._app.handle_async_request(request)

    async def aclose(self) -> None:
        """End the hub. Idempotent."""
        if self._app is not None:
            self._app = None
            await self._hub.__aexit__(None, None, None)


class EmbeddedTransport(httpx2.BaseTransport):
    """Carries requests to a hub on an event loop and a thread of its own."""

    target = _TARGET

    def __init__(self, data_dir: str | Path | None, settings: Mapping[str, Any]) -> None:
        """Start a hub, which ends with `close`, or with the interpreter.

        Raises:
            ClientError: The hub's own part is not installed.
            HubError: The hub could not be started.
        """
        self._thread = _hub_module().EmbeddedThread(_as_path(data_dir), **settings)
        self._thread.start()
        _close_all_at_exit()
        _running.add(self)

    def open(self) -> None:
        """The hub runs from the beginning: a thread, unlike a task, has no block of code to wait for."""

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        """Hand a request to the hub."""
        _sign(request, self._thread.admin_key)
        response: httpx2.Response = self._thread.transport.handle_request(request)
        return response

    def close(self) -> None:
        """End the hub. Idempotent."""
        _running.discard(self)
        self._thread.stop()


_running: Final[set[EmbeddedTransport]] = set()
"""Those to be closed at the end of the interpreter, also if nobody else remembers them."""


@functools.cache
def _close_all_at_exit() -> None:
    def close_all() -> None:
        for transport in tuple(_running):
            transport.close()

    # The public hook comes too late: when it is called no pool of threads takes work any more, and a hub needs one to
    # end. The hook that the standard library's own pools use runs before.
    getattr(threading, "_register_atexit", atexit.register)(close_all)


def _hub_module() -> ModuleType:
    # Not a plain import: the client stands below the hub, and is installed without it on most machines.
    try:
        return import_module("projecthub.embedded")
    except ModuleNotFoundError as error:
        raise ClientError(
            f"an embedded hub needs the extra `server`, of which {error.name!r} is missing: "
            "pip install 'projecthub[server]'"
        ) from error


def _as_path(data_dir: str | Path | None) -> Path | None:
    return None if data_dir is None else Path(data_dir)


def _sign(request: httpx2.Request, admin_key: str) -> None:
    if request.headers["authorization"] == f"Bearer {_ADMIN}":
        request.headers["authorization"] = f"Bearer {admin_key}"
