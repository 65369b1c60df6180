"""Identifiers and units of the wire."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from projecthub.wire.ids import is_share_id, is_uuid
from projecthub.wire.units import MEGABYTE, from_ms, ms_to_iso, to_iso, to_mb, to_ms

MOMENTS = st.datetimes(timezones=st.just(UTC)).map(lambda at: at.replace(microsecond=at.microsecond // 1000 * 1000))


@given(st.uuids(), st.booleans())
def test_uuids_of_any_version_and_case(value: uuid.UUID, upper: bool) -> None:
    assert is_uuid(str(value).upper() if upper else str(value))
    assert not is_uuid(value.hex)
    assert not is_uuid(value)
    assert not is_uuid(f"{value}\n")
    assert not is_uuid(f"{{{value}}}")


@given(st.text(max_size=40) | st.integers() | st.none())
def test_what_looks_like_an_id_is_one(value: object) -> None:
    if is_uuid(value):
        assert str(uuid.UUID(value)) == value.lower()
    if is_share_id(value):
        assert len(bytes.fromhex(value)) == 20


@pytest.mark.parametrize("value", ["f" * 39, "f" * 41, "F" * 40, "g" * 40, "f" * 40 + "\n", None, b"f" * 40])
def test_what_is_no_share_id(value: object) -> None:
    assert not is_share_id(value)


@given(MOMENTS)
def test_moments_survive_milliseconds(at: datetime) -> None:
    assert from_ms(to_ms(at)) == at


@given(st.integers(-62_135_596_800_000, 253_402_300_799_999))
def test_milliseconds_survive_moments(ms: int) -> None:
    assert to_ms(from_ms(ms)) == ms


@given(MOMENTS)
def test_moments_survive_iso(at: datetime) -> None:
    text = to_iso(at)
    assert ms_to_iso(to_ms(at)) == text
    assert len(text) == 24
    assert text.endswith("Z")
    assert datetime.fromisoformat(text) == at


@given(MOMENTS, MOMENTS)
def test_iso_times_sort_as_moments(one: datetime, other: datetime) -> None:
    assert (to_iso(one) < to_iso(other)) == (one < other)


@given(st.integers(0, 2**60))
def test_megabytes_are_rounded_up(size: int) -> None:
    assert (to_mb(size) - 1) * MEGABYTE < size <= to_mb(size) * MEGABYTE
