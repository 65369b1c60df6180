from __future__ import annotations

import asyncio
import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from house import FixedClock, House

from projecthub.hub.principals import Principal
from projecthub.store import open_store


@pytest.fixture(scope="session")
def migrated_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("migrated") / "store.sqlite3"


@pytest.fixture
def directory() -> Iterator[Path]:
    """In memory where there is such a place: a store waits for the disk at every write."""
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="projecthub-test-", dir=memory) as name:
        yield Path(name)


@pytest.fixture
async def house(directory: Path, migrated_store: Path) -> AsyncIterator[House]:
    clock = FixedClock()
    if not migrated_store.exists():
        await (await open_store(f"sqlite:///{migrated_store}", clock=clock)).close()
    shutil.copy(migrated_store, directory / "store.sqlite3")  # migrating takes longer than most tests
    store = await open_store(f"sqlite:///{directory}/store.sqlite3", clock=clock)
    house = House(store, clock, directory)
    await house.lifecycle.open()
    yield house
    house.engine.gate.set()
    house.engine.stop_gate.set()
    await asyncio.gather(*house.killed, return_exceptions=True)
    await house.copies.close()
    await house.lifecycle.close(stop_projects=True)
    house.passwords.close()
    house.homes.close()
    await store.close()


@pytest.fixture
async def admin(house: House) -> Principal:
    return await house.person("Root", admin=True)


@pytest.fixture
async def ann(house: House) -> Principal:
    return await house.person("Ann")


@pytest.fixture
async def bob(house: House) -> Principal:
    return await house.person("Bob")


@pytest.fixture
async def cid(house: House) -> Principal:
    return await house.person("Cid")
