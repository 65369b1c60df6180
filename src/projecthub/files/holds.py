"""To what the file system holds each project, where it does so: its quota, and what the hub may write beside that."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from projecthub.files import kernel_quotas

T = TypeVar("T")

_BESIDE_BYTES = 1_000_000
"""For the directories that the hub has beside a home."""
_LENT_BYTES = 2_000_000
"""For what the hub does in a home: a full one can be emptied, though to move something into the trash needs room."""


@dataclass(slots=True)
class _Hold:
    """What a project may take.

    Attributes:
        size: Its home, with all that is kept beside that.
        promised: What copies under way may write besides.
        lent: For how many works of the hub there is more room now.
        floor: To this at least, while there are some: room beyond what was taken when the first of them began.
    """

    size: int
    promised: int = 0
    lent: int = 0
    floor: int = 0

    @property
    def limit(self) -> int:
        """Never more than twice the size: a project's own processes may be quicker than who was to have the room."""
        limit = self.size + min(self.promised, self.size)
        return max(limit, min(self.floor, 2 * self.size) + _LENT_BYTES) if self.lent else limit


class Holds:
    """The limits of projects' directories: of the home with all that the hub keeps beside it. Safe for several threads.

    What the file system refuses here is no error: homes are measured all the same.

    Attributes:
        are_offered: Whether the file system holds directories to limits; else nothing happens here.
    """

    def __init__(self) -> None:
        """Nothing is offered, until somebody has found out."""
        self.are_offered = False
        self._lock = threading.Lock()
        self._holds: dict[Path, _Hold] = {}

    def hold(self, directory: Path, size: int, promised: Callable[[], int]) -> None:
        """Hold a project to a size from now on.

        Args:
            directory: The project's.
            size: What its home and all that is kept beside it may take, in bytes.
            promised: Tells what copies under way may write; what was promised to others is taken back.
        """
        if self.are_offered:
            with self._lock:
                hold = self._holds.setdefault(directory, _Hold(0))
                hold.size, hold.promised = size + _BESIDE_BYTES, promised()
                self._set(directory, hold)

    def promise(self, directory: Path, promised: Callable[[], int]) -> None:
        """Copies under way may write more than before, or less; ``promised`` tells how much beside what is there."""
        with self._change(directory) as hold:
            if hold is not None:
                hold.promised = promised()

    def promised(self) -> set[str]:
        """The projects that may take more since copies into them have begun."""
        with self._lock:
            return {directory.name for directory, hold in self._holds.items() if hold.promised}

    def lending(self, directories: Collection[Path], work: Callable[[], T]) -> Callable[[], T]:
        """Work of the hub that has a little room even in full projects, as long as it lasts."""
        if not self.are_offered:
            return work

        def lent() -> T:
            with contextlib.ExitStack() as stack:
                for directory in directories:
                    if self._lend(directory, 1):
                        stack.callback(self._lend, directory, -1)
                return work()

        return lent

    def limit_of(self, directory: Path) -> int | None:
        """What the file system holds a directory to, in bytes; None: to nothing."""
        if self.are_offered:
            with contextlib.suppress(OSError):
                return kernel_quotas.limit_of(directory)
        return None

    def _lend(self, directory: Path, works: int) -> bool:
        with self._change(directory) as hold:
            if hold is not None:
                if not hold.lent:
                    with contextlib.suppress(OSError):
                        hold.floor = kernel_quotas.used_bytes(directory) or 0
                hold.lent += works
            return hold is not None

    @contextlib.contextmanager
    def _change(self, directory: Path) -> Iterator[_Hold | None]:
        """What a directory is held to, to be changed; None: to nothing."""
        if not self.are_offered:
            yield None
            return
        with self._lock:
            hold = self._holds.get(directory)
            if hold is None and (limit := self.limit_of(directory)) is not None:  # since another hub, it may be
                hold = self._holds[directory] = _Hold(limit)
            yield hold
            if hold is not None:
                self._set(directory, hold)

    def _set(self, directory: Path, hold: _Hold) -> None:
        with contextlib.suppress(OSError):
            kernel_quotas.limit(directory, hold.limit)
