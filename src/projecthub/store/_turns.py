"""Waiting for one's turn, up to a time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, nullcontext

from projecthub.errors import StoreUnavailable


@asynccontextmanager
async def in_turn(room: asyncio.Semaphore, wait_s: float, refusal: str) -> AsyncIterator[None]:
    """Have a place, as soon as there is one. Who need not wait sets no timer.

    Raises:
        StoreUnavailable: None has come in ``wait_s`` seconds; ``refusal`` is the text.
    """
    try:
        async with asyncio.timeout(wait_s) if room.locked() else nullcontext():
            await room.acquire()
    except TimeoutError:
        raise StoreUnavailable(refusal) from None
    try:
        yield
    finally:
        room.release()
