"""What a copy is asked for, what it decides about one entry, and what it tells in the end. Touches no file."""

from __future__ import annotations

import stat
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum, auto
from os import stat_result
from typing import TYPE_CHECKING

from projecthub.errors import CallTimeout, HubError, LimitError

if TYPE_CHECKING:
    from projecthub.files.keeping import Keeper

MAX_KEPT_NEWER_PATHS = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class CopyOptions:
    """How a copy is made.

    Source: Wire contract 2.3.

    Attributes:
        overwrite_newer: Replace files that are newer in the target as well; otherwise they are kept and named.
        delete_missing: Delete what a target directory holds and the source does not, however new. Excluded things stay.
        backup: Keep a file that is replaced or deleted as ``name~``. What already ends in ``~`` is not deleted then.
        exclude: Patterns of what is left out; see `projecthub.files.excludes.Excludes`.
        timeout_s: Bound on the whole copy in seconds; None: no bound.
    """

    overwrite_newer: bool = False
    delete_missing: bool = False
    backup: bool = False
    exclude: tuple[str, ...] = ()
    timeout_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CopySummary:
    """What a copy has done.

    Attributes:
        files: Files and symlinks that were written.
        bytes: Sum of the sizes of the files that were written.
        skipped: Devices, sockets and fifos, which are not copied.
        unchanged: Files and symlinks that were the same already.
        kept_newer: Files that are newer in the target and were kept.
        kept_newer_paths: The first 100 of them, relative to the home of the target.
        deleted: Files and directories that were deleted from the target.
        backed_up: Files that were kept as ``name~``.
        seconds: How long it took.
    """

    files: int
    bytes: int
    skipped: int
    unchanged: int
    kept_newer: int
    kept_newer_paths: tuple[str, ...]
    deleted: int
    backed_up: int
    seconds: float


@dataclass(slots=True)
class Tally:
    """The counts of a `CopySummary` while they grow."""

    files: int = 0
    bytes: int = 0
    skipped: int = 0
    unchanged: int = 0
    kept_newer: int = 0
    kept_newer_paths: list[str] = field(default_factory=list)
    deleted: int = 0
    backed_up: int = 0

    def keep_newer(self, path: str) -> None:
        """Count a file that is kept because it is newer, and name it if there is room."""
        self.kept_newer += 1
        if len(self.kept_newer_paths) < MAX_KEPT_NEWER_PATHS:
            self.kept_newer_paths.append(path)

    def summary(self, seconds: float) -> CopySummary:
        """The counts as they are now."""
        return CopySummary(
            files=self.files,
            bytes=self.bytes,
            skipped=self.skipped,
            unchanged=self.unchanged,
            kept_newer=self.kept_newer,
            kept_newer_paths=tuple(self.kept_newer_paths),
            deleted=self.deleted,
            backed_up=self.backed_up,
            seconds=seconds,
        )

    def __str__(self) -> str:
        return f"{self.files} files ({self.bytes} bytes)"


class Deed(Enum):
    """What is to be done about one entry of the source that is no directory."""

    WRITE = auto()
    """Make it, or replace what is in its place."""
    LEAVE = auto()
    """It is there already."""
    KEEP_NEWER = auto()
    """What is in its place is newer and stays."""
    COMPARE_LINKS = auto()
    """Both are symlinks: write it unless they say the same."""


def decide(source: stat_result, target: stat_result | None, options: CopyOptions) -> Deed:
    """What to do about a file or symlink of the source, with what is in its place in the target."""
    if target is None or stat.S_IFMT(source.st_mode) != stat.S_IFMT(target.st_mode):
        return Deed.WRITE
    if stat.S_ISLNK(source.st_mode):
        return Deed.COMPARE_LINKS
    if source.st_ino == target.st_ino and source.st_dev == target.st_dev:
        return Deed.LEAVE
    if source.st_mtime_ns == target.st_mtime_ns and source.st_size == target.st_size:
        return Deed.LEAVE
    if target.st_mtime_ns > source.st_mtime_ns and not options.overwrite_newer:
        return Deed.KEEP_NEWER
    return Deed.WRITE


class CopyCancelledError(Exception):
    """Nobody waits for the copy any more."""


class Course:
    """Says while a copy runs whether it may go on, and what could not be copied on the way.

    Attributes:
        tally: What has been done so far.
        expected_bytes: About how much it will write, as it takes on disk; None: nobody has looked yet.
        take: Called with the number of bytes before they are written; raises `LimitError` if they may not be. None:
            they may.
        keeper: Told what is replaced, deleted and made, for the histories of files; None: nobody wants to know.
    """

    def __init__(self, timeout_s: float | None) -> None:
        self.tally = Tally()
        self.expected_bytes: int | None = None
        self.take: Callable[[int], None] | None = None
        self.keeper: Keeper | None = None
        self._timeout_s = timeout_s
        self._started = time.monotonic()
        self._ends = None if timeout_s is None else self._started + timeout_s
        self._cancelled = False
        self._first_failure: HubError | None = None
        self._failures = 0

    def cancel(self) -> None:
        """Let the copy end at its next step. May be called from any thread."""
        self._cancelled = True

    def check(self) -> None:
        """Go on, or not.

        Raises:
            CopyCancelledError: It was cancelled.
            CallTimeout: Its time is over.
        """
        if self._cancelled:
            raise CopyCancelledError
        if self._ends is not None and time.monotonic() >= self._ends:
            raise CallTimeout(
                f"timeout: the copy was stopped after {self._timeout_s:g} s; {self.tally} were copied and are whole; "
                "copy again, with a longer timeout, to go on"
            )

    def charge(self, size: int) -> None:
        """Go on with a file of ``size`` bytes on disk, or not.

        Raises:
            LimitError: There is no room for it.
        """
        if self.take is not None:
            try:
                self.take(size)
            except LimitError as error:
                raise LimitError(f"{error.message}; {self.tally} were copied and are whole", **error.details) from error

    def fail(self, failure: HubError) -> None:
        """Remember that something could not be copied, and go on with the rest."""
        self._failures += 1
        if self._first_failure is None:
            self._first_failure = failure

    def end(self) -> CopySummary:
        """Close the account.

        Raises:
            HubError: Something could not be copied: the first failure, with what became of the rest.
        """
        if self._first_failure is None:
            return self.tally.summary(time.monotonic() - self._started)
        more = f", and {self._failures - 1} more failed" if self._failures > 1 else ""
        raise type(self._first_failure)(f"{self._first_failure.message}{more}; {self.tally} were copied")
