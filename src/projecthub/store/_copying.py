"""A SQLite store copied while it is in use."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from pathlib import Path
from typing import Final
from urllib.parse import quote

_BUSY_TIMEOUT_S: Final = 10


def copy_sqlite(source: Path, target: Path) -> None:
    """Copy a SQLite store as of one moment, whoever uses it. Blocks.

    The copy is whole and on disk, for its owner only, when it gets its name; what had that name before is replaced.

    Raises:
        OSError, sqlite3.Error: It cannot be read or written; nothing of the copy is left.
    """
    partial = target.with_name(f".{target.name}.partial")
    partial.unlink(missing_ok=True)
    try:
        os.close(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        # Never by opening the file ourselves: closing it would drop the locks that SQLite holds on it in this process.
        there = sqlite3.connect(f"file:{quote(str(source))}?mode=rw", uri=True, timeout=_BUSY_TIMEOUT_S)
        with contextlib.closing(there), contextlib.closing(sqlite3.connect(partial)) as here:
            there.execute("PRAGMA query_only=ON")
            there.backup(here)
            here.execute("PRAGMA journal_mode=DELETE").fetchone()  # one file, not three
        sync(partial)
        partial.replace(target)
        sync(target.parent)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def sync(path: Path) -> None:
    """Have a file or directory on disk, not only in memory."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
