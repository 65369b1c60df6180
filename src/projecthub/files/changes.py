"""Changes of what a home holds: files that are written whole, directories, moves.

A file is made in the staging directory beside the home and renamed to its place when all of it is there, so that nobody
ever sees a part of it, and a hub that is killed leaves nothing.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from projecthub.errors import InvalidArgument
from projecthub.files.making import Maker
from projecthub.files.paths import (
    is_within,
    join,
    open_beneath,
    rename_to_free,
    same,
    shown,
    split,
)
from projecthub.files.places import HOLD, closing, movable, opened_home, opened_parent, status_of, told
from projecthub.files.staging import StagingRun

if TYPE_CHECKING:
    from projecthub.files.keeping import Keeper

USUAL_MODE: Final = 0o644
"""Of files that are made, unless the caller says otherwise or a file is replaced."""
_MODES: Final = 0o777

Check = Callable[[os.stat_result | None], bool]
"""Looks at what is about to be replaced; see `place_file`."""

_placing: Final = threading.Lock()
"""Held from a look at what is replaced to its replacement, so that of two conditional writes one fails."""


@dataclass(frozen=True, slots=True)
class Home:
    """A home with what is needed to change it.

    Attributes:
        path: Where it is.
        uid: Owner and group of what is made in it; None: the hub's own.
        seen_homes: The absolute paths by which its project knows it.
    """

    path: Path
    uid: int | None
    seen_homes: tuple[str, ...]

    @property
    def staging(self) -> Path:
        """The staging directory beside it."""
        return self.path.with_name("staging")


@dataclass(frozen=True, slots=True)
class Dress:
    """What a file that is written gets.

    Attributes:
        mode: Permission bits; None: those of the file it replaces, or the usual ones.
        mtime_ns: When it was last changed, in nanoseconds since the epoch; None: now.
    """

    mode: int | None = None
    mtime_ns: int | None = None


class StagedFile:
    """A file on its way into a home. Not for several threads at once.

    Attributes:
        fd: The file, open for writing and reading.
    """

    def __init__(self, home: Home) -> None:
        """Make it, empty."""
        self._home = home
        self._run = StagingRun(home.staging)
        self._name = self._run.fresh_name()
        try:
            flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
            self.fd = os.open(self._name, flags, 0o600, dir_fd=self._run.fd)
        except BaseException:
            self._run.close()
            raise

    def write(self, piece: bytes) -> None:
        """Add to its end."""
        write_all(self.fd, piece)

    def place(self, path: str, dress: Dress, check: Check, keeper: Keeper | None = None) -> None:
        """Give it its place, for good. See `place_file`."""
        place_file(self._home, self._run, (self._run.fd, self._name, self.fd), path, dress, check, keeper)

    def close(self) -> None:
        """Let go of it; it vanishes unless it was placed."""
        os.close(self.fd)
        self._run.close()


def write_all(fd: int, piece: bytes) -> None:
    """Write all of a piece."""
    view = memoryview(piece)
    while view:
        view = view[os.write(fd, view) :]


def place_file(
    home: Home,
    run: StagingRun,
    file: tuple[int, str, int],
    path: str,
    dress: Dress,
    check: Check,
    keeper: Keeper | None = None,
) -> None:
    """Rename a file that is complete to its place in a home. Missing directories are made.

    Args:
        home: The home.
        run: Where directories are made.
        file: Its directory, its name there, and the file itself, open.
        path: Reduced.
        dress: What it gets.
        check: Called with the status of what it is about to replace, None for nothing; raises to refuse, and tells
            whether nothing may be replaced.
        keeper: Keeps what is replaced, and what is there then, for the history of the file.

    Raises:
        InvalidArgument: The path leads out of the home.
        Conflict: A directory is in its place.
    """
    directory_fd, name, fd = file
    with told(path, writing=True), opened_home(home.path) as home_fd, made_parent(home, run, home_fd, path) as place:
        parent_fd, new_name = place
        _dress(home, fd, dress, status_of(parent_fd, new_name))
        os.fsync(fd)
        with _placing:
            before = status_of(parent_fd, new_name)
            if before is not None and stat.S_ISDIR(before.st_mode):
                raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
            if check(before):
                rename_to_free(directory_fd, name, parent_fd, new_name)
            else:
                if keeper is not None and before is not None:
                    keeper.replaced(parent_fd, new_name, path, before)
                os.rename(name, new_name, src_dir_fd=directory_fd, dst_dir_fd=parent_fd)
            if keeper is not None:
                keeper.written(fd, path)
        sync_directory(parent_fd)


def _dress(home: Home, fd: int, dress: Dress, before: os.stat_result | None) -> None:
    mode = dress.mode
    if mode is None:
        mode = before.st_mode if before is not None and stat.S_ISREG(before.st_mode) else USUAL_MODE
    if home.uid is not None:
        os.fchown(fd, home.uid, home.uid)
    os.fchmod(fd, mode & _MODES)
    if dress.mtime_ns is not None:
        os.utime(fd, ns=(dress.mtime_ns, dress.mtime_ns))


def sync_directory(fd: int) -> None:
    """Have the names of a directory on disk."""
    with closing(os.open(".", os.O_RDONLY | os.O_DIRECTORY, dir_fd=fd)) as readable:
        os.fsync(readable)


@contextlib.contextmanager
def made_parent(home: Home, run: StagingRun, home_fd: int, path: str) -> Iterator[tuple[int, str]]:
    """The directory that holds ``path``, made if it is missing, and the last name of the path.

    Raises:
        InvalidArgument: The path is the home itself.
        LeavesHomeError: A symlink leads out of the home.
        NotADirectoryError: The path leads through a file, or a symlink to nothing.
        OSError: It cannot be made.
    """
    parent, name = split(path)
    if not name:
        raise InvalidArgument("the home itself cannot be replaced; give a path in it")
    missing: list[str] = []
    while True:
        try:
            fd = open_beneath(home_fd, parent, HOLD, follow=True)
            break
        except FileNotFoundError:
            parent, part = split(parent)
            missing.insert(0, part)
    maker = Maker(run, uid=home.uid)
    with closing(fd), closing(maker.make_missing(fd, tuple(missing))) as made:
        yield made, name


def make_directory(home: Home, path: str) -> bool:
    """Make a directory, and those above it. Tells whether it was not there before.

    Raises:
        Conflict: Something else is there.
    """
    with (
        told(path, writing=True),
        contextlib.closing(StagingRun(home.staging)) as run,
        opened_home(home.path) as home_fd,
        made_parent(home, run, home_fd, path) as (fd, name),
    ):
        if status_of(fd, name) is not None:
            with closing(open_beneath(home_fd, path, HOLD, follow=True)):
                return False
        maker = Maker(run, uid=home.uid)
        with closing(maker.make_missing(fd, (name,))):
            sync_directory(fd)
        return True


def move_into(home: Home, paths: Sequence[str], directory: str, keeper: Keeper | None = None) -> None:
    """Move things into a directory that exists, one after the other; never overwrites.

    Raises:
        Conflict: Something has the name there; what came before is moved.
    """
    with opened_home(home.path) as home_fd:
        with told(directory), closing(open_beneath(home_fd, directory, HOLD, follow=True)):
            pass
        for path in paths:
            target = join(directory, split(path)[1])
            rename(home_fd, path, target)
            if keeper is not None:
                keeper.changed(target)


def rename(home_fd: int, source: str, target: str) -> None:
    """Give something another path; never overwrites. To its own path: nothing happens.

    Raises:
        NotFound: It is not there, or the directory of the target is not.
        Conflict: Something has that path.
        InvalidArgument: A directory would go into itself.
    """
    with told(source), opened_parent(home_fd, source) as (source_fd, name):
        status = os.stat(name, dir_fd=source_fd, follow_symlinks=False)
        with told(target, writing=True), opened_parent(home_fd, target) as (target_fd, new_name):
            if name == new_name and same(os.fstat(source_fd), os.fstat(target_fd)):
                return
            if stat.S_ISDIR(status.st_mode) and is_within(target_fd, status, os.fstat(home_fd)):
                raise InvalidArgument(f"cannot move directory '{shown(source)}' into itself; choose another target")
            with movable(source_fd, name):
                rename_to_free(source_fd, name, target_fd, new_name)
            for fd in (source_fd, target_fd):
                sync_directory(fd)
