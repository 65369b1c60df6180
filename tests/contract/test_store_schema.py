"""Stores are made, brought up to date, and refused when they are too new."""

from __future__ import annotations

import asyncio
import os
import stat
import subprocess
import sys
import threading
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, NullPool, make_url, text
from sqlalchemy.ext.asyncio import create_async_engine
from store_samples import add_account

from projecthub.errors import InternalError, InvalidArgument
from projecthub.store import open_store
from projecthub.store._schema import HEAD, MIGRATIONS
from projecthub.store.tables import metadata


async def through(url: str, work: Callable[[Connection], Any]) -> Any:
    """Do something with a plain connection to a store's database, and commit it."""
    driver = {"sqlite": "sqlite+aiosqlite", "postgresql": "postgresql+asyncpg"}[make_url(url).drivername]
    engine = create_async_engine(make_url(url).set(drivername=driver), poolclass=NullPool)
    try:
        async with engine.begin() as connection:
            return await connection.run_sync(work)
    finally:
        await engine.dispose()


async def test_migrations_and_tables_agree(empty_url: str, clock: Any) -> None:
    await (await open_store(empty_url, clock=clock)).close()

    def differences(connection: Connection) -> list[Any]:
        with warnings.catch_warnings():
            # SQLite's expression indexes cannot be read back; the next test compares them as text.
            warnings.filterwarnings("ignore", message=".*expression-based index.*")
            return compare_metadata(MigrationContext.configure(connection, opts={"compare_type": True}), metadata)

    assert await through(empty_url, differences) == []


def parts_of(sql: str) -> list[str]:
    """The text of a declaration, cut at every comma that is not inside the parentheses of a part."""
    head, opening, body = sql.partition("(")
    body, closing, tail = body.rpartition(")")
    parts, depth = [""], 0
    for letter in body:
        depth += (letter == "(") - (letter == ")")
        if letter == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += letter
    return [" ".join(part.split()) for part in (head + opening, *parts, closing + tail)]


async def test_migrations_and_tables_are_the_same_text_in_sqlite(tmp_path: Path, clock: Any) -> None:
    migrated, made = f"sqlite:///{tmp_path}/migrated.sqlite3", f"sqlite:///{tmp_path}/made.sqlite3"
    await (await open_store(migrated, clock=clock)).close()
    await through(made, metadata.create_all)

    def declarations(connection: Connection) -> dict[str, list[str]]:
        rows = connection.execute(text("SELECT name, sql FROM sqlite_master WHERE tbl_name != 'alembic_version'"))
        # One part a column or constraint; their order does not matter.
        return {name: sorted(parts_of(sql or "")) for name, sql in rows}

    assert await through(migrated, declarations) == await through(made, declarations)


def test_the_head_is_the_newest_migration() -> None:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    assert ScriptDirectory.from_config(config).get_current_head() == HEAD


async def test_a_store_is_opened_again(empty_url: str, clock: Any) -> None:
    store = await open_store(empty_url, clock=clock)
    account_id = await add_account(store)
    await store.close()
    await store.close()
    store = await open_store(empty_url, clock=clock)
    try:
        async with store.read() as tx:
            assert await tx.accounts.get(account_id) is not None
    finally:
        await store.close()


async def test_many_open_new_stores_at_once(tmp_path: Path, clock: Any) -> None:
    for number in range(30):
        url = f"sqlite:///{tmp_path}/{number}.sqlite3"
        for store in await asyncio.gather(*(open_store(url, clock=clock) for _ in range(4))):
            await store.close()


async def test_many_make_the_same_store_at_once(empty_url: str, clock: Any) -> None:
    stores = await asyncio.gather(*(open_store(empty_url, clock=clock) for _ in range(4)))
    try:
        account_id = await add_account(stores[0])
        for store in stores:
            async with store.read() as tx:
                assert await tx.accounts.get(account_id) is not None
    finally:
        for store in stores:
            await store.close()


async def test_a_newer_store_is_refused_and_left_alone(store_url: str, clock: Any) -> None:
    def make_newer(connection: Connection) -> None:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))

    await through(store_url, make_newer)
    for _ in range(2):
        with pytest.raises(InternalError, match=r"revision 9999.* a newer version has written it"):
            await open_store(store_url, clock=clock)


async def test_shared_says_whether_others_may_write(store_url: str, clock: Any, database: str) -> None:
    store = await open_store(store_url, clock=clock)
    await store.close()
    assert store.shared is (database == "postgresql")


@pytest.mark.parametrize(
    "url",
    [
        "mysql://x/y",
        "",
        "/some/path",
        "sqlite://",
        "sqlite:///:memory:",
        "sqlite+aiosqlite:///x",
        "postgresql://h:port/x",
    ],
)
async def test_other_urls_are_refused(url: str, clock: Any) -> None:
    with pytest.raises(InvalidArgument):
        await open_store(url, clock=clock)


async def test_a_database_that_is_not_there(tmp_path: Path, clock: Any) -> None:
    (tmp_path / "text").write_text("This is no database. " * 1000)
    for url in (
        f"sqlite:///{tmp_path}/missing/store.sqlite3",
        f"sqlite:///{tmp_path}/text",
        f"postgresql://me:secret@/store?host={tmp_path}",
        "postgresql://me:secret@127.0.0.1:1/store",
    ):
        with pytest.raises(InternalError) as caught:
            await open_store(url, clock=clock)
        assert str(tmp_path) not in caught.value.message
        assert "secret" not in caught.value.message


def test_nothing_goes_on_after_a_store_that_could_not_be_opened(
    tmp_path: Path, clock: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    failed: list[Any] = []
    monkeypatch.setattr(threading, "excepthook", failed.append)

    async def fail() -> None:
        with pytest.raises(InternalError):
            await open_store(f"sqlite:///{tmp_path}/missing/store.sqlite3", clock=clock)

    interval = sys.getswitchinterval()
    sys.setswitchinterval(0.05)  # so that a thread which nobody waits for comes too late, most times
    try:
        threads = set(threading.enumerate())
        for _ in range(100):
            asyncio.run(fail())
        assert set(threading.enumerate()) == threads
    finally:
        sys.setswitchinterval(interval)
    assert failed == []


async def test_only_the_owner_may_read_the_file(tmp_path: Path, clock: Any) -> None:
    before = os.umask(0)
    try:
        store = await open_store(f"sqlite:///{tmp_path}/store.sqlite3", clock=clock)
        await add_account(store)
        modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
        await store.close()
    finally:
        os.umask(before)
    assert modes == {"store.sqlite3": 0o600, "store.sqlite3-wal": 0o600, "store.sqlite3-shm": 0o600}


async def test_commits_are_on_disk(tmp_path: Path, clock: Any) -> None:
    store = await open_store(f"sqlite:///{tmp_path}/store.sqlite3", clock=clock)
    async with store._engines.writing(is_jotting=False) as connection:
        settings = {
            name: (await connection.exec_driver_sql(f"PRAGMA {name}")).scalar()
            for name in ("journal_mode", "synchronous", "foreign_keys")
        }
    await store.close()
    assert settings == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1}


def test_a_start_with_nothing_to_migrate_does_not_import_alembic(tmp_path: Path) -> None:
    program = (
        "import asyncio, sys\n"
        "from projecthub.store import open_store\n"
        "async def main():\n"
        "    await (await open_store(sys.argv[1], clock=None)).close()\n"
        "asyncio.run(main())\n"
        "print('alembic' in sys.modules, 'asyncpg' in sys.modules)\n"
    )
    url = f"sqlite:///{tmp_path}/store.sqlite3"
    outputs = [
        subprocess.run([sys.executable, "-c", program, url], check=True, capture_output=True, text=True).stdout
        for _ in range(2)
    ]
    assert outputs == ["True False\n", "False False\n"]


@pytest.mark.parametrize("database", ["postgresql"])
async def test_a_lost_database_is_told_and_found_again(store_url: str, clock: Any) -> None:
    store = await open_store(store_url, clock=clock)
    try:
        account_id = await add_account(store)
        with pytest.raises(InternalError, match="was lost"):
            async with store.read() as tx:
                await tx.accounts.get(account_id)
                other = await asyncpg.connect(store_url)
                await other.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                    "WHERE datname = current_database() AND pid != pg_backend_pid()"
                )
                await other.close()
                await tx.accounts.get(account_id)
        async with store.read() as tx:
            assert await tx.accounts.get(account_id) is not None
    finally:
        await store.close()
