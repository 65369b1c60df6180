from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from projecthub.errors import InvalidArgument
from projecthub.hub.clock import SystemClock
from projecthub.hub.times import parse_time
from projecthub.wire.units import from_ms, to_iso, to_ms


@pytest.mark.parametrize(
    ("value", "at"),
    [
        ("2026-03-01", datetime(2026, 3, 1, tzinfo=UTC)),
        ("2026-03-01T12:00:00Z", datetime(2026, 3, 1, 12, tzinfo=UTC)),
        ("2026-03-01T12:00:00+02:00", datetime(2026, 3, 1, 10, tzinfo=UTC)),
        ("2026-03-01T12:00:00.123999", datetime(2026, 3, 1, 12, 0, 0, 123_000, tzinfo=UTC)),
        (0, datetime(1970, 1, 1, tzinfo=UTC)),
        (1_500.9, datetime(1970, 1, 1, 0, 0, 1, 500_000, tzinfo=UTC)),
        (-1, datetime(1969, 12, 31, 23, 59, 59, 999_000, tzinfo=UTC)),
        (None, None),
    ],
)
def test_times_that_come_from_outside(value: Any, at: datetime | None) -> None:
    assert parse_time(value, "expire") == at


@pytest.mark.parametrize("value", ["", "soon", "2026-13-01", "9" * 1000, 2**62, -(2**62), 1e300, True, [], {}])
def test_what_is_no_time(value: Any) -> None:
    with pytest.raises(InvalidArgument, match=r"^expire is ") as refused:
        parse_time(value, "expire")
    assert len(refused.value.message) < 400


@given(st.datetimes(timezones=st.just(UTC)))
def test_what_is_told_can_be_given_back(at: datetime) -> None:
    whole = at.replace(microsecond=at.microsecond // 1000 * 1000)
    assert parse_time(to_iso(whole), "expire") == whole
    assert parse_time(to_ms(whole), "expire") == whole


@given(st.text() | st.integers() | st.floats() | st.booleans() | st.none())
def test_anything_is_a_time_or_refused(value: Any) -> None:
    try:
        at = parse_time(value, "expire")
    except InvalidArgument:
        return
    assert at is None or (at.tzinfo is UTC and from_ms(to_ms(at)) == at)


def test_the_machines_clock_tells_what_the_wire_can_hold() -> None:
    now = SystemClock().now()
    assert from_ms(to_ms(now)) == now
