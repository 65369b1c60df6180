"""A process that creates projects until it is killed, and prints the id of each when it is on disk.

Usage: store_writer.py URL ACCOUNT_ID
"""

from __future__ import annotations

import asyncio
import sys
from datetime import UTC, datetime

from store_samples import create_project

from projecthub.store import open_store
from projecthub.wire.ids import AccountId


class WallClock:
    def now(self) -> datetime:
        return datetime.now(UTC)


async def write(url: str, account_id: AccountId) -> None:
    store = await open_store(url, clock=WallClock())
    while True:
        async with store.write() as tx:
            project_id, _ = await create_project(tx, account_id, title="first")
            await tx.projects.update(project_id, {"title": "second"})
            await tx.projects.touch(project_id, account_id, WallClock().now())
        print(project_id, flush=True)


asyncio.run(write(sys.argv[1], AccountId(sys.argv[2])))
