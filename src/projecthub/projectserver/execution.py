"""The method ``system.exec``: options in, a command run, the wire's result or error text out.

Source: Wire contract 5.6.
"""

from __future__ import annotations

import asyncio
import errno
import json
import math
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from projecthub.errors import ExecFailed
from projecthub.projectserver import commands
from projecthub.projectserver.arguments import Options, what_to_run
from projecthub.projectserver.async_calls import AsyncCalls
from projecthub.projectserver.job_options import JobOptions
from projecthub.projectserver.jobs import Jobs, starter_of
from projecthub.wire.jobs import EXEC_TIMEOUT_S

_METHOD = "system.exec"
_MAX_TIMEOUT_S = 1e9
_MAX_OUTPUT = 10 * 1024 * 1024
_ASYNC_MAX_OUTPUT = 1024 * 1024
_SHOWN_STDERR = 1024
# What the system says when a program cannot be run at all; the wire has a result for these, an error for others.
_NO_PROGRAM = (errno.ENOENT, errno.EACCES, errno.EAGAIN, errno.EMFILE, errno.ENFILE)


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecOptions:
    """The options of ``system.exec``, checked.

    Attributes:
        command: A program, or a script if `bash`.
        args: Its arguments; of a script: appended to it, quoted.
        bash: Whether bash runs the command.
        directory: Working directory, absolute.
        timeout_s: After that many seconds the process group is killed.
        cpu_limit_s: Processor time of each process of a script in whole seconds; None: no limit.
        err_on_exit: Whether an exit code other than 0 is an error.
        max_output: Characters kept of each output.
        environment: Variables to add.
    """

    command: str
    args: Sequence[str]
    bash: bool
    directory: str
    timeout_s: float
    cpu_limit_s: int | None
    err_on_exit: bool
    max_output: int
    environment: Mapping[str, str]


def parse(arguments: Sequence[object], *, home: str) -> ExecOptions:
    """Check the options of a call. Options that are not known are ignored.

    Raises:
        InvalidArgument: An option is not of its type or out of its range.
    """
    options = Options.of(_METHOD, arguments)
    usual_output = _ASYNC_MAX_OUTPUT if options.flag("async_call", False) else _MAX_OUTPUT
    timeout_s = options.number("timeout", EXEC_TIMEOUT_S, at_most=_MAX_TIMEOUT_S)
    limited = options.flag("ulimit_timeout", True)
    return ExecOptions(
        **what_to_run(options, home=home),
        timeout_s=timeout_s,
        cpu_limit_s=math.ceil(timeout_s) if limited else None,
        err_on_exit=options.flag("err_on_exit", True),
        max_output=int(min(max(options.number("max_output", usual_output, at_most=math.inf), 1), _MAX_OUTPUT)),
    )


@dataclass(slots=True)
class _SharedRun:
    """A run that several calls wait for. It ends when all of them have gone away."""

    task: asyncio.Task[dict[str, object]]
    waiting: int = 0

    async def outcome(self) -> dict[str, object]:
        self.waiting += 1
        try:
            return await asyncio.shield(self.task)
        finally:
            self.waiting -= 1
            if not self.waiting:
                self.task.cancel()


class Executor:
    """Runs the commands of a project."""

    def __init__(self, *, home: str, environment: Mapping[str, str], session_id: str, jobs: Jobs) -> None:
        """Make one.

        Args:
            home: The project's home.
            environment: The variables that every command gets.
            session_id: Stands in the names of temporary files, so that an engine that shares ``/tmp`` with us can
                remove what a killed server has left.
            jobs: What does what is not waited for.
        """
        self._scratch_prefix = f"exec-{session_id}-"
        self._home = home
        self._environment = environment
        self._jobs = AsyncCalls(jobs)
        self._shared: dict[str, _SharedRun] = {}

    async def execute(self, arguments: Sequence[object]) -> dict[str, object]:
        """Run a command, or ask after one. Calls with the same ``aggregate`` and the same options share one run.

        Returns:
            ``{"type": "blocking", "stdout", "stderr", "exit_code"}``, or for an asynchronous call what `AsyncCalls`
            says.

        Raises:
            InvalidArgument: An option is wrong.
            ExecFailed: The command could not run, was killed, or failed while ``err_on_exit`` is on.
            NotFound: There is no asynchronous call of this id.
        """
        given = Options.of(_METHOD, arguments)
        if (job_id := given.text("async_get")) is not None:
            return await self._jobs.get(
                job_id, wait=given.flag("async_await", False), stats=given.flag("async_stats", False)
            )
        options = parse(arguments, home=self._home)
        if given.values.get("aggregate") in (None, False):
            return await self._do(options, given, arguments)
        key = json.dumps(given.values, sort_keys=True)
        run = self._shared.get(key)
        if run is None:
            run = self._shared[key] = _SharedRun(asyncio.create_task(self._do(options, given, arguments)))
            run.task.add_done_callback(lambda _: self._shared.pop(key))
        return await run.outcome()

    async def _do(self, options: ExecOptions, given: Options, arguments: Sequence[object]) -> dict[str, object]:
        if given.flag("async_call", False):
            return await self._jobs.start(_as_job(options), starter_of(arguments))
        return await self._run(options)

    async def _run(self, options: ExecOptions) -> dict[str, object]:
        if not options.bash:
            line = " ".join([options.command, *options.args])
            name = f"'{options.command}' (args={' '.join(options.args)})"
            return await self._spawn([options.command, *options.args], line, name, options)
        with tempfile.TemporaryDirectory(dir="/tmp", prefix=self._scratch_prefix) as directory:
            script = Path(directory, "a.sh")
            script.write_text(commands.make_script(options.command, options.args, options.cpu_limit_s))
            return await self._spawn(["bash", str(script)], f"bash {script}", options.command, options)

    async def _spawn(self, argv: list[str], line: str, name: str, options: ExecOptions) -> dict[str, object]:
        """Run ``argv``, called ``line`` in the text of a kill and ``name`` in the text of a failure."""
        try:
            outcome = await commands.run(
                argv,
                directory=options.directory,
                environment={**self._environment, **options.environment},
                timeout_s=options.timeout_s,
                max_characters=options.max_output,
            )
        except OSError as error:
            if error.errno not in _NO_PROGRAM:
                raise ExecFailed(f"error Error: spawn {_code(error)}") from error
            outcome = commands.Outcome(stdout="", stderr=_spawn_error(error, argv), exit_code=1, timed_out=False)
        if outcome.timed_out:
            raise ExecFailed(f"killed command '{line}'")
        if outcome.exit_code and options.err_on_exit:
            raise ExecFailed(
                f"command '{name}' exited with nonzero code {outcome.exit_code} "
                f"-- stderr='{outcome.stderr[:_SHOWN_STDERR]}'",
                exit_code=outcome.exit_code,
            )
        return {
            "type": "blocking",
            "stdout": outcome.stdout,
            "stderr": outcome.stderr,
            "exit_code": outcome.exit_code,
        }


def _as_job(options: ExecOptions) -> JobOptions:
    return JobOptions(
        command=options.command,
        args=options.args,
        bash=options.bash,
        directory=options.directory,
        timeout_s=options.timeout_s,
        cpu_limit_s=options.cpu_limit_s,
        environment=options.environment,
        err_on_exit=options.err_on_exit,
        max_output=options.max_output,
    )


def _code(error: OSError) -> str:
    return errno.errorcode.get(error.errno or 0, "EIO")


def _spawn_error(error: OSError, argv: Sequence[str]) -> str:
    return json.dumps(
        {
            "errno": -(error.errno or 0),
            "code": _code(error),
            "syscall": f"spawn {argv[0]}",
            "path": argv[0],
            "spawnargs": list(argv[1:]),
        },
        separators=(",", ":"),
        ensure_ascii=False,
    )
