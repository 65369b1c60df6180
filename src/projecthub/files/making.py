"""Making directories that are missing on the way to a file: each whole, with its owner, before it gets its name."""

from __future__ import annotations

import contextlib
import errno
import os
import stat

from projecthub.files.paths import rename_to_free
from projecthub.files.staging import StagingRun

KEPT_MODE = 0o1777
"""Of a mode, what is copied: set-user-id and set-group-id bits would give away the rights of another owner."""

MISSING_DIRECTORY_MODE = 0o755
"""Of directories that are made because they are missing."""
_MAX_RACES = 8


class Maker:
    """Makes directories for one change of a home."""

    def __init__(self, run: StagingRun, *, uid: int | None) -> None:
        """Make ready.

        Args:
            run: Where things are made.
            uid: Owner and group of what is made; None: the hub's own.
        """
        self._run = run
        self._uid = uid

    def make_missing(self, fd: int, names: tuple[str, ...]) -> int:
        """Make directories, each in the one before, and open the last one; the given one if there are no names.

        Raises:
            NotADirectoryError: A file or symlink is in the place of one.
        """
        fd = os.open(".", os.O_PATH | os.O_DIRECTORY, dir_fd=fd)
        for name in names:
            try:
                staged = self._run.make_directory()
                self.own(self._run.fd, staged)
                os.chmod(staged, MISSING_DIRECTORY_MODE, dir_fd=self._run.fd)
                self._place(staged, fd, name)
                inner = os.open(name, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=fd)
            finally:
                os.close(fd)
            fd = inner
        return fd

    def _place(self, staged: str, fd: int, name: str) -> None:
        """Rename a directory that was made to its place. One that has come into being there stays, and serves as well.

        Raises:
            NotADirectoryError: A file or symlink is there, and stays.
        """
        for _ in range(_MAX_RACES):
            try:
                rename_to_free(self._run.fd, staged, fd, name)
                return
            except FileExistsError:
                with contextlib.suppress(FileNotFoundError):
                    if stat.S_ISDIR(os.stat(name, dir_fd=fd, follow_symlinks=False).st_mode):
                        return
                    raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR)) from None
        raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN))

    def own(self, fd: int, name: str) -> None:
        """Give a directory that was made its owner."""
        if self._uid is not None:
            os.chown(name, self._uid, self._uid, dir_fd=fd, follow_symlinks=False)


def read_umask() -> int:
    """The mask of modes of this process, which can only be asked for by setting it: read from elsewhere."""
    try:
        with open("/proc/self/status", encoding="ascii", errors="replace") as file:
            for line in file:
                if line.startswith("Umask:"):
                    return int(line.split()[1], 8)
    except OSError:
        pass
    return 0o777  # every mode is then set explicitly
