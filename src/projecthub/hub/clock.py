"""Time, as a port."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """Tells the time."""

    def now(self) -> datetime:
        """The time now: aware, UTC, in whole milliseconds (what the store and the wire can hold)."""
        ...


class SystemClock:
    """The machine's clock."""

    def now(self) -> datetime:
        """The time now."""
        now = datetime.now(UTC)
        return now.replace(microsecond=now.microsecond // 1000 * 1000)
