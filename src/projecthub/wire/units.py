"""Units on the wire: milliseconds, ISO times, megabytes. Inside the house: seconds, aware UTC datetimes, bytes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

MEGABYTE = 1_000_000
"""Bytes in what the wire calls MB."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def to_ms(at: datetime) -> int:
    """Milliseconds since the epoch of an aware ``datetime``."""
    delta = at - _EPOCH
    return (delta.days * 86_400 + delta.seconds) * 1000 + delta.microseconds // 1000


def from_ms(ms: int) -> datetime:
    """The aware UTC ``datetime`` of milliseconds since the epoch."""
    return _EPOCH + timedelta(0, ms // 1000, ms % 1000 * 1000)


def to_iso(at: datetime) -> str:
    """ISO-8601 UTC with milliseconds: ``2025-11-21T14:55:21.253Z``.

    Source: Wire contract 1.1.
    """
    # Listings convert thousands of these: this is the quickest of the exact ways.
    return "%04d-%02d-%02dT%02d:%02d:%02d.%03dZ" % (  # noqa: UP031
        at.year,
        at.month,
        at.day,
        at.hour,
        at.minute,
        at.second,
        at.microsecond // 1000,
    )


def to_mb(size: int) -> int:
    """Whole megabytes of a size in bytes, rounded up, so that a file of one byte is seen."""
    return -(-size // MEGABYTE)
