from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from store_samples import HOSTILE, NOW, add_account, add_project

from projecthub.errors import Conflict, InvalidArgument
from projecthub.store import Store
from projecthub.store.records import Condition, Selection, Share
from projecthub.wire.ids import ProjectId

LATER = NOW + timedelta(hours=1)
ID = "a" * 40


async def columns(store: Store, project_id: ProjectId, *names: str) -> dict[str, Any]:
    async with store.read() as tx:
        [row] = await tx.shares.select(Selection(columns=names), project_id=project_id)
    return row


async def test_a_share_is_made_and_changed(store: Store) -> None:
    project_id = await add_project(store, await add_account(store))
    async with store.write() as tx:
        assert await tx.shares.get(ID) is None
        await tx.shares.upsert(ID, project_id, "a/b c.md", {}, at=NOW)
        assert await tx.shares.get(ID) == Share(
            id=ID,
            project_id=project_id,
            path="a/b c.md",
            description=None,
            disabled=False,
            unlisted=False,
            authenticated=False,
            vhost=None,
            compute_image=None,
            site_license_id=None,
        )
    assert await columns(store, project_id, "created_at", "last_edited_at", "counter") == {
        "created_at": NOW,
        "last_edited_at": NOW,
        "counter": 0,
    }
    async with store.write() as tx:
        await tx.shares.upsert(
            ID, project_id, "a/b c.md", {"unlisted": True, "description": "d", "counter": 7}, at=LATER
        )
        await tx.shares.upsert(ID, project_id, "a/b c.md", {}, at=LATER)
        share = await tx.shares.get(ID)
        assert share is not None
        assert (share.unlisted, share.disabled, share.description) == (True, False, "d")
    assert await columns(store, project_id, "created_at", "last_edited_at", "counter") == {
        "created_at": NOW,
        "last_edited_at": LATER,
        "counter": 7,
    }


@pytest.mark.parametrize("text", HOSTILE)
async def test_paths_of_any_text(store: Store, text: str) -> None:
    project_id = await add_project(store, await add_account(store))
    async with store.write() as tx:
        await tx.shares.upsert(ID, project_id, text, {"description": text}, at=NOW)
    assert await columns(store, project_id, "path", "description") == {"path": text, "description": text}


async def test_an_id_stays_with_its_path(store: Store) -> None:
    owner = await add_account(store)
    one, two = await add_project(store, owner), await add_project(store, owner)
    async with store.write() as tx:
        await tx.shares.upsert(ID, one, "a", {}, at=NOW)
        for project_id, path in ((one, "b"), (two, "a")):
            with pytest.raises(Conflict):
                await tx.shares.upsert(ID, project_id, path, {"disabled": True}, at=NOW)
        share = await tx.shares.get(ID)
        assert share is not None
        assert not share.disabled


@pytest.mark.parametrize("changes", [{"id": "b" * 40}, {"path": "b"}, {"created_at": NOW}, {"nonsense": 1}])
async def test_what_the_store_keeps_is_not_a_change(store: Store, changes: dict[str, Any]) -> None:
    project_id = await add_project(store, await add_account(store))
    async with store.write() as tx:
        with pytest.raises(InvalidArgument):
            await tx.shares.upsert(ID, project_id, "a", changes, at=NOW)


async def test_select(store: Store) -> None:
    owner = await add_account(store)
    one, two = await add_project(store, owner), await add_project(store, owner)
    async with store.write() as tx:
        for number, project_id in enumerate((one, one, one, two)):
            id = str(number) * 40
            await tx.shares.upsert(id, project_id, f"p{number}", {"unlisted": number == 1}, at=NOW)
        selection = Selection(
            columns=("path",),
            conditions=(Condition("unlisted", "=", False),),
            order_by=(("path", True),),
            limit=5,
        )
        assert await tx.shares.select(selection, project_id=one) == [{"path": "p2"}, {"path": "p0"}]
        with pytest.raises(InvalidArgument):
            await tx.shares.select(Selection(columns=("users",)), project_id=one)
