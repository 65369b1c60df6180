"""Times that come from outside."""

from __future__ import annotations

from datetime import UTC, datetime

from projecthub.errors import InvalidArgument
from projecthub.wire.units import from_ms


def parse_time(value: object, name: str) -> datetime | None:
    """Read an ISO-8601 time (UTC unless it says otherwise) or milliseconds since the epoch; None stays None.

    Raises:
        InvalidArgument: It is neither, or a time that no calendar holds.
    """
    if value is None:
        return None
    try:
        if isinstance(value, str):
            at = datetime.fromisoformat(value)
            at = at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
            return at.replace(microsecond=at.microsecond // 1000 * 1000)
        if isinstance(value, int | float) and not isinstance(value, bool):
            return from_ms(int(value))
    except (ValueError, OverflowError, OSError) as error:
        raise _refused(value, name) from error
    raise _refused(value, name)


def _refused(value: object, name: str) -> InvalidArgument:
    return InvalidArgument(
        f"{name} is {str(value)[:100]!r}, which is no time; give an ISO-8601 time such as '2027-01-31T12:00:00Z', "
        "or milliseconds since 1970"
    )
