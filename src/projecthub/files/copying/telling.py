"""Telling the histories of files what a copy has changed, once it has: what was replaced lies in its record then."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from projecthub.files.copying import records
from projecthub.files.copying.commits import steps_of
from projecthub.files.copying.plan_files import IN_NEW, NEW, Plan, rows_of
from projecthub.files.copying.states import status_at
from projecthub.files.paths import DIRECTORY, join

if TYPE_CHECKING:
    from projecthub.files.keeping import Keeper


def tell_committed(record: Path, keeper: Keeper) -> None:
    """Keep what a copy that was committed has displaced, and note what it has made. Blocks: run it in a thread.

    It may be told twice of one copy, as after a kill.

    Raises:
        OSError: The record cannot be read.
    """
    old_fd = os.open(record / records.OLD, DIRECTORY | os.O_NOFOLLOW)
    try:
        for number, path in _displaced(record):
            status = status_at(old_fd, str(number))
            if status is None:
                continue
            if stat.S_ISDIR(status.st_mode):
                keeper.replaced_directory(old_fd, str(number), path)
            else:
                keeper.replaced(old_fd, str(number), path, status)
    finally:
        os.close(old_fd)
    for path in _made(record):
        keeper.changed(path)


def tell_undone(record: Path, keeper: Keeper) -> None:
    """Note what a copy had changed, and what its undoing has changed again. Blocks: run it in a thread.

    Raises:
        OSError: The record cannot be read.
    """
    for path in dict.fromkeys((*(path for _, path in _displaced(record)), *_made(record))):
        keeper.changed(path)


def _displaced(record: Path) -> Iterator[tuple[int, str]]:
    """Numbers and paths of what had a name that was given to something else, or taken away."""
    root = records.read_json(record / records.HEAD)["root"]
    for deed in ("put", "delete", "tree"):
        for step in steps_of(record, deed):
            if step[4] is not None:
                yield step[1], _path(root, step)


def _made(record: Path) -> Iterator[str]:
    root = records.read_json(record / records.HEAD)["root"]
    led_by, copied = _way(record)
    for deed in ("put", "tree", "backup"):
        for step in steps_of(record, deed):
            if deed == "tree" and join(step[2], step[3]) == led_by:
                yield from (join(root, path) for path in copied)
            else:
                yield _path(root, step)


def _way(record: Path) -> tuple[str | None, list[str]]:
    """The topmost of directories that were made only to lead to what is copied, and what that is; None: none were.

    They may hold much more than that by now: copies of all others that were collected with it.
    """
    first: str | None = None
    with Plan(record / records.PLAN) as plan:
        for part in plan.parts():
            is_on_the_way = part["s"] in (NEW, IN_NEW) and part.get("d", (0, 0))[1] is None
            if is_on_the_way:
                first = part["p"] if first is None else first
            elif "d" in part:
                return first, [part["p"]]
            else:
                return first, [join(part["p"], row.name) for row in rows_of(part)]
    return first, []


def _path(root: str, step: list[Any]) -> str:
    return join(root, join(step[2], step[3]))
