"""Who ran which code in the sessions of a project, in the project's log.

Sessions live in project servers, and executions go on when nobody follows them: every few seconds the hub asks those
projects in which some run which of them have ended. Short ones are told in one entry, `cells_run`, counted together if
they are equal. One that takes longer is told when it begins, `cell_started`, and when it ends, `cell_ended`: that its
end is due is remembered in the store, so that another hub tells it. `look` does all that.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import structlog

from projecthub.errors import HubError, LimitError, StoreUnavailable
from projecthub.hub.command_log import shown
from projecthub.wire.jupyter import ENDED_STATES

if TYPE_CHECKING:
    from projecthub.hub.calls import ProjectCalls
    from projecthub.hub.clock import Clock
    from projecthub.hub.command_log import CommandLog
    from projecthub.store import Store
    from projecthub.wire.ids import AccountId, ProjectId

MAX_OPEN: Final = 5000
"""Executions of a project whose end is awaited; of others nothing is told but that they were begun."""

LOST: Final = "lost"
"""What became of an execution that its project knows no more: it was stopped, or its server died."""

_MOST_BYTES: Final = 2**53
_ASKED_AT_ONCE: Final = 64
_LOOKS: Final = 2
_log = structlog.get_logger()


@dataclass(slots=True)
class _Cell:
    """An execution whose end is awaited.

    Attributes:
        account_id: Who began it; None: the store knows.
        session: The name of its session.
        code: It, as it is shown.
        looks: At how many looks it has run.
        doubts: At how many the project was not there.
        is_stored: Whether the log tells that it has begun, and the store that its end is due.
    """

    account_id: AccountId | None
    session: str
    code: str = ""
    looks: int = 0
    doubts: int = 0
    is_stored: bool = False


class CellLog:
    """Notes what is run in sessions."""

    def __init__(self, store: Store, clock: Clock, calls: ProjectCalls, commands: CommandLog) -> None:
        """Make the service; somebody has to call `look` every few seconds, and `close` at the end."""
        self._store = store
        self._clock = clock
        self._calls = calls
        self._commands = commands
        self._open: defaultdict[ProjectId, dict[str, _Cell]] = defaultdict(dict)
        self._is_loaded = False
        self._asking = asyncio.Semaphore(_ASKED_AT_ONCE)

    def began(
        self, project_id: ProjectId, account_id: AccountId, session: str, id: str, code: str, told: Mapping[str, Any]
    ) -> None:
        """Note that code was given to a session; ``told`` is the execution, as the project tells of it.

        One that has ended already was given before, and is noted already. Its ``id`` is what the hub has given it:
        what the project tells may be anything.
        """
        cells = self._open[project_id]
        if id in cells or _end_state(told) is not None:
            return
        if len(cells) >= MAX_OPEN:
            self._commands.cell_ran(project_id, account_id, shown([code]), session, None, 0, 0.0)
            return
        cells[id] = _Cell(account_id, session, shown([code]))

    async def look(self) -> None:
        """See what has ended, and note it."""
        await self._load()
        waiting = [(project_id, [*cells]) for project_id, cells in self._open.items() if cells]
        for project_id in [each for each, cells in self._open.items() if not cells]:
            del self._open[project_id]
        await asyncio.gather(*(self._look_at(project_id, ids) for project_id, ids in waiting))

    async def close(self) -> None:
        """Have the store remember those that run: this hub will not see their ends."""
        try:
            for project_id, cells in self._open.items():
                for id, cell in cells.items():
                    await self._store_begin(project_id, id, cell)
        except (LimitError, StoreUnavailable) as error:
            _log.error("cells.not_noted", error=error.message)

    async def _load(self) -> None:
        """Take over those whose end another hub has left to tell."""
        if self._is_loaded:
            return
        async with self._store.read() as tx:
            rows = await tx.open_jobs.cells()
        for project_id, session, id in rows:
            self._open[project_id].setdefault(id, _Cell(None, session, is_stored=True))
        self._is_loaded = True

    async def _look_at(self, project_id: ProjectId, ids: list[str]) -> None:
        cells = self._open[project_id]
        try:
            ends = await self._ends(project_id, ids)
            for id in ids:
                cell = cells[id]
                if id in ends:
                    await self._end(project_id, id, cell, ends[id])
                    del cells[id]
                    continue
                cell.looks += 1
                if cell.looks >= _LOOKS:
                    await self._store_begin(project_id, id, cell)
        except (LimitError, StoreUnavailable) as error:  # they are kept for the next look
            _log.error("cells.not_noted", project_id=project_id, error=error.message)

    async def _ends(self, project_id: ProjectId, ids: list[str]) -> dict[str, Mapping[str, Any]]:
        """How those that have ended did, as far as the project tells."""
        if not self._calls.reaches(project_id):
            return {id: {} for id in ids if self._is_lost(project_id, id)}
        try:
            async with self._asking:
                told = await self._calls.ask(project_id, "jupyter.sessions.ends", [{"ids": ids}])
        except HubError:  # perhaps next time
            return {}
        if not isinstance(told, dict):
            return {}
        return {id: end for id in ids if isinstance(end := told.get(id), dict)}

    def _is_lost(self, project_id: ProjectId, id: str) -> bool:
        """Whether the project is not there for the second time: it may be about to be found again."""
        cell = self._open[project_id][id]
        cell.doubts += 1
        return cell.doubts >= _LOOKS

    async def _store_begin(self, project_id: ProjectId, id: str, cell: _Cell) -> None:
        if cell.is_stored or cell.account_id is None:
            return
        event = {"event": "cell_started", "execution_id": id, "session": cell.session, "code": cell.code}
        now = self._clock.now()
        async with self._store.write() as tx:
            if await tx.open_jobs.add_cell(project_id, cell.session, id, cell.account_id, at=now):
                await tx.log.append(project_id, cell.account_id, event, at=now)
        cell.is_stored = True

    async def _end(self, project_id: ProjectId, id: str, cell: _Cell, end: Mapping[str, Any]) -> None:
        state = _end_state(end) or LOST
        written, seconds = _number(end.get("bytes")), _number(end.get("seconds"))
        if not cell.is_stored and cell.account_id is not None:
            self._commands.cell_ran(
                project_id, cell.account_id, cell.code, cell.session, state, int(written), float(seconds)
            )
            return
        event: dict[str, Any] = {"event": "cell_ended", "execution_id": id, "session": cell.session, "state": state}
        event |= {"bytes": int(written), "seconds": round(seconds, 3)}
        async with self._store.write() as tx:
            by = await tx.open_jobs.end_cell(project_id, cell.session, id)
            if by is not None:
                await tx.log.append(project_id, by, event, at=self._clock.now())


def _end_state(told: Mapping[str, Any]) -> str | None:
    """The state of an execution, if it is one that has ended."""
    state = told.get("state")
    return state if isinstance(state, str) and state in ENDED_STATES else None


def _number(told: object) -> int | float:
    """A number that is one: a project's own processes may have answered."""
    is_number = isinstance(told, int | float) and not isinstance(told, bool)
    return told if is_number and 0 <= told < _MOST_BYTES else 0  # type: ignore[operator, return-value]
