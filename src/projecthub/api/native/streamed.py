"""Answers that are sent as they come: of something open, or of something that goes on."""

import os
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing, suppress
from typing import Final

from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from projecthub.errors import PermissionDenied

_FOLLOWS: Final = "follows"


def mark_followed(scope: Scope) -> None:
    """Have the answer to a request count as one that comes, or goes on, when something else ends: see `is_followed`."""
    scope.setdefault("state", {})[_FOLLOWS] = True


def is_followed(scope: Scope) -> bool:
    """Whether a hub that ends need not wait for an answer: it may be long until it is whole, and is asked for again."""
    return _FOLLOWS in scope.get("state", ())


class FollowedResponse(StreamingResponse):
    """Streams what comes of something that goes on."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it."""
        mark_followed(scope)
        await super().__call__(scope, receive, send)


class StreamedResponse(StreamingResponse):
    """Streams what comes of an open file or directory, and closes that however it ends.

    Whoever may read no more is cut off: half of it was sent, and the connection ends.
    """

    def __init__(
        self, fd: int, content: AsyncGenerator[bytes, None], status: int, headers: Mapping[str, str], media_type: str
    ) -> None:
        """Make it; nothing is read yet."""
        self._fd = fd
        self._content = content
        super().__init__(content, status, headers, media_type=media_type)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it."""
        try:
            async with aclosing(self._content):
                with suppress(PermissionDenied):
                    await super().__call__(scope, receive, send)
        finally:
            os.close(self._fd)
