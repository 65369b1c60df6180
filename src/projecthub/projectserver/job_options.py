"""The options of a job, checked."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from projecthub.projectserver.arguments import Options, what_to_run

MAX_LOG_BYTES = 1024**3
"""What the log of a job holds at most, unless it is said otherwise."""

_METHOD = "jobs.start"
_LEAST_LOG_BYTES = 4096
_MAX_TIMEOUT_S = 1e9


@dataclass(frozen=True, slots=True, kw_only=True)
class JobOptions:
    """How a job is to run.

    Attributes:
        command: A program, or a script if `bash`.
        args: Its arguments; of a script: appended to it, quoted.
        bash: Whether bash runs the command.
        directory: Working directory, absolute.
        timeout_s: After that many seconds all of it is killed; None: never.
        cpu_limit_s: Processor time of each process of a script in whole seconds; None: no limit.
        environment: Variables to add.
        has_stdin: Whether something may be written to its standard input, which is empty otherwise.
        max_log_bytes: What its log may take on disk.
        err_on_exit: What `system.exec` was told for `async_get`.
        max_output: The same.
        shown: A program and arguments to tell of instead, where the true ones say nothing to people; empty: those.
    """

    command: str
    args: Sequence[str]
    bash: bool
    directory: str
    timeout_s: float | None
    cpu_limit_s: int | None
    environment: Mapping[str, str]
    has_stdin: bool = False
    max_log_bytes: int = MAX_LOG_BYTES
    err_on_exit: bool = False
    max_output: int = 1024 * 1024
    shown: Sequence[str] = ()


def parse_job(arguments: Sequence[object], *, home: str) -> JobOptions:
    """Check the options of ``jobs.start``. Options that are not known are ignored.

    Raises:
        InvalidArgument: An option is not of its type or out of its range.
    """
    options = Options.of(_METHOD, arguments)
    timeout_s = options.number("timeout", math.inf, at_most=_MAX_TIMEOUT_S)
    return JobOptions(
        **what_to_run(options, home=home),
        timeout_s=None if timeout_s == math.inf else timeout_s,
        cpu_limit_s=None,
        has_stdin=options.flag("stdin", False),
        max_log_bytes=int(max(_LEAST_LOG_BYTES, options.number("max_log_bytes", MAX_LOG_BYTES, at_most=1e15))),
    )
