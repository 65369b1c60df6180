"""Requests whose time is over because the hub ends: their callers are told so."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from pydantic_core import to_json

from projecthub.errors import TransportError
from projecthub.wire.errors import CODE_HEADER, RETRY_HEADER

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

_TOLD: Final = (
    "the hub was stopped or is restarted, and did not wait longer for the end of this call: a blocking command has "
    "ended with it, other work may go on, and so do jobs; look what was done before you call again"
)
_BODY: Final = to_json({"error": _TOLD, "code": TransportError.code, "detail": _TOLD, "status": 503})
_HEADERS: Final = (
    (b"content-length", b"%d" % len(_BODY)),
    (b"content-type", b"application/problem+json"),
    (CODE_HEADER.encode(), TransportError.code.encode()),
    (RETRY_HEADER.encode(), b"5"),
)


class CutOff:
    """Answers 503 where a request is cancelled, which only the end of the hub does, before its answer has begun."""

    def __init__(self, app: ASGIApp) -> None:
        """Wrap an application."""
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        begun = False

        async def send_noted(message: Message) -> None:
            nonlocal begun
            begun = True
            await send(message)

        try:
            await self._app(scope, receive, send_noted)
        except asyncio.CancelledError:
            if begun or scope["type"] != "http":
                raise
            await send({"type": "http.response.start", "status": 503, "headers": list(_HEADERS)})
            await send({"type": "http.response.body", "body": _BODY})
