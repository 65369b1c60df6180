"""One plan under way: made ready beside its target, and put into place."""

from __future__ import annotations

import contextlib
import ctypes
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from projecthub.errors import HubError, NotFound
from projecthub.files.copying import records
from projecthub.files.copying.commits import Commit
from projecthub.files.copying.manifests import fields_of
from projecthub.files.copying.plan_files import MAX_NAMED_PATHS, Plan
from projecthub.files.copying.staged_targets import Staging, open_root
from projecthub.files.copying.staging import stage
from projecthub.files.copying.walking import End
from projecthub.files.failures import unwritable
from projecthub.files.paths import DIRECTORY, shown
from projecthub.files.plans import CopyOptions, CopySummary, Course

_FEW_FILES = 16
"""So many files are synced one by one; more, and the whole file system is, once."""


_READY = "all of the copy is made ready, and what is not in its place yet gets there as soon as that can be"


class Application:
    """One plan that is carried out in one target. Not for several threads at once.

    Attributes:
        record: Where it is made ready.
        target: Where it goes.
    """

    def __init__(
        self,
        record: Path,
        source: End,
        manifest: Path,
        target: End,
        plan: Path,
        *,
        uid: int | None,
        options: CopyOptions,
        course: Course,
    ) -> None:
        """Name what belongs to it; nothing is done yet.

        Args:
            record: Its record, as of `record_path`; one that is there and was never staged is made anew.
            source: Where files are copied from.
            manifest: What its walk has found.
            target: Where they go.
            plan: What is done.
            uid: Owner and group of what is made; None: the hub's own.
            options: As the plan was made with.
            course: Ends the staging, and keeps the account.
        """
        self.record = record
        self.source = source
        self.manifest = manifest
        self.target = target
        self.plan = plan
        self.uid = uid
        self.options = options
        self.course = course
        self._began = time.monotonic()

    @classmethod
    def resume(cls, record: Path, target_home: Path, *, course: Course | None = None) -> Application:
        """One that was staged by a process which was killed, or has ended.

        Raises:
            NotFound: There is no such record, or it was never staged.
        """
        if records.state_of(record) == "staging":
            raise NotFound("there is no record of this copy that was made ready")
        head = records.read_json(record / records.HEAD)
        end = End(target_home, head["path"])
        plan = record / records.PLAN
        return cls(record, end, plan, end, plan, uid=head["uid"], options=CopyOptions(), course=course or Course(None))

    def stage(self) -> None:
        """Make all new contents, beside the target. Blocks: run it in a thread.

        Raises:
            Conflict: The target has changed since the plan, or something is in the way.
            LimitError: There is no room.
            HubError: Something cannot be read or made. In all cases the target is as it was, and the record is gone.
            CopyCancelledError: The course was cancelled; the same holds.
        """
        failed = stage_many([self])
        if failed:
            raise failed[self]

    def sync(self) -> None:
        """Have what was made ready on the disk.

        Raises:
            HubError: The disk does not take it.
        """
        try:
            new = self.record / records.NEW
            names = os.listdir(new)  # noqa: PTH208
            is_small = len(names) <= _FEW_FILES and not any((new / name).is_dir() for name in names)
            if not is_small:
                sync_file_system(self.record)
                return
            files = [new / name for name in names if not (new / name).is_symlink()]
            files += [self.record / name for name in (records.STEPS, records.PLAN, records.HEAD)]
            _sync_few(self.record, files, [new, self.record, self.record.parent])
        except OSError as error:
            raise unwritable(error, shown(self.target.path)) from error

    def commit(self) -> CopySummary:
        """Put what was made ready into its place. Idempotent. Blocks: run it in a thread.

        Raises:
            Conflict: The target is gone: nothing was changed.
            HubError: The disk or the system does not let it come to its end; it can be called again.
        """
        if (self.record / records.DONE).exists():
            return _summary(records.read_json(self.record / records.DONE))
        try:
            with Plan(self.record / records.PLAN) as plan:
                head, planned = plan.head, plan.summary()
            root_fd = open_root(self.target.home, head.root, head.identity, self.target.path)
            try:
                commit = Commit(self.record, root_fd, head.root, self.uid)
                with contextlib.closing(commit):
                    commit.run()
            finally:
                os.close(root_fd)
        except OSError as error:
            failure = unwritable(error, shown(self.target.path))
            raise type(failure)(f"{failure.message}; {_READY}", **failure.details) from error
        summary = CopySummary(
            files=commit.files,
            bytes=commit.bytes,
            skipped=planned.skipped,
            unchanged=planned.unchanged,
            kept_newer=planned.kept_newer + commit.kept,
            kept_newer_paths=(*planned.kept_newer_paths, *commit.kept_paths)[:MAX_NAMED_PATHS],
            deleted=commit.deleted,
            backed_up=commit.backed_up,
            seconds=time.monotonic() - self._began,
        )
        self._end(summary)
        return summary

    def _end(self, summary: CopySummary) -> None:
        try:
            records.write_json(self.record / records.DONE, fields_of(summary), synced=False)
        except OSError as error:
            raise unwritable(error, shown(self.target.path)) from error

    def discard(self) -> None:
        """Give it up, before it was committed."""
        records.discard(self.record)


def stage_many(applications: Sequence[Application]) -> dict[Application, HubError]:
    """Make several targets of one source ready; each file of the source is read once. Blocks: run it in a thread.

    Args:
        applications: Of one source and one manifest.

    Returns:
        Those that failed, with why: their targets are as they were, their records gone. The others are ready.

    Raises:
        HubError: The source cannot be read: nothing is ready, no record is left.
        CopyCancelledError: The course of one was cancelled; the same holds.
    """
    stagings = [Staging(each.record, each.target, each.plan, each.uid, each.course) for each in applications]
    if stagings:
        stage(applications[0].source, stagings)
    return {
        application: staging.error
        for application, staging in zip(applications, stagings, strict=True)
        if staging.error is not None
    }


def _summary(about: dict[str, Any]) -> CopySummary:
    return CopySummary(**{**about, "kept_newer_paths": tuple(about["kept_newer_paths"])})


_libc = ctypes.CDLL(None, use_errno=True)
_ONE_JOURNAL = frozenset({0xEF53, 0x58465342, 0x01021994})
"""ext4 (and its elders), XFS; and tmpfs, which has none."""
_WRITE_AND_WAIT = 7
"""SYNC_FILE_RANGE_WAIT_BEFORE, _WRITE and _WAIT_AFTER."""


def sync_file_system(path: Path) -> None:
    """Have all that was written to the file system of ``path`` on the disk. Blocks.

    Raises:
        HubError: The disk does not take it.
    """
    try:
        fd = os.open(path, DIRECTORY)
        try:
            _checked(_libc.syncfs(fd))
        finally:
            os.close(fd)
    except OSError as error:
        raise unwritable(error, "the copy") from error


def _sync_few(record: Path, files: Sequence[Path], directories: Sequence[Path]) -> None:
    """Have a few files of a record, and the directories that they are in, on the disk.

    Where there is one journal for all, its last entry takes all before it along: so what the files hold is written out
    first, then one entry is made, and that is waited for. Each fsync would cost as much.
    """
    if _kind_of_file_system(record) not in _ONE_JOURNAL:
        for path in files:
            _sync(path, os.O_RDONLY)
        for path in directories:
            _sync(path, DIRECTORY)
        return
    for path in files:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        try:
            _checked(_libc.sync_file_range(fd, ctypes.c_int64(0), ctypes.c_int64(0), _WRITE_AND_WAIT))
        finally:
            os.close(fd)
    os.utime(record)
    _sync(record, DIRECTORY)


def _kind_of_file_system(path: Path) -> int:
    """The number by which the kernel knows a kind of file system, as in ``linux/magic.h``."""
    told = (ctypes.c_long * 64)()
    _checked(_libc.statfs(os.fsencode(path), told))
    return told[0] & 0xFFFFFFFF


def _checked(outcome: int) -> None:
    if outcome != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


def _sync(path: Path, flags: int) -> None:
    fd = os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
