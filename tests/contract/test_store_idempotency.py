from __future__ import annotations

from typing import Any

import pytest
from store_samples import HOSTILE, NOW, add_account

from projecthub.errors import Conflict
from projecthub.store import Store


async def test_a_result_is_kept_for_a_day(store: Store, clock: Any) -> None:
    ada, grace = await add_account(store), await add_account(store)
    result = {"project_id": "x", "list": [1, None, "🧪"]}
    async with store.write() as tx:
        assert await tx.idempotency.get(ada, "key") is None
        await tx.idempotency.put(ada, "key", fingerprint="f", result=result, at=clock.now())
    clock.advance(hours=23, minutes=59)
    async with store.read() as tx:
        assert await tx.idempotency.get(ada, "key") == ("f", result)
        assert await tx.idempotency.get(grace, "key") is None
        assert await tx.idempotency.get(ada, "KEY") is None
    clock.advance(minutes=1)
    async with store.write() as tx:
        assert await tx.idempotency.get(ada, "key") is None
        await tx.idempotency.put(ada, "key", fingerprint="g", result=None, at=clock.now())
        assert await tx.idempotency.get(ada, "key") == ("g", None)


async def test_a_second_result_under_the_same_key_is_a_conflict(store: Store) -> None:
    ada = await add_account(store)
    async with store.write() as tx:
        await tx.idempotency.put(ada, "key", fingerprint="f", result=1, at=NOW)
        with pytest.raises(Conflict, match="'key'"):
            await tx.idempotency.put(ada, "key", fingerprint="f", result=2, at=NOW)
        assert await tx.idempotency.get(ada, "key") == ("f", 1)


async def test_keys_of_any_text(store: Store) -> None:
    ada = await add_account(store)
    texts = [text[:1000] for text in HOSTILE]
    async with store.write() as tx:
        for text in texts:
            await tx.idempotency.put(ada, text, fingerprint=text, result=text, at=NOW)
        assert [await tx.idempotency.get(ada, text) for text in texts] == [(text, text) for text in texts]


async def test_prune(store: Store, clock: Any) -> None:
    ada = await add_account(store)
    async with store.write() as tx:
        await tx.idempotency.put(ada, "old", fingerprint="f", result=1, at=NOW)
        await tx.idempotency.put(ada, "new", fingerprint="f", result=1, at=clock.advance(hours=1))
        assert await tx.idempotency.prune(NOW) == 0
        assert await tx.idempotency.prune(clock.now()) == 1
        assert await tx.idempotency.get(ada, "old") is None
        assert await tx.idempotency.get(ada, "new") == ("f", 1)
