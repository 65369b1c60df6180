from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DataError, IntegrityError, OperationalError
from sqlalchemy.ext.asyncio import AsyncEngine

from projecthub.store._sqlite import execute_here, sqlite_engines


@pytest.fixture(params=["write", "jot"])
async def engines(tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[tuple[AsyncEngine, AsyncEngine]]:
    """One that reads, and one that writes: in its thread, or in the event loop's."""
    made = sqlite_engines(f"sqlite:///{tmp_path}/x.sqlite3")
    async with made.writers.begin() as connection:
        await connection.execute(text("CREATE TABLE t (x INTEGER UNIQUE, y TEXT)"))
        execute_here(connection, request.param == "jot")  # there is but one
    yield made.readers, made.writers
    await made.close()


async def rows(engine: AsyncEngine, by: str = "x") -> list[int]:
    async with engine.connect() as connection:
        return list((await connection.execute(text(f"SELECT x FROM t ORDER BY {by}"))).scalars())


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
    made = sqlite_engines(url)
    async with made.writers.begin() as connection:
        await connection.execute(text("CREATE TABLE t (x INTEGER)"))
    with pytest.raises(OperationalError, match="readonly"):
        async with made.glancers.connect() as connection:
            await connection.execute(text("INSERT INTO t VALUES (1)"))
    await made.close()


async def test_a_glance_whose_transaction_sqlite_gave_up_says_so(tmp_path: Path) -> None:
    made = sqlite_engines(f"sqlite:///{tmp_path}/x.sqlite3")
    async with made.writers.begin() as connection:
        await connection.execute(text("CREATE TABLE t (x INTEGER)"))
    async with made.glancers.connect() as connection:
        await connection.execute(text("SELECT x FROM t"))
        await connection.exec_driver_sql("ROLLBACK")
        with pytest.raises(OperationalError, match="rolled back"):
            await connection.execute(text("SELECT x FROM t"))
    async with made.glancers.connect() as connection:
        assert (await connection.execute(text("SELECT x FROM t"))).all() == []
    await made.close()


@pytest.mark.parametrize("how", ["glance", "write", "jot"])
async def test_the_event_loop_goes_on_while_another_program_holds_the_store(tmp_path: Path, how: str) -> None:
    made = sqlite_engines(f"sqlite:///{tmp_path}/x.sqlite3")
    async with made.writers.begin() as connection:
        await connection.execute(text("CREATE TABLE t (x INTEGER)"))
    await made.readers.dispose()
    if how == "glance":
        await made.writers.dispose()
    held = sqlite3.connect(tmp_path / "x.sqlite3", isolation_level=None)
    if how == "glance":
        held.execute("PRAGMA locking_mode=EXCLUSIVE")
    held.execute("BEGIN IMMEDIATE")
    held.execute("INSERT INTO t VALUES (1)")
    if how == "glance":
        held.execute("COMMIT")  # and keeps the lock

    async def look() -> list[int]:
        way = made.glancing() if how == "glance" else made.writing(is_jotting=how == "jot")
        async with way as connection:
            if how != "glance":
                await connection.execute(text("INSERT INTO t VALUES (2)"))
            found = list((await connection.execute(text("SELECT x FROM t"))).scalars())
            await connection.rollback()
            return found

    looks = [asyncio.create_task(look()) for _ in range(3)]
    loop = asyncio.get_running_loop()
    longest = 0.0
    for _ in range(30):
        began = loop.time()
        await asyncio.sleep(0.01)
        longest = max(longest, loop.time() - began)
    assert not [task for task in looks if task.done()]
    assert longest < 1
    if how != "glance":
        held.execute("COMMIT")
    held.close()
    assert await asyncio.gather(*looks) == [[1] if how == "glance" else [1, 2]] * 3
    await made.close()


async def test_a_jotting_comes_after_what_is_left_to_the_thread(tmp_path: Path) -> None:
    made = sqlite_engines(f"sqlite:///{tmp_path}/x.sqlite3")
    async with made.writers.begin() as connection:
        await connection.execute(text("CREATE TABLE t (x INTEGER)"))
    goes_on = threading.Event()

    def wait_and_insert(raw: sqlite3.Connection) -> None:
        goes_on.wait(10)
        raw.execute("INSERT INTO t VALUES (1)")

    async with made.writers.begin() as connection:
        execute_here(connection, True)
        await connection.execute(text("SELECT 1"))
        raw: Any = (await connection.get_raw_connection()).dbapi_connection
        left = asyncio.create_task(raw._in_thread(wait_and_insert))
        await asyncio.sleep(0)
        left.cancel()
        jotting = asyncio.ensure_future(connection.execute(text("INSERT INTO t VALUES (2)")))
        await asyncio.sleep(0.05)
        assert not jotting.done()
        goes_on.set()
        await jotting
    assert await rows(made.readers, by="rowid") == [1, 2]
    await made.close()


async def test_what_is_jotted_down_needs_a_thread_for_the_commit_only(tmp_path: Path) -> None:
    made = sqlite_engines(f"sqlite:///{tmp_path}/x.sqlite3")
    async with made.writers.begin() as connection:
        await connection.execute(text("CREATE TABLE t (x INTEGER)"))
    threads: list[int] = []

    def note() -> int:
        threads.append(threading.get_ident())
        return 1

    for is_jotting in (False, True, False):
        async with made.writers.begin() as connection:
            execute_here(connection, is_jotting)
            raw = (await connection.get_raw_connection()).driver_connection
            assert raw is not None
            await raw.create_function("note", 0, note)
            await connection.execute(text("INSERT INTO t VALUES (note())"))
            execute_here(connection, False)  # what follows is long after all
            await connection.execute(text("INSERT INTO t VALUES (note())"))
    assert [thread == threading.get_ident() for thread in threads] == [False, False, True, False, False, False]
    await made.close()
