"""Messages: one text, a copy for everybody whom it concerns."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest
from store_samples import HOSTILE, NOW, add_account, new_id, sample_account

from projecthub.errors import Conflict, InvalidArgument
from projecthub.store import Store
from projecthub.store.messages import FLAGS, KINDS
from projecthub.store.records import Condition, Organization, Selection
from projecthub.wire.ids import AccountId


async def send(store: Store, from_id: AccountId, to_ids: Sequence[AccountId], **fields: Any) -> int:
    values: dict[str, Any] = {"subject": "s", "body": "b", "thread_id": None, "sent_at": NOW, **fields}
    async with store.write() as tx:
        return await tx.messages.send(from_id=from_id, to_ids=to_ids, **values)


async def lists_of(store: Store, account_id: AccountId, message_id: int) -> set[str]:
    async with store.read() as tx:
        return {
            kind
            for kind in KINDS
            if message_id in [row["id"] for row in await tx.messages.list(account_id, kind, limit=100)]
        }


async def test_a_message_as_its_people_have_it(store: Store) -> None:
    ada, bob, cid = [await add_account(store) for _ in range(3)]
    message_id = await send(store, ada, [bob, cid], thread_id=7)
    for reader, kind, is_recipient in ((bob, "received", True), (cid, "new", True), (ada, "sent", False)):
        async with store.read() as tx:
            [row] = await tx.messages.list(reader, kind, limit=10)
        assert row == {
            "id": message_id,
            "from_id": ada,
            "to_ids": [bob, cid],
            "organization": None,
            "thread_id": 7,
            "subject": "s",
            "body": "b",
            "sent_at": NOW,
            "is_recipient": is_recipient,
            **dict.fromkeys(FLAGS, False),
        }
    assert await lists_of(store, ada, message_id) == {"sent"}
    assert await lists_of(store, bob, message_id) == {"received", "new"}


async def test_to_oneself(store: Store) -> None:
    ada = await add_account(store)
    assert await lists_of(store, ada, await send(store, ada, [ada])) == {"received", "sent", "new"}


@pytest.mark.parametrize("flag", FLAGS)
async def test_flags(store: Store, flag: str) -> None:
    ada, bob = [await add_account(store) for _ in range(2)]
    message_id = await send(store, ada, [bob])
    gone = {"read": {"new"}, "saved": {"new"}, "deleted": {"new"}, "starred": set(), "liked": set()}[flag]
    come = {flag} & {"starred", "liked"}
    async with store.write() as tx:
        assert await tx.messages.mark(bob, message_id, {flag: True})
        assert await tx.messages.count_unread(bob) == (0 if gone else 1)
    assert await lists_of(store, bob, message_id) == ({"received", "new"} - gone) | come
    assert await lists_of(store, ada, message_id) == {"sent"}


async def test_what_is_no_flag(store: Store) -> None:
    ada = await add_account(store)
    message_id = await send(store, ada, [ada])
    async with store.write() as tx:
        for name in ("is_sender", "is_recipient", "account_id", "message_id", "subject"):
            with pytest.raises(InvalidArgument):
                await tx.messages.mark(ada, message_id, {name: True})
        assert await tx.messages.mark(ada, message_id, {})
        assert not await tx.messages.mark(ada, message_id + 1, {})
        assert not await tx.messages.mark(new_id(), message_id, {"read": True})


async def test_pages_newest_first(store: Store) -> None:
    ada, bob = [await add_account(store) for _ in range(2)]
    ids = [await send(store, ada, [bob], sent_at=NOW + timedelta(seconds=n)) for n in range(5)]
    assert ids == sorted(ids)
    async with store.read() as tx:
        rows = await tx.messages.list(bob, "received", limit=2, offset=1)
        assert [row["id"] for row in rows] == [ids[3], ids[2]]
        rows = await tx.messages.list(bob, "received", limit=10, since=NOW + timedelta(seconds=3))
        assert [row["id"] for row in rows] == [ids[4], ids[3]]


async def test_threads(store: Store) -> None:
    ada, bob = [await add_account(store) for _ in range(2)]
    first = await send(store, ada, [ada])
    reply = await send(store, ada, [bob], thread_id=first)
    async with store.read() as tx:
        assert await tx.messages.thread_of(ada, first) == await tx.messages.thread_of(ada, reply) == first
        assert await tx.messages.thread_of(bob, reply) == first
        assert await tx.messages.thread_of(bob, first) is None


async def test_a_selection_of_ones_own(store: Store) -> None:
    ada, bob = [await add_account(store) for _ in range(2)]
    first, second = await send(store, ada, [bob], subject="one"), await send(store, bob, [ada], subject="two")
    await send(store, bob, [bob], subject="three")

    async def subjects(*conditions: Condition, **options: Any) -> list[str]:
        options = {"order_by": (("id", True),), **options}
        selection = Selection(columns=("id", "subject"), conditions=conditions, **options)
        async with store.read() as tx:
            return [row["subject"] for row in await tx.messages.select(selection, ada)]

    assert await subjects() == ["two", "one"]
    assert await subjects(order_by=(("subject", False),)) == ["one", "two"]
    assert await subjects(order_by=(("read", True),), limit=1) == ["one"]
    assert await subjects(Condition("id", "=", first)) == ["one"]
    assert await subjects(Condition("from_id", "=", bob)) == ["two"]
    assert await subjects(Condition("thread_id", "IS", None), Condition("sent_at", ">", NOW)) == []
    async with store.write() as tx:
        await tx.messages.mark(ada, second, {"read": True})
    assert await subjects(Condition("read", "=", True)) == ["two"]


@pytest.mark.parametrize("text", HOSTILE)
async def test_hostile_texts(store: Store, text: str) -> None:
    ada = await add_account(store)
    await send(store, ada, [ada], subject=text, body=text)
    async with store.read() as tx:
        [row] = await tx.messages.list(ada, "received", limit=1)
    assert row["subject"] == row["body"] == text


async def test_nothing_is_sent_to_one_who_is_not_there(store: Store) -> None:
    ada = await add_account(store)
    with pytest.raises(Conflict):
        await send(store, ada, [AccountId(new_id())])
    async with store.read() as tx:
        assert await tx.messages.list(ada, "sent", limit=10) == []


async def test_all_members_of_an_organization(store: Store) -> None:
    fields = {"title": None, "description": None, "link": None, "email_address": None, "created_at": NOW}
    acme = Organization(organization_id=new_id(), name="acme", **fields)
    async with store.write() as tx:
        await tx.organizations.create(acme)
        ids = []
        for number in range(1000):
            account = sample_account(deleted_at=NOW if number == 0 else None)
            await tx.accounts.create(account)
            await tx.organizations.join(acme.organization_id, account.account_id, at=NOW)
            ids.append(account.account_id)
    stranger = await add_account(store)
    values: dict[str, Any] = {"organization_id": acme.organization_id, "organization": "acme", "sent_at": NOW}
    async with store.write() as tx:
        for sender in (ids[-1], stranger):
            await tx.messages.send_to_organization(from_id=sender, subject="s", body="b", **values)
    async with store.read() as tx:
        rows = {account_id: await tx.messages.list(account_id, "new", limit=10) for account_id in ids[:100]}
        assert {account_id: len(found) for account_id, found in rows.items()} == {
            account_id: 0 if account_id == ids[0] else 2 for account_id in ids[:100]
        }
        assert {(row["to_ids"], row["organization"]) for found in rows.values() for row in found} == {(None, "acme")}
        assert await tx.messages.list(stranger, "received", limit=10) == []
        for sender in (ids[-1], stranger):
            assert len(await tx.messages.list(sender, "sent", limit=10)) == 1
