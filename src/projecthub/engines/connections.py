"""Connections to project servers over unix sockets: made for a call, and kept a moment for the next one.

A connection costs both sides more than a short call does. One is kept only for calls of the run that it was made for,
and only after a proper reply; whatever comes on it unasked ends it.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import struct
from collections.abc import Iterator
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final, Protocol

import httptools

from projecthub.errors import ServerLost

KEPT_S: Final = 10.0
"""How long an idle connection is kept, in seconds: far less than a project server keeps it, so it is ours to end."""

MAX_KEPT: Final = 256
"""Idle connections, of all projects."""

MAX_KEPT_OF_PROJECT: Final = 8

MAX_AROUND_BYTES: Final = 16 * 1024
"""What a reply may have around its body: status, headers, and what divides a body into chunks."""

_AROUND_EACH: Final = 2
"""And that many bytes for each of the body: small chunks cost the hub more than their bytes."""

_FED_BYTES: Final = 16 * 1024
_BUSY_WAIT_S = 0.01
_CREDENTIALS = struct.Struct("3i")


class Reply(Protocol):
    """Takes the reply to one request as it comes."""

    def begin(self, status: int) -> None:
        """It has come, with this status."""
        ...

    def take(self, data: bytes) -> None:
        """A piece of its body."""
        ...

    def complete(self) -> None:
        """That was all of it."""
        ...

    def fail(self, why: str) -> None:
        """No more is to be had of it."""
        ...


class Connection(asyncio.Protocol):
    """A connection to a project server, for one request at a time."""

    def __init__(self, link: socket.socket) -> None:
        """Make the protocol of a socket that is connected."""
        self._link = link
        self._parser = httptools.HttpResponseParser(self)
        self._reply: Reply | None = None
        self._is_good = True
        self._around = 0
        self.kept_since = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by the event loop."""
        # uvloop's transports are none of asyncio's classes: only their methods are the same.
        self.transport: Any = transport

    def ask(self, request: bytes, reply: Reply) -> None:
        """Send a request; what comes is told to ``reply``."""
        self._reply = reply
        self._around = -MAX_AROUND_BYTES
        self.transport.write(request)

    @property
    def is_reusable(self) -> bool:
        """Whether the last reply was proper and whole, nothing has come since, and it is of use for another one.

        Large replies that wait for their turn are not read on, and who answers before it has the whole question leaves
        us with the rest of it.
        """
        if not self._is_good or self._reply is not None:
            return False
        return self.transport.is_reading() and not self.transport.get_write_buffer_size()

    def is_alive(self) -> bool:
        """Whether the other end is still there, which the event loop may not know yet."""
        if not self.is_reusable or self.transport.is_closing():
            return False
        try:
            self._link.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
        except BlockingIOError:
            return True
        except OSError:
            return False
        return False  # its end, or something that nobody has asked for

    def abort(self) -> None:
        """End it at once. Idempotent."""
        self._is_good = False
        self.transport.abort()

    def data_received(self, data: bytes) -> None:
        """Called by the event loop."""
        if self._reply is None:
            self.abort()
            return
        try:
            for begin in range(0, len(data), _FED_BYTES):
                piece = data[begin : begin + _FED_BYTES]
                self._around += len(piece)
                self._parser.feed_data(piece)
                if self._around > 0:
                    self._fail("the project server's reply has too much around its body")
                    self.abort()
                    return
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self._fail("the project server's reply is not HTTP")
            self.abort()

    def on_message_begin(self) -> None:
        """Called by the parser."""
        if self._reply is None:
            raise ValueError("a second reply")  # which ends the parser

    def on_headers_complete(self) -> None:
        """Called by the parser."""
        if self._reply is not None:
            self._reply.begin(self._parser.get_status_code())

    def on_body(self, data: bytes) -> None:
        """Called by the parser."""
        self._around -= len(data) * (1 + _AROUND_EACH)
        if self._reply is not None:
            self._reply.take(data)

    def on_message_complete(self) -> None:
        """Called by the parser."""
        if self._reply is not None:
            reply, self._reply = self._reply, None
            self._is_good &= self._parser.get_status_code() == HTTPStatus.OK and self._parser.should_keep_alive()
            reply.complete()

    def connection_lost(self, exc: Exception | None) -> None:
        """Called by the event loop."""
        self._fail("the project server ended before it answered")

    def _fail(self, why: str) -> None:
        self._is_good = False
        if self._reply is not None:
            self._reply.fail(why)


class Connections:
    """Connections to the project servers of one engine."""

    def __init__(self) -> None:
        """Have none yet."""
        self._idle: dict[tuple[Path, str], list[Connection]] = {}
        self._kept = 0
        self._timer: asyncio.TimerHandle | None = None
        self._is_closed = False

    async def take(self, path: Path, session_id: str) -> Connection:
        """A connection for one exchange with a run of a project, an idle one if there is any; `give_back` it.

        Raises:
            ServerLost: Nobody listens there.
        """
        idle = self._idle.get((path, session_id), [])
        while idle:
            connection = idle.pop()
            self._kept -= 1
            if connection.is_alive():
                return connection
            connection.abort()
        return await open_connection(path)

    def give_back(self, path: Path, session_id: str, connection: Connection) -> None:
        """Keep a connection for another call if its exchange went well, else end it."""
        idle = self._idle.get((path, session_id), [])
        is_full = self._is_closed or self._kept >= MAX_KEPT or len(idle) >= MAX_KEPT_OF_PROJECT
        if is_full or not connection.is_reusable:
            connection.abort()
            return
        self._idle[path, session_id] = idle
        loop = asyncio.get_running_loop()
        connection.kept_since = loop.time()
        idle.append(connection)
        self._kept += 1
        if self._timer is None:
            self._timer = loop.call_later(KEPT_S, self._sweep)

    def _sweep(self) -> None:
        """End those that have been idle for long, or whose server has gone."""
        now = asyncio.get_running_loop().time()
        for key, idle in [*self._idle.items()]:
            for connection in [*idle]:
                if now - connection.kept_since >= KEPT_S or not connection.is_alive():
                    idle.remove(connection)
                    self._kept -= 1
                    connection.abort()
            if not idle:
                del self._idle[key]
        self._timer = asyncio.get_running_loop().call_later(KEPT_S / 2, self._sweep) if self._idle else None

    def close(self) -> None:
        """End those that are idle, and keep no more: calls may still be under way. Idempotent."""
        self._is_closed = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for idle in self._idle.values():
            for connection in idle:
                connection.abort()
        self._idle.clear()
        self._kept = 0


async def open_connection(path: Path) -> Connection:
    """A new connection to a project server.

    Raises:
        ServerLost: Nobody listens there.
    """
    link = await _connect(path)
    _, protocol = await asyncio.get_running_loop().create_unix_connection(lambda: Connection(link), sock=link)
    return protocol


async def _connect(path: Path) -> socket.socket:
    link = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        with _short_address(path) as address:
            while True:
                try:
                    link.connect(address)
                    return link
                except BlockingIOError:  # as many wait already as can; there is no event for this
                    await asyncio.sleep(_BUSY_WAIT_S)
    except OSError as error:
        link.close()
        raise ServerLost("the project server is not there") from error
    except asyncio.CancelledError:
        link.close()
        raise


@contextlib.contextmanager
def _short_address(path: Path) -> Iterator[str]:
    """An address of a unix socket that is short enough, however long its path is."""
    directory_fd = os.open(path.parent, os.O_PATH | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{directory_fd}/{path.name}"
    finally:
        os.close(directory_fd)


def listener(path: Path) -> int | None:
    """The process that listens on a unix socket, as the kernel tells; None if nobody does, or too many wait."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK) as link:
        try:
            with _short_address(path) as address:
                link.connect(address)
        except OSError:
            return None
        pid, _, _ = _CREDENTIALS.unpack(link.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size))
    return int(pid)
