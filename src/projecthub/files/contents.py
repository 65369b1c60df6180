"""The bytes of one file, copied by the cheapest way that the file systems offer."""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryFile

_FICLONE = 0x40049409
_CHUNK_BYTES = 16 * 1024 * 1024
_BUFFER_BYTES = 1024 * 1024
_NOT_OFFERED = frozenset({errno.EOPNOTSUPP, errno.ENOTTY, errno.ENOSYS, errno.EXDEV, errno.EPERM, errno.EINVAL})
"""Answers of a file system, kernel or filter that does not do it for these two files."""


def are_cloned(directory: Path) -> bool:
    """Whether copies in a directory share their contents with the source, and take no space; tried with two files."""
    try:
        with TemporaryFile(dir=directory) as source, TemporaryFile(dir=directory) as target:
            source.write(b"x")
            source.flush()
            fcntl.ioctl(target.fileno(), _FICLONE, source.fileno())
    except OSError:
        return False
    return True


class Contents:
    """Copies contents, and remembers what is not offered between the two places."""

    def __init__(self, check: Callable[[], None]) -> None:
        """Make ready.

        Args:
            check: Called between chunks; raises to end the copy.
        """
        self._check = check
        self._clones = True
        self._ranges = True

    def copy(self, source: int, target: int, status: os.stat_result) -> None:
        """Fill an empty file. Holes stay holes; what is written behind the end meanwhile is not copied.

        Args:
            source: A regular file, open for reading.
            target: An empty file, open for writing.
            status: Of the source.
        """
        size = status.st_size
        if not size or self.clone(source, target):
            return
        if status.st_blocks * 512 < size:
            for start, stop in stretches(source, size):
                self._copy_range(source, target, start, stop)
            os.ftruncate(target, size)
        else:
            self._copy_range(source, target, 0, size)

    @property
    def clones(self) -> bool:
        """Whether contents can be shared here, as far as is known."""
        return self._clones

    def clone(self, source: int, target: int) -> bool:
        """Let an empty file share the contents of another one; tells whether that could be done."""
        if not self._clones:
            return False
        try:
            fcntl.ioctl(target, _FICLONE, source)
        except OSError as error:
            if error.errno not in _NOT_OFFERED:
                raise
            self._clones = error.errno == errno.EINVAL  # EINVAL is about this file alone
            return False
        return True

    def _copy_range(self, source: int, target: int, start: int, stop: int) -> None:
        at = start
        while at < stop:
            self._check()
            count = self._copy_some(source, target, at, min(stop - at, _CHUNK_BYTES))
            if not count:  # the file was cut short meanwhile
                break
            at += count

    def _copy_some(self, source: int, target: int, at: int, count: int) -> int:
        if self._ranges:
            try:
                return os.copy_file_range(source, target, count, offset_src=at, offset_dst=at)
            except OSError as error:
                if error.errno not in _NOT_OFFERED:
                    raise
                self._ranges = False
        data = os.pread(source, min(count, _BUFFER_BYTES), at)
        os.lseek(target, at, os.SEEK_SET)
        write_all(target, data)
        return len(data)


def write_all(target: int, data: bytes) -> None:
    """Write all of ``data``."""
    written = os.write(target, data)
    while written < len(data):  # a nearly full disk takes a part, and says why at the next try
        written += os.write(target, data[written:])


def stretches(source: int, size: int) -> Iterator[tuple[int, int]]:
    """Where a file has data: beginning and end of each stretch."""
    at = 0
    while at < size:
        try:
            start = os.lseek(source, at, os.SEEK_DATA)
        except OSError as error:
            if error.errno == errno.ENXIO:  # a hole up to the end
                return
            raise
        at = min(os.lseek(source, start, os.SEEK_HOLE), size)
        yield start, at
