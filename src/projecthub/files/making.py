"""Making things in a target: whole in the staging directory, with owner, mode and times, then renamed into place."""

from __future__ import annotations

import contextlib
import errno
import os
import stat

from projecthub.files.contents import Contents
from projecthub.files.paths import rename_to_free
from projecthub.files.plans import Course
from projecthub.files.staging import StagingRun

KEPT_MODE = 0o1777
"""Of a mode, what is copied: set-user-id and set-group-id bits would give away the rights of another owner."""

_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
_MISSING_DIRECTORY_MODE = 0o755
_MAX_RACES = 8
_BLOCK_BYTES = 512
_VANISHED = frozenset({errno.ENOENT, errno.ELOOP, errno.ENXIO})
"""What opening a file answers that was there when its directory was read, and is gone or another thing by now."""


class UnreadableError(Exception):
    """Something of the source cannot be opened; the cause says why."""


class Maker:
    """Makes files, links and directories for one copy."""

    def __init__(self, run: StagingRun, course: Course, *, uid: int | None, backup: bool) -> None:
        """Make ready.

        Args:
            run: Where things are made.
            course: Ends the work, and counts it.
            uid: Owner and group of what is made; None: the hub's own.
            backup: Keep a file that is replaced as ``name~``.
        """
        self._run = run
        self._course = course
        self._contents = Contents(course.check)
        self._uid = uid
        self._backup = backup

    def make(self, source_fd: int, name: str, fd: int, new_name: str, *, is_link: bool) -> int | None:
        """Make a copy of a file or symlink under a name that is free.

        Returns:
            Its size in bytes, 0 for a symlink; None if it is no such thing any more, and nothing was made.

        Raises:
            UnreadableError: It cannot be opened.
            LimitError: There is no room for it; nothing was made.
            OSError: It cannot be copied; nothing was made.
        """
        if is_link:
            return self._make_link(source_fd, name, fd, new_name)
        try:
            source = os.open(name, _READ, dir_fd=source_fd)
        except OSError as error:
            if error.errno in _VANISHED:
                return None
            raise UnreadableError from error
        try:
            status = os.fstat(source)
            if not stat.S_ISREG(status.st_mode):
                self._course.tally.skipped += 1
                return None
            self._course.charge(status.st_blocks * _BLOCK_BYTES)
            target = os.open(new_name, _CREATE, 0o600, dir_fd=fd)
            try:
                self._contents.copy(source, target, status)
                self.dress(target, status)
            except BaseException:
                os.unlink(new_name, dir_fd=fd)
                raise
            finally:
                os.close(target)
        finally:
            os.close(source)
        return status.st_size

    def _make_link(self, source_fd: int, name: str, fd: int, new_name: str) -> int | None:
        try:
            text = os.readlink(name, dir_fd=source_fd)
            status = os.stat(name, dir_fd=source_fd, follow_symlinks=False)
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.EINVAL):
                return None
            raise UnreadableError from error
        os.symlink(text, new_name, dir_fd=fd)
        if self._uid is not None:
            os.chown(new_name, self._uid, self._uid, dir_fd=fd, follow_symlinks=False)
        os.utime(new_name, ns=(status.st_atime_ns, status.st_mtime_ns), dir_fd=fd, follow_symlinks=False)
        return 0

    def dress(self, fd: int, status: os.stat_result, *, fresh: bool = True, extra_mode: int = 0) -> None:
        """Give a file or directory, in which nothing will change any more, what its source has.

        Args:
            fd: The file or directory.
            status: Of its source.
            fresh: Whether it was made by this copy, and so gets its owner.
            extra_mode: Bits of the mode to leave on for now.
        """
        if fresh and self._uid is not None:
            os.fchown(fd, self._uid, self._uid)
        os.fchmod(fd, status.st_mode & KEPT_MODE | extra_mode)
        os.utime(fd, ns=(status.st_atime_ns, status.st_mtime_ns))

    def place(self, staged: str, fd: int, name: str) -> None:
        """Rename what was made to its place; a file or symlink that is there goes."""
        os.rename(staged, name, src_dir_fd=self._run.fd, dst_dir_fd=fd)

    def place_directory(self, staged: str, fd: int, name: str, *, replaces: bool = True) -> bool:
        """Rename a directory that was made to its place; a file or symlink that is there goes if it ``replaces`` those.

        A directory that is there never goes, not even an empty one: another copy may have just made it, and be about
        to fill it.

        Returns:
            Whether it has got there; False if a directory has come into being there.

        Raises:
            NotADirectoryError: A file or symlink is there, and stays.
        """
        for _ in range(_MAX_RACES):
            try:
                rename_to_free(self._run.fd, staged, fd, name)
                return True
            except FileExistsError:
                with contextlib.suppress(FileNotFoundError):
                    if stat.S_ISDIR(os.stat(name, dir_fd=fd, follow_symlinks=False).st_mode):
                        return False
                    if not replaces:
                        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR)) from None
                    self.drop(fd, name)
        raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN))

    def drop(self, fd: int, name: str) -> None:
        """Delete a file or symlink, or make it ``name~`` where copies keep a backup."""
        if self._backup:
            self.back_up(fd, name)
        os.unlink(name, dir_fd=fd)

    def back_up(self, fd: int, name: str) -> None:
        """Give a file its second name ``name~``, so that there is no moment without a first one."""
        spare = self._run.fresh_name()
        os.link(name, spare, src_dir_fd=fd, dst_dir_fd=self._run.fd, follow_symlinks=False)
        os.rename(spare, f"{name}~", src_dir_fd=self._run.fd, dst_dir_fd=fd)
        self._course.tally.backed_up += 1

    def make_missing(self, fd: int, names: tuple[str, ...], *, replaces: bool = True) -> int:
        """Make directories, each in the one before, and open the last one; the given one if there are no names.

        Raises:
            NotADirectoryError: A file or symlink is in the place of one, and not to be replaced.
        """
        fd = os.open(".", os.O_PATH | os.O_DIRECTORY, dir_fd=fd)
        for name in names:
            try:
                staged = self._run.make_directory()
                self._open_to_others(staged)
                self.place_directory(staged, fd, name, replaces=replaces)
                inner = os.open(name, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=fd)
            finally:
                os.close(fd)
            fd = inner
        return fd

    def own(self, fd: int, name: str) -> None:
        """Give a directory that this copy has made its owner."""
        if self._uid is not None:
            os.chown(name, self._uid, self._uid, dir_fd=fd, follow_symlinks=False)

    def _open_to_others(self, staged: str) -> None:
        self.own(self._run.fd, staged)
        os.chmod(staged, _MISSING_DIRECTORY_MODE, dir_fd=self._run.fd)
