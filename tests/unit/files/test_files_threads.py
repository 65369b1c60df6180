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
