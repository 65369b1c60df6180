"""What the snapshots of a project take, and the removal of what none of them needs.

The manifests that count are read, and what they name is marked. Very many names are taken in portions, by their first
letters, so that what is in memory does not grow with them.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

from projecthub.files.paths import DIRECTORY
from projecthub.files.places import closing
from projecthub.files.snapshots.manifests import FILE, Entry, read, read_what_is_sound
from projecthub.files.snapshots.shelves import Shelf, charge

_MARKED_AT_ONCE: Final = 300_000
_HEX: Final = "0123456789abcdef"


def sweep(shelf: Shelf, manifests: Sequence[Path], files: int, check: Callable[[], None] = lambda: None) -> int:
    """Remove the objects that none of these manifests names; tells what they counted.

    Args:
        shelf: The shelf.
        manifests: Those of all snapshots that are to stay. If one is damaged, nothing is removed.
        files: How many files they have, together.
        check: Called again and again; raises to end the work, which may be begun anew.

    Raises:
        InternalError: A manifest is damaged.
    """
    freed = 0
    try:
        objects_fd = os.open(shelf.objects, DIRECTORY)
    except FileNotFoundError:
        return 0
    with closing(objects_fd):
        for prefix in _portions(files):
            marked = {entry.content for manifest in manifests for entry in read(manifest) if _is_in(prefix, entry)}
            for name in _names(objects_fd, prefix):
                check()
                if name not in marked:
                    freed += shelf.drop(name, objects_fd)
    return freed


def freed_by(shelf: Shelf, droppable: Sequence[Path], kept: Sequence[Path], files: int) -> list[int]:
    """What comes free, of what the objects on a shelf count, when snapshots are dropped one after the other.

    Args:
        shelf: The shelf.
        droppable: Manifests of those that may go, in the order in which they would.
        kept: Manifests of those that stay, and of one that is about to come.
        files: How many files they have, together.

    Returns:
        For each that may go: what comes free by it, when those before it are gone.
    """
    freed = [0] * len(droppable)
    with closing(os.open(shelf.objects, DIRECTORY)) as objects_fd:
        for prefix in _portions(files):
            needed_by: dict[str, int] = {}
            for rank, manifest in enumerate([*droppable, *kept]):
                for entry in read_what_is_sound(manifest):
                    if _is_in(prefix, entry):
                        needed_by[entry.content] = rank
            for name, rank in needed_by.items():
                if rank < len(droppable):
                    try:
                        status = os.stat(name, dir_fd=objects_fd, follow_symlinks=False)
                    except FileNotFoundError:
                        continue
                    freed[rank] += charge(name, status)
    return freed


def _portions(files: int) -> Iterator[str]:
    if files <= _MARKED_AT_ONCE:
        yield ""
    else:
        yield from _HEX


def _is_in(prefix: str, entry: Entry) -> bool:
    return entry.kind == FILE and bool(entry.content) and entry.content.startswith(prefix)


def _names(objects_fd: int, prefix: str) -> Iterator[str]:
    with os.scandir(objects_fd) as scan:
        for entry in scan:
            if entry.name.startswith(prefix):
                yield entry.name
