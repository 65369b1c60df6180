"""The method ``system.exec``: options in, a command run, the wire's result or error text out.

Source: Wire contract 5.6.
"""

from __future__ import annotations

import asyncio
import errno
import json
import math
import shlex
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from projecthub.errors import ExecFailed, InvalidArgument
from projecthub.projectserver import commands
from projecthub.projectserver.arguments import Options

_METHOD = "system.exec"
_ASYNC_OPTIONS = ("async_call", "async_get", "async_await", "async_stats")
_TIMEOUT_S = 60.0
_MAX_TIMEOUT_S = 1e9
_MAX_OUTPUT = 10 * 1024 * 1024
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
    for name in _ASYNC_OPTIONS:
        if options.values.get(name):
            raise InvalidArgument(f"option '{name}' of {_METHOD} is not offered: call without it and wait for the end")
    command = options.text("command")
    if not command or not command.strip():
        raise options.refuse("command", "the program or the script to run, as a string")
    args = options.texts("args")
    timeout_s = options.number("timeout", _TIMEOUT_S, at_most=_MAX_TIMEOUT_S)
    limited = options.flag("ulimit_timeout", True)
    return ExecOptions(
        command=command,
        args=args,
        bash=options.flag("bash", False) or (not args and any(character.isspace() for character in command)),
        directory=str(Path(home, options.text("cwd") or options.text("path") or "")),
        timeout_s=timeout_s,
        cpu_limit_s=math.ceil(timeout_s) if limited else None,
        err_on_exit=options.flag("err_on_exit", True),
        max_output=int(min(max(options.number("max_output", _MAX_OUTPUT, at_most=math.inf), 1), _MAX_OUTPUT)),
        environment=options.variables("env"),
    )


class Executor:
    """Runs the commands of a project."""

    def __init__(self, *, home: str, environment: Mapping[str, str], session_id: str) -> None:
        """Make one.

        Args:
            home: The project's home.
            environment: The variables that every command gets.
            session_id: Stands in the names of temporary files, so that an engine that shares ``/tmp`` with us can
                remove what a killed server has left.
        """
        self._scratch_prefix = f"exec-{session_id}-"
        self._home = home
        self._environment = environment
        self._shared: dict[str, asyncio.Task[dict[str, object]]] = {}

    async def execute(self, arguments: Sequence[object]) -> dict[str, object]:
        """Run a command. Calls with the same ``aggregate`` and the same options share one run.

        Returns:
            ``{"type": "blocking", "stdout", "stderr", "exit_code"}``.

        Raises:
            InvalidArgument: An option is wrong.
            ExecFailed: The command could not run, was killed, or failed while ``err_on_exit`` is on.
        """
        options = parse(arguments, home=self._home)
        given = Options.of(_METHOD, arguments).values
        if given.get("aggregate") in (None, False):
            return await self._run(options)
        key = json.dumps(given, sort_keys=True)
        task = self._shared.get(key)
        if task is None:
            task = self._shared[key] = asyncio.create_task(self._run(options))
            task.add_done_callback(lambda _: self._shared.pop(key))
        return await asyncio.shield(task)

    async def _run(self, options: ExecOptions) -> dict[str, object]:
        if not options.bash:
            line = " ".join([options.command, *options.args])
            name = f"'{options.command}' (args={' '.join(options.args)})"
            return await self._spawn([options.command, *options.args], line, name, options)
        with tempfile.TemporaryDirectory(dir="/tmp", prefix=self._scratch_prefix) as directory:
            script = Path(directory, "a.sh")
            script.write_text(_script(options))
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


def _script(options: ExecOptions) -> str:
    """The script file. Its first line is ours in any case, so that line numbers do not depend on options."""
    limit = "" if options.cpu_limit_s is None else f"ulimit -t {options.cpu_limit_s} 2>/dev/null"
    command = " ".join([options.command, *(shlex.quote(arg) for arg in options.args)])
    return f"{limit}\n{command}"


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
