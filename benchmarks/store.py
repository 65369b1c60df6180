"""Medians of the store's hot calls, with a bare SQLite commit of the same run as baseline.

python benchmarks/store.py [--rounds N] [--projects N] [postgresql://... of an empty database]
"""

from __future__ import annotations

import argparse
import asyncio
import sqlite3
import statistics
import tempfile
import time
import uuid
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path

from projecthub.store import Store, open_store
from projecthub.store.records import Account, Selection, State
from projecthub.wire.ids import AccountId, ProjectId

COLUMNS = (
    "project_id",
    "title",
    "last_edited_at",
    "created_at",
    "state",
    "state_at",
    "state_error",
    "deleted",
    "users",
)


class WallClock:
    def now(self) -> datetime:
        return datetime.now(UTC)


def account() -> Account:
    return Account(
        account_id=AccountId(str(uuid.uuid4())),
        email_address=None,
        first_name="Ada",
        last_name="Lovelace",
        name=None,
        is_admin=False,
        unlisted=False,
        banned=False,
        profile=None,
        preferences={},
        created_at=datetime.now(UTC),
        last_active_at=None,
        deleted_at=None,
    )


class Bench:
    def __init__(self, store: Store, rounds: int) -> None:
        self.store = store
        self.rounds = rounds
        self.owner = account()
        self.other = account()
        self.project_ids: list[ProjectId] = []

    async def fill(self, projects: int) -> None:
        async with self.store.write() as tx:
            await tx.accounts.create(self.owner)
            await tx.accounts.create(self.other)
            for _ in range(projects):
                await self.create(tx)
            pairs = [(project_id, self.other.account_id) for project_id in self.project_ids[::3]]
            await tx.collaborators.add(pairs, at=datetime.now(UTC))
            key = await tx.keys.create(
                account_id=self.owner.account_id,
                project_id=self.project_ids[0],
                name="bench",
                expires_at=None,
                created_at=datetime.now(UTC),
            )
            await tx.keys.set_secret(key, hash="f" * 64, trunc="sk-...123456")

    async def create(self, tx) -> None:
        project_id = ProjectId(str(uuid.uuid4()))
        await tx.projects.create(
            project_id=project_id,
            owner=self.owner.account_id,
            title="A project",
            description="",
            created_at=datetime.now(UTC),
            compute_image=None,
            ephemeral_ms=None,
            site_license=None,
            settings=None,
        )
        self.project_ids.append(project_id)

    # -- what is measured ---------------------------------------------------------------------------------------------

    async def access(self) -> None:
        async with self.store.read() as tx:
            assert await tx.projects.access(self.project_ids[0], self.owner.account_id)

    async def find(self) -> None:
        async with self.store.read() as tx:
            assert await tx.keys.find("f" * 64)

    async def in_states(self) -> None:
        async with self.store.read() as tx:
            await tx.projects.in_states([State.RUNNING, State.STARTING])

    async def create_transaction(self) -> None:
        async with self.store.write() as tx:
            await self.create(tx)
            await tx.idempotency.put(
                self.owner.account_id, str(uuid.uuid4()), fingerprint="f", result="x", at=datetime.now(UTC)
            )

    async def touch(self) -> None:
        async with self.store.write() as tx:
            await tx.projects.touch(self.project_ids[0], self.owner.account_id, datetime.now(UTC))

    async def compare_and_set(self) -> None:
        async with self.store.write() as tx:
            changes = {"state": State.STOPPED, "state_at": datetime.now(UTC)}
            assert await tx.projects.update(self.project_ids[0], changes, epoch=0, state=[State.STOPPED])

    async def select(self) -> None:
        selection = Selection(columns=COLUMNS, order_by=(("last_edited_at", True),), limit=1000)
        async with self.store.read() as tx:
            assert len(await tx.projects.select(selection, member=self.owner.account_id)) == 1000

    async def select_one(self) -> None:
        async with self.store.read() as tx:
            await tx.projects.select(
                Selection(columns=COLUMNS), member=self.owner.account_id, project_id=self.project_ids[0]
            )

    async def measure(self, what: str, call: Callable[[], Awaitable[None]], rounds: int | None = None) -> None:
        for _ in range(5):
            await call()
        times = []
        for _ in range(rounds or self.rounds):
            begin = time.perf_counter()
            await call()
            times.append(1000 * (time.perf_counter() - begin))
        times.sort()
        print(f"  {what:<44} {statistics.median(times):8.3f} ms   p95 {times[int(len(times) * 0.95)]:8.3f} ms")


def commit_baseline(directory: Path, rounds: int) -> None:
    connection = sqlite3.connect(directory / "baseline.sqlite3", isolation_level=None)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("CREATE TABLE t (x)")
    times = []
    for number in range(rounds):
        begin = time.perf_counter()
        connection.execute("INSERT INTO t VALUES (?)", (number,))
        times.append(1000 * (time.perf_counter() - begin))
    connection.close()
    print(f"  {'baseline: a bare insert, committed to disk':<44} {statistics.median(times):8.3f} ms")


async def run(url: str, rounds: int, projects: int) -> None:
    begin = time.perf_counter()
    store = await open_store(url, clock=WallClock())
    await store.close()
    print(f"  {'open, with all migrations':<44} {1000 * (time.perf_counter() - begin):8.1f} ms")
    begin = time.perf_counter()
    store = await open_store(url, clock=WallClock())
    print(f"  {'open, with nothing to migrate':<44} {1000 * (time.perf_counter() - begin):8.1f} ms")
    try:
        bench = Bench(store, rounds)
        await bench.fill(projects)
        await bench.measure("read: projects.access", bench.access)
        await bench.measure("read: keys.find", bench.find)
        await bench.measure("read: projects.in_states, none", bench.in_states)
        await bench.measure("read: projects.select, one, with users", bench.select_one)
        await bench.measure("read: projects.select, 1,000, with users", bench.select, max(10, rounds // 10))
        await bench.measure("write: touch", bench.touch)
        await bench.measure("write: update, compare-and-set", bench.compare_and_set)
        await bench.measure("write: create, with an idempotency key", bench.create_transaction)
    finally:
        await store.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("url", nargs="?", help="an empty PostgreSQL database, measured as well")
    parser.add_argument("--rounds", type=int, default=300)
    parser.add_argument("--projects", type=int, default=1000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-store-") as directory:
        print("SQLite")
        commit_baseline(Path(directory), options.rounds)
        asyncio.run(run(f"sqlite:///{directory}/store.sqlite3", options.rounds, options.projects))
    if options.url:
        print("PostgreSQL")
        asyncio.run(run(options.url, options.rounds, options.projects))


if __name__ == "__main__":
    main()
