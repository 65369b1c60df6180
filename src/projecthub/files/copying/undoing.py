"""Taking a copy back: what it displaced returns, what it made goes, unless it was changed since."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from projecthub.errors import Conflict
from projecthub.files.copying import plan_files, records
from projecthub.files.copying.commits import is_still, set_mode_of, steps_of
from projecthub.files.copying.manifests import SYMLINK
from projecthub.files.copying.plan_files import MAX_NAMED_PATHS, Plan, Row, rows_of
from projecthub.files.copying.policies import Action
from projecthub.files.copying.staged_targets import open_root
from projecthub.files.copying.states import status_at
from projecthub.files.failures import unwritable
from projecthub.files.paths import DIRECTORY as OPEN_DIRECTORY
from projecthub.files.paths import exchange, join, open_deep, rename_to_free, shown
from projecthub.files.plans import Course

_TAKEN = "taken"


@dataclass(slots=True, kw_only=True)
class UndoSummary:
    """What became of a copy that was taken back.

    Attributes:
        restored: Files that are as before the copy again.
        removed: Files that the copy had made, and that are gone.
        kept: Files that were changed since, and stay.
        kept_paths: The first 100 of them, relative to the home, for people.
    """

    restored: int = 0
    removed: int = 0
    kept: int = 0
    kept_paths: list[str] = field(default_factory=list)


def undo(record: Path, target_home: Path, *, course: Course) -> UndoSummary:
    """Take a copy back that was committed. Idempotent: one that was cut short goes on. Blocks: run it in a thread.

    Args:
        record: Its record.
        target_home: The home that it went into.
        course: Ends it early; then it can be called again.

    Raises:
        NotFound: There is no such record, or it was not committed.
        Conflict: The directory it went into is gone.
        HubError: The disk or the system does not let it come to its end.
        CopyCancelledError: The course was cancelled.
    """
    if (record / records.UNDONE).exists():
        return UndoSummary(**records.read_json(record / records.UNDONE))
    records.read_json(record / records.DONE)
    head = records.read_json(record / records.HEAD)
    try:
        (record / _TAKEN).mkdir(mode=0o700, exist_ok=True)
        try:
            root_fd = open_root(target_home, head["root"], head["identity"], head["path"])
        except Conflict as error:
            raise Conflict(f"'{shown(head['path'])}' is not what was copied to any more; nothing was undone") from error
        try:
            with contextlib.closing(_Undoing(record, root_fd, head["root"], head["uid"], course)) as undoing:
                undoing.run()
        finally:
            os.close(root_fd)
        records.write_json(record / records.UNDONE, asdict(undoing.summary))
    except OSError as error:
        raise unwritable(error, shown(head["path"])) from error
    return undoing.summary


class _Undoing:
    """One run. Paths are relative to the root of the plan."""

    def __init__(self, record: Path, root_fd: int, root: str, uid: int | None, course: Course) -> None:
        self._record = record
        self._root_fd = root_fd
        self._root = root
        self._uid = uid
        self._course = course
        self._opened = contextlib.ExitStack()
        self._new_fd, self._old_fd, self._taken_fd = (
            self._directory(record / name) for name in (records.NEW, records.OLD, _TAKEN)
        )
        self._emptied: set[tuple[str, str]] = set()  # places of directories that were removed
        self.summary = UndoSummary()

    def _directory(self, path: Path) -> int:
        fd = os.open(path, OPEN_DIRECTORY | os.O_NOFOLLOW)
        self._opened.callback(os.close, fd)
        return fd

    def close(self) -> None:
        self._opened.close()

    def run(self) -> None:
        removed = sorted(steps_of(self._record, "rmdir"), key=lambda step: step[2].count("/") + bool(step[2]))
        self._emptied = {(step[2], step[3]) for step in removed}
        for step in steps_of(self._record, "backup"):
            self._unback(*step[1:])
        for step in steps_of(self._record, "put"):
            self._unput(*step[1:])
        self._remove_trees()
        for step in steps_of(self._record, "mode"):
            self._unmode(*step[1:])
        for step in removed:
            self._remake(*step[1:])
        for step in steps_of(self._record, "delete"):
            self._undelete(*step[1:])
        for _, _, path, name, there, mtime_ns in reversed(removed):
            self._dress(join(path, name), there[5], mtime_ns)
        for deed in ("meta", "was"):
            for step in reversed(list(steps_of(self._record, deed))):
                self._dress(step[2], *step[-1])

    def _enter(self, opened: contextlib.ExitStack, path: str) -> int | None:
        self._course.check()
        try:
            fd = open_deep(self._root_fd, path, OPEN_DIRECTORY)
        except OSError as error:
            if error.errno not in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
                raise
            return None
        opened.callback(os.close, fd)
        if os.geteuid() != 0:
            with contextlib.suppress(OSError):
                os.fchmod(fd, os.fstat(fd).st_mode & 0o1777 | 0o700)
        return fd

    def _keep(self, path: str, name: str) -> None:
        self.summary.kept += 1
        if len(self.summary.kept_paths) < MAX_NAMED_PATHS:
            self.summary.kept_paths.append(shown(join(self._root, join(path, name))))

    def _unput(
        self, number: int, path: str, name: str, there: list[Any] | None, inode: int, size: int, mtime_ns: int, _: bool
    ) -> None:
        ours = [inode, mtime_ns, size]
        with contextlib.ExitStack() as opened:
            fd = self._enter(opened, path)
            if fd is None:
                return
            if there is not None:
                self._return(number, fd, path, name, ours)
            elif (path, name) not in self._emptied or not _is_directory(fd, name):  # it has returned already
                self._remove(f"{number}", fd, path, name, ours)

    def _unback(self, number: int, path: str, name: str, there: list[Any] | None, of: int) -> None:
        old = status_at(self._old_fd, str(of))
        if old is None:
            return
        ours = [old.st_ino, old.st_mtime_ns, old.st_size]
        with contextlib.ExitStack() as opened:
            fd = self._enter(opened, path)
            if fd is None:
                return
            if there is None:
                self._remove(f"{number}", fd, path, name, ours, is_counted=False)
            else:
                self._return(number, fd, path, name, ours)

    def _return(self, number: int, fd: int, path: str, name: str, ours: Sequence[int | None]) -> None:
        """Let what was replaced change places with what replaced it, if that is still as it was made."""
        old = status_at(self._old_fd, str(number))
        if old is None:  # it was kept by the copy, or has returned
            return
        if old.st_ino != ours[0]:
            status = status_at(fd, name)
            try:
                if status is None:
                    rename_to_free(self._old_fd, str(number), fd, name)
                    self.summary.restored += 1
                    return
                if not _is_ours(status, ours):
                    self._keep(path, name)
                    return
                exchange(self._old_fd, str(number), fd, name)
            except (FileNotFoundError, FileExistsError):
                self._keep(path, name)
                return
        out = os.stat(str(number), dir_fd=self._old_fd, follow_symlinks=False)
        if _is_ours(out, ours):
            os.unlink(str(number), dir_fd=self._old_fd)
            self.summary.restored += 1
            return
        with contextlib.suppress(FileNotFoundError):
            exchange(self._old_fd, str(number), fd, name)
        self._keep(path, name)

    def _remove(
        self, key: str, fd: int, path: str, name: str, ours: Sequence[int | None], *, is_counted: bool = True
    ) -> None:
        """Take away what the copy has made, if it is still as it was made."""
        if status_at(self._taken_fd, key) is None:
            status = status_at(fd, name)
            if status is None:
                return
            if not _is_ours(status, ours):
                self._keep(path, name)
                return
            try:
                os.rename(name, key, src_dir_fd=fd, dst_dir_fd=self._taken_fd)
            except FileNotFoundError:
                return
        taken = os.stat(key, dir_fd=self._taken_fd, follow_symlinks=False)
        if _is_ours(taken, ours):
            os.unlink(key, dir_fd=self._taken_fd)
            self.summary.removed += is_counted
            return
        with contextlib.suppress(FileExistsError):
            rename_to_free(self._taken_fd, key, fd, name)
        self._keep(path, name)

    def _remove_trees(self) -> None:
        """Take away the directories that the copy has made, with the files that it has made in them."""
        trees = {join(step[2], step[3]): step for step in steps_of(self._record, "tree")}
        if not trees:
            return
        fresh = {(step[2], step[3]): (step[4], step[5]) for step in steps_of(self._record, "fresh")}
        made: list[str] = []
        with Plan(self._record / records.PLAN) as plan:
            for part in plan.parts():
                if part["s"] in (plan_files.NEW, plan_files.IN_NEW):
                    if "d" in part:
                        made.append(part["p"])
                    self._empty(part["p"], part["n"], rows_of(part), fresh)
        for path in reversed(made):
            parent, _, name = path.rpartition("/")
            with contextlib.ExitStack() as opened:
                fd = self._enter(opened, parent)
                if fd is not None:
                    with contextlib.suppress(OSError):  # not empty: they have put something there
                        os.rmdir(name, dir_fd=fd)
                if fd is not None and path in trees and trees[path][4] is not None:
                    number = trees[path][1]
                    if status_at(self._old_fd, str(number)) is not None:
                        try:
                            rename_to_free(self._old_fd, str(number), fd, name)
                            self.summary.restored += 1
                        except FileExistsError:
                            self._keep(parent, name)

    def _empty(self, path: str, first: int, rows: list[Row], fresh: dict[tuple[str, str], tuple[int, int]]) -> None:
        with contextlib.ExitStack() as opened:
            fd = self._enter(opened, path)
            if fd is None:
                return
            for number, row in enumerate(rows, first):
                if row.action == Action.WRITE:
                    size, mtime_ns = fresh.get((path, row.name), (row.size, row.mtime_ns))
                    is_link = row.kind == SYMLINK
                    self._remove(f"t{number}", fd, path, row.name, [None, mtime_ns, None if is_link else size])

    def _unmode(self, _: int, path: str, name: str, there: list[Any], mode: int) -> None:
        with contextlib.ExitStack() as opened:
            fd = self._enter(opened, path)
            status = None if fd is None else status_at(fd, name)
            if (
                fd is not None
                and status is not None
                and stat.S_IMODE(status.st_mode) == mode
                and is_still(status, there)
            ):
                set_mode_of(fd, name, there[1], there[5])
                self.summary.restored += 1

    def _remake(self, _: int, path: str, name: str, there: list[Any], mtime_ns: int) -> None:
        with contextlib.ExitStack() as opened:
            fd = self._enter(opened, path)
            if fd is not None:
                with contextlib.suppress(FileExistsError):
                    os.mkdir(name, 0o700, dir_fd=fd)
                    if self._uid is not None:
                        os.chown(name, self._uid, self._uid, dir_fd=fd, follow_symlinks=False)

    def _undelete(self, number: int, path: str, name: str, there: list[Any], _: int) -> None:
        if status_at(self._old_fd, str(number)) is None:
            return
        with contextlib.ExitStack() as opened:
            fd = self._enter(opened, path)
            try:
                if fd is None:
                    raise FileExistsError
                rename_to_free(self._old_fd, str(number), fd, name)
                self.summary.restored += 1
            except FileExistsError:
                self._keep(path, name)

    def _dress(self, path: str, mode: int, mtime_ns: int) -> None:
        with contextlib.ExitStack() as opened:
            fd = self._enter(opened, path)
            if fd is not None:
                with contextlib.suppress(PermissionError):
                    os.fchmod(fd, mode)
                    os.utime(fd, ns=(mtime_ns, mtime_ns))


def _is_directory(fd: int, name: str) -> bool:
    status = status_at(fd, name)
    return status is not None and stat.S_ISDIR(status.st_mode)


def _is_ours(status: os.stat_result, ours: Sequence[int | None]) -> bool:
    """Whether something is as the copy made it, as far as inode, time and size are known."""
    known = (status.st_ino, status.st_mtime_ns, status.st_size)
    return not stat.S_ISDIR(status.st_mode) and all(
        mine is None or mine == one for mine, one in zip(ours, known, strict=True)
    )
