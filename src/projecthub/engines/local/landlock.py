"""Landlock: what a project may do with files, said a second time and in other words than mounts.

The mounts of the sandbox leave a project nothing else to see. Landlock holds even for a file or directory that should
ever come in past them, as an open directory that was forgotten or handed over: it lies below no rule. It also keeps
the project from changing mounts, and, with a kernel that knows scopes, from the machine's abstract sockets where the
project shares the machine's network.
"""

from __future__ import annotations

import os

from projecthub.engines.local import kernel

LEAST_ABI = 2
"""Version 1 knows no right to move files between directories, and so forbids it: `git` and `mv` would fail."""

_EXECUTE, _READ_FILE, _READ_DIR = 1 << 0, 1 << 2, 1 << 3
_READ = _EXECUTE | _READ_FILE | _READ_DIR
_SCOPE_ABSTRACT_UNIX_SOCKET, _SCOPE_SIGNAL = 1 << 0, 1 << 1
_ABI_OF_SCOPES = 6


def _all_access(abi: int) -> int:
    """Every kind of access to files that a version knows: moving came with 2, truncating with 3, ioctl with 5."""
    return (1 << (14 if abi < 3 else 15 if abi < 5 else 16)) - 1


def writable_directories(home: str, uid: int) -> tuple[str, ...]:
    """Where a project may write, as far as the files themselves let it.

    Args:
        home: Its home, as it sees it.
        uid: Its user id.
    """
    return home, "/tmp", "/dev", "/proc", f"/run/user/{uid}"  # noqa: S108 - a project's own


def is_offered() -> bool:
    """Whether this kernel offers enough of it."""
    return kernel.landlock_abi() >= LEAST_ABI


def has_scopes() -> bool:
    """Whether it also keeps a project from abstract sockets and processes outside."""
    return kernel.landlock_abi() >= _ABI_OF_SCOPES


def restrict(home: str) -> None:
    """Let this process and all it will start read and execute, and write where a project may; where it `is_offered`.

    Args:
        home: The project's home, as this process sees it.

    Raises:
        OSError: The kernel offers it, but refuses this.
    """
    abi = kernel.landlock_abi()
    if abi < LEAST_ABI:
        return
    access = _all_access(abi)
    scoped = _SCOPE_ABSTRACT_UNIX_SOCKET | _SCOPE_SIGNAL if abi >= _ABI_OF_SCOPES else 0
    ruleset = kernel.landlock_ruleset(access, scoped)
    try:
        kernel.allow_beneath(ruleset, "/", _READ)
        for path in writable_directories(home, os.getuid()):
            kernel.allow_beneath(ruleset, path, access)
        kernel.restrict_by_landlock(ruleset)
    finally:
        os.close(ruleset)
