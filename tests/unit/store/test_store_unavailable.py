"""A store that cannot be used now says so, and says why."""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path

import pytest
from sqlalchemy.exc import OperationalError
from tests.postgresql import FakeClock

from projecthub.errors import StoreUnavailable
from projecthub.store import database, open_store
from projecthub.store._failures import translated


def fail_as(connection: sqlite3.Connection, statement: str) -> str:
    """What is told when SQLite refuses a statement."""
    with pytest.raises(StoreUnavailable) as told, translated():
        try:
            connection.execute(statement)
        except sqlite3.OperationalError as error:
            raise OperationalError(statement, {}, error) from error
    assert statement not in told.value.message
    return told.value.message


def test_a_store_that_is_held(tmp_path: Path) -> None:
    holder, other = (sqlite3.connect(tmp_path / "s", isolation_level=None, timeout=0) for _ in range(2))
    holder.execute("BEGIN EXCLUSIVE")
    assert "held by another program" in fail_as(other, "BEGIN IMMEDIATE")
    holder.close()
    other.close()


@pytest.mark.anyio
async def test_a_write_does_not_wait_for_ever_for_those_before_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "_TURN_S", 0.05)
    store = await open_store(f"sqlite:///{tmp_path}/s", clock=FakeClock())
    async with store.write():
        with pytest.raises(StoreUnavailable, match="held by another program"):
            async with store.write():
                pytest.fail("two writers at a time")
    async with asyncio.timeout(10), store.write():
        pass
    await store.close()
