"""What a key is good for, and that no key leads to one that is good for more."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from house import House
from hypothesis import given
from hypothesis import strategies as st

from projecthub.errors import InvalidArgument, NotFound, PermissionDenied
from projecthub.hub import keys as keys_module
from projecthub.hub.permissions import all_scopes_only, scopes_text, within_scopes
from projecthub.hub.principals import NOBODY, Principal
from projecthub.wire import shapes
from projecthub.wire.ids import AccountId
from projecthub.wire.methods import ALL_ABILITIES, Ability

READ, RUN, WRITE, MANAGE = Ability
scopes = st.frozensets(st.sampled_from(Ability), min_size=1)


def with_scopes(person: Principal, *wanted: Ability) -> Principal:
    return replace(person, scopes=frozenset(wanted))


@given(scopes, st.sampled_from(Ability))
def test_a_key_is_good_for_its_scopes(held: frozenset[Ability], needs: Ability) -> None:
    caller = Principal(AccountId("a"), True, 1, scopes=held)
    if needs in held:
        within_scopes(caller, needs, "projects.start")
    else:
        with pytest.raises(PermissionDenied, match=f"projects.start needs a key with the scope '{needs}'") as refused:
            within_scopes(caller, needs, "projects.start")
        assert scopes_text(held) in refused.value.message


def test_nobody_may_do_nothing() -> None:
    for needs in Ability:
        with pytest.raises(PermissionDenied, match="this one has none"):
            within_scopes(NOBODY, needs, "x")


@given(scopes, scopes, st.none() | st.integers(1, 9))
def test_no_key_makes_one_that_is_good_for_more(
    held: frozenset[Ability], wanted: frozenset[Ability], limit: int | None
) -> None:
    caller = Principal(AccountId("a"), False, 1, scopes=held, calls_per_minute=limit)
    if limit is None and wanted <= held:
        keys_module._within(caller, wanted)
    else:
        with pytest.raises(PermissionDenied, match="use another key"):
            keys_module._within(caller, wanted)


@pytest.mark.parametrize("held", [{"scopes": ALL_ABILITIES - {RUN}}, {"calls_per_minute": 5}])
def test_some_things_take_a_key_without_limits(held: dict[str, object]) -> None:
    all_scopes_only(Principal(AccountId("a"), False, 1), "set passwords")
    with pytest.raises(PermissionDenied, match="to set passwords takes a key with all scopes"):
        all_scopes_only(replace(Principal(AccountId("a"), False, 1), **held), "set passwords")


async def test_scopes_of_a_key(house: House, ann: Principal) -> None:
    made = await house.keys.create(ann, shapes.CreateKey(scopes=["run", "read"], calls_per_minute=60))
    assert (made["scopes"], made["calls_per_minute"]) == (["read", "run"], 60)
    for _ in range(2):  # read from the store, then known
        caller = await house.keys.check(made["secret"])
        assert caller == replace(ann, key_id=made["id"], scopes={READ, RUN}, calls_per_minute=60)
    listed = await house.keys.all_of(ann, shapes.ListKeys())
    assert [(key["scopes"], key["calls_per_minute"]) for key in listed] == [(["read", "run"], 60)]


async def test_a_key_makes_keys_like_itself(house: House, ann: Principal) -> None:
    limited = with_scopes(ann, READ, MANAGE)
    made = await house.keys.create(limited, shapes.CreateKey())
    assert made["scopes"] == ["read", "manage"]
    less = await house.keys.create(limited, shapes.CreateKey(scopes=["read"]))
    assert less["scopes"] == ["read"]
    for wanted in (["read", "run"], ["write"]):
        with pytest.raises(PermissionDenied, match="has the scopes read, manage"):
            await house.keys.create(limited, shapes.CreateKey(scopes=wanted))
    project_id = await house.project(ann)
    with pytest.raises(PermissionDenied):
        await house.keys.create(limited, shapes.CreateKey(project_id=project_id, scopes=["run"]))
    with pytest.raises(PermissionDenied, match="limit on calls"):
        await house.keys.create(replace(ann, calls_per_minute=5), shapes.CreateKey(calls_per_minute=5))
    assert len(await house.keys.all_of(ann, shapes.ListKeys())) == 2


async def test_a_key_changes_no_key_that_is_good_for_more(house: House, ann: Principal) -> None:
    whole, _ = await house.key(ann)
    part, secret = await house.key(ann, scopes=["read"])
    limited = with_scopes(ann, READ, MANAGE)
    for refused in (
        house.keys.update(limited, shapes.UpdateKey(id=whole, expire="2100-01-01")),
        house.keys.update(limited, shapes.UpdateKey(id=part, scopes=["run"])),
        house.keys.edit(limited, shapes.ManageApiKeys(action="edit", id=whole, name="x")),
        house.keys.update(replace(ann, calls_per_minute=1), shapes.UpdateKey(id=part, calls_per_minute=0)),
    ):
        with pytest.raises(PermissionDenied):
            await refused
    changed = await house.keys.update(
        limited, shapes.UpdateKey(id=part, scopes=["manage"], name="n", expire="2100-01-01")
    )
    assert (changed["scopes"], changed["name"], changed["expire"]) == (["manage"], "n", "2100-01-01T00:00:00.000Z")
    caller = await house.keys.check(secret)
    assert caller is not None
    assert caller.scopes == {MANAGE}, "what was known of it before does not count"
    assert (await house.keys.update(limited, shapes.UpdateKey(id=part, expire="never")))["expire"] is None


async def test_who_may_change_a_key(house: House, ann: Principal, bob: Principal, admin: Principal) -> None:
    project_id = await house.project(ann, bob)
    own, _ = await house.key(ann)
    of_project, _ = await house.key(ann, project_id)
    cid = await house.person("Cid")
    for caller, key_id in ((cid, own), (cid, of_project), (bob, own), (admin, 999)):
        with pytest.raises(NotFound, match="no api key with id"):
            await house.keys.update(caller, shapes.UpdateKey(id=key_id, name="x"))
    for caller, key_id in ((bob, of_project), (admin, own)):
        assert (await house.keys.update(caller, shapes.UpdateKey(id=key_id, name="y")))["name"] == "y"
    assert (bob.account_id, {"event": "key_edited", "key_id": of_project, "name": "test"}) in await house.log(
        project_id
    )


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"scopes": []}, "without any scope"),
        ({"scopes": ["read", "admin"]}, "'admin' is unknown"),
        ({"calls_per_minute": -1}, "from 1 to"),
        ({"calls_per_minute": 10**7}, "from 1 to"),
    ],
)
async def test_values_that_there_are_not(house: House, ann: Principal, fields: dict[str, object], words: str) -> None:
    key_id, _ = await house.key(ann)
    with pytest.raises(InvalidArgument, match=words):
        await house.keys.create(ann, shapes.CreateKey(**fields))
    with pytest.raises(InvalidArgument, match=words):
        await house.keys.update(ann, shapes.UpdateKey(id=key_id, **fields))


async def test_queries_that_change_something_need_more_than_those_that_read(house: House, ann: Principal) -> None:
    project_id = await house.project(ann)
    reader, manager = with_scopes(ann, READ), with_scopes(ann, READ, MANAGE)
    assert await house.field(reader, project_id, "title") == "A project"
    for query in ({"projects": {"project_id": project_id, "title": "x"}}, {"accounts": {"first_name": "x"}}):
        with pytest.raises(PermissionDenied, match="needs a key with the scope 'manage'"):
            await house.ask(reader, query)
    with pytest.raises(PermissionDenied):
        await house.ask(reader, [{"accounts": {"first_name": None}}, {"accounts": {"first_name": "x"}}])
    with pytest.raises(PermissionDenied):
        await house.ask(reader, {"projects": {"project_id": project_id, "title": None}}, {"set": True})
    with pytest.raises(PermissionDenied):
        await house.ask(reader, {"public_paths": {"id": "0" * 40}}, {"delete": True})
    assert await house.field(ann, project_id, "title") == "A project"
    await house.change(manager, project_id, title="New")
    assert await house.field(reader, project_id, "title") == "New"


async def test_a_key_without_run_starts_and_stops_nothing_by_changing_things(house: House, ann: Principal) -> None:
    project_id = await house.project(ann)
    manager, runner = with_scopes(ann, READ, MANAGE), with_scopes(ann, RUN, MANAGE)
    for action in ("start", "stop", "restart"):
        query = {"projects": {"project_id": project_id, "title": "x", "action_request": {"action": action}}}
        with pytest.raises(PermissionDenied, match=f"to {action} a project needs a key with the scope 'run'"):
            await house.ask(manager, query)
    with pytest.raises(PermissionDenied, match="to start a project needs a key with the scope 'run'"):
        await house.creation.create(manager, shapes.CreateProject(start=True))
    assert not house.engine.specs
    assert await house.field(ann, project_id, "title") == "A project"
    assert len((await house.ask(ann, {"projects_all": [{"project_id": None}]}))["projects_all"]) == 1
    await house.change(runner, project_id, action_request={"action": "start"})
    assert project_id in house.engine.live


async def test_last_active_is_written_now_and_then(house: House, ann: Principal) -> None:
    project_id = await house.project(ann)
    _, secret = await house.key(ann)
    _, of_project = await house.key(ann, project_id)

    async def last_active() -> object:
        async with house.store.read() as tx:
            account = await tx.accounts.get(ann.account_id)
        assert account is not None
        return account.last_active_at

    await house.keys.check(of_project)
    await house.keys.flush()
    assert await last_active() is None, "a project key stands for no person"
    await house.keys.check(secret)
    await house.keys.flush()
    first = house.clock.now()
    assert await last_active() == first
    for wait_s, written in ((30, first), (30, house.clock.now() + timedelta(seconds=60))):
        house.clock.advance(seconds=wait_s)
        await house.keys.check(secret)
        await house.keys.flush()
        assert await last_active() == written
