"""A store of the first revision, with rows in it, is opened by today's program."""

from __future__ import annotations

import resource
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, NullPool, make_url, text
from sqlalchemy.ext.asyncio import create_async_engine

from projecthub.errors import LimitError
from projecthub.store import open_store
from projecthub.store._schema import HEAD, MIGRATIONS
from projecthub.store.records import Role, State

ADA = "d44d0000-0000-4000-8000-000000000005"
PROJECT = "a11a0000-0000-4000-8000-000000000001"
ROWS: tuple[tuple[str, dict[str, Any]], ...] = (
    (
        "accounts",
        {"account_id": ADA, "email_address": "ada@example.org", "first_name": "Ada", "last_name": "", "is_admin": True,
         "unlisted": False, "banned": False, "preferences": "{}", "created_at": 1000},
    ),
    (
        "projects",
        {"project_id": PROJECT, "unix_slot": 7, "title": "Analysis", "description": "f" * 100_000, "desired": "running",
         "state": "running", "state_at": 2000, "epoch": 3, "created_at": 1000, "last_edited_at": 2000,
         "manage_users_owner_only": False, "env": '{"NAME": "value"}'},
    ),
    ("memberships", {"project_id": PROJECT, "account_id": ADA, "role": "owner", "added_at": 1000}),
    ("project_log", {"project_id": PROJECT, "account_id": ADA, "event": '{"event": "x"}', "logged_at": 1500}),
)  # fmt: skip


async def through(url: str, work: Callable[[Connection], Any]) -> Any:
    """Do something with a plain connection to a store's database, and commit it."""
    driver = {"sqlite": "sqlite+aiosqlite", "postgresql": "postgresql+asyncpg"}[make_url(url).drivername]
    engine = create_async_engine(make_url(url).set(drivername=driver), poolclass=NullPool)
    try:
        async with engine.begin() as connection:
            return await connection.run_sync(work)
    finally:
        await engine.dispose()


def make_old(connection: Connection) -> None:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.attributes["connection"] = connection
    command.upgrade(config, "0001")
    for table, row in ROWS:
        values = [f"CAST(:{name} AS jsonb)" if _is_json(connection, name) else f":{name}" for name in row]
        connection.execute(text(f"INSERT INTO {table} ({', '.join(row)}) VALUES ({', '.join(values)})"), row)


def _is_json(connection: Connection, column: str) -> bool:
    return connection.dialect.name == "postgresql" and column in ("preferences", "env", "event")


@pytest.fixture
async def old_url(empty_url: str) -> str:
    """The URL of a store as the first version of the program has left it."""
    await through(empty_url, make_old)
    if empty_url.startswith("sqlite"):
        file = empty_url.removeprefix("sqlite:///")
        connection = sqlite3.connect(file)
        connection.execute("PRAGMA journal_mode=WAL")
        connection.close()
        Path(file).chmod(0o600)
    return empty_url


async def test_a_store_of_the_first_revision_is_brought_up_to_date(
    old_url: str, clock: Any, database: str, tmp_path: Path
) -> None:
    for _ in range(2):
        store = await open_store(old_url, clock=clock)
        try:
            async with store.read() as tx:
                account = await tx.accounts.get(ADA)
                project = await tx.projects.get(PROJECT)
                (entry,) = await tx.log.of_project(PROJECT, limit=10)
                roles = await tx.collaborators.roles(PROJECT)
        finally:
            await store.close()
        assert account is not None
        assert (account.first_name, account.is_admin) == ("Ada", True)
        assert project is not None
        assert (project.unix_slot, project.title, project.state, project.epoch) == (7, "Analysis", State.RUNNING, 3)
        assert project.env == {"NAME": "value"}
        assert project.crashes == 0
        assert (entry["event"], roles) == ({"event": "x"}, {ADA: Role.OWNER})
    assert await through(old_url, lambda c: c.execute(text("SELECT version_num FROM alembic_version")).scalar()) == HEAD
    copies = [path.name for path in tmp_path.iterdir() if "before" in path.name]
    assert copies == ([f"store.sqlite3.before-{HEAD}"] if database == "sqlite" else [])


async def test_copies_of_an_older_program_are_told_from_its_plans(empty_url: str, clock: Any) -> None:
    rows = {"done": 5, "failed": None, "undone": None, "planned": None, "cancelled": None, "half": 5}

    def make(connection: Connection) -> None:
        make_old(connection)
        config = Config()
        config.set_main_option("script_location", str(MIGRATIONS))
        config.attributes["connection"] = connection
        command.upgrade(config, "0013")
        for id, undo_until in rows.items():
            values = {"id": id, "account": ADA, "state": "cancelled" if id == "half" else id, "undo": undo_until}
            connection.execute(
                text(
                    "INSERT INTO copy_operations (id, account_id, state, policy, options, applies, created_at,"
                    " updated_at, expires_at, undo_until, totals)"
                    " VALUES (:id, :account, :state, 'update', '{}', FALSE, 1, 1, 9, :undo, '{}')"
                ),
                values,
            )

    await through(empty_url, make)
    store = await open_store(empty_url, clock=clock)
    try:
        async with store.read() as tx:
            found = {row.id for row in await tx.copies.page(ADA, limit=10, plans=False)}
            assert len(await tx.copies.page(ADA, limit=10)) == len(rows)
    finally:
        await store.close()
    assert found == {"done", "failed", "undone", "half"}


@pytest.mark.parametrize("database", ["sqlite"])
async def test_the_copy_is_the_store_as_it_was(old_url: str, clock: Any, tmp_path: Path) -> None:
    copy = tmp_path / f"store.sqlite3.before-{HEAD}"
    copy.write_text("left by an attempt that was killed")
    await (await open_store(old_url, clock=clock)).close()
    assert stat.S_IMODE(copy.stat().st_mode) == 0o600
    connection = sqlite3.connect(copy)
    assert connection.execute("SELECT version_num FROM alembic_version").fetchall() == [("0001",)]
    assert connection.execute("SELECT title FROM projects").fetchall() == [("Analysis",)]
    connection.close()
    # It is as good as the store was: put in its place, it is opened and brought up to date once more.
    again = tmp_path / "again.sqlite3"
    copy.rename(again)
    await (await open_store(f"sqlite:///{again}", clock=clock)).close()


@pytest.mark.parametrize("database", ["sqlite"])
async def test_new_and_current_stores_are_not_copied(empty_url: str, clock: Any, tmp_path: Path) -> None:
    for _ in range(2):
        await (await open_store(empty_url, clock=clock)).close()
    assert [path.name for path in tmp_path.iterdir()] == ["store.sqlite3"]


@pytest.mark.parametrize("database", ["sqlite"])
async def test_without_room_for_the_copy_nothing_is_changed(old_url: str, tmp_path: Path) -> None:
    program = (
        "import asyncio, sys\n"
        "from projecthub.store import open_store\n"
        "asyncio.run(open_store(sys.argv[1], clock=None))\n"
    )

    def small_files() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, resource.RLIM_INFINITY))

    ran = subprocess.run(
        [sys.executable, "-c", program, old_url], preexec_fn=small_files, capture_output=True, text=True, check=False
    )
    last = ran.stderr.strip().splitlines()[-1]
    assert last.startswith(f"projecthub.errors.{LimitError.__name__}: The store has to be upgraded"), ran.stderr
    assert "make room" in last
    assert str(tmp_path) not in last
    assert [path.name for path in tmp_path.iterdir()] == ["store.sqlite3"]
    assert (
        await through(old_url, lambda c: c.execute(text("SELECT version_num FROM alembic_version")).scalar()) == "0001"
    )
