"""Who ran what in a project, in the project's log.

Jobs are noted when they begin, and when a hub learns of their end: that is remembered in the store, so that each end is
told once, whatever hub sees it. Blocking commands are gathered and written every few seconds, for a write at each would
double what they cost: of those a hub that is killed loses the last seconds. So it is with code in kernels. `flush`
writes them.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import structlog

from projecthub.errors import ExecFailed, HubError, InvalidArgument, LimitError, StoreUnavailable
from projecthub.hub.audited_calls import storable
from projecthub.wire.ids import is_uuid

if TYPE_CHECKING:
    from projecthub.hub.clock import Clock
    from projecthub.store import Store
    from projecthub.wire.ids import AccountId, ProjectId
    from projecthub.wire.jobs import Job

    _Whose = tuple[ProjectId, AccountId, str]
    """A project, who ran something in it, and of which kind that was."""

MAX_SHOWN: Final = 300
"""Characters of a command that the log keeps."""

MAX_SIGNAL: Final = 20
"""Characters of a signal's name that the log keeps."""

MAX_OUTCOME: Final = 100
"""Characters of the name of an error that the log keeps."""

COMMANDS: Final = "commands"
CELLS: Final = "cells"

MAX_LISTED: Final = 100
"""Different commands or cells in one entry; it counts the others."""

MAX_UNWRITTEN: Final = 200
"""Batches that wait for a store that cannot be written; older ones are dropped, and the hub's log says so."""

_CODE: Final = re.compile(r"exited with nonzero code (\d{1,4}) -- stderr=")

_log = structlog.get_logger()


@dataclass(slots=True)
class Note:
    """A blocking command, until it has ended; `result` is to be set if it does."""

    result: object = None


@dataclass(slots=True)
class _Gathered:
    """What one account ran in one project since the last entry: commands, or cells of code."""

    runs: dict[tuple[object, ...], dict[str, Any]] = field(default_factory=dict)
    others: int = 0

    def add(self, what: Mapping[str, object], written_bytes: int, seconds: float) -> None:
        key = tuple(what.values())
        if key not in self.runs and len(self.runs) >= MAX_LISTED:
            self.others += 1
            return
        run = self.runs.setdefault(key, {**what, "times": 0, "bytes": 0, "seconds": 0.0})
        run["times"] += 1
        run["bytes"] += written_bytes
        run["seconds"] = round(run["seconds"] + seconds, 3)

    def event(self, kind: str) -> dict[str, Any]:
        more = {"others": self.others} if self.others else {}
        return {"event": f"{kind}_run", kind: list(self.runs.values()), **more}


class CommandLog:
    """Notes what is run in projects."""

    def __init__(self, store: Store, clock: Clock) -> None:
        """Make the service; somebody has to call `flush` every few seconds and at the end."""
        self._store = store
        self._clock = clock
        self._gathered: dict[_Whose, _Gathered] = {}
        self._unwritten: list[dict[_Whose, _Gathered]] = []

    @contextmanager
    def command(self, project_id: ProjectId, account_id: AccountId, options: Mapping[str, Any]) -> Iterator[Note]:
        """Note a blocking command that runs within the block, however it ends. One that never began is not noted."""
        began, note = time.perf_counter(), Note()
        outcome: int | str | None = None
        is_to_note = True
        try:
            yield note
            result = note.result if isinstance(note.result, dict) else {}
            outcome, is_to_note = _code_or_none(result.get("exit_code")), result.get("type") != "async"
        except (InvalidArgument, LimitError):
            is_to_note = False
            raise
        except HubError as error:
            outcome = _exit_code(error)
            raise
        except BaseException:  # its caller went away
            outcome = "left"
            raise
        finally:
            if is_to_note:
                written = 0 if not isinstance(note.result, dict) else _size(note.result)
                what = {"command": _shown(options), "exit_code": outcome}
                self._gather(project_id, account_id, COMMANDS, what, written, time.perf_counter() - began)

    @contextmanager
    def cell(self, project_id: ProjectId, account_id: AccountId, code: object) -> Iterator[Note]:
        """Note some code that runs in a kernel of its own within the block, as `command` does.

        Its result is to be told as ``{"outcome", "bytes"}``.
        """
        began, note = time.perf_counter(), Note()
        outcome: str | None = None
        try:
            yield note
        except (InvalidArgument, LimitError):
            raise
        except BaseException as error:  # not of a hub's kind: its caller went away
            outcome = error.code if isinstance(error, HubError) else "left"
            self.cell_ran(project_id, account_id, shown([code]), None, outcome, 0, time.perf_counter() - began)
            raise
        result = note.result if isinstance(note.result, dict) else {}
        outcome, written = str(result.get("outcome"))[:MAX_OUTCOME], int(result.get("bytes", 0))
        self.cell_ran(project_id, account_id, shown([code]), None, outcome, written, time.perf_counter() - began)

    def cell_ran(
        self,
        project_id: ProjectId,
        account_id: AccountId,
        code: str,
        session: str | None,
        outcome: str | None,
        written_bytes: int,
        seconds: float,
    ) -> None:
        """Note some code, as it is `shown`, that has run in a session, or in a kernel of its own."""
        what = {"code": code, "session": session, "outcome": outcome}
        self._gather(project_id, account_id, CELLS, what, written_bytes, seconds)

    def _gather(
        self,
        project_id: ProjectId,
        account_id: AccountId,
        kind: str,
        what: Mapping[str, object],
        written_bytes: int,
        seconds: float,
    ) -> None:
        # What a project tells may be what no store takes, and one transaction notes the commands of all projects.
        kept = {
            name: storable(value, MAX_SHOWN + 3) if isinstance(value, str) else value for name, value in what.items()
        }
        whose = project_id, account_id, kind
        self._gathered.setdefault(whose, _Gathered()).add(kept, written_bytes, seconds)

    async def flush(self) -> None:
        """Write what was gathered; what cannot be written now is kept for the next time."""
        if self._gathered:
            self._unwritten.append(self._gathered)
            self._gathered = {}
        if not self._unwritten:
            return
        batches = [*self._unwritten]
        try:
            async with self._store.write() as tx:
                for batch in batches:
                    for (project_id, account_id, kind), runs in batch.items():
                        await tx.log.append(project_id, account_id, runs.event(kind), at=self._clock.now())
        except HubError as error:
            dropped = self._unwritten[:-MAX_UNWRITTEN]
            del self._unwritten[:-MAX_UNWRITTEN]
            _log.error("commands.not_noted", error=error.message, waiting=len(batches), dropped=len(dropped))
        else:
            del self._unwritten[: len(batches)]

    async def job_started(
        self, project_id: ProjectId, account_id: AccountId, job_id: object, options: Mapping[str, Any]
    ) -> None:
        """Note that a job has begun, and remember that its end is still to be noted."""
        if not is_uuid(job_id):  # whatever answered is no project server
            return
        event = {"event": "job_started", "job_id": job_id, "command": _shown(options)}
        try:
            async with self._store.write() as tx:
                await tx.log.append(project_id, account_id, event, at=self._clock.now())
                await tx.open_jobs.add(project_id, job_id, account_id, at=self._clock.now())
        except (LimitError, StoreUnavailable) as error:  # it runs all the same, and its caller has to know its id
            _log.error("job.not_noted", project_id=project_id, job_id=job_id, error=error.message)

    async def jobs_without_end(self) -> list[tuple[ProjectId, str]]:
        """Jobs whose end is still to be noted, oldest first."""
        async with self._store.read() as tx:
            return await tx.open_jobs.all()

    async def job_ended(self, project_id: ProjectId, job_id: str, job: Job | None) -> None:
        """Note how a job has ended, once; None: it was removed before anybody saw its end."""
        event: dict[str, Any] = {"event": "job_ended", "job_id": job_id, "state": "removed"}
        if job is not None:
            event |= {
                "state": job["state"],
                "exit_code": _code_or_none(job["exit_code"]),
                "signal": None if job["signal"] is None else storable(job["signal"][:MAX_SIGNAL], MAX_SIGNAL),
                "bytes": job["output_bytes"],
                "ended_at": job["ended_at"],
            }
        async with self._store.write() as tx:
            by = await tx.open_jobs.end(project_id, job_id)
            if by is not None:
                await tx.log.append(project_id, by, event, at=self._clock.now())


def _exit_code(error: HubError) -> int | str:
    """The exit code that the text of a failed command tells, else the error's code."""
    found = _CODE.search(error.message) if isinstance(error, ExecFailed) else None
    return int(found[1]) if found else error.code


def _code_or_none(code: object) -> int | None:
    """An exit code, if it is one: a project's own processes may have answered."""
    return code if isinstance(code, int) and not isinstance(code, bool) and abs(code) < 2**31 else None


def _size(result: Mapping[str, Any]) -> int:
    return sum(len(str(result.get(name, ""))) for name in ("stdout", "stderr"))


def _shown(options: Mapping[str, Any]) -> str:
    """The command and its arguments, as one text of bounded length."""
    args = options.get("args")
    return shown([options.get("command"), *(args[:MAX_SHOWN] if isinstance(args, list) else [])])


def shown(words: Sequence[object]) -> str:
    """Words as one text of bounded length, which every store takes."""
    text = " ".join(str(word)[:MAX_SHOWN] for word in words)
    return storable(text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]}...", MAX_SHOWN + 3)
