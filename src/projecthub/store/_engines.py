"""The engines of a database, and the ways in which the store uses them."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine


class Engines:
    """What a store reads and writes with."""

    def __init__(self, *, readers: AsyncEngine, glancers: AsyncEngine, writers: AsyncEngine) -> None:
        """Take engines over; several may share their connections."""
        self.readers = readers
        self.glancers = glancers
        self.writers = writers

    def reading(self) -> AbstractAsyncContextManager[AsyncConnection]:
        """A connection that sees one moment."""
        return self.readers.connect()

    def glancing(self) -> AbstractAsyncContextManager[AsyncConnection]:
        """A connection each of whose statements sees a moment of its own."""
        return self.glancers.connect()

    def writing(self, *, is_jotting: bool) -> AbstractAsyncContextManager[AsyncConnection]:
        """A connection in a transaction, which is kept when the block ends, and undone when an exception leaves it.

        Args:
            is_jotting: Whether its statements are short; see `Store.jot`.
        """
        return self.writers.begin()

    def is_long(self, connection: AsyncConnection) -> None:
        """Have what follows in a transaction of a jotting executed as in any other."""

    async def close(self) -> None:
        """Close all connections. Idempotent."""
        for engine in (self.readers, self.glancers, self.writers):
            await engine.dispose()
