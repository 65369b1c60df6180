"""Blocking work beside the event loop."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable, Generator
from concurrent.futures import Executor
from contextlib import AbstractAsyncContextManager
from typing import Any, TypeVar

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
        await until_ended(future)
        raise


async def until_ended(future: asyncio.Future[Any]) -> None:
    """Wait for the end of something, however often the waiting task is cancelled; a cancellation is raised after it.

    Whoever answers a request is cancelled anew at each await once its caller has gone.
    """
    cancelled: asyncio.CancelledError | None = None
    while not future.done():
        try:
            await asyncio.wait([future])
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        raise cancelled


async def pieces(
    executor: Executor, source: Generator[bytes, None, None], turn: AbstractAsyncContextManager[object] | None = None
) -> AsyncGenerator[bytes, None]:
    """What a blocking generator yields, one piece ahead of whoever reads; it is closed in the end, in a thread too.

    Args:
        executor: Has the threads.
        source: The generator.
        turn: Held while a piece is made, by which others get theirs; None: it waits for none.
    """

    async def step() -> bytes | None:
        async with contextlib.nullcontext() if turn is None else turn:
            return await in_thread(executor, lambda: next(source, None))

    ahead = asyncio.create_task(step())
    try:
        while (piece := await asyncio.shield(ahead)) is not None:
            ahead = asyncio.create_task(step())
            yield piece
    finally:
        ahead.cancel()
        try:
            await until_ended(ahead)
        finally:
            if not ahead.cancelled():
                ahead.exception()  # which nobody waits for now
            await in_thread(executor, source.close)
