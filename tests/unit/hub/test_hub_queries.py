"""User queries: what they may say, and what they answer."""

from __future__ import annotations

import asyncio
import json
import re
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from house import House, nobody
from hypothesis import given
from hypothesis import strategies as st

from projecthub.errors import HubError, QueryRefused
from projecthub.hub import query_conditions
from projecthub.hub.principals import Principal
from projecthub.hub.query_forms import parse_options, parse_query
from projecthub.hub.tables import TABLES
from projecthub.hub.tables.projects import PROJECTS, SETTINGS_DEFAULTS
from projecthub.store.records import State
from projecthub.wire.ids import ProjectId

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=10,
)


async def titles(house: House, caller: Principal, conditions: dict[str, Any], *options: dict[str, Any]) -> list[str]:
    reply = await house.ask(caller, {"projects_all": [{"title": None, **conditions}]}, *options)
    return [row["title"] for row in reply["projects_all"]]


def readable(table: str) -> dict[str, None]:
    return {name: None for name, field in TABLES[table].fields.items() if field.read is not None}


async def titled(house: House, owner: Principal, *names: str) -> list[ProjectId]:
    ids = []
    for name in names:
        house.clock.advance(seconds=1)
        at = {"created_at": house.clock.now(), "last_edited_at": house.clock.now()}
        ids.append(await house.project(owner, title=name, last_edited_at=at["last_edited_at"]))
    return ids


# -- the form of a query ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("query", "text"),
    [
        (None, "argument 'query' of db.userQuery is missing"),
        ("projects", "FATAL: must specify exactly one key in the query"),
        ({"a": {}, "b": {}}, "FATAL: must specify exactly one key in the query"),
        ({}, "query must be an object"),
        ({"projects": 5}, "FATAL: invalid user_query of 'projects' -- query must be an object"),
        ({"projects": []}, "FATAL: invalid user_query of 'projects' -- query must be an object"),
        ({"projects": [{"title": None}, {}]}, "FATAL: array of length > 1 not yet implemented"),
        ({"nothing": {"x": None}}, "FATAL: get queries not allowed for table 'nothing'"),
        ({"nothing": {"x": 1}}, "FATAL: table 'nothing' does not exist"),
        ({"projects_all": {"title": "x"}}, "FATAL: user set queries not allowed for table 'projects_all'"),
        ({"projects": [{"secret": None}]}, "FATAL: user get query not allowed for projects.secret"),
        ({"accounts": {"password_hash": None}}, "FATAL: user get query not allowed for accounts.password_hash"),
        ({"projects": {"project_id": "x", "title": None}}, "invalid project_id -- x"),
        ({"public_paths": [{"path": None}]}, "FATAL: must specify public_paths.project_id"),
    ],
)
async def test_queries_that_are_none(house: House, ann: Principal, query: Any, text: str) -> None:
    with pytest.raises(HubError) as refused:
        await house.ask(ann, query)
    assert text in refused.value.message


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"limit": 1}, 'FATAL: options (={"limit":1}) must be an array'),
        ([5], "must be an object"),
        ([{"limit": -1}], "give a whole number from 0"),
        ([{"limit": "5"}], "give a whole number from 0"),
        ([{"limit": True}], "give a whole number from 0"),
        ([{"order_by": "title; DROP"}], "ERROR -- invalid characters in order_by='title; DROP'"),
        ([{"order_by": 5}], "ERROR -- invalid characters in order_by='5'"),
        ([{"order_by": "users"}], "cannot be ordered by 'users'"),
        ([{"order_by": "nothing"}], "cannot be ordered by 'nothing'"),
        ([{"slice": 1}], "slice not implemented"),
        ([{"bogus": 1}], "unknown option 'bogus'"),
        ([{"delete": True}], "FATAL: delete from projects not allowed"),
        ([{"account_id": "x"}], "no uuid"),
    ],
)
async def test_options_that_are_none(house: House, ann: Principal, options: Any, text: str) -> None:
    with pytest.raises(QueryRefused) as refused:
        await house.queries.run(ann, {"projects": [{"title": None}]}, options)
    assert text in refused.value.message


@given(JSON)
def test_whatever_is_sent_is_a_query_or_refused(value: Any) -> None:
    for parse in (parse_query, parse_options):
        try:
            parse(value)
        except QueryRefused as error:
            assert len(error.message) < 1000


async def test_hostile_queries_are_answered_or_refused(house: House, ann: Principal) -> None:
    await house.project(ann)
    hostile: list[Any] = [{}, [], 1e308, -(2**63), 2**63, True, "\ud800", "'; --", {"x": {}}, {"==": {"==": 1}}, [[1]]]
    operators = ["=", "IS", "IS NOT", "ANY", "LIKE", "ILIKE", "MINLEN", "MAXLEN", ">=", "<>", "nonsense"]
    for name in ("title", "last_edited", "deleted", "ephemeral", "users", "state", "name"):
        for value in hostile + [{op: v} for op in operators for v in hostile]:
            try:
                await house.ask(ann, {"projects": [{"project_id": None, name: value}]})
            except HubError as error:
                assert error.code != "internal", (name, value, error.message)


async def test_a_list_of_queries_is_answered_in_order_until_one_fails(house: House, ann: Principal) -> None:
    project_id = await house.project(ann)
    rename = {"projects": {"project_id": project_id, "title": "One"}}
    read = {"projects": {"project_id": project_id, "title": None}}
    assert await house.ask(ann, [rename, read]) == [{}, {"projects": {"project_id": project_id, "title": "One"}}]
    with pytest.raises(QueryRefused):
        await house.ask(ann, [{"projects": {"project_id": project_id, "title": "Two"}}, {"nothing": {}}])
    assert await house.field(ann, project_id, "title") == "Two"
    with pytest.raises(QueryRefused, match="101 queries"):
        await house.ask(ann, [read] * 101)


# -- reading ---------------------------------------------------------------------------------------


async def test_one_row_keeps_its_nulls_and_many_drop_them(house: House, ann: Principal) -> None:
    shape = {"title": None, "deleted": None, "users": None, "name": None, "description": None}
    project_id = await house.project(ann)
    users = {ann.account_id: {"group": "owner"}}
    seen = {"title": "A project", "users": users, "description": ""}
    one = await house.ask(ann, {"projects": {**shape, "project_id": project_id}})
    assert one == {"projects": {**seen, "deleted": None, "name": None, "project_id": project_id}}
    assert await house.ask(ann, {"projects": [shape]}) == {"projects": [seen]}


async def test_a_long_answer_is_that_of_its_rows_one_by_one(house: House, ann: Principal, bob: Principal) -> None:
    """Its JSON is made of many rows at a time, by functions of its own."""
    ids = [
        await house.project(ann, bob, title='"Q" \\ / \x00\x1f\x7f \u2028 é 🎈'.replace("\x00", ""), deleted=False),
        await house.project(ann, title="", description="\n\t", deleted=True, sandbox=True, ephemeral_ms=2**53),
        await house.project(bob, ann, name="a-name", color="#fff", env={"A": '"b"'}, settings={"cores": 1e16}),
        await house.project(ann, state=State.ERROR, state_error='died: "é"', site_license={"l": {}}),
        await house.project(bob, ann, state=State.RUNNING, manage_users_owner_only=True, course={"a": [1.0, None]}),
        *[await house.project(ann, title=f"number {number}") for number in range(600)],
    ]
    async with house.store.write() as tx:
        await tx.collaborators.update(ids[0], bob.account_id, {"hide": True, "upgrades": {"a": 1e16}})
        await tx.collaborators.update(ids[2], bob.account_id, {"ssh_keys": {'"!": é': {}}})
        await tx.projects.touch(ids[1], ann.account_id, datetime(1999, 12, 31, 23, 59, 59, 999_000, tzinfo=UTC))
    every = {name: None for name, field in PROJECTS.fields.items() if field.read is not None}
    fast = {name: None for name in every if PROJECTS.fields[name].texts is not None}
    for fields in (
        fast,
        {**fast, "project_id": {"!=": ids[3]}},
        {"users": None},
        {"users": None, "title": None},
        every,
    ):
        whole = await house.queries.run(ann, {"projects_all": [fields]}, [{"order_by": "created"}])
        alone = [
            await house.queries.run(ann, {"projects_all": [{**fields, "project_id": one}]}, None)
            for one in ids
            if not isinstance(fields.get("project_id"), dict) or one != ids[3]
        ]
        rows = [one.removeprefix(b'{"projects_all":[').removesuffix(b"]}") for one in alone]
        if "project_id" not in fields:
            rows = [re.sub(rb'.?"project_id":"[^"]*"', b"", row) for row in rows]
        assert sorted(json.loads(whole)["projects_all"], key=repr) == sorted(
            (json.loads(row) for row in rows), key=repr
        )
        assert len(whole) == len(b'{"projects_all":[]}') + sum(map(len, rows)) + len(rows) - 1
        assert all(row in whole for row in rows)


async def test_a_long_answer_lets_others_go_first(house: House, ann: Principal) -> None:
    for _ in range(1200):
        await house.project(ann)
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0)
            turns += 1

    task = asyncio.create_task(others())
    try:
        for fields in ({"users": None, "title": None}, {"users": None, "last_active": None}):
            before = turns
            assert len((await house.ask(ann, {"projects_all": [fields]}))["projects_all"]) == 1200
            assert turns - before > 2
    finally:
        task.cancel()


async def test_what_matches_nothing(house: House, ann: Principal) -> None:
    assert await house.ask(ann, {"projects": {"title": None}}) == {}
    assert await house.ask(ann, {"projects": [{"title": None}]}) == {"projects": []}
    assert await house.ask(ann, {"accounts": {"first_name": None, "account_id": nobody()}}) == {}


async def test_one_of_many_is_the_one_that_was_used_last(house: House, ann: Principal) -> None:
    await titled(house, ann, "old", "new")
    assert await house.ask(ann, {"projects": {"title": None}}) == {"projects": {"title": "new"}}


async def test_options(house: House, ann: Principal) -> None:
    await titled(house, ann, "b", "c", "a")
    assert await titles(house, ann, {}, {"order_by": "title"}) == ["a", "b", "c"]
    assert await titles(house, ann, {}, {"order_by": "-title"}, {"limit": 2}) == ["c", "b"]
    assert await titles(house, ann, {}, {"order_by": '"last_edited", -title'}) == ["b", "c", "a"]
    assert await titles(house, ann, {}, {"limit": 0}) == []
    assert await titles(house, ann, {}, {"only_changes": True}) == []
    assert await titles(house, ann, {}, {"heartbeat": 5}, {"limit": 10**9}) != []


async def test_a_kind_can_be_forced(house: House, ann: Principal) -> None:
    project_id = await house.project(ann)
    query = {"projects": {"project_id": project_id, "title": "Forced", "description": None}}
    assert await house.ask(ann, query, {"set": True}) == {}
    assert await house.field(ann, project_id, "title") == "Forced"
    asked = {"projects": {"project_id": project_id, "title": "Forced"}}
    assert await house.ask(ann, asked, {"set": False}) == asked


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ("beta", ["beta"]),
        ({"=": "beta"}, ["beta"]),
        ({"==": "beta"}, ["beta"]),
        ({"!=": "beta"}, ["Alpha", "gamma 100%"]),
        ({"<>": "beta"}, ["Alpha", "gamma 100%"]),
        ({"<": "beta"}, ["Alpha"]),
        ({">=": "beta", "<": "c"}, ["beta"]),
        ({"LIKE": "%a"}, ["Alpha", "beta"]),
        ({"LIKE": "a%"}, []),
        ({"ILIKE": "a%"}, ["Alpha"]),
        ({"NOT ILIKE": "a%"}, ["beta", "gamma 100%"]),
        ({"NOT LIKE": "%\\%"}, ["Alpha", "beta"]),
        ({"ANY": ["beta", "Alpha", "x"]}, ["Alpha", "beta"]),
        ({"MINLEN": 5}, ["Alpha", "gamma 100%"]),
        ({"MAXLEN": 4}, ["beta"]),
        ({"IS NOT": None}, ["Alpha", "beta", "gamma 100%"]),
    ],
)
async def test_operators(house: House, ann: Principal, condition: Any, expected: list[str]) -> None:
    await titled(house, ann, "Alpha", "beta", "gamma 100%")
    reply = await house.ask(
        ann, {"projects_all": [{"title": condition, "project_id": None}]}, {"order_by": "title"}, {"set": False}
    )
    assert [row["title"] for row in reply["projects_all"]] == expected


async def test_times_are_compared_with_now(house: House, ann: Principal) -> None:
    await titled(house, ann, "old")
    house.clock.advance(days=5)
    await titled(house, ann, "new")
    for unit, count in (("days", -3), ("day", -3), ("hours", -72), ("seconds", -259_200), ("months", -0.1)):
        since = {">=": {"relative_time": count, "unit": unit}}
        assert await titles(house, ann, {"last_edited": since}) == ["new"]
    assert await titles(house, ann, {"last_edited": {"<": {"relative_time": -3, "unit": "days"}}}) == ["old"]
    assert await titles(house, ann, {"last_edited": {">": "2026-03-02T00:00:00Z"}}) == ["new"]
    for wrong in ({"relative_time": "soon"}, {"relative_time": 1e300, "unit": "years"}, {"unit": "days"}, "never"):
        with pytest.raises(QueryRefused, match="no time"):
            await titles(house, ann, {"last_edited": {">": wrong}})


async def test_placeholders(house: House, ann: Principal) -> None:
    asked = {"accounts": {"account_id": "{account_id}", "first_name": None}}
    assert (await house.ask(ann, asked))["accounts"]["first_name"] == "Ann"
    project_id = await house.project(ann)
    await house.ask(ann, {"projects": {"project_id": project_id, "users": {"{account_id}": {"hide": True}}}})
    assert (await house.field(ann, project_id, "users"))[ann.account_id] == {"group": "owner", "hide": True}
    assert await titles(house, ann, {"last_edited": {"<=": "{now}"}}) == ["A project"]


# -- who sees what ---------------------------------------------------------------------------------


async def test_projects_are_seen_by_whoever_is_on_them(
    house: House, ann: Principal, bob: Principal, cid: Principal, admin: Principal
) -> None:
    project_id = await house.project(ann, bob)
    for caller in (ann, bob):
        assert await titles(house, caller, {}) == ["A project"]
    for caller in (cid, admin):
        assert await titles(house, caller, {}) == []
    assert await house.field(admin, project_id, "title") == "A project"
    for asked in (project_id, "00000000-0000-4000-8000-000000000000"):
        with pytest.raises(QueryRefused) as refused:
            await house.field(cid, ProjectId(asked), "title")
        assert refused.value.message == (
            f"FATAL: you do not have read access to this project -- account_id={cid.account_id}, project_id_=undefined"
        )


async def test_a_site_admin_asks_as_somebody_else_with_no_more_rights(
    house: House, ann: Principal, bob: Principal, admin: Principal
) -> None:
    project_id = await house.project(ann)
    as_ann, as_bob = {"account_id": ann.account_id}, {"account_id": bob.account_id}
    asked = {"projects": [{"project_id": project_id, "title": None}]}
    assert await house.ask(admin, asked, as_ann) == {"projects": [{"project_id": project_id, "title": "A project"}]}
    with pytest.raises(QueryRefused, match="read access"):
        await house.ask(admin, asked, as_bob)
    with pytest.raises(QueryRefused, match="must be admin to sudo"):
        await house.ask(bob, asked, as_ann)


async def test_recent_projects_are_those_of_six_weeks(house: House, ann: Principal) -> None:
    (project_id,) = await titled(house, ann, "old")
    house.clock.advance(weeks=6)
    assert await house.ask(ann, {"projects": [{"title": None}]}) == {"projects": []}
    assert await house.field(ann, project_id, "title") == "old"
    assert await titles(house, ann, {}) == ["old"]


async def test_recent_projects_are_300_unless_a_limit_is_given(
    house: House, ann: Principal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(TABLES, "projects", replace(PROJECTS, limit=2))  # type: ignore[arg-type]
    monkeypatch.setattr(query_conditions, "HARD_LIMIT", 3)
    await titled(house, ann, "1", "2", "3", "4")

    async def count(*options: dict[str, Any]) -> int:
        return len((await house.ask(ann, {"projects": [{"title": None}]}, *options))["projects"])

    assert [await count(), await count({"limit": 1}), await count({"limit": 5})] == [2, 1, 3]


async def test_the_account_is_ones_own(house: House, ann: Principal, bob: Principal) -> None:
    seen = await house.ask(ann, {"accounts": [{"account_id": None, "email_address": None}]})
    assert seen == {"accounts": [{"account_id": ann.account_id, "email_address": "ann@example.org"}]}
    assert await house.ask(ann, {"accounts": [{"account_id": bob.account_id, "email_address": None}]}) == {
        "accounts": []
    }


async def test_every_readable_field_can_be_read(house: House, ann: Principal) -> None:
    project_id = await house.project(ann)
    await house.projects.start(ann, project_id)
    await house.projects.touch(ann, project_id)
    await house.change(ann, project_id, env={"A": "b"}, title="Whole")
    fields = readable("projects")
    shape = {**fields, "project_id": project_id}
    row = (await house.ask(ann, {"projects": shape}))["projects"]
    assert set(row) == set(fields)
    assert row["state"] == {"state": "running", "time": "2026-03-01T12:00:00.123Z", "ip": "127.0.0.1"}
    assert set(row["status"]) == {"project.pid", "start_ts", "session_id"}
    assert row["last_active"] == {ann.account_id: "2026-03-01T12:00:00.123Z"}
    assert row["settings"] == SETTINGS_DEFAULTS
    assert (row["compute_image"], row["env"], row["title"]) == ("default", {"A": "b"}, "Whole")
    await house.projects.stop(ann, project_id)
    assert (await house.field(ann, project_id, "state"))["state"] == "opened"
    account = (await house.ask(ann, {"accounts": readable("accounts")}))["accounts"]
    assert set(account) == set(readable("accounts"))
    assert account["first_name"] == "Ann"
    share = {"project_id": project_id, "path": "shared"}
    await house.ask(ann, {"public_paths": share})
    shares = (await house.ask(ann, {"public_paths": [{**readable("public_paths"), **share}]}))["public_paths"]
    assert shares[0]["path"] == "shared"
    assert shares[0]["disabled"] is False


async def test_an_error_state_is_told_in_its_row(house: House, ann: Principal) -> None:
    project_id = await house.project(ann, state="error", state_error="no luck")
    assert (await house.field(ann, project_id, "state"))["error"] == "no luck"


async def test_a_bad_id_of_shares(house: House, ann: Principal) -> None:
    with pytest.raises(QueryRefused, match="invalid project_id -- x"):
        await house.ask(ann, {"public_paths": [{"project_id": "x", "path": None}]})


@pytest.mark.parametrize("table", ["projects", "projects_all", "projects_admin"])
@pytest.mark.parametrize("value", [None, "x"])
async def test_the_secret_of_a_session_is_no_field(
    house: House, ann: Principal, admin: Principal, table: str, value: Any
) -> None:
    project_id = await house.project(ann)
    asked = {"project_id": project_id, "title": None, "secret_token": value}
    for shape in (asked, [asked]):
        with pytest.raises(QueryRefused, match=f"^FATAL: user get query not allowed for {table}.secret_token$"):
            await house.ask(admin if table == "projects_admin" else ann, {table: shape})


async def test_what_has_no_value_here_cannot_be_compared(house: House, ann: Principal) -> None:
    with pytest.raises(QueryRefused, match="stripe_customer has no value here"):
        await house.ask(ann, {"accounts": {"first_name": None, "stripe_customer": "x"}})
