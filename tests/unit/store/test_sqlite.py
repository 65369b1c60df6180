from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DataError, IntegrityError, OperationalError
from sqlalchemy.ext.asyncio import AsyncEngine

from projecthub.store._sqlite import sqlite_engines


@pytest.fixture
async def engines(tmp_path: Path) -> AsyncIterator[tuple[AsyncEngine, AsyncEngine]]:
    readers, _, writers = sqlite_engines(f"sqlite:///{tmp_path}/x.sqlite3")
    async with writers.begin() as connection:
        await connection.execute(text("CREATE TABLE t (x INTEGER UNIQUE, y TEXT)"))
    yield readers, writers
    await readers.dispose()
    await writers.dispose()


async def rows(engine: AsyncEngine) -> list[int]:
    async with engine.connect() as connection:
        return list((await connection.execute(text("SELECT x FROM t ORDER BY x"))).scalars())


async def test_results_of_every_kind(engines: tuple[AsyncEngine, AsyncEngine]) -> None:
    _, writers = engines
    async with writers.begin() as connection:
        insert = text("INSERT INTO t VALUES (:x, :y) RETURNING x, y")
        returned = await connection.execute(insert, {"x": 1, "y": "é🧪"})
        assert returned.all() == [(1, "é🧪")]
        many = await connection.execute(text("INSERT INTO t (x) VALUES (:x)"), [{"x": 2}, {"x": 3}])
        assert many.rowcount == 2
        updated = await connection.execute(text("UPDATE t SET y = 'z' WHERE x > 1"))
        assert updated.rowcount == 2
        result = await connection.execute(text("SELECT x FROM t ORDER BY x"))
        assert result.fetchone() == (1,)
        assert result.fetchmany(1) == [(2,)]
        assert result.fetchall() == [(3,)]
        assert result.fetchone() is None
        empty = await connection.execute(text("SELECT x, y FROM t WHERE x = 9"))
        assert list(empty.keys()) == ["x", "y"]
        assert empty.all() == []


async def test_the_first_statement_of_a_write_takes_the_lock(engines: tuple[AsyncEngine, AsyncEngine]) -> None:
    _, writers = engines
    async with writers.connect() as connection:
        await connection.execute(text("SELECT 1"))
        raw = (await connection.get_raw_connection()).driver_connection
        assert raw is not None
        assert raw.in_transaction
        await connection.rollback()
        assert not raw.in_transaction


async def test_a_transaction_that_sqlite_gave_up_does_not_go_on(engines: tuple[AsyncEngine, AsyncEngine]) -> None:
    """SQLite rolls back by itself on some errors; here it is told to."""
    readers, writers = engines
    with pytest.raises(OperationalError, match="rolled back"):
        async with writers.begin() as connection:
            await connection.execute(text("INSERT INTO t (x) VALUES (1)"))
            await connection.exec_driver_sql("ROLLBACK")
            await connection.execute(text("INSERT INTO t (x) VALUES (2)"))
    with pytest.raises(OperationalError, match="no transaction"):
        async with writers.begin() as connection:
            await connection.execute(text("INSERT INTO t (x) VALUES (3)"))
            await connection.exec_driver_sql("ROLLBACK")
    assert await rows(readers) == []
    async with writers.begin() as connection:
        await connection.execute(text("INSERT INTO t (x) VALUES (4)"))
    assert await rows(readers) == [4]


async def test_a_full_database_keeps_nothing_of_the_transaction(engines: tuple[AsyncEngine, AsyncEngine]) -> None:
    readers, writers = engines
    with pytest.raises(OperationalError, match="full"):
        async with writers.begin() as connection:
            await connection.execute(text("INSERT INTO t (x) VALUES (1)"))
            await connection.exec_driver_sql("PRAGMA max_page_count = 10")
            await connection.execute(text("INSERT INTO t VALUES (2, :y)"), {"y": "y" * 100_000})
    assert await rows(readers) == []


async def test_readers_cannot_write(engines: tuple[AsyncEngine, AsyncEngine]) -> None:
    readers, _ = engines
    async with readers.connect() as connection:
        with pytest.raises(OperationalError, match="readonly"):
            await connection.execute(text("INSERT INTO t (x) VALUES (1)"))


@pytest.mark.parametrize("parameters", [{"x": 2**63, "y": ""}, {"x": 1, "y": "\ud800"}])
async def test_bad_values_are_data_errors(
    engines: tuple[AsyncEngine, AsyncEngine], parameters: dict[str, object]
) -> None:
    _, writers = engines
    async with writers.connect() as connection:
        with pytest.raises(DataError):
            await connection.execute(text("INSERT INTO t VALUES (:x, :y)"), parameters)


async def test_an_error_leaves_the_transaction_open(engines: tuple[AsyncEngine, AsyncEngine]) -> None:
    readers, writers = engines
    async with writers.begin() as connection:
        await connection.execute(text("INSERT INTO t (x) VALUES (1)"))
        with pytest.raises(IntegrityError):
            await connection.execute(text("INSERT INTO t (x) VALUES (1)"))
        await connection.execute(text("INSERT INTO t (x) VALUES (2)"))
    assert await rows(readers) == [1, 2]


async def test_a_reader_lets_go_of_its_moment(engines: tuple[AsyncEngine, AsyncEngine]) -> None:
    readers, writers = engines
    for x in range(10):
        async with writers.begin() as connection:
            await connection.execute(text("INSERT INTO t (x) VALUES (:x)"), {"x": x})
        assert await rows(readers) == list(range(x + 1))


async def test_glances_cannot_write(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/x.sqlite3"
    readers, glancers, writers = sqlite_engines(url)
    async with writers.begin() as connection:
        await connection.execute(text("CREATE TABLE t (x INTEGER)"))
    with pytest.raises(OperationalError, match="readonly"):
        async with glancers.connect() as connection:
            await connection.execute(text("INSERT INTO t VALUES (1)"))
    for engine in (readers, glancers, writers):
        await engine.dispose()


async def test_a_glance_whose_transaction_sqlite_gave_up_says_so(tmp_path: Path) -> None:
    _, glancers, writers = sqlite_engines(f"sqlite:///{tmp_path}/x.sqlite3")
    async with writers.begin() as connection:
        await connection.execute(text("CREATE TABLE t (x INTEGER)"))
    async with glancers.connect() as connection:
        await connection.execute(text("SELECT x FROM t"))
        await connection.exec_driver_sql("ROLLBACK")
        with pytest.raises(OperationalError, match="rolled back"):
            await connection.execute(text("SELECT x FROM t"))
    async with glancers.connect() as connection:
        assert (await connection.execute(text("SELECT x FROM t"))).all() == []
    for engine in (glancers, writers):
        await engine.dispose()


async def test_the_event_loop_goes_on_while_another_program_holds_the_store(tmp_path: Path) -> None:
    readers, glancers, writers = sqlite_engines(f"sqlite:///{tmp_path}/x.sqlite3")
    async with writers.begin() as connection:
        await connection.execute(text("CREATE TABLE t (x INTEGER)"))
    for engine in (readers, writers):
        await engine.dispose()
    held = sqlite3.connect(tmp_path / "x.sqlite3", isolation_level=None)
    held.execute("PRAGMA locking_mode=EXCLUSIVE")
    held.execute("BEGIN IMMEDIATE")
    held.execute("INSERT INTO t VALUES (1)")
    held.execute("COMMIT")  # and keeps the lock

    async def glance() -> list[int]:
        async with glancers.connect() as connection:
            return list((await connection.execute(text("SELECT x FROM t"))).scalars())

    glances = [asyncio.create_task(glance()) for _ in range(3)]
    loop = asyncio.get_running_loop()
    longest = 0.0
    for _ in range(30):
        began = loop.time()
        await asyncio.sleep(0.01)
        longest = max(longest, loop.time() - began)
    assert not any(task.done() for task in glances)
    assert longest < 1
    held.close()
    assert await asyncio.gather(*glances) == [[1]] * 3
    await glancers.dispose()
