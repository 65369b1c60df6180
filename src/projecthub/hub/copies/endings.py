"""How an operation ends, and how long it is remembered then."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from projecthub.hub.copies.replies import state_of, totals_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from projecthub.store.copy_records import CopyTarget

PLAN_KEPT: Final = timedelta(days=1)
"""How long a plan is remembered, also one that was cancelled: whoever asks again and again leaves no heap."""
KEPT_FOR: Final = timedelta(days=30)
"""How long an operation that has ended is remembered."""
UNDO_FOR: Final = timedelta(days=7)


def ended(targets: Sequence[CopyTarget], now: datetime, *, applied: bool) -> dict[str, Any]:
    """What becomes of the row of an operation that has ended; ``applied``: it was more than a plan."""
    can_undo = any(target.kept_bytes is not None for target in targets)
    return {
        "state": state_of(targets),
        "updated_at": now,
        "finished_at": now,
        "expires_at": now + (KEPT_FOR if applied else PLAN_KEPT),
        "undo_until": now + UNDO_FOR if can_undo else None,
        "totals": totals_of(targets),
    }
