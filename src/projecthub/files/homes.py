"""The homes of projects: where they are, how they are made, what is copied between them, how much they hold."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TypeVar

from projecthub.errors import InvalidArgument, LimitError
from projecthub.files import keeping, kernel_quotas
from projecthub.files.contents import are_cloned
from projecthub.files.copying.pairs import Pair, is_settled, settle
from projecthub.files.copying.plan_files import PlanSummary
from projecthub.files.copying.telling import tell_committed
from projecthub.files.copying.walking import End
from projecthub.files.copying.workers import Workers
from projecthub.files.disk import DiskUse, MeasuredHome, MeasuredHomes
from projecthub.files.failures import unwritable
from projecthub.files.holds import Holds
from projecthub.files.keeping import Keeper
from projecthub.files.paths import DIRECTORY, reduced
from projecthub.files.plans import CopyOptions, CopySummary, Course
from projecthub.files.space import Allowance, Disk, HomeSpace
from projecthub.files.staging import StagingRun, is_empty
from projecthub.files.threads import in_thread
from projecthub.files.uploads import pending_bytes
from projecthub.wire.ids import ProjectId, is_uuid

T = TypeVar("T")

_PAIR_THREADS = 5
"""Copies that somebody waits for have so many threads for themselves."""
_COPY_TURNS = 3
"""Copies to many and from many take so many threads together, and one more than there are workers."""
_WALK_THREADS = 2
_LITTLE, _MUCH = 1 / 16, 1 / 4
"""Of the room that was left when a home was looked at last: what is less than this is little, what is more is much."""
_PROJECT_MODE = 0o711
"""Of the directory that holds home and staging: others pass through to what is theirs, and cannot list it."""

_FIRST_FILES = {
    ".bashrc": """\
# Read by every interactive bash of this project. It is yours: change it as you like.
case $- in *i*) ;; *) return ;; esac
PS1='\\[\\e[1;34m\\]\\w\\[\\e[0m\\]\\$ '
HISTSIZE=10000
HISTCONTROL=ignoreboth
shopt -s histappend checkwinsize
alias ls='ls --color=auto'
alias ll='ls -l'
""",
    ".profile": """\
# Read by every login shell of this project. It is yours: change it as you like.
PATH="$HOME/.local/bin:$HOME/bin:$PATH"
export PATH
""",
    ".bash_profile": """\
# Read by every login bash of this project, instead of .profile.
. "$HOME/.profile"
. "$HOME/.bashrc"
""",
}


class Homes:
    """The homes of all projects, beneath one directory.

    ``root/<project_id>/home`` is what a project sees as its home; ``root/<project_id>/staging`` beside it is the
    hub's, and no project sees it.

    Attributes:
        disk: The file system that they lie on.
        workers: Processes for large copies.
        holds: To what the file system holds projects.
    """

    def __init__(self, root: Path) -> None:
        """Name the directory; it is made with the first home. `open` before homes are made in it.

        Args:
            root: The directory.
        """
        self._root = root
        self.workers = Workers()
        turns = max(_COPY_TURNS, self.workers.count + 1)
        self._copies = ThreadPoolExecutor(_PAIR_THREADS + turns, thread_name_prefix="copy")
        self._turns = asyncio.Semaphore(turns)
        self._walks = ThreadPoolExecutor(_WALK_THREADS, thread_name_prefix="home")
        self.disk = Disk(root)
        self._measured = MeasuredHomes(self.disk, promised=self._promise)
        self._unfinished = root / ".unfinished"
        self.holds = Holds()

    def open(self) -> None:
        """See what the file system offers. Blocks for some milliseconds."""
        self.holds.are_offered = kernel_quotas.is_offered(self._root if self._root.is_dir() else self._root.parent)

    def close(self) -> None:
        """End what was started for copies."""
        self.workers.close()

    def path(self, project_id: ProjectId) -> Path:
        """Where the home of a project is, or would be.

        Raises:
            InvalidArgument: ``project_id`` is no uuid.
        """
        return self._project(project_id) / "home"

    async def ensure(self, project_id: ProjectId, *, uid: int | None) -> Path:
        """Make the home of a project, with its first files, unless it exists. Removes what killed copies have left.

        Args:
            project_id: The project.
            uid: Owner and group of the home; None: the hub's own.

        Returns:
            The home.
        """
        home = self.path(project_id)
        staging = home.with_name("staging")
        # Two looks at a directory take a tenth of what it takes to wake a thread for them.
        if not home.is_dir():
            await in_thread(self._walks, lambda: _make_home(home, staging, uid, numbered=self.holds.are_offered))
        elif not is_empty(staging) or not is_settled(home):
            settled = self.holds.lending([home.parent], lambda: _settle(home, staging))
            await in_thread(self._walks, _told(settled))
        return home

    async def prepare(self, project_id: ProjectId) -> Path:
        """Make the place for a home that is to come whole, and was begun; tells where. Removes nothing."""
        home = self.path(project_id)
        make = _told(lambda: make_place(home.parent, numbered=self.holds.are_offered))
        await in_thread(self._walks, make)
        return home

    async def begin(self, project_id: ProjectId) -> None:
        """Note that a home is being made for a project that is not there yet; `finish` or `remove` ends that."""
        await in_thread(self._walks, _told(lambda: _note(self._unfinished, project_id)))

    async def finish(self, project_id: ProjectId) -> None:
        """The project is there: its home stays."""
        _told(lambda: (self._unfinished / project_id).unlink(missing_ok=True))()

    async def unfinished(self) -> list[ProjectId]:
        """Homes that were begun, and neither finished nor removed: those of a hub that was killed meanwhile."""
        try:
            return [ProjectId(name) for name in os.listdir(self._unfinished) if is_uuid(name)]  # noqa: PTH208
        except FileNotFoundError:
            return []

    async def remove(self, project_id: ProjectId) -> None:
        """Remove a home that was begun, with all that is in it. Idempotent.

        Raises:
            InvalidArgument: It was not begun, or is finished: homes of projects are never removed.
        """
        if not (self._unfinished / project_id).exists():
            raise InvalidArgument(f"the home of '{project_id}' is not one that is being made; it stays")
        await in_thread(self._walks, _told(lambda: _remove_home(self.path(project_id))))
        await self.finish(project_id)

    async def disk_use(self, project_id: ProjectId, *, wait_s: float = 0.005) -> DiskUse:
        """How much the home of a project takes on disk; 0 bytes if it does not exist.

        The value may be some seconds old: it is measured anew when it is older than that, and the last one is answered
        if that takes longer than ``wait_s`` seconds. Only a first measurement is waited for to its end.

        Args:
            project_id: The project.
            wait_s: How long to wait for a new measurement, in seconds.
        """
        return await self._home(project_id).gauge.read(wait_s)

    def _home(self, project_id: ProjectId) -> MeasuredHome:
        return self._measured.get(project_id, self.path(project_id))

    async def copy(
        self,
        *,
        src_project_id: ProjectId,
        src_path: str,
        target_project_id: ProjectId,
        target_path: str,
        options: CopyOptions,
        uid: int | None,
        quota_bytes: int | None = None,
        keeper: Keeper | None = None,
        course: Course | None = None,
    ) -> CopySummary:
        """Copy a file, or the contents of a directory, from one home to another or to a place in the same.

        All of it is copied or nothing: if it fails, or the hub is killed on the way, nothing of the target has changed,
        or all of it has. What somebody changes in the target meanwhile is never lost: it stays, and counts as newer. If
        the waiting task is cancelled before all is made ready, nothing is copied.

        Args:
            src_project_id: The project to copy from.
            src_path: What to copy, relative to its home; empty for all of it.
            target_project_id: The project to copy to.
            target_path: What a directory's contents go to, or a file becomes or lands in, relative to its home.
            options: How to copy.
            uid: Owner and group of what is made; None: the hub's own.
            quota_bytes: What the target's home may take; None: there is no limit.
            keeper: Told that the target has changed; whoever gives it closes it.
            course: By which others see how far it is; None: nobody does.

        Raises:
            InvalidArgument: A path leaves its home, or a directory would be copied into itself.
            NotFound: The source does not exist.
            Conflict: A directory that is not empty is where a file should go, or the like.
            PermissionDenied: Something may not be read or written.
            LimitError: It would not fit into the quota or on the disk, or does not any more, since the source grew or
                others have filled the disk meanwhile.
            CallTimeout: ``options.timeout_s`` is over.

        Source: Wire contract 2.3.
        """
        course = Course(options.timeout_s) if course is None else course
        source, target = End(self.path(src_project_id), src_path), End(self.path(target_project_id), target_path)
        measured = self._home(target_project_id)
        pair = Pair(source, target, options=options, uid=uid, course=course, workers=self.workers)
        tell = None if keeper is None else partial(tell_committed, keeper=keeper)
        try:
            planned = await in_thread(self._copies, pair.plan, cancel=course.cancel)
            course.expected_bytes = planned.bytes
            await self._measure(measured, planned.added - planned.freed, quota_bytes, target.home)
            allowance = await self._allow(measured, planned, quota_bytes, target.home.parent)
            course.take, course.begin_again = allowance.take, allowance.begin_again
            try:
                summary = await in_thread(self._copies, lambda: pair.apply(planned, tell=tell), cancel=course.cancel)
            finally:
                allowance.close()
        finally:
            pair.close()
        if keeper is not None:
            keeper.changed(reduced(target_path))
        return summary

    async def _measure(self, target: MeasuredHome, size: int, quota_bytes: int | None, home: Path) -> None:
        """Know what a home takes, well enough for it to grow by ``size`` bytes: the more, the newer that has to be.

        What a project writes by itself is seen by looks alone, and it writes while it is copied to.
        """
        if quota_bytes is not None and size > 0:
            await target.gauge.read_recent()
            target.space.pending_bytes = pending_bytes(home)
            share = target.space.share_of_room(size, quota_bytes)
            if share > _MUCH:
                await target.gauge.read_whole()
            elif share > _LITTLE:
                await target.gauge.read_fresh()
        target.space.pending_bytes = pending_bytes(home)

    async def _allow(
        self, target: MeasuredHome, planned: PlanSummary, quota_bytes: int | None, directory: Path
    ) -> Allowance:
        """Let a copy into a project write what it is going to.

        Raises:
            LimitError: There is no room for it.
        """
        if planned.added > max(0, self.disk.spare_bytes()) and not await in_thread(
            self._copies, lambda: are_cloned(directory)
        ):
            self.disk.require_spare(planned.added, "this copy")
        try:
            return target.space.allow(planned.added, planned.freed, quota_bytes)
        except LimitError:
            await target.gauge.read_now()  # something may have been deleted since
            return target.space.allow(planned.added, planned.freed, quota_bytes)

    async def reserve(
        self,
        project_id: ProjectId,
        added: int,
        freed: int,
        quota_bytes: int | None,
        what: str,
        *,
        beside: bool = False,
    ) -> Allowance:
        """Room for what is to be written into a home; to be closed when that has ended.

        Args:
            project_id: The project.
            added: Bytes that will be written; more can be taken later.
            freed: Bytes of what is replaced.
            quota_bytes: What the home may take; None: there is no limit.
            what: What is to be written, for people: ``this upload``.
            beside: As `Allowance.beside`.

        Raises:
            LimitError: There is no room for it.
        """
        target = self._home(project_id)
        self.disk.require_spare(added, what)
        await self._measure(target, added - freed, quota_bytes, self.path(project_id))
        try:
            return target.space.allow(added, freed, quota_bytes, beside=beside)
        except LimitError:
            await target.gauge.read_now()  # something may have been deleted since
            return target.space.allow(added, freed, quota_bytes, beside=beside)

    @property
    def operations(self) -> Path:
        """Where the lists of copies to many projects, or from many, lie: on the file system of the homes."""
        return self._root / ".copies"

    async def in_turn(self, work: Callable[[], T], *, cancel: Callable[[], None] | None = None) -> T:
        """Do blocking work of a copy to or from many, in a thread: few at a time, which leaves some for others."""
        async with self._turns:
            return await in_thread(self._copies, work, cancel=cancel)

    async def at_once(self, work: Callable[[], T], *, cancel: Callable[[], None] | None = None) -> T:
        """Do blocking work of a copy that somebody waits for, in a thread."""
        return await in_thread(self._copies, work, cancel=cancel)

    async def admit(
        self, project_id: ProjectId, added: int, freed: int, quota_bytes: int | None, *, others: int = 0
    ) -> Allowance:
        """Room for a copy into a home, to be closed when that has ended.

        Args:
            project_id: The project.
            added: Bytes on disk that it will write; more can be taken later.
            freed: Bytes on disk of what it replaces.
            quota_bytes: What the home may take; None: there is no limit.
            others: Bytes on disk that copies to other homes will write before this one.

        Raises:
            LimitError: There is no room for it.
        """
        target = self._home(project_id)
        is_much = added > 0 < others and added + others > self.disk.spare_bytes()
        if is_much and not await in_thread(self._copies, lambda: are_cloned(self._root)):
            self.disk.require_spare(added + others, "to copy to all of these projects")
        if quota_bytes is not None and added > freed:
            await self._measure(target, added - freed, quota_bytes, self.path(project_id))
        return await self._allow(
            target, PlanSummary(added=added, freed=freed), quota_bytes, self.path(project_id).parent
        )

    async def hold(self, project_id: ProjectId, size: int) -> None:
        """Have the file system hold a project to a size, if it does so. See `Holds.hold`."""
        if self.holds.are_offered:
            directory, space = self._project(project_id), self._home(project_id).space
            await in_thread(self._walks, lambda: self.holds.hold(directory, size, lambda: space.promised_bytes))

    async def is_held(self, project_id: ProjectId) -> bool:
        """Whether the file system holds a project to a size."""
        if not self.holds.are_offered:
            return False
        directory = self._project(project_id)
        return await in_thread(self._walks, lambda: self.holds.limit_of(directory)) is not None

    def _promise(self, project_id: ProjectId, space: HomeSpace) -> None:
        self.holds.promise(self._project(project_id), lambda: space.promised_bytes)

    async def is_over(self, project_id: ProjectId, quota_bytes: int) -> bool:
        """Whether a home takes more than its quota, as of a look that is less than a minute old."""
        return (await self._home(project_id).gauge.read_recent()).used_bytes > quota_bytes

    def ids_after(self, last: str, limit: int) -> list[ProjectId]:
        """Projects with a directory here, in the order of their ids, after a given one. Blocks: run it in a thread."""
        try:
            names = os.listdir(self._root)  # noqa: PTH208
        except FileNotFoundError:
            return []
        return [ProjectId(name) for name in sorted(names) if name > last and is_uuid(name)][:limit]

    def _project(self, project_id: ProjectId) -> Path:
        if not is_uuid(project_id):
            raise InvalidArgument(f"project_id {project_id!a} is invalid: a uuid is expected")
        return self._root / project_id


def _told(work: Callable[[], T]) -> Callable[[], T]:
    """What the system refuses of work on a whole home, in the words of the house."""

    def told() -> T:
        try:
            return work()
        except OSError as error:
            raise unwritable(error, "the home of the project") from error

    return told


def _settle(home: Path, staging: Path) -> None:
    """Remove what killed changes of a home have left, and end what killed copies into it have begun."""
    if not is_empty(staging):
        StagingRun(staging).close()
    settle(home)


def make_place(directory: Path, *, numbered: bool) -> None:
    """Make the directory of a project, which the file system can hold to a size if it is ``numbered``. Idempotent."""
    directory.mkdir(mode=_PROJECT_MODE, parents=True, exist_ok=True)
    if numbered and is_empty(directory):
        with contextlib.suppress(OSError):  # then it is not held
            kernel_quotas.number(directory)


def _make_home(home: Path, staging: Path, uid: int | None, *, numbered: bool) -> None:
    """Make a home in the staging directory, and give it its name when it is ready."""
    try:
        make_place(home.parent, numbered=numbered)
        with contextlib.closing(StagingRun(staging)) as run:
            name = run.make_directory()
            with contextlib.ExitStack() as opened:
                fd = os.open(name, DIRECTORY, dir_fd=run.fd)
                opened.callback(os.close, fd)
                for file_name, text in _FIRST_FILES.items():
                    _make_file(fd, file_name, text, uid)
                if uid is not None:
                    os.fchown(fd, uid, uid)
            os.rename(name, home, src_dir_fd=run.fd)
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):  # somebody else was quicker
            raise unwritable(error, "the home of the project") from error


def _make_file(directory_fd: int, name: str, text: str, uid: int | None) -> None:
    with open(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644, dir_fd=directory_fd), "w") as file:
        file.write(text)
        if uid is not None:
            os.fchown(file.fileno(), uid, uid)


def _note(unfinished: Path, project_id: ProjectId) -> None:
    unfinished.mkdir(mode=0o700, parents=True, exist_ok=True)
    (unfinished / project_id).touch(mode=0o600)


def _remove_home(home: Path) -> None:
    staging = home.with_name("staging")
    keeping.forget(home)
    if home.parent.is_dir():
        with contextlib.closing(StagingRun(staging)) as run:
            for beside in home.parent.iterdir():  # the home, and what a copy that was cut short keeps beside it
                if beside != staging and beside.is_dir():
                    run.discard_path(beside)
        with contextlib.suppress(OSError):
            staging.rmdir()
            home.parent.rmdir()
