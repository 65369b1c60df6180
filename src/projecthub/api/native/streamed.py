"""Answers that are read from something open, as they go."""

import os
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing, suppress

from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from projecthub.errors import PermissionDenied


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
