"""Calls whose waiting time is over and that go on."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from projecthub.errors import CallTimeout

T = TypeVar("T")


class Background:
    """Owns every call that may outlive its request."""

    def __init__(self) -> None:
        """Make an empty one."""
        self._tasks: set[asyncio.Task[Any]] = set()

    def __len__(self) -> int:
        """How many calls are here, whether somebody still waits for them or not."""
        return len(self._tasks)

    async def run(self, work: Coroutine[Any, Any, T], timeout_s: float, message: str, *, held: bool = False) -> T:
        """Wait for ``work`` for at most ``timeout_s`` seconds; after that it goes on here.

        If the waiting task is cancelled before, the work goes on as well, unless it is ``held``: then it is cancelled.

        Raises:
            CallTimeout: The time is over; with ``message``.
        """
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        task.add_done_callback(_look_at)
        try:
            done, _ = await asyncio.wait({task}, timeout=timeout_s)
        except asyncio.CancelledError:
            if held:
                task.cancel()
            raise
        if not done:
            raise CallTimeout(message)
        return task.result()

    async def close(self) -> None:
        """Cancel what still goes on, and wait for its end."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


def _look_at(task: asyncio.Task[Any]) -> None:
    """Perhaps nobody waits for this outcome any more: an error in it is not one that was overlooked."""
    if not task.cancelled():
        task.exception()
