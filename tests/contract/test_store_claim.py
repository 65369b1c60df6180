"""One hub a store."""

from __future__ import annotations

from typing import Any

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
