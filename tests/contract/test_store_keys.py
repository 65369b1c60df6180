from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from store_samples import NOW, add_account, add_project, new_id

from projecthub.errors import Conflict, InvalidArgument
from projecthub.store import Store
from projecthub.store.records import Key, KeyOwner, Role
from projecthub.wire.methods import ALL_ABILITIES, Ability


async def add_key(store: Store, account_id: str, *, secret: str | None = None, **fields: Any) -> int:
    values = {"project_id": None, "name": "a key", "expires_at": None, "created_at": NOW} | fields
    async with store.write() as tx:
        key_id = await tx.keys.create(account_id=account_id, **values)
        if secret is not None:
            await tx.keys.set_secret(key_id, hash=secret, trunc="sk-...abcdef")
    return key_id


async def test_a_key_and_its_owner(store: Store) -> None:
    account_id = await add_account(store, is_admin=True)
    key_id = await add_key(store, account_id, secret="a" * 64, expires_at=NOW, name="it's 100%")
    key = Key(
        id=key_id,
        account_id=account_id,
        project_id=None,
        name="it's 100%",
        trunc="sk-...abcdef",
        created_at=NOW,
        expires_at=NOW,
        last_active_at=None,
        scopes=ALL_ABILITIES,
        calls_per_minute=None,
        is_session=False,
    )
    async with store.read() as tx:
        assert await tx.keys.get(key_id) == key
        assert await tx.keys.find("a" * 64) == KeyOwner(key=key, is_admin=True, enabled=True, role=None)
        assert await tx.keys.find("b" * 64) is None
        assert await tx.keys.get(key_id + 1) is None


async def test_a_key_without_a_secret_matches_nothing(store: Store) -> None:
    await add_key(store, await add_account(store))
    async with store.read() as tx:
        for hash in ("", "None", "null"):
            assert await tx.keys.find(hash) is None


async def test_a_project_key_knows_what_its_account_is_to_the_project(store: Store) -> None:
    owner, other = await add_account(store), await add_account(store)
    project_id = await add_project(store, owner)
    await add_key(store, owner, secret="a" * 64, project_id=project_id)
    await add_key(store, other, secret="b" * 64, project_id=project_id)

    async def roles() -> list[Role | None]:
        async with store.read() as tx:
            return [found.role for letter in "ab" if (found := await tx.keys.find(letter * 64))]

    assert await roles() == [Role.OWNER, None]
    async with store.write() as tx:
        await tx.collaborators.add([(project_id, other)], at=NOW)
        await tx.collaborators.remove(project_id, owner)
    assert await roles() == [None, Role.COLLABORATOR]


@pytest.mark.parametrize("changes", [{"banned": True}, {"deleted_at": NOW}])
async def test_a_disabled_account_shows_in_its_key(store: Store, changes: dict[str, Any]) -> None:
    account_id = await add_account(store)
    await add_key(store, account_id, secret="a" * 64)
    async with store.write() as tx:
        await tx.accounts.update(account_id, changes)
        owner = await tx.keys.find("a" * 64)
        assert owner is not None
        assert not owner.enabled


async def test_a_hash_is_unique(store: Store) -> None:
    account_id = await add_account(store)
    await add_key(store, account_id, secret="a" * 64)
    with pytest.raises(Conflict):
        await add_key(store, account_id, secret="a" * 64)
    async with store.read() as tx:
        assert await tx.keys.count(account_id) == 1


async def test_a_key_of_nobody_is_a_conflict(store: Store) -> None:
    with pytest.raises(Conflict):
        await add_key(store, new_id())


async def test_numbers_are_never_used_again(store: Store) -> None:
    account_id = await add_account(store)
    first = await add_key(store, account_id)
    async with store.write() as tx:
        assert await tx.keys.delete(first)
        assert not await tx.keys.delete(first)
    assert await add_key(store, account_id) > first


async def test_lists_and_counts(store: Store) -> None:
    ada, grace = await add_account(store), await add_account(store)
    project_id = await add_project(store, ada)
    mine = [await add_key(store, ada) for _ in range(3)]
    of_project = [await add_key(store, account_id, project_id=project_id) for account_id in (ada, grace)]
    async with store.read() as tx:
        assert [key.id for key in await tx.keys.of_account(ada)] == mine
        assert [key.id for key in await tx.keys.of_account(grace)] == []
        assert [key.id for key in await tx.keys.of_project(project_id)] == of_project
        assert await tx.keys.count(ada) == 4
        assert await tx.keys.count(grace) == 1


async def test_edit(store: Store) -> None:
    key_id = await add_key(store, await add_account(store))
    async with store.write() as tx:
        assert await tx.keys.edit(key_id, changes={"name": "new", "expires_at": NOW})
        key = await tx.keys.get(key_id)
        assert key is not None
        assert (key.name, key.expires_at) == ("new", NOW)
        assert await tx.keys.edit(key_id, changes={"expires_at": None})
        assert not await tx.keys.edit(key_id + 1, changes={"name": "x"})
        for changes in ({"hash": "x"}, {"account_id": new_id()}, {"nonsense": 1}, {}):
            with pytest.raises(InvalidArgument):
                await tx.keys.edit(key_id, changes=changes)


async def test_mark_used(store: Store) -> None:
    account_id = await add_account(store)
    ids = [await add_key(store, account_id) for _ in range(3)]
    used = {ids[0]: NOW, ids[2]: NOW + timedelta(milliseconds=1), 999: NOW}
    async with store.write() as tx:
        await tx.keys.mark_used(used)
        await tx.keys.mark_used({})
        found = [(await tx.keys.get(id)).last_active_at for id in ids]
    assert found == [NOW, None, NOW + timedelta(milliseconds=1)]


@pytest.mark.parametrize("scopes", [ALL_ABILITIES, {Ability.READ}, {Ability.RUN, Ability.WRITE, Ability.MANAGE}])
async def test_scopes_and_limits(store: Store, scopes: set[Ability]) -> None:
    key_id = await add_key(store, await add_account(store), secret="a" * 64, scopes=scopes, calls_per_minute=5)
    async with store.write() as tx:
        key, found = await tx.keys.get(key_id), await tx.keys.find("a" * 64)
        assert key is not None
        assert found is not None
        assert found.key == key
        assert (key.scopes, key.calls_per_minute, key.is_session) == (scopes, 5, False)
        await tx.keys.edit(
            key_id, changes={"scopes": ALL_ABILITIES - scopes or ALL_ABILITIES, "calls_per_minute": None}
        )
        changed = await tx.keys.get(key_id)
        assert changed is not None
        assert (changed.scopes, changed.calls_per_minute) == (ALL_ABILITIES - scopes or ALL_ABILITIES, None)
        with pytest.raises(InvalidArgument):
            await tx.keys.edit(key_id, changes={"is_session": True})
