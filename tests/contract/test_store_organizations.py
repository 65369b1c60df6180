"""Organizations and who belongs to them."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from store_samples import HOSTILE, NOW, add_account, new_id

from projecthub.errors import Conflict, HubError, InvalidArgument
from projecthub.store import Store
from projecthub.store.records import Affiliation, Organization


def sample(**fields: Any) -> Organization:
    values: dict[str, Any] = {"title": None, "description": None, "link": None, "email_address": None}
    return Organization(**{"organization_id": new_id(), "name": "acme", "created_at": NOW, **values, **fields})


async def add(store: Store, **fields: Any) -> Organization:
    organization = sample(**fields)
    async with store.write() as tx:
        await tx.organizations.create(organization)
    return organization


async def test_an_organization_comes_back_as_it_was(store: Store) -> None:
    acme = await add(store, name="Acme", title="T", description="D", link="L", email_address="E")
    other = await add(store, name="other")
    async with store.read() as tx:
        assert await tx.organizations.get("aCME") == acme
        assert await tx.organizations.get("Acm") is None
        assert await tx.organizations.all() == [acme, other]


@pytest.mark.parametrize("fields", [{"name": "ACME"}, {"name": "acme"}])
async def test_names_are_unique(store: Store, fields: dict[str, Any]) -> None:
    await add(store)
    with pytest.raises(Conflict, match="name"):
        await add(store, **fields)


async def test_changes(store: Store) -> None:
    acme, other = await add(store), await add(store, name="other")
    async with store.write() as tx:
        await tx.organizations.update(acme.organization_id, {"title": "T", "link": None})
        for changes in ({"name": "x"}, {"organization_id": new_id()}, {"none": 1}, {}):
            with pytest.raises(InvalidArgument):
                await tx.organizations.update(acme.organization_id, changes)
        assert [one.title for one in await tx.organizations.all()] == ["T", None]
        assert await tx.organizations.get("other") == other


@pytest.mark.parametrize("text", HOSTILE)
async def test_hostile_texts(store: Store, text: str) -> None:
    acme = await add(store)
    async with store.write() as tx:
        assert await tx.organizations.get(text) is None
        await tx.organizations.update(acme.organization_id, {"title": text})
    async with store.read() as tx:
        found = await tx.organizations.get("acme")
    assert found is not None
    assert found.title == text


async def test_an_account_is_in_one_organization(store: Store) -> None:
    acme, other = await add(store), await add(store, name="other")
    ada = await add_account(store)
    async with store.write() as tx:
        assert await tx.organizations.of_account(ada) is None
        await tx.organizations.join(acme.organization_id, ada, at=NOW)
        assert await tx.organizations.of_account(ada) == Affiliation(
            organization_id=acme.organization_id, name="acme", is_admin=False
        )
        assert not await tx.organizations.appoint(other.organization_id, ada, at=NOW)
        await tx.organizations.join(other.organization_id, ada, at=NOW)
        assert [await tx.organizations.members(one.organization_id) for one in (acme, other)] == [
            [],
            [{"account_id": ada, "first_name": "Ada", "last_name": "Lovelace", "email_address": None,
              "last_active_at": None}],
        ]  # fmt: skip
        assert not await tx.organizations.remove(acme.organization_id, ada)
        assert await tx.organizations.remove(other.organization_id, ada)
        assert not await tx.organizations.remove(other.organization_id, ada)
        assert await tx.organizations.of_account(ada) is None


async def test_an_admin_stays_until_he_is_dismissed(store: Store) -> None:
    acme, other = await add(store), await add(store, name="other")
    ada = await add_account(store)
    async with store.write() as tx:
        for _ in range(2):
            assert await tx.organizations.appoint(acme.organization_id, ada, at=NOW)
        await tx.organizations.join(acme.organization_id, ada, at=NOW)
        await tx.organizations.join(other.organization_id, ada, at=NOW)
        assert not await tx.organizations.remove(acme.organization_id, ada)
        await tx.organizations.dismiss(other.organization_id, ada)
        assert await tx.organizations.admins(acme.organization_id) == [ada]
        assert await tx.organizations.all_admins() == {acme.organization_id: [ada]}
        await tx.organizations.dismiss(acme.organization_id, ada)
        assert await tx.organizations.admins(acme.organization_id) == []
        assert await tx.organizations.remove(acme.organization_id, ada)


async def test_whoever_leaves_is_nothing_any_more(store: Store) -> None:
    acme = await add(store)
    ada = await add_account(store)
    async with store.write() as tx:
        await tx.organizations.leave(ada)
        await tx.organizations.appoint(acme.organization_id, ada, at=NOW)
        await tx.organizations.leave(ada)
        assert await tx.organizations.of_account(ada) is None


async def test_deleted_accounts_are_not_shown(store: Store) -> None:
    acme = await add(store)
    ada = await add_account(store)
    async with store.write() as tx:
        await tx.organizations.appoint(acme.organization_id, ada, at=NOW)
        await tx.accounts.update(ada, {"deleted_at": NOW})
        assert await tx.organizations.members(acme.organization_id) == []
        assert await tx.organizations.admins(acme.organization_id) == []
        assert await tx.organizations.all_admins() == {}


async def test_one_name_is_given_once(store: Store) -> None:
    """An account and an organization want the same name at once: one of them gets it."""
    ada = await add_account(store)

    async def name_account() -> None:
        async with store.write() as tx:
            await tx.organizations.lock_names()
            if await tx.organizations.get("acme") is None:
                await tx.accounts.update(ada, {"name": "acme"})

    async def name_organization() -> None:
        async with store.write() as tx:
            await tx.organizations.lock_names()
            if await tx.accounts.by_name("ACME") is None:
                await tx.organizations.create(sample())

    await asyncio.gather(name_account(), name_organization())
    async with store.read() as tx:
        assert (await tx.accounts.by_name("Acme") is None) != (await tx.organizations.get("acme") is None)


async def test_nobody_who_is_not_there_joins(store: Store) -> None:
    acme = await add(store)
    ada = await add_account(store)
    for organization_id, account_id in ((acme.organization_id, new_id()), (new_id(), ada)):
        with pytest.raises(HubError):
            async with store.write() as tx:
                await tx.organizations.join(organization_id, account_id, at=NOW)
