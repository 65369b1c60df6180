"""Disk use of homes."""

from __future__ import annotations

import asyncio
import errno
import os
import time
from collections.abc import Callable
from concurrent.futures import Executor
from pathlib import Path

from projecthub.files.paths import DIRECTORY, PendingDirectories, join, open_beneath

_FRESH_S = 3.0
_LEISURE = 10
"""A walk that took long is not repeated before this many times as long has passed."""
_BLOCK_BYTES = 512
_MAX_NESTING = 64


def used_bytes(home: Path) -> int:
    """Bytes on disk that a home and all in it take; 0 if it does not exist. Blocks: run it in a thread.

    A file with several names counts once. What the hub may not read, or lies deeper than the kernel can name 64 times
    over, does not count.
    """
    try:
        fd = os.open(home, DIRECTORY | os.O_NOFOLLOW)
    except OSError:
        return 0
    try:
        return os.fstat(fd).st_blocks * _BLOCK_BYTES + _walk(fd, set(), 0)
    finally:
        os.close(fd)


def _walk(root_fd: int, seen: set[tuple[int, int]], nesting: int) -> int:
    used = 0
    pending = PendingDirectories()
    for parent, name in pending:
        path = join(parent, name)
        try:
            fd = open_beneath(root_fd, path, DIRECTORY, follow=False)
        except OSError as error:
            if error.errno == errno.ENAMETOOLONG and nesting < _MAX_NESTING:
                used += _walk_deeper(root_fd, parent, name, seen, nesting)
            continue
        try:
            directories, size = _list(fd, seen)
        except OSError:  # it was deleted meanwhile
            continue
        finally:
            os.close(fd)
        used += size
        pending.add(path, directories)
    return used


def _walk_deeper(root_fd: int, parent: str, name: str, seen: set[tuple[int, int]], nesting: int) -> int:
    """Walk a directory whose path is too long for the kernel, as a root of its own."""
    try:
        parent_fd = open_beneath(root_fd, parent, DIRECTORY, follow=False)
        try:
            fd = os.open(name, DIRECTORY | os.O_NOFOLLOW, dir_fd=parent_fd)
        finally:
            os.close(parent_fd)
    except OSError:
        return 0
    try:
        return _walk(fd, seen, nesting + 1)
    finally:
        os.close(fd)


def _list(fd: int, seen: set[tuple[int, int]]) -> tuple[list[str], int]:
    """The directories in a directory, and the bytes of all that it holds, of the directories only their own."""
    directories: list[str] = []
    blocks = 0
    with os.scandir(fd) as entries:
        for entry in entries:
            try:
                status = entry.stat(follow_symlinks=False)
            except OSError:
                continue
            if entry.is_dir(follow_symlinks=False):
                directories.append(entry.name)
            elif status.st_nlink > 1:
                identity = (status.st_dev, status.st_ino)
                if identity in seen:
                    continue
                seen.add(identity)
            blocks += status.st_blocks
    return directories, blocks * _BLOCK_BYTES


class DiskGauge:
    """The disk use of one home: the last measurement, and the one under way."""

    def __init__(self, home: Path, executor: Executor, now: Callable[[], float] = time.monotonic) -> None:
        """Make ready.

        Args:
            home: The home.
            executor: Where its walks run.
            now: The clock, in seconds.
        """
        self._home = home
        self._executor = executor
        self._now = now
        self._known: int | None = None
        self._fresh_until = 0.0
        self._walk: asyncio.Task[int] | None = None

    async def read(self, wait_s: float) -> int:
        """Disk use in bytes, measured at most a few seconds ago if that takes no longer than ``wait_s`` seconds.

        Otherwise the last known value; if there is none, it waits.
        """
        if self._known is not None and self._now() < self._fresh_until:
            return self._known
        if self._walk is None:
            self._walk = asyncio.create_task(self._measure())
        if self._known is None:
            return await asyncio.shield(self._walk)
        await asyncio.wait([self._walk], timeout=wait_s)
        return self._known or 0

    async def _measure(self) -> int:
        try:
            began = self._now()
            used = await asyncio.get_running_loop().run_in_executor(self._executor, used_bytes, self._home)
            ended = self._now()
            self._known = used or None  # a home that does not exist may do so at any moment
            self._fresh_until = ended + max(_FRESH_S, _LEISURE * (ended - began))
            return used
        finally:
            self._walk = None
