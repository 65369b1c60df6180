"""Connections that stay with us between transactions.

To take a connection out of SQLAlchemy's pool and to give it back costs some 40 us, and two turns of the event loop:
more than the short statement for which most are wanted.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Final

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from projecthub.store._turns import in_turn

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

    def reading(self) -> AbstractAsyncContextManager[AsyncConnection]:
        """A connection whose transaction ends with the block; its driver must be able to roll back without waiting."""
        return self._lent(_roll_back)

    def writing(self, prepare: Callable[[AsyncConnection], None]) -> AbstractAsyncContextManager[AsyncConnection]:
        """A connection in a transaction, which is kept when the block ends, and undone when an exception leaves it."""
        return self._lent(_commit, prepare)

    @asynccontextmanager
    async def _lent(
        self,
        end: Callable[[AsyncConnection], Awaitable[None]],
        prepare: Callable[[AsyncConnection], None] = lambda _: None,
    ) -> AsyncIterator[AsyncConnection]:
        async with in_turn(self._room, _WAIT_S, _TOO_MANY):
            connection = self._idle.pop() if self._idle else await self._kind(self._engine)
            try:
                prepare(connection)
                yield connection
                await end(connection)
            except BaseException:
                await asyncio.shield(_let_go(connection))
                raise
            self._idle.append(connection)

    async def close(self) -> None:
        """Give all connections back."""
        while self._idle:
            await self._idle.pop().close()


async def _roll_back(connection: AsyncConnection) -> None:
    plain = connection.sync_connection
    assert plain is not None
    plain.rollback()


async def _commit(connection: AsyncConnection) -> None:
    await connection.commit()


async def _let_go(connection: AsyncConnection) -> None:
    """Undo what was begun, and give a connection back to the pool."""
    try:
        await connection.rollback()  # without it, one whose commit has failed would go back as it is
    finally:
        await connection.close()
