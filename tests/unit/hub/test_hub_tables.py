"""The tables of user queries: that they are declared well, and what each tells to whom."""

from __future__ import annotations

from typing import Any

import pytest
from house import House, nobody

from projecthub.errors import CallerError, Conflict, LimitError, QueryRefused
from projecthub.hub.principals import Principal
from projecthub.hub.shares import share_id
from projecthub.hub.tables import TABLES
from projecthub.hub.tables.declaring import Table
from projecthub.wire.ids import ProjectId

UNKNOWN = "00000000-0000-4000-8000-000000000000"


async def refusal(house: House, caller: Principal, query: Any, *options: dict[str, Any]) -> str:
    with pytest.raises(QueryRefused) as refused:
        await house.ask(caller, query, *options)
    return refused.value.message


async def rows(house: House, caller: Principal, table: str, **shape: Any) -> list[dict[str, Any]]:
    return list((await house.ask(caller, {table: [shape]}, {"set": False}))[table])


# -- the declaration -------------------------------------------------------------------------------


@pytest.mark.parametrize("table", TABLES.values(), ids=lambda table: table.name)
def test_each_table_is_declared_well(table: Table) -> None:
    assert table.rows or table.change
    assert next(iter(table.fields.values())).columns, "the first field is the key, and has a column"
    for name, field in table.fields.items():
        assert field.read or field.write, name
        assert field.compare is None or field.compare in field.columns, name
    for key in table.keys:
        assert key in table.fields
        assert table.change
    assert table.delete is None or table.keys
    assert table.scope is None or table.scope.field in table.fields
    columns = {column for field in table.fields.values() for column in field.columns}
    assert {column for column, _ in table.order_by} <= columns


READ = [table for table in TABLES.values() if table.rows]


@pytest.mark.parametrize("table", READ, ids=lambda table: table.name)
async def test_each_field_of_each_table_can_be_asked_for(
    house: House, admin: Principal, ann: Principal, table: Table
) -> None:
    project_id = await house.project(ann)
    shape: dict[str, Any] = {name: None for name, field in table.fields.items() if field.read}
    if table.scope and table.scope.required:
        shape[table.scope.field] = share_id(project_id, "x") if table.scope.field == "id" else project_id
    reply = await house.ask(admin if table.admins_only else ann, {table.name: [shape]}, {"set": False})
    assert all(row.keys() <= shape.keys() for row in reply[table.name])


# -- other people ----------------------------------------------------------------------------------


async def test_pictures_are_for_everybody(house: House, ann: Principal, bob: Principal) -> None:
    await house.ask(bob, {"accounts": {"profile": {"color": "red"}}})
    seen = await house.ask(ann, {"account_profiles": {"account_id": bob.account_id, "profile": None}})
    assert seen == {"account_profiles": {"account_id": bob.account_id, "profile": {"color": "red"}}}
    own = (await house.ask(ann, {"account_profiles": {"account_id": None, "profile": None}}))["account_profiles"]
    assert own["account_id"] == ann.account_id
    assert await rows(house, ann, "account_profiles", account_id=nobody(), profile=None) == []
    assert "invalid account_id -- x" in await refusal(
        house, ann, {"account_profiles": [{"account_id": "x", "profile": None}]}
    )
    text = await refusal(house, ann, {"account_profiles": [{"account_id": bob.account_id, "first_name": None}]})
    assert text == "FATAL: user get query not allowed for account_profiles.first_name"
    async with house.store.write() as tx:
        await tx.accounts.update(bob.account_id, {"deleted_at": house.clock.now()})
    assert await rows(house, ann, "account_profiles", account_id=bob.account_id, profile=None) == []


async def test_names_are_for_those_who_share_a_project(
    house: House, ann: Principal, bob: Principal, cid: Principal
) -> None:
    assert await rows(house, ann, "collaborators", account_id=None) == []
    await house.project(ann, bob)
    await house.project(ann, bob)
    await house.project(cid)

    async def names(caller: Principal, **shape: Any) -> set[str]:
        return {row["first_name"] for row in await rows(house, caller, "collaborators", first_name=None, **shape)}

    assert await names(ann) == await names(bob) == {"Ann", "Bob"}
    assert await names(cid) == {"Cid"}
    assert await names(ann, account_id={"!=": ann.account_id}) == {"Bob"}
    assert "not allowed for collaborators.email_address" in await refusal(
        house, ann, {"collaborators": [{"email_address": None}]}
    )


async def test_the_people_of_one_project(
    house: House, ann: Principal, bob: Principal, cid: Principal, admin: Principal
) -> None:
    project_id = await house.project(ann, bob)
    shape = {"project_id": project_id, "first_name": None, "last_active": None}
    for caller in (ann, bob, admin):
        found = await rows(house, caller, "collaborators_one_project", **shape)
        assert sorted(row["first_name"] for row in found) == ["Ann", "Bob"]
        assert {row["project_id"] for row in found} == {project_id}
    assert "read access" in await refusal(house, cid, {"collaborators_one_project": [shape]})
    assert "must specify collaborators_one_project.project_id" in await refusal(
        house, ann, {"collaborators_one_project": [{"first_name": None}]}
    )


# -- projects --------------------------------------------------------------------------------------


async def test_large_pictures_have_a_table_of_their_own(house: House, ann: Principal, cid: Principal) -> None:
    project_id = await house.project(ann)
    await house.change(ann, project_id, avatar_image_full="picture")
    shape = {"project_id": project_id, "avatar_image_full": None}
    seen = {"project_id": project_id, "avatar_image_full": "picture"}
    assert await rows(house, ann, "project_avatar_images", **shape) == [seen]
    assert "read access" in await refusal(house, cid, {"project_avatar_images": [shape]})
    assert "not allowed for projects.avatar_image_full" in await refusal(house, ann, {"projects": [shape]})
    assert "set queries not allowed" in await refusal(house, ann, {"project_avatar_images": seen})


async def test_any_project_for_site_admins(house: House, ann: Principal, admin: Principal) -> None:
    project_id = await house.project(ann)
    shape = {"project_id": project_id, "title": None}
    assert (await rows(house, admin, "projects_admin", **shape))[0]["title"] == "A project"
    assert await refusal(house, ann, {"projects_admin": [shape]}) == "FATAL: user must be an admin"
    assert "must specify" in await refusal(house, admin, {"projects_admin": [{"title": None}]})


async def test_what_one_has_put_under_ones_name_is_merged(house: House, ann: Principal) -> None:
    project_id = await house.project(ann)
    for upgrades in ({"memory": 1, "cores": 2}, {"cores": None, "network": 1}):
        await house.change(ann, project_id, users={ann.account_id: {"upgrades": upgrades}})
    users = await house.field(ann, project_id, "users")
    assert users[ann.account_id]["upgrades"] == {"memory": 1, "network": 1}


@pytest.mark.parametrize("deleted", [True, None])
async def test_an_action_that_cannot_be_carried_out_changes_nothing(
    house: House, ann: Principal, deleted: bool | None
) -> None:
    project_id = await house.project(ann, deleted=None if deleted else True)
    query = {"project_id": project_id, "title": "new", "action_request": {"action": "start"}}
    query |= {"deleted": True} if deleted else {}
    with pytest.raises(Conflict if deleted is None else QueryRefused):
        await house.ask(ann, {"projects": query})
    assert await house.field(ann, project_id, "title") == "A project"
    assert await house.field(ann, project_id, "action_request") is None
    assert not house.engine.specs


# -- shares ----------------------------------------------------------------------------------------


async def test_a_share_is_seen_by_who_knows_its_id(house: House, ann: Principal, cid: Principal) -> None:
    project_id, license_id = await house.project(ann), await house.license()
    share = {"project_id": project_id, "path": "data", "description": "Soil", "site_license_id": license_id}
    await house.ask(ann, {"public_paths": share})
    shape = {"id": share_id(project_id, "data"), "path": None, "description": None}
    seen = {"id": share_id(project_id, "data"), "path": "data", "description": "Soil"}
    assert await rows(house, cid, "public_paths_by_id", **shape) == [seen]
    for field in ("site_license_id", "token", "vhost"):
        assert "not allowed for" in await refusal(house, cid, {"public_paths_by_id": [{**shape, field: None}]})
    await house.ask(ann, {"public_paths": {"project_id": project_id, "path": "data", "disabled": True}})
    assert await rows(house, cid, "public_paths_by_id", **shape) == []
    assert "no share's id" in await refusal(house, cid, {"public_paths_by_id": [{"id": "x", "path": None}]})


async def test_a_path_is_shared_no_longer(house: House, ann: Principal, cid: Principal, admin: Principal) -> None:
    project_id = await house.project(ann)
    share = {"project_id": project_id, "path": "data"}
    await house.ask(ann, {"public_paths": share})
    for caller in (cid, admin):
        assert "must be an admin" in await refusal(house, caller, {"public_paths": share}, {"delete": True})
    assert "must specify public_paths.path" in await refusal(
        house, ann, {"public_paths": {"project_id": project_id}}, {"delete": True}
    )
    for _ in range(2):
        assert await house.ask(ann, {"public_paths": {**share, "path": "./data/"}}, {"delete": True}) == {}
        assert await rows(house, ann, "public_paths", project_id=project_id, path=None) == []
    events = [told["event"] for _, told in await house.log(project_id)]
    assert events == ["path_shared", "path_unshared"]
    for table in sorted(TABLES.keys() - {"public_paths"} - {t.name for t in TABLES.values() if t.delete}):
        assert await refusal(house, ann, {table: share}, {"delete": True}) == f"FATAL: delete from {table} not allowed"


# -- uses of files ---------------------------------------------------------------------------------


async def use(house: House, caller: Principal, project_id: str, path: str, **actions: Any) -> None:
    users = {caller.account_id: actions}
    await house.ask(caller, {"file_use": {"project_id": project_id, "path": path, "users": users}})


async def test_uses_of_files_are_each_persons_own(house: House, ann: Principal, bob: Principal, cid: Principal) -> None:
    project_id = await house.project(ann, bob)
    await use(house, ann, project_id, "a.md", edit="2026-03-01T10:00:00Z", open=0)
    await use(house, bob, project_id, "a.md", chat="2026-03-01T11:00:00Z")
    await use(house, ann, project_id, "a.md", edit="2026-03-01T12:00:00Z")
    shape = {"project_id": project_id, "path": None, "users": None, "last_edited": None}
    (row,) = await rows(house, bob, "file_use", **shape)
    assert row["users"] == {
        ann.account_id: {"edit": "2026-03-01T12:00:00.000Z", "open": "1970-01-01T00:00:00.000Z"},
        bob.account_id: {"chat": "2026-03-01T11:00:00.000Z"},
    }
    assert row["last_edited"] == "2026-03-01T12:00:00.123Z"
    assert await rows(house, cid, "file_use", path=None) == []
    assert "read access" in await refusal(house, cid, {"file_use": [shape]})
    many = {f"a{'_' * number}": 1 for number in range(20)}
    for own in ({"EDIT!": 1}, {"edit": "x"}, {"edit": []}, many, 5):
        query = {"file_use": {"project_id": project_id, "path": "a.md", "users": {bob.account_id: own}}}
        assert "error setting 'users'" in await refusal(house, bob, query)
    for wrong in ({ann.account_id: {"edit": 1}}, {"x": {}}, 5):
        query = {"file_use": {"project_id": project_id, "path": "a.md", "users": wrong}}
        assert "error setting 'users'" in await refusal(house, bob, query)
    assert "must be an admin" in await refusal(house, cid, {"file_use": {"project_id": project_id, "path": "a.md"}})
    assert await rows(house, bob, "file_use", **shape) == [row]


async def test_uses_of_files_are_the_newest_of_three_weeks(house: House, ann: Principal) -> None:
    project_id = await house.project(ann)
    for path in ("old", "middle", "new"):
        await use(house, ann, project_id, path, edit=0)
        house.clock.advance(days=8)
    assert [row["path"] for row in await rows(house, ann, "file_use", path=None)] == ["new", "middle"]
    assert [row["path"] for row in await rows(house, ann, "file_use", project_id=project_id, path=None)] == [
        "new",
        "middle",
    ]


# -- the rest --------------------------------------------------------------------------------------


async def test_licenses_are_listed_for_site_admins(house: House, ann: Principal, admin: Principal) -> None:
    license_id = await house.license(title="Class", run_limit=3)
    shape = {"id": None, "title": "Class", "run_limit": {">": 2}, "quota": None}
    found = [{"id": license_id, "title": "Class", "run_limit": 3, "quota": {}}]
    assert await rows(house, admin, "site_licenses", **shape) == found
    assert await refusal(house, ann, {"site_licenses": [shape]}) == "FATAL: user must be an admin"
    assert "set queries not allowed" in await refusal(house, admin, {"site_licenses": {"id": license_id, "title": "x"}})


async def test_whole_values_are_compared_where_there_is_one_row(house: House, ann: Principal) -> None:
    await house.ask(ann, {"accounts": {"font_size": 20}})
    for condition, found in ((20, True), (21, False)):
        reply = await house.ask(ann, {"accounts": {"first_name": None, "font_size": condition}})
        assert reply == ({"accounts": {"first_name": "Ann", "font_size": 20}} if found else {})
    assert "not allowed for accounts.sign_up_usage_intent" in await refusal(
        house, ann, {"accounts": {"sign_up_usage_intent": None}}
    )
    assert await house.ask(ann, {"accounts": {"sign_up_usage_intent": "teaching"}}) == {}


async def test_a_query_that_nests_too_deeply(house: House, ann: Principal) -> None:
    deep: Any = None
    for _ in range(5000):
        deep = [deep]
    for query in ({"projects": {"title": deep}}, {"accounts": {"tags": deep}}):
        for options in ((), ({"set": True},)):
            assert "nests deeper" in await refusal(house, ann, query, *options)
    with pytest.raises(CallerError):
        await house.queries.run(ann, {"projects": [{"title": None}]}, deep)


async def test_ids_in_capitals_are_the_same(house: House, ann: Principal) -> None:
    project_id = await house.project(ann)
    assert await house.field(ann, ProjectId(project_id.upper()), "title") == "A project"
    assert "unknown project_id" in await refusal(house, ann, {"projects": {"project_id": UNKNOWN, "title": "x"}})


# -- what is set and never read --------------------------------------------------------------------


async def asked(house: House, ann: Principal, project_id: ProjectId) -> dict[str, Any]:
    return await house.field(ann, project_id, "invite_requests") or {}


async def test_who_is_not_on_a_project_asks_to_be_let_in(house: House, ann: Principal, cid: Principal) -> None:
    project_id = await house.project(ann)

    async def ask(request: Any, whom: str = "{account_id}") -> None:
        shape = {"project_id": project_id, "invite_requests": {whom: request}}
        assert await house.ask(cid, {"project_invite_requests": shape}, {"set": True}) == {}

    await ask({"message": "I am the new one", "timestamp": "1999-01-01"})
    request = {"message": "I am the new one", "timestamp": "2026-03-01T12:00:00.123Z"}
    assert await asked(house, ann, project_id) == {cid.account_id: request}
    assert await house.log(project_id) == [(cid.account_id, {"event": "invite_requested"})]
    await ask({}, cid.account_id.upper())
    assert (await asked(house, ann, project_id))[cid.account_id]["message"] == ""
    await ask(None)
    assert await asked(house, ann, project_id) == {}
    assert [event["event"] for _, event in await house.log(project_id)][-1] == "invite_request_withdrawn"
    await ask(None)
    assert len(await house.log(project_id)) == 3


@pytest.mark.parametrize(
    ("requests", "text"),
    [
        ({UNKNOWN: {}}, "is not you"),
        ({"x": {}}, "invalid account_id 'x'"),
        ([], "no object"),
        ({"{account_id}": "let me in"}, "no object"),
        ({"{account_id}": {"group": "owner"}}, "unknown field 'group'"),
        ({"{account_id}": {"message": "x" * 1001}}, "too many"),
    ],
)
async def test_requests_that_are_refused(
    house: House, ann: Principal, cid: Principal, requests: Any, text: str
) -> None:
    """In the same words whether there is such a project or not."""
    project_id = await house.project(ann)
    refusals = {
        await refusal(house, cid, {"project_invite_requests": {"project_id": each, "invite_requests": requests}})
        for each in (project_id, nobody())
    }
    assert len(refusals) == 1
    assert text in refusals.pop()
    assert await asked(house, ann, project_id) == {}


async def test_requests_that_nobody_would_read(house: House, ann: Principal, bob: Principal, cid: Principal) -> None:
    mine, gone = await house.project(ann, bob), await house.project(ann, deleted=True)
    for caller, project_id in ((bob, mine), (cid, gone), (cid, nobody())):
        shape = {"project_id": project_id, "invite_requests": {caller.account_id: {}}}
        assert await house.ask(caller, {"project_invite_requests": shape}) == {}
    assert await asked(house, ann, mine) == await asked(house, ann, ProjectId(gone)) == {}


async def test_requests_have_an_end(house: House, ann: Principal, cid: Principal) -> None:
    many = {nobody(): {"timestamp": "2026-01-01", "message": ""} for _ in range(100)}
    project_id = await house.project(ann, invite_requests=many)
    shape = {"project_id": project_id, "invite_requests": {cid.account_id: {}}}
    with pytest.raises(LimitError, match="100 people have asked"):
        await house.ask(cid, {"project_invite_requests": shape})
    assert await asked(house, ann, project_id) == many


async def test_what_owners_set(house: House, ann: Principal, bob: Principal, cid: Principal) -> None:
    project_id = await house.project(ann, bob)
    fields = {"name": "mine", "sandbox": True, "manage_users_owner_only": True}
    shape = {"project_id": project_id, **fields}
    for caller in (bob, cid):
        await refusal(house, caller, {"projects_owner": shape})
    assert "changing projects_owner.title not allowed" in await refusal(
        house, ann, {"projects_owner": {"project_id": project_id, "title": "x"}}
    )
    assert "get queries not allowed" in await refusal(house, ann, {"projects_owner": {"project_id": None}})
    assert await house.ask(ann, {"projects_owner": shape}) == {}
    assert {name: await house.field(bob, project_id, name) for name in fields} == fields
