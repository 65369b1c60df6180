"""The head of an HTTP reply goes out with its body.

uvicorn writes them one after the other: two system calls, and whoever waits for the reply wakes up twice.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

_BEGINNING: Final = b"HTTP/1.1 "
_MAX_HEAD: Final = 4096
_MAX_JOINED: Final = 64 * 1024
"""Of a body: to copy a larger one costs more than a system call."""


class _CorkedTransport:
    """A transport that keeps the head of a reply until more is written, or the event loop has nothing else to do now.

    All else is the transport's own.
    """

    __slots__ = ("_head", "_transport")

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._head = b""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        if self._head:
            head, self._head = self._head, b""
            if len(data) <= _MAX_JOINED:
                data = head + data
            else:
                self._transport.write(head)
        elif data.startswith(_BEGINNING) and len(data) <= _MAX_HEAD:
            self._head = data
            asyncio.get_running_loop().call_soon(self._flush)
            return
        self._transport.write(data)

    def _flush(self) -> None:
        if self._head:
            self.write(b"")

    def get_write_buffer_size(self) -> int:
        return len(self._head) + self._transport.get_write_buffer_size()

    def close(self) -> None:
        self._flush()
        self._transport.close()

    def abort(self) -> None:
        self._head = b""
        self._transport.abort()


class CorkedProtocol(HttpToolsProtocol):
    """uvicorn's protocol of httptools, over a transport that joins head and body."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to serve a connection."""
        corked: Any = _CorkedTransport(transport)
        super().connection_made(corked)
