"""Kernels that are ready before anybody asks: each is taken once."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import Callable

from projecthub.projectserver.jupyter.kernels import Kernel
from projecthub.projectserver.jupyter.starting import KernelStarter

_MAX_POOLS = 8
_log = logging.getLogger(__name__)


class _Pool:
    """Fresh kernels of one kind that run in one directory."""

    def __init__(self, start: Callable[[], asyncio.Task[Kernel]]) -> None:
        self._start = start
        self._coming: deque[asyncio.Task[Kernel]] = deque()
        self.expiry: asyncio.TimerHandle | None = None

    async def take(self) -> Kernel:
        """A kernel that nobody has used: the oldest that is alive."""
        while self._coming:
            task = self._coming.popleft()
            try:
                kernel = await asyncio.shield(task)
            except asyncio.CancelledError:
                self._coming.appendleft(task)
                raise
            except Exception:
                _log.info("a kernel kept ready did not come up", exc_info=True)
                continue
            if not kernel.died.is_set():
                return kernel
            kernel.kill()
        task = self._start()
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            self._coming.append(task)
            raise

    def fill(self, size: int) -> None:
        """Have as many ready, or on their way."""
        while len(self._coming) < size:
            self._coming.append(self._start())

    def kernels(self) -> list[Kernel]:
        return [t.result() for t in self._coming if t.done() and not t.cancelled() and t.exception() is None]

    def drain(self) -> None:
        """End what is ready."""
        for task in self._coming:
            task.add_done_callback(_end)
        self._coming.clear()
        if self.expiry is not None:
            self.expiry.cancel()


def _end(task: asyncio.Task[Kernel]) -> None:
    if not task.cancelled() and task.exception() is None:
        task.result().kill()


class Pools:
    """The pools of a project."""

    def __init__(self, starter: KernelStarter) -> None:
        """Make it; nothing is started yet."""
        self._starter = starter
        self._pools: dict[tuple[str, str], _Pool] = {}
        self._in_use: set[Kernel] = set()

    async def take(self, name: str, directory: str, *, size: int, timeout_s: float) -> Kernel:
        """A fresh kernel; others are made ready in its place.

        Args:
            name: Of its specification.
            directory: Where it runs.
            size: How many to keep ready.
            timeout_s: After so long without a call, none is kept.

        Raises:
            InvalidArgument: There is no such kernel.
            ProjectError: None came up.
        """
        key = name, directory
        # The one used last stands last; the one that is too many is the first.
        pool = self._pools.pop(key, None) or _Pool(lambda: asyncio.create_task(self._starter.start(name, directory)))
        self._pools[key] = pool
        while len(self._pools) > _MAX_POOLS:
            self._drop(next(iter(self._pools)))
        if pool.expiry is not None:
            pool.expiry.cancel()
        pool.expiry = asyncio.get_running_loop().call_later(timeout_s, self._drop, key)
        try:
            kernel = await pool.take()
        except Exception:
            self._drop(key)
            raise
        self._in_use.add(kernel)
        pool.fill(size)
        return kernel

    def give_back(self, kernel: Kernel) -> None:
        """End a kernel that was taken."""
        self._in_use.discard(kernel)
        kernel.kill()

    def kernels(self) -> list[Kernel]:
        """All that run."""
        ready = [kernel for pool in self._pools.values() for kernel in pool.kernels()]
        return [kernel for kernel in [*self._in_use, *ready] if not kernel.died.is_set()]

    def _drop(self, key: tuple[str, str]) -> None:
        pool = self._pools.pop(key, None)
        if pool is not None:
            with contextlib.suppress(RuntimeError):  # the loop has ended
                pool.drain()
        if not self._pools:
            self._starter.close_template()
