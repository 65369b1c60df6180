from __future__ import annotations

import asyncio
import contextlib
import math
from collections.abc import AsyncIterator, Mapping
from typing import Any, Final, Self

import httpx2

from projecthub.client import replies
from projecthub.client.embedding import AsyncEmbeddedTransport
from projecthub.client.http import client_options
from projecthub.client.names import in_query
from projecthub.client.requests import USUAL_WAIT_S, Request
from projecthub.client.retries import pauses_s
from projecthub.client.settings import Target
from projecthub.wire.methods import Method

_CONNECT_S: Final = 10.0


class AsyncConnection:
    """Calls to one hub under one key. Connections to the machine are kept and shared. Safe to use concurrently."""

    def __init__(
        self, target: Target, *, client: httpx2.AsyncClient | None, timeout_s: float | None, retries: int
    ) -> None:
        """Make a connection; nothing is sent yet.

        Args:
            target: The hub and the key.
            client: The HTTP client to use, which stays the caller's; None: one of its own.
            timeout_s: Seconds an answer may take unless the call says otherwise; None: no bound.
            retries: How often a call is sent again, where that is safe.

        Raises:
            InvalidArgument: ``retries`` is negative.
        """
        pauses_s(retries)  # refuses a negative number here, not at the first call
        self.target = target
        self._client = client or httpx2.AsyncClient(**client_options(target))
        self._owned = client is None
        self._embedded: AsyncEmbeddedTransport | None = None
        self._timeout_s = timeout_s
        self._retries = retries

    @classmethod
    def embedded(cls, transport: AsyncEmbeddedTransport, *, timeout_s: float | None = USUAL_WAIT_S) -> Self:
        """A connection to a whole hub in this process, which ends with it."""
        client = httpx2.AsyncClient(transport=transport)
        connection = cls(transport.target, client=client, timeout_s=timeout_s, retries=0)
        connection._owned = True
        connection._embedded = transport
        return connection

    def shared(self, api_key: str | None = None) -> Self:
        """A connection over the same HTTP client, perhaps under another key; closing it closes nothing."""
        target = self.target if api_key is None else Target(self.target.host, api_key)
        return type(self)(target, client=self._client, timeout_s=self._timeout_s, retries=self._retries)

    @property
    def client(self) -> httpx2.AsyncClient:
        """The HTTP client, for requests that are no calls.

        Raises:
            ClientError: The connection is closed.
        """
        if self._client.is_closed:
            raise replies.closed(self.target.host)
        return self._client

    async def open(self) -> None:
        """Start what has to run before the first call: the embedded hub, if there is one."""
        if self._embedded is not None:
            await self._embedded.open()

    async def aclose(self) -> None:
        """Close what is its own. Idempotent."""
        if self._owned:
            await self._client.aclose()

    async def call(self, method: Method, request: Request) -> Any:
        """Send the request for a method of the table, and return its reply.

        Raises:
            HubError: As `send`; also ProtocolError if the reply is of another type than the table says.
        """
        return replies.expect(await self.send(request), method)

    async def send(self, request: Request) -> Any:
        """Send a request, again if that is safe and no hub has answered, and return the answer's value.

        Raises:
            HubError: The hub refused: the kind of error that its text stands for.
            TransportError: No hub answered.
            ProtocolError: The answer is not of the wire contract.
            ClientError: The connection is closed.
        """
        pauses = pauses_s(self._retries)
        while True:
            try:
                response = await self._post(request)
            except httpx2.RequestError as error:
                if not pauses or not (request.repeatable or replies.never_arrived(error)):
                    raise replies.no_answer(error, host=self.target.host, name=request.name) from error
            else:
                if not pauses or not request.repeatable or response.status_code < 500:
                    return replies.read(response, host=self.target.host, name=request.name)
            await asyncio.sleep(pauses.pop(0))

    @contextlib.asynccontextmanager
    async def native(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        content: AsyncIterator[bytes] | bytes | None = None,
        json: Any = None,
        wait_s: float | None = None,
    ) -> AsyncIterator[httpx2.Response]:
        """Send a request to a native route, once; the answer is read within the block.

        Args:
            method: Of HTTP.
            path: Below ``/api/v1``.
            params: What stands in the query; what is None is left out.
            headers: Its own, beside those of every request.
            content: The body.
            json: The body, instead.
            wait_s: Seconds between two signs of life; None: the connection's usual.

        Raises:
            HubError: The hub refused: the kind of error that the problem stands for.
            TransportError: No hub answered, or it went away before the end.
            ClientError: The connection is closed.
        """
        if self._client.is_closed:
            raise replies.closed(self.target.host)
        try:
            async with self._client.stream(
                method,
                f"{self.target.host}/api/v1/{path}{in_query(params or {})}",
                headers={"authorization": f"Bearer {self.target.api_key}", **(headers or {})},
                content=content,
                json=json,
                timeout=httpx2.Timeout(self._timeout_s if wait_s is None else wait_s, connect=_CONNECT_S, pool=None),
                follow_redirects=False,
            ) as response:
                if not response.is_success:
                    await response.aread()
                    raise replies.problem(response, host=self.target.host, name=f"{method} {path}")
                yield response
        except httpx2.RequestError as error:
            raise replies.no_answer(error, host=self.target.host, name=f"{method} {path}") from error

    async def _post(self, request: Request) -> httpx2.Response:
        if self._client.is_closed:
            raise replies.closed(self.target.host)
        wait_s = self._timeout_s if request.wait_s is None else request.wait_s
        bound_s = None if wait_s == math.inf else wait_s
        return await self._client.post(
            self.target.host + request.endpoint,
            content=request.body,
            headers={
                "authorization": f"Bearer {self.target.api_key}",
                "content-type": "application/json",
                **request.headers,
            },
            timeout=httpx2.Timeout(bound_s, connect=_CONNECT_S, pool=None),
            follow_redirects=False,
        )
