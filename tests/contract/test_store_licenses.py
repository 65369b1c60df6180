from __future__ import annotations

import pytest
from store_samples import NOW, new_id

from projecthub.errors import Conflict
from projecthub.store import Store


async def test_licenses_exist_once(store: Store) -> None:
    ids = [new_id() for _ in range(3)]
    async with store.write() as tx:
        for id in ids[:2]:
            await tx.licenses.create(id=id, title="t", quota={"cores": 1}, run_limit=3, created_at=NOW)
        with pytest.raises(Conflict, match=ids[0]):
            await tx.licenses.create(id=ids[0], title="t", quota={}, created_at=NOW)
    async with store.read() as tx:
        assert await tx.licenses.existing(ids) == set(ids[:2])
        assert await tx.licenses.existing(["'; --", "", *ids[2:]]) == set()
        assert await tx.licenses.existing([]) == set()
