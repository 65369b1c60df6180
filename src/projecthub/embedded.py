"""A whole hub inside a test or a notebook: no port, nothing left behind.

`AsyncHub.embedded` and `Hub.embedded` are the ways in; they load this module when they are called.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import tempfile
import threading
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

import httpx2
import structlog

from projecthub.app import open_hub
from projecthub.logs import set_up_logs
from projecthub.settings import Settings

if TYPE_CHECKING:
    from types import TracebackType

    from starlette.types import ASGIApp

URL: Final = "http://embedded"


class EmbeddedHub:
    """A hub on the running event loop, as an async context manager.

    Attributes:
        app: Its ASGI application.
        admin_key: The first admin's key.
        url: What to give a client as host; nothing listens there.
        data_dir: Where it keeps everything.
    """

    app: ASGIApp
    admin_key: str
    url: str = URL
    data_dir: Path

    def __init__(self, data_dir: Path | None = None, **settings: Any) -> None:
        """Make the hub; entering the context opens it.

        Args:
            data_dir: Kept at the end; None: a temporary one that goes at the end.
            **settings: Fields of `Settings`.
        """
        self._given = data_dir
        self._settings = settings
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        """Open the hub."""
        if not structlog.is_configured():
            set_up_logs("warning", "console")
        async with AsyncExitStack() as stack:
            self.data_dir = self._given or Path(
                stack.enter_context(tempfile.TemporaryDirectory(prefix="projecthub-", ignore_cleanup_errors=True))
            )
            settings = Settings(data_dir=self.data_dir, **self._settings)
            hub = await stack.enter_async_context(open_hub(settings, stop_projects=True))
            if hub.admin_key is None:
                raise FileNotFoundError("the data directory holds a hub but no admin-key file; put the key there")
            hub.site.listens_at(URL)
            self.app = hub.app
            self.admin_key = hub.admin_key
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop all projects and close the hub."""
        await self._stack.aclose()


class EmbeddedThread:
    """An `EmbeddedHub` on an event loop of its own thread, for callers that have none.

    Attributes:
        hub: The hub, once started.
        transport: For a synchronous client.
    """

    def __init__(self, data_dir: Path | None = None, **settings: Any) -> None:
        """Make it; as `EmbeddedHub`."""
        self.hub = EmbeddedHub(data_dir, **settings)
        self.transport: httpx2.BaseTransport = _ThreadTransport(self)
        self.asgi: httpx2.ASGITransport | None = None
        self.loop: asyncio.AbstractEventLoop | None = None
        self._closing: asyncio.Event | None = None
        self._thread: threading.Thread | None = None

    @property
    def app(self) -> ASGIApp:
        """The ASGI application."""
        return self.hub.app

    @property
    def admin_key(self) -> str:
        """The first admin's key."""
        return self.hub.admin_key

    @property
    def url(self) -> str:
        """What to give a client as host."""
        return self.hub.url

    @property
    def data_dir(self) -> Path:
        """Where the hub keeps everything."""
        return self.hub.data_dir

    def start(self) -> None:
        """Open the hub; returns when it is ready, or raises what kept it from opening."""
        ready: concurrent.futures.Future[None] = concurrent.futures.Future()
        self._thread = threading.Thread(target=self._main, args=(ready,), name="projecthub", daemon=True)
        self._thread.start()
        ready.result()

    def stop(self) -> None:
        """Stop all projects and close the hub; returns when that is done. Idempotent."""
        if self._thread is None or self.loop is None or self._closing is None:
            return
        if not self.loop.is_closed():
            self.loop.call_soon_threadsafe(self._closing.set)
        self._thread.join()
        self._thread = None

    def _main(self, ready: concurrent.futures.Future[None]) -> None:
        asyncio.run(self._serve(ready))

    async def _serve(self, ready: concurrent.futures.Future[None]) -> None:
        self.loop = asyncio.get_running_loop()
        self._closing = asyncio.Event()
        try:
            async with self.hub:
                self.asgi = httpx2.ASGITransport(app=self.hub.app)
                ready.set_result(None)
                await self._closing.wait()
        except BaseException as error:
            if ready.done():
                raise
            ready.set_exception(error)


class _ThreadTransport(httpx2.BaseTransport):
    """Hands each request of a synchronous client to the hub's own event loop."""

    def __init__(self, thread: EmbeddedThread) -> None:
        self._thread = thread

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send one request, and wait for the whole answer."""
        loop = self._thread.loop
        if loop is None or loop.is_closed():
            raise httpx2.ConnectError("the embedded hub is closed", request=request)
        request.read()
        return asyncio.run_coroutine_threadsafe(self._send(request), loop).result()

    async def _send(self, request: httpx2.Request) -> httpx2.Response:
        assert self._thread.asgi is not None
        inner = httpx2.Request(
            request.method, request.url, headers=request.headers, content=request.content, extensions=request.extensions
        )
        response = await self._thread.asgi.handle_async_request(inner)
        content = await response.aread()
        return httpx2.Response(response.status_code, headers=response.headers, content=content, request=request)
