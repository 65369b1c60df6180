"""Connections that stay with us between transactions.

To take a connection out of SQLAlchemy's pool and to give it back costs some 40 us, and two turns of the event loop:
more than the short statement for which most are wanted.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, nullcontext
from typing import Final

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from projecthub.errors import StoreUnavailable

_WAIT_S: Final = 30.0
_TOO_MANY: Final = "too many look into the hub's store at a time; try again in a moment"


class Kept:
    """The connections of one engine, all of which are taken here."""

    def __init__(self, engine: AsyncEngine, kind: type[AsyncConnection], *, most: int) -> None:
        """Take over an engine, for connections of some kind; its pool holds ``most``, and others wait for those."""
        self._engine = engine
        self._kind = kind
        self._idle: list[AsyncConnection] = []
        self._room = asyncio.Semaphore(most)

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[AsyncConnection]:
        """A connection whose transaction ends with the block; its driver must be able to roll back without waiting."""
        async with self._place():
            connection = await self._take()
            try:
                yield connection
                plain = connection.sync_connection
                assert plain is not None
                plain.rollback()
            except BaseException:
                await asyncio.shield(_let_go(connection))
                raise
            self._idle.append(connection)

    @asynccontextmanager
    async def writing(self, prepare: Callable[[AsyncConnection], None]) -> AsyncIterator[AsyncConnection]:
        """A connection in a transaction, which is kept when the block ends, and undone when an exception leaves it."""
        async with self._place():
            connection = await self._take()
            try:
                prepare(connection)
                yield connection
                await connection.commit()
            except BaseException:
                await asyncio.shield(_let_go(connection))
                raise
            self._idle.append(connection)

    @asynccontextmanager
    async def _place(self) -> AsyncIterator[None]:
        try:
            async with asyncio.timeout(_WAIT_S) if self._room.locked() else nullcontext():
                await self._room.acquire()
        except TimeoutError:
            raise StoreUnavailable(_TOO_MANY) from None
        try:
            yield
        finally:
            self._room.release()

    async def _take(self) -> AsyncConnection:
        return self._idle.pop() if self._idle else await self._kind(self._engine)

    async def close(self) -> None:
        """Give all connections back."""
        while self._idle:
            await self._idle.pop().close()


async def _let_go(connection: AsyncConnection) -> None:
    """Undo what was begun, and give a connection back to the pool."""
    try:
        await connection.rollback()  # without it, one whose commit has failed would go back as it is
    finally:
        await connection.close()
