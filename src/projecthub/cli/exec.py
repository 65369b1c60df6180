"""`projecthub exec`: a command in a project, as if it ran here."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from projecthub.cli import output
from projecthub.cli.projects import ProjectArgument
from projecthub.cli.references import ProjectFinder
from projecthub.cli.session import AsJson, Session
from projecthub.errors import HubError, ProjectError
from projecthub.wire.jobs import JobState

if TYPE_CHECKING:
    from projecthub.client._sync.jobs import Job

_FORWARDED: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)
_PATIENCE: Final = 3
_STDIN_BYTES: Final = 65536


def exec(
    context: typer.Context,
    project: ProjectArgument,
    command: Annotated[list[str], typer.Argument(metavar="-- COMMAND...", help="A program and its arguments.")],
    interactive: Annotated[
        bool, typer.Option("--interactive", "-i", help="Pass standard input on; it is empty otherwise.")
    ] = False,
    detach: Annotated[bool, typer.Option("--detach", "-d", help="Print the job's id and leave it running.")] = False,
    bash: Annotated[bool, typer.Option("--bash", help="Run the words as a bash script.")] = False,
    path: Annotated[
        str | None, typer.Option("--path", "-C", help="Directory to run in, relative to the home.", show_default=False)
    ] = None,
    env: Annotated[list[str] | None, typer.Option("--env", "-e", help="NAME=VALUE; several are fine.")] = None,
    timeout: Annotated[
        float | None, typer.Option(help="Seconds after which it is killed. Default: never.", show_default=False)
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Run a command in a project; the project is started if it does not run.

    What it writes comes out here, its exit code is this one's (128 + n if signal n ended it), and Ctrl-C and SIGTERM
    are passed on; at the third Ctrl-C it is killed. It is a job: `projecthub jobs` finds it again.
    """
    session = Session.of(context, as_json)
    variables = dict(_variable(context, each) for each in env or ())
    words: dict[str, Any] = {"command": " ".join(command)} if bash else {"command": command[0], "args": command[1:]}
    with session.hub() as hub:
        project_id = ProjectFinder(hub).find(project)
        job = hub.project(project_id).jobs.start(
            **words, bash=bash or None, path=path, env=variables or None, timeout=timeout, stdin=interactive
        )
        if detach:
            output.print_json(job.info) if session.as_json else print(job.id)
            return
        code = attend(job, interactive)
    raise typer.Exit(code)


def _variable(context: typer.Context, text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise typer.BadParameter(f"{text!r} is not NAME=VALUE", ctx=context)
    return name, value


def attend(job: Job, interactive: bool) -> int:
    """Pass on what goes in and out until the job has ended; its exit code."""
    if interactive:
        threading.Thread(target=_pass_input, args=(job,), daemon=True).start()
    with _passing_signals(job):
        write_output(job)
    if job.state == JobState.LOST:
        raise ProjectError(f"job {job.id} is lost: the project was stopped, or its server died")
    if job.info["error"]:
        raise ProjectError(job.info["error"])
    return 1 if job.exit_code is None else job.exit_code


def write_output(job: Job, *, follow: bool = True) -> None:
    """Write what a job puts out to this process's own outputs, byte for byte."""
    outputs = {"stdout": sys.stdout.fileno(), "stderr": sys.stderr.fileno()}
    sys.stdout.flush()
    for piece in job.output(follow=follow):
        left = memoryview(piece.data)
        while left:
            left = left[os.write(outputs[piece.stream], left) :]


def _pass_input(job: Job) -> None:
    with contextlib.suppress(HubError, OSError):  # it reads no more, or has ended: the other side tells how
        while data := os.read(sys.stdin.fileno(), _STDIN_BYTES):
            job.write(data)
        job.write(b"", close=True)


@contextlib.contextmanager
def _passing_signals(job: Job) -> Iterator[None]:
    """Send the signals that this process gets to the job."""
    interrupts = 0

    def send(name: str) -> None:
        with contextlib.suppress(HubError):
            job.signal(name)

    def pass_on(number: int, _: object) -> None:
        nonlocal interrupts
        interrupts += number == signal.SIGINT
        name = "SIGKILL" if interrupts >= _PATIENCE else signal.Signals(number).name
        # Not here: the call that this interrupts may hold what another one needs.
        threading.Thread(target=send, args=(name,), daemon=True).start()

    before = {number: signal.signal(number, pass_on) for number in _FORWARDED}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
