"""What an account leaves behind, on every database."""

from __future__ import annotations

import asyncio
from typing import Any

from store_samples import NOW, add_account, add_project, new_id

from projecthub.errors import Conflict
from projecthub.hub.permissions import keeps_an_admin
from projecthub.store import Store
from projecthub.store.departures import OwnedAlone
from projecthub.store.records import Role
from projecthub.wire.ids import AccountId


async def test_what_an_account_owns_alone(store: Store) -> None:
    ann, bob = await add_account(store), await add_account(store)
    alone = await add_project(store, ann, title="Alone")
    with_collaborator, with_owner, of_bob, deleted = [
        await add_project(store, owner, title=title)
        for owner, title in ((ann, "b"), (ann, "c"), (bob, "d"), (ann, "e"))
    ]
    async with store.write() as tx:
        await tx.collaborators.add([(with_collaborator, bob), (with_owner, bob), (of_bob, ann)], at=NOW)
        await tx.collaborators.update(with_owner, bob, {"role": Role.OWNER})
        await tx.projects.update(deleted, {"deleted": True})
        found = await tx.departures.owned_alone(ann, lock=True)
        assert found == sorted(
            [
                OwnedAlone(alone, "Alone", False),
                OwnedAlone(with_collaborator, "b", False),
                OwnedAlone(deleted, "e", True),
            ],
            key=lambda one: one.project_id,
        )
        assert await tx.departures.owned_alone(AccountId(new_id())) == []


async def test_leaving_all_projects(store: Store) -> None:
    ann, bob = await add_account(store), await add_account(store)
    first, second = await add_project(store, ann), await add_project(store, bob)
    async with store.write() as tx:
        await tx.collaborators.add([(second, ann), (first, bob)], at=NOW)
        await tx.departures.make_owner(bob, [], at=NOW)
        await tx.departures.make_owner(bob, [first], at=NOW)
        assert await tx.departures.leave_all(ann) == sorted([first, second])
        assert await tx.departures.leave_all(ann) == []
        for project_id in (first, second):
            assert await tx.collaborators.roles(project_id) == {bob: Role.OWNER}


async def test_keys_and_sessions_of_an_account(store: Store) -> None:
    ann, bob = await add_account(store), await add_account(store)
    values: dict[str, Any] = {"name": "k", "expires_at": NOW, "created_at": NOW}
    async with store.write() as tx:
        own = await tx.keys.create(account_id=ann, project_id=None, **values)
        of_bob = await tx.keys.create(account_id=bob, project_id=None, is_session=True, **values)
        sessions = [await tx.keys.create(account_id=ann, project_id=None, is_session=True, **values) for _ in range(3)]
        assert await tx.keys.sessions(ann) == dict.fromkeys(sessions, NOW)
        assert [key.id for key in await tx.keys.of_account(ann)] == [own]
        assert await tx.keys.count(ann) == 1
        await tx.keys.delete_sessions(ann, besides=sessions[1])
        assert [*await tx.keys.sessions(ann)] == [sessions[1]]
        assert await tx.keys.delete_all_of(ann) == 2
        assert await tx.keys.get(of_bob) is not None


async def test_of_two_site_admins_who_demote_each_other_one_stays(store: Store) -> None:
    admins = [await add_account(store, is_admin=True) for _ in range(2)]

    async def demote(account_id: AccountId) -> None:
        async with store.write() as tx:
            await keeps_an_admin(tx, {account_id})
            await tx.accounts.update(account_id, {"is_admin": False})

    for _ in range(5):
        done = await asyncio.gather(*map(demote, admins), return_exceptions=True)
        assert [type(one) for one in done if one is not None] == [Conflict]
        async with store.write() as tx:
            assert len(await tx.accounts.enabled_admins()) == 1
            for account_id in admins:
                await tx.accounts.update(account_id, {"is_admin": True})


async def test_of_two_owners_who_leave_at_once_one_is_asked_what_becomes_of_the_project(store: Store) -> None:
    ann, bob = await add_account(store), await add_account(store)
    project_id = await add_project(store, ann)

    async def leave(account_id: AccountId) -> bool:
        async with store.write() as tx:
            if await tx.departures.owned_alone(account_id, lock=True):
                return False
            await tx.departures.leave_all(account_id)
        return True

    for _ in range(5):
        async with store.write() as tx:
            for owner in (ann, bob):
                await tx.departures.make_owner(owner, [project_id], at=NOW)
        assert sorted(await asyncio.gather(leave(ann), leave(bob))) == [False, True]
        async with store.read() as tx:
            assert [*(await tx.collaborators.roles(project_id)).values()] == [Role.OWNER]


async def test_locked_accounts_are_those_that_are_there(store: Store) -> None:
    there, gone = await add_account(store), await add_account(store, deleted_at=NOW)
    async with store.write() as tx:
        assert await tx.accounts.lock([gone, there, AccountId(new_id())]) == {there}


async def test_accounts_by_their_addresses(store: Store) -> None:
    ada = await add_account(store, email_address="Ada@Example.org")
    await add_account(store, email_address="gone@example.org", deleted_at=NOW)
    async with store.read() as tx:
        found = await tx.accounts.by_emails(["ADA@example.org", "gone@example.org", "nobody@example.org"])
    assert {email: account.account_id for email, account in found.items()} == {"ada@example.org": ada}
