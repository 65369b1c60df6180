"""Sign-in tokens: whom they stand for, what makes them void, and what ends with them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import pytest
from store_samples import NOW, add_account

from projecthub.store import Store, Transaction
from projecthub.wire.ids import AccountId

LATER = NOW + timedelta(hours=1)


async def add_token(store: Store, hash: str, account_id: AccountId, by: AccountId, **fields: Any) -> None:
    values: dict[str, Any] = {"purpose": "sign_in", "created_at": NOW, "expires_at": LATER, **fields}
    async with store.write() as tx:
        await tx.sign_in_tokens.create(hash=hash, account_id=account_id, created_by=by, **values)


async def add_key(tx: Transaction, account_id: AccountId, hash: str, token: str | None, **fields: Any) -> int:
    values: dict[str, Any] = {"project_id": None, "name": "k", "expires_at": LATER, "created_at": NOW, **fields}
    key_id = await tx.keys.create(account_id=account_id, **values)
    await tx.keys.set_secret(key_id, hash=hash, trunc="")
    if token is not None:
        await tx.sign_in_tokens.note_key(token, key_id)
    return key_id


async def test_a_token_is_found_as_it_was_made(store: Store) -> None:
    ada, root = await add_account(store), await add_account(store)
    await add_token(store, "a" * 64, ada, root)
    async with store.read() as tx:
        found = await tx.sign_in_tokens.find("a" * 64)
        assert await tx.sign_in_tokens.find("b" * 64) is None
    assert found is not None
    assert (found.account_id, found.created_by, found.purpose) == (ada, root, "sign_in")
    assert (found.created_at, found.expires_at, found.good) == (NOW, LATER, True)


@pytest.mark.parametrize(
    ("account", "maker", "good"),
    [
        ({}, {}, True),
        ({"banned": True}, {}, False),
        ({"deleted_at": NOW}, {}, False),
        ({}, {"banned": True}, False),
        ({}, {"deleted_at": NOW}, False),
        ({}, {"is_admin": True}, True),
        ({"is_admin": True}, {}, False),
        ({"is_admin": True}, {"is_admin": True}, True),
    ],
)
async def test_what_makes_a_token_void(
    store: Store, account: Mapping[str, Any], maker: Mapping[str, Any], good: bool
) -> None:
    ada, root = await add_account(store), await add_account(store)
    await add_token(store, "a" * 64, ada, root)
    async with store.write() as tx:
        for account_id, changes in ((ada, account), (root, maker)):
            if changes:
                await tx.accounts.update(account_id, changes)
        found = await tx.sign_in_tokens.find("a" * 64)
    assert found is not None
    assert found.good is good


async def test_keys_that_were_got_for_a_token_end_with_it(store: Store) -> None:
    ada, root = await add_account(store), await add_account(store)
    for hash, account, by in (("a", ada, root), ("b", ada, ada), ("c", root, ada)):
        await add_token(store, hash, account, by)
    async with store.write() as tx:
        for hash in "abc":
            await add_key(tx, ada, f"key of {hash}", hash)
        await add_key(tx, ada, "another", None)

    async def left() -> set[str]:
        async with store.read() as tx:
            keys = {f"key of {hash}" for hash in "abc" if await tx.keys.find(f"key of {hash}") is not None}
            tokens = {hash for hash in "abc" if await tx.sign_in_tokens.find(hash) is not None}
            assert await tx.keys.find("another") is not None
        assert keys == {f"key of {hash}" for hash in tokens}
        return tokens

    async with store.write() as tx:
        await tx.sign_in_tokens.end("unknown")
    assert await left() == {"a", "b", "c"}
    async with store.write() as tx:
        await tx.sign_in_tokens.end("a")
    assert await left() == {"b", "c"}
    async with store.write() as tx:
        await tx.sign_in_tokens.end_of(ada)
    assert await left() == {"c"}
    async with store.write() as tx:
        await tx.sign_in_tokens.end_made_by(ada)
    assert await left() == set()


async def test_a_token_ends_whose_key_is_gone_already(store: Store) -> None:
    ada = await add_account(store)
    await add_token(store, "a", ada, ada)
    async with store.write() as tx:
        await tx.keys.delete(await add_key(tx, ada, "k", "a"))
    async with store.write() as tx:
        assert await tx.sign_in_tokens.count_keys("a", NOW) == 0
        await tx.sign_in_tokens.end("a")
        assert await tx.sign_in_tokens.find("a") is None


async def test_keys_are_counted_while_they_are_good(store: Store) -> None:
    ada = await add_account(store)
    await add_token(store, "a", ada, ada)
    async with store.write() as tx:
        await add_key(tx, ada, "1", "a")
        await add_key(tx, ada, "2", "a", expires_at=NOW)
        await add_key(tx, ada, "3", None)
        assert await tx.sign_in_tokens.count_keys("a", NOW) == 1


async def test_what_is_over_is_forgotten(store: Store) -> None:
    ada = await add_account(store)
    await add_token(store, "a", ada, ada)
    await add_token(store, "b", ada, ada, expires_at=LATER + timedelta(milliseconds=1))
    async with store.write() as tx:
        assert not await tx.sign_in_tokens.any_expired(LATER - timedelta(milliseconds=1))
        assert await tx.sign_in_tokens.any_expired(LATER)
        await tx.sign_in_tokens.end_expired(LATER)
        assert await tx.sign_in_tokens.find("a") is None
        assert await tx.sign_in_tokens.find("b") is not None
