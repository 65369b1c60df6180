"""Plans: what a copy would do in one target, in a file, so that memory does not grow with the tree.

Lines of JSON like those of a manifest. The first says what goes where; each other one is a directory of the target, or
a part of one, with a row for each entry that is not simply the same. Rows are numbered through, from 1.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, NamedTuple

from projecthub.files.copying.manifests import NAME, SYMLINK, Entry
from projecthub.files.copying.policies import Action, Status
from projecthub.files.paths import join
from projecthub.files.plans import CopySummary

THERE = "there"
"""A directory that source and target have."""
NEW = "new"
"""One that the target does not have, with all that is in it."""
IN_NEW = "in"
"""One that lies in such a one."""
DOOMED = "doomed"
"""One that the target alone has, and that is deleted."""
TOLD = "told"
"""Rows that are only told: of what a directory of the source displaces, or of what stays out because that stays."""
VERSION: Final = 1
MAX_NAMED_PATHS: Final = 100


class Row(NamedTuple):
    """One entry of a plan.

    Attributes:
        name: In its directory.
        status: How the two sides are to each other.
        action: What is done.
        kind: As in a manifest; of what is deleted, that of the target.
        mode: To be given to it.
        size: In bytes.
        mtime_ns: To be given to it.
        blocks: On disk, of 512 bytes.
        extra: As in a manifest.
        there: What the target has in its place; None: nothing.
        beside: The name it gets, if that is another one.
        spare: The name that is given to what is replaced, and what has that name now; None: no backup is made.
    """

    name: str
    status: str
    action: str
    kind: str
    mode: int
    size: int
    mtime_ns: int
    blocks: int
    extra: Any = None
    there: list[Any] | None = None
    beside: str | None = None
    spare: list[Any] | None = None


class PlannedFile(NamedTuple):
    """One entry of a plan, for people.

    Attributes:
        number: From 1, ascending.
        path: Relative to the home of the target; bytes that are no UTF-8 are half characters.
        status: How the two sides are to each other.
        action: What would be done.
        size: In bytes.
        mtime_ns: When it was changed last, in the source; of what is deleted, in the target.
        beside: The path it gets, if that is another one.
    """

    number: int
    path: str
    status: Status
    action: Action
    size: int
    mtime_ns: int
    beside: str | None


@dataclass(slots=True, kw_only=True)
class PlanSummary:
    """What a plan comes to.

    Attributes:
        counts: Files by their status.
        files: Files and symlinks to write.
        bytes: Sum of the sizes of the files to write.
        added: Bytes on disk that they take.
        freed: Bytes on disk of what is replaced or deleted for certain; what has another name is not freed.
        skipped: Devices, sockets and fifos of the source.
        unchanged: Files and symlinks that are the same already.
        kept_newer: Files that stay as they are in the target though the source has another version.
        kept_newer_paths: The first 100 of them, relative to the home of the target, for people.
        to_delete: Files and directories to delete.
        to_back_up: Files that get the name ``name~``.
        blocked: Files that cannot get their place.
        steps: How many things there are to do at all; with 0 the target is as the source already.
        left_out: What of the source the target is not given, in all or but for its mode; what lies beneath not counted.
    """

    counts: dict[str, int] = field(default_factory=lambda: {status.value: 0 for status in Status})
    files: int = 0
    bytes: int = 0
    added: int = 0
    freed: int = 0
    skipped: int = 0
    unchanged: int = 0
    kept_newer: int = 0
    kept_newer_paths: list[str] = field(default_factory=list)
    to_delete: int = 0
    to_back_up: int = 0
    blocked: int = 0
    steps: int = 0
    left_out: int = 0

    @property
    def is_idle(self) -> bool:
        """Whether there is nothing to do."""
        return not self.steps and not self.blocked

    def idle_summary(self, seconds: float = 0.0) -> CopySummary:
        """What a copy has done that had nothing to do, in so many seconds."""
        return CopySummary(
            files=0,
            bytes=0,
            skipped=self.skipped,
            unchanged=self.unchanged,
            kept_newer=self.kept_newer,
            kept_newer_paths=tuple(self.kept_newer_paths),
            deleted=0,
            backed_up=0,
            seconds=seconds,
        )

    def keep(self, path: str) -> None:
        """Count a file that stays as it is, and name it if there is room."""
        self.kept_newer += 1
        if len(self.kept_newer_paths) < MAX_NAMED_PATHS:
            self.kept_newer_paths.append(path)


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanHead:
    """What a plan says first.

    Attributes:
        root: The directory of the target that exists, without symlinks, relative to its home.
        identity: Device and inode of that.
        name: What a single file is called in the source; None: a directory is copied.
        same: Whether source and target are one and the same.
    """

    root: str
    identity: tuple[int, int]
    name: str | None
    same: bool


class Plan:
    """Reads a plan. Closed by whoever opens it."""

    def __init__(self, path: Path) -> None:
        """Open it."""
        self._file = path.open("rb")
        head = json.loads(self._file.readline())["head"]
        self.head = PlanHead(root=head["root"], identity=tuple(head["identity"]), name=head["name"], same=head["same"])
        self._first = self._file.tell()

    def close(self) -> None:
        """Close it."""
        self._file.close()

    def __enter__(self) -> Plan:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def parts(self) -> Iterator[dict[str, Any]]:
        """Its directories; see `comparing`."""
        self._file.seek(self._first)
        for line in self._file:
            part: dict[str, Any] = json.loads(line)
            if "p" in part:
                yield part

    def summary(self) -> PlanSummary:
        """What the last line says."""
        self._file.seek(self._first)
        last = b""
        for last in self._file:  # noqa: B007
            pass
        return PlanSummary(**json.loads(last)["end"])


def planned_files(
    plan: Path, *, after: int = 0, limit: int = 1000, statuses: frozenset[Status] | None = None
) -> list[PlannedFile]:
    """A page of a plan.

    Args:
        plan: Where it lies.
        after: The number of the last row of the page before.
        limit: How many rows at most.
        statuses: Only rows with one of these; None: all.
    """
    found: list[PlannedFile] = []
    with Plan(plan) as opened:
        for part in opened.parts():
            first, rows = part["n"], part["e"]
            if first + len(rows) - 1 <= after:
                continue
            where = join(opened.head.root, part["p"])
            for number, row in enumerate(rows_of(part), first):
                if number > after and (statuses is None or row.status in statuses):
                    if len(found) == limit:
                        return found
                    beside = join(where, row.beside) if row.beside else None
                    found.append(
                        PlannedFile(
                            number,
                            join(where, row.name),
                            Status(row.status),
                            Action(row.action),
                            row.size,
                            row.mtime_ns,
                            beside,
                        )
                    )
    return found


def row_of(
    name: str,
    status: str,
    action: str,
    entry: Entry,
    there: list[Any] | None = None,
    beside: str | None = None,
    spare: list[Any] | None = None,
) -> Row:
    """The row of an entry of the source."""
    extra = entry[6] if len(entry) > 6 and entry[1] in (SYMLINK, NAME) else None
    return Row(name, status, action, entry[1], entry[2], entry[3], entry[4], entry[5], extra, there, beside, spare)


def rows_of(part: dict[str, Any]) -> list[Row]:
    """The rows of a part of a plan."""
    return [Row(*row) for row in part["e"]]
