from __future__ import annotations

from datetime import timedelta

import pytest
from store_samples import NOW, add_account, add_project

from projecthub.errors import Conflict, NotFound
from projecthub.store import Store
from projecthub.store.records import Template


async def test_templates_of_an_account_and_of_everybody(store: Store) -> None:
    owner, other = await add_account(store), await add_account(store)
    mine, offered, plain = [await add_project(store, owner) for _ in range(3)]
    async with store.write() as tx:
        for project_id, title in ((mine, "b"), (offered, "a"), (plain, "c")):
            await tx.projects.update(project_id, {"title": title, "description": "d"})
        await tx.templates.set(mine, everybody=True, at=NOW)
        await tx.templates.set(mine, everybody=False, at=NOW)
        await tx.templates.set(offered, everybody=True, at=NOW)
        assert [await tx.templates.offered(each) for each in (mine, offered, plain)] == [False, True, None]
    one = Template(project_id=mine, title="b", description="d", everybody=False, member=True)
    two = Template(project_id=offered, title="a", description="d", everybody=True, member=True)
    async with store.read() as tx:
        assert await tx.templates.list(owner) == [two, one]
        assert await tx.templates.list(other) == [
            Template(project_id=offered, title="a", description="d", everybody=True, member=False)
        ]
    async with store.write() as tx:
        await tx.projects.update(offered, {"deleted": True})
        assert await tx.templates.list(owner) == [one]
        assert await tx.templates.list(other) == []
        assert await tx.templates.delete(mine)
        assert not await tx.templates.delete(mine)
        assert await tx.templates.list(owner) == []


async def test_a_template_is_of_a_project(store: Store) -> None:
    with pytest.raises(Conflict):
        async with store.write() as tx:
            await tx.templates.set("00000000-0000-4000-8000-000000000000", everybody=False, at=NOW)


async def test_shares_that_may_be_browsed(store: Store) -> None:
    project_id = await add_project(store, await add_account(store))
    shares = {
        "1" * 40: {},
        "2" * 40: {"unlisted": True},
        "3" * 40: {"disabled": True},
        "4" * 40: {"vhost": "www.example.org"},
        "5" * 40: {"authenticated": True},
        "6" * 40: {},
    }
    async with store.write() as tx:
        await tx.projects.update(project_id, {"title": "Soil"})
        for number, (id, fields) in enumerate(shares.items()):
            at = NOW + timedelta(seconds=min(number, 4))  # the last two at the same moment
            await tx.shares.upsert(id, project_id, id, fields, at=at)
        await tx.shares.count("1" * 40)
    async with store.read() as tx:

        async def found(after: str | None = None, *, limit: int = 9, anybody: bool = False) -> list[str]:
            return [share["id"][0] for share in await tx.shares.listed(limit=limit, after=after, anybody=anybody)]

        assert await found() == ["6", "5", "1"]
        assert await found(anybody=True) == ["6", "1"]
        assert await found(limit=1) == ["6"]
        assert await found("6" * 40, limit=1) == ["5"]
        assert await found("5" * 40) == ["1"]
        with pytest.raises(NotFound):
            await found("0" * 40)
        assert [share["path"][0] for share in await tx.shares.of_project(project_id)] == list("123456")
        told = await tx.shares.told("1" * 40)
        assert told is not None
        assert (told["project_title"], told["counter"], told["created_at"]) == ("Soil", 1, NOW)
        assert await tx.shares.told("0" * 40) is None
