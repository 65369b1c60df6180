"""Blocking work beside the loop: whoever waits for it is cancelled, again and again."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor

import pytest

from projecthub.files.threads import in_thread, pieces

pytestmark = pytest.mark.anyio


async def cancelled_again_and_again(task: asyncio.Task[None], release: threading.Event) -> None:
    """Cancel a task at each turn of the loop, as servers do when a caller has gone, and let the work end after it."""
    for _ in range(20):
        task.cancel()
        await asyncio.sleep(0)
    assert not task.done()
    release.set()
    while not task.done():
        task.cancel()
        await asyncio.sleep(0)
    assert task.cancelled()


async def test_work_has_ended_when_its_waiter_has() -> None:
    began, release, ended = threading.Event(), threading.Event(), threading.Event()

    def work() -> None:
        began.set()
        release.wait(10)
        ended.set()

    with ThreadPoolExecutor(1) as threads:
        task = asyncio.create_task(in_thread(threads, work))
        while not began.is_set():
            await asyncio.sleep(0)
        await cancelled_again_and_again(task, release)
        assert ended.is_set()


async def test_a_source_is_closed_when_its_reader_has_gone() -> None:
    began, release, closed = threading.Event(), threading.Event(), threading.Event()

    def source() -> Generator[bytes, None, None]:
        try:
            yield b"first"
            began.set()
            release.wait(10)
            yield b"second"
        finally:
            closed.set()

    async def read(threads: ThreadPoolExecutor) -> None:
        async for _ in pieces(threads, source()):
            pass

    with ThreadPoolExecutor(1) as threads:
        task = asyncio.create_task(read(threads))
        while not began.is_set():
            await asyncio.sleep(0)
        await cancelled_again_and_again(task, release)
        assert closed.is_set()


async def test_pieces_are_made_in_turns() -> None:
    turn, at_once, most = asyncio.Semaphore(2), 0, 0

    def source() -> Generator[bytes, None, None]:
        nonlocal at_once, most
        for _ in range(20):
            at_once += 1
            most = max(most, at_once)
            threading.Event().wait(0.001)
            at_once -= 1
            yield b"x"

    async def take() -> int:
        return len([piece async for piece in pieces(executor, source(), turn)])

    with ThreadPoolExecutor(8) as executor:
        assert await asyncio.gather(*(take() for _ in range(8))) == [20] * 8
    assert most <= 2


async def test_pieces_that_wait_for_their_turn_are_given_up() -> None:
    closed, turn = threading.Event(), asyncio.Semaphore(1)

    def source() -> Generator[bytes, None, None]:
        try:
            yield b"x"
            yield b"y"
        finally:
            closed.set()

    with ThreadPoolExecutor(1) as executor:
        some = pieces(executor, source(), turn)
        assert await anext(some) == b"x"
        async with turn:
            await asyncio.wait_for(some.aclose(), 5)
        assert closed.is_set()
