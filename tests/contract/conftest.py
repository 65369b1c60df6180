"""What the contract suites run on: a store in SQLite and one in PostgreSQL, new for every test."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.postgresql import FakeClock, PostgresqlServer

from projecthub.store import Store, open_store


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("store") / "template.sqlite3"


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest) -> str:
    """Which database a test runs on; every test of the store runs on both."""
    return str(request.param)


@pytest.fixture
async def empty_url(database: str, request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[str]:
    """The URL of a store that is still to be made."""
    if database == "sqlite":
        yield f"sqlite:///{tmp_path}/store.sqlite3"
        return
    server: PostgresqlServer = request.getfixturevalue("postgresql_server")
    name = await server.create()
    yield server.url(name)
    await server.drop(name)


@pytest.fixture
async def store_url(
    database: str, request: pytest.FixtureRequest, tmp_path: Path, sqlite_template: Path
) -> AsyncIterator[str]:
    """The URL of an empty store; a copy, since migrating takes longer than most tests."""
    if database == "sqlite":
        if not sqlite_template.exists():
            await (await open_store(f"sqlite:///{sqlite_template}", clock=FakeClock())).close()
        shutil.copy(sqlite_template, tmp_path / "store.sqlite3")
        yield f"sqlite:///{tmp_path}/store.sqlite3"
        return
    server: PostgresqlServer = request.getfixturevalue("postgresql_server")
    name = await server.create(await server.template())
    yield server.url(name)
    await server.drop(name)


@pytest.fixture
async def store(store_url: str, clock: FakeClock) -> AsyncIterator[Store]:
    """An empty store."""
    opened = await open_store(store_url, clock=clock)
    try:
        yield opened
    finally:
        await opened.close()
