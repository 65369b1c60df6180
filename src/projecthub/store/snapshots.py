"""The whole store at one moment, copied while it is in use, and put back.

SQLite: its own backup call, in one step, so that writers neither wait nor get in between. PostgreSQL: its own programs
``pg_dump`` and ``pg_restore``.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import sqlite3
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from sqlalchemy import delete, inspect, make_url, select, text, update
from sqlalchemy.engine import URL
from sqlalchemy.exc import ArgumentError, OperationalError, ProgrammingError
from sqlalchemy.ext.asyncio import AsyncConnection

from projecthub.errors import Conflict, InternalError, InvalidArgument, NotFound
from projecthub.store._copying import copy_sqlite, sync
from projecthub.store._engines import Engines
from projecthub.store._failures import translated
from projecthub.store._schema import HEAD
from projecthub.store.tables import copy_operations, copy_targets, handouts, projects, snapshot_homes, snapshots
from projecthub.wire.ids import ProjectId

Kind = Literal["sqlite", "postgresql"]

FILES: Final[dict[Kind, str]] = {"sqlite": "store.sqlite3", "postgresql": "store.pgdump"}
"""What a snapshot of each kind of store is called."""

_SHOWN_ERROR: Final = 500


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A store as it was at one moment.

    Attributes:
        kind: Of which database it is.
        revision: The migration that it was at.
        projects: All its projects, each with its slot.
        handouts: The lists of what was copied to places last, by their names.
    """

    kind: Kind
    revision: str
    projects: Sequence[tuple[ProjectId, int]]
    handouts: Sequence[str]


async def take_snapshot(url: str, directory: Path) -> Snapshot:
    """Write the store to a file of a directory; `FILES` tells its name.

    Args:
        url: The store's, as for `open_store`. It is not brought up to date.
        directory: Where the file goes.

    Raises:
        InvalidArgument: No such kind of URL.
        NotFound: There is no store.
        Conflict: PostgreSQL's ``pg_dump`` is not installed, or fails; with its own words.
        InternalError: The store cannot be read, or there is no room for its copy.
    """
    kind, parsed = _kind(url)
    target = directory / FILES[kind]
    if kind == "postgresql":
        return await _dump_postgresql(parsed, target)
    source = Path(parsed.database or "")
    if not source.is_file():
        raise NotFound("there is no store yet in the data directory; name the directory of a hub with --data-dir")
    try:
        await asyncio.to_thread(copy_sqlite, source, target)
    except (OSError, sqlite3.Error) as error:
        raise InternalError(f"the store cannot be copied: {_reason(error)}") from error
    async with _connected(f"sqlite:///{target}") as connection:
        return await _read_snapshot(connection, kind)


async def put_back(kind: Kind, source: Path, url: str) -> None:
    """Make a store of a snapshot's file: all of it, or nothing.

    Args:
        kind: Of which database it is.
        source: The file.
        url: The new store's.

    Raises:
        Conflict: ``pg_restore`` is not installed, or fails; with its own words.
        InternalError: The file cannot be copied.
    """
    parsed = _kind(url)[1]
    if kind == "postgresql":
        options = ("--exit-on-error", "--single-transaction", "--no-owner", "--no-privileges")
        await _run_postgresql("pg_restore", parsed, *options, str(source))
        return
    try:
        await asyncio.to_thread(copy_sqlite, source, Path(parsed.database or ""))
    except (OSError, sqlite3.Error) as error:
        raise InternalError(f"the store cannot be written: {_reason(error)}") from error


async def bring_to_rest(url: str) -> None:
    """Have no project of a store wished to run, no snapshot of a home, and no copy that could be undone.

    For a store that was put back: no project of it runs, and backups hold neither snapshots nor what undoes copies.

    Raises:
        InternalError: The store cannot be written.
    """
    at_rest = {"state": "stopped", "desired": "stopped", "instance": None, "state_error": None}
    async with _connected(url, writes=True) as connection:
        not_at_rest = (projects.c.desired == "running") | (projects.c.state == "stopping")
        await connection.execute(update(projects).where(not_at_rest).values(at_rest))
        there = await _tables(connection)
        lost = (
            (snapshots, delete(snapshots)),
            (snapshot_homes, delete(snapshot_homes)),
            (copy_targets, update(copy_targets).where(copy_targets.c.kept_bytes.is_not(None)).values(kept_bytes=None)),
            (copy_operations, update(copy_operations).values(undo_until=None)),
        )
        for table, statement in lost:
            if table.name in there:  # a backup may be older than they are
                await connection.execute(statement)


async def require_empty(kind: Kind, url: str) -> None:
    """Make sure that a snapshot can be put back there.

    Raises:
        InvalidArgument: The URL is of another kind of database.
        Conflict: There is a store already, or other tables; or ``pg_restore`` is not installed.
        InternalError: The database cannot be opened.
    """
    found, parsed = _kind(url)
    if found != kind:
        raise InvalidArgument(f"the backup is of a {kind} store and cannot go into {found}; give a store URL of {kind}")
    if kind == "sqlite":
        if Path(parsed.database or "").exists():
            raise Conflict("there is a store already where the backup's should go; give another place")
        return
    _program("pg_restore")
    async with _connected(url) as connection:
        tables = await _tables(connection)
    if tables:
        raise Conflict(f"the database holds tables already ({', '.join(tables[:3])}); give an empty one")


def is_known(revision: str) -> bool:
    """Whether this version of the program can open a store of a revision."""
    return revision <= HEAD


# -- PostgreSQL ------------------------------------------------------------------------------------


async def _dump_postgresql(url: URL, target: Path) -> Snapshot:
    _program("pg_dump")
    async with _connected(url.render_as_string(hide_password=False)) as connection:
        # The dump sees just what this transaction sees: no project can come in between.
        snapshot = await _read_snapshot(connection, "postgresql")
        name = (await connection.execute(text("SELECT pg_export_snapshot()"))).scalar_one()
        os.close(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        options = ("--format=custom", "--no-owner", "--no-privileges", f"--snapshot={name}", f"--file={target}")
        await _run_postgresql("pg_dump", url, *options)
    sync(target)
    return snapshot


def _program(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        raise Conflict(
            f"{name} is not installed; install PostgreSQL's client programs, of the server's version or later"
        )
    return found


async def _run_postgresql(name: str, url: URL, *arguments: str) -> None:
    """Run a program of PostgreSQL; the password goes through its environment, which others do not see."""
    plain = url.set(drivername="postgresql", password=None).render_as_string(hide_password=False)
    environment = {**os.environ, "LC_ALL": "C", "PGCONNECT_TIMEOUT": "10"}
    if url.password is not None:
        environment["PGPASSWORD"] = str(url.password)
    process = await asyncio.create_subprocess_exec(
        _program(name),
        f"--dbname={plain}",
        "--no-password",
        *arguments,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
        env=environment,
    )
    try:
        _, errors = await process.communicate()
    except BaseException:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
        raise
    if process.returncode:
        raise Conflict(f"{name} failed: {' '.join(errors.decode(errors='replace').split())[:_SHOWN_ERROR]}")


# -- both ------------------------------------------------------------------------------------------


def _kind(url: str) -> tuple[Kind, URL]:
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        # Not "from" it: its text may hold the password.
        raise InvalidArgument("the store's URL cannot be read; write kind://user:password@host:5432/name") from None
    if parsed.drivername == "sqlite" and parsed.database not in (None, "", ":memory:"):
        return "sqlite", parsed
    if parsed.drivername in ("postgresql", "postgres"):
        return "postgresql", parsed
    raise InvalidArgument(f"a store's URL is sqlite:////path or postgresql://..., not '{parsed.drivername[:20]}://'")


@contextlib.asynccontextmanager
async def _connected(url: str, *, writes: bool = False) -> AsyncIterator[AsyncConnection]:
    """A connection that sees one moment; it only reads, unless it ``writes``: what is written is kept at the end."""
    engines = _engines(url)
    try:
        with translated():
            async with engines.writers.begin() if writes else engines.readers.connect() as connection:
                yield connection
    finally:
        await engines.close()


def _engines(url: str) -> Engines:
    if url.startswith("sqlite"):
        from projecthub.store._sqlite import sqlite_engines

        return sqlite_engines(url)
    from projecthub.store._postgresql import postgresql_engines

    return postgresql_engines(url)


async def _tables(connection: AsyncConnection) -> list[str]:
    """The names of the tables that are there."""
    return await connection.run_sync(lambda plain: inspect(plain).get_table_names())


async def _read_snapshot(connection: AsyncConnection, kind: Kind) -> Snapshot:
    try:
        revision = (await connection.execute(text("SELECT version_num FROM alembic_version"))).scalar_one()
        rows = (await connection.execute(select(projects.c.project_id, projects.c.unix_slot))).all()
        known = await _tables(connection)
        lists = select(handouts.c.manifest).distinct()  # a store may be older than they are
        names = (await connection.execute(lists)).scalars().all() if handouts.name in known else []
    except (OperationalError, ProgrammingError) as error:
        raise NotFound("the database holds no store of projecthub; check the store's URL") from error
    return Snapshot(kind, str(revision), [(ProjectId(row[0]), int(row[1])) for row in rows], [*names])


def _reason(error: Exception) -> str:
    """What went wrong, without a path of the machine."""
    return error.strerror or type(error).__name__ if isinstance(error, OSError) else str(error)
