"""Brings a store's tables up to date."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from sqlalchemy import Connection, text
from sqlalchemy.exc import OperationalError, ProgrammingError
from sqlalchemy.ext.asyncio import AsyncEngine

from projecthub.errors import InternalError

HEAD: Final = "0002"
"""The newest migration; a store that says so needs nothing."""
MIGRATIONS: Final = Path(__file__).parent / "migrations"

_MIGRATING: Final = 5_014_311_873_205
"""The number of the lock under which one hub migrates while others wait; any number that nobody else uses."""


async def bring_up_to_date(engine: AsyncEngine) -> None:
    """Migrate to the newest revision, all or nothing. Costs one query where there is nothing to do.

    Raises:
        InternalError: The store was written by a newer version of this program.
    """
    if await _revision(engine) == HEAD:
        return
    async with engine.begin() as connection:
        if connection.dialect.name == "postgresql":
            await connection.execute(text("SELECT pg_advisory_xact_lock(:number)"), {"number": _MIGRATING})
        await connection.run_sync(_migrate)


async def _revision(engine: AsyncEngine) -> str | None:
    async with engine.connect() as connection:
        try:
            revision: str | None = (await connection.execute(text("SELECT version_num FROM alembic_version"))).scalar()
        except (OperationalError, ProgrammingError):
            return None  # no such table: a new store, or whatever is wrong shows again in a moment
        return revision


def _migrate(connection: Connection) -> None:
    # Imported here, because that takes longer than everything else at a start that has nothing to migrate.
    from alembic import command
    from alembic.config import Config
    from alembic.runtime.migration import MigrationContext
    from alembic.script import ScriptDirectory

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.attributes["connection"] = connection
    known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    found = MigrationContext.configure(connection).get_current_revision()
    if found is not None and found not in known:
        raise InternalError(
            f"The store is of revision {found}, and this version of projecthub knows none later than {HEAD}: "
            "a newer version has written it; start that one, or restore a backup"
        )
    command.upgrade(config, "head")
