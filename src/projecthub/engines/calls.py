"""Calls of a project server over HTTP. Whatever runs inside a project may answer, so no answer is believed."""

from __future__ import annotations

import asyncio
import contextlib
import json
import math
import re
from collections import deque
from collections.abc import AsyncGenerator, Sequence
from http import HTTPStatus
from pathlib import Path
from typing import Any, NoReturn

from projecthub.engines.connections import Connection, Connections, open_connection
from projecthub.errors import (
    CallTimeout,
    Conflict,
    ExecFailed,
    HubError,
    InvalidArgument,
    LimitError,
    NotFound,
    ProjectError,
    ServerLost,
    UnknownMethod,
)

MAX_REPLY_BYTES = 128 * 1024 * 1024
"""Two outputs of 10 Mi characters, each character an escape of six bytes, and a little more."""

MAX_LINE_BYTES = 16 * 1024 * 1024
"""Of one value of a stream."""

MAX_LARGE = 8
"""Large replies that the hub takes at a time, of all projects."""

TURN_S = 20.0
"""What a large reply may take while others wait, in seconds."""

_LARGE_BYTES = 1024 * 1024
_PLAIN_BYTES = 64 * 1024
_MAX_STRINGS = 16 * 1024
_LONE_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")
_STOPPED = "the project server ended before it answered: the project was stopped meanwhile; call again"
# Methods always answer 200: what the HTTP server inside says by itself is about calls that it gives up when it ends.
_REFUSALS: dict[int, str] = {
    HTTPStatus.CONFLICT: "this run of the project has ended; another one answers",
    HTTPStatus.INTERNAL_SERVER_ERROR: _STOPPED,
    HTTPStatus.SERVICE_UNAVAILABLE: _STOPPED,
}
_ERRORS: dict[str, type[HubError]] = {
    kind.code: kind for kind in (UnknownMethod, InvalidArgument, NotFound, Conflict, LimitError, ExecFailed)
}


class _LargeReplies:
    """Lets some servers, and of one project one at a time, send large replies: the hub holds each several times over.

    Others wait for their turn, unread. Who takes long over it while others wait is given up.
    """

    def __init__(self) -> None:
        self._of_project: dict[Path, deque[_Exchange]] = {}
        self._line: deque[_Exchange] = deque()
        self._going: dict[_Exchange, float] = {}

    def take(self, place: Path, exchange: _Exchange) -> bool:
        """Whether this one may go on; if not, it is resumed when its turn comes."""
        if place in self._of_project:
            self._of_project[place].append(exchange)
            return False
        self._of_project[place] = deque()
        self._line.append(exchange)
        self._admit(asking=exchange)
        return exchange in self._going

    def leave(self, place: Path, exchange: _Exchange) -> None:
        """This one has ended, whether its turn had come or not."""
        others = self._of_project.get(place, deque())
        if exchange in others:
            others.remove(exchange)
            return
        self._going.pop(exchange, None)
        with contextlib.suppress(ValueError):
            self._line.remove(exchange)
        if others:
            self._line.append(others.popleft())
        else:
            self._of_project.pop(place, None)
        self._admit()

    def _admit(self, asking: _Exchange | None = None) -> None:
        """Give turns to those that have waited longest; ``asking`` has not been paused."""
        loop = asyncio.get_running_loop()
        while self._line and len(self._going) < MAX_LARGE:
            exchange = self._line.popleft()
            self._going[exchange] = loop.time()
            if exchange is not asking:
                exchange.resume()
        if self._line:
            loop.call_later(TURN_S, self._end_slow)

    def _end_slow(self) -> None:
        now = asyncio.get_running_loop().time()
        for exchange, since in [*self._going.items()] if self._line else ():
            if now - since >= TURN_S:
                exchange.give_up()


_large_replies = _LargeReplies()


class _Exchange:
    """A reply that is taken whole."""

    def __init__(self, place: Path, connection: Connection, max_bytes: int) -> None:
        self._place = place
        self._connection = connection
        self._status = 0
        self._max_bytes = max_bytes
        self._may_be_large = False
        self._waits = False
        self._body = bytearray()
        self._size = 0
        self.reply: asyncio.Future[tuple[int, bytearray]] = asyncio.get_running_loop().create_future()

    def begin(self, status: int) -> None:
        self._status = status

    def take(self, data: bytes) -> None:
        self._size += len(data)
        if self._size > _LARGE_BYTES and not self._may_be_large and not self._waits:
            self._may_be_large = _large_replies.take(self._place, self)
            if not self._may_be_large:
                self._waits = True
                self._connection.transport.pause_reading()
        if self._size > self._max_bytes:
            self._body.clear()
            self.fail(f"the project server's reply is larger than {self._max_bytes} bytes")
        elif not self.reply.done():
            self._body += data

    def complete(self) -> None:
        if not self.reply.done():
            self.reply.set_result((self._status, self._body))

    def resume(self) -> None:
        """Its turn to be large has come."""
        self._waits, self._may_be_large = False, True
        self._connection.transport.resume_reading()

    def give_up(self) -> None:
        """Its turn has lasted for too long."""
        self.fail(f"the project server took more than {TURN_S:g} s over a large reply while others waited")

    def leave(self) -> None:
        """It is over, however it ended."""
        if self._may_be_large or self._waits:
            _large_replies.leave(self._place, self)
            self._may_be_large = self._waits = False

    def fail(self, why: str) -> None:
        if not self.reply.done():
            self.reply.set_exception(ServerLost(why))


def _request(line: str, body: bytes = b"") -> bytes:
    return f"{line} HTTP/1.1\r\nhost: project\r\ncontent-length: {len(body)}\r\n\r\n".encode() + body


async def _exchange(path: Path, connection: Connection, request: bytes, *, max_bytes: int) -> Any:
    exchange = _Exchange(path, connection, max_bytes)
    connection.ask(request, exchange)
    try:
        status, reply = await exchange.reply
        if status != HTTPStatus.OK:
            raise ServerLost(_REFUSALS.get(status, f"the project server answered with status {status}"))
        return await _parsed(reply)
    finally:
        exchange.reply.cancel()
        exchange.leave()


async def _parsed(reply: bytes | bytearray) -> Any:
    """The value of a reply: of a large one read beside the event loop, which goes on between the steps of it."""
    return parse_reply(reply) if len(reply) <= _LARGE_BYTES else await asyncio.to_thread(parse_reply, reply)


def parse_reply(reply: bytes | bytearray) -> Any:
    """The JSON value of a reply's body, such that it can be sent on as JSON.

    Raises:
        ServerLost: It is no JSON, or holds a number that is none.
    """
    if len(reply) > _PLAIN_BYTES and _holds_many_values(reply):
        # A true reply is a few long strings. One of many small values would take the hub minutes and gigabytes to read.
        raise ServerLost("the project server's reply holds too many values")
    try:
        value = json.loads(reply, parse_constant=_refuse_constant, parse_float=_finite)
        if _LONE_SURROGATE.search(reply):
            # Halves of surrogate pairs could not be sent on.
            value = json.loads(json.dumps(value, ensure_ascii=False).encode("utf-8", "replace"))
    except (ValueError, RecursionError) as error:
        raise ServerLost("the project server's reply is not JSON") from error
    return value


def _holds_many_values(reply: bytes | bytearray) -> bool:
    """Whether there is much in some JSON beside a few strings, whatever these hold; at the speed of copying it."""
    if b"\\" in reply:
        reply = reply.replace(b"\\\\", b"").replace(b'\\"', b"")
    if reply.count(b'"') > 2 * _MAX_STRINGS:
        return True
    beside = place = 0
    while (begin := reply.find(b'"', place)) >= 0 and (end := reply.find(b'"', begin + 1)) >= 0:
        beside, place = beside + begin - place, end + 1
    return beside + len(reply) - place > _PLAIN_BYTES


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _finite(text: str) -> float:
    if math.isinf(number := float(text)):
        raise ValueError(f"{text} is too large")
    return number


async def identify(path: Path) -> dict[str, Any]:
    """Ask a project server who it is.

    Args:
        path: Its unix socket.

    Returns:
        Something with the keys ``project_id``, ``epoch`` and ``session_id``; the values may be anything.

    Raises:
        ServerLost: No proper answer.
    """
    connection = await open_connection(path)
    try:
        answer = await _exchange(path, connection, _request("GET /identity"), max_bytes=_PLAIN_BYTES)
    finally:
        connection.abort()
    if not isinstance(answer, dict) or not {"project_id", "epoch", "session_id"} <= answer.keys():
        raise ServerLost("the project server does not say who it is")
    return answer


async def call(
    connections: Connections,
    path: Path,
    session_id: str,
    name: str,
    arguments: Sequence[object],
    *,
    timeout_s: float | None,
    max_reply_bytes: int = MAX_REPLY_BYTES,
) -> object:
    """Call a method of a project server, as `Engine.call` says.

    Args:
        connections: Where there may be one to it.
        path: Its unix socket.
        session_id: The run that is meant; another one on the same socket refuses.
        name: The method.
        arguments: Its arguments.
        timeout_s: Bound on the wait in seconds.
        max_reply_bytes: What the reply may have at most.

    Raises:
        ServerLost, CallTimeout, UnknownMethod, InvalidArgument, NotFound, LimitError, ExecFailed, ProjectError: As
            `Engine.call` says.
    """
    body = _body(session_id, name, arguments)
    # A call ends with whoever waits for it, unless that is who has said for how long.
    request = _request("POST /call" if timeout_s is None else "POST /call?goes_on", body)
    try:
        async with asyncio.timeout(timeout_s):
            connection = await connections.take(path, session_id)
            try:
                answer = await _exchange(path, connection, request, max_bytes=max_reply_bytes)
            finally:
                connections.give_back(path, session_id, connection)
    except TimeoutError as error:
        raise CallTimeout(f"timeout: {name} has not answered within {timeout_s:g} s; it goes on") from error
    return take_result(answer)


def _body(session_id: str, name: str, arguments: Sequence[object]) -> bytes:
    try:
        return json.dumps({"name": name, "args": arguments, "session_id": session_id}).encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidArgument(f"the arguments of {name} must be JSON") from error


class _Lines:
    """A reply of many lines: what has come of them, and no more than nobody has taken yet of one large piece."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._waiting = bytearray()
        self._searched = 0
        self._end = -1
        self._news = asyncio.Event()
        self._trouble: ServerLost | None = None

    def begin(self, status: int) -> None:
        if status != HTTPStatus.OK:
            self.fail(_REFUSALS.get(status, f"the project server answered with status {status}"))

    def take(self, data: bytes) -> None:
        # Lines are looked for one by one: a project may send a million of them at a time that nobody ever takes.
        self._waiting += data
        self._news.set()
        if self._has_line():
            if len(self._waiting) > _LARGE_BYTES:
                self._connection.transport.pause_reading()
        elif len(self._waiting) > MAX_LINE_BYTES:
            self._waiting.clear()
            self.fail(f"the project server's reply has a line of more than {MAX_LINE_BYTES} bytes")

    def _has_line(self) -> bool:
        if self._end < 0:
            self._end = self._waiting.find(b"\n", self._searched)
            self._searched = len(self._waiting)
        return self._end >= 0

    def complete(self) -> None:
        if self._waiting and not self._waiting.endswith(b"\n"):  # a reply of one line that does not end with one
            self._waiting += b"\n"
        self.fail(_STOPPED)

    def fail(self, why: str) -> None:
        if self._trouble is None:
            self._trouble = ServerLost(why)
            self._connection.abort()
        self._news.set()

    async def next(self) -> bytes:
        """The next line.

        Raises:
            ServerLost: There is none.
        """
        while not self._has_line():
            if self._trouble is not None:
                raise self._trouble
            self._news.clear()
            await self._news.wait()
        line = bytes(self._waiting[: self._end])
        del self._waiting[: self._end + 1]
        self._searched, self._end = 0, -1
        if self._trouble is None and (len(self._waiting) <= _LARGE_BYTES or not self._has_line()):
            self._connection.transport.resume_reading()
        return line


async def stream(path: Path, session_id: str, name: str, arguments: Sequence[object]) -> AsyncGenerator[object, None]:
    """The values of a streaming method of a project server, as `Engine.stream` says.

    Args:
        path: Its unix socket.
        session_id: The run that is meant; another one on the same socket refuses.
        name: The method.
        arguments: Its arguments.

    Raises:
        ServerLost, UnknownMethod, InvalidArgument, NotFound, LimitError, ProjectError: As `Engine.stream` says.
    """
    request = _request("POST /stream", _body(session_id, name, arguments))
    connection = await open_connection(path)
    lines = _Lines(connection)
    connection.ask(request, lines)
    try:
        while True:
            answer = await _parsed(await lines.next())
            if isinstance(answer, dict) and "item" in answer:
                yield answer["item"]
            elif isinstance(answer, dict) and answer.get("end") is True:
                return
            else:
                take_result(answer)  # an error, of whatever kind
                raise ServerLost("the project server's reply is neither a value nor an error")
    finally:
        connection.abort()


def take_result(answer: object) -> object:
    """The value in a reply of ``/call``, or the error that it tells of."""
    if isinstance(answer, dict):
        if "ok" in answer:
            return answer["ok"]
        text, code = answer.get("error"), answer.get("code")
        if isinstance(text, str) and isinstance(code, str):
            raise _ERRORS.get(code, ProjectError)(text)
    raise ServerLost("the project server's reply is neither a result nor an error")
