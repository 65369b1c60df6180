"""Two calls of Linux that Python does not offer: one wait for a whole file system, and an exchange of two names."""

from __future__ import annotations

import ctypes
import os
from typing import Final

_EXCHANGE: Final = 2

_libc = ctypes.CDLL(None, use_errno=True)
_syncfs = getattr(_libc, "syncfs", None)
_renameat2 = getattr(_libc, "renameat2", None)


def sync_file_system(fd: int) -> None:
    """Have all on disk that was written to the file system of an open file: one wait instead of one a file.

    Raises:
        OSError: Something could not be written.
    """
    if _syncfs is None:
        os.sync()
    elif _syncfs(fd) != 0:
        _fail()


def exchange(one_fd: int, one: str, other_fd: int, other: str) -> None:
    """Let two names change places, so that there is no moment without either.

    Raises:
        FileNotFoundError: One of them is not there.
        OSError: It cannot be done; ``EINVAL`` or ``ENOSYS`` where the file system or kernel does not offer it.
    """
    if _renameat2 is None:
        raise OSError(38, "ENOSYS")
    if _renameat2(one_fd, os.fsencode(one), other_fd, os.fsencode(other), _EXCHANGE) != 0:
        _fail()


def _fail() -> None:
    code = ctypes.get_errno()
    raise OSError(code, os.strerror(code))
