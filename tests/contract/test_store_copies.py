"""Copies from many projects or to many: what is remembered of them."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from store_samples import HOSTILE, NOW, add_account, add_project, new_id

from projecthub.errors import Conflict, InvalidArgument
from projecthub.store import Store
from projecthub.store.copy_records import CopyOperation, CopyState, CopyTarget, TargetState
from projecthub.wire.ids import AccountId, ProjectId

PATHS = [text for text in HOSTILE if "\0" not in text] + ["\udcff\udcfe", "caf\udce9", 'a"b\\']


def operation(account_id: AccountId, **fields: Any) -> CopyOperation:
    values: dict[str, Any] = {
        "id": new_id(),
        "account_id": account_id,
        "state": CopyState.PLANNING,
        "policy": "update",
        "options": {"backup": True, "exclude": ["*.pyc"]},
        "applies": False,
        "created_at": NOW,
        "updated_at": NOW,
        "expires_at": NOW + timedelta(days=1),
    }
    return CopyOperation(**(values | fields))


async def add(
    store: Store, account_id: AccountId, source: ProjectId, targets: list[ProjectId], **fields: Any
) -> CopyOperation:
    made = operation(account_id, **fields)
    async with store.write() as tx:
        await tx.copies.create(made, [target(made, n, source, one) for n, one in enumerate(targets)])
    return made


def target(made: CopyOperation, number: int, source: ProjectId, to: ProjectId, **fields: Any) -> CopyTarget:
    values: dict[str, Any] = {
        "operation_id": made.id,
        "number": number,
        "source_project_id": source,
        "source_path": "hw",
        "target_project_id": to,
        "target_path": "hw",
    }
    return CopyTarget(**(values | fields))


@pytest.fixture
async def people(store: Store) -> tuple[AccountId, ProjectId, list[ProjectId]]:
    ada = await add_account(store)
    return ada, await add_project(store, ada), [await add_project(store, ada) for _ in range(3)]


async def test_an_operation_comes_back_as_it_was_put_there(store: Store, people: Any) -> None:
    ada, source, [one, two, _] = people
    made = operation(ada, applies=True, totals={"files": 3}, undo_until=NOW, finished_at=NOW)
    first = target(made, 0, source, one, summary={"counts": {"new": 1}}, manifest="m", base="b", kept_bytes=7)
    second = target(made, 1, source, two, error="no", error_code="conflict", state=TargetState.REFUSED)
    async with store.write() as tx:
        await tx.copies.create(made, [first, second])
    async with store.read() as tx:
        assert await tx.copies.get(made.id) == made
        assert await tx.copies.get(new_id()) is None
        assert await tx.copies.targets(made.id) == [first, second]
        assert await tx.copies.targets(made.id, states=[TargetState.REFUSED]) == [second]
        assert await tx.copies.targets(made.id, after=0, limit=5) == [second]
        assert await tx.copies.targets(made.id, numbers=[0, 9]) == [first]
        assert await tx.copies.targets(made.id, limit=1) == [first]


@pytest.mark.parametrize("path", PATHS)
async def test_paths_of_any_bytes(store: Store, people: Any, path: str) -> None:
    ada, source, [one, *_] = people
    made = operation(ada)
    row = target(made, 0, source, one, source_path=path, target_path=path)
    async with store.write() as tx:
        await tx.copies.create(made, [row])
        assert await tx.copies.targets(made.id) == [row]
        if len(path) < 1000:  # longer ones are no paths, and fit into no index
            await tx.copies.hand_out([(one, path, "m")], at=NOW)
            assert await tx.copies.handed_out([(one, path)]) == {(one, path): "m"}


async def test_projects_may_be_none_that_there_are_but_whoever_copies_is_somebody(store: Store, people: Any) -> None:
    ada, source, _ = people
    await add(store, ada, source, [ProjectId(new_id())])
    with pytest.raises(Conflict):
        await add(store, AccountId(new_id()), source, [source])


async def test_only_from_the_states_that_are_named(store: Store, people: Any) -> None:
    ada, source, targets = people
    made = await add(store, ada, source, targets)
    async with store.write() as tx:
        assert not await tx.copies.update(made.id, {"state": CopyState.DONE}, states=[CopyState.RUNNING])
        assert await tx.copies.update(made.id, {"state": CopyState.RUNNING}, states=[CopyState.PLANNING])
        assert not await tx.copies.update(new_id(), {"state": CopyState.RUNNING})
        with pytest.raises(InvalidArgument):
            await tx.copies.update(made.id, {"account_id": ada})
        found = await tx.copies.get(made.id, lock=True)
    assert found is not None
    assert found.state is CopyState.RUNNING


async def test_targets_change_together(store: Store, people: Any) -> None:
    ada, source, targets = people
    made, other = await add(store, ada, source, targets), await add(store, ada, source, targets)
    async with store.write() as tx:
        await tx.copies.update_targets(made.id, {})
        await tx.copies.update_targets(
            made.id,
            {
                0: {"state": TargetState.DONE, "summary": {"files": 1}, "kept_bytes": 5},
                2: {"state": TargetState.DONE, "summary": None, "kept_bytes": None},
            },
        )
        assert await tx.copies.move_targets(made.id, [TargetState.PLANNING], TargetState.CANCELLED, error="x") == 1
        rows = await tx.copies.targets(made.id)
        assert [row.state for row in rows] == ["done", "cancelled", "done"]
        assert [row.summary for row in rows] == [{"files": 1}, None, None]
        assert [row.kept_bytes for row in rows] == [5, None, None]
        assert {row.state for row in await tx.copies.targets(other.id)} == {TargetState.PLANNING}


async def test_what_is_open(store: Store, people: Any) -> None:
    ada, source, targets = people
    states = [CopyState.RUNNING, CopyState.DONE, CopyState.PLANNING, CopyState.PLANNED, CopyState.UNDONE]
    made = [
        await add(store, ada, source, targets, state=state, created_at=NOW + timedelta(seconds=n))
        for n, state in enumerate(states)
    ]
    async with store.read() as tx:
        assert [one.id for one in await tx.copies.open()] == [made[0].id, made[2].id]
        assert await tx.copies.count_plans(ada, since=NOW - timedelta(days=1)) == 2
        assert await tx.copies.count_plans(ada, since=NOW + timedelta(seconds=2)) == 1
        assert await tx.copies.count_plans(await_none(), since=NOW - timedelta(days=1)) == 0


async def test_the_oldest_plan(store: Store, people: Any) -> None:
    ada, source, targets = people
    states = [CopyState.PLANNED, CopyState.PLANNING, CopyState.PLANNED, CopyState.PLANNED, CopyState.DONE]
    made = [
        await add(store, ada, source, targets, state=state, created_at=NOW + timedelta(seconds=n))
        for n, state in enumerate(states)
    ]
    async with store.write() as tx:
        assert await tx.copies.oldest_plan(ada, since=NOW - timedelta(days=1)) == made[0].id
        assert await tx.copies.oldest_plan(ada, since=NOW) == made[2].id
        assert await tx.copies.oldest_plan(await_none(), since=NOW - timedelta(days=1)) is None


def await_none() -> AccountId:
    return AccountId(new_id())


async def test_pages_of_ones_own_newest_first(store: Store, people: Any) -> None:
    ada, source, [one, two, three] = people
    bob = await add_account(store)
    made = [
        await add(store, ada, source, [one, two] if n % 2 else [three], created_at=NOW + timedelta(seconds=n // 2))
        for n in range(6)
    ]
    await add(store, bob, source, [one])

    async def page(**options: Any) -> list[str]:
        async with store.read() as tx:
            return [row.id for row in await tx.copies.page(ada, **options)]

    everything = await page(limit=100)
    assert sorted(everything) == sorted(row.id for row in made)
    by_id = {row.id: row for row in made}
    assert [by_id[id].created_at for id in everything] == sorted((row.created_at for row in made), reverse=True)
    assert await page(limit=2, after=by_id[everything[2]]) == everything[3:5]
    assert set(await page(limit=100, project_id=two)) == {row.id for row in made[1::2]}
    assert set(await page(limit=100, project_id=source)) == set(everything)
    assert await page(limit=100, project_id=await add_project(store, ada)) == []


async def test_what_is_forgotten(store: Store, people: Any) -> None:
    ada, source, targets = people
    now, past = NOW + timedelta(days=2), NOW - timedelta(days=1)
    done = await add(store, ada, source, targets, state=CopyState.DONE, undo_until=NOW, expires_at=NOW)
    await add(store, ada, source, targets, state=CopyState.RUNNING, expires_at=past)
    later = await add(store, ada, source, targets, state=CopyState.DONE, undo_until=now, expires_at=now)
    async with store.write() as tx:
        assert [row.id for row in await tx.copies.expired(NOW, limit=9)] == [done.id]
        assert [row.id for row in await tx.copies.not_undoable(NOW, limit=9)] == [done.id]
        assert len(await tx.copies.not_undoable(now, limit=1)) == 1
        assert [row.id for row in await tx.copies.newest(within=timedelta(minutes=2))] == [later.id]
        assert len(await tx.copies.newest(within=timedelta(days=2))) == 2
        await tx.copies.forget(done.id)
        assert await tx.copies.get(done.id) is None
        assert await tx.copies.targets(done.id) == []
        assert len(await tx.copies.targets(later.id)) == 3


async def test_what_can_be_undone_in_a_project_newest_first(store: Store, people: Any) -> None:
    ada, source, [one, two, _] = people
    made = [
        await add(store, ada, source, [one, two], state=CopyState.DONE, finished_at=NOW + timedelta(seconds=n))
        for n in range(3)
    ]
    async with store.write() as tx:
        for row in made[1:]:
            await tx.copies.update_targets(row.id, {0: {"kept_bytes": 4}})
        assert [row.operation_id for row in await tx.copies.kept(one)] == [made[2].id, made[1].id]
        assert await tx.copies.kept(two) == []
        assert (await tx.copies.kept_bytes(one), await tx.copies.kept_bytes(two)) == (8, 0)
        assert [await tx.copies.is_kept(row.id) for row in made] == [False, True, True]
        # What has not ended yet is newer than all that has.
        await tx.copies.update(made[1].id, {"state": CopyState.RUNNING, "finished_at": None})
        assert [row.operation_id for row in await tx.copies.kept(one)] == [made[1].id, made[2].id]


async def test_what_was_handed_out_last(store: Store, people: Any) -> None:
    ada, source, [one, two, three] = people
    made = await add(store, ada, source, [one])
    async with store.write() as tx:
        await tx.copies.update_targets(made.id, {0: {"base": "old"}})
        await tx.copies.hand_out([], at=NOW)
        await tx.copies.hand_out([(one, "hw", "m1"), (two, "hw", "m1"), (one, "hw2", "m1")], at=NOW)
        await tx.copies.hand_out([(one, "hw", "m2")], at=NOW)
        places = [(one, "hw"), (two, "hw"), (three, "hw"), (one, "hw2")]
        expected = {(one, "hw"): "m2", (two, "hw"): "m1", (one, "hw2"): "m1"}
        assert await tx.copies.handed_out(places) == expected
        assert await tx.copies.in_use(["m1", "m2", "m3", "old"]) == {"m1", "m2", "old"}
        await tx.copies.take_back([(one, "hw", "m1", None), (two, "hw", "m1", None), (one, "hw2", "m1", "m0")])
        assert await tx.copies.handed_out(places) == {(one, "hw"): "m2", (one, "hw2"): "m0"}


async def test_many_places_at_once(store: Store, people: Any) -> None:
    _, _, [one, *_] = people
    places = [(one, f"hw{n}") for n in range(450)]
    async with store.write() as tx:
        await tx.copies.hand_out([(*place, "m") for place in places], at=NOW)
        assert len(await tx.copies.handed_out(places)) == 450


async def test_several_projects_at_once_with_what_an_account_is_to_them(store: Store, people: Any) -> None:
    ada, _, [one, *_] = people
    bob = await add_account(store)
    theirs = await add_project(store, bob)
    async with store.read() as tx:
        found = await tx.projects.accesses([one, theirs, ProjectId(new_id())], ada)
        assert {project_id: access.role for project_id, access in found.items()} == {one: "owner", theirs: None}
        assert found[one] == await tx.projects.access(one, ada)


async def test_events_of_several_projects(store: Store, people: Any) -> None:
    ada, source, [one, two, _] = people
    async with store.write() as tx:
        await tx.log.append_all([], ada, at=NOW)
        await tx.log.append_all([(one, {"event": "a"}), (two, {"event": "b"})], ada, at=NOW)
        assert [row["event"] for row in await tx.log.of_project(two, limit=9)] == [{"event": "b"}]
        assert await tx.log.of_project(source, limit=9) == []
