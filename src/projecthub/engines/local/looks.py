"""Looks at what projects use, which cost the hub what the projects like.

A project may have a thousand processes, and anybody of it may ask at any rate. So there is one look at a time for each
project, which all who ask meanwhile share; what it saw is kept for a time in proportion to what it cost; and the
threads that look are few and do nothing else. What looks cost together is therefore bounded by the number of projects,
and delays nothing but other looks.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Hashable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, Final, TypeVar

_T = TypeVar("_T")

_THREADS: Final = 2
_KEPT: Final = 20
"""How many times as long as a look took what it saw is kept: so one project has a twentieth of a processor at most."""


class Looks:
    """The looks of one engine."""

    def __init__(self) -> None:
        """Make it; its threads begin when they are needed."""
        self._threads = _threads()
        self._under_way: dict[Hashable, asyncio.Future[tuple[Any, float]]] = {}
        self._kept: dict[Hashable, Any] = {}

    async def share(self, key: Hashable, look: Callable[[], _T]) -> _T:
        """What a look sees: this one, one that is under way, or what the last one saw if that is fresh enough.

        Args:
            key: What is looked at. One key has one kind of value.
            look: Does it, in a thread.

        Raises:
            Exception: Whatever ``look`` raises, to all who share it.
        """
        if key in self._kept:
            kept: _T = self._kept[key]
            return kept
        future = self._under_way.get(key)
        if future is None:
            future = asyncio.get_running_loop().run_in_executor(self._threads, _timed, look)
            self._under_way[key] = future
            future.add_done_callback(partial(self._done, key))
        seen: _T = (await asyncio.shield(future))[0]
        return seen

    def _done(self, key: Hashable, future: asyncio.Future[tuple[Any, float]]) -> None:
        self._under_way.pop(key, None)
        # Asked for its error, too: whoever waited for it may have gone.
        if not future.cancelled() and future.exception() is None:
            seen, cost_s = future.result()
            self._kept[key] = seen
            asyncio.get_running_loop().call_later(_KEPT * cost_s, self._kept.pop, key, None)

    def close(self) -> None:
        """Let go of the threads, as soon as the looks under way are done. Another look would begin others."""
        self._threads.shutdown(wait=False)
        self._threads = _threads()


def _timed(look: Callable[[], _T]) -> tuple[_T, float]:
    """What a look sees, and the processor time in seconds that it cost."""
    begin = time.thread_time()
    return look(), time.thread_time() - begin


def _threads() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(_THREADS, thread_name_prefix="looks")
