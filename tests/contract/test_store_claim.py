"""One hub a store."""

from __future__ import annotations

from typing import Any

import asyncpg
import pytest

from projecthub.errors import Conflict
from projecthub.store import Store, _claim, open_store


async def test_a_second_hub_is_refused_until_the_first_has_closed(
    store: Store, store_url: str, clock: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_claim, "_BETWEEN_S", 0.01)
    await store.claim()
    second = await open_store(store_url, clock=clock)
    try:
        with pytest.raises(Conflict, match=r"another hub uses this store; stop it, or .*PROJECTHUB_STORE_URL"):
            await second.claim()
        async with second.read() as tx:  # it may still look: for a backup
            assert await tx.projects.count() == 0
        await store.close()
        await second.claim()
    finally:
        await second.close()


@pytest.mark.parametrize("database", ["postgresql"])
async def test_a_claim_that_the_database_has_forgotten_is_taken_again_or_told(
    store: Store, store_url: str, clock: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_claim, "_BETWEEN_S", 0.01)
    await store.claim()
    await store.keep_claim()
    second = await open_store(store_url, clock=clock)
    try:
        await forget_all_but_us(store_url)
        await store.keep_claim()
        with pytest.raises(Conflict):
            await second.claim()
        await forget_all_but_us(store_url)
        await second.claim()
        with pytest.raises(Conflict, match="another hub uses this store"):
            await store.keep_claim()
    finally:
        await second.close()


async def forget_all_but_us(url: str) -> None:
    """End all connections to the database, as its restart does."""
    connection = await asyncpg.connect(url)
    await connection.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
        "WHERE datname = current_database() AND pid != pg_backend_pid()"
    )
    await connection.close()
