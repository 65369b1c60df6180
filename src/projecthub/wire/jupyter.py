"""Sessions of kernels as they stand on the native API: named kernels that keep their state from call to call."""

from __future__ import annotations

from enum import StrEnum
from typing import Any, Final, TypedDict

SESSION_NAME: Final = "[A-Za-z0-9][A-Za-z0-9._-]{0,99}"
"""What a session may be called, as a regular expression."""

MAX_CODE: Final = 1_000_000
"""Characters that an execution may have."""


class SessionState(StrEnum):
    """How it stands with a session."""

    STARTING = "starting"
    IDLE = "idle"
    BUSY = "busy"
    DEAD = "dead"
    """Its kernel has died; a restart gives it another one."""


class ExecutionState(StrEnum):
    """How it stands with an execution."""

    WAITING = "waiting"
    """Others come first."""
    RUNNING = "running"
    OK = "ok"
    ERROR = "error"
    """It raised; the last of its outputs tells."""
    DIED = "died"
    """Its kernel died."""
    ABORTED = "aborted"
    """An interrupt, a restart or the end of the session came before its end."""


ENDED_STATES: Final = frozenset({ExecutionState.OK, ExecutionState.ERROR, ExecutionState.DIED, ExecutionState.ABORTED})


class JupyterSession(TypedDict):
    """A session. `opened_at` in milliseconds since the epoch; `path` is relative to the home."""

    name: str
    kernel: str
    path: str
    state: str
    pid: int | None
    opened_at: int


class JupyterExecution(TypedDict):
    """Code given to a session.

    Times are in milliseconds since the epoch. `outputs` is how many there have been; those before `first_output` are
    not kept any more.
    """

    id: str
    code: str
    state: str
    execution_count: int | None
    created_at: int
    started_at: int | None
    ended_at: int | None
    first_output: int
    outputs: int


class JupyterCompletion(TypedDict):
    """What may stand in place of the characters from `cursor_start` to `cursor_end`."""

    matches: list[str]
    cursor_start: int
    cursor_end: int
    metadata: dict[str, Any]


class JupyterSessionOutput(TypedDict, total=False):
    """An output of an execution, as notebooks have them.

    `output_type` is `stream` (`name`, `text`), `display_data` or `execute_result` (`data`, `metadata`), `error`
    (`ename`, `evalue`, `traceback`); or `update_display_data`, `clear_output` (`wait`), which change earlier ones.
    """

    output_type: str
    name: str
    text: str
    data: dict[str, Any]
    metadata: dict[str, Any]
    transient: dict[str, Any]
    execution_count: int
    ename: str
    evalue: str
    traceback: list[str]
    wait: bool
