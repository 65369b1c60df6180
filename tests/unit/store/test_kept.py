"""Connections that are kept between transactions."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DataError, IntegrityError, OperationalError
from sqlalchemy.ext.asyncio import AsyncConnection

from projecthub.errors import StoreUnavailable
from projecthub.store import _kept
from projecthub.store._engines import Engines
from projecthub.store._sqlite import sqlite_engines


@pytest.fixture
async def engines(tmp_path: Path) -> AsyncIterator[Engines]:
    made = sqlite_engines(f"sqlite:///{tmp_path}/x.sqlite3")
    async with made.writing(is_jotting=False) as connection:
        await connection.execute(text("CREATE TABLE t (x INTEGER UNIQUE)"))
    yield made
    await made.close()


async def insert(connection: AsyncConnection, x: int) -> None:
    await connection.execute(text("INSERT INTO t VALUES (:x)"), {"x": x})


async def rows(connection: AsyncConnection) -> list[int]:
    return list((await connection.execute(text("SELECT x FROM t ORDER BY x"))).scalars())


async def driver_of(way: AbstractAsyncContextManager[AsyncConnection]) -> Any:
    async with way as connection:
        await connection.execute(text("SELECT 1"))
        return (await connection.get_raw_connection()).driver_connection


async def test_one_connection_serves_what_comes_one_after_the_other(engines: Engines) -> None:
    for way in (engines.reading, engines.glancing, lambda: engines.writing(is_jotting=True)):
        first = await driver_of(way())
        assert [await driver_of(way()) for _ in range(5)] == [first] * 5


@pytest.mark.parametrize("is_jotting", [False, True])
async def test_what_fails_is_undone_and_the_next_goes_on(engines: Engines, is_jotting: bool) -> None:
    for failure in (IntegrityError, RuntimeError):
        with pytest.raises(failure):
            async with engines.writing(is_jotting=is_jotting) as connection:
                await insert(connection, 1)
                if failure is RuntimeError:
                    raise RuntimeError
                await insert(connection, 1)
        async with engines.reading() as connection:
            assert await rows(connection) == []
    async with engines.writing(is_jotting=is_jotting) as connection:
        await insert(connection, 2)
    async with engines.glancing() as connection:
        assert await rows(connection) == [2]


@pytest.mark.parametrize("is_jotting", [False, True])
async def test_who_leaves_in_the_middle_changes_nothing(engines: Engines, is_jotting: bool) -> None:
    async def stay() -> None:
        async with engines.writing(is_jotting=is_jotting) as connection:
            await insert(connection, 1)
            await asyncio.sleep(60)

    staying = asyncio.create_task(stay())
    await asyncio.sleep(0.05)
    staying.cancel()
    async with engines.writing(is_jotting=is_jotting) as connection:  # waits for the end of that
        await insert(connection, 2)
    assert staying.cancelled()
    async with engines.reading() as connection:
        assert await rows(connection) == [2]


@pytest.mark.parametrize("way", ["reading", "glancing"])
async def test_more_readers_than_connections_wait_and_see_what_is_new(engines: Engines, way: str) -> None:
    inside, most = 0, 0

    async def read() -> list[int]:
        nonlocal inside, most
        async with getattr(engines, way)() as connection:
            inside += 1
            most = max(most, inside)
            found = await rows(connection)
            await asyncio.sleep(0.01)
            inside -= 1
            return found

    for x in range(3):
        assert await asyncio.gather(*(read() for _ in range(30))) == [list(range(x))] * 30
        async with engines.writing(is_jotting=True) as connection:
            await insert(connection, x)
    assert most == 4


async def test_a_reader_that_fails_keeps_no_moment(engines: Engines) -> None:
    for way in (engines.reading, engines.glancing):
        with pytest.raises(RuntimeError):
            async with way() as connection:
                await rows(connection)
                raise RuntimeError
    async with engines.writing(is_jotting=False) as connection:
        await insert(connection, 1)
    for way in (engines.reading, engines.glancing):
        async with way() as connection:
            assert await rows(connection) == [1]


async def test_bad_values_and_lost_transactions_are_told_alike_whoever_executes(engines: Engines) -> None:
    for is_jotting in (False, True):
        with pytest.raises(DataError):
            async with engines.writing(is_jotting=is_jotting) as connection:
                await insert(connection, 2**63)
        with pytest.raises(OperationalError, match="rolled back"):
            async with engines.writing(is_jotting=is_jotting) as connection:
                await insert(connection, 1)
                await connection.exec_driver_sql("ROLLBACK")
                await insert(connection, 2)
        with pytest.raises(OperationalError, match="no transaction"):  # told by the commit
            async with engines.writing(is_jotting=is_jotting) as connection:
                await insert(connection, 3)
                await connection.exec_driver_sql("ROLLBACK")
    async with engines.reading() as connection:
        assert await rows(connection) == []


@pytest.fixture
def no_collector() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("no_collector")
@pytest.mark.parametrize("is_jotting", [False, True])
async def test_a_writer_that_leaves_lets_go_of_the_store_even_after_a_conflict(
    engines: Engines, is_jotting: bool
) -> None:
    """What an exception's traceback holds of a statement goes only when the collector comes by."""
    async with engines.writing(is_jotting=is_jotting) as connection:
        await insert(connection, 1)
    with pytest.raises(IntegrityError):
        async with engines.writing(is_jotting=is_jotting) as connection:
            await insert(connection, 1)

    async def go_on() -> None:
        async with engines.writing(is_jotting=False) as connection:
            for x in range(100, 1_000_000):
                await insert(connection, x)

    leaving = asyncio.create_task(go_on())
    await asyncio.sleep(0.05)
    leaving.cancel()
    await asyncio.wait([leaving])
    async with asyncio.timeout(5):
        async with engines.writing(is_jotting=True) as connection:
            await insert(connection, 2)
    async with engines.reading() as connection:
        assert await rows(connection) == [1, 2]


async def test_waiting_for_a_connection_has_an_end(engines: Engines, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_kept, "_WAIT_S", 0.1)

    async def read(deep: int) -> None:
        async with engines.reading():
            if deep:
                await read(deep - 1)

    await read(3)
    with pytest.raises(StoreUnavailable, match="at a time"):
        await read(4)
    await read(3)
