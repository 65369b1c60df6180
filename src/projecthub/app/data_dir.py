"""The data directory: one hub a directory, and what is in it for its operator alone."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from projecthub.errors import Conflict

ADMIN_KEY_FILE: Final = "admin-key"
URL_FILE: Final = "url"


@contextmanager
def own_data_dir(data_dir: Path) -> Iterator[None]:
    """Make a data directory if it is missing, and keep hubs away from it meanwhile.

    Raises:
        Conflict: A hub has it.
    """
    make_private(data_dir)
    lock = take_lock(data_dir)
    try:
        yield
    finally:
        os.close(lock)


def make_private(data_dir: Path) -> None:
    """Make it, if it is missing, and let nobody else look into it."""
    data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    data_dir.chmod(0o700)


def take_lock(data_dir: Path) -> int:
    """One hub a data directory: the lock ends with the process, however that ends."""
    lock = os.open(data_dir / "hub.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        holder = os.pread(lock, 20, 0).decode(errors="replace").strip()
        os.close(lock)
        raise Conflict(
            f"another hub (process {holder or 'unknown'}) uses this data directory; stop it, or give another one "
            "with --data-dir"
        ) from None
    with contextlib.suppress(OSError):  # on a full disk nobody is told which process it is
        os.ftruncate(lock, 0)
        os.pwrite(lock, f"{os.getpid()}\n".encode(), 0)
    return lock


def write_private(file: Path, content: str) -> None:
    """Write a line into a file that is its owner's alone, whole or not at all."""
    partial = file.with_name(f".{file.name}.new")
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "w") as out:
        out.write(content + "\n")
        out.flush()
        os.fsync(descriptor)
    partial.replace(file)
