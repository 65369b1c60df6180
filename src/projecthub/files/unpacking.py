"""An archive that comes into a home: unpacked beside it, and moved in when all of it is good.

Nothing of an archive is believed. Names have to stay below the directory that it is unpacked into, and never lead
through a symlink of the archive itself. Hard links join only files of the archive. All belongs to the project's user,
without set-user-id and set-group-id bits. Symlinks are made as they are: the hub never follows one out of a home, and
a project can make any by itself.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import math
import os
import stat
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from typing import Final

from projecthub.errors import Conflict, InvalidArgument
from projecthub.files.archive_readers import Packed, contents_of
from projecthub.files.changes import Home, made_parent, sync_directory
from projecthub.files.keeping import Keeper
from projecthub.files.making import KEPT_MODE
from projecthub.files.packing import Form
from projecthub.files.paths import (
    DIRECTORY,
    LeavesHomeError,
    PendingDirectories,
    join,
    open_beneath,
    reduced,
    rename_to_free,
    shown,
    split,
)
from projecthub.files.places import HOLD, closing, opened_home, status_of, told
from projecthub.files.spreading import mark, spread
from projecthub.files.staging import StagingRun

MAX_THINGS: Final = 1_000_000
"""An archive holds at most so many."""
_BLOCK_BYTES: Final = 4096
_NAME_BYTES: Final = 8
"""What an entry takes in its directory beside its name."""
_RACES: Final = 8
_STEP_BYTES: Final = 1024 * 1024
_THING_COSTS: Final = 8192
"""How much of a step one thing is, whatever its size."""
_USUAL_DIRECTORY_MODE: Final = 0o755
_LAST_MTIME: Final = 2**33
_CREATE: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_LEADS_THROUGH: Final = frozenset({errno.ELOOP, errno.ENOTDIR})

_syncfs = getattr(ctypes.CDLL(None, use_errno=True), "syncfs", None)


@dataclass(slots=True)
class Unpacked:
    """What was unpacked.

    Attributes:
        files: Files and links.
        bytes: Their bytes.
        created: Whether the directory was not there before.
    """

    files: int = 0
    bytes: int = 0
    created: bool = False


class Unpacking:
    """Unpacks one archive.

    Attributes:
        done: What has been unpacked so far.
    """

    def __init__(self, home: Home, path: str, take: Callable[[int], None], keeper: Keeper | None = None) -> None:
        """Make ready.

        Args:
            home: Where.
            path: The directory, reduced; empty for the home itself.
            take: Called with the number of bytes before they are written; raises `LimitError` if they may not be.
            keeper: Told what is replaced and what has come, for the histories of files.
        """
        self.done = Unpacked()
        self._home = home
        self._path = path
        self._take = take
        self._keeper = keeper
        self._things = 0
        self._root_fd = -1
        self._parent: tuple[str, int] | None = None

    def steps(self, fd: int, form: Form) -> Generator[bytes, None, None]:
        """Unpack all of it, in steps that take not long each; what they yield is empty.

        Args:
            fd: The archive, a file that stays open.
            form: Of the archive.

        Raises:
            InvalidArgument: The archive is refused; nothing was changed.
            LimitError: It would not fit; nothing was changed.
            Conflict: A file is where a directory would go, or the reverse; nothing was changed.
        """
        with told(self._path, writing=True), contextlib.closing(StagingRun(self._home.staging)) as run:
            staged = run.make_directory()
            with closing(os.open(staged, DIRECTORY | os.O_NOFOLLOW, dir_fd=run.fd)) as self._root_fd:
                self._own(self._root_fd, _USUAL_DIRECTORY_MODE)
                yield from self._fill_all(contents_of(fd, form))
                if _syncfs is not None:
                    _syncfs(self._root_fd)
                self._settle(run, staged)

    def _fill_all(self, things: Iterator[Packed]) -> Iterator[bytes]:
        worked = 0
        try:
            with spread(self._root_fd):
                for thing in things:
                    for size in self._add(thing):
                        worked += size
                        if worked >= _STEP_BYTES:
                            worked = 0
                            yield b""
        finally:
            self._forget_parent()

    def _add(self, thing: Packed) -> Iterator[int]:
        """Make one thing; yields how much work was done."""
        self._things += 1
        if self._things > MAX_THINGS:
            raise InvalidArgument(f"the archive holds more than {MAX_THINGS} things; send it in parts")
        path = _inner(thing.name)
        if not path:
            if not stat.S_ISDIR(thing.mode):
                raise InvalidArgument(f"the archive names '{_short(thing.name)}', which is no name of a file")
            yield _THING_COSTS
            return
        try:
            parent_fd, name = self._open_parent(path)
            if stat.S_ISDIR(thing.mode):
                self._make_directory(parent_fd, name, thing.mode, apart="/" not in path)
            else:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(name, dir_fd=parent_fd)  # of two with one name the last one counts
                self._take(_NAME_BYTES + len(name))
                yield from self._make_file(parent_fd, name, thing)
        except OSError as error:
            raise _unfit(error, path) from error
        yield _THING_COSTS

    def _make_file(self, parent_fd: int, name: str, thing: Packed) -> Iterator[int]:
        self.done.files += 1
        if thing.same_as is not None:
            self._link(parent_fd, name, thing)
        elif stat.S_ISLNK(thing.mode):
            if not thing.link or "\0" in thing.link:
                raise InvalidArgument(f"the symlink '{_short(thing.name)}' of the archive says nothing")
            self._take(_BLOCK_BYTES)
            os.symlink(thing.link, name, dir_fd=parent_fd)
            if self._home.uid is not None:
                os.chown(name, self._home.uid, self._home.uid, dir_fd=parent_fd, follow_symlinks=False)
        else:
            with closing(os.open(name, _CREATE, 0o600, dir_fd=parent_fd)) as fd:
                yield from self._fill(fd, thing)
                self._own(fd, thing.mode)
                if math.isfinite(thing.mtime) and 0 <= thing.mtime < _LAST_MTIME:
                    mtime_ns = int(thing.mtime * 1e9)
                    os.utime(fd, ns=(mtime_ns, mtime_ns))

    def _fill(self, fd: int, thing: Packed) -> Iterator[int]:
        taken = 0  # up to which byte: a few bytes behind a hole take a block of their own
        for at, piece in thing.content:
            start = max(taken, at - at % _BLOCK_BYTES)
            taken = max(taken, at + len(piece) + -(at + len(piece)) % _BLOCK_BYTES)
            self._take(taken - min(start, taken))
            view = memoryview(piece)
            while view:
                count = os.pwrite(fd, view, at)
                view, at = view[count:], at + count
            yield len(piece)
        os.ftruncate(fd, thing.size)  # a sparse one may end with a hole
        self.done.bytes += thing.size

    def _link(self, parent_fd: int, name: str, thing: Packed) -> None:
        parent, target = split(_inner(thing.same_as or ""))
        try:
            with closing(open_beneath(self._root_fd, parent, HOLD, follow=False)) as fd:
                if stat.S_ISREG(os.stat(target, dir_fd=fd, follow_symlinks=False).st_mode):
                    os.link(target, name, src_dir_fd=fd, dst_dir_fd=parent_fd, follow_symlinks=False)
                    return
        except FileNotFoundError:
            pass
        raise InvalidArgument(
            f"'{_short(thing.name)}' is a hard link to '{_short(thing.same_as or '')}', which is no file of the "
            "archive that comes before; pack it anew"
        )

    def _make_directory(self, parent_fd: int, name: str, mode: int, *, apart: bool) -> None:
        with contextlib.suppress(FileExistsError):
            self._take(_BLOCK_BYTES)
            os.mkdir(name, 0o700, dir_fd=parent_fd)
        with closing(os.open(name, DIRECTORY | os.O_NOFOLLOW, dir_fd=parent_fd)) as fd:
            self._own(fd, mode | 0o700)  # what is to be in it comes later
            if apart:
                mark(fd)

    def _own(self, fd: int, mode: int) -> None:
        if self._home.uid is not None:
            os.fchown(fd, self._home.uid, self._home.uid)
        os.fchmod(fd, mode & KEPT_MODE)

    def _open_parent(self, path: str) -> tuple[int, str]:
        """The directory of a path of the archive, made if it is missing. The last one stays open for the next path."""
        parent, name = split(path)
        if self._parent is None or self._parent[0] != parent:
            self._forget_parent()
            try:
                fd = open_beneath(self._root_fd, parent, HOLD, follow=False)
            except FileNotFoundError:
                fd = self._make_parents(parent)
            self._parent = parent, fd
        return self._parent[1], name

    def _make_parents(self, path: str) -> int:
        fd = os.open(".", HOLD, dir_fd=self._root_fd)
        for level, name in enumerate(path.split("/")):
            try:
                if status_of(fd, name) is None:
                    self._things += 1
                    self._make_directory(fd, name, _USUAL_DIRECTORY_MODE, apart=not level)
                inner = os.open(name, HOLD | os.O_NOFOLLOW, dir_fd=fd)
            finally:
                os.close(fd)
            fd = inner
        return fd

    def _forget_parent(self) -> None:
        if self._parent is not None:
            os.close(self._parent[1])
            self._parent = None

    def _settle(self, run: StagingRun, staged: str) -> None:
        """Give all of it its place."""
        with opened_home(self._home.path) as home_fd:
            for race in reversed(range(_RACES)):
                try:
                    target_fd = open_beneath(home_fd, self._path, DIRECTORY, follow=True)
                except FileNotFoundError:
                    try:
                        self._place(run, staged, home_fd)
                    except FileExistsError:  # somebody made it meanwhile, or a symlink leads nowhere
                        if not race:
                            raise
                        continue
                    self.done.created = True
                    if self._keeper is not None:
                        self._keeper.changed(self._path)
                    return
                with closing(target_fd):
                    _merge(self._root_fd, target_fd, self._path, None, really=False)
                    _merge(self._root_fd, target_fd, self._path, self._keeper, really=True)
                return

    def _place(self, run: StagingRun, staged: str, home_fd: int) -> None:
        with made_parent(self._home, run, home_fd, self._path) as (parent_fd, name):
            rename_to_free(run.fd, staged, parent_fd, name)
            sync_directory(parent_fd)


def _merge(staged_fd: int, target_fd: int, top: str, keeper: Keeper | None, *, really: bool) -> None:
    """Move what was unpacked into a directory that is there, or only see whether that can be done.

    Raises:
        Conflict: A file is where a directory has to go, or the reverse.
    """
    pending = PendingDirectories()
    for parent, name in pending:
        path = join(parent, name)
        below: list[str] = []
        with (
            closing(open_beneath(staged_fd, path, DIRECTORY, follow=False)) as source,
            closing(open_beneath(target_fd, path, DIRECTORY, follow=False)) as target,
        ):
            with os.scandir(source) as entries:
                for entry in entries:
                    before = status_of(target, entry.name)
                    is_directory = entry.is_dir(follow_symlinks=False)
                    if before is not None and is_directory != stat.S_ISDIR(before.st_mode):
                        raise _crossed(join(top, join(path, entry.name)), is_directory=is_directory)
                    if before is not None and is_directory:
                        below.append(entry.name)
                    elif not really:
                        _require_writable(target)
                    else:
                        _move(source, target, entry.name, before, join(top, join(path, entry.name)), keeper)
            if really:
                sync_directory(target)
        pending.add(path, below)


def _move(source: int, target: int, name: str, before: os.stat_result | None, path: str, keeper: Keeper | None) -> None:
    """Move one thing to its place; a directory replaces nothing."""
    if stat.S_ISDIR(os.stat(name, dir_fd=source, follow_symlinks=False).st_mode):
        rename_to_free(source, name, target, name)
    else:
        if keeper is not None and before is not None:
            keeper.replaced(target, name, path, before)
        os.rename(name, name, src_dir_fd=source, dst_dir_fd=target)
    if keeper is not None:
        keeper.changed(path)


def _require_writable(directory_fd: int) -> None:
    """Refuse before anything is moved what would be refused in the middle."""
    if not os.access(".", os.W_OK | os.X_OK, dir_fd=directory_fd, effective_ids=True):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))


def _crossed(path: str, *, is_directory: bool) -> Conflict:
    there, comes = ("no directory", "one") if is_directory else ("a directory", "none")
    return Conflict(f"'{shown(path)}' is {there}, and in the archive it is {comes}; move it away")


def _inner(name: str) -> str:
    """A path of an archive, reduced.

    Raises:
        InvalidArgument: It leads out.
    """
    if not name.startswith("/"):
        with contextlib.suppress(LeavesHomeError):
            return reduced(name)
    raise InvalidArgument(f"the archive names '{_short(name)}', which leads out of where it is unpacked; nothing was")


def _unfit(error: OSError, path: str) -> Exception:
    """A failure to make a thing: most are the archive's own fault."""
    if error.errno in _LEADS_THROUGH or error.errno in (errno.EEXIST, errno.EISDIR):
        return InvalidArgument(
            f"the archive names '{_short(path)}', which leads through a symlink or file of the archive, or is two "
            "kinds of thing; nothing was unpacked"
        )
    if error.errno in (errno.ENAMETOOLONG, errno.EFBIG, errno.EMLINK, errno.EINVAL):
        return InvalidArgument(f"'{_short(path)}' of the archive cannot be made: {os.strerror(error.errno)}")
    return error


def _short(name: str) -> str:
    return shown(name)[:200]
