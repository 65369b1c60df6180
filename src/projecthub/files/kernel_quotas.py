"""Limits on directories that the file system itself holds: project quotas of XFS and ext4.

A directory gets a number; whatever comes into being below it inherits that, and the file system counts the room of
each number and holds it to its limit. Nothing can be moved or linked below such a directory that has another number
(`EXDEV`), and a symlink cannot be given one later: directories are numbered while they are empty, or not at all.

Needs a file system that was made and mounted for it (``prjquota``), Linux 5.14, and root.

Source: ioctl_xfs_fsgetxattr(2), quotactl(2), quotactl_fd; ``linux/fs.h`` and ``linux/quota.h`` for the structures.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import os
import secrets
import struct
import subprocess
import tempfile
from pathlib import Path
from typing import Final

from projecthub.files.paths import DIRECTORY
from projecthub.files.places import closing

_GET_ATTRIBUTES: Final = 0x801C581F
_SET_ATTRIBUTES: Final = 0x401C5820
_ATTRIBUTES: Final = struct.Struct("=IIIII8x")
"""Flags, extent size, extents, number of the project, extent size for copies on write."""
_INHERITED: Final = 0x200

_QUOTACTL_FD: Final = 443
"""On every architecture."""
_PROJECT: Final = 2
_GET: Final = 0x800007 << 8 | _PROJECT
_SET: Final = 0x800008 << 8 | _PROJECT
_QUOTA: Final = struct.Struct("=8QI4x")
"""Hard and soft limit in blocks, bytes in use, the same of inodes (three), two times, which fields are valid."""
_BLOCK_BYTES: Final = 1024
_LIMITS_VALID: Final = 1 | 4
_FEWEST_FILES: Final = 1000
_BYTES_A_FILE: Final = 2048
"""To so many bytes there may be one file, directory or symlink: two for each block, which all but empty ones take."""

_NUMBERS: Final = range(2**30, 2**31 - 1)
"""Away from the small numbers that people give by hand."""
_TRIES: Final = 8
_TRIAL_LIMIT_BYTES: Final = 256 * 1024
_TRIAL_BYTES: Final = 4 * 1024 * 1024
_TRIAL_UID: Final = 65_534
_TRIAL_TIMEOUT_S: Final = 10

_syscall = ctypes.CDLL(None, use_errno=True).syscall


def is_offered(directory: Path) -> bool:
    """Whether the file system of a directory holds directories to limits; tried, by somebody who is not root.

    Args:
        directory: One that we may make something in.
    """
    if os.geteuid() != 0:
        return False
    try:
        with tempfile.TemporaryDirectory(prefix=".quota-", dir=directory) as name:
            number(Path(name))
            limit(Path(name), _TRIAL_LIMIT_BYTES)
            try:
                with open(Path(name, "trial"), "wb") as file:
                    _write_as_nobody(file.fileno())
                return Path(name, "trial").stat().st_size < _TRIAL_BYTES
            finally:
                limit(Path(name), None)
    except OSError:
        return False


def _write_as_nobody(fd: int) -> None:
    """Write more than may be: root may, on ext4."""
    with contextlib.suppress(subprocess.TimeoutExpired):
        subprocess.run(
            ["head", "-c", str(_TRIAL_BYTES), "/dev/zero"],
            stdin=subprocess.DEVNULL,
            stdout=fd,
            stderr=subprocess.DEVNULL,
            cwd="/",
            user=_TRIAL_UID,
            group=_TRIAL_UID,
            extra_groups=[],
            timeout=_TRIAL_TIMEOUT_S,
            check=False,
        )


def number(directory: Path) -> None:
    """Give an empty directory a number that nobody has.

    Raises:
        OSError: The file system gives none.
    """
    with closing(os.open(directory, DIRECTORY | os.O_NOFOLLOW)) as fd:
        for _ in range(_TRIES):
            chosen = secrets.choice(_NUMBERS)
            hard, _, used, *_ = _quota(fd, chosen)
            if not hard and not used:
                break
        flags, *others = _attributes(fd)
        others[2] = chosen
        fcntl.ioctl(fd, _SET_ATTRIBUTES, _ATTRIBUTES.pack(flags | _INHERITED, *others))


def limit(directory: Path, size: int | None) -> bool:
    """Hold a directory to a size from now on; whether it has a number, without which nothing is done.

    It is held to a number of files, too, for a file system has only so many: such as no files with contents reach.

    Args:
        directory: One that `number` was called for.
        size: In bytes; None: there is no limit.

    Raises:
        OSError: The file system refuses.
    """
    with closing(os.open(directory, DIRECTORY | os.O_NOFOLLOW)) as fd:
        if not (known := _number(fd)):
            return False
        blocks = 0 if size is None else max(1, size // _BLOCK_BYTES)
        files = 0 if size is None else _FEWEST_FILES + size // _BYTES_A_FILE
        _quotactl(fd, _SET, known, _QUOTA.pack(blocks, 0, 0, files, 0, 0, 0, 0, _LIMITS_VALID))
        return True


def limit_of(directory: Path) -> int | None:
    """The size in bytes that a directory is held to; None: to none.

    Raises:
        OSError: The file system knows of no limits, or refuses.
    """
    found = _quota_of(directory)
    return None if found is None else found[0] * _BLOCK_BYTES or None


def used_bytes(directory: Path) -> int | None:
    """What all below a directory takes, as the file system counts; None if it has no number.

    Raises:
        OSError: The file system refuses.
    """
    found = _quota_of(directory)
    return None if found is None else found[2]


def _quota_of(directory: Path) -> tuple[int, ...] | None:
    with closing(os.open(directory, DIRECTORY | os.O_NOFOLLOW)) as fd:
        known = _number(fd)
        return _quota(fd, known) if known else None


def _number(fd: int) -> int:
    flags, _, _, known, _ = _attributes(fd)
    return int(known) if flags & _INHERITED else 0


def _attributes(fd: int) -> tuple[int, ...]:
    return _ATTRIBUTES.unpack(fcntl.ioctl(fd, _GET_ATTRIBUTES, bytes(_ATTRIBUTES.size)))


def _quota(fd: int, known: int) -> tuple[int, ...]:
    try:
        return _QUOTA.unpack(_quotactl(fd, _GET, known, bytes(_QUOTA.size)))
    except OSError as error:
        if error.errno != errno.ENOENT:  # XFS knows nothing of a number that was never used
            raise
        return _QUOTA.unpack(bytes(_QUOTA.size))


def _quotactl(fd: int, command: int, known: int, content: bytes) -> bytes:
    buffer = ctypes.create_string_buffer(content, len(content))
    if _syscall(_QUOTACTL_FD, fd, command, known, buffer) != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return buffer.raw
