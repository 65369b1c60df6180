"""A name for every request: in its answer, and in every line that is logged because of it.

Tasks that a call starts inherit it, so that also what goes wrong after the answer can be found by it.
"""

from __future__ import annotations

import re
import secrets
from contextvars import ContextVar
from typing import TYPE_CHECKING, Final

from structlog.contextvars import STRUCTLOG_KEY_PREFIX

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

HEADER: Final = b"x-request-id"
SCOPE_KEY: Final = "projecthub.request_id"
_CURRENT: Final[ContextVar[str]] = ContextVar(f"{STRUCTLOG_KEY_PREFIX}request_id")
"""Named such that structlog finds it when it writes a line, and no call that writes none pays for it."""
_ACCEPTED: Final = re.compile(rb"[A-Za-z0-9-]{8,64}")


class RequestIds:
    """Takes the header ``x-request-id`` if it has 8 to 64 letters, digits and hyphens, else makes one of 16 digits."""

    def __init__(self, app: ASGIApp) -> None:
        """Wrap an application."""
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        given = next((value for name, value in scope["headers"] if name == HEADER), b"")
        request_id = given.decode() if _ACCEPTED.fullmatch(given) else secrets.token_hex(8)
        scope[SCOPE_KEY] = request_id
        header = (HEADER, request_id.encode())

        async def send_named(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], header] if "headers" in message else [header]
            await send(message)

        token = _CURRENT.set(request_id)
        try:
            await self._app(scope, receive, send_named)
        finally:
            _CURRENT.reset(token)
