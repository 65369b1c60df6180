from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy.dialects import sqlite

from projecthub.store.accounts import ascii_lower
from projecthub.store.tables import Moment, dump_json, metadata

DIALECT = sqlite.dialect()
# Rows of accounts and messages are never deleted from their tables, so nobody asks who refers to them.
NEVER_LOOKED_UP = {
    ("project_log", "account_id"),
    ("messages", "from_id"),
    ("message_copies", "message_id"),
    ("snapshots", "account_id"),
}


@given(st.datetimes(timezones=st.just(UTC)))
def test_a_moment_is_kept_to_the_millisecond(at: datetime) -> None:
    bind = Moment().bind_processor(DIALECT)
    result = Moment().result_processor(DIALECT, None)
    assert bind is not None
    assert result(bind(at)) == at.replace(microsecond=at.microsecond // 1000 * 1000)


def test_no_moment_is_null() -> None:
    bind = Moment().bind_processor(DIALECT)
    assert bind is not None
    assert bind(None) is None
    assert Moment().result_processor(DIALECT, None)(None) is None


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


@given(values)
def test_json_round_trips(value: object) -> None:
    assert json.loads(dump_json(value)) == value


@pytest.mark.parametrize("value", [float("nan"), float("inf"), [float("-inf")]])
def test_json_without_nan(value: object) -> None:
    with pytest.raises(ValueError, match="JSON"):
        dump_json(value)


@given(st.text())
def test_ascii_lower_touches_ascii_only(text: str) -> None:
    lowered = ascii_lower(text)
    assert len(lowered) == len(text)
    for before, after in zip(text, lowered, strict=True):
        assert after == (before.lower() if before.isascii() else before)


def test_every_foreign_key_has_an_index_to_look_it_up() -> None:
    for table in metadata.sorted_tables:
        leading = {next(iter(index.columns)).name for index in table.indexes if len(index.columns)}
        leading.add(next(iter(table.primary_key.columns)).name)
        for key in table.foreign_keys:
            if (table.name, key.parent.name) in NEVER_LOOKED_UP:
                continue
            assert key.parent.name in leading, f"{table.name}.{key.parent.name}"
