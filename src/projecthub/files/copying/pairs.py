"""One copy from one path to another, whole or not at all, without anybody who remembers it but the disk."""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from projecthub.errors import Conflict, HubError
from projecthub.files.copying import records
from projecthub.files.copying.applications import Application
from projecthub.files.copying.comparing import compare
from projecthub.files.copying.plan_files import PlanSummary
from projecthub.files.copying.walking import End, walk
from projecthub.files.copying.workers import Workers
from projecthub.files.failures import unwritable
from projecthub.files.paths import DIRECTORY
from projecthub.files.plans import CopyOptions, CopySummary, Course, Policy
from projecthub.files.staging import StagingRun

PAIR: Final = "pair-"
_TRIES = 5
_POLL_S = 0.005


class Pair:
    """One copy from one path to another. Its methods block: run them in a thread, one after the other."""

    def __init__(
        self,
        source: End,
        target: End,
        *,
        options: CopyOptions,
        uid: int | None,
        course: Course,
        workers: Workers | None = None,
    ) -> None:
        """Name both ends; nothing is done yet.

        Args:
            source: What is copied.
            target: Where it goes.
            options: How to copy.
            uid: Owner and group of what is made; None: the hub's own.
            course: Ends the copy early, and keeps the account.
            workers: Copy if it is much; None: it is copied here in any case.
        """
        self._workers = workers
        self._source = source
        self._target = target
        self._options = options
        self._uid = uid
        self._course = course
        self._began = time.monotonic()
        self._run: StagingRun | None = None
        self._work = Path()

    def plan(self) -> PlanSummary:
        """Walk and compare; changes nothing.

        Raises:
            HubError: As `Homes.copy <projecthub.files.Homes.copy>` says.
            CopyCancelledError: The course was cancelled.
        """
        try:
            self._run = StagingRun(self._target.home.with_name("staging"))
        except OSError as error:
            raise unwritable(error, "the plan of the copy") from error
        self._work = Path(f"/proc/{os.getpid()}/fd/{self._run.fd}")  # and not `self`: a worker is another one
        options = self._options
        hashes = options.policy in (Policy.KEEP, Policy.MERGE)
        walk(self._source, self._work / "manifest", exclude=options.exclude, hashes=hashes, course=self._course)
        return self._compare()

    def _compare(self) -> PlanSummary:
        work = self._work
        return compare(
            self._source, work / "manifest", self._target, work / "plan", options=self._options, course=self._course
        )

    def apply(
        self,
        planned: PlanSummary,
        *,
        mark: Callable[[], None] | None = None,
        tell: Callable[[Path], None] | None = None,
    ) -> CopySummary:
        """Copy what was planned.

        Args:
            planned: What `plan` told.
            mark: Called when all is made ready and on the disk, and nothing of it in its place; what it raises is the
                end of the copy. From then on nothing holds the copy up.
            tell: Called with the record when all is in its place, and what was displaced is still there.

        Raises:
            HubError: As `Homes.copy <projecthub.files.Homes.copy>` says; the target is as it was.
            CopyCancelledError: The course was cancelled; the same holds.
        """
        if planned.is_idle:
            return planned.idle_summary(time.monotonic() - self._began)
        with _turn(self._target.home, self._course):
            application = self._stage(planned.files)
            if application is None:
                return self._compare().idle_summary(time.monotonic() - self._began)
            try:
                application.sync()
                if mark is not None:
                    mark()
                _mark(application.record)
            except BaseException:
                application.discard()
                raise
            try:
                summary = application.commit()
            except Conflict:  # the place is gone: nothing was changed
                application.discard()
                raise
            if tell is not None:
                with contextlib.suppress(OSError):
                    tell(application.record)
            with contextlib.suppress(HubError):  # it is done; what is left goes with the next copy
                application.discard()
            return summary

    def _stage(self, files: int) -> Application | None:
        """Make ready what is planned, anew if the target has changed; None: nothing is to be done any more."""
        for tries_left in reversed(range(_TRIES)):
            record = records.record_path(self._target.home, f"{PAIR}{secrets.token_hex(8)}")
            application = Application(
                record,
                self._source,
                self._work / "manifest",
                self._target,
                self._work / "plan",
                uid=self._uid,
                options=self._options,
                course=self._course,
            )
            try:
                if self._workers is None:
                    application.stage()
                else:
                    self._workers.stage_one(application, files)
                return application
            except Conflict:
                self._course.begin_again()
                planned = self._compare()
                if planned.is_idle:
                    return None
                if planned.blocked or not tries_left:
                    raise
        return None

    def close(self) -> None:
        """Let go of all that is left."""
        if self._run is not None:
            self._run.close()
            self._run = None


def copy_path(source: End, target: End, *, options: CopyOptions, uid: int | None, course: Course) -> CopySummary:
    """Copy a path of one home to a path of another, or of the same, whole or not at all. Blocks: run it in a thread.

    Args:
        source: A file, a symlink, or a directory whose contents are copied.
        target: What the copy will be, or for a file also the directory it lands in.
        options: How to copy.
        uid: Owner and group of what is made; None: the hub's own.
        course: Ends the copy early, and keeps the account.

    Raises:
        HubError: As `Homes.copy <projecthub.files.Homes.copy>` says.
        CopyCancelledError: The course was cancelled.
    """
    with contextlib.closing(Pair(source, target, options=options, uid=uid, course=course)) as pair:
        return pair.apply(pair.plan())


def _mark(record: Path) -> None:
    """From here on the copy is carried out, whatever is killed."""
    try:
        records.write_json(record / records.MARK, {})
        fd = records.open_record(record)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)
    except OSError as error:
        raise unwritable(error, "the record of the copy") from error


@contextlib.contextmanager
def _turn(home: Path, course: Course | None) -> Iterator[bool]:
    """Hold the place of copies into a home, one at a time; without a course only if it is free at once."""
    fd = os.open(home.parent, DIRECTORY | os.O_NOFOLLOW)
    try:
        has_it = False
        while not has_it:
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                has_it = True
            except BlockingIOError:
                if course is None:
                    break
                course.check()
                time.sleep(_POLL_S)
        yield has_it
    finally:
        os.close(fd)


def is_settled(home: Path) -> bool:
    """Whether no copy into a home is under way, or was when it was killed; as fast as a look at a directory."""
    try:
        return not any(name.startswith(PAIR) for name in os.listdir(home.with_name(records.COPIES)))  # noqa: PTH208
    except FileNotFoundError:
        return True


def settle(home: Path) -> None:
    """End what killed copies into a home have begun: forward if all was ready, otherwise back. Idempotent. Blocks."""
    copies = home.with_name(records.COPIES)
    try:
        names = [name for name in os.listdir(copies) if name.startswith(PAIR)]  # noqa: PTH208
    except FileNotFoundError:
        return
    if not names:
        return
    with _turn(home, None) as is_free, contextlib.suppress(HubError):  # else the next one tries again
        if not is_free:  # they are of a copy that is under way
            return
        for name in names:
            record = copies / name
            if (record / records.MARK).exists():
                with contextlib.suppress(Conflict):
                    Application.resume(record, home).commit()
            records.discard(record)
