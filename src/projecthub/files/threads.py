"""Blocking work beside the event loop."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable, Generator
from concurrent.futures import Executor
from typing import TypeVar

T = TypeVar("T")


async def in_thread(executor: Executor, work: Callable[[], T], *, cancel: Callable[[], None] | None = None) -> T:
    """Run blocking work. If the waiting task is cancelled, tell the work so and wait for its end."""
    future = asyncio.get_running_loop().run_in_executor(executor, work)
    try:
        return await asyncio.shield(future)
    except asyncio.CancelledError:
        if cancel is not None:
            cancel()
        future.add_done_callback(lambda ended: ended.cancelled() or ended.exception())  # which nobody waits for now
        await asyncio.wait([future])
        raise


async def pieces(executor: Executor, source: Generator[bytes, None, None]) -> AsyncGenerator[bytes, None]:
    """What a blocking generator yields, one piece ahead of whoever reads; it is closed in the end, in a thread too."""
    loop = asyncio.get_running_loop()

    def step() -> bytes | None:
        return next(source, None)

    ahead = loop.run_in_executor(executor, step)
    try:
        while (piece := await asyncio.shield(ahead)) is not None:
            ahead = loop.run_in_executor(executor, step)
            yield piece
    finally:
        with contextlib.suppress(Exception):
            await asyncio.wait([ahead])
            ahead.exception()
        await in_thread(executor, source.close)
