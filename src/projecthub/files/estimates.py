"""What a copy would add to its target and free there, told before anything is written."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from projecthub.files.ends import Source, Target, open_source, open_target
from projecthub.files.excludes import Excludes
from projecthub.files.failures import unreadable, unwritable
from projecthub.files.paths import DIRECTORY, PendingDirectories, join, open_beneath, shown
from projecthub.files.plans import CopyOptions, Course, Deed, decide

_BLOCK_BYTES = 512


@dataclass(slots=True)
class Estimate:
    """Bytes on disk.

    Attributes:
        added: Of what a copy would write.
        freed: Of what it would replace or delete for certain; what has another name is not freed.
    """

    added: int = 0
    freed: int = 0


def estimate_copy(
    *,
    source_home: Path,
    source_path: str,
    target_home: Path,
    target_path: str,
    options: CopyOptions,
    course: Course,
    plenty_bytes: int,
) -> Estimate:
    """Reckon up a copy. Changes nothing. Blocks: run it in a thread.

    All of the source is weighed first. Only if that is more than ``plenty_bytes`` it is compared with the target, which
    takes much longer: then it matters what is there already.

    Args:
        source_home: As `copy_path <projecthub.files.copies.copy_path>` has them, all of these.
        source_path: The same.
        target_home: The same.
        target_path: The same.
        options: The same.
        course: Ends it early.
        plenty_bytes: An estimate that is no larger may be too large.

    Raises:
        HubError: A path cannot be used, as `Homes.copy <projecthub.files.Homes.copy>` says.
        CopyCancelledError: The course was cancelled.
    """
    with contextlib.ExitStack() as opened:

        def closed(fd: int) -> int:
            opened.callback(os.close, fd)
            return fd

        try:
            source_fd = closed(os.open(source_home, DIRECTORY | os.O_NOFOLLOW))
            target_fd = closed(os.open(target_home, DIRECTORY | os.O_NOFOLLOW))
        except OSError as error:
            raise unreadable(error, "the home of the project") from error
        source = open_source(source_fd, source_path)
        closed(source.fd)
        target = open_target(target_fd, target_path, source.name)
        closed(target.fd)
        try:
            return _Estimating(source, target, options, course).run(plenty_bytes)
        except OSError as error:
            raise unwritable(error, shown(target_path)) from error


class _Estimating:
    """One run. What cannot be read is left out: it cannot be copied either."""

    def __init__(self, source: Source, target: Target, options: CopyOptions, course: Course) -> None:
        self._source = source
        self._target = target
        self._options = options
        self._course = course
        self._excludes = Excludes(options.exclude)
        self._estimate = Estimate()

    def run(self, plenty_bytes: int) -> Estimate:
        name = self._source.name
        if name is None:
            self._weigh_tree(None)
            if self._target.name is None and self._estimate.added > plenty_bytes:
                self._estimate = Estimate()
                self._weigh_tree(self._target.fd)
        elif not (self._excludes and self._excludes.match(name, is_directory=False)):
            with contextlib.suppress(FileNotFoundError):
                status = os.stat(name, dir_fd=self._source.fd, follow_symlinks=False)
                fd = None if self._target.missing else self._target.fd
                self._weigh(status, fd, self._target.name or name)
        return self._estimate

    def _weigh_tree(self, target_fd: int | None) -> None:
        """Weigh a directory that goes into the directory ``target_fd``, or is new."""
        pending = PendingDirectories()
        for parent, name in pending:
            path = join(parent, name)
            with _opened(self._source.fd, path) as source_fd:
                if source_fd is None:
                    continue
                with _opened(target_fd, path) as fd:
                    if fd is None:
                        pending.add(path, self._weigh_new(path, source_fd))
                    else:
                        pending.add(path, self._weigh_merged(path, source_fd, fd))

    def _weigh_new(self, path: str, source_fd: int) -> list[str]:
        """Weigh a directory with the files in it; tells which directories are in it."""
        below: list[str] = []
        check, excludes = self._course.check, self._excludes
        blocks = os.fstat(source_fd).st_blocks
        with os.scandir(source_fd) as entries:
            for entry in entries:
                check()
                is_directory = entry.is_dir(follow_symlinks=False)
                if excludes and excludes.match(join(path, entry.name), is_directory=is_directory):
                    continue
                if is_directory:
                    below.append(entry.name)
                elif entry.is_file(follow_symlinks=False) or entry.is_symlink():
                    try:
                        blocks += entry.stat(follow_symlinks=False).st_blocks
                    except OSError:  # gone meanwhile
                        continue
        self._estimate.added += blocks * _BLOCK_BYTES
        return below

    def _weigh_merged(self, path: str, source_fd: int, fd: int) -> list[str]:
        """Weigh the files of a directory against those in ``fd``; tells which directories are in it."""
        found: set[str] = set()
        below: list[str] = []
        with os.scandir(source_fd) as entries:
            for entry in entries:
                self._course.check()
                found.add(entry.name)
                is_directory = entry.is_dir(follow_symlinks=False)
                if self._is_excluded(path, entry.name, is_directory=is_directory):
                    continue
                if is_directory:
                    below.append(entry.name)
                    continue
                with contextlib.suppress(FileNotFoundError):
                    self._weigh(entry.stat(follow_symlinks=False), fd, entry.name)
        if self._options.delete_missing and not self._options.backup:
            self._weigh_missing(path, fd, found)
        return below

    def _weigh(self, source: os.stat_result, fd: int | None, name: str) -> None:
        """Weigh one entry, no directory, that would become ``name`` in ``fd`` if that is there."""
        if not stat.S_ISREG(source.st_mode) and not stat.S_ISLNK(source.st_mode):
            return
        target = None
        if fd is not None:
            with contextlib.suppress(FileNotFoundError):
                target = os.stat(name, dir_fd=fd, follow_symlinks=False)
        if decide(source, target, self._options) in (Deed.LEAVE, Deed.KEEP_NEWER):
            return
        self._estimate.added += source.st_blocks * _BLOCK_BYTES
        if target is not None and not self._options.backup:
            self._free(target)

    def _weigh_missing(self, path: str, fd: int, found: set[str]) -> None:
        """Weigh what ``delete_missing`` would delete of a directory."""
        pending = PendingDirectories()
        for parent, name in pending:
            inner = join(parent, name)
            with _opened(fd, inner) as here:
                if here is not None:
                    pending.add(inner, self._weigh_doomed(join(path, inner), here, set() if inner else found))

    def _weigh_doomed(self, path: str, fd: int, staying: set[str]) -> list[str]:
        below: list[str] = []
        with os.scandir(fd) as entries:
            for entry in entries:
                self._course.check()
                is_directory = entry.is_dir(follow_symlinks=False)
                if entry.name in staying or self._is_excluded(path, entry.name, is_directory=is_directory):
                    continue
                if is_directory:
                    below.append(entry.name)
                else:
                    with contextlib.suppress(FileNotFoundError):
                        self._free(entry.stat(follow_symlinks=False))
        return below

    def _free(self, status: os.stat_result) -> None:
        if not stat.S_ISDIR(status.st_mode) and status.st_nlink == 1:
            self._estimate.freed += status.st_blocks * _BLOCK_BYTES

    def _is_excluded(self, path: str, name: str, *, is_directory: bool) -> bool:
        return bool(self._excludes) and self._excludes.match(join(path, name), is_directory=is_directory)


@contextlib.contextmanager
def _opened(root_fd: int | None, path: str) -> Iterator[int | None]:
    """A directory beneath another one; None if there is none that can be read."""
    fd = None
    if root_fd is not None:
        with contextlib.suppress(OSError):
            fd = open_beneath(root_fd, path, DIRECTORY, follow=False)
    try:
        yield fd
    finally:
        if fd is not None:
            os.close(fd)
