"""What a copy is asked for, and what it tells in the end. Touches no file."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from projecthub.errors import CallTimeout, LimitError


class Policy(StrEnum):
    """Whose version wins where both sides have one."""

    UPDATE = "update"
    """The newer one."""
    OVERWRITE = "overwrite"
    """That of the source."""
    KEEP = "keep"
    """What was changed in the target since it was handed out stays."""
    MERGE = "merge"
    """The same, and the new version is put beside it."""


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
        policy: Whose version wins.
        keeps_newer_kinds: With the policy `update`, also keep what is newer in the target and no regular file, or no
            regular file in the source: a file where the source has a directory, or a symlink. rsync does not.
    """

    overwrite_newer: bool = False
    delete_missing: bool = False
    backup: bool = False
    exclude: tuple[str, ...] = ()
    timeout_s: float | None = None
    policy: Policy = Policy.UPDATE
    keeps_newer_kinds: bool = False


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
    """How far copies have got.

    Attributes:
        files: Files and symlinks that were made.
        bytes: Sum of the sizes of the files.
    """

    files: int = 0
    bytes: int = 0


class CopyCancelledError(Exception):
    """Nobody waits for the copy any more."""


class Course:
    """Says while a copy runs whether it may go on, and how far it has got. One may be shared by several copies.

    Attributes:
        tally: What has been made so far.
        expected_bytes: The sum of the sizes of the files that it will write, as in `tally`; None: it is not known yet.
        take: Called with the number of bytes before they are written; raises `LimitError` if they may not be. None:
            they may.
        begin_again: Called when what was written has gone again, before it is written anew.
    """

    def __init__(self, timeout_s: float | None) -> None:
        self.tally = Tally()
        self.expected_bytes: int | None = None
        self.take: Callable[[int], None] | None = None
        self.begin_again: Callable[[], None] = lambda: None
        self._timeout_s = timeout_s
        self._ends = None if timeout_s is None else time.monotonic() + timeout_s
        self._cancelled = False

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
                f"timeout: the copy was stopped after {self._timeout_s:g} s, and nothing was changed; copy again with "
                "a longer timeout"
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
                raise LimitError(f"{error.message}; nothing was changed", **error.details) from error
