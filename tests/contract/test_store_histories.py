"""Histories of files: versions are added all or nothing, and the oldest are forgotten."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from store_samples import HOSTILE, NOW, add_account, add_project

from projecthub.errors import Conflict
from projecthub.store import Store
from projecthub.store.histories import History, Version
from projecthub.wire.ids import ProjectId


def history(project_id: ProjectId, id: str = "a" * 40, **fields: Any) -> History:
    values: dict[str, Any] = {
        "path": "a.txt",
        "first_seq": 1,
        "snapshot_seq": 1,
        "last_seq": 1,
        "first_at": NOW,
        "last_at": NOW,
        "digest": "d" * 64,
        "mark": "m/1",
        "stored_bytes": 10,
        "text_bytes": 20,
    }
    return History(id=id, project_id=project_id, **(values | fields))


def version(of: History, seq: int, **fields: Any) -> Version:
    values: dict[str, Any] = {
        "at": NOW,
        "account_id": None,
        "event": "written",
        "is_snapshot": seq == 1,
        "data": bytes(range(256)),
        "text_bytes": 20,
    }
    return Version(history_id=of.id, seq=seq, **(values | fields))


@pytest.fixture
async def project_id(store: Store) -> ProjectId:
    return await add_project(store, await add_account(store))


async def add(store: Store, before: History | None, after: History, *versions: Version) -> None:
    async with store.write() as tx:
        await tx.histories.add([(before, after)], versions)


async def test_what_is_added_is_there(store: Store, project_id: ProjectId) -> None:
    ada = await add_account(store)
    first = history(project_id)
    await add(store, None, first, version(first, 1, account_id=ada, event=HOSTILE[0]))
    second = replace(first, last_seq=2, last_at=NOW + timedelta(seconds=1), digest="e" * 64, mark="", stored_bytes=15)
    await add(store, first, second, version(first, 2, data=b""))
    async with store.read() as tx:
        assert await tx.histories.get([first.id, "f" * 40]) == {first.id: second}
        assert await tx.histories.versions(first.id) == [
            version(first, 1, account_id=ada, event=HOSTILE[0]),
            version(first, 2, data=b""),
        ]
        assert [found.seq for found in await tx.histories.versions(first.id, 2, 5)] == [2]
        assert await tx.histories.stored_bytes(project_id) == 15
        assert await tx.histories.get([]) == {}


@pytest.mark.parametrize("path", [text[:4000] for text in HOSTILE])
async def test_any_path(store: Store, project_id: ProjectId, path: str) -> None:
    first = history(project_id, path=path)
    await add(store, None, first)
    async with store.read() as tx:
        assert (await tx.histories.get([first.id]))[first.id].path == path


async def test_when_somebody_has_changed_a_file(store: Store, project_id: ProjectId) -> None:
    one, other = await add_account(store), await add_account(store)
    async with store.write() as tx:
        who = [one, other, None, one]
        made = [
            version(history(project_id), seq, account_id=account_id, at=NOW + timedelta(seconds=seq))
            for seq, account_id in enumerate(who, 1)
        ]
        await tx.histories.add([(None, history(project_id, last_seq=4))], made)
    async with store.read() as tx:
        assert await tx.histories.times("a" * 40, one) == [NOW + timedelta(seconds=1), NOW + timedelta(seconds=4)]
        assert await tx.histories.times("b" * 40, one) == []


async def test_who_comes_too_late_adds_nothing(store: Store, project_id: ProjectId) -> None:
    first = history(project_id)
    await add(store, None, first, version(first, 1))
    second = replace(first, last_seq=2, stored_bytes=30)
    await add(store, first, second, version(first, 2))
    other = history(project_id, "b" * 40)
    for before, after, added in ((None, first, 1), (first, second, 2), (None, other, 1)):
        with pytest.raises(Conflict):
            async with store.write() as tx:
                changes = [(None, other), (first, second)] if after is other else [(before, after)]
                await tx.histories.add(changes, [version(after, added)])
    async with store.read() as tx:
        assert await tx.histories.get([other.id]) == {}
        assert len(await tx.histories.versions(first.id)) == 2
        assert await tx.histories.stored_bytes(project_id) == 30


async def test_what_was_written_down_last_is_known(store: Store, project_id: ProjectId) -> None:
    first = history(project_id)
    async with store.write() as tx:
        assert await tx.histories.taken(project_id) == []
        await tx.histories.add([(None, first)], [version(first, 1)], ["j1", "j2"])
        assert await tx.histories.taken(project_id) == ["j1", "j2"]
    second = replace(first, last_seq=2)
    await add(store, first, second, version(first, 2))
    async with store.write() as tx:
        assert await tx.histories.taken(project_id) == ["j1", "j2"]
        await tx.histories.add([(second, replace(second, last_seq=3))], [version(first, 3)], [])
        assert await tx.histories.taken(project_id) == []


async def test_of_no_project_there_is_no_history(store: Store) -> None:
    with pytest.raises(Conflict):
        await add(store, None, history(ProjectId("00000000-0000-4000-8000-000000000000")))


async def test_the_oldest_versions_are_forgotten(store: Store, project_id: ProjectId) -> None:
    first = history(project_id, last_seq=3, stored_bytes=30)
    await add(store, None, first, *(version(first, seq) for seq in (1, 2, 3)))
    snapshot = version(first, 3, is_snapshot=True, data=b"whole", text_bytes=7)
    after = replace(first, first_seq=3, snapshot_seq=3, first_at=NOW + timedelta(hours=1), stored_bytes=5)
    async with store.write() as tx:
        await tx.histories.shorten(first, after, snapshot)
    async with store.read() as tx:
        assert await tx.histories.versions(first.id) == [snapshot]
        assert await tx.histories.get([first.id]) == {first.id: after}
        assert await tx.histories.stored_bytes(project_id) == 5


async def test_the_oldest_history_goes_first(store: Store, project_id: ProjectId) -> None:
    other = await add_project(store, await add_account(store))
    for number, (project, hours) in enumerate(((project_id, 2), (project_id, 1), (other, 0))):
        one = history(project, f"{number}" * 40, first_at=NOW + timedelta(hours=hours))
        await add(store, None, one, version(one, 1))
    async with store.read() as tx:
        oldest = await tx.histories.oldest(project_id)
    assert oldest is not None
    assert oldest.id == "1" * 40
    async with store.write() as tx:
        await tx.histories.forget(oldest)
    async with store.read() as tx:
        assert await tx.histories.versions(oldest.id) == []
        assert list(await tx.histories.get(["0" * 40, "1" * 40, "2" * 40])) == ["0" * 40, "2" * 40]
        assert await tx.histories.stored_bytes(project_id) == 10
        assert await tx.histories.stored_bytes(other) == 10
    async with store.write() as tx:
        await tx.histories.forget(history(project_id, "0" * 40))
    async with store.read() as tx:
        assert await tx.histories.oldest(project_id) is None
        assert await tx.histories.stored_bytes(project_id) == 0
