"""Replies go out in one piece, and none is kept back."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from contextlib import asynccontextmanager
from typing import Any

import pytest
import uvicorn

from projecthub.corking import CorkedProtocol

BODY = b"x" * 100
LARGE = b"x" * 1_000_000
Message = MutableMapping[str, Any]
Send = Callable[[Message], Awaitable[None]]


class _Recording(CorkedProtocol):
    """Records what is written to the socket, piece by piece."""

    pieces: list[bytes]

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        pieces = self.pieces

        class Recorder:
            def __getattr__(self, name: str) -> Any:
                return getattr(transport, name)

            def write(self, data: bytes) -> None:
                pieces.append(bytes(data))
                transport.write(data)

        recorder: Any = Recorder()
        super().connection_made(recorder)


async def app(scope: Message, receive: Callable[[], Awaitable[Message]], send: Send) -> None:
    length = len(LARGE if scope["path"] == "/large" else BODY)
    headers = [] if scope["path"] == "/chunks" else [(b"content-length", b"%d" % length)]
    await receive()
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    match scope["path"]:
        case "/large":
            await send({"type": "http.response.body", "body": LARGE})
            return
        case "/late":
            await asyncio.sleep(0.3)
        case "/fails":
            raise RuntimeError("after the head")
        case "/chunks":
            for _ in range(3):
                await send({"type": "http.response.body", "body": BODY, "more_body": True})
            await send({"type": "http.response.body"})
            return
    await send({"type": "http.response.body", "body": BODY})


@asynccontextmanager
async def served() -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter, list[bytes]]]:
    pieces: list[bytes] = []
    protocol = type("Recording", (_Recording,), {"pieces": pieces})
    config = uvicorn.Config(app, http=protocol, ws="none", lifespan="off", log_config=None, server_header=False)
    server = uvicorn.Server(config)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        serving = asyncio.create_task(server._serve(sockets=[listener]))
        reader, writer = await asyncio.open_connection(*listener.getsockname())
        yield reader, writer, pieces
        writer.close()
        server.should_exit = True
        await serving


def request(path: str, method: str = "GET", more: str = "") -> bytes:
    return f"{method} {path} HTTP/1.1\r\nhost: here\r\n{more}\r\n".encode()


async def test_head_and_body_are_one_piece() -> None:
    async with served() as (reader, writer, pieces):
        for _ in range(3):
            writer.write(request("/"))
            assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200 OK\r\n")
            assert await reader.readexactly(len(BODY)) == BODY
        assert len(pieces) == 3


async def test_a_head_does_not_wait_for_a_body_that_is_late() -> None:
    async with served() as (reader, writer, pieces):
        writer.write(request("/late"))
        async with asyncio.timeout(0.25):
            await reader.readuntil(b"\r\n\r\n")
        assert await reader.readexactly(len(BODY)) == BODY
        assert len(pieces) == 2


async def test_pieces_of_a_stream_come_in_their_order() -> None:
    async with served() as (reader, writer, pieces):
        writer.write(request("/chunks", more="connection: close\r\n"))
        reply = await reader.read()
        assert reply.endswith(b"\r\n\r\n" + (b"64\r\n" + BODY + b"\r\n") * 3 + b"0\r\n\r\n")
        assert pieces[0].endswith(b"64\r\n" + BODY + b"\r\n")


@pytest.mark.parametrize("path", ["/", "/fails"])
async def test_a_head_without_a_body_is_sent_before_the_end(path: str) -> None:
    async with served() as (reader, writer, _):
        writer.write(request(path, method="HEAD" if path == "/" else "GET", more="connection: close\r\n"))
        reply = await reader.read()
        assert reply.startswith(b"HTTP/1.1 200 OK\r\n")
        assert reply.endswith(b"\r\n\r\n")


async def test_who_waits_for_the_word_to_go_on_gets_it() -> None:
    async with served() as (reader, writer, _):
        writer.write(request("/", method="POST", more="expect: 100-continue\r\ncontent-length: 2\r\n"))
        async with asyncio.timeout(5):
            assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
            writer.write(b"ok")
            await reader.readuntil(b"\r\n\r\n")
            assert await reader.readexactly(len(BODY)) == BODY


async def test_a_large_body_is_not_copied() -> None:
    async with served() as (reader, writer, pieces):
        writer.write(request("/large"))
        await reader.readuntil(b"\r\n\r\n")
        assert await reader.readexactly(len(LARGE)) == LARGE
        assert pieces[1:] == [LARGE]
