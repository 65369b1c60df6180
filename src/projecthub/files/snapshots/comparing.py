"""What is other in one state of a home than in an earlier one."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Final, Literal

from projecthub.files.paths import open_beneath
from projecthub.files.places import closing, opened_home
from projecthub.files.snapshots.manifests import DIRECTORY, FILE, Entry, Key, read
from projecthub.files.snapshots.objects import Objects
from projecthub.files.snapshots.shelves import Shelf
from projecthub.files.snapshots.walking import Walk, plain_entry

_READ: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC


@dataclass(frozen=True, slots=True)
class Change:
    """One path that is other in a later state.

    Attributes:
        path: Relative to the home.
        status: Whether it is there only in the later state, only in the earlier one, or in both.
        before: As it was in the earlier state.
        after: As it is in the later one.
    """

    path: str
    status: Literal["added", "removed", "changed"]
    before: Entry | None
    after: Entry | None


def compare(
    before: Iterator[Entry], after: Iterator[Entry], sum_of: Callable[[Entry], str], *, past: Key | None = None
) -> Iterator[Change]:
    """The paths that are other in a later state, in the order of manifests.

    A file is other if its content is, or its mode; one that was only touched is not.

    Args:
        before: The earlier state.
        after: The later one.
        sum_of: The content of an entry of the later state that tells none; empty: it cannot be told.
        past: Only what comes after this.
    """
    one, other = next(before, None), next(after, None)
    while one is not None or other is not None:
        left = None if one is None else one.key
        right = None if other is None else other.key
        if right is None or (left is not None and left < right):
            assert one is not None
            change, key = Change(one.path, "removed", one, None), left
            one = next(before, None)
        elif left is None or right < left:
            assert other is not None
            change, key = Change(other.path, "added", None, other), right
            other = next(after, None)
        else:
            assert one is not None
            assert other is not None
            change, key = Change(one.path, "changed", one, other), left
            is_shown = past is None or (key is not None and key > past)
            same = not is_shown or _same(one, other, sum_of)
            one, other = next(before, None), next(after, None)
            if same:
                continue
        assert key is not None
        if past is None or key > past:
            yield change


def _same(one: Entry, other: Entry, sum_of: Callable[[Entry], str]) -> bool:
    if (one.kind, one.mode, one.size, one.xattrs) != (other.kind, other.mode, other.size, other.xattrs):
        return False
    if one.kind != FILE:
        return one.content == other.content
    if other.content or not one.content:
        return one.content == other.content
    if one.mtime_ns == other.mtime_ns:
        return True
    return one.content == sum_of(other)


class LiveHome:
    """A home as it is now, as the later state of a comparison."""

    def __init__(self, home_fd: int, check: Callable[[], None]) -> None:
        """Make ready; the home stays open."""
        self._home_fd = home_fd
        self._check = check
        self._objects = Objects(-1, -1, check, lambda size: None)

    def entries(self, within: str) -> Iterator[Entry]:
        """What is at a path and below; the contents of files are not told."""
        walk = Walk(self._home_fd, self._check)
        if within:
            top = walk.at(within)
            if top is None:
                return
            yield top
            if top.kind != DIRECTORY:
                return
        for _, contents in walk.directories(within):
            for found in contents:
                entry = plain_entry(found)
                if entry is not None:
                    yield entry

    def sum_of(self, entry: Entry) -> str:
        """What the content of a file is called now; empty: it cannot be read."""
        try:
            fd = open_beneath(self._home_fd, entry.path, _READ, follow=False)
        except OSError:
            return ""
        with closing(fd):
            status = os.fstat(fd)
            if not stat.S_ISREG(status.st_mode):
                return ""
            has_holes = status.st_blocks * 512 < status.st_size
            return self._objects.sum(fd, status.st_size, has_holes=has_holes)[0]


def changes_since(
    shelf: Shelf,
    snapshot_id: str,
    other: str | None,
    home: Path,
    within: str,
    *,
    past: Key | None,
    limit: int,
    check: Callable[[], None],
) -> list[Change]:
    """The first changes since a snapshot.

    Args:
        shelf: The project's.
        snapshot_id: The earlier state.
        other: The snapshot that is the later state; None: the home as it is now.
        home: The home.
        within: Only what is at this path and below; empty: everything.
        past: Only what comes after this.
        limit: So many at most.
        check: Called again and again; raises to end the work.

    Raises:
        HubError: The home or a snapshot cannot be read.
    """
    before = read(shelf.manifest(snapshot_id), within)
    if other is not None:
        changes = compare(before, read(shelf.manifest(other), within), lambda entry: "", past=past)
        return list(islice(changes, limit))
    with opened_home(home) as home_fd:
        live = LiveHome(home_fd, check)
        return list(islice(compare(before, live.entries(within), live.sum_of, past=past), limit))
