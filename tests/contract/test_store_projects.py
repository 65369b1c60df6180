from __future__ import annotations

import json
from datetime import timedelta

import pytest
from store_samples import HOSTILE, NOW, add_account, add_project, create_project, new_id

from projecthub.errors import Conflict, InvalidArgument
from projecthub.store import Store
from projecthub.store.records import Access, Project, Role, Selection, State
from projecthub.wire.units import to_ms

LATER = NOW + timedelta(minutes=1)


async def test_a_new_project(store: Store) -> None:
    owner = await add_account(store)
    async with store.write() as tx:
        project_id, slot = await create_project(
            tx,
            owner,
            title="Title",
            compute_image="small",
            site_license={"l": {}},
            env={"A": "b"},
            settings={"cores": 2},
            ephemeral_ms=2**40,
            description="words",
        )
    expected = Project(
        project_id=project_id,
        unix_slot=slot,
        title="Title",
        deleted=None,
        desired="stopped",
        state=State.STOPPED,
        state_at=NOW,
        state_error=None,
        epoch=0,
        instance=None,
        created_at=NOW,
        last_edited_at=NOW,
        compute_image="small",
        site_license={"l": {}},
        env={"A": "b"},
        manage_users_owner_only=False,
        settings={"cores": 2},
        run_quota=None,
        crashes=0,
        retry_at=None,
        active_at=None,
    )
    columns = ("settings", "ephemeral_ms", "description", "users", "name", "sandbox")
    async with store.read() as tx:
        assert await tx.projects.get(project_id) == expected
        assert await tx.projects.access(project_id, owner) == Access(project=expected, role=Role.OWNER)
        assert await tx.projects.select(Selection(columns=columns), member=None) == [
            {
                "settings": {"cores": 2},
                "ephemeral_ms": 2**40,
                "description": "words",
                "users": {owner: {"group": "owner"}},
                "name": None,
                "sandbox": None,
            }
        ]
        assert await tx.projects.count() == 1


async def test_what_is_not_there(store: Store) -> None:
    owner = await add_account(store)
    async with store.read() as tx:
        assert await tx.projects.get(new_id()) is None
        assert await tx.projects.access(new_id(), owner) is None
        assert await tx.projects.select(Selection(columns=("project_id", "users")), member=owner) == []
        assert await tx.projects.count() == 0


async def test_access_of_strangers_and_collaborators(store: Store) -> None:
    owner, other, stranger = [await add_account(store) for _ in range(3)]
    project_id = await add_project(store, owner)
    async with store.write() as tx:
        await tx.collaborators.add([(project_id, other)], at=LATER)

        async def role(account_id: str) -> Role | None:
            access = await tx.projects.access(project_id, account_id)
            assert access is not None
            return access.role

        assert await role(owner) is Role.OWNER
        assert await role(other) is Role.COLLABORATOR
        assert await role(stranger) is None


async def test_an_id_is_used_once(store: Store) -> None:
    owner = await add_account(store)
    project_id = await add_project(store, owner, title="first")
    with pytest.raises(Conflict, match=project_id):
        await add_project(store, owner, project_id=project_id, title="second")
    async with store.read() as tx:
        project = await tx.projects.get(project_id)
        assert project is not None
        assert project.title == "first"


async def test_a_project_without_an_owner(store: Store) -> None:
    project_id = await add_project(store, None)
    async with store.read() as tx:
        [row] = await tx.projects.select(
            Selection(columns=("users", "last_active")), member=None, project_id=project_id
        )
        assert row == {"users": {}, "last_active": {}}


async def test_an_owner_who_is_not_there_is_a_conflict_and_leaves_nothing(store: Store) -> None:
    with pytest.raises(Conflict):
        await add_project(store, new_id())
    async with store.read() as tx:
        assert await tx.projects.count() == 0


async def test_slots_are_never_used_again(store: Store) -> None:
    owner = await add_account(store)
    slots = []
    for _ in range(3):
        async with store.write() as tx:
            slots.append((await create_project(tx, owner))[1])
    assert slots == [1, 2, 3]


@pytest.mark.parametrize("text", HOSTILE)
async def test_texts_and_json_of_any_kind(store: Store, text: str) -> None:
    owner = await add_account(store)
    value = {text: text, "list": [text]}
    project_id = await add_project(store, owner, title=text, description=text, settings=value)
    async with store.write() as tx:
        await tx.collaborators.update(project_id, owner, {"upgrades": value, "ssh_keys": value})
        selection = Selection(columns=("title", "description", "settings", "users"))
        [row] = await tx.projects.select(selection, member=owner)
    assert row == {
        "title": text,
        "description": text,
        "settings": value,
        "users": {owner: {"group": "owner", "upgrades": value, "ssh_keys": value}},
    }


@pytest.mark.parametrize("value", [float("nan"), float("inf"), "\ud800"], ids=["nan", "infinity", "lone surrogate"])
async def test_json_that_not_every_database_takes_is_refused(store: Store, value: object) -> None:
    project_id = await add_project(store, await add_account(store))
    with pytest.raises(InvalidArgument, match="cannot be stored"):
        async with store.write() as tx:
            await tx.projects.update(project_id, {"settings": {"a": value}})


@pytest.mark.parametrize("changes", [{"title": "\ud800"}, {"epoch": 2**63}], ids=["lone surrogate", "too large"])
async def test_a_value_that_no_database_takes_is_refused(store: Store, changes: dict[str, object]) -> None:
    project_id = await add_project(store, await add_account(store))
    with pytest.raises(InvalidArgument, match="cannot be stored"):
        async with store.write() as tx:
            await tx.projects.update(project_id, changes)


async def test_update(store: Store) -> None:
    project_id = await add_project(store, await add_account(store))
    other = await add_project(store, await add_account(store))
    changes = {
        "title": "New",
        "deleted": True,
        "state": State.ERROR,
        "state_at": LATER,
        "state_error": "it broke",
        "instance": {"pid": 5},
        "course": {"type": "student"},
        "avatar_image_full": "x" * 150_000,
    }
    async with store.write() as tx:
        assert await tx.projects.update(project_id, changes) is True
        assert await tx.projects.update(new_id(), changes) is False
    async with store.read() as tx:
        [row] = await tx.projects.select(Selection(columns=tuple(changes)), member=None, project_id=project_id)
        assert row == changes
        untouched = await tx.projects.get(other)
        assert untouched is not None
        assert untouched.title == "A project"
    async with store.write() as tx:
        assert await tx.projects.update(project_id, {"instance": None, "deleted": None})
        project = await tx.projects.get(project_id)
        assert project is not None
        assert (project.instance, project.deleted) == (None, None)
        # A JSON null would not be found by IS NULL.
        rows = Selection(columns=("project_id",), conditions=())
        assert len(await tx.projects.select(rows, member=None, project_id=project_id)) == 1


@pytest.mark.parametrize("changes", [{}, {"nonsense": 1}, {"project_id": "x"}, {"unix_slot": 9}, {"users": {}}])
async def test_an_update_of_what_is_not_a_column_is_refused(store: Store, changes: dict[str, object]) -> None:
    project_id = await add_project(store, await add_account(store))
    async with store.write() as tx:
        with pytest.raises(InvalidArgument):
            await tx.projects.update(project_id, changes)


async def test_compare_and_set(store: Store) -> None:
    project_id = await add_project(store, await add_account(store))
    starting = {"state": State.STARTING, "epoch": 1}
    async with store.write() as tx:
        assert not await tx.projects.update(project_id, starting, epoch=1)
        assert not await tx.projects.update(project_id, starting, state=[State.RUNNING, State.ERROR])
        assert not await tx.projects.update(project_id, starting, epoch=0, state=[State.RUNNING])
        assert not await tx.projects.update(project_id, starting, state=[])
        assert await tx.projects.update(project_id, starting, epoch=0, state=[State.STOPPED, State.ERROR])
        assert not await tx.projects.update(project_id, starting, epoch=0, state=[State.STOPPED, State.ERROR])
        project = await tx.projects.get(project_id)
        assert project is not None
        assert (project.state, project.epoch) == (State.STARTING, 1)


async def test_touch(store: Store) -> None:
    owner, other = await add_account(store), await add_account(store)
    project_id = await add_project(store, owner)
    async with store.write() as tx:
        await tx.collaborators.add([(project_id, other)], at=LATER)
        await tx.projects.touch(project_id, other, LATER)
    async with store.read() as tx:
        [row] = await tx.projects.select(Selection(columns=("last_edited_at", "last_active")), member=owner)
        assert row == {"last_edited_at": LATER, "last_active": {other: LATER}}
        [account] = await tx.accounts.get_many([other])
        assert account.last_active_at == LATER
    async with store.write() as tx:
        await tx.projects.touch(project_id, None, LATER + timedelta(seconds=1))
    async with store.read() as tx:
        [row] = await tx.projects.select(Selection(columns=("last_edited_at", "last_active")), member=owner)
        assert row == {"last_edited_at": LATER + timedelta(seconds=1), "last_active": {other: LATER}}


async def test_users_come_in_order_of_joining_and_without_nulls(store: Store) -> None:
    owner = await add_account(store)
    project_id = await add_project(store, owner)
    others = [await add_account(store) for _ in range(6)]
    async with store.write() as tx:
        for minute, other in enumerate(others):
            await tx.collaborators.add([(project_id, other)], at=NOW + timedelta(minutes=minute))
        await tx.collaborators.update(project_id, others[0], {"hide": True})
        await tx.collaborators.update(project_id, others[1], {"hide": False, "upgrades": {"cores": 1, "none": None}})
        await tx.collaborators.update(project_id, others[2], {"ssh_keys": {"aa:bb": {"title": "t"}}})
    async with store.read() as tx:
        [row] = await tx.projects.select(Selection(columns=("users",)), member=others[5])
        # The owner joined in the same millisecond as the first of the others.
        assert list(row["users"]) == [owner, *others]
        assert list(await tx.collaborators.roles(project_id)) == [owner, *others]
    assert row["users"] == {
        owner: {"group": "owner"},
        others[0]: {"group": "collaborator", "hide": True},
        others[1]: {"group": "collaborator", "hide": False, "upgrades": {"cores": 1, "none": None}},
        others[2]: {"group": "collaborator", "ssh_keys": {"aa:bb": {"title": "t"}}},
        **{other: {"group": "collaborator"} for other in others[3:]},
    }
    assert row["users"][others[0]]["hide"] is True


async def test_pages_are_the_same_rows_as_the_database_has_them(store: Store) -> None:
    owner, other = await add_account(store), await add_account(store)
    ids = [await add_project(store, owner, created_at=NOW + timedelta(seconds=number)) for number in range(3)]
    async with store.write() as tx:
        await tx.collaborators.add([(ids[0], other), (ids[1], other)], at=LATER)
        await tx.collaborators.update(ids[1], other, {"hide": True, "upgrades": {"a": '"!":'}})
        await tx.projects.touch(ids[2], owner, LATER)
    wanted = Selection(
        columns=("project_id", "created_at", "deleted", "env", "users", "last_active"), order_by=(("created_at", True),)
    )
    async with store.read() as tx:
        rows = await tx.projects.select(wanted, member=owner)
        pages = [page async for page in tx.projects.pages(wanted, member=owner)]
        recent = [
            page async for page in tx.projects.pages(wanted, member=owner, edited_after=NOW + timedelta(seconds=5))
        ]
        none = [page async for page in tx.projects.pages(wanted, member=other, edited_after=LATER)]
    assert [row["project_id"] for row in rows] == ids[::-1]
    assert rows[1]["users"] == {
        owner: {"group": "owner"},
        other: {"group": "collaborator", "hide": True, "upgrades": {"a": '"!":'}},
    }
    raw = [{**row, "created_at": to_ms(row["created_at"])} for row in rows]
    for number in (0, 2):
        raw[number]["users"] = json.dumps(rows[number]["users"], separators=(",", ":"))
    assert pages == [raw]
    assert recent == [raw[:1]]
    assert none == []


async def test_members_see_their_projects_only(store: Store) -> None:
    ada, grace = await add_account(store), await add_account(store)
    mine, theirs, both = [await add_project(store, owner) for owner in (ada, grace, grace)]
    async with store.write() as tx:
        await tx.collaborators.add([(both, ada)], at=NOW)

        async def ids(**options: object) -> set[str]:
            return {
                row["project_id"] for row in await tx.projects.select(Selection(columns=("project_id",)), **options)
            }

        assert await ids(member=ada) == {mine, both}
        assert await ids(member=grace) == {theirs, both}
        assert await ids(member=None) == {mine, theirs, both}
        assert await ids(member=ada, project_id=both) == {both}
        assert await ids(member=ada, project_id=theirs) == set()
        await tx.projects.touch(mine, ada, LATER)
        assert await ids(member=ada, edited_after=NOW) == {mine}
        assert await ids(member=ada, edited_after=LATER) == set()


async def test_in_states(store: Store) -> None:
    owner = await add_account(store)
    running, dying, stopped = [await add_project(store, owner) for _ in range(3)]
    async with store.write() as tx:
        await tx.projects.update(running, {"state": State.RUNNING, "desired": "running"})
        await tx.projects.update(dying, {"state": State.RUNNING, "desired": "stopped"})

        async def ids(states: list[State]) -> set[str]:
            return {project.project_id for project in await tx.projects.in_states(states)}

        assert await ids([State.RUNNING, State.STOPPED]) == {running, dying, stopped}
        assert await ids([State.RUNNING]) == {running, dying}
        assert await ids([]) == set()
        assert [project.project_id for project in await tx.projects.wished_running()] == [running]


async def test_mark_active(store: Store) -> None:
    owner = await add_account(store)
    ids = [await add_project(store, owner) for _ in range(3)]
    async with store.write() as tx:
        await tx.projects.mark_active(ids[:2], at=LATER)
        marks = [project.active_at for each in ids if (project := await tx.projects.get(each))]
        assert marks == [LATER, LATER, None]


async def test_expired(store: Store) -> None:
    owner = await add_account(store)
    short = await add_project(store, owner, ephemeral_ms=1000)
    gone = await add_project(store, owner, ephemeral_ms=1000)
    await add_project(store, owner, ephemeral_ms=2**63 - 1)
    await add_project(store, owner, ephemeral_ms=None)
    async with store.write() as tx:
        await tx.projects.update(gone, {"deleted": True})
        assert await tx.projects.expired(NOW + timedelta(milliseconds=999)) == []
        assert await tx.projects.expired(NOW + timedelta(milliseconds=1000)) == [short]
        await tx.projects.update(gone, {"deleted": False})
        assert set(await tx.projects.expired(NOW + timedelta(days=1))) == {short, gone}


async def test_a_reserved_slot_is_the_projects(store: Store) -> None:
    owner = await add_account(store)
    async with store.write() as tx:
        reserved = await tx.projects.reserve_slot()
        unused = await tx.projects.reserve_slot()
        project_id, slot = await create_project(tx, owner, unix_slot=reserved, desired="running")
        project = await tx.projects.get(project_id)
        assert project is not None
        assert (project.unix_slot, slot, project.desired) == (reserved, reserved, "running")
        assert (await create_project(tx, owner))[1] == unused + 1


async def test_ten_thousand_memberships(store: Store) -> None:
    owner, other = await add_account(store), await add_account(store)
    async with store.write() as tx:
        ids = [(await create_project(tx, owner, title=f"{n:04}"))[0] for n in range(1000)]
        crowd_ids = [new_id() for _ in range(9)]
    for account_id in crowd_ids:
        await add_account(store, account_id=account_id)
    async with store.write() as tx:
        pairs = [(project_id, account_id) for project_id in ids for account_id in crowd_ids]
        assert await tx.collaborators.add(pairs, at=LATER) == pairs
    async with store.read() as tx:
        selection = Selection(columns=("project_id", "users"), order_by=(("title", False),))
        rows = await tx.projects.select(selection, member=crowd_ids[0])
        assert [row["project_id"] for row in rows] == ids
        assert all(len(row["users"]) == 10 and next(iter(row["users"])) == owner for row in rows)
        assert await tx.projects.select(selection, member=other) == []
