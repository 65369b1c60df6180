"""Times as calls take them."""

from __future__ import annotations

from datetime import UTC, datetime

from projecthub.errors import InvalidArgument
from projecthub.wire.units import to_iso

Time = str | int | datetime
"""An aware datetime, an ISO time, or milliseconds since the epoch."""


def on_the_wire(time: Time | None, name: str) -> str | int | None:
    """A time as the wire has it; what is no datetime is the hub's to look at.

    Args:
        time: It; of a datetime what is less than a millisecond is left out.
        name: What the call calls it, for the refusal.

    Raises:
        InvalidArgument: It is a datetime without a time zone, which may mean this machine's or UTC.
    """
    if not isinstance(time, datetime):
        return time
    if time.utcoffset() is None:
        raise InvalidArgument(
            f"{name} is {time.isoformat()}, a datetime without a time zone; give one with it, such as datetime.now(UTC)"
        )
    return to_iso(time.astimezone(UTC))
