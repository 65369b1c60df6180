"""`projecthub jupyter`: code in the kernels of projects."""

from __future__ import annotations

import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer

from projecthub.cli import output
from projecthub.cli.exec import attend
from projecthub.cli.projects import ProjectArgument
from projecthub.cli.references import ProjectFinder
from projecthub.cli.session import AsJson, Session
from projecthub.wire.jupyter import ExecutionState

if TYPE_CHECKING:
    from projecthub.client._sync.project_jupyter import JupyterExecution, JupyterSession, ProjectJupyter

jupyter = typer.Typer(name="jupyter", help="Jupyter: code in the kernels of a project.", no_args_is_help=True)


@jupyter.command()
def kernels(context: typer.Context, project: ProjectArgument, as_json: AsJson = False) -> None:
    """List the kernels that a project has; it is started if it does not run."""
    session = Session.of(context, as_json)
    with _jupyter_of(session, project) as jupyter:
        found = jupyter.kernels()
    if session.as_json:
        output.print_json(found)
        return
    rows = [(each["name"], each["display_name"], each["language"]) for each in found]
    output.print_table(("KERNEL", "NAME", "LANGUAGE"), rows)


@jupyter.command()
def sessions(context: typer.Context, project: ProjectArgument, as_json: AsJson = False) -> None:
    """List the sessions that are open in a project."""
    session = Session.of(context, as_json)
    with _jupyter_of(session, project) as jupyter:
        found = jupyter.sessions()
    if session.as_json:
        output.print_json(found)
        return
    rows = [
        (each["name"], each["kernel"], each["state"], output.local_time(each["opened_at"]), each["path"] or ".")
        for each in found
    ]
    output.print_table(("SESSION", "KERNEL", "STATE", "OPENED", "DIRECTORY"), rows)


@jupyter.command("exec")
def exec_(
    context: typer.Context,
    project: ProjectArgument,
    code: Annotated[str, typer.Argument(help="The code; '-' reads it from standard input.")],
    name: Annotated[
        str | None,
        typer.Option("--session", "-s", help="Run in this session, and leave it open. Default: in a new kernel."),
    ] = None,
    kernel: Annotated[
        str | None, typer.Option("--kernel", "-k", help="The kernel's name. Default: python3.", show_default=False)
    ] = None,
    path: Annotated[
        str | None, typer.Option("--path", "-C", help="Directory to run in, relative to the home.", show_default=False)
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Run code in a kernel, and print what it puts out as it comes; Ctrl-C interrupts it.

    Exit code 1 if it raises.
    """
    session = Session.of(context, as_json)
    code = sys.stdin.read() if code == "-" else code
    with _jupyter_of(session, project) as jupyter:
        chosen = jupyter.session(name or f"exec-{uuid.uuid4()}", kernel, path=path).open()
        try:
            execution = chosen.execute(code)
            _attend(session, chosen, execution)
        finally:
            if name is None:
                chosen.close()
    raise typer.Exit(0 if execution.state == ExecutionState.OK else 1)


@jupyter.command()
def run(
    context: typer.Context,
    project: ProjectArgument,
    path: Annotated[str, typer.Argument(help="The notebook, relative to the home.")],
    kernel: Annotated[
        str | None,
        typer.Option("--kernel", "-k", help="The kernel's name. Default: the notebook's.", show_default=False),
    ] = None,
    allow_errors: Annotated[bool, typer.Option("--allow-errors", help="Go on after a cell that raises.")] = False,
    detach: Annotated[bool, typer.Option("--detach", "-d", help="Print the job's id and leave it running.")] = False,
    as_json: AsJson = False,
) -> None:
    """Run a notebook in a project, and write its outputs into it after each cell.

    It is a job: `projecthub jobs` finds it again. Its exit code is this one's.
    """
    session = Session.of(context, as_json)
    with _jupyter_of(session, project) as jupyter:
        job = jupyter.run_notebook(path, kernel=kernel, allow_errors=allow_errors)
        if detach:
            output.print_json(job.info) if session.as_json else print(job.id)
            return
        code = attend(job, interactive=False)
    raise typer.Exit(code)


@jupyter.command()
def close(
    context: typer.Context,
    project: ProjectArgument,
    name: Annotated[str, typer.Argument(metavar="SESSION", help="The session's name.")],
) -> None:
    """End a session and its kernel."""
    with _jupyter_of(Session.of(context, False), project) as jupyter:
        jupyter.session(name).close()


@contextmanager
def _jupyter_of(session: Session, project: str) -> Iterator[ProjectJupyter]:
    with session.hub() as hub:
        yield hub.project(ProjectFinder(hub).find(project)).jupyter


def _attend(session: Session, chosen: JupyterSession, execution: JupyterExecution) -> None:
    """Print the outputs of an execution to its end, and interrupt it once if that is wanted."""
    shown = 0
    is_interrupted = False
    collected: list[Any] = []
    while True:
        try:
            for each in execution.outputs(shown):
                shown += 1
                collected.append(each) if session.as_json else _show(each)
            break
        except KeyboardInterrupt:
            if is_interrupted:
                raise
            is_interrupted = True
            chosen.interrupt()
    if session.as_json:
        output.print_json({**execution.info, "outputs": collected})


def _show(item: Any) -> None:
    """Print an output: text as it is, of other things what stands for them in text; of what is no output nothing."""
    match item:
        case {"output_type": "stream", "text": str(text)}:
            stream = sys.stderr if item.get("name") == "stderr" else sys.stdout
            stream.write(text)
            stream.flush()
        case {"output_type": "display_data" | "execute_result", "data": dict(data)}:
            print(data.get("text/plain", f"<{', '.join(data)}>"), flush=True)
        case {"output_type": "error"}:
            lines = "\n".join(str(line) for line in item.get("traceback") or ())
            print(lines or f"{item.get('ename')}: {item.get('evalue')}", file=sys.stderr)
