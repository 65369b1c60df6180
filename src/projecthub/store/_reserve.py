"""Room on the disk that a SQLite store has for itself.

That a project was stopped must be written even when projects have filled the disk. All that is written goes to SQLite's
journal first, which is then used again from its beginning and never made shorter while the store is open. So blocks are
allotted to it ahead, behind its end, where SQLite does not see them.
"""

from __future__ import annotations

import contextlib
import ctypes
import os

_RESERVED_BYTES = 8 * 1024 * 1024
"""Twice what the journal takes as long as the main file can grow: some hundred changes more."""
_KEEP_SIZE = 1

_fallocate = getattr(ctypes.CDLL(None, use_errno=True), "fallocate", None)


def reserve_journal(path: str) -> None:
    """Allot blocks to the journal of the open database at ``path``; does nothing where that is not to be had.

    The main file is left alone: to close it anywhere in this process would let go of the locks that SQLite holds on it.
    """
    if _fallocate is None:
        return
    with contextlib.suppress(OSError):
        fd = os.open(f"{path}-wal", os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
        try:
            _fallocate(fd, _KEEP_SIZE, ctypes.c_int64(0), ctypes.c_int64(_RESERVED_BYTES))
        finally:
            os.close(fd)
