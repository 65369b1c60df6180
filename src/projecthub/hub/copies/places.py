"""Who copies to a place keeps others from it: two at a time would find each other's work in their way."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import TypeAlias

from projecthub.wire.ids import ProjectId

Place: TypeAlias = tuple[ProjectId, str]
"""A project, and a path relative to its home, as `reduced` has it."""


class Places:
    """The places that are copied to now. Who waits for one gets it before all who ask later.

    Otherwise those who copy to one place again and again would keep a whole class waiting that it is a part of.
    """

    def __init__(self) -> None:
        """Begin with none."""
        self._turns = itertools.count()
        self._asked: dict[ProjectId, list[tuple[int, str]]] = {}  # held or waited for, in the order of their turns
        self._freed = asyncio.Event()

    @asynccontextmanager
    async def hold(self, places: Iterable[Place]) -> AsyncIterator[None]:
        """Wait until nobody holds one of these places, one in them, or one that they are in; then hold them all."""
        wanted, turn = [*places], next(self._turns)
        for project_id, path in wanted:
            self._asked.setdefault(project_id, []).append((turn, path))
        try:
            while not all(self._is_free(turn, *place) for place in wanted):
                freed = self._freed
                await freed.wait()
            yield
        finally:
            for project_id, path in wanted:
                asked = self._asked[project_id]
                asked.remove((turn, path))
                if not asked:
                    del self._asked[project_id]
            self._freed.set()
            self._freed = asyncio.Event()

    def _is_free(self, turn: int, project_id: ProjectId, path: str) -> bool:
        for other, asked in self._asked[project_id]:
            if other >= turn:
                break
            if _overlap(path, asked):
                return False
        return True


def _overlap(one: str, other: str) -> bool:
    return one == other or _is_in(one, other) or _is_in(other, one)


def _is_in(inner: str, outer: str) -> bool:
    return outer == "" or inner.startswith(f"{outer}/")
