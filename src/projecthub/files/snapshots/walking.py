"""A walk of a home, in the order of manifests.

Every directory is opened beneath the home, and no symlink is followed: what a project renames meanwhile makes the walk
miss something of its own, and reach nothing of others.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from heapq import merge
from itertools import islice
from typing import Final

from projecthub.errors import LimitError
from projecthub.files import paths
from projecthub.files.paths import PendingDirectories, join, open_beneath, shown, split
from projecthub.files.places import HOLD, closing
from projecthub.files.snapshots.manifests import DIRECTORY, SYMLINK, Entry, entry_of, kind_of, xattrs_of

HUBS_OWN: Final = ".projecthub"
"""What the hub keeps in a home: trash and jobs. No snapshot holds it, and no restoring touches it."""
MAX_ENTRIES: Final = 1_000_000
"""Entries that a directory has at most."""
_SORTED_AT_ONCE: Final = 4096


@dataclass(frozen=True, slots=True)
class Found:
    """One thing of a home.

    Attributes:
        directory_fd: The directory that it is in, open for now.
        parent: Its path.
        name: The name.
        kind: As in manifests.
        status: Its own, of a symlink too.
    """

    directory_fd: int
    parent: str
    name: str
    kind: str
    status: os.stat_result


class Walk:
    """One walk.

    Attributes:
        skipped: What was left out so far: pipes, sockets, devices, what is not readable, and paths that are too long.
    """

    def __init__(self, home_fd: int, check: Callable[[], None], *, leave_out: str = HUBS_OWN) -> None:
        """Make ready.

        Args:
            home_fd: The home, which stays open.
            check: Called again and again; raises to end the walk.
            leave_out: A name in the home that is left out.
        """
        self.skipped = 0
        self._home_fd = home_fd
        self._check = check
        self._leave_out = leave_out

    def at(self, path: str) -> Entry | None:
        """The entry of one path; None: nothing is there that a snapshot keeps."""
        parent, name = split(path)
        if path.split("/")[0] == self._leave_out:
            return None
        try:
            with closing(open_beneath(self._home_fd, parent, HOLD, follow=False)) as fd:
                status = os.stat(name, dir_fd=fd, follow_symlinks=False)
                kind = kind_of(status.st_mode)
                return None if kind is None else plain_entry(Found(fd, parent, name, kind, status))
        except OSError:
            return None

    def directories(self, start: str = "") -> Iterator[tuple[str, Iterator[Found]]]:
        """A directory and all below, each with what is in it, which has to be taken before the next one."""
        pending = PendingDirectories(*split(start))
        for parent, name in pending:
            self._check()
            path = join(parent, name)
            try:
                fd = open_beneath(self._home_fd, path, paths.DIRECTORY, follow=False)
            except FileNotFoundError:
                continue
            except OSError:
                self.skipped += 1
                continue
            below: list[str] = []
            with closing(fd):
                yield path, self._contents(fd, path, below)
            pending.add(path, below[::-1])

    def _contents(self, fd: int, path: str, below: list[str]) -> Iterator[Found]:
        for raw in _names(fd, path):
            self._check()
            name = os.fsdecode(raw)
            if not path and name == self._leave_out:
                continue
            with contextlib.suppress(FileNotFoundError):
                status = os.stat(name, dir_fd=fd, follow_symlinks=False)
                kind = kind_of(status.st_mode)
                if kind is None:
                    self.skipped += 1
                    continue
                if kind == DIRECTORY:
                    below.append(name)
                yield Found(fd, path, name, kind, status)


def plain_entry(found: Found) -> Entry | None:
    """The entry of a directory or symlink; None: it is gone, or something else by now."""
    entry = entry_of(found.parent, found.name, found.kind, found.status)
    try:
        if found.kind == SYMLINK:
            return replace(entry, content=os.readlink(found.name, dir_fd=found.directory_fd))
    except OSError:
        return None
    # The name is that of an entry of the directory, whose last link is not followed.
    xattrs = xattrs_of(f"/proc/self/fd/{found.directory_fd}/{found.name}")
    return replace(entry, xattrs=xattrs) if xattrs else entry


def _names(fd: int, path: str) -> Iterator[bytes]:
    """The names in a directory, in the order of their bytes. They are sorted in stretches: others have turns."""
    with os.scandir(fd) as scan:
        names = (os.fsencode(entry.name) for entry in scan)
        stretches: list[list[bytes]] = []
        while stretch := sorted(islice(names, _SORTED_AT_ONCE)):
            stretches.append(stretch)
            if len(stretches) * _SORTED_AT_ONCE > MAX_ENTRIES:
                raise LimitError(
                    f"directory '{shown(path)}' holds more than {MAX_ENTRIES} entries, which is more than a snapshot "
                    "takes; move some of them to other directories"
                )
    return iter(stretches[0]) if len(stretches) == 1 else merge(*stretches)
