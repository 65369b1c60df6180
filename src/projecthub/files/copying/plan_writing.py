"""Writing a plan, with what all its parts need to know of the target."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator
from typing import IO, Any

from projecthub.files.copying.manifests import DIRECTORY, FILE, LINKED, NAME, OTHER, BaseManifest, Entry, encode
from projecthub.files.copying.plan_files import PlanSummary, Row
from projecthub.files.copying.policies import Since
from projecthub.files.copying.states import has_moved, identity, is_same, status_at
from projecthub.files.ends import Target
from projecthub.files.excludes import Excludes
from projecthub.files.making import KEPT_MODE
from projecthub.files.paths import DIRECTORY as OPEN_DIRECTORY
from projecthub.files.paths import join, open_deep, shown
from projecthub.files.plans import CopyOptions, Course, Policy

BLOCK_BYTES = 512


class PlanWriter:
    """Writes one plan. Paths are relative to the directory of the target that exists.

    Attributes:
        target: The target, opened.
        prefix: Of what is copied.
        options: How to copy.
        excludes: What is left out.
        base: What was handed out before; None: it is not known.
        course: Ends the work.
        summary: What the plan comes to so far.
        names: Of the source, in the directory under way.
        before: What was handed out in that; None: it is not known.
    """

    def __init__(
        self,
        file: IO[str],
        target: Target,
        options: CopyOptions,
        base: BaseManifest | None,
        course: Course,
        *,
        is_file: bool,
    ) -> None:
        """Make ready.

        Args:
            file: The plan, after its first line.
            target: The target.
            options: How to copy.
            base: What was handed out before.
            course: Ends the work.
            is_file: Whether a single file is copied.
        """
        self._file = file
        self._number = 1
        self.target = target
        missing = "/".join(target.missing)
        self.prefix = missing if is_file else join(missing, target.name or "")
        self.options = options
        self.excludes = Excludes(options.exclude)
        self.base = base
        self.course = course
        self.summary = PlanSummary()
        self.names: set[str] = set()
        self.before: dict[str, Entry] | None = None

    def write(self, path: str, rows: list[Row], **about: Any) -> None:
        """Write a directory, or a part of one."""
        trimmed = [row if row[9:] != (None, None, None) else row[: 9 if row[8] is not None else 8] for row in rows]
        self._file.write(encode({"n": self._number, "p": path, **about, "e": trimmed}) + "\n")
        self._number += len(rows)

    def since(
        self, source_name: str, entry: Entry | None, fd: int, name: str, there: os.stat_result | None
    ) -> tuple[Since, bool]:
        """What became in the target of what was handed out; and whether the source has changed since."""
        if self.before is None:
            return Since.UNKNOWN, False
        before = self.before.get(source_name)
        if before is None or before[1] in (DIRECTORY, OTHER):
            return Since.NEVER, False
        moved = entry is None or has_moved(entry, before)
        if there is None or not is_same(before, fd, name, there):
            return Since.TOUCHED, moved
        return Since.UNTOUCHED, moved

    @property
    def spares_theirs(self) -> bool:
        """Whether what somebody has changed in the target since it was handed out is never replaced or deleted."""
        return self.options.policy in (Policy.KEEP, Policy.MERGE)

    def sets_mode(self, source_name: str, there: os.stat_result) -> bool:
        """Whether a file in the directory under way gets the mode that it has in the source."""
        if not self.spares_theirs:
            return True
        before = None if self.before is None else self.before.get(source_name)
        return before is not None and before[1] in (FILE, LINKED, NAME) and not (there.st_mode ^ before[2]) & KEPT_MODE

    def directory_mode(self, path: str, mode: int, there: os.stat_result) -> int:
        """The mode that a directory of both gets, given that of the source."""
        theirs = stat.S_IMODE(there.st_mode)
        if not self.spares_theirs or not (theirs ^ mode) & KEPT_MODE:
            return mode
        before = None if self.base is None else self.base.mode(path)
        return theirs if before is None or (theirs ^ before) & KEPT_MODE else mode

    def spare(self, fd: int, name: str, there: os.stat_result) -> list[Any] | None:
        """The name for the backup of what is replaced, and what has it now; None: there is none."""
        if not self.options.backup or stat.S_ISDIR(there.st_mode):
            return None
        spare = f"{name}~"
        while spare in self.names:  # the source brings a file of that name
            spare += "~"
        taken = status_at(fd, spare)
        return [spare, None if taken is None else identity(taken)]

    def relative(self, where: str) -> str:
        """A path relative to the copied directory."""
        return where[len(self.prefix) + 1 :] if self.prefix else where

    def free(self, there: os.stat_result) -> None:
        """Reckon with what is displaced for certain."""
        if not self.options.backup and not stat.S_ISDIR(there.st_mode) and there.st_nlink == 1:
            self.summary.freed += there.st_blocks * BLOCK_BYTES

    def shown(self, where: str) -> str:
        """A path in the target, relative to its home, for people: through the directories that were named."""
        missing = "/".join(self.target.missing)
        given = self.target.path.removesuffix(missing).rstrip("/") if missing else self.target.path
        return shown(join(given, where))


@contextlib.contextmanager
def opened(root_fd: int, path: str) -> Iterator[int | None]:
    """A directory of the target; None: there is none that can be read."""
    fd = None
    with contextlib.suppress(OSError):
        fd = open_deep(root_fd, path, OPEN_DIRECTORY)
    try:
        yield fd
    finally:
        if fd is not None:
            os.close(fd)


def parted(path: str) -> tuple[str, str]:
    """Parent and last name of a path."""
    parent, _, name = path.rpartition("/")
    return parent, name
