"""Brings a store's tables up to date."""

from __future__ import annotations

import asyncio
import os
import sqlite3
from pathlib import Path
from typing import Final

import structlog
from sqlalchemy import Connection, text
from sqlalchemy.exc import OperationalError, ProgrammingError
from sqlalchemy.ext.asyncio import AsyncEngine

from projecthub.errors import InternalError, LimitError
from projecthub.store._copying import copy_sqlite

HEAD: Final = "0014"
"""The newest migration; a store that says so needs nothing."""
MIGRATIONS: Final = Path(__file__).parent / "migrations"

_MIGRATING: Final = 5_014_311_873_205
"""The number of the lock under which one hub migrates while others wait; any number that nobody else uses."""


_log = structlog.get_logger()


async def bring_up_to_date(engine: AsyncEngine) -> None:
    """Migrate to the newest revision, all or nothing. Costs one query where there is nothing to do.

    An older SQLite store is copied first, to a file beside it whose name ends in ``.before-`` and the new revision.

    Raises:
        InternalError: The store was written by a newer version of this program.
        LimitError: There is no room for the copy; nothing was changed.
    """
    if await _revision(engine) == HEAD:
        return
    async with engine.begin() as connection:
        if connection.dialect.name == "postgresql":
            await connection.execute(text("SELECT pg_advisory_xact_lock(:number)"), {"number": _MIGRATING})
        else:
            await connection.execute(text("SELECT 1"))  # begins the transaction: from here on nobody else writes
        found = await connection.run_sync(_checked_revision)
        if found not in (None, HEAD):
            _log.warning("store.upgrading", found=found, to=HEAD)
            if engine.url.get_backend_name() == "sqlite":
                await asyncio.to_thread(_keep_copy, Path(engine.url.database or ""))
            else:
                _log.warning("store.not_copied", remedy="all or nothing, but take a pg_dump before an upgrade")
        await connection.run_sync(_migrate)


async def _revision(engine: AsyncEngine) -> str | None:
    async with engine.connect() as connection:
        try:
            revision: str | None = (await connection.execute(text("SELECT version_num FROM alembic_version"))).scalar()
        except (OperationalError, ProgrammingError):
            return None  # no such table: a new store, or whatever is wrong shows again in a moment
        return revision


def _keep_copy(store: Path) -> None:
    """Copy a store that is about to be migrated. Blocks."""
    copy = store.with_name(f"{store.name}.before-{HEAD}")
    try:
        space = os.statvfs(store.parent)
        size = store.stat().st_size
        if space.f_bavail * space.f_frsize < size:
            raise LimitError(_no_room(f"{size} bytes are needed"))
        copy_sqlite(store, copy)
    except (OSError, sqlite3.Error) as error:
        raise LimitError(_no_room(str(error) if isinstance(error, sqlite3.Error) else error.strerror)) from error
    _log.warning("store.copied", file=copy.name)


def _no_room(why: str | None) -> str:
    return (
        f"The store has to be upgraded to revision {HEAD}, and the copy that is taken before cannot be written: {why}. "
        "Nothing was changed; make room on the disk of the data directory and start again"
    )


def _checked_revision(connection: Connection) -> str | None:
    # Imported here, as below, because that takes longer than everything else at a start that has nothing to migrate.
    from alembic.runtime.migration import MigrationContext
    from alembic.script import ScriptDirectory

    known = {script.revision for script in ScriptDirectory(str(MIGRATIONS)).walk_revisions()}
    found = MigrationContext.configure(connection).get_current_revision()
    if found is not None and found not in known:
        raise InternalError(
            f"The store is of revision {found}, and this version of projecthub knows none later than {HEAD}: "
            "a newer version has written it; start that one, or restore a backup"
        )
    return found


def _migrate(connection: Connection) -> None:
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
