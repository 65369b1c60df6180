from __future__ import annotations

from datetime import timedelta

import pytest
from store_samples import NOW, add_account, add_project, new_id

from projecthub.errors import Conflict, InvalidArgument
from projecthub.store import Store
from projecthub.store.records import Role


async def test_add_tells_who_was_really_added(store: Store) -> None:
    owner, ada, grace = [await add_account(store) for _ in range(3)]
    one, two = [await add_project(store, owner) for _ in range(2)]
    async with store.write() as tx:
        assert await tx.collaborators.add([(one, grace)], at=NOW) == [(one, grace)]
        pairs = [(two, grace), (one, ada), (one, grace), (one, ada), (one, owner)]
        assert await tx.collaborators.add(pairs, at=NOW) == [(two, grace), (one, ada)]
        assert await tx.collaborators.add(pairs, at=NOW) == []
        assert await tx.collaborators.add([], at=NOW) == []
        # Nobody is demoted by being added again.
        assert await tx.collaborators.roles(one) == {
            owner: Role.OWNER,
            ada: Role.COLLABORATOR,
            grace: Role.COLLABORATOR,
        }
        assert await tx.collaborators.roles(new_id()) == {}


@pytest.mark.parametrize("unknown", ["project", "account"])
async def test_adding_what_is_not_there_adds_nothing(store: Store, unknown: str) -> None:
    owner, ada = await add_account(store), await add_account(store)
    project_id = await add_project(store, owner)
    wrong = (new_id(), ada) if unknown == "project" else (project_id, new_id())
    with pytest.raises(Conflict):
        async with store.write() as tx:
            await tx.collaborators.add([(project_id, ada), wrong], at=NOW)
    async with store.read() as tx:
        assert await tx.collaborators.roles(project_id) == {owner: Role.OWNER}


async def test_remove(store: Store) -> None:
    owner = await add_account(store)
    project_id = await add_project(store, owner)
    async with store.write() as tx:
        assert await tx.collaborators.role(project_id, owner) is Role.OWNER
        assert await tx.collaborators.remove(project_id, owner)
        assert not await tx.collaborators.remove(project_id, owner)
        assert await tx.collaborators.role(project_id, owner) is None


async def test_update(store: Store) -> None:
    owner, stranger = await add_account(store), await add_account(store)
    project_id = await add_project(store, owner)
    async with store.write() as tx:
        assert await tx.collaborators.update(project_id, owner, {"role": Role.COLLABORATOR, "hide": True})
        assert not await tx.collaborators.update(project_id, stranger, {"hide": True})
        assert await tx.collaborators.role(project_id, owner) is Role.COLLABORATOR
        for changes in ({"account_id": stranger}, {"added_at": NOW}, {"nonsense": 1}, {}):
            with pytest.raises(InvalidArgument):
                await tx.collaborators.update(project_id, owner, changes)


async def test_shared_with(store: Store) -> None:
    ada, grace, alan, stranger = [await add_account(store) for _ in range(4)]
    one, two, _ = [await add_project(store, ada), await add_project(store, alan), await add_project(store, stranger)]
    async with store.write() as tx:
        await tx.collaborators.add([(one, grace), (two, ada)], at=NOW + timedelta(seconds=1))
        assert await tx.collaborators.shared_with(ada) == {grace, alan}
        assert await tx.collaborators.shared_with(grace) == {ada}
        assert await tx.collaborators.shared_with(stranger) == set()
