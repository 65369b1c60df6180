"""Bringing back what a snapshot holds, whole or not at all.

All of it is made beside the home, in a *record*: a directory with what is to come (``new``), room for what gives way
(``old``) and a plan of what goes where. When everything is on disk the record gets its name: that is the decision, and
from then on every end, that of a killed hub too, leads to the new state. Each thing is exchanged with what is in its
place by one system call, so there is no moment without one of the two; what comes out is told by its inode from what is
still to go in. So `finish` may be called again and again.

What gave way is in the snapshot that was taken before, and goes. What somebody changed since that one was begun is in
no snapshot: such a thing is put into the trash of the home instead; so is one that it had to leave something out of.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import stat
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from datetime import datetime
from itertools import groupby
from pathlib import Path
from typing import Final

from projecthub.errors import Conflict, HubError, InternalError, InvalidArgument
from projecthub.files import paths
from projecthub.files.changes import Home, made_parent, sync_directory, write_all
from projecthub.files.contents import Contents
from projecthub.files.making import KEPT_MODE
from projecthub.files.paths import (
    LeavesHomeError,
    PendingDirectories,
    exchange,
    join,
    open_beneath,
    rename_to_free,
    shown,
    split,
)
from projecthub.files.places import HOLD, closing, movable, opened_home, status_of, told
from projecthub.files.snapshots.manifests import DIRECTORY, FILE, Earlier, Entry, kind_of, order_of, read
from projecthub.files.snapshots.shelves import Shelf
from projecthub.files.snapshots.syncing import sync_file_system
from projecthub.files.snapshots.walking import HUBS_OWN, Walk
from projecthub.files.spreading import spread
from projecthub.files.staging import StagingRun
from projecthub.files.trash import keep

RECORD: Final = "restoring"
_PLAN: Final = "plan.json"
_NEW: Final = "new"
_OLD: Final = "old"
_TICK_NS: Final = 20_000_000
"""Clocks of file systems are behind by up to a tick of the kernel."""
_MAX_TURNS: Final = 16
_CREATE: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is to become of a home.

    Attributes:
        snapshot_id: What is restored.
        path: Which path of it; empty: all.
        by: The account that wants it.
        before: The snapshot that was taken of what was there.
        before_ns: When that was begun, in nanoseconds since the epoch.
        is_partial: Whether that left something out, such as a pipe: then what gives way is compared with it.
        files: Files and symlinks that come back.
        bytes: Their bytes.
        places: Directory, name, and inode of what goes there; None: nothing, and what is there goes. What is made for
            the third is called ``2``.
    """

    snapshot_id: str
    path: str
    by: str
    before: str
    before_ns: int
    is_partial: bool = False
    files: int
    bytes: int
    places: list[tuple[str, str, int | None]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Weight:
    """What a part of a snapshot takes.

    Attributes:
        files: Files and symlinks.
        bytes: Sum of the sizes of the files.
        disk: Bytes on disk.
        is_there: Whether there is such a part.
    """

    files: int
    bytes: int
    disk: int
    is_there: bool


def weigh(manifest: Path, within: str) -> Weight:
    """What a path of a snapshot takes, with all below."""
    files = size = disk = 0
    is_there = not within
    for entry in read(manifest, within):
        is_there = True
        if entry.kind != DIRECTORY:
            files += 1
            size += entry.size
        disk += -(-entry.disk // 4096) * 4096 if entry.kind == FILE else 4096 * (entry.kind == DIRECTORY)
    return Weight(files, size, disk, is_there)


class Tree:
    """What a snapshot holds at a path, made anew in a directory that no project sees."""

    def __init__(self, shelf: Shelf, target_fd: int, *, uid: int | None, check: Callable[[], None]) -> None:
        """Make ready.

        Args:
            shelf: Has the contents.
            target_fd: An empty directory.
            uid: Owner and group of what is made; None: the hub's own.
            check: Called again and again; raises to end the work.
        """
        self._shelf = shelf
        self._target_fd = target_fd
        self._uid = uid
        self._check = check
        self._contents = Contents(check)
        self._links: dict[str, str] = {}
        self._directories: list[tuple[str, Entry]] = []

    def make(self, manifest: Path, within: str) -> None:
        """Make it: in the directory is then what the path's own directory has of it, or, for all, what the home has.

        Raises:
            InternalError: A content is lost.
            OSError: There is no room, or the like.
        """
        prefix = len(split(within)[0])
        try:
            objects_fd = os.open(self._shelf.objects, paths.DIRECTORY)
        except FileNotFoundError as error:
            raise _lost(within) from error
        with closing(objects_fd), spread(self._target_fd):
            for parent, entries in groupby(read(manifest, within), key=lambda entry: entry.parent):
                inner = parent[prefix:].lstrip("/")
                with closing(os.open(inner or ".", paths.DIRECTORY, dir_fd=self._target_fd)) as fd:
                    for entry in entries:
                        self._check()
                        self._make(entry, join(inner, entry.name), fd, objects_fd)
        for path, entry in reversed(self._directories):
            with closing(os.open(path, paths.DIRECTORY | os.O_NOFOLLOW, dir_fd=self._target_fd)) as fd:
                self._dress(fd, entry)

    def _make(self, entry: Entry, path: str, fd: int, objects_fd: int) -> None:
        if entry.kind == DIRECTORY:
            os.mkdir(entry.name, 0o700, dir_fd=fd)
            self._directories.append((path, entry))
        elif entry.kind == FILE:
            self._make_file(entry, path, fd, objects_fd)
        else:
            os.symlink(entry.content, entry.name, dir_fd=fd)
            if self._uid is not None:
                os.chown(entry.name, self._uid, self._uid, dir_fd=fd, follow_symlinks=False)
            os.utime(entry.name, ns=(entry.mtime_ns, entry.mtime_ns), dir_fd=fd, follow_symlinks=False)

    def _make_file(self, entry: Entry, path: str, fd: int, objects_fd: int) -> None:
        if entry.link:
            first = self._links.setdefault(entry.link, path)
            if first != path:
                os.link(first, entry.name, src_dir_fd=self._target_fd, dst_dir_fd=fd, follow_symlinks=False)
                return
        with closing(os.open(entry.name, _CREATE, 0o600, dir_fd=fd)) as made:
            if entry.content:
                try:
                    source = os.open(entry.content, os.O_RDONLY | os.O_CLOEXEC, dir_fd=objects_fd)
                except FileNotFoundError as error:
                    raise _lost(entry.path) from error
                with closing(source):
                    status = os.fstat(source)
                    if status.st_size != entry.size:
                        raise _lost(entry.path)
                    self._contents.copy(source, made, status)
            self._dress(made, entry)

    def _dress(self, fd: int, entry: Entry) -> None:
        for name, value in entry.xattrs.items():
            with contextlib.suppress(OSError):  # another file system, which has none
                os.setxattr(fd, name, bytes.fromhex(value))
        if self._uid is not None:
            os.fchown(fd, self._uid, self._uid)
        os.fchmod(fd, entry.mode & KEPT_MODE)
        os.utime(fd, ns=(entry.mtime_ns, entry.mtime_ns))


def _lost(path: str) -> InternalError:
    return InternalError(
        f"the snapshot's content of '{shown(path) or '.'}' is lost or damaged, and nothing was changed; "
        "restore another snapshot"
    )


def restore_to(home: Home, shelf: Shelf, manifest: Path, within: str, to: str, check: Callable[[], None]) -> None:
    """Bring a path of a snapshot to a place where nothing is; directories above it are made.

    Raises:
        Conflict: Something is there.
        InvalidArgument: The place is out of the home, the home itself, or among what the hub keeps there.
    """
    if is_hubs_own(to):
        raise InvalidArgument(f"'{shown(to)}' is where the hub keeps its own files; choose another path")
    with contextlib.closing(StagingRun(home.staging)) as run:
        name = run.make_directory()
        with closing(os.open(name, paths.DIRECTORY, dir_fd=run.fd)) as fd:
            Tree(shelf, fd, uid=home.uid, check=check).make(manifest, within)
            if within:
                source_fd, source = fd, split(within)[1]
            else:
                source_fd, source = run.fd, name
                os.fchmod(fd, 0o755)
                if home.uid is not None:
                    os.fchown(fd, home.uid, home.uid)
            sync_file_system(run.fd)
            with (
                told(to, writing=True),
                opened_home(home.path) as home_fd,
                made_parent(home, run, home_fd, to) as (parent_fd, new_name),
            ):
                with movable(source_fd, source):
                    rename_to_free(source_fd, source, parent_fd, new_name)
                sync_directory(parent_fd)


def is_hubs_own(path: str) -> bool:
    """Whether a reduced path is among what the hub keeps in a home."""
    return path == HUBS_OWN or path.startswith(f"{HUBS_OWN}/")


class Restoring:
    """A path, or all, on its way back to its own place: `stage` and `decide`, then `finish`; in any case `close`."""

    def __init__(self, home: Home, shelf: Shelf, check: Callable[[], None]) -> None:
        """Make ready."""
        self._home = home
        self._shelf = shelf
        self._check = check
        self._run = StagingRun(home.staging)
        self._name = self._run.make_directory()

    def stage(self, manifest: Path, plan: Plan) -> None:
        """Make all that is to come, and write down what goes where. Nothing in the home has changed in the end.

        Args:
            manifest: Of the snapshot.
            plan: Without its places.
        """
        with closing(os.open(self._name, paths.DIRECTORY, dir_fd=self._run.fd)) as fd:
            for name in (_NEW, _OLD):
                os.mkdir(name, 0o700, dir_fd=fd)
            with closing(os.open(_NEW, paths.DIRECTORY, dir_fd=fd)) as new_fd:
                Tree(self._shelf, new_fd, uid=self._home.uid, check=self._check).make(manifest, plan.path)
                parent = split(plan.path)[0]
                names = sorted(os.listdir(new_fd))  # noqa: PTH208
                plan.places.extend((parent, name, _inode(new_fd, name)) for name in names)
            if not plan.path:
                coming = {HUBS_OWN, *names}
                there = sorted(os.listdir(self._home.path))  # noqa: PTH208
                plan.places.extend(("", name, None) for name in there if name not in coming)
            with closing(os.open(_PLAN, _CREATE, 0o600, dir_fd=fd)) as file:
                write_all(file, json.dumps(asdict(plan)).encode())
        self._make_parents(plan.path)
        sync_file_system(self._run.fd)

    def decide(self) -> Path:
        """Give the record its name: from here on the end is the new state. Tells its path."""
        record = self._home.path.with_name(RECORD)
        os.rename(self._name, record, src_dir_fd=self._run.fd)
        with closing(os.open(record.parent, paths.DIRECTORY)) as fd:
            os.fsync(fd)
        return record

    def close(self) -> None:
        """Remove what was not decided for."""
        self._run.close()

    def _make_parents(self, path: str) -> None:
        """See that the directory is there, and a real one, which a path of the snapshot goes back to."""
        if not path:
            return
        with told(path, writing=True), opened_home(self._home.path) as home_fd:
            with made_parent(self._home, self._run, home_fd, path) as (fd, _):
                there = os.fstat(fd)
            try:
                with closing(open_beneath(home_fd, split(path)[0], HOLD, follow=False)) as fd:
                    if paths.same(there, os.fstat(fd)):
                        return
            except OSError:
                pass
            raise Conflict(
                f"a symlink leads to where '{shown(path)}' was; move it away, or restore to another path (to)"
            )


def pending(home: Home) -> Plan | None:
    """What was decided on in a home and is not finished; None: nothing."""
    try:
        plan = json.loads((home.path.with_name(RECORD) / _PLAN).read_bytes())
    except FileNotFoundError:
        return None
    plan["places"] = [(parent, name, inode) for parent, name, inode in plan["places"]]
    return Plan(**plan)


def finish(home: Home, plan: Plan, at: datetime, before: Path) -> list[str]:
    """Bring about what was decided. Idempotent.

    Args:
        home: The home.
        plan: What `pending` tells.
        at: When what goes to the trash goes there.
        before: The manifest of the snapshot that was taken of what was there.

    Returns:
        The paths of which what was there is in the trash, for the snapshot before does not have all of it.

    Raises:
        HubError: Something resists, such as a directory that was moved away. If nothing has changed by then, as is so
            for a single path, the record is gone; else it is for another try.
    """
    record = home.path.with_name(RECORD)
    with (
        told(plan.path, writing=True),
        closing(os.open(record, paths.DIRECTORY)) as fd,
        closing(os.open(_NEW, paths.DIRECTORY, dir_fd=fd)) as new_fd,
        closing(os.open(_OLD, paths.DIRECTORY, dir_fd=fd)) as old_fd,
        opened_home(home.path) as home_fd,
    ):
        try:
            for number, (parent, name, inode) in enumerate(plan.places):
                with closing(open_beneath(home_fd, parent, HOLD, follow=False)) as parent_fd:
                    _place(parent_fd, name, inode, new_fd, old_fd, str(number))
        except OSError:
            if _is_untouched(plan, new_fd, old_fd):
                forget(home)
            raise
        sync_file_system(fd)
        return _put_by(home, plan, old_fd, at, before)


def _is_untouched(plan: Plan, new_fd: int, old_fd: int) -> bool:
    """Whether all that is to come is still there, and nothing gave way."""
    for _, name, inode in plan.places:
        staged = None if inode is None else status_of(new_fd, name)
        if inode is not None and (staged is None or staged.st_ino != inode):
            return False
    return not os.listdir(old_fd)


def forget(home: Home) -> None:
    """Remove the record of what is finished, with what gave way; or of what cannot be."""
    with contextlib.closing(StagingRun(home.staging)) as run, contextlib.suppress(FileNotFoundError):
        run.discard_path(home.path.with_name(RECORD))


def _place(parent_fd: int, name: str, inode: int | None, new_fd: int, old_fd: int, number: str) -> None:
    """Bring one thing to its place, or out of it; what gives way becomes ``number`` of what is old."""
    for turn in range(_MAX_TURNS):
        aside = number if not turn else f"{number}.{turn}"
        if inode is None:
            if turn or status_of(old_fd, number) is None:
                with contextlib.suppress(FileNotFoundError), movable(parent_fd, name):
                    rename_to_free(parent_fd, name, old_fd, aside)
            return
        staged = status_of(new_fd, name)
        if staged is None:
            return
        if staged.st_ino != inode:  # what came out of its place
            with contextlib.suppress(FileExistsError), movable(new_fd, name):
                rename_to_free(new_fd, name, old_fd, aside)
            continue
        with movable(new_fd, name):
            _bring(parent_fd, name, new_fd, old_fd, aside)
    raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN))


def _bring(parent_fd: int, name: str, new_fd: int, old_fd: int, aside: str) -> None:
    """Take one step to bring a thing to its place: into it if that is free, else by an exchange."""
    try:
        rename_to_free(new_fd, name, parent_fd, name)
    except FileExistsError:
        with contextlib.suppress(FileNotFoundError), movable(parent_fd, name):
            try:
                exchange(new_fd, name, parent_fd, name)
            except OSError as error:
                if error.errno not in (errno.EINVAL, errno.ENOSYS):
                    raise
                with contextlib.suppress(FileExistsError):
                    rename_to_free(parent_fd, name, old_fd, aside)


def _put_by(home: Home, plan: Plan, old_fd: int, at: datetime, before: Path) -> list[str]:
    """Put into the trash what is, or may be, not in the snapshot before as it is now; tells its paths."""
    kept: list[str] = []
    for number in sorted(os.listdir(old_fd)):
        parent, name, _ = plan.places[int(number.partition(".")[0])]
        if not (
            _has_changed(old_fd, number, plan.before_ns - _TICK_NS)
            or (plan.is_partial and not _is_held(old_fd, number, parent, name, before))
        ):
            continue
        keep(home, old_fd, number, join(parent, name), by=plan.by, at=at)
        kept.append(join(parent, name))
    return kept


def _is_held(old_fd: int, number: str, parent: str, name: str, manifest: Path) -> bool:
    """Whether a snapshot holds a thing, with all that is in it."""
    top = join(parent, name)
    kind = kind_of(os.stat(number, dir_fd=old_fd, follow_symlinks=False).st_mode)
    try:
        held = Earlier(read(manifest, top))
        if kind is None or held.at((order_of(parent), os.fsencode(name))) is None:
            return False
        walk = Walk(old_fd, lambda: None)
        for path, contents in walk.directories(number) if kind == DIRECTORY else ():
            order = order_of(top + path[len(number) :])
            for found in contents:
                if held.at((order, os.fsencode(found.name))) is None:
                    return False
    except (HubError, OSError):
        return False
    return not walk.skipped


def _has_changed(directory_fd: int, name: str, since_ns: int) -> bool:
    """Whether a thing, or anything in it, has changed since; to be moved gave it, and nothing in it, a new ctime."""
    status = os.stat(name, dir_fd=directory_fd, follow_symlinks=False)
    if status.st_mtime_ns >= since_ns:
        return True
    if not stat.S_ISDIR(status.st_mode):
        return False
    with closing(os.open(name, HOLD | os.O_NOFOLLOW, dir_fd=directory_fd)) as root_fd:
        for parent, inner in (pending := PendingDirectories()):
            path, below = join(parent, inner), list[str]()
            try:
                with (
                    closing(open_beneath(root_fd, path, paths.DIRECTORY, follow=False)) as fd,
                    os.scandir(fd) as scan,
                ):
                    for entry in scan:
                        if entry.stat(follow_symlinks=False).st_ctime_ns >= since_ns:
                            return True
                        if entry.is_dir(follow_symlinks=False):
                            below.append(entry.name)
            except (OSError, LeavesHomeError):
                return True
            pending.add(path, below)
    return False


def _inode(directory_fd: int, name: str) -> int:
    return os.stat(name, dir_fd=directory_fd, follow_symlinks=False).st_ino
