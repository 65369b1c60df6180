"""Who copies to a place keeps others from it: two at a time would find each other's work in their way."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import TypeAlias

from projecthub.wire.ids import ProjectId

Place: TypeAlias = tuple[ProjectId, str]
"""A project, and a path relative to its home, as `reduced` has it."""


class Places:
    """The places that are copied to now."""

    def __init__(self) -> None:
        """Begin with none."""
        self._held: dict[ProjectId, list[str]] = {}
        self._freed = asyncio.Event()

    @asynccontextmanager
    async def hold(self, places: Iterable[Place]) -> AsyncIterator[None]:
        """Wait until nobody holds one of these places, one in them, or one that they are in; then hold them all."""
        wanted = [*places]
        while not all(self._is_free(*place) for place in wanted):
            freed = self._freed
            await freed.wait()
        for project_id, path in wanted:
            self._held.setdefault(project_id, []).append(path)
        try:
            yield
        finally:
            for project_id, path in wanted:
                held = self._held[project_id]
                held.remove(path)
                if not held:
                    del self._held[project_id]
            self._freed.set()
            self._freed = asyncio.Event()

    def _is_free(self, project_id: ProjectId, path: str) -> bool:
        return not any(_overlap(path, held) for held in self._held.get(project_id, ()))


def _overlap(one: str, other: str) -> bool:
    return one == other or _is_in(one, other) or _is_in(other, one)


def _is_in(inner: str, outer: str) -> bool:
    return outer == "" or inner.startswith(f"{outer}/")
