"""Putting what was made ready into its place, in steps that can be told from the disk and taken again.

What is replaced changes places with what replaces it, and is looked at then: if it is not what the plan saw, they
change back, and theirs stays.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import stat
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from projecthub.files.copying import records
from projecthub.files.copying.plan_files import MAX_NAMED_PATHS
from projecthub.files.copying.states import identity, status_at
from projecthub.files.making import KEPT_MODE
from projecthub.files.paths import DIRECTORY as OPEN_DIRECTORY
from projecthub.files.paths import PendingDirectories, exchange, join, open_deep, rename_to_free, shown

_OWNER = 0o700
_NO_EXCHANGE = frozenset({errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP})
_CHANGED = frozenset(
    {
        errno.EACCES,
        errno.EAGAIN,
        errno.EBUSY,
        errno.EEXIST,
        errno.EINVAL,
        errno.EISDIR,
        errno.ELOOP,
        errno.ENAMETOOLONG,
        errno.ENOENT,
        errno.ENOTDIR,
        errno.ENOTEMPTY,
        errno.EPERM,
        errno.ESTALE,
        errno.EXDEV,
    }
)
"""Answers that come of what somebody does in the target at the same time, and not of the disk."""
_MAX_RACES = 8


class Commit:
    """Takes the steps of one record. Paths are relative to the root of the plan."""

    def __init__(self, record: Path, root_fd: int, root: str, uid: int | None) -> None:
        """Make ready; `close` ends it.

        Args:
            record: The record, staged.
            root_fd: The directory of the target that the plan is for.
            root: Its path in the home, for people.
            uid: Owner of what is made.
        """
        self._record = record
        self._root_fd = root_fd
        self._root = root
        self._uid = uid
        self._opened = contextlib.ExitStack()
        self._new_fd, self._old_fd, self._kept_fd = (
            self._directory(record / name) for name in (records.NEW, records.OLD, records.KEPT)
        )
        self._path: str | None = None
        self._fd = -1
        self._is_bounded = os.geteuid() != 0
        self.kept = 0
        self.kept_paths: list[str] = []
        self.files = self.bytes = self.deleted = self.backed_up = 0

    def _directory(self, path: Path) -> int:
        fd = os.open(path, OPEN_DIRECTORY | os.O_NOFOLLOW)
        self._opened.callback(os.close, fd)
        return fd

    def close(self) -> None:
        """Let go of all that is open."""
        self._leave()
        self._opened.close()

    def run(self) -> None:
        """Take all steps that were not taken yet.

        Raises:
            OSError: One cannot be taken for want of room or rights; those before it are taken.
        """
        deeds: dict[str, Callable[..., None]] = {  # in this order
            "delete": self._delete,
            "rmdir": self._rmdir,
            "tree": self._tree,
            "put": self._put,
            "mode": self._mode,
            "backup": self._back_up,
            "meta": self._meta,
        }
        there = deeds_of(self._record)
        for name, deed in deeds.items():
            if name not in there:
                continue
            steps: Iterable[list[Any]] = steps_of(self._record, name)
            if name in ("rmdir", "meta"):  # what is inside first
                steps = sorted(steps, key=lambda step: step[2].count("/") + bool(step[2]), reverse=True)
            for step in steps:
                self._take(deed, step)
        self._leave()

    def _take(self, deed: Callable[..., None], step: list[Any]) -> None:
        """Take one step. What changes under it again and again stays as it is, and is told."""
        for _ in range(_MAX_RACES):
            try:
                deed(*step[1:])
                return
            except OSError as error:
                self._leave()
                if error.errno not in _CHANGED:
                    raise
        if step[0] in ("put", "tree", "delete", "backup"):
            self._keep(step[1], step[2], step[3])

    def _enter(self, path: str) -> int | None:
        """The directory that steps are taken in; None: it is gone."""
        if path != self._path:
            self._leave()
            try:
                self._fd = open_deep(self._root_fd, path, OPEN_DIRECTORY)
            except OSError as error:
                if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
                    return None
                raise
            self._path = path
            self._make_writable()
        return self._fd

    def _make_writable(self) -> None:
        mode = os.fstat(self._fd).st_mode
        self._restored_mode = None
        if self._is_bounded and mode & _OWNER != _OWNER:
            with contextlib.suppress(OSError):
                os.fchmod(self._fd, mode & KEPT_MODE | _OWNER)
                self._restored_mode = mode & KEPT_MODE

    def _leave(self) -> None:
        if self._path is not None:
            if self._restored_mode is not None:
                with contextlib.suppress(OSError):
                    os.fchmod(self._fd, self._restored_mode)
            os.close(self._fd)
            self._path = None

    def _keep(self, number: int, path: str, name: str) -> None:
        """What they have made of it meanwhile stays; ours is put away."""
        with contextlib.suppress(FileNotFoundError):
            os.rename(str(number), str(number), src_dir_fd=self._new_fd, dst_dir_fd=self._kept_fd)
        self._told(path, name)

    def _told(self, path: str, name: str) -> None:
        self.kept += 1
        if len(self.kept_paths) < MAX_NAMED_PATHS:
            self.kept_paths.append(shown(join(self._root, join(path, name))))

    def _delete(self, number: int, path: str, name: str, there: list[Any], _: int) -> None:
        fd = self._enter(path)
        if fd is None:
            self.deleted += self._is_old(number)
            return
        if not self._is_old(number):
            status = status_at(fd, name)
            if status is None:
                return
            if not is_still(status, there):
                self._told(path, name)
                return
            with contextlib.suppress(FileNotFoundError):
                os.rename(name, str(number), src_dir_fd=fd, dst_dir_fd=self._old_fd)
        taken = status_at(self._old_fd, str(number))
        if taken is None:
            return
        if is_still(taken, there):
            self.deleted += 1
            return
        with contextlib.suppress(FileExistsError):
            rename_to_free(self._old_fd, str(number), fd, name)
        self._told(path, name)

    def _is_old(self, number: int) -> bool:
        return status_at(self._old_fd, str(number)) is not None

    def _rmdir(self, number: int, path: str, name: str, there: list[Any], _: int) -> None:
        fd = self._enter(path)
        if fd is None:  # the one it was in is removed too
            self.deleted += number > 0
            return
        status = status_at(fd, name)
        if status is not None:
            try:
                if not stat.S_ISDIR(status.st_mode) or status.st_ino != there[1]:
                    raise NotADirectoryError
                os.rmdir(name, dir_fd=fd)
            except OSError as error:
                if error.errno not in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR, None):
                    raise
                if number:
                    self._told(path, name)
                return
        self.deleted += number > 0

    def _put(
        self,
        number: int,
        path: str,
        name: str,
        there: list[Any] | None,
        inode: int,
        size: int,
        mtime_ns: int,
        is_link: bool,
    ) -> None:
        if status_at(self._kept_fd, str(number)) is not None:
            self._told(path, name)
            return
        if self._replace(number, path, name, there, inode):
            self.files += 1
            self.bytes += 0 if is_link else size
        else:
            self._keep(number, path, name)

    def _replace(self, number: int, path: str, name: str, there: list[Any] | None, inode: int) -> bool:
        """Bring ``new/number`` to its name; tells whether it is there, and not what has come there meanwhile."""
        staged = status_at(self._new_fd, str(number))
        if staged is None:
            return True
        fd = self._enter(path)
        if fd is None:
            return False
        if there is None:
            try:
                rename_to_free(self._new_fd, str(number), fd, name)
            except FileExistsError:
                return False
            return True
        if staged.st_ino == inode:
            status = status_at(fd, name)
            if status is None or not is_still(status, there):
                return status is None and self._replace(number, path, name, None, inode)
            try:
                exchange(self._new_fd, str(number), fd, name)
            except FileNotFoundError:
                return self._replace(number, path, name, None, inode)
            except OSError as error:
                if error.errno not in _NO_EXCHANGE:
                    raise
                return self._replace_in_two(number, fd, name, there)
        return self._look(number, fd, name, there, inode)

    def _look(self, number: int, fd: int, name: str, there: list[Any], inode: int) -> bool:
        """What came out has to be what the plan saw. If it is not, it goes back, the newest of theirs last."""
        for _ in range(_MAX_RACES):
            out = os.stat(str(number), dir_fd=self._new_fd, follow_symlinks=False)
            if out.st_ino == inode:
                return False
            if is_still(out, there):
                os.rename(str(number), str(number), src_dir_fd=self._new_fd, dst_dir_fd=self._old_fd)
                return True
            try:
                exchange(self._new_fd, str(number), fd, name)
            except FileNotFoundError:
                rename_to_free(self._new_fd, str(number), fd, name)
                return False
        return False

    def _replace_in_two(self, number: int, fd: int, name: str, there: list[Any]) -> bool:
        """The same where two names cannot change places: for a moment there is none."""
        if not self._is_old(number):
            os.rename(name, str(number), src_dir_fd=fd, dst_dir_fd=self._old_fd)
        try:
            if not is_still(os.stat(str(number), dir_fd=self._old_fd, follow_symlinks=False), there):
                rename_to_free(self._old_fd, str(number), fd, name)
                return False
            rename_to_free(self._new_fd, str(number), fd, name)
        except FileExistsError:
            return False
        return True

    def _tree(
        self, number: int, path: str, name: str, there: list[Any] | None, mode: int, files: int, size: int
    ) -> None:
        staged = status_at(self._new_fd, str(number))
        if staged is not None and stat.S_ISDIR(staged.st_mode):
            if not self._replace(number, path, name, there, staged.st_ino):
                kept = self._merge(number, path, name)
                files -= kept
        elif staged is not None and there is not None:  # killed between the exchange and the look
            fd = self._enter(path)
            ours = None if fd is None else status_at(fd, name)
            if fd is not None and ours is not None:
                self._look(number, fd, name, there, ours.st_ino)
        fd = self._enter(path)
        if fd is not None and mode & _OWNER != _OWNER:
            with contextlib.suppress(OSError):
                made = os.open(name, OPEN_DIRECTORY | os.O_NOFOLLOW, dir_fd=fd)
                try:
                    os.fchmod(made, mode)
                finally:
                    os.close(made)
        self.files += files
        self.bytes += size

    def _merge(self, number: int, path: str, name: str) -> int:
        """A directory has come into being where one was to be put: bring what was made into it, entry by entry.

        Returns:
            How many files have not got their place, because something has that already.
        """
        kept = 0
        where = join(path, name)
        pending = PendingDirectories("", str(number))
        for parent, inner in pending:
            staged = join(parent, inner)
            below = join(where, staged.partition("/")[2])
            with contextlib.ExitStack() as opened:
                staged_fd = open_deep(self._new_fd, staged, OPEN_DIRECTORY)
                opened.callback(os.close, staged_fd)
                try:
                    fd = open_deep(self._root_fd, below, OPEN_DIRECTORY)
                except OSError:
                    kept += self._count_files(staged_fd)
                    self._told(below, "")
                    continue
                opened.callback(os.close, fd)
                directories: list[str] = []
                for entry in os.listdir(staged_fd):  # noqa: PTH208
                    try:
                        rename_to_free(staged_fd, entry, fd, entry)
                    except FileExistsError:
                        status = os.stat(entry, dir_fd=staged_fd, follow_symlinks=False)
                        if stat.S_ISDIR(status.st_mode):
                            directories.append(entry)
                        else:
                            kept += 1
                            self._told(below, entry)
                pending.add(staged, directories)
        return kept

    def _count_files(self, fd: int) -> int:
        count = 0
        for name in os.listdir(fd):
            status = os.stat(name, dir_fd=fd, follow_symlinks=False)
            if stat.S_ISDIR(status.st_mode):
                inner = os.open(name, OPEN_DIRECTORY | os.O_NOFOLLOW, dir_fd=fd)
                try:
                    count += self._count_files(inner)
                finally:
                    os.close(inner)
            else:
                count += 1
        return count

    def _mode(self, _: int, path: str, name: str, there: list[Any], mode: int) -> None:
        fd = self._enter(path)
        if fd is None:
            return
        status = status_at(fd, name)
        if status is not None and status.st_ino == there[1] and stat.S_ISREG(status.st_mode):
            set_mode_of(fd, name, there[1], mode)

    def _back_up(self, number: int, path: str, name: str, there: list[Any] | None, of: int) -> None:
        fd = self._enter(path)
        old = status_at(self._old_fd, str(of))
        if fd is None or old is None:  # it was not displaced
            return
        status = status_at(fd, name)
        if status is None or status.st_ino != old.st_ino:
            if status_at(self._new_fd, str(number)) is None and not self._is_old(number):
                os.link(str(of), str(number), src_dir_fd=self._old_fd, dst_dir_fd=self._new_fd, follow_symlinks=False)
            if not self._replace(number, path, name, there, old.st_ino):
                self._keep(number, path, name)
                return
        self.backed_up += 1

    def _meta(self, _: int, path: str, mode: int, mtime_ns: int, was: list[int]) -> None:
        fd = self._enter(path)
        if fd is not None:
            with contextlib.suppress(PermissionError):
                self._restored_mode = None
                os.utime(fd, ns=(mtime_ns, mtime_ns))
                os.fchmod(fd, mode)


def deeds_of(record: Path) -> set[str]:
    """Of which kinds a record that is staged has steps."""
    with (record / records.STEPS).open("rb") as file:
        return {line[2 : line.index(b'"', 2)].decode() for line in file}


def steps_of(record: Path, deed: str) -> Iterator[list[Any]]:
    """The steps of one kind of a record that is staged."""
    begin = f'["{deed}",'.encode()
    with (record / records.STEPS).open("rb") as file:
        for line in file:
            if line.startswith(begin):
                yield json.loads(line)


def set_mode_of(fd: int, name: str, inode: int, mode: int) -> None:
    """Give a mode to a file if it is still the one with this inode."""
    opened = os.open(name, os.O_PATH | os.O_NOFOLLOW, dir_fd=fd)
    try:
        status = os.fstat(opened)
        if status.st_ino == inode and stat.S_ISREG(status.st_mode):
            os.chmod(f"/proc/self/fd/{opened}", mode)  # noqa: PTH101 - the descriptor itself cannot: it opens nothing
    finally:
        os.close(opened)


def is_still(status: os.stat_result, there: list[Any]) -> bool:
    """Whether something is as the plan saw it. Renaming and linking it do not count, and so its status may be newer."""
    kind, inode, mtime_ns, _, size, _ = identity(status)
    return [kind, inode, mtime_ns, size] == [there[0], there[1], there[2], there[4]]
