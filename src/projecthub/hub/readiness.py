"""Whether a hub can do its work now."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

import structlog

from projecthub.errors import HubError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from projecthub.engines.port import Engine
    from projecthub.store import Store

WAIT_S: Final = 2.0
"""How long a part of the hub may take to answer before it counts as not ready."""

_log = structlog.get_logger()


class Readiness:
    """Asks the parts that calls depend on.

    Attributes:
        is_open: Whether the hub has been opened and is not being closed.
    """

    def __init__(self, store: Store, engine: Engine, *, wait_s: float = WAIT_S) -> None:
        """Make the service."""
        self.is_open = False
        self._wait_s = wait_s
        self._parts: dict[str, Callable[[], Awaitable[None]]] = {"store": store.ping, "engine": engine.ready}
        self._asking: dict[str, asyncio.Task[None]] = {}

    async def troubles(self) -> dict[str, str | None]:
        """What is wrong with ``hub``, ``store`` and ``engine``, in words that everybody may read; None: nothing."""
        found = await asyncio.gather(*(self._ask(part) for part in self._parts))
        return {"hub": None if self.is_open else "it is not open", **dict(zip(self._parts, found, strict=True))}

    async def _ask(self, part: str) -> str | None:
        # One question at a time: of a part that hangs, later callers await the answer to the first.
        task = self._asking.get(part)
        if task is None:
            task = self._asking[part] = asyncio.create_task(self._answer(part), name=f"ready-{part}")
            task.add_done_callback(lambda _: self._asking.pop(part))
        done, _ = await asyncio.wait([task], timeout=self._wait_s)
        if not done:
            return f"it has not answered within {self._wait_s:g} s"
        return None if task.exception() is None else "it fails; the hub's log says why"

    async def _answer(self, part: str) -> None:
        try:
            await self._parts[part]()
        except Exception as error:
            # Its text may tell how the hub is made: it is for the log.
            _log.warning(
                "hub.not_ready", part=part, error=error.message if isinstance(error, HubError) else repr(error)
            )
            raise

    async def close(self) -> None:
        """The hub is being closed: it is not ready any more, and nothing is asked any more."""
        self.is_open = False
        tasks = list(self._asking.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
