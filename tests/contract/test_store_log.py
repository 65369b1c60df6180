from __future__ import annotations

from datetime import timedelta
from typing import Any

from store_samples import HOSTILE, NOW, add_account, add_project, new_id

from projecthub.store import Store
from projecthub.store.records import Condition, Selection, State


async def test_the_log_is_newest_first(store: Store) -> None:
    owner = await add_account(store)
    project_id, other = await add_project(store, owner), await add_project(store, owner)
    async with store.write() as tx:
        await tx.log.append(project_id, owner, {"event": "first"}, at=NOW)
        await tx.log.append(project_id, None, {"event": "third"}, at=NOW + timedelta(seconds=1))
        await tx.log.append(project_id, owner, {"event": "second"}, at=NOW)
        await tx.log.append(other, owner, {"event": "other"}, at=NOW)
    async with store.read() as tx:
        entries = await tx.log.of_project(project_id, limit=10)
        assert [(e["event"]["event"], e["time"], e["account_id"]) for e in entries] == [
            ("third", NOW + timedelta(seconds=1), None),
            ("second", NOW, owner),
            ("first", NOW, owner),
        ]
        assert len({entry["id"] for entry in entries}) == 3
        assert await tx.log.of_project(project_id, limit=1) == entries[:1]
        assert await tx.log.of_project(new_id(), limit=10) == []


async def test_events_of_any_text(store: Store) -> None:
    owner = await add_account(store)
    project_id = await add_project(store, owner)
    async with store.write() as tx:
        for text in HOSTILE:
            await tx.log.append(project_id, owner, {text: [text]}, at=NOW)
        entries = await tx.log.of_project(project_id, limit=100)
    assert [entry["event"] for entry in reversed(entries)] == [{text: [text]} for text in HOSTILE]


async def test_what_is_selected_of_logs(store: Store) -> None:
    ada, bob = await add_account(store), await add_account(store)
    one, two = await add_project(store, ada), await add_project(store, bob)
    async with store.write() as tx:
        for second, project_id in enumerate((one, two, one)):
            await tx.log.append(project_id, ada, {"event": str(second)}, at=NOW + timedelta(seconds=second))

    async def events(*conditions: Condition, **arguments: Any) -> list[str]:
        limit, order = arguments.pop("limit", None), arguments.pop("order_by", ())
        selection = Selection(columns=("event",), conditions=conditions, limit=limit, order_by=order)
        async with store.read() as tx:
            return [row["event"]["event"] for row in await tx.log.select(selection, **arguments)]

    assert await events() == ["2", "1", "0"]
    assert await events(project_id=one) == ["2", "0"]
    assert await events(member=bob) == ["1"]
    assert await events(member=bob, project_id=one) == []
    assert await events(member=ada, after=NOW) == ["2"]
    assert await events(limit=1) == ["2"]
    assert await events(order_by=(("logged_at", False),)) == ["0", "1", "2"]
    assert await events(Condition("logged_at", "<=", NOW), Condition("account_id", "=", ada)) == ["0"]


async def test_projects_are_counted_by_state(store: Store) -> None:
    owner = await add_account(store)
    projects = [await add_project(store, owner) for _ in range(3)]
    async with store.write() as tx:
        await tx.projects.update(projects[0], {"state": State.RUNNING, "deleted": True})
    async with store.read() as tx:
        assert await tx.projects.count_by_state() == {State.RUNNING: 1, State.STOPPED: 2}
    await store.ping()


async def test_old_entries_are_deleted_oldest_first(store: Store) -> None:
    owner = await add_account(store)
    project_id, other = await add_project(store, owner), await add_project(store, owner)
    async with store.write() as tx:
        for day in range(5):
            await tx.log.append((project_id, other)[day % 2], owner, {"event": str(day)}, at=NOW + timedelta(days=day))
    before = NOW + timedelta(days=3)
    async with store.write() as tx:
        assert await tx.log.prune(before, at_most=2) == 2
        assert [e["event"]["event"] for e in await tx.log.of_project(project_id, limit=9)] == ["4", "2"]
        assert await tx.log.prune(before, at_most=2) == 1
        assert await tx.log.prune(before, at_most=2) == 0
        assert [e["event"]["event"] for e in await tx.log.of_project(project_id, limit=9)] == ["4"]
        assert [e["event"]["event"] for e in await tx.log.of_project(other, limit=9)] == ["3"]
