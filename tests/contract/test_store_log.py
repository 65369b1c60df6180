from __future__ import annotations

from datetime import timedelta

from store_samples import HOSTILE, NOW, add_account, add_project, new_id

from projecthub.store import Store


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
