"""Connections to project servers that are kept for the next call, and those that must not be."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from projecthub.engines import connections as module
from projecthub.engines.calls import call
from projecthub.engines.connections import Connections
from projecthub.errors import CallTimeout, ServerLost

pytestmark = pytest.mark.anyio

OK = b'HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n{"ok": 1}'


@dataclass
class Server:
    """Answers as it is told, and knows its connections."""

    answer: Callable[[], bytes | None] = lambda: OK
    wants_bodies: bool = True
    made: int = 0
    writers: list[asyncio.StreamWriter] = field(default_factory=list)
    ended: int = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.made += 1
        self.writers.append(writer)
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                if not self.wants_bodies:
                    writer.write(OK)
                    await asyncio.sleep(60)
                await reader.readexactly(int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0]))
                if (answer := self.answer()) is None:
                    await asyncio.sleep(60)
                else:
                    writer.write(answer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self.ended += 1
            writer.close()

    async def all_ended(self, count: int) -> None:
        async with asyncio.timeout(5):
            while self.ended < count:
                await asyncio.sleep(0.01)


@asynccontextmanager
async def serving(path: Path) -> AsyncIterator[Server]:
    server = Server()
    listener = await asyncio.start_unix_server(server.serve, path)
    try:
        yield server
    finally:
        listener.close()
        for writer in server.writers:
            writer.close()


@pytest.fixture
async def connections() -> AsyncIterator[Connections]:
    one = Connections()
    yield one
    one.close()


async def ask(connections: Connections, path: Path, session_id: str = "run-1", timeout_s: float | None = 5) -> object:
    return await call(connections, path, session_id, "system.ping", [], timeout_s=timeout_s)


async def test_calls_share_a_connection(tmp_path: Path, connections: Connections) -> None:
    async with serving(tmp_path / "s") as server:
        assert [await ask(connections, tmp_path / "s") for _ in range(5)] == [1] * 5
        assert server.made == 1
        await asyncio.gather(*(ask(connections, tmp_path / "s") for _ in range(4)))
        assert server.made == 4
        connections.close()
        await server.all_ended(4)


async def test_another_run_has_its_own(tmp_path: Path, connections: Connections) -> None:
    """The file of the socket may be another server's by then."""
    async with serving(tmp_path / "s") as server:
        await ask(connections, tmp_path / "s", "run-1")
        await ask(connections, tmp_path / "s", "run-2")
        assert server.made == 2


@pytest.mark.parametrize(
    "answer",
    [
        OK.replace(b"200 OK", b"409 Conflict"),
        OK.replace(b"200 OK", b"503 Service Unavailable"),
        OK.replace(b"\r\n\r\n", b"\r\nconnection: close\r\n\r\n"),
        OK.replace(b"HTTP/1.1", b"HTTP/1.0"),
        OK + b"HTTP",
        OK + OK,
        OK + b"nonsense",
    ],
)
async def test_what_is_not_proper_is_not_kept(tmp_path: Path, connections: Connections, answer: bytes) -> None:
    async with serving(tmp_path / "s") as server:
        server.answer = lambda: answer
        with suppress(ServerLost):
            await ask(connections, tmp_path / "s")
        await server.all_ended(1)
        server.answer = lambda: OK
        assert await ask(connections, tmp_path / "s") == 1
        assert server.made == 2


async def test_what_comes_unasked_is_nobodys_answer(tmp_path: Path, connections: Connections) -> None:
    forged = OK.replace(b'{"ok": 1}', b'{"ok": 2}')
    async with serving(tmp_path / "s") as server:
        assert await ask(connections, tmp_path / "s") == 1
        server.writers[0].write(forged)  # seen by nobody but the kernel when the next call comes
        assert await ask(connections, tmp_path / "s") == 1
        assert server.made == 2
        server.writers[1].write(forged)
        await server.all_ended(2)  # seen by the event loop, which ends it
        assert await ask(connections, tmp_path / "s") == 1


async def test_a_server_that_went_away_meanwhile_is_noticed_before_the_call(
    tmp_path: Path, connections: Connections
) -> None:
    async with serving(tmp_path / "s") as server:
        await ask(connections, tmp_path / "s")
        server.writers[0].get_extra_info("socket").shutdown(socket.SHUT_RDWR)  # the event loop does not know yet
        assert await ask(connections, tmp_path / "s") == 1
        assert server.made == 2


async def test_a_call_that_was_given_up_keeps_nothing(tmp_path: Path, connections: Connections) -> None:
    async with serving(tmp_path / "s") as server:
        server.answer = lambda: None
        with pytest.raises(CallTimeout):
            await ask(connections, tmp_path / "s", timeout_s=0.1)
        task = asyncio.create_task(ask(connections, tmp_path / "s", timeout_s=None))
        await asyncio.sleep(0.05)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        server.answer = lambda: OK
        assert await ask(connections, tmp_path / "s") == 1
        assert server.made == 3


async def test_idle_ones_end_after_a_while(
    tmp_path: Path, connections: Connections, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "KEPT_S", 0.2)
    async with serving(tmp_path / "s") as server:
        await ask(connections, tmp_path / "s")
        await server.all_ended(1)
        assert not connections._idle and connections._timer is None and connections._kept == 0
        assert await ask(connections, tmp_path / "s") == 1


async def test_few_are_kept(tmp_path: Path, connections: Connections, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_KEPT", 3)
    monkeypatch.setattr(module, "MAX_KEPT_OF_PROJECT", 2)
    async with serving(tmp_path / "a") as first, serving(tmp_path / "b") as second:
        await asyncio.gather(*(ask(connections, tmp_path / "a") for _ in range(5)))
        await first.all_ended(3)
        await asyncio.gather(*(ask(connections, tmp_path / "b") for _ in range(5)))
        await second.all_ended(4)
        assert connections._kept == 3


def answer_of(size: int) -> bytes:
    body = b'{"ok": "%s"}' % (b"x" * size)
    return b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%s" % (len(body), body)


async def test_one_that_waited_for_its_turn_is_not_left_unread(tmp_path: Path, connections: Connections) -> None:
    """Its reply is barely large: held back at its last piece, it was whole all the same."""
    async with serving(tmp_path / "s") as server:
        server.answer = lambda: answer_of(3_000_000)[:2_000_000]
        slow = asyncio.create_task(ask(connections, tmp_path / "s"))
        await asyncio.sleep(0.2)
        server.answer = lambda: answer_of(1024 * 1024)
        assert len(str(await ask(connections, tmp_path / "s"))) == 1024 * 1024
        server.answer = lambda: OK
        assert await ask(connections, tmp_path / "s", timeout_s=2) == 1
        slow.cancel()
        with suppress(asyncio.CancelledError):
            await slow


async def test_one_whose_server_did_not_want_the_whole_question_is_not_kept(
    tmp_path: Path, connections: Connections
) -> None:
    async with serving(tmp_path / "s") as server:
        server.wants_bodies = False
        question = ["x" * 10_000_000]
        assert await call(connections, tmp_path / "s", "run-1", "system.exec", question, timeout_s=5) == 1
        assert connections._kept == 0


async def test_calls_that_are_under_way_at_the_end_keep_nothing(tmp_path: Path, connections: Connections) -> None:
    async with serving(tmp_path / "s") as server:
        task = asyncio.create_task(ask(connections, tmp_path / "s"))
        await asyncio.sleep(0)
        connections.close()
        assert await task == 1
        await server.all_ended(1)
        assert not connections._idle and connections._timer is None
