"""Streams of a project server, from servers that are proper and from such as are not."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from pathlib import Path

import pytest

from projecthub.engines import calls
from projecthub.engines.calls import MAX_LINE_BYTES, call, identify, stream
from projecthub.engines.connections import Connections
from projecthub.errors import NotFound, ServerLost

pytestmark = pytest.mark.anyio
Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: application/x-ndjson\r\nconnection: close\r\n\r\n"


@asynccontextmanager
async def serving(socket: Path, serve: Serve) -> AsyncIterator[None]:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.readuntil(b"\r\n\r\n")
            await serve(reader, writer)
        except ConnectionError:
            pass
        finally:
            writer.close()

    server = await asyncio.start_unix_server(answer, socket)
    try:
        yield
    finally:
        server.close()


def saying(body: bytes, head: bytes = HEAD) -> Serve:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(head + body)
        await writer.drain()

    return serve


async def taken(socket: Path) -> list[object]:
    return [value async for value in stream(socket, "run-1", "some.values", [])]


async def test_values_come_in_their_order(tmp_path: Path) -> None:
    lines = b"".join(json.dumps({"item": number}).encode() + b"\n" for number in range(1000))
    async with serving(tmp_path / "s", saying(lines + b'{"end": true}\n')):
        assert await taken(tmp_path / "s") == list(range(1000))


async def test_an_error_ends_it(tmp_path: Path) -> None:
    body = b'{"item": 1}\n{"error": "no such thing", "code": "not_found"}\n'
    async with serving(tmp_path / "s", saying(body)):
        values = stream(tmp_path / "s", "run-1", "some.values", [])
        assert await anext(values) == 1
        with pytest.raises(NotFound, match="no such thing"):
            await anext(values)


@pytest.mark.parametrize(
    "serve",
    [
        *(saying(b""), saying(b'{"item": 1}\n'), saying(b"[]\n"), saying(b'{"end": 1}\n'), saying(b"\xff\n")),
        saying(b"", b"nonsense\r\n\r\n"),
        saying(b"{}", b"HTTP/1.1 409 Conflict\r\ncontent-length: 2\r\n\r\n"),
        saying(b"", b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"),
        saying(b'{"item": "' + b"x" * MAX_LINE_BYTES + b'"}\n{"end": true}'),
    ],
)
async def test_what_is_no_stream_is_a_lost_server(tmp_path: Path, serve: Serve) -> None:
    async with serving(tmp_path / "s", serve):
        with pytest.raises(ServerLost):
            await taken(tmp_path / "s")


async def test_nobody_there(tmp_path: Path) -> None:
    with pytest.raises(ServerLost, match="not there"):
        await taken(tmp_path / "s")


async def test_what_is_not_taken_waits_in_the_project(tmp_path: Path) -> None:
    """And whoever wants no more is gone for the server at once."""
    line = b'{"item": "' + b"x" * 100_000 + b'"}\n'
    sent, gone = [0], asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(HEAD)
        try:
            while True:
                writer.write(line)
                await writer.drain()
                sent[0] += len(line)
        except ConnectionError:
            gone.set()

    async with serving(tmp_path / "s", serve):
        async with aclosing(stream(tmp_path / "s", "run-1", "some.values", [])) as values:
            await anext(values)
            seen = -1
            while seen != sent[0]:  # until it is held back
                seen = sent[0]
                await asyncio.sleep(0.05)
            assert seen < 8_000_000
            assert await anext(values) == "x" * 100_000
        async with asyncio.timeout(5):
            await gone.wait()


async def test_lines_of_any_length_arrive_whole(tmp_path: Path) -> None:
    texts = ["x" * length for length in (0, 1, 900_000, 3_000_000, 5, 2_000_000, 100_000, *range(50))]
    lines = b"".join(json.dumps({"item": text}).encode() + b"\n" for text in texts)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(HEAD)
        for begin in range(0, len(lines), 70_001):
            writer.write(lines[begin : begin + 70_001])
            await writer.drain()
        writer.write(b'{"end": true}\n')

    async with asyncio.timeout(20), serving(tmp_path / "s", serve):
        assert await taken(tmp_path / "s") == texts


def for_ever(head: bytes, again: bytes) -> Serve:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(head)
        while True:
            writer.write(again * 1000)
            await writer.drain()

    return serve


CHUNKED = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
ENDLESS = {
    "a header": for_ever(b"HTTP/1.1 200 OK\r\nx: ", b"x" * 100),
    "headers": for_ever(b"HTTP/1.1 200 OK\r\n", b"x: y\r\n"),
    "a status": for_ever(b"HTTP/1.1 200 ", b"O" * 100),
    "small chunks": for_ever(CHUNKED, b"1\r\nx\r\n"),
    "extensions of chunks": for_ever(CHUNKED, b"1;" + b"e" * 1000 + b"\r\nx\r\n"),
    "replies that go on": for_ever(b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    "trailers": for_ever(CHUNKED + b"0\r\n", b"x: y\r\n"),
}


@pytest.mark.parametrize("serve", ENDLESS.values(), ids=ENDLESS)
async def test_what_never_ends_around_a_reply_is_given_up(tmp_path: Path, serve: Serve) -> None:
    async with asyncio.timeout(20), serving(tmp_path / "s", serve):
        with pytest.raises(ServerLost):
            await call(Connections(), tmp_path / "s", "run-1", "system.exec", [], timeout_s=None)
        with pytest.raises(ServerLost):
            await taken(tmp_path / "s")


async def test_lines_with_nothing_in_them_are_no_values(tmp_path: Path) -> None:
    async with asyncio.timeout(20), serving(tmp_path / "s", for_ever(HEAD, b"\n" * 1000)):
        with pytest.raises(ServerLost, match="not JSON"):
            await taken(tmp_path / "s")


SWITCH = b"HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n"


async def test_a_server_that_wants_another_protocol_is_lost(tmp_path: Path) -> None:
    async with serving(tmp_path / "s", saying(b"abc", SWITCH)), asyncio.timeout(10):
        with pytest.raises(ServerLost):
            await call(Connections(), tmp_path / "s", "run-1", "system.ping", [], timeout_s=None)
        with pytest.raises(ServerLost):
            await taken(tmp_path / "s")


async def test_what_the_hub_asks_for_itself_has_a_small_answer(tmp_path: Path) -> None:
    length = b"HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n"
    async with serving(tmp_path / "s", saying(b'{"ok": "' + b"x" * 99_990 + b'"}', length)), asyncio.timeout(10):
        with pytest.raises(ServerLost, match="larger than 65536 bytes"):
            await identify(tmp_path / "s")
        with pytest.raises(ServerLost, match="larger than 5000 bytes"):
            await call(Connections(), tmp_path / "s", "run-1", "system.activity", [], timeout_s=1, max_reply_bytes=5000)
        assert await call(Connections(), tmp_path / "s", "run-1", "system.exec", [], timeout_s=None) == "x" * 99_990


def large(slowly: asyncio.Event | None = None) -> Serve:
    """A server whose reply is large; with an event it waits in the middle of it for that."""
    body = b'{"ok": "' + b"x" * 3_000_000 + b'"}'

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(body) + body[:2_000_000])
        await writer.drain()
        if slowly is not None:
            await slowly.wait()
        writer.write(body[2_000_000:])
        await writer.drain()

    return serve


async def asked(socket: Path) -> object:
    return await call(Connections(), socket, "run-1", "system.exec", [], timeout_s=None)


async def test_large_replies_take_turns_and_the_slow_are_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(calls, "MAX_LARGE", 2)
    monkeypatch.setattr(calls, "TURN_S", 0.5)
    never = asyncio.Event()
    async with asyncio.timeout(30), AsyncExitStack() as servers:
        for name, serve in {"slow1": large(never), "slow2": large(never), "good1": large(), "good2": large()}.items():
            await servers.enter_async_context(serving(tmp_path / name, serve))
        slow = [asyncio.create_task(asked(tmp_path / name)) for name in ("slow1", "slow2", "slow1")]
        await asyncio.sleep(0.2)
        assert len(calls._large_replies._going) == 2
        good = [asyncio.create_task(asked(tmp_path / name)) for name in ("good1", "good2", "good1", "good2") * 3]
        assert all(len(str(text)) == 3_000_000 for text in await asyncio.gather(*good))
        given_up = [each for each in slow if each.done()]
        assert len(given_up) >= 2
        for each in given_up:
            with pytest.raises(ServerLost, match="while others waited"):
                each.result()
        never.set()
        await asyncio.gather(*slow, return_exceptions=True)
    assert not calls._large_replies._going and not calls._large_replies._line
    assert not calls._large_replies._of_project


async def test_who_leaves_while_it_waits_for_its_turn_is_forgotten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(calls, "MAX_LARGE", 1)
    go_on = asyncio.Event()
    async with asyncio.timeout(30), AsyncExitStack() as servers:
        for name, serve in {"first": large(go_on), "second": large()}.items():
            await servers.enter_async_context(serving(tmp_path / name, serve))
        names = ("first", "first", "second", "second", "second")
        tasks = [asyncio.create_task(asked(tmp_path / name)) for name in names[:1]]
        await asyncio.sleep(0.1)
        tasks += [asyncio.create_task(asked(tmp_path / name)) for name in names[1:]]
        await asyncio.sleep(0.2)
        for place in (1, 2, 3):  # one behind its own project, one in the line of all, and one behind that
            tasks[place].cancel()
        await asyncio.sleep(0.05)
        go_on.set()
        assert len(str(await tasks[0])) == len(str(await tasks[4])) == 3_000_000
    assert not calls._large_replies._going and not calls._large_replies._line
    assert not calls._large_replies._of_project
