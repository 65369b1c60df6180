"""What the hub has promised of each project, from what its clients were answered.

A project's run state, and whether it is deleted, are seen as registers that calls write. A call that was answered has
written at some moment between its begin and its end. One that was refused, or not answered at all, may have written
or not. The last write decides: it is one that no certain write began after. Times are seconds since the epoch.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from campaign.plan import Op
from projecthub.errors import HubError, TransportError


class Fate(StrEnum):
    """How a call ended."""

    ANSWERED = "answered"
    REFUSED = "refused"
    UNANSWERED = "no answer"


RUNNING: Final = "running"
STOPPED: Final = "stopped"
ERROR: Final = "error"

STARTING_OPS: Final = frozenset({Op.CREATE_STARTED, Op.START, Op.RESTART, Op.TOUCH, Op.COUNT, Op.FILL})
STOPPING_OPS: Final = frozenset({Op.STOP, Op.DELETE})
CREATING_OPS: Final = frozenset({Op.CREATE, Op.CREATE_STARTED, Op.CREATE_FROM_SHARE})

_START_FAILED: Final = r"^the project could not be started: "
_REFUSALS: Final = (
    (r"is deleted; undelete it first", None),
    (r"the start was cancelled by a stop|was cancelled by a stop; start it again", STOPPED),
    (_START_FAILED, ERROR),
    (r"the project server (is not there|ended before it answered)|was stopped before the call reached it", RUNNING),
    (r"(?s)^command '.*' exited with nonzero code (137|143) ", RUNNING),
    (r"^(ENOENT: )?no such file|^cannot (read|write) '.*changed meanwhile", None),
    (r"the hub is stopping; ask again when it is back", None),
)
"""What may be refused, with the state that the refusal may stand for. Any other text is a failure of the hub."""


@dataclass(frozen=True, slots=True)
class Write:
    """Something that may have set a register.

    Attributes:
        value: To what.
        began: When at the earliest.
        ended: When at the latest.
        certain: Whether it certainly has.
        why: For `ERROR`: what its text must look like.
    """

    value: str
    began: float
    ended: float
    certain: bool = False
    why: str | None = None


def possible(writes: Iterable[Write]) -> list[Write]:
    """The writes that may have been the last one."""
    listed = list(writes)
    latest = max((write.began for write in listed if write.certain), default=float("-inf"))
    return [write for write in listed if write.ended > latest or (write.certain and write.began == latest)]


@dataclass
class ProjectPromises:
    """One project, as its clients know it. Safe to use from several threads.

    Attributes:
        project_id: Its id.
        runs: Writes of its run state.
        deletions: Writes of whether it is deleted: ``deleted`` or ``there``.
        counts: For each client the highest count that was answered, and the highest that was asked for.
        filled: Whether the directory of many files was answered.
        copies: For each path of a marker that was copied here, the least count that it may hold.
        trees: Paths to which the directory of many files was copied, all of it.
        history: Everything that was done to it, for people.
    """

    project_id: str
    runs: list[Write] = field(default_factory=list)
    deletions: list[Write] = field(default_factory=list)
    counts: dict[int, tuple[int, int]] = field(default_factory=dict)
    filled: bool = False
    copies: dict[str, int] = field(default_factory=dict)
    trees: set[str] = field(default_factory=set)
    history: list[tuple[float, str]] = field(default_factory=list)
    answers: list[tuple[Op, str]] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def note(self, at: float, text: str) -> None:
        """Add to the history."""
        with self._lock:
            self.history.append((at, text))

    def next_count(self, client: int) -> int:
        """A count that this client has not asked for yet; from now on the marker may hold it."""
        with self._lock:
            answered, asked = self.counts.get(client, (0, 0))
            self.counts[client] = (answered, asked + 1)
            return asked + 1

    def counted(self, client: int, count: int) -> None:
        """A count was answered: the marker will never again hold less."""
        with self._lock:
            answered, asked = self.counts[client]
            self.counts[client] = (max(answered, count), asked)

    def copied(self, path: str, least: int) -> None:
        """A marker was copied here that held at least that count; a copy never puts an older file over a newer one."""
        with self._lock:
            self.copies[path] = max(least, self.copies.get(path, 0))

    def called(self, op: Op, began: float, ended: float, outcome: object) -> None:
        """A call has come to its end.

        Args:
            op: Which.
            began: When it was sent.
            ended: When its end was seen.
            outcome: The reply, or the error.
        """
        fate = fate_of(outcome)
        certain = fate is Fate.ANSWERED
        with self._lock:
            if op in STARTING_OPS:
                self.runs.append(Write(RUNNING, began, ended, certain))
            elif op in STOPPING_OPS or op in CREATING_OPS:
                self.runs.append(Write(STOPPED, began, ended, certain))
            if op in CREATING_OPS or op is Op.UNDELETE:
                self.deletions.append(Write("there", began, ended, certain))
            elif op is Op.DELETE:
                self.deletions.append(Write("deleted", began, ended, certain))
            if fate is Fate.REFUSED:
                state = refused_state(str(outcome))
                if state is not None:
                    self.runs.append(Write(state, began, ended, why=_START_FAILED if state == ERROR else None))
            if certain and isinstance(outcome, dict) and isinstance(outcome.get("time"), str):
                self.answers.append((op, outcome["time"]))


def fate_of(outcome: object) -> Fate:
    """How a call ended, from its reply or its error."""
    if isinstance(outcome, TransportError):
        return Fate.UNANSWERED
    return Fate.REFUSED if isinstance(outcome, HubError) else Fate.ANSWERED


def is_expected(refusal: str) -> bool:
    """Whether a refusal is one that faults may lead to."""
    return any(re.search(pattern, refusal) for pattern, _ in _REFUSALS)


def refused_state(refusal: str) -> str | None:
    """The state that a refusal may stand for, if it may stand for one."""
    return next((state for pattern, state in _REFUSALS if re.search(pattern, refusal)), None)
