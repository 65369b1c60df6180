"""The project server over HTTP: an ASGI application on uvicorn, on a socket that is given.

The body of ``/call`` is ``{"name", "args", "session_id"}``; the reply has status 200 and is ``{"ok": value}`` or
``{"error": text, "code": code}``. ``/stream`` takes the same and answers with a line of JSON for each value as it
comes, ``{"item": value}``, and at last with ``{"end": true}`` or the error. Both end when their caller goes away, but
for ``/call?goes_on``. A
``session_id``, if given, names the run that the caller means; another run refuses with status 409, so that nobody who
holds on to an old instance reaches its successor by mistake.
"""

from __future__ import annotations

import asyncio
import json
import logging
import signal
import socket
from collections.abc import Awaitable, Callable, MutableMapping
from contextlib import aclosing, suppress
from http import HTTPStatus
from typing import Any
from uuid import UUID

import uvicorn

from projecthub.corking import CorkedProtocol
from projecthub.departures import unless_left
from projecthub.errors import HubError, InternalError, InvalidArgument, ServerLost
from projecthub.projectserver.arguments import show
from projecthub.projectserver.identity import Identity
from projecthub.projectserver.methods import Methods
from projecthub.wire.ids import ProjectId

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

_KEEP_ALIVE_S = 75
_STREAM = "stream"
_TAKEN_LOOKS = 200
"""So often it is looked at the end whether the caller has taken an answer that is larger than the socket holds."""
_TAKEN_LOOK_S = 0.005
_UNREAD_S = 0.5
"""So long at the end whoever reads a stream may take nothing of it."""
_ANOTHER_RUN = {"error": "another run of this project"}
_log = logging.getLogger(__name__)


def make_app(identity: Identity, methods: Methods | None = None) -> App:
    """The ASGI application of a project server, over its methods, or new ones."""
    methods = methods or Methods(identity)
    me = {"project_id": identity.project_id, "epoch": identity.epoch, "session_id": identity.session_id}

    def take(body: bytes) -> tuple[str, list[object]] | None:
        """What is called; None if another run is meant."""
        message = _parse(body)
        ours = message.get("session_id", identity.session_id) == identity.session_id
        return _take_call(message) if ours else None

    async def call(body: bytes, receive: Receive | None) -> tuple[int, object]:
        try:
            if (called := take(body)) is None:
                return HTTPStatus.CONFLICT, _ANOTHER_RUN
            work = methods.call(*called)
            return HTTPStatus.OK, {"ok": await (work if receive is None else unless_left(work, receive, _left))}
        except Exception as error:
            return HTTPStatus.OK, _told(error)

    async def stream(body: bytes, send: Send) -> None:
        try:
            called = take(body)
        except HubError as error:
            await _answer(send, HTTPStatus.OK, _told(error))
            return
        if called is None:
            await _answer(send, HTTPStatus.CONFLICT, _ANOTHER_RUN)
            return
        await _begin(send, HTTPStatus.OK, b"application/x-ndjson")
        try:
            async with aclosing(methods.stream(*called)) as values:
                async for value in values:
                    await _send_line(send, {"item": value})
            last: object = {"end": True}
        except asyncio.CancelledError:  # if somebody still reads this, it is the end of this server
            last = {"error": "the project server is shutting down", "code": ServerLost.code}
        except Exception as error:
            last = _told(error)
        await _send_line(send, last)
        await send({"type": "http.response.body"})

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        match scope["method"], scope["path"]:
            case "POST", "/call":
                try:
                    goes_on = scope.get("query_string") == b"goes_on"
                    status, value = await call(await _read(receive), None if goes_on else receive)
                except asyncio.CancelledError:  # it came in just before the end
                    status, value = HTTPStatus.SERVICE_UNAVAILABLE, {"error": "the project server is shutting down"}
            case "POST", "/stream":
                if (task := asyncio.current_task()) is not None:
                    task.set_name(_STREAM)
                with suppress(ServerLost):  # then nobody is there to be answered
                    await unless_left(stream(await _read(receive), send), receive, _left)
                return
            case "GET", "/identity":
                status, value = HTTPStatus.OK, me
            case method, "/call" | "/stream" | "/identity":
                status, value = HTTPStatus.METHOD_NOT_ALLOWED, {"error": f"not by {method}"}
            case _, path:
                status, value = HTTPStatus.NOT_FOUND, {"error": f"there is no {path}"}
        await _answer(send, status, value)

    return app


def _told(error: Exception) -> dict[str, str]:
    """What to say of an error."""
    if isinstance(error, HubError):
        return {"error": error.message, "code": error.code}
    _log.error("a call failed", exc_info=error)
    return {"error": "the project server made a mistake", "code": InternalError.code}


def _left() -> ServerLost:
    return ServerLost("the caller went away")


async def _begin(send: Send, status: int, kind: bytes, *headers: tuple[bytes, bytes]) -> None:
    await send({"type": "http.response.start", "status": status, "headers": [(b"content-type", kind), *headers]})


async def _answer(send: Send, status: int, value: object) -> None:
    body = json.dumps(value).encode()
    await _begin(send, status, b"application/json", (b"content-length", b"%d" % len(body)))
    await send({"type": "http.response.body", "body": body})


async def _send_line(send: Send, value: object) -> None:
    await send({"type": "http.response.body", "body": json.dumps(value).encode() + b"\n", "more_body": True})


async def _read(receive: Receive) -> bytes:
    """The whole body of a request. The hub bounds what it passes on; nobody else can reach this socket."""
    body = bytearray()
    while True:
        message = await receive()
        body += message.get("body", b"")
        if not message.get("more_body"):
            return bytes(body)


def _parse(body: bytes) -> dict[str, Any]:
    try:
        message = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise InvalidArgument("the body of a call must be JSON") from error
    if not isinstance(message, dict):
        raise InvalidArgument("the body of a call must be an object")
    return message


def _take_call(message: dict[str, Any]) -> tuple[str, list[object]]:
    """The name and the arguments of a call; no arguments and null mean none."""
    name, arguments = message.get("name"), message.get("args")
    if not isinstance(name, str):
        raise InvalidArgument("the 'name' of a call must be the method's name, a string")
    if arguments is None:
        return name, []
    if not isinstance(arguments, list):
        raise InvalidArgument(f"the 'args' of {name} must be a list, not {show(arguments)}")
    return name, arguments


class _Server(uvicorn.Server):
    """uvicorn without its ticks: an idle project server never wakes up, and ends at once."""

    def __init__(self, identity: Identity, until: Callable[[], Awaitable[None]], at_end: Callable[[], object]) -> None:
        self._at_end = at_end
        self._methods = Methods(identity)
        super().__init__(_configure(make_app(identity, self._methods)))
        self._until = until

    async def main_loop(self) -> None:
        await self._until()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        for server in self.servers:
            server.close()
        self._take_no_more()
        for task in asyncio.all_tasks():
            if task.get_name() == _STREAM:
                task.cancel()
        await self._methods.close()
        # Whoever asks us to end asks the commands too, and allows them a time for it that we need not know.
        while self.server_state.tasks:
            await asyncio.wait(self.server_state.tasks, timeout=_UNREAD_S)
            self._give_up_unread()
        await self._taken()
        self._at_end()

    def _take_no_more(self) -> None:
        """End connections that are kept for more calls, now or after the answer: else the calls would never end."""
        connections: list[Any] = [*self.server_state.connections]
        for connection in connections:
            if connection.cycle is not None:  # else something was called that has not been read yet
                connection.shutdown()

    def _give_up_unread(self) -> None:
        """Leave those who take nothing: the last line of their stream would be waited with for ever."""
        for connection in [*self.server_state.connections]:
            if _is_stuck(connection):
                connection.transport.abort()

    async def _taken(self) -> None:
        """Wait a moment for what was answered and is not in the socket yet: it would go with the process."""
        for _ in range(_TAKEN_LOOKS):
            if not any(map(_is_untaken, self.server_state.connections)):
                return
            await asyncio.sleep(_TAKEN_LOOK_S)


def _is_stuck(connection: Any) -> bool:
    return bool(connection.flow.write_paused and not connection.cycle.response_complete)


def _is_untaken(connection: Any) -> bool:
    return bool(connection.transport.get_write_buffer_size())


def make_server(identity: Identity, at_end: Callable[[], object]) -> uvicorn.Server:
    """A project server that is ready to serve until it gets SIGTERM; ``at_end`` is called when all is done."""
    return _Server(identity, _termination, at_end)


def serve(server: uvicorn.Server, listener: socket.socket) -> None:
    """Serve on a listening socket. The main thread's business."""
    asyncio.run(server.serve(sockets=[listener]))


def rehearse() -> None:
    """Serve a few calls to ourselves, and leave nothing of it behind.

    For a process that is going to fork project servers: what is loaded and worked out here once, each of them has
    already, in memory that they share.
    """
    identity = Identity(project_id=ProjectId(str(UUID(int=0))), epoch=0, session_id="", home="/")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("")  # a name that the kernel picks and forgets
        listener.listen()
        address = listener.getsockname().decode()

        async def until_called() -> None:
            for request in ("GET /identity", "POST /call system.ping", "POST /call system.exec"):
                line, _, name = request.partition(" system")
                await _request(address, line, {"name": f"system{name}", "args": [{"command": "true"}]})

        serve(_Server(identity, until_called, lambda: None), listener)


async def _request(address: str, line: str, body: object) -> None:
    reader, writer = await asyncio.open_unix_connection(address)
    content = json.dumps(body)
    head = f"{line} HTTP/1.1\r\nhost: project\r\nconnection: close\r\ncontent-length: {len(content)}\r\n\r\n"
    writer.write((head + content).encode())
    await reader.read()
    writer.close()
    await writer.wait_closed()


async def _termination() -> None:
    asked_to_end = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, asked_to_end.set)
    await asked_to_end.wait()


def _configure(app: App) -> uvicorn.Config:
    config = uvicorn.Config(
        app,
        loop="asyncio",
        http=CorkedProtocol,
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        date_header=False,
        timeout_keep_alive=_KEEP_ALIVE_S,
    )
    config.load()
    return config
