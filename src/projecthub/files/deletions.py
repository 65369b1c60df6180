"""Deleting from a target what its source does not have."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Callable, Iterator

from projecthub.files.excludes import Excludes
from projecthub.files.making import Maker
from projecthub.files.paths import DIRECTORY, PendingDirectories, join
from projecthub.files.plans import Course
from projecthub.files.staging import StagingRun

_HOLD = os.O_PATH | os.O_DIRECTORY


class Deleter:
    """Deletes for one copy. Paths are relative to the copied directory."""

    def __init__(
        self,
        run: StagingRun,
        maker: Maker,
        course: Course,
        excludes: Excludes,
        *,
        backup: bool,
        open_target: Callable[[str, int], int],
        keep: Callable[[int, str, os.stat_result], None],
        fail: Callable[[OSError, str], None],
    ) -> None:
        """Make ready.

        Args:
            run: Where directories go to die.
            maker: Keeps backups.
            course: Ends the work, and counts it.
            excludes: What stays, whatever the source has.
            backup: Whether files are kept as ``name~``; what already ends in ``~`` stays.
            open_target: Opens a path of the target with given flags, without following symlinks.
            keep: Called with a directory, the path of what is about to be deleted from it, and its status.
            fail: Told of what cannot be deleted; the rest is.
        """
        self._run = run
        self._maker = maker
        self._course = course
        self._excludes = excludes
        self._backup = backup
        self._open_target = open_target
        self._keep = keep
        self._fail = fail

    def delete_missing(self, path: str, source_fd: int, fd: int) -> None:
        """Delete from the directory ``fd`` at ``path`` all that is not in the directory ``source_fd``."""
        with os.scandir(fd) as entries:
            for entry in entries:
                self._course.check()
                is_directory = entry.is_dir(follow_symlinks=False)
                if self._stays(path, entry.name, is_directory=is_directory) or not _is_missing(source_fd, entry.name):
                    continue
                with self._told(join(path, entry.name)):
                    self.delete(path, fd, entry.name, is_directory=is_directory)

    def delete(self, parent: str, fd: int, name: str, *, is_directory: bool) -> None:
        """Delete ``name`` from the directory ``fd`` at ``parent``, but for what has to stay."""
        if is_directory and (self._backup or self._excludes):
            self._delete_by_rules(parent, name)
            return
        self._keep(fd, join(parent, name), os.stat(name, dir_fd=fd, follow_symlinks=False))
        if not is_directory:
            self._maker.drop(fd, name)
            self._course.tally.deleted += 1
        else:
            self._course.tally.deleted += self._run.discard(fd, name)

    def _delete_by_rules(self, parent: str, name: str) -> None:
        """Delete what may be deleted of a directory, entry by entry, and then the directories that are empty."""
        visited: list[tuple[str, str]] = []
        pending = PendingDirectories(parent, name)
        for above, here in pending:
            path = join(above, here)
            with self._told(path):
                fd = self._open_target(path, DIRECTORY)
                visited.append((above, here))
                try:
                    pending.add(path, self._delete_files(path, fd))
                finally:
                    os.close(fd)
        for above, here in reversed(visited):
            with self._told(join(above, here)):
                self._remove_if_empty(above, here)

    def _remove_if_empty(self, parent: str, name: str) -> None:
        fd = self._open_target(parent, _HOLD)
        try:
            os.rmdir(name, dir_fd=fd)
            self._course.tally.deleted += 1
        except OSError as error:
            if error.errno != errno.ENOTEMPTY:
                raise
        finally:
            os.close(fd)

    def _delete_files(self, path: str, fd: int) -> list[str]:
        directories: list[str] = []
        with os.scandir(fd) as entries:
            for entry in entries:
                self._course.check()
                is_directory = entry.is_dir(follow_symlinks=False)
                if self._stays(path, entry.name, is_directory=is_directory):
                    continue
                if is_directory:
                    directories.append(entry.name)
                    continue
                with self._told(join(path, entry.name)):
                    self.delete(path, fd, entry.name, is_directory=False)
        return directories

    @contextlib.contextmanager
    def _told(self, path: str) -> Iterator[None]:
        """What fails in here is told, and the rest goes on; what is gone already is as good as deleted."""
        try:
            yield
        except FileNotFoundError:
            pass
        except OSError as error:
            self._fail(error, path)

    def _stays(self, path: str, name: str, *, is_directory: bool) -> bool:
        if self._backup and name.endswith("~"):
            return True
        return bool(self._excludes) and self._excludes.match(join(path, name), is_directory=is_directory)


def _is_missing(directory_fd: int, name: str) -> bool:
    try:
        os.stat(name, dir_fd=directory_fd, follow_symlinks=False)
    except FileNotFoundError:
        return True
    return False
