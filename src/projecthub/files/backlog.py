"""How much is kept beside homes and not written down yet: little, however quickly files change.

What is kept beside a home counts in nobody's disk quota. So it is bounded: beyond that histories lack what changes.
"""

from __future__ import annotations

import threading
from collections import defaultdict
from pathlib import Path
from typing import Final

MAX_BYTES: Final = 128_000_000
"""What is kept beside one home, at most. Its histories hold a quarter of that, compressed."""
FILE_BYTES: Final = 4096
"""What a file takes besides what it holds."""


class Backlog:
    """Counts what journals take, by home and journal. For several threads.

    What a hub that was killed has left is not counted: it is written down and never more.
    """

    def __init__(self) -> None:
        """Nothing is kept."""
        self._lock = threading.Lock()
        self._journals: defaultdict[Path, dict[str, int]] = defaultdict(dict)
        self._totals: defaultdict[Path, int] = defaultdict(int)

    def take(self, home: Path, journal: str, size: int) -> bool:
        """Count some bytes more for a journal of a home, or tell that they are too many."""
        with self._lock:
            if self._totals.get(home, 0) + size > MAX_BYTES:
                return False
            self._totals[home] += size
            journals = self._journals[home]
            journals[journal] = journals.get(journal, 0) + size
            return True

    def written_down(self, home: Path, journal: str) -> None:
        """A journal is gone; nothing, if it was not counted."""
        with self._lock:
            if home not in self._journals:
                return
            self._totals[home] -= self._journals[home].pop(journal, 0)
            if not self._journals[home]:
                del self._journals[home], self._totals[home]

    def forget_gone(self) -> None:
        """Forget homes that are gone, with their journals. Blocks."""
        with self._lock:
            homes = [*self._journals]
        for home in homes:
            if not home.exists():
                with self._lock:
                    self._journals.pop(home, None)
                    self._totals.pop(home, None)
