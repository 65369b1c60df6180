"""One hub a store: its projects run on one machine, and two hubs would stop each other's.

The claim ends with the hub, however that ends. SQLite: a lock on a file beside the store's. PostgreSQL: an advisory
lock of a connection that is kept for it.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from projecthub.errors import Conflict, InternalError

_NUMBER: Final = 5_014_311_873_206
"""The number of the advisory lock; any that nobody else uses."""
_TRIES: Final = 25
_BETWEEN_S: Final = 0.2
"""PostgreSQL may take a moment to notice that the hub before was killed."""

_TAKEN: Final = "another hub uses this store; stop it, or give this one another store (PROJECTHUB_STORE_URL)"


@asynccontextmanager
async def claimed_file(store_file: Path) -> AsyncIterator[None]:
    """Hold the store of a file.

    Raises:
        Conflict: Another hub holds it.
        InternalError: No file can be made beside it.
    """
    try:
        descriptor = os.open(f"{store_file}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise InternalError(f"the store's directory cannot be written: {error.strerror}") from error
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Conflict(_TAKEN) from None
        yield
    finally:
        os.close(descriptor)


@asynccontextmanager
async def claimed_database(engine: AsyncEngine) -> AsyncIterator[None]:
    """Hold the store of a database.

    Raises:
        Conflict: Another hub holds it.
    """
    async with engine.connect() as opened:
        connection = await opened.execution_options(isolation_level="AUTOCOMMIT")
        for left in reversed(range(_TRIES)):
            if (await connection.execute(text("SELECT pg_try_advisory_lock(:number)"), {"number": _NUMBER})).scalar():
                break
            if not left:
                raise Conflict(_TAKEN)
            await asyncio.sleep(_BETWEEN_S)
        try:
            yield
        finally:
            await connection.invalidate()  # not back to the pool: the lock is the connection's
