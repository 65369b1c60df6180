"""Callers over HTTP that go away before they have their answer: of the hub, and of a project server."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Final, TypeVar

UNWATCHED_S: Final = 0.1
"""Calls that take no longer are not watched over, which would cost them."""

_T = TypeVar("_T")


async def unless_left(
    work: Coroutine[Any, Any, _T], receive: Callable[[], Awaitable[object]], gone: Callable[[], Exception]
) -> _T:
    """Do some work, and cancel it when the caller, whose body has been read, goes away.

    Args:
        work: What to do.
        receive: ASGI's, of the caller's request.
        gone: Makes what is raised if the caller went away.

    Raises:
        Exception: What ``gone`` made: the caller went away, and the work has ended.
    """
    loop = asyncio.get_running_loop()
    watch: asyncio.Task[None] | None = None

    async def look_out() -> None:
        await receive()  # after the body nothing comes but the end
        patience.reschedule(loop.time())

    def begin() -> None:
        nonlocal watch
        watch = asyncio.create_task(look_out(), name="look-out")

    timer = loop.call_later(UNWATCHED_S, begin)
    try:
        async with asyncio.timeout(None) as patience:
            return await work
    except TimeoutError:
        if patience.expired():
            raise gone() from None
        raise
    finally:
        timer.cancel()
        if watch is not None:
            watch.cancel()
