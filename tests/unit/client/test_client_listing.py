"""`projects.get` against a plain model of wire contract 2.1."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from projecthub.client.listing import DEFAULT_FIELDS, Listing
from projecthub.client.requests import is_get
from projecthub.errors import InvalidArgument, ProtocolError
from projecthub.wire.units import to_iso

ADA, BEN = "aaaaaaaa-0000-4000-8000-000000000000", "bbbbbbbb-0000-4000-8000-000000000000"
EPOCH = datetime(2025, 1, 1, tzinfo=UTC)

# Few different values, so that ties are common and every level of the order is reached.
times = st.sampled_from([to_iso(EPOCH + timedelta(milliseconds=ms)) for ms in (0, 1, 999, 86_400_000)])
members = st.fixed_dictionaries({"group": st.just("owner")}, optional={"hide": st.booleans()})
rows = st.fixed_dictionaries(
    {"project_id": st.uuids().map(str), "last_edited": times, "created": times},
    optional={
        "title": st.sampled_from(["", "alpha", "Alpha", "beta", "Ärger"]),
        "state": st.one_of(
            st.just({}), st.builds(dict, state=st.sampled_from(["opened", "running", "starting", "error", "Running"]))
        ),
        "deleted": st.booleans(),
        "users": st.dictionaries(st.sampled_from([ADA, BEN]), members),
    },
)
maybe_bool = st.one_of(st.none(), st.booleans())
filters = st.fixed_dictionaries(
    {},
    optional={
        "deleted": maybe_bool,
        "hidden": maybe_bool,
        "account_id_for_hidden": st.sampled_from([None, ADA, BEN, "nobody"]),
        "state": st.sampled_from([None, "", "opened", "stopped", "STOPPED", "running", "error", "no such"]),
        "limit": st.one_of(st.none(), st.integers(0, 5)),
    },
)


def model(table: list[dict[str, Any]], wanted: dict[str, Any]) -> list[dict[str, Any]]:
    found = list(table)
    if (deleted := wanted.get("deleted")) is not None:
        found = [row for row in found if bool(row.get("deleted")) == deleted]
    if state := wanted.get("state"):
        words = {"stopped", "opened"} if state.lower() in ("stopped", "opened") else {state.lower()}
        found = [row for row in found if row.get("state", {}).get("state", "").lower() in words]
    if (hidden := wanted.get("hidden")) is not None and (account := wanted.get("account_id_for_hidden")):
        found = [row for row in found if bool(row.get("users", {}).get(account, {}).get("hide")) == hidden]
    # Stable sorts from the least to the most significant; ISO times in UTC of one width sort as text.
    for key in ("project_id", "title", "created", "last_edited"):
        found.sort(key=lambda row, key=key: row.get(key, "").lower(), reverse=True)
    return found[: wanted.get("limit")]


@given(st.lists(rows, max_size=12, unique_by=lambda row: row["project_id"]), filters)
def test_filters_order_and_limit(table: list[dict[str, Any]], wanted: dict[str, Any]) -> None:
    assert Listing(**wanted).rows({"projects": table}) == model(table, wanted)


@given(
    st.lists(rows, max_size=6, unique_by=lambda row: row["project_id"]),
    filters,
    st.sets(st.sampled_from(DEFAULT_FIELDS)),
)
def test_which_fields_are_asked_for_changes_no_choice(
    table: list[dict[str, Any]], wanted: dict[str, Any], fields: set[str]
) -> None:
    shown = Listing(fields=sorted(fields), **wanted).rows({"projects": table})
    expected = [{name: row[name] for name in row if name in fields} for row in model(table, wanted)]
    assert shown == expected


@given(st.lists(st.sampled_from(["project_id", "title", "env"])), st.booleans(), st.sampled_from([None, ADA]))
def test_every_query_reads(fields: list[str], all: bool, project_id: str | None) -> None:
    query = Listing(fields=fields, all=all, project_id=project_id).query()
    assert is_get(query)
    ((table, (asked,)),) = query.items()
    assert table == ("projects_all" if all or project_id else "projects")
    assert asked.keys() >= set(fields)
    assert asked["project_id"] == project_id


def test_the_default_query() -> None:
    ((asked,),) = Listing().query().values()
    assert list(asked) == list(DEFAULT_FIELDS)
    assert set(asked.values()) == {None}


def test_filters_ask_for_what_they_look_at() -> None:
    listing = Listing(fields=["title"], state="running", deleted=False, hidden=False, account_id_for_hidden=ADA)
    assert listing.query()["projects"][0].keys() >= {"state", "deleted", "users"}


def test_one_project_shows_its_id_even_without_fields() -> None:
    reply = {"projects_all": [{"project_id": ADA, "title": "x", "last_edited": "2025-01-01T00:00:00.000Z"}]}
    assert Listing(fields=[], project_id=ADA).rows(reply) == [{"project_id": ADA}]


def test_rows_with_foreign_values_sort_last_and_break_nothing() -> None:
    odd: list[dict[str, Any]] = [
        {"project_id": "1", "last_edited": 7, "title": None, "state": "running", "users": []},
        {"project_id": "2", "last_edited": "yesterday", "users": {ADA: None}},
        {"project_id": "3", "last_edited": "2025-01-01T00:00:00"},
    ]
    assert [row["project_id"] for row in Listing().rows({"projects": odd})] == ["3", "2", "1"]
    assert Listing(hidden=True, account_id_for_hidden=ADA).rows({"projects": odd}) == []
    assert Listing(state="running").rows({"projects": odd}) == []


@pytest.mark.parametrize("reply", [None, [], {}, {"projects": None}, {"projects": [1]}, {"projects_all": []}])
def test_another_answer_is_not_the_wire(reply: Any) -> None:
    with pytest.raises(ProtocolError):
        Listing().rows(json.loads(json.dumps(reply)))


@pytest.mark.parametrize("wrong", [{"limit": -1}, {"fields": "title"}])
def test_wrong_arguments_are_named(wrong: dict[str, Any]) -> None:
    with pytest.raises(InvalidArgument, match=r"-1|title"):
        Listing(**wrong)
