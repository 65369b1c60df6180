"""What a home takes on disk, found out again and again at little cost.

A scan remembers every directory of a home with what lies directly in it. A look visits all of them, and lists again
those that have changed: whatever is made, renamed or deleted in a directory changes its ctime, which no process can
set. Files that grow or shrink in place leave no mark, so each look also lists again, as far as its budget of time
goes, directories that were listed longest ago. When all have had their turn a *round* is complete, and the figure
holds for the moment at which that round began, with all that was made and deleted since.

A file with several names counts at each of them with its share, so that all of them make one whole, and nothing has to
be remembered of single files.
"""

from __future__ import annotations

import errno
import math
import os
import stat
import time
from collections.abc import Callable, Generator, Iterator
from pathlib import Path

from projecthub.files.paths import DIRECTORY, join, open_beneath

_BLOCK_BYTES = 512
_MAX_NESTING = 64
_SLICE_S = 0.02
_ENTRIES_A_GLANCE = 256
"""How many entries are read between two glances at the clock."""
_UNSURE_S = 2.0

Steps = Generator[None, None, None]
"""Work that stops at its yields to let others have a turn."""


class _Directory:
    """One directory, as it was when it was listed last.

    Attributes:
        identity: Device and inode; None: it was never listed.
        ctime_ns: As it was then; 0: list it again at the next look.
        used: Bytes of itself and of the files in it.
        round: The round in which it was listed.
        inner: The directories in it.
    """

    __slots__ = ("ctime_ns", "identity", "inner", "round", "used")

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        self.identity: tuple[int, int] | None = None
        self.ctime_ns = 0
        self.used = 0.0
        self.round = 0
        self.inner: dict[str, _Directory] = {}


_Level = tuple[str, Iterator[tuple[str, _Directory]]]


class HomeScan:
    """The disk use of one home. Not for several threads at once.

    Attributes:
        used_bytes: Bytes on disk that the home and all in it took at the last look; 0 if it did not exist. What the hub
            may not read, or lies deeper than the kernel can name 64 times over, does not count.
        round_began: When the last complete round began, by the clock: each file has been looked at since then.
        directories: How many directories are remembered.
    """

    def __init__(self, home: Path, now: Callable[[], float] = time.monotonic, *, unsure_s: float = _UNSURE_S) -> None:
        """Make ready.

        Args:
            home: The home.
            now: The clock, in seconds.
            unsure_s: A directory that changed less than so many seconds before it was listed is listed again: it may
                change once more without a new ctime, for clocks of file systems tick coarsely, and another machine's
                may be behind.
        """
        self.used_bytes = 0
        self.round_began = now()
        self.directories = 0
        self._home = home
        self._now = now
        self._unsure_ns = int(unsure_s * 1e9)
        self._root = _Directory()
        self._round = 0
        self._began = self.round_began
        self._is_complete = True
        self._ends = 0.0
        self._slice_ends = 0.0

    def forget(self) -> None:
        """Give up the memory; the next look lists everything."""
        self._root = _Directory()
        self.directories = 0

    def look(self, budget_s: float) -> Steps:
        """Bring the figure up to date. Blocks, for about 0.02 s between two yields: run it in a thread.

        Args:
            budget_s: How long to list directories that have not changed, in seconds. What has changed is always listed.
                Infinity: all of them, as a round of its own.
        """
        self._slice_ends = self._now() + _SLICE_S
        self._ends = self._now() + budget_s
        if self._is_complete or budget_s == math.inf:
            self._round += 1
            self._began = self._now()
        self._is_complete = True
        self.directories = 0
        try:
            fd = os.open(self._home, DIRECTORY | os.O_NOFOLLOW)
        except OSError:
            self.forget()
            self.used_bytes = 0
        else:
            try:
                # Fractions of bytes: the shares of a file with several names.
                self.used_bytes = round((yield from self._visit(fd, self._root, 0)))
            finally:
                os.close(fd)
        if self._is_complete:
            self.round_began = self._began

    def _visit(self, root_fd: int, top: _Directory, nesting: int) -> Generator[None, None, float]:
        """Bring a directory and all below up to date; tells what they take together."""
        used = 0.0
        levels: list[_Level] = [("", iter([("", top)]))]
        while levels:
            parent, inner = levels[-1]
            for name, directory in inner:
                path = join(parent, name)
                try:
                    yield from self._refresh(root_fd, path, directory)
                except OSError as error:
                    if error.errno == errno.ENAMETOOLONG and nesting < _MAX_NESTING:
                        used += yield from self._visit_deeper(root_fd, parent, name, directory, nesting)
                        continue
                    directory.forget()  # gone, or no directory any more
                    continue
                used += directory.used
                self.directories += 1
                if directory.inner:
                    levels.append((path, iter(directory.inner.items())))
                    break
            else:
                levels.pop()
        return used

    def _visit_deeper(
        self, root_fd: int, parent: str, name: str, directory: _Directory, nesting: int
    ) -> Generator[None, None, float]:
        """Visit a directory whose path is too long for the kernel, as a root of its own."""
        try:
            parent_fd = open_beneath(root_fd, parent, DIRECTORY, follow=False)
            try:
                fd = os.open(name, DIRECTORY | os.O_NOFOLLOW, dir_fd=parent_fd)
            finally:
                os.close(parent_fd)
        except OSError:
            directory.forget()
            return 0.0
        try:
            return (yield from self._visit(fd, directory, nesting + 1))
        finally:
            os.close(fd)

    def _refresh(self, root_fd: int, path: str, directory: _Directory) -> Steps:
        """List a directory, unless what is known of it still holds and it is not its turn.

        Raises:
            OSError: It is not there.
        """
        # Links on the way are followed, if a project just put them there: to another inode, so that nothing matches.
        status = os.stat(path or ".", dir_fd=root_fd, follow_symlinks=False)
        if (status.st_dev, status.st_ino) == directory.identity and status.st_ctime_ns == directory.ctime_ns:
            if directory.round == self._round:
                return
            if self._now() >= self._ends:
                self._is_complete = False
                return
        elif not stat.S_ISDIR(status.st_mode):
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
        try:
            fd = open_beneath(root_fd, path, DIRECTORY, follow=False)
        except PermissionError:  # its own size is all that can be told of it
            directory.forget()
            directory.used = float(status.st_blocks * _BLOCK_BYTES)
            return
        try:
            yield from self._list(fd, directory)
        finally:
            os.close(fd)

    def _list(self, fd: int, directory: _Directory) -> Steps:
        status, began_ns = os.fstat(fd), time.time_ns()
        blocks = float(status.st_blocks)
        known, names = directory.inner, []
        glance = _ENTRIES_A_GLANCE
        with os.scandir(fd) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    names.append(entry.name)
                else:
                    blocks += _share(entry)
                glance -= 1
                if not glance:
                    glance = _ENTRIES_A_GLANCE
                    yield from self._pause()
        directory.identity = (status.st_dev, status.st_ino)
        directory.ctime_ns = 0 if status.st_ctime_ns > began_ns - self._unsure_ns else status.st_ctime_ns
        directory.used = blocks * _BLOCK_BYTES
        directory.round = self._round
        directory.inner = {name: known.get(name) or _Directory() for name in names}
        yield from self._pause()

    def _pause(self) -> Steps:
        if self._now() >= self._slice_ends:
            yield
            self._slice_ends = self._now() + _SLICE_S


def _share(entry: os.DirEntry[str]) -> float:
    """Blocks of a file, divided among its names."""
    try:
        status = entry.stat(follow_symlinks=False)
    except OSError:
        return 0.0
    return status.st_blocks / (status.st_nlink or 1)
