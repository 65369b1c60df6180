"""PostgreSQL finds rows of invitations, mail and memberships by an index.

On small tables it reads them whole, and is right: here that is made to look expensive, so that it does so only where
there is no other way.
"""

from __future__ import annotations

from typing import Any

import asyncpg
import pytest
from sqlalchemy import event
from sqlalchemy.engine import Engine
from store_samples import add_account, add_project
from test_store_plans import HOT

from projecthub.store import Store

_OF = ("invite_tokens.", "mails.", "collaborators.", "log.prune", "copies.", "projects.newest")
NAMES = [name for name in HOT if name.startswith(_OF)]


@pytest.mark.parametrize("database", ["postgresql"])
@pytest.mark.parametrize("name", NAMES)
async def test_an_index_is_enough(store: Store, store_url: str, name: str) -> None:
    await add_project(store, await add_account(store))
    seen: list[tuple[str, Any]] = []

    def listen(connection: Any, cursor: Any, statement: str, parameters: Any, context: Any, executemany: bool) -> None:
        seen.append((statement, parameters))

    event.listen(Engine, "before_cursor_execute", listen)
    try:
        async with store.write() as tx:
            await HOT[name](tx)
    finally:
        event.remove(Engine, "before_cursor_execute", listen)
    connection = await asyncpg.connect(store_url)
    try:
        await connection.execute("SET enable_seqscan = off")
        plans = ["\n".join(row[0] for row in await connection.fetch(f"EXPLAIN {sql}", *given)) for sql, given in seen]
    finally:
        await connection.close()
    assert plans
    assert all("Index" in plan and "Seq Scan" not in plan for plan in plans), plans
