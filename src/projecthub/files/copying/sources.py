"""Files of a source, opened to be copied."""

from __future__ import annotations

import errno
import os
import stat

_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_SMALL_BYTES = 256 * 1024
_MAX_TRIES = 3
BLOCK_BYTES = 512
VANISHED = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENXIO})
"""What opening something answers that was there when it was walked, and is gone or another thing by now."""


class UnreadableError(Exception):
    """Something of the source cannot be read; the cause says why. It is nobody's fault but the source's."""


class SourceFile:
    """One file of the source, open.

    Attributes:
        fd: The file.
        status: As it was when it was opened, or read.
        xattrs: Extended attributes that belong to users.
    """

    __slots__ = ("_data", "fd", "status", "xattrs")

    def __init__(self, fd: int, status: os.stat_result) -> None:
        self.fd = fd
        self.status = status
        self.xattrs: list[tuple[str, bytes]] = []
        self._data: bytes | None = None

    def data(self) -> bytes | None:
        """All of it, if it is small and has no holes.

        Raises:
            UnreadableError: It cannot be read.
        """
        if self._data is None:
            size = self.status.st_size
            if size > _SMALL_BYTES or self.status.st_blocks * BLOCK_BYTES < size:
                return None
            try:
                self._data = os.pread(self.fd, size + 1, 0) if size else b""
                for _ in range(_MAX_TRIES):
                    if len(self._data) == size:
                        break
                    self.status = os.fstat(self.fd)  # it grows or shrinks at this moment
                    size = min(self.status.st_size, _SMALL_BYTES)
                    self._data = os.pread(self.fd, size + 1, 0)
            except OSError as error:
                raise UnreadableError from error
            self._data = self._data[:size]
        return self._data


class SourceReader:
    """Opens files of a source."""

    def __init__(self) -> None:
        self._has_xattrs = True

    def open(self, directory_fd: int, name: str) -> SourceFile | None:
        """Open a file; None: it is no regular file any more. The caller closes it.

        Raises:
            UnreadableError: It cannot be read.
        """
        try:
            fd = os.open(name, _READ, dir_fd=directory_fd)
        except OSError as error:
            if error.errno in VANISHED:
                return None
            raise UnreadableError from error
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode):
            os.close(fd)
            return None
        file = SourceFile(fd, status)
        if self._has_xattrs:
            self._has_xattrs = read_xattrs(fd, file.xattrs)
        return file


def read_xattrs(fd: int, found: list[tuple[str, bytes]]) -> bool:
    """Read extended attributes that belong to users; tells whether the file system has any."""
    try:
        for name in os.listxattr(fd):
            if name.startswith("user."):
                found.append((name, os.getxattr(fd, name)))
    except OSError as error:
        return error.errno != errno.EOPNOTSUPP
    return True


def set_xattrs(fd: int, xattrs: list[tuple[str, bytes]]) -> None:
    """Set extended attributes, as far as the file system of the target takes them."""
    for name, value in xattrs:
        try:
            os.setxattr(fd, name, value)
        except OSError as error:
            if error.errno not in (errno.EOPNOTSUPP, errno.EPERM):
                raise
