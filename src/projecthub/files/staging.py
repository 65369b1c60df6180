"""Staging: where things of a project are made before they get their name, and go to when they lose it.

A staging directory lies beside a home, on the same file system, and is never visible inside of a project. Each run
has a directory of its own in it and holds a lock on that. A directory that nobody holds is left over from a run that
was killed, and goes with the next run.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import secrets
from collections.abc import Iterator
from pathlib import Path

from projecthub.files.paths import DIRECTORY, same, set_mode

_MAX_REFILLS = 100
_ANOTHER = frozenset({errno.EISDIR, errno.ENOENT, errno.ELOOP, errno.ENOTDIR})
"""What is answered where a process that still works in a directory has put another thing into the place of one. The
directory is not empty then, and is looked through again."""


class StagingRun:
    """A directory of its own in a staging directory, until it is closed. Not for several threads at once.

    Attributes:
        fd: The directory, open.
        name: Its name in the staging directory.
    """

    fd: int
    name: str

    def __init__(self, staging: Path) -> None:
        """Make the directory, and the staging directory too if it is missing. Remove what killed runs have left."""
        staging.mkdir(mode=0o700, exist_ok=True)
        self._last_name = 0
        self._staging_fd = os.open(staging, DIRECTORY | os.O_NOFOLLOW)
        try:
            self.name, self.fd = _make_held(self._staging_fd)
        except BaseException:
            os.close(self._staging_fd)
            raise
        with contextlib.suppress(OSError):  # leftovers cost space and nothing else: no reason to fail
            self._sweep()

    def fresh_name(self) -> str:
        """A name that is free in the directory."""
        self._last_name += 1
        return str(self._last_name)

    def make_directory(self) -> str:
        """Make an empty directory under a fresh name."""
        name = self.fresh_name()
        os.mkdir(name, 0o700, dir_fd=self.fd)
        return name

    def discard(self, directory_fd: int, name: str) -> int:
        """Make a directory vanish at once, with all that is in it, and then remove it.

        Returns:
            How many files and directories that were.
        """
        return self._remove(self._take(directory_fd, name))

    def discard_path(self, directory: Path) -> None:
        """Discard a directory by its path, which must be one that only the hub changes."""
        fd = os.open(directory.parent, DIRECTORY | os.O_NOFOLLOW)
        try:
            self.discard(fd, directory.name)
        finally:
            os.close(fd)

    def close(self) -> None:
        """Remove the directory with all that is in it, and let go of it. What resists is left to a later run."""
        try:
            with contextlib.suppress(OSError):
                for name in os.listdir(self.fd):  # noqa: PTH208 - a path cannot stand for a descriptor
                    try:
                        os.unlink(name, dir_fd=self.fd)
                    except IsADirectoryError:
                        self._remove(name)
                os.rmdir(self.name, dir_fd=self._staging_fd)
        finally:
            os.close(self.fd)
            os.close(self._staging_fd)

    def _sweep(self) -> None:
        for name in os.listdir(self._staging_fd):  # noqa: PTH208
            if name != self.name:
                with _held(self._staging_fd, name) as left_over:
                    if left_over:
                        self.discard(self._staging_fd, name)

    def _take(self, directory_fd: int, name: str) -> str:
        """Move a directory into the run, under a fresh name."""
        set_mode(directory_fd, name, 0o700)  # a plain user may not move a directory that he may not write to
        taken = self.fresh_name()
        os.rename(name, taken, src_dir_fd=directory_fd, dst_dir_fd=self.fd)
        return taken

    def _remove(self, name: str) -> int:
        """Remove a directory of the run.

        The directories in it are moved up before they are entered, so no depth is too deep and no path too long.
        """
        doomed = [name]
        count = refills = 0
        while doomed:
            name = doomed.pop()
            try:
                fd = os.open(name, DIRECTORY | os.O_NOFOLLOW, dir_fd=self.fd)
            except NotADirectoryError:  # it was another thing when it was taken
                os.unlink(name, dir_fd=self.fd)
                continue
            try:
                count += self._empty(fd, doomed)
            finally:
                os.close(fd)
            try:
                os.rmdir(name, dir_fd=self.fd)
                count += 1
            except OSError as error:  # a process that works in it may fill it again
                refills += 1
                if error.errno != errno.ENOTEMPTY or refills > _MAX_REFILLS:
                    raise
                doomed.append(name)
        return count

    def _empty(self, fd: int, doomed: list[str]) -> int:
        count = 0
        with os.scandir(fd) as entries:
            for entry in entries:
                try:
                    if entry.is_dir(follow_symlinks=False):
                        doomed.append(self._take(fd, entry.name))
                    else:
                        os.unlink(entry.name, dir_fd=fd)
                        count += 1
                except OSError as error:
                    if error.errno not in _ANOTHER:
                        raise
        return count


def is_empty(staging: Path) -> bool:
    """Whether no run, living or killed, has anything in a staging directory, or it does not exist."""
    try:
        with os.scandir(staging) as entries:
            return next(entries, None) is None
    except FileNotFoundError:
        return True


def sweep(staging: Path) -> None:
    """Remove what killed runs have left; what is of living ones stays."""
    if not is_empty(staging):
        StagingRun(staging).close()


def _make_held(staging_fd: int) -> tuple[str, int]:
    """Make a directory and lock it. Whoever removes leftovers may be quicker than the lock: then once more."""
    while True:
        name = secrets.token_hex(8)
        os.mkdir(name, 0o700, dir_fd=staging_fd)
        try:
            fd = os.open(name, DIRECTORY | os.O_NOFOLLOW, dir_fd=staging_fd)
        except FileNotFoundError:
            continue
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if same(os.fstat(fd), os.stat(name, dir_fd=staging_fd, follow_symlinks=False)):
                return name, fd
        except (BlockingIOError, FileNotFoundError):
            pass
        os.close(fd)


@contextlib.contextmanager
def _held(staging_fd: int, name: str) -> Iterator[bool]:
    """Lock a directory of a run; tells whether that was free."""
    try:
        fd = os.open(name, DIRECTORY | os.O_NOFOLLOW, dir_fd=staging_fd)
    except FileNotFoundError:
        yield False
        return
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True
    finally:
        os.close(fd)
