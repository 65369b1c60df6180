"""Changes by set queries: of projects, of one's account, of shares."""

from __future__ import annotations

from typing import Any

import pytest
from house import House, nobody
from hypothesis import given
from hypothesis import strategies as st

from projecthub.errors import HubError, OwnershipDenied, PermissionDenied, QueryRefused, StartFailed
from projecthub.hub.principals import Principal
from projecthub.hub.values import boolean, mapping, merged, merged_within, text

UNKNOWN = "00000000-0000-4000-8000-000000000000"

_TREES = st.recursive(
    st.dictionaries(st.sampled_from("abc"), st.integers() | st.none(), max_size=3),
    lambda inner: st.dictionaries(st.sampled_from("abc"), inner | st.integers() | st.none(), max_size=3),
    max_leaves=8,
)


async def refusal(house: House, caller: Principal, query: Any) -> str:
    with pytest.raises(QueryRefused) as refused:
        await house.ask(caller, query, {"set": True})
    return refused.value.message


# -- values ----------------------------------------------------------------------------------------


def test_values_of_a_kind() -> None:
    assert text("f", "x") == "x"
    assert text("f", 5) == "5"
    assert text("f", 1.5) == "1.5"
    assert boolean("f", False) is False
    assert mapping("f", {}) == {}


@pytest.mark.parametrize(
    ("check", "value"),
    [(text, True), (text, []), (text, None), (text, "x" * 1_000_001), (boolean, 1), (boolean, "true"), (mapping, [])],
)
def test_values_of_another_kind(check: Any, value: Any) -> None:
    with pytest.raises(QueryRefused, match=r"^FATAL: error setting 'field' -- Error: ") as refused:
        check("field", value)
    assert len(refused.value.message) < 300


@given(_TREES, _TREES)
def test_merging_is_deep(stored: dict[str, Any], given_: dict[str, Any]) -> None:
    result = merged(stored, given_)
    for name, value in given_.items():
        if value is None:
            assert name not in result
        elif isinstance(value, dict):
            before = stored.get(name)
            assert result[name] == merged(before if isinstance(before, dict) else {}, value)
        else:
            assert result[name] == value
    for name in set(stored) - set(given_):
        assert result[name] == stored[name]
    assert merged(None, given_) == merged({}, given_)


def test_merging_has_an_end() -> None:
    assert merged_within("f", {"a": "x"}, {"b": "y"}, most=30) == {"a": "x", "b": "y"}
    with pytest.raises(QueryRefused, match="too many"):
        merged_within("f", {"a": "x" * 20}, {"b": "y" * 20}, most=30)
    assert merged_within("f", {"a": "x" * 20}, {"a": None}, most=30) == {}


# -- projects --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("title", "Soil"),
        ("description", "Samples"),
        ("compute_image", "ubuntu2404"),
        ("color", "#aabbcc"),
        ("avatar_image_tiny", "data:image/png;base64,xx"),
        ("name", "soil-2026.1"),
        ("env", {"NAME": "value"}),
        ("sandbox", True),
        ("manage_users_owner_only", True),
        ("invite_requests", {UNKNOWN: {"message": "let me in"}}),
        ("deleted", True),
    ],
)
async def test_each_field_is_stored(house: House, ann: Principal, name: str, value: Any) -> None:
    project_id = await house.project(ann)
    before = await house.field(ann, project_id, "last_edited")
    house.clock.advance(days=1)
    await house.change(ann, project_id, **{name: value})
    assert await house.field(ann, project_id, name) == value
    assert await house.field(ann, project_id, "last_edited") == before


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"last_edited": "2026-01-01"}, "FATAL: changing projects.last_edited not allowed"),
        ({"settings": {"cores": 100}}, "FATAL: changing projects.settings not allowed"),
        ({"state": {}}, "FATAL: changing projects.state not allowed"),
        ({"course": {}}, "FATAL: changing projects.course not allowed"),
        ({"title": []}, "FATAL: error setting 'title' -- Error: [] is no text"),
        ({"color": "x" * 101}, "too many"),
        ({"name": "no blanks"}, "must have 1 to 100 letters"),
        ({"name": ""}, "must have 1 to 100 letters"),
        ({"deleted": "yes"}, "neither true nor false"),
        ({"sandbox": 1}, "neither true nor false"),
        ({"env": {"A B": "x"}}, "no name of a variable"),
        ({"env": {"A": 5}}, "is no text"),
        ({"env": {"A": "x" * 100_000}}, "too many"),
        ({"env": []}, "no object"),
        ({"site_license": {UNKNOWN: {}}}, "there is no license with id"),
        ({"action_request": {"action": "explode"}}, "give start, stop or restart"),
        ({"users": {"x": {"hide": True}}}, "invalid account_id 'x'"),
        ({"users": {UNKNOWN: {"hide": True}}}, "is not on this project"),
    ],
)
async def test_each_refusal_changes_nothing(house: House, ann: Principal, fields: dict[str, Any], text: str) -> None:
    project_id = await house.project(ann)
    query = {"projects": {"project_id": project_id, "description": "new", **fields}}
    assert text in await refusal(house, ann, query)
    assert await house.field(ann, project_id, "description") == ""


@pytest.mark.parametrize(
    ("user", "text"),
    [
        ({"group": "owner"}, "changing collaborator group via user_set_query is not allowed"),
        ({"hide": "yes"}, "invalid type for field 'hide'"),
        ({"role": "owner"}, "unknown field 'role'"),
        ({"upgrades": []}, "no object"),
    ],
)
async def test_what_users_may_not_say_of_themselves(
    house: House, ann: Principal, user: dict[str, Any], text: str
) -> None:
    project_id = await house.project(ann)
    assert text in await refusal(house, ann, {"projects": {"project_id": project_id, "users": {ann.account_id: user}}})
    assert await house.field(ann, project_id, "users") == {ann.account_id: {"group": "owner"}}


async def test_users_change_others_only_in_hiding(house: House, ann: Principal, bob: Principal) -> None:
    project_id = await house.project(ann, bob)
    own = {"upgrades": {"memory": 1}, "ssh_keys": {"f": {"value": "v"}}}
    await house.change(bob, project_id, users={bob.account_id: own, ann.account_id: {"hide": True}})
    assert await house.field(ann, project_id, "users") == {
        ann.account_id: {"group": "owner", "hide": True},
        bob.account_id: {"group": "collaborator", **own},
    }
    for name in own:
        query = {"projects": {"project_id": project_id, "users": {ann.account_id: {name: {}}}}}
        assert "tried to change user" in await refusal(house, bob, query)


async def test_everybody_on_a_project_hides_it_from_their_own_list(
    house: House, ann: Principal, bob: Principal, cid: Principal, admin: Principal
) -> None:
    project_id = await house.project(ann)
    await house.viewer(project_id, bob)
    for value in (True, False):
        await house.change(bob, project_id, users={bob.account_id.upper(): {"hide": value}})
        assert (await house.field(ann, project_id, "users"))[bob.account_id] == {"group": "viewer", "hide": value}
    own, others = {bob.account_id: {"hide": True}}, {ann.account_id: {"hide": True}}
    for fields in (
        {"users": others},
        {"users": own | others},
        {"users": own, "title": "Taken"},
        {"users": own, "deleted": True},
        {"users": {bob.account_id: {"hide": True, "ssh_keys": {"f": {"value": "v"}}}}},
        {"users": {bob.account_id: {}}},
        {"users": {}},
        {},
    ):
        assert "must be an admin" in await refusal(house, bob, {"projects": {"project_id": project_id, **fields}})
    assert "invalid type" in await refusal(
        house, bob, {"projects": {"project_id": project_id, "users": {bob.account_id: {"hide": 1}}}}
    )
    assert "must be an admin" in await refusal(
        house, cid, {"projects": {"project_id": project_id, "users": {cid.account_id: {"hide": True}}}}
    )
    assert "not on this project" in await refusal(
        house, admin, {"projects": {"project_id": project_id, "users": {admin.account_id: {"hide": True}}}}
    )
    assert await house.field(ann, project_id, "users") == {
        ann.account_id: {"group": "owner"},
        bob.account_id: {"group": "viewer", "hide": False},
    }
    assert await house.log(project_id) == []


async def test_whose_projects_may_be_changed(
    house: House, ann: Principal, bob: Principal, cid: Principal, admin: Principal
) -> None:
    project_id = await house.project(ann, bob)
    for caller in (ann, bob, admin):
        await house.change(caller, project_id, title=f"by {caller.account_id}")
        assert await house.field(ann, project_id, "title") == f"by {caller.account_id}"
        await house.change(caller, project_id)
    assert await refusal(house, cid, {"projects": {"project_id": project_id, "title": "x"}})
    assert "unknown project_id" in await refusal(house, admin, {"projects": {"project_id": UNKNOWN, "title": "x"}})
    assert "must specify projects.project_id" in await refusal(house, ann, {"projects": {"title": "x"}})
    assert "invalid project_id -- x" in await refusal(house, ann, {"projects": {"project_id": "x", "title": "x"}})


@pytest.mark.parametrize("fields", [{"name": "mine"}, {"manage_users_owner_only": True}, {"sandbox": True}])
async def test_what_only_owners_change(
    house: House, ann: Principal, bob: Principal, admin: Principal, fields: dict[str, Any]
) -> None:
    project_id = await house.project(ann, bob)
    assert "owner" in await refusal(house, bob, {"projects": {"project_id": project_id, **fields}})
    for caller in (ann, admin):
        await house.change(caller, project_id, **fields)


async def test_names_are_unique_among_the_projects_of_an_owner(house: House, ann: Principal, bob: Principal) -> None:
    first, second, of_bob = await house.project(ann), await house.project(ann), await house.project(bob, ann)
    await house.change(ann, first, name="Soil")
    await house.change(ann, first, name="Soil")
    await house.change(bob, of_bob, name="soil")
    text = await refusal(house, ann, {"projects": {"project_id": second, "name": "soil"}})
    assert "There is already a project with the same owner as this project and name='soil'." in text


async def test_a_variable_is_taken_away_by_a_null(house: House, ann: Principal) -> None:
    project_id = await house.project(ann)
    await house.change(ann, project_id, env={"A": "1", "B": "2"})
    await house.change(ann, project_id, env={"A": None, "C": "3"})
    assert await house.field(ann, project_id, "env") == {"B": "2", "C": "3"}
    await house.projects.start(ann, project_id)
    assert house.engine.specs[-1].environment == {"B": "2", "C": "3"}


async def test_the_environment_does_not_grow_without_end(house: House, ann: Principal) -> None:
    project_id = await house.project(ann)
    await house.change(ann, project_id, env={"A": "x" * 60_000})
    query = {"projects": {"project_id": project_id, "env": {"B": "x" * 60_000}}}
    assert "too many" in await refusal(house, ann, query)


async def test_what_a_license_gives_is_not_for_its_users_to_say(house: House, ann: Principal) -> None:
    project_id, license_id = await house.project(ann), await house.license()
    await house.change(ann, project_id, site_license={license_id: {"quota": {"ram": 1000}, "status": "active"}})
    assert await house.field(ann, project_id, "site_license") == {license_id: {}}
    async with house.store.write() as tx:
        await tx.projects.update(project_id, {"site_license": {license_id: {"quota": {"ram": 1}}}})
    await house.change(ann, project_id, site_license={license_id: {}})
    assert await house.field(ann, project_id, "site_license") == {license_id: {"quota": {"ram": 1}}}
    await house.change(ann, project_id, site_license={license_id: None})
    assert await house.field(ann, project_id, "site_license") == {}


async def test_deleting_stops_and_undeleting_does_not_start(house: House, ann: Principal, bob: Principal) -> None:
    project_id = await house.project(ann, bob)
    await house.projects.start(ann, project_id)
    await house.change(bob, project_id, deleted=True)
    assert not house.engine.live
    assert await house.field(ann, project_id, "deleted") is True
    await house.change(bob, project_id, deleted=False)
    assert await house.field(ann, project_id, "deleted") is False
    assert not house.engine.live


async def test_a_refused_deletion_changes_nothing_else(house: House, ann: Principal, bob: Principal) -> None:
    project_id = await house.project(ann, bob, manage_users_owner_only=True)
    with pytest.raises((PermissionDenied, QueryRefused)):
        await house.change(bob, project_id, title="gone", deleted=True)
    assert await house.field(ann, project_id, "title") == "A project"
    assert await house.field(ann, project_id, "deleted") is None


async def test_a_refused_action_changes_nothing_else(house: House, ann: Principal, admin: Principal) -> None:
    project_id = await house.project(ann)
    with pytest.raises(HubError):
        await house.change(admin, project_id, title="gone", action_request={"action": "start"})
    assert await house.field(ann, project_id, "title") == "A project"
    assert not house.engine.specs


async def test_actions(house: House, ann: Principal) -> None:
    project_id = await house.project(ann)
    for action, runs, starts in (("start", True, 1), ("restart", True, 2), ("stop", False, 2), ("restart", True, 3)):
        await house.change(ann, project_id, action_request={"action": action, "time": "2026-03-01"})
        assert (project_id in house.engine.live, len(house.engine.specs)) == (runs, starts)
    assert (await house.field(ann, project_id, "action_request"))["action"] == "restart"


async def test_an_action_is_done_once_for_each_time(house: House, ann: Principal) -> None:
    project_id = await house.project(ann)
    request = {"action": "start", "time": "2026-03-01T00:00:00.000Z"}
    await house.change(ann, project_id, action_request={**request, "finished": "1999-01-01", "err": "mine"})
    now = "2026-03-01T12:00:00.123Z"
    told = {**request, "started": now, "finished": now}
    assert await house.field(ann, project_id, "action_request") == told
    await house.projects.stop(ann, project_id)
    await house.change(ann, project_id, action_request=request)
    assert (len(house.engine.specs), house.engine.live) == (1, {})
    assert await house.field(ann, project_id, "action_request") == told
    await house.change(ann, project_id, action_request={**request, "time": "2026-03-01T00:00:01.000Z"})
    assert len(house.engine.specs) == 2


async def test_an_action_that_fails_says_why(house: House, ann: Principal) -> None:
    project_id = await house.project(ann)
    house.engine.failure = StartFailed("no room")
    with pytest.raises(StartFailed) as failed:
        await house.change(ann, project_id, action_request={"action": "start"})
    request = await house.field(ann, project_id, "action_request")
    assert request.keys() == {"action", "started", "finished", "err"}
    assert request["err"] == failed.value.message


# -- accounts --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "value", "stored"),
    [
        ("first_name", "Ada", "Ada"),
        ("last_name", "L" * 300, "L" * 254),
        ("name", "ada-1", "ada-1"),
        ("unlisted", True, True),
        ("font_size", 20, 20),
        ("autosave", 5, 5),
        ("tags", ["a"], ["a"]),
        ("terminal", {"font_size": 9}, {"font_size": 9, "color_scheme": "cocalc-light", "font": "monospace"}),
        ("profile", {"color": "red"}, {"color": "red"}),
        ("ssh_keys", {"f": {"value": "v"}}, {"f": {"value": "v"}}),
    ],
)
async def test_fields_of_an_account(house: House, ann: Principal, name: str, value: Any, stored: Any) -> None:
    assert await house.ask(ann, {"accounts": {name: value, "account_id": nobody()}}) == {}
    assert (await house.ask(ann, {"accounts": {name: None}}))["accounts"][name] == stored


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"first_name": "  "}, "first_name must be nonempty"),
        ({"name": "two--dashes"}, "1 to 39 letters"),
        ({"name": "-x"}, "1 to 39 letters"),
        ({"name": "x" * 40}, "1 to 39 letters"),
        ({"name": UNKNOWN}, "1 to 39 letters"),
        ({"name": "BOB"}, 'name "BOB" is already taken by another organization or account'),
        ({"unlisted": "no"}, "neither true nor false"),
        ({"email_address": "x@y"}, "FATAL: changing accounts.email_address not allowed"),
        ({"groups": ["admin"]}, "FATAL: changing accounts.groups not allowed"),
        ({"is_admin": True}, "FATAL: changing accounts.is_admin not allowed"),
        ({"balance": 5}, "FATAL: changing accounts.balance not allowed"),
        ({"tags": "x" * 10_001}, "more than 10000 characters"),
        ({"terminal": 5}, "no object"),
        ({"editor_settings": {"x": "y" * 1_000_000}}, "too many"),
        ({"profile": {"x": "y" * 1_000_000}}, "too many"),
    ],
)
async def test_what_an_account_may_not_say(house: House, ann: Principal, fields: dict[str, Any], text: str) -> None:
    await house.person("Bob", name="bob")
    assert text in await refusal(house, ann, {"accounts": {"last_name": "New", **fields}})
    assert (await house.ask(ann, {"accounts": {"last_name": None}}))["accounts"]["last_name"] == ""


async def test_an_account_that_is_gone(house: House) -> None:
    ghost = Principal(nobody(), False, 0)
    assert "there is no account" in await refusal(house, ghost, {"accounts": {"first_name": "x"}})
    assert await house.ask(ghost, {"accounts": {"first_name": None}}) == {}


# -- collaborators ---------------------------------------------------------------------------------


async def test_too_many_collaborators_in_one_call(house: House, ann: Principal) -> None:
    from projecthub.errors import InvalidArgument
    from projecthub.wire.shapes import AddCollaborator

    project_id = await house.project(ann)
    with pytest.raises(InvalidArgument, match="1001 collaborators"):
        await house.collaborators.add(ann, AddCollaborator(project_id=[project_id] * 1001, account_id=[UNKNOWN] * 1001))
    for request in (
        AddCollaborator(project_id=[project_id], account_id=[UNKNOWN, UNKNOWN]),
        AddCollaborator(project_id=project_id),
        AddCollaborator(project_id="x", account_id=UNKNOWN),
        AddCollaborator(project_id=project_id, account_id="x"),
    ):
        with pytest.raises(InvalidArgument):
            await house.collaborators.add(ann, request)


async def test_adding_is_for_all_or_none(house: House, ann: Principal, bob: Principal, cid: Principal) -> None:
    from projecthub.wire.shapes import AddCollaborator

    mine, his = await house.project(ann), await house.project(bob, manage_users_owner_only=True)
    pairs = AddCollaborator(project_id=[mine, his], account_id=[cid.account_id, cid.account_id])
    with pytest.raises(OwnershipDenied):
        await house.collaborators.add(ann, pairs)
    assert set(await house.field(ann, mine, "users")) == {ann.account_id}
