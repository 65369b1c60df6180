"""The figures of a large institution: a hub over a store with 5,000,000 memberships, in SQLite and in PostgreSQL.

`python -m benchmarks --only people`; where PostgreSQL is not installed, SQLite alone. It takes some minutes and a few
gigabytes of a temporary directory, which is removed. Calls are timed until their answer is parsed, by a client that has
no more in its memory than it needs: what the benchmark has imported is frozen. The baseline of each reading is its bare
indexed SELECT through the database's own driver, of each writing a commit through it.
"""

from __future__ import annotations

import asyncio
import gc
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncpg
from tests.hubs import HubProcess
from tests.postgresql import PostgresqlServer, postgresql_binaries

from benchmarks.big_store import People, Size, fill
from benchmarks.hub import Wire
from benchmarks.table import Table, medians_ms
from projecthub.hub.clock import SystemClock
from projecthub.hub.keys import Keys
from projecthub.store import open_store

FIELDS = dict.fromkeys(("project_id", "title", "last_edited", "created", "state", "deleted", "users"))
ROWS_OF = (
    "SELECT p.project_id, p.title, p.last_edited_at, p.state FROM memberships m "
    "JOIN projects p ON p.project_id = m.project_id WHERE m.account_id = {} "
)
ONE_KEY = "SELECT account_id FROM api_keys WHERE hash = {}"
ONE_ACCOUNT = "SELECT first_name FROM accounts WHERE account_id = {}"


@dataclass(frozen=True)
class Bare:
    """The database without a hub: one connection of its own driver."""

    name: str
    select: Callable[[str, str], int]
    commit: Callable[[], object]


def figures(table: Table, process: HubProcess, wire: Wire, projects: int) -> None:
    """Take the figures on each database; the hub that is given has no part in them."""
    size = Size()
    gc.collect()
    gc.freeze()
    with tempfile.TemporaryDirectory(prefix="bench-people-") as directory:
        url = f"sqlite:///{directory}/store.sqlite3"
        people = asyncio.run(fill(url, size))
        with _bare_sqlite(f"{directory}/store.sqlite3") as bare:
            _of_store(table, url, people, size, bare)
    if (binaries := postgresql_binaries()) is None:
        return
    server = PostgresqlServer(binaries, buffers_mb=128)
    try:
        server.start()
        with asyncio.Runner() as runner:
            url = server.url(runner.run(server.create()))
            people = runner.run(fill(url, size))
            with _bare_postgresql(url, runner) as bare:
                _of_store(table, url, people, size, bare)
    finally:
        server.stop()


def _of_store(table: Table, url: str, people: People, size: Size, bare: Bare) -> None:
    with tempfile.TemporaryDirectory(prefix="bench-hub-") as data_dir:
        process = HubProcess(Path(data_dir), PROJECTHUB_STORE_URL=url)
        try:
            _listings(table, process, people, size, bare)
            _searches(table, process, people, bare)
            _adding(table, process, people, bare)
        finally:
            process.close()
    _key_check(table, url, people, bare)


def _listings(table: Table, process: HubProcess, people: People, size: Size, bare: Bare) -> None:
    for account, key, name, all, count, goal in (
        (people.usual, people.usual_key, "projects", False, size.usual, "12 ms"),
        (people.usual, people.usual_key, "projects_all", True, size.usual, ""),
        (people.many, people.many_key, "projects", False, size.many, ""),
        (people.many, people.many_key, "projects_all", True, size.many, "250 ms"),
    ):
        wire = Wire(process, key)
        taken = medians_ms(lambda: wire.call("db.userQuery", {"query": {name: [FIELDS]}}), runs=15)  # noqa: B023
        read = medians_ms(lambda: bare.select(ROWS_OF, account), runs=15)  # noqa: B023
        what = f"projects.get({'all=True' if all else ''}), {count:,} memberships, {bare.name}"
        table.add(what, f"{taken:.1f} ms", goal, f"bare SELECT {read:.1f} ms")


def _searches(table: Table, process: HubProcess, people: People, bare: Bare) -> None:
    wire = Wire(process, people.usual_key)
    first, last = people.name.split()
    read = medians_ms(lambda: bare.select(ONE_ACCOUNT, people.usual), runs=50)
    for what, query in (
        ("full name", people.name),
        ("first name, 1 in 19", first),
        ("last name", last),
        ("one letter", "a"),
        ("nobody", "zzzzzz"),
        ("first name, part of the last", f"{first} {last[:2]}"),
    ):
        taken = medians_ms(lambda: wire.call("system.userSearch", {"query": query, "limit": 50}), runs=15)  # noqa: B023
        name = f"user_search, {what}, {bare.name}"
        table.add(name, f"{taken:.1f} ms", "30 ms", f"bare SELECT of one {read:.2f} ms")


def _adding(table: Table, process: HubProcess, people: People, bare: Bare) -> None:
    wire = Wire(process, people.usual_key)
    pair = {"project_id": people.project_id, "account_id": people.free}
    taken = []
    for _ in range(20):
        begin = time.perf_counter()
        wire.call("projects.addCollaborator", {"opts": pair})
        taken.append(1000 * (time.perf_counter() - begin))
        wire.call("projects.removeCollaborator", {"opts": pair})
    commit = medians_ms(bare.commit, runs=20)
    name = f"add_collaborator, {bare.name}"
    table.add(name, f"{statistics.median(taken):.1f} ms", "8 ms", f"bare commit {commit:.2f} ms")


def _key_check(table: Table, url: str, people: People, bare: Bare) -> None:
    """Of a key that the hub has not seen before; one that it has costs no query in SQLite."""

    async def measured() -> float:
        store = await open_store(url, clock=SystemClock())
        try:
            keys = Keys(store, SystemClock())
            taken = []
            for _ in range(200):
                keys.forget()
                begin = time.perf_counter()
                assert await keys.check(people.usual_key)
                taken.append(1000 * (time.perf_counter() - begin))
        finally:
            await store.close()
        return statistics.median(taken)

    read = medians_ms(lambda: bare.select(ONE_KEY, "f" * 64), runs=200)
    with asyncio.Runner() as runner:
        table.add(f"key check, {bare.name}", f"{runner.run(measured()):.2f} ms", "1 ms", f"bare SELECT {read:.2f} ms")


@contextmanager
def _bare_sqlite(path: str) -> Iterator[Bare]:
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("CREATE TABLE IF NOT EXISTS bare_commits (x)")
    try:
        yield Bare(
            "SQLite",
            lambda statement, value: len(connection.execute(statement.format("?"), (value,)).fetchall()),
            lambda: connection.execute("INSERT INTO bare_commits VALUES (1)"),
        )
    finally:
        connection.close()


@contextmanager
def _bare_postgresql(url: str, runner: asyncio.Runner) -> Iterator[Bare]:
    connection: Any = runner.run(asyncpg.connect(url))
    runner.run(connection.execute("CREATE TABLE IF NOT EXISTS bare_commits (x int)"))
    try:
        yield Bare(
            "PostgreSQL",
            lambda statement, value: len(runner.run(connection.fetch(statement.format("$1"), value))),
            lambda: runner.run(connection.execute("INSERT INTO bare_commits VALUES (1)")),
        )
    finally:
        runner.run(connection.close())
