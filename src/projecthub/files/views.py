"""What a home holds, looked at without changing anything."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Callable, Generator, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, datetime
from heapq import merge
from itertools import islice
from typing import Final

from projecthub.errors import HubError, InvalidArgument, LimitError
from projecthub.files.paths import DIRECTORY, LeavesHomeError, join, open_beneath, shown, split
from projecthub.files.places import SEEN_HOME, closing, open_file, outside, told, within_home

MAX_ENTRIES: Final = 1_000_000
"""Entries that a directory has at most if it is listed in pages."""
MAX_LISTED: Final = 250_000
"""Entries that a directory has at most if it is listed at once."""
_SORTED_AT_ONCE: Final = 4096
"""To sort very many names in one go holds up every other thread."""
PIECE_BYTES: Final = 512 * 1024
"""Bytes that are read at once."""
MAX_COUNTED: Final = 10_000
"""Of a directory, so many entries are counted."""
MAX_COUNTED_IN_LISTING: Final = 100_000
"""In one listing, so many entries are counted, of all directories that it tells."""
_FIRST_TIME: Final = datetime.min.replace(tzinfo=UTC).timestamp()
_LAST_TIME: Final = datetime.max.replace(tzinfo=UTC, microsecond=0).timestamp()
_OUTSIDE: Final = f"{SEEN_HOME}/.smc/root"


@dataclass(frozen=True, slots=True)
class Entry:
    r"""One thing in a directory.

    Attributes:
        name: Its name; bytes that are no UTF-8 as ``\\xff``.
        size: Bytes of a file; of a directory: how many entries it has, `MAX_COUNTED` if more.
        mtime: Seconds since the epoch.
        mode: Permission bits.
        kind: ``file``, ``directory``, ``symlink`` or ``other``: a pipe, socket or device.
        isdir: Whether it is a directory, or a symlink to one in the home.
        link_target: What a symlink says.
        error: Why it cannot be told what it holds.
        raw_name: Its name as it is, in which bytes that are no UTF-8 are halves of characters.
    """

    name: str
    size: int
    mtime: float
    mode: int
    kind: str
    isdir: bool
    link_target: str | None = None
    error: str | None = None
    raw_name: str = ""


class _Counter:
    """Counts entries of directories, until it has counted enough."""

    def __init__(self, limit: int) -> None:
        self._left = limit

    def count(self, fd: int) -> int | None:
        """How many a directory has; None: they are not counted any more."""
        if not self._left:
            return None
        limit = min(self._left, MAX_COUNTED)
        with os.scandir(fd) as entries:
            found = sum(1 for _ in islice(entries, limit))
        self._left -= found
        return found if found < limit or limit == MAX_COUNTED else None


def entries_of(
    home_fd: int,
    path: str,
    *,
    hidden: bool,
    after: str = "",
    most: int = MAX_ENTRIES,
    telling: Callable[[str], AbstractContextManager[None]] = told,
) -> Generator[Entry, None, None]:
    """What a directory holds, in the order of the names as they are.

    Args:
        home_fd: The home, which stays open.
        path: The directory.
        hidden: Also names that begin with a dot.
        after: Only names after this one.
        most: So many entries the directory may have.
        telling: Puts what the system refuses about a path into words.

    Raises:
        NotFound: Nothing is there.
        Conflict: It is no directory.
        LimitError: It holds more than ``most`` entries.
    """
    counter = _Counter(MAX_COUNTED_IN_LISTING)
    with telling(path), closing(open_beneath(home_fd, path, DIRECTORY, follow=True)) as fd:
        names = _names(fd, path, most, hidden=hidden, after=after)
        stretches = []
        while stretch := sorted(islice(names, _SORTED_AT_ONCE)):
            stretches.append(stretch)
        for name in merge(*stretches):
            with contextlib.suppress(FileNotFoundError):  # gone since its name was read
                entry = _entry(home_fd, fd, path, name, counter)
                yield entry


def _names(fd: int, path: str, most: int, *, hidden: bool, after: str) -> Iterator[str]:
    with os.scandir(fd) as scan:
        for number, one in enumerate(scan):
            if number == most:
                raise LimitError(
                    f"directory '{shown(path)}' has more than {most} entries; list it inside, or, up to {MAX_ENTRIES}, "
                    "in pages, by the route /api/v1/projects/{project_id}/files"
                )
            if (hidden or not one.name.startswith(".")) and one.name > after:
                yield one.name


def entry_at(home_fd: int, path: str) -> Entry:
    """What is at a path; a symlink itself.

    Raises:
        NotFound: Nothing is there.
    """
    parent, name = split(path)
    with told(path), closing(open_beneath(home_fd, parent, DIRECTORY, follow=True)) as fd:
        return _entry(home_fd, fd, parent, name or ".", _Counter(MAX_COUNTED))


def mtime_of(status: os.stat_result) -> float:
    """When something was changed last, in seconds since the epoch; of what no calendar has, the nearest that it has."""
    return min(max(status.st_mtime_ns / 1e9, _FIRST_TIME), _LAST_TIME)


def _entry(home_fd: int, fd: int, parent: str, name: str, counter: _Counter) -> Entry:
    status = os.stat(name, dir_fd=fd, follow_symlinks=False)
    mode, size = status.st_mode, status.st_size
    is_link, is_directory, text, error = stat.S_ISLNK(mode), stat.S_ISDIR(mode), None, None
    if is_link:
        with contextlib.suppress(OSError):
            text = shown(os.readlink(name, dir_fd=fd))
    if is_link or is_directory:
        try:
            with closing(
                open_beneath(home_fd, join(parent, "" if name == "." else name), DIRECTORY, follow=True)
            ) as inner:
                counted, is_directory = counter.count(inner), True
            size, error = (counted, None) if counted is not None else (0, "too many entries in this listing to count")
        except (OSError, LeavesHomeError) as failure:
            if is_directory:  # of a symlink that leads nowhere, its own size is told
                size, error = 0, os.strerror(getattr(failure, "errno", None) or 0)
    kind = "symlink" if is_link else "directory" if is_directory else "file" if stat.S_ISREG(mode) else "other"
    times = mtime_of(status)
    return Entry(shown(name), size, times, stat.S_IMODE(mode), kind, is_directory, text, error, name)


def read_text(home_fd: int, path: str, max_bytes: int) -> str:
    """The text of a file; what is no UTF-8 is replaced.

    Raises:
        LimitError: It is larger than ``max_bytes``.
    """
    with told(path), closing(open_file(home_fd, path)) as fd:
        pieces, left = [], max_bytes + 1
        while left and (piece := os.read(fd, min(left, PIECE_BYTES))):
            pieces.append(piece)
            left -= len(piece)
    if not left:
        raise LimitError(
            f"file '{shown(path)}' is larger than the {max_bytes} bytes that one reply may hold; "
            "download it from the route /api/v1/projects/{project_id}/files/content"
        )
    return b"".join(pieces).decode("utf-8", "replace")


def content(fd: int, start: int, stop: int) -> Generator[bytes, None, None]:
    """The bytes of a file from ``start`` up to ``stop``, in pieces; fewer if it shrinks."""
    while start < stop and (piece := os.pread(fd, min(PIECE_BYTES, stop - start), start)):
        start += len(piece)
        yield piece


def real_path(home_fd: int, given: str, path: str) -> str:
    """Where a path leads, relative to the home; the input if that is outside.

    Raises:
        NotFound: Nothing is there.
    """
    try:
        with told(given), closing(open_beneath(home_fd, path, os.O_PATH, follow=True)) as fd:
            return _relative(home_fd, fd)
    except InvalidArgument:  # it leads out of the home
        return given


def canonical_path(home_fd: int, given: str, seen_homes: tuple[str, ...]) -> str:
    """One name for a path, whether it exists or not: relative to the home, or absolute if it leads outside.

    What leads outside is named below ``<home>/.smc/root``.
    """
    try:
        path = within_home(given, seen_homes)
    except InvalidArgument:
        if "\0" in given:
            raise
        return _OUTSIDE + os.path.normpath(given if given.startswith("/") else f"{SEEN_HOME}/{given}")
    whole, rest = path, list[str]()
    while True:
        try:
            with told(path), closing(open_beneath(home_fd, path, os.O_PATH, follow=True)) as fd:
                return "/".join(filter(None, [_relative(home_fd, fd), *rest]))
        except InvalidArgument:
            return f"{_OUTSIDE}{SEEN_HOME}/{whole}"
        except HubError:
            if not path:
                raise
            path, name = split(path)
            rest.insert(0, name)


def _relative(home_fd: int, fd: int) -> str:
    home, path = (os.readlink(f"/proc/self/fd/{one}") for one in (home_fd, fd))  # noqa: PTH115
    if path != home and not path.startswith(f"{home}/"):  # moved away meanwhile
        raise outside("it")
    return shown(path[len(home) + 1 :])
