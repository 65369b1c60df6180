"""The engines of a database: one for each way in which the store uses it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine


def _as_ever(connection: AsyncConnection, is_jotting: bool) -> None:
    """All writes are made in one way."""


@dataclass(frozen=True, slots=True)
class Engines:
    """What a store reads and writes with; several may share their connections.

    Attributes:
        readers: For `Store.read`.
        glancers: For `Store.glance`.
        writers: For `Store.write` and `Store.jot`.
        prepare: Tells a connection that writes which of both it is for. (Options of an engine could do so, too, but
            cost more than a jotting saves.)
    """

    readers: AsyncEngine
    glancers: AsyncEngine
    writers: AsyncEngine
    prepare: Callable[[AsyncConnection, bool], None] = _as_ever

    async def close(self) -> None:
        """Close all connections. Idempotent."""
        for engine in (self.readers, self.glancers, self.writers):
            await engine.dispose()
