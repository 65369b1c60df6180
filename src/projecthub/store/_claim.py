"""One hub a store: its projects run on one machine, and two hubs would stop each other's.

The claim ends with the hub, however that ends. SQLite: a lock on a file beside the store's. PostgreSQL: an advisory
lock of a connection that is kept for it.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

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


class DatabaseClaim:
    """Holds the store of a database, on a connection that is kept for it."""

    def __init__(self, engine: AsyncEngine) -> None:
        """Make a claim that is not held yet."""
        self._engine = engine
        self._connection: AsyncConnection | None = None

    async def hold(self) -> None:
        """Take the store, or see that it still is ours; a database that was restarted has forgotten it.

        Raises:
            Conflict: Another hub holds it.
            SQLAlchemyError: The database does not answer.
        """
        if self._connection is not None:
            try:
                await self._connection.execute(text("SELECT 1"))
                return
            except SQLAlchemyError:
                await self.drop()
        self._connection = await self._connect()
        for left in reversed(range(_TRIES)):
            taken = await self._connection.execute(text("SELECT pg_try_advisory_lock(:number)"), {"number": _NUMBER})
            if taken.scalar():
                return
            if not left:
                await self.drop()
                raise Conflict(_TAKEN)
            await asyncio.sleep(_BETWEEN_S)

    async def _connect(self) -> AsyncConnection:
        return await (await self._engine.connect()).execution_options(isolation_level="AUTOCOMMIT")

    async def drop(self) -> None:
        """Let go of the store. Idempotent."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(SQLAlchemyError):
                await connection.invalidate()  # not back to the pool: the lock is the connection's
            await connection.close()
