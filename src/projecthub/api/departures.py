"""Callers that go away before they have their answer."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final, TypeVar

from starlette.requests import ClientDisconnect

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from starlette.types import Receive

UNWATCHED_S: Final = 0.1
"""Calls that take no longer are not watched over, which would cost them."""

_T = TypeVar("_T")


async def unless_left(work: Coroutine[Any, Any, _T], receive: Receive) -> _T:
    """Do some work, and cancel it when the caller, whose body has been read, goes away.

    Raises:
        ClientDisconnect: The caller went away, and the work has ended.
    """
    task = asyncio.ensure_future(work)
    gone: asyncio.Future[Any] | None = None
    try:
        await asyncio.wait({task}, timeout=UNWATCHED_S)
        if not task.done():
            gone = asyncio.ensure_future(receive())  # after the body nothing comes but the end
            await asyncio.wait({task, gone}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise ClientDisconnect
        return task.result()
    finally:
        left = [each for each in (task, gone) if each is not None and not each.done()]
        for each in left:
            each.cancel()
        await asyncio.gather(*left, return_exceptions=True)
