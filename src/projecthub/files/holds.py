"""To what the file system holds each project, where it does so: its quota, and what the hub may write beside that."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
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
    size: int
    promised: int = 0
    lent: int = 0

    @property
    def limit(self) -> int:
        return self.size + self.promised + self.lent


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
        self._promised: set[Path] = set()

    def hold(self, directory: Path, size: int, promised: int) -> None:
        """Hold a project to a size from now on.

        Args:
            directory: The project's.
            size: What its home and all that is kept beside it may take, in bytes.
            promised: And what copies under way may write; what was promised to others is taken back.
        """
        with self._lock:
            hold = self._holds.setdefault(directory, _Hold(0))
            hold.size, hold.promised = size + _BESIDE_BYTES, promised
            (self._promised.add if promised else self._promised.discard)(directory)
            self._set(directory, hold)

    def promise(self, directory: Path, size: int) -> None:
        """Copies under way may write so many bytes beside what is there, until `hold` is called."""
        with self._change(directory) as hold:
            if hold is not None and size > hold.promised:
                hold.promised = size
                self._promised.add(directory)

    def promised(self) -> set[str]:
        """The projects that may take more since copies into them have begun."""
        with self._lock:
            return {directory.name for directory in self._promised}

    def lending(self, directory: Path, work: Callable[[], T]) -> Callable[[], T]:
        """Work of the hub that has a little room even in a full project, as long as it lasts."""
        if not self.are_offered:
            return work

        def lent() -> T:
            is_held = self._lend(directory, _LENT_BYTES)
            try:
                return work()
            finally:
                if is_held:
                    self._lend(directory, -_LENT_BYTES)

        return lent

    def limit_of(self, directory: Path) -> int | None:
        """What the file system holds a directory to, in bytes; None: to nothing."""
        if self.are_offered:
            with contextlib.suppress(OSError):
                return kernel_quotas.limit_of(directory)
        return None

    def _lend(self, directory: Path, size: int) -> bool:
        with self._change(directory) as hold:
            if hold is not None:
                hold.lent += size
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
