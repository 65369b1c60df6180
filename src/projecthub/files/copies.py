"""Copies of files and directories between homes, safe against whatever runs in them meanwhile.

Every directory is opened beneath its home without following symlinks. A file is made whole in the staging directory of
the target and then renamed to its place. A directory that the target does not have is made there with all that is in
it, and renamed once. The number of open files does not depend on what is copied.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from projecthub.errors import InvalidArgument, LimitError
from projecthub.files.deletions import Deleter
from projecthub.files.ends import Source, Target, open_source, open_target
from projecthub.files.excludes import Excludes
from projecthub.files.failures import unreadable, unwritable
from projecthub.files.making import KEPT_MODE, Maker, UnreadableError
from projecthub.files.paths import (
    DIRECTORY,
    PendingDirectories,
    is_within,
    join,
    open_beneath,
    same,
    set_mode,
    shown,
    split,
)
from projecthub.files.plans import CopyOptions, CopySummary, Course, Deed, decide
from projecthub.files.staging import StagingRun

_FULL_ACCESS = 0o700
_VANISHED = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP})
"""What opening a directory answers that was there a moment before, and is gone or another thing by now."""


def copy_path(
    *,
    source_home: Path,
    source_path: str,
    target_home: Path,
    target_path: str,
    staging: Path,
    options: CopyOptions,
    uid: int | None,
    course: Course,
) -> CopySummary:
    """Copy a path of one home to a path of another, or of the same. Blocks: run it in a thread.

    Args:
        source_home: Where ``source_path`` is; nothing outside of it is read.
        source_path: A file, a symlink, or a directory whose contents are copied.
        target_home: Where ``target_path`` is; nothing outside of it is changed.
        target_path: What the copy will be, or for a file also the directory it lands in.
        staging: The staging directory of the target.
        options: How to copy.
        uid: Owner and group of what is made; None: the hub's own.
        course: Ends the copy early, and keeps the account.

    Raises:
        HubError: As `Homes.copy <projecthub.files.Homes.copy>` says.
        CopyCancelledError: The course was cancelled.
    """
    excludes = Excludes(options.exclude)
    try:
        with contextlib.ExitStack() as opened:
            source_fd = opened.enter_context(_closing(_open_home(source_home)))
            target_fd = opened.enter_context(_closing(_open_home(target_home)))
            source = open_source(source_fd, source_path)
            opened.callback(os.close, source.fd)
            target = open_target(target_fd, target_path, source.name)
            opened.callback(os.close, target.fd)
            home = os.fstat(target_fd)
            if source.name is None and same(os.fstat(source_fd), home) and _overlap(source, target, home, options):
                return course.end()
            run = StagingRun(staging)
            opened.callback(run.close)
            maker = Maker(run, course, uid=uid, backup=options.backup)
            root_fd = opened.enter_context(_closing(maker.make_missing(target.fd, target.missing)))
            _Copy(source, target, root_fd, home, run, maker, excludes, options, course).run()
            return course.end()
    except OSError as error:
        raise unwritable(error, shown(target_path)) from error


def _open_home(home: Path) -> int:
    try:
        return os.open(home, DIRECTORY | os.O_NOFOLLOW)
    except OSError as error:
        raise unreadable(error, "the home of the project") from error


@contextlib.contextmanager
def _closing(fd: int) -> Iterator[int]:
    try:
        yield fd
    finally:
        os.close(fd)


def _overlap(source: Source, target: Target, home: os.stat_result, options: CopyOptions) -> bool:
    """Whether source and target are one and the same directory of a home, so that there is nothing to do.

    Raises:
        InvalidArgument: One contains the other in a way that can come to no good end.
    """
    source_status, target_status = os.fstat(source.fd), os.fstat(target.fd)
    if target.name is None and same(source_status, target_status):
        return True
    if is_within(target.fd, source_status, home):
        raise _into_itself(shown(join(target.path, target.name or "")))
    if target.name is None and options.delete_missing and is_within(source.fd, target_status, home):
        raise InvalidArgument(
            f"delete_missing would delete the source '{shown(source.path)}', which lies inside of "
            f"'{shown(target.path)}': choose another target path"
        )
    return False


def _into_itself(path: str) -> InvalidArgument:
    return InvalidArgument(
        f"cannot copy a directory into itself: '{path}' lies inside of the source; choose another target path"
    )


class _Copy:
    """One run. A path without further word is relative to the copied directory, the same on both sides."""

    def __init__(
        self,
        source: Source,
        target: Target,
        root_fd: int,
        home: os.stat_result,
        run: StagingRun,
        maker: Maker,
        excludes: Excludes,
        options: CopyOptions,
        course: Course,
    ) -> None:
        self._source = source
        self._target = target
        self._root_fd = root_fd
        self._root = os.fstat(root_fd)
        self._prefix = target.name or "" if source.name is None else ""  # from `root_fd` to the copied directory
        self._home = home
        self._run = run
        self._maker = maker
        self._excludes = excludes
        self._options = options
        self._course = course
        self._deleter = Deleter(
            run,
            maker,
            course,
            excludes,
            backup=options.backup,
            open_target=self._open_target,
            keep=self._keep,
            fail=self._fail,
        )
        self._is_bounded = os.geteuid() != 0  # by the modes of directories
        self._late_modes: list[tuple[str, int]] = []

    def run(self) -> None:
        """Copy; what could not be copied is left with the course."""
        try:
            if self._source.name is not None:
                self._copy_file(self._source.name, self._target.name or self._source.name)
            elif not self._prefix or self._plant_top():
                self._merge()
        finally:
            for path, mode in reversed(self._late_modes):
                with contextlib.suppress(OSError), _closing(self._open_target(path, DIRECTORY)) as fd:
                    os.fchmod(fd, mode)

    def _copy_file(self, name: str, new_name: str) -> None:
        if self._excludes and self._excludes.match(name, is_directory=False):
            return
        try:
            self._put(self._source.fd, name, self._root_fd, new_name)
        except OSError as error:
            self._fail(error, new_name)

    def _plant_top(self) -> bool:
        try:
            return self._plant("", self._root_fd, self._prefix)
        except OSError as error:
            self._fail(error, "")
            return False

    def _merge(self) -> None:
        """Bring the contents of the source into a directory that exists, one directory after the other."""
        pending = PendingDirectories()
        for parent, name in pending:
            path = join(parent, name)
            source_fd = self._open_source(path)
            if source_fd is None:
                continue
            with _closing(source_fd):
                try:
                    with _closing(self._open_target(path, DIRECTORY)) as fd:
                        pending.add(path, self._merge_directory(path, source_fd, fd))
                except OSError as error:
                    self._fail(error, path)

    def _merge_directory(self, path: str, source_fd: int, fd: int) -> list[str]:
        """Merge one directory; tells which directories in it have to be merged too."""
        status, target_status = os.fstat(source_fd), os.fstat(fd)
        if self._is_root(status, path):
            return []
        is_home = same(target_status, self._home)
        if self._is_bounded and not is_home and target_status.st_mode & _FULL_ACCESS != _FULL_ACCESS:
            os.fchmod(fd, target_status.st_mode & KEPT_MODE | _FULL_ACCESS)
        below: list[str] = []
        for entry in self._entries(source_fd, path):
            name = entry.name
            try:
                if not entry.is_dir(follow_symlinks=False):
                    self._put(source_fd, name, fd, join(path, name))
                elif _is_directory(fd, name) or self._plant(join(path, name), fd, name):
                    below.append(name)
            except OSError as error:
                self._fail(error, join(path, name))
        if self._options.delete_missing:
            self._deleter.delete_missing(path, source_fd, fd)
        if not is_home:  # whose mode keeps others out, whatever is copied into it
            self._finish(path, fd, status, fresh=False)
        return below

    def _plant(self, path: str, fd: int, name: str) -> bool:
        """Make the directory ``path`` of the source anew, with all that is in it, as ``name`` in ``fd``.

        If the copy is ended on the way, what there is by then gets its place.

        Returns:
            Whether another one has come into being there meanwhile, so that they have to be merged.
        """
        before = replace(self._course.tally)
        staged = self._run.make_directory()
        self._maker.own(self._run.fd, staged)
        try:
            self._build(path, staged)
        finally:
            is_placed = self._maker.place_directory(staged, fd, name)
        if not is_placed:
            self._course.tally = before
            self._run.discard(self._run.fd, staged)
        elif self._course.keeper is not None:
            self._course.keeper.changed(self._in_home(path))
        return not is_placed

    def _build(self, path: str, staged: str) -> None:
        pending = PendingDirectories()
        for parent, name in pending:
            inner = join(parent, name)
            source_path = join(path, inner)
            source_fd = self._open_source(source_path)
            if source_fd is None:
                continue
            with _closing(source_fd):
                try:
                    with _closing(os.open(join(staged, inner), DIRECTORY, dir_fd=self._run.fd)) as fd:
                        pending.add(inner, self._build_directory(source_path, source_fd, fd))
                except OSError as error:
                    self._fail(error, source_path)

    def _build_directory(self, path: str, source_fd: int, fd: int) -> list[str]:
        status = os.fstat(source_fd)
        if self._is_root(status, path):
            return []
        below: list[str] = []
        tally = self._course.tally
        for entry in self._entries(source_fd, path):
            name = entry.name
            try:
                if entry.is_dir(follow_symlinks=False):
                    os.mkdir(name, _FULL_ACCESS, dir_fd=fd)
                    self._maker.own(fd, name)  # now: a copy may be ended before it is finished
                    below.append(name)
                    continue
                size = self._maker.make(source_fd, name, fd, name, is_link=entry.is_symlink())
                if size is not None:
                    tally.files += 1
                    tally.bytes += size
            except UnreadableError as error:
                self._fail_to_read(error, join(path, name))
            except OSError as error:
                self._fail(error, join(path, name))
        self._finish(path, fd, status, fresh=True)
        return below

    def _put(self, source_fd: int, name: str, fd: int, path: str) -> None:
        """Bring ``name`` of the source, no directory, to ``path``, whose directory is ``fd``, if it has to be."""
        tally = self._course.tally
        parent, new_name = split(path)
        source, target = _status(source_fd, name), _status(fd, new_name)
        if source is None:
            return
        is_link = stat.S_ISLNK(source.st_mode)
        if not is_link and not stat.S_ISREG(source.st_mode):
            tally.skipped += 1
            return
        deed = decide(source, target, self._options)
        if deed is Deed.KEEP_NEWER:
            tally.keep_newer(self._shown(path))
        elif deed is Deed.LEAVE or (deed is Deed.COMPARE_LINKS and _say_the_same(source_fd, name, fd, new_name)):
            tally.unchanged += 1
            if target is not None and not is_link and (source.st_mode ^ target.st_mode) & KEPT_MODE:
                set_mode(fd, new_name, source.st_mode & KEPT_MODE)
        else:
            try:
                self._write(source_fd, name, fd, path, target, is_link=is_link)
            except UnreadableError as error:
                self._fail_to_read(error, join(parent, name))

    def _write(
        self, source_fd: int, name: str, fd: int, path: str, target: os.stat_result | None, *, is_link: bool
    ) -> None:
        staged = self._run.fresh_name()
        size = self._maker.make(source_fd, name, self._run.fd, staged, is_link=is_link)
        if size is None:
            return
        parent, new_name = split(path)
        try:
            if target is not None and stat.S_ISDIR(target.st_mode):
                self._clear(fd, parent, new_name)
            elif target is not None:
                self._keep(fd, path, target)
                if self._options.backup:
                    self._maker.back_up(fd, new_name)
            self._maker.place(staged, fd, new_name)
        except BaseException:
            os.unlink(staged, dir_fd=self._run.fd)
            raise
        if self._course.keeper is not None:
            self._course.keeper.changed(self._in_home(path))
        self._course.tally.files += 1
        self._course.tally.bytes += size

    def _clear(self, fd: int, parent: str, name: str) -> None:
        """Remove a directory where a file has to go: an empty one, or any with ``delete_missing``."""
        try:
            os.rmdir(name, dir_fd=fd)
        except OSError as error:
            if error.errno != errno.ENOTEMPTY or not self._options.delete_missing:
                raise
            self._deleter.delete(parent, fd, name, is_directory=True)

    def _finish(self, path: str, fd: int, status: os.stat_result, *, fresh: bool) -> None:
        extra_mode = 0
        if self._is_bounded and status.st_mode & _FULL_ACCESS != _FULL_ACCESS:
            extra_mode = _FULL_ACCESS  # until there is nothing more to do in it
            self._late_modes.append((path, status.st_mode & KEPT_MODE))
        self._maker.dress(fd, status, fresh=fresh, extra_mode=extra_mode)

    def _entries(self, directory_fd: int, path: str) -> Iterator[os.DirEntry[str]]:
        """What a directory of the source holds, without what is excluded and what cannot be copied."""
        check, excludes = self._course.check, self._excludes
        with os.scandir(directory_fd) as entries:
            for entry in entries:
                check()
                is_directory = entry.is_dir(follow_symlinks=False)
                if excludes and excludes.match(join(path, entry.name), is_directory=is_directory):
                    continue
                if is_directory or entry.is_file(follow_symlinks=False) or entry.is_symlink():
                    yield entry
                else:
                    self._course.tally.skipped += 1

    def _is_root(self, status: os.stat_result, path: str) -> bool:
        """Whether a directory of the source is where the copy goes: one that was moved there on the way."""
        if not same(status, self._root):
            return False
        self._course.fail(_into_itself(self._shown(path)))
        return True

    def _open_source(self, path: str) -> int | None:
        try:
            return open_beneath(self._source.fd, path, DIRECTORY, follow=False)
        except OSError as error:
            if error.errno not in _VANISHED:
                self._course.fail(unreadable(error, shown(join(self._source.path, path))))
            return None

    def _open_target(self, path: str, flags: int) -> int:
        return open_beneath(self._root_fd, join(self._prefix, path), flags, follow=False)

    def _fail_to_read(self, error: UnreadableError, path: str) -> None:
        cause = error.__cause__
        assert isinstance(cause, OSError)
        self._course.fail(unreadable(cause, shown(join(self._source.path, path))))

    def _fail(self, error: OSError, path: str) -> None:
        failure = unwritable(error, self._shown(path))
        if isinstance(failure, LimitError):  # which the next file would meet as well
            raise LimitError(f"{failure.message}; {self._course.tally} were copied and are whole") from error
        self._course.fail(failure)

    def _keep(self, fd: int, path: str, status: os.stat_result) -> None:
        """Keep for its history what is about to be replaced or deleted, in the directory ``fd``."""
        keeper = self._course.keeper
        if keeper is None:
            return
        name = split(path)[1]
        if stat.S_ISDIR(status.st_mode):
            keeper.replaced_directory(fd, name, self._in_home(path))
        else:
            keeper.replaced(fd, name, self._in_home(path), status, lives_on=self._options.backup)

    def _shown(self, path: str) -> str:
        """A path in the target, relative to its home, for people."""
        return shown(self._in_home(path))

    def _in_home(self, path: str) -> str:
        return join(self._target.path, join(self._prefix, path))


def _status(directory_fd: int, name: str) -> os.stat_result | None:
    try:
        return os.stat(name, dir_fd=directory_fd, follow_symlinks=False)
    except FileNotFoundError:
        return None


def _is_directory(directory_fd: int, name: str) -> bool:
    status = _status(directory_fd, name)
    return status is not None and stat.S_ISDIR(status.st_mode)


def _say_the_same(source_fd: int, name: str, fd: int, new_name: str) -> bool:
    try:
        return os.readlink(name, dir_fd=source_fd) == os.readlink(new_name, dir_fd=fd)
    except OSError:
        return False
