"""A store with as many people, projects and memberships as a large institution has.

python -m benchmarks.big_store URL [--accounts N] [--projects N] [--memberships N]

URL is that of a store to be made: ``sqlite:////path`` or ``postgresql://`` of an empty database, of whose server the
user is a superuser (checks of references are off while it is filled).
"""

from __future__ import annotations

import argparse
import asyncio
import random
import sqlite3
import time
import uuid
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import asyncpg
from sqlalchemy import Table

from projecthub.hub.clock import SystemClock
from projecthub.hub.keys import digest, truncated
from projecthub.store import open_store, tables
from projecthub.store.name_parts import parts_of

NOW_MS = int(time.time() * 1000)
DAY_MS = 86_400_000
_FIRST = (
    "Ada Alan Barbara Carl Dorothy Edsger Emmy Frances Grace Hedy Ida Joan Katherine Leon Mary Niels Olga Peter Rosa"
)
_SYLLABLES = (
    "ba be bi bo da de di do fa fe ga go ha ka ke ki la le li lo ma me mi mo na ne ni no ra re ri ro sa se si so"
)


@dataclass(frozen=True)
class Size:
    """How much there is; and of two accounts in it, how many memberships."""

    accounts: int = 100_000
    projects: int = 1_000_000
    memberships: int = 5_000_000
    usual: int = 100
    many: int = 10_000


@dataclass(frozen=True)
class People:
    """Accounts and a project to measure with.

    Attributes:
        usual: An account on `Size.usual` projects, the owner of them all.
        many: An account on `Size.many` projects.
        free: An account on no project.
        project_id: A project of ``usual``.
        usual_key: The secret of a key of ``usual``.
        many_key: The same of ``many``.
        name: First and last name that few have.
    """

    usual: str
    many: str
    free: str
    project_id: str
    usual_key: str
    many_key: str
    name: str


class Loader(Protocol):
    """Fills tables of a new database, faster than a store does."""

    async def load(self, table: Table, columns: Sequence[str], rows: Iterable[tuple[Any, ...]]) -> None:
        """Add rows in the order of the primary key."""

    async def finish(self) -> None:
        """Build the indexes, gather statistics, close."""


class SqliteLoader:
    def __init__(self, path: str) -> None:
        self.connection = sqlite3.connect(path, isolation_level=None)
        self.connection.create_function("unicode_lower", 1, str.lower, deterministic=True)
        for pragma in ("synchronous=OFF", "foreign_keys=OFF", "cache_size=-1000000", "temp_store=MEMORY"):
            self.connection.execute(f"PRAGMA {pragma}")
        self.indexes = [
            (name, statement)
            for name, statement in self.connection.execute(
                "SELECT name, sql FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL"
            )
        ]
        for name, _ in self.indexes:
            self.connection.execute(f"DROP INDEX {name}")

    async def load(self, table: Table, columns: Sequence[str], rows: Iterable[tuple[Any, ...]]) -> None:
        self.connection.execute("BEGIN")
        marks = ", ".join("?" * len(columns))
        self.connection.executemany(f"INSERT INTO {table.name} ({', '.join(columns)}) VALUES ({marks})", rows)
        self.connection.execute("COMMIT")

    async def finish(self) -> None:
        for _, statement in self.indexes:
            self.connection.execute(statement)
        self.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        self.connection.close()


class PostgresqlLoader:
    def __init__(self, connection: asyncpg.Connection, indexes: list[tuple[str, str]]) -> None:
        self.connection = connection
        self.indexes = indexes

    @classmethod
    async def open(cls, url: str) -> PostgresqlLoader:
        connection = await asyncpg.connect(url)
        await connection.execute("SET session_replication_role = replica")
        await connection.execute("SET maintenance_work_mem = '512MB'")
        found = await connection.fetch(
            "SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = 'public' AND NOT EXISTS "
            "(SELECT 1 FROM pg_constraint WHERE conname = indexname)"
        )
        for row in found:
            await connection.execute(f"DROP INDEX {row['indexname']}")
        return cls(connection, [tuple(row) for row in found])

    async def load(self, table: Table, columns: Sequence[str], rows: Iterable[tuple[Any, ...]]) -> None:
        await self.connection.copy_records_to_table(table.name, records=rows, columns=list(columns))

    async def finish(self) -> None:
        for _, statement in self.indexes:
            await self.connection.execute(statement)
        await self.connection.execute("VACUUM ANALYZE")
        await self.connection.close()


async def fill(url: str, size: Size) -> People:
    """Make a store of a size; the same one every time."""
    await (await open_store(url, clock=SystemClock())).close()
    postgresql = not url.startswith("sqlite")
    loader: Loader = await PostgresqlLoader.open(url) if postgresql else SqliteLoader(url.removeprefix("sqlite:///"))
    dice = random.Random(1)
    account_ids = sorted(_ids(dice, size.accounts))
    project_ids = sorted(_ids(dice, size.projects))
    usual, many, free = account_ids[:3]
    await _load_accounts(loader, dice, account_ids)
    await _load_projects(loader, dice, project_ids)
    await _load_memberships(loader, dice, account_ids, project_ids, size)
    usual_key, many_key = f"sk-{'u' * 49}", f"sk-{'m' * 49}"
    await _load_keys(loader, {usual: usual_key, many: many_key})
    counters = [("unix_slot", size.projects)]
    if isinstance(loader, SqliteLoader):
        loader.connection.execute("UPDATE counters SET value = ? WHERE name = ?", counters[0][::-1])
    else:
        await loader.connection.execute("UPDATE counters SET value = $2 WHERE name = $1", *counters[0])
    await loader.finish()
    first, last, _ = _names(usual)
    return People(
        usual=usual,
        many=many,
        free=free,
        project_id=project_ids[0],
        usual_key=usual_key,
        many_key=many_key,
        name=f"{first} {last}",
    )


def _ids(dice: random.Random, count: int) -> set[str]:
    return {str(uuid.UUID(int=dice.getrandbits(128), version=4)) for _ in range(count)}


def _names(account_id: str) -> tuple[str, str, str]:
    """The names of an account, which follow from its id."""
    number = int(account_id[:8], 16)
    syllables = _SYLLABLES.split()
    last = "".join(syllables[number // 37**place % len(syllables)] for place in range(4)).capitalize()
    first = _FIRST.split()[number % 19]
    return first, last, f"{first}-{last}-{account_id[:8]}{account_id[9:13]}"


async def _load(loader: Loader, table: Table, rows: Iterable[dict[str, Any]]) -> None:
    """Add rows, with the table's own defaults for what they leave out."""
    rows = iter(rows)
    first = next(rows)
    defaults = {
        column.name: "{}" if column.default.is_callable else column.default.arg
        for column in table.columns
        if column.default is not None and column.name not in first
    }
    columns = [*first, *defaults]

    def complete() -> Iterator[tuple[Any, ...]]:
        for row in (first, *()):
            yield (*row.values(), *defaults.values())
        for row in rows:
            yield (*row.values(), *defaults.values())

    await loader.load(table, columns, complete())


async def _load_accounts(loader: Loader, dice: random.Random, account_ids: Sequence[str]) -> None:
    def people() -> Iterator[dict[str, Any]]:
        for account_id in account_ids:
            first, last, name = _names(account_id)
            created = NOW_MS - dice.randrange(2000 * DAY_MS)
            yield {
                "account_id": account_id,
                "email_address": f"{account_id}@example.org",
                "first_name": first,
                "last_name": last,
                "name": name,
                "created_at": created,
                "last_active_at": created + dice.randrange(NOW_MS - created) if dice.random() < 0.9 else None,
            }

    await _load(loader, tables.accounts, people())
    parts = sorted((part, account_id) for account_id in account_ids for part in parts_of(*_names(account_id)))
    await _load(loader, tables.name_parts, ({"part": part, "account_id": one} for part, one in parts))


async def _load_projects(loader: Loader, dice: random.Random, project_ids: Sequence[str]) -> None:
    def rows() -> Iterator[dict[str, Any]]:
        for slot, project_id in enumerate(project_ids, start=1):
            created = NOW_MS - dice.randrange(2000 * DAY_MS)
            edited = created + dice.randrange(NOW_MS - created)
            yield {
                "project_id": project_id,
                "unix_slot": slot,
                "title": f"Project {slot}",
                "state_at": edited,
                "created_at": created,
                "last_edited_at": edited,
            }

    await _load(loader, tables.projects, rows())


async def _load_memberships(
    loader: Loader, dice: random.Random, account_ids: Sequence[str], project_ids: Sequence[str], size: Size
) -> None:
    usual, many, _, *others = account_ids
    step = size.projects // size.many

    def rows() -> Iterator[dict[str, Any]]:
        left = size.memberships - size.usual - size.many
        for number, project_id in enumerate(project_ids):
            count = left // (size.projects - number)
            left -= count
            people = dict.fromkeys(dice.choices(others, k=count), "collaborator")
            if people:
                people[next(iter(people))] = "owner"
            if number < size.usual:
                people[usual] = "owner"
            if number % step == 0:
                people[many] = "collaborator"
            for account_id in sorted(people):
                yield {
                    "project_id": project_id,
                    "account_id": account_id,
                    "role": people[account_id],
                    "added_at": NOW_MS,
                }

    await _load(loader, tables.memberships, rows())


async def _load_keys(loader: Loader, secrets: dict[str, str]) -> None:
    rows = [
        {
            "account_id": account_id,
            "hash": digest(secret),
            "trunc": truncated(secret),
            "name": "bench",
            "created_at": NOW_MS,
        }
        for account_id, secret in secrets.items()
    ]
    await _load(loader, tables.api_keys, rows)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.big_store", description=__doc__)
    parser.add_argument("url")
    for name, default in vars(Size()).items():
        parser.add_argument(f"--{name}", type=int, default=default)
    options = vars(parser.parse_args())
    url = options.pop("url")
    begin = time.perf_counter()
    people = asyncio.run(fill(url, Size(**options)))
    print(f"made in {time.perf_counter() - begin:.0f} s: {people}")


if __name__ == "__main__":
    main()
