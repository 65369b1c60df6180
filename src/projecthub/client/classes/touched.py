"""What of an item's files is a student's own: made, or changed since it was handed out."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final

from projecthub.client.classes.register import file_time

DOOMED: Final = "would_be_deleted"
"""What a plan says of files that it would delete."""
TOUCHED: Final = ("changed_by_them", "conflict", DOOMED)
"""What a plan of the handout that deletes what is missing says of files that may be a student's own."""
_BESIDE: Final = re.compile(r"(?P<stem>.+)\.new(-[0-9]+)?(?P<suffix>(\.[^./]*)?)")


def touched_of(target: Mapping[str, Any], files: Iterable[Mapping[str, Any]]) -> frozenset[str] | None:
    """The paths, relative to the item, of what is the student's own; None: it cannot be told.

    Args:
        target: Of a plan that hands an item out again and deletes whatever was handed out and is not in it now.
        files: What it says of files, with the statuses `TOUCHED`.
    """
    own: dict[str, tuple[int, int]] = {}
    conflicts = target["counts"]["conflict"]
    for file in files:
        path, about = below(target, file["path"]), (file["size"], file["mtime"])
        if path is None:
            return None
        conflicts -= file["status"] == "conflict"
        if file["action"] != "delete":  # what was handed out and is as it was would be
            own[path] = about
    if conflicts:  # of some of them nothing is told
        return None
    return frozenset(path for path, about in own.items() if not _is_put_beside(path, about, own))


def below(target: Mapping[str, Any], path: str) -> str | None:
    """A path of a plan, relative to the directory that a target of it goes to; None: it is not in there."""
    prefix = f"{target['target_path']}/"
    return path.removeprefix(prefix) if path.startswith(prefix) else None


def _is_put_beside(path: str, about: tuple[int, int], own: Mapping[str, tuple[int, int]]) -> bool:
    """Whether a file is the new version that was put beside one that they had changed, as it was put there."""
    named = _BESIDE.fullmatch(path)
    return named is not None and own.get(named["stem"] + named["suffix"]) == about


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What is there of a student's work.

    Attributes:
        files: How many files there are.
        newest_at: The latest time of one of them, as it says; None: there is none.
        changed_at: That of those which are the student's own.
    """

    files: int = 0
    newest_at: datetime | None = None
    changed_at: datetime | None = None

    def with_files(
        self, target: Mapping[str, Any], files: Iterable[Mapping[str, Any]], touched: frozenset[str] | None
    ) -> Work:
        """This, and the times of files that a plan tells of; ``touched``: as `touched_of` has it."""
        newest_at, changed_at = self.newest_at, self.changed_at
        for file in files:
            if file["status"] == DOOMED:  # of what was collected before
                continue
            at = file_time(file["mtime"])
            newest_at = at if newest_at is None else max(at, newest_at)
            if touched is None or _is_in(below(target, file["path"]), touched):
                changed_at = at if changed_at is None else max(at, changed_at)
        return replace(self, newest_at=newest_at, changed_at=changed_at)


def _is_in(path: str | None, touched: frozenset[str]) -> bool:
    """Whether a file is the student's own, or in a directory in place of a file that was handed out."""
    while path:
        if path in touched:
            return True
        path = path.rpartition("/")[0]
    return path is None
