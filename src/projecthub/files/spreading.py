"""Directories whose subdirectories a file system lays far from one another.

ext4 puts new files into the same stretch of the disk as their directory, and gives no inode again that was freed in the
last minutes: it looks at one after the other. So, where many files were just deleted, each new one costs as many looks
as there were files, unless new directories go elsewhere.
"""

from __future__ import annotations

import array
import contextlib
import fcntl
import os
from collections.abc import Iterator

from projecthub.files.paths import DIRECTORY
from projecthub.files.places import closing

_GET_FLAGS = 0x80086601
_SET_FLAGS = 0x40086602
_TOP_DIRECTORY = 0x00020000


@contextlib.contextmanager
def spread(directory_fd: int) -> Iterator[None]:
    """Have directories that are made in a new directory, and in those, lie apart; in the end it is as any other."""
    mark(directory_fd)
    try:
        yield
    finally:
        with os.scandir(directory_fd) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    # One that its owner may not read stays as it is, where that is the hub itself.
                    with (
                        contextlib.suppress(PermissionError),
                        closing(os.open(entry.name, DIRECTORY | os.O_NOFOLLOW, dir_fd=directory_fd)) as fd,
                    ):
                        mark(fd, on=False)
        mark(directory_fd, on=False)


def mark(directory_fd: int, *, on: bool = True) -> None:
    """Say of one directory that those in it have little to do with each other. Nothing, where that cannot be said."""
    flags = array.array("l", [0])
    with contextlib.suppress(OSError):
        fcntl.ioctl(directory_fd, _GET_FLAGS, flags)
        flags[0] = flags[0] | _TOP_DIRECTORY if on else flags[0] & ~_TOP_DIRECTORY
        fcntl.ioctl(directory_fd, _SET_FLAGS, flags)
