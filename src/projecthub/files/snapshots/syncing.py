"""A call of Linux that Python does not offer: one wait for a whole file system."""

from __future__ import annotations

import ctypes
import os

_syncfs = getattr(ctypes.CDLL(None, use_errno=True), "syncfs", None)


def sync_file_system(fd: int) -> None:
    """Have all on disk that was written to the file system of an open file: one wait instead of one a file.

    Raises:
        OSError: Something could not be written.
    """
    if _syncfs is None:
        os.sync()
    elif _syncfs(fd) != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
