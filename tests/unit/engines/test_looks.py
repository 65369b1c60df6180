"""Looks at what projects use: shared, kept in proportion to their cost, in threads of their own."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator

import pytest

from projecthub.engines.local.looks import Looks

pytestmark = pytest.mark.anyio


@pytest.fixture
async def looks() -> AsyncIterator[Looks]:
    looks = Looks()
    yield looks
    looks.close()


class Seen:
    """Counts looks, each of which waits until it is let go."""

    def __init__(self) -> None:
        self.count = 0
        self.go = threading.Event()

    def look(self) -> int:
        self.count += 1
        self.go.wait(5)
        return self.count


async def test_a_look_is_shared_by_all_who_ask_meanwhile(looks: Looks) -> None:
    seen = Seen()
    asking = [asyncio.create_task(looks.share("one", seen.look)) for _ in range(10)]
    await asyncio.sleep(0)
    asking[0].cancel()  # who leaves takes nothing from the others
    await asyncio.sleep(0)
    seen.go.set()
    assert await asyncio.gather(*asking[1:]) == [1] * 9
    assert asking[0].cancelled()


async def test_what_was_seen_is_kept_in_proportion_to_its_cost(looks: Looks) -> None:
    seen = Seen()
    seen.go.set()

    def compute() -> int:
        begin = time.thread_time()
        while time.thread_time() - begin < 0.02:
            pass
        return seen.look()

    assert [await looks.share("one", compute) for _ in range(5)] == [1] * 5
    async with asyncio.timeout(5):
        while await looks.share("one", compute) == 1:
            await asyncio.sleep(0.05)
    assert await looks.share("other", compute) == seen.count


async def test_an_error_is_told_to_all_and_not_kept(looks: Looks) -> None:
    def fail() -> int:
        raise OSError("no")

    told = await asyncio.gather(*(looks.share("one", fail) for _ in range(3)), return_exceptions=True)
    assert [str(each) for each in told] == ["no"] * 3
    assert await looks.share("one", lambda: 7) == 7


async def test_looks_delay_no_other_threads(looks: Looks) -> None:
    seen = Seen()
    asking = [asyncio.create_task(looks.share(key, seen.look)) for key in range(100)]
    await asyncio.sleep(0)
    async with asyncio.timeout(4):
        assert await asyncio.to_thread(lambda: 7) == 7
    assert seen.count <= 2
    seen.go.set()
    await asyncio.gather(*asking)
