"""`projecthub jobs`: commands that run on in projects, and their output."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer

from projecthub.cli import output
from projecthub.cli.exec import write_output
from projecthub.cli.projects import ProjectArgument
from projecthub.cli.references import ProjectFinder
from projecthub.cli.session import AsJson, Session
from projecthub.errors import Conflict, NotFound

if TYPE_CHECKING:
    from projecthub.client._sync.jobs import Job, Jobs

_SHOWN_CHARACTERS = 60

jobs = typer.Typer(name="jobs", help="Jobs: commands that run on in a project, and their output.", no_args_is_help=True)

JobArgument = Annotated[str, typer.Argument(metavar="JOB", help="A job: its id, or the beginning of its id.")]


@jobs.command("list")
def list_(context: typer.Context, project: ProjectArgument, as_json: AsJson = False) -> None:
    """List the jobs of a project, newest first. The project need not run."""
    session = Session.of(context, as_json)
    with _jobs_of(session, project) as jobs:
        infos = [job.info for job in jobs.list()]
    if session.as_json:
        output.print_json(infos)
        return
    rows = [
        (info["id"], info["state"], info["exit_code"], output.local_time(info["started_at"]), _command(info))
        for info in infos
    ]
    output.print_table(("ID", "STATE", "EXIT", "STARTED", "DETAILS"), rows)


@jobs.command()
def show(context: typer.Context, project: ProjectArgument, job: JobArgument, as_json: AsJson = False) -> None:
    """Show one job."""
    session = Session.of(context, as_json)
    with _jobs_of(session, project) as jobs:
        _print(session, _find(jobs, job))


@jobs.command()
def logs(
    context: typer.Context,
    project: ProjectArgument,
    job: JobArgument,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on to the end of the job.")] = False,
) -> None:
    """Print what a job has put out, byte for byte: stdout to stdout, stderr to stderr."""
    with _jobs_of(Session.of(context, False), project) as jobs:
        write_output(_find(jobs, job), follow=follow)


@jobs.command()
def wait(context: typer.Context, project: ProjectArgument, job: JobArgument, as_json: AsJson = False) -> None:
    """Wait for the end of a job, and show it; its exit code is this one's."""
    session = Session.of(context, as_json)
    with _jobs_of(session, project) as jobs:
        found = _find(jobs, job)
        with output.working("Waiting"):
            found.wait()
        _print(session, found)
    raise typer.Exit(1 if found.exit_code is None else found.exit_code)


@jobs.command()
def signal(
    context: typer.Context,
    project: ProjectArgument,
    job: JobArgument,
    name: Annotated[str, typer.Argument(metavar="SIGNAL", help="Its name, such as INT.")] = "TERM",
) -> None:
    """Send a signal to a job's process group."""
    _send(Session.of(context, False), project, job, name)


@jobs.command()
def kill(context: typer.Context, project: ProjectArgument, job: JobArgument) -> None:
    """Kill a job, and whatever came of it."""
    _send(Session.of(context, False), project, job, "KILL")


@jobs.command()
def rm(context: typer.Context, project: ProjectArgument, job: JobArgument) -> None:
    """Remove a job that has ended, with its output."""
    with _jobs_of(Session.of(context, False), project) as jobs:
        _find(jobs, job).remove()


@contextmanager
def _jobs_of(session: Session, project: str) -> Iterator[Jobs]:
    with session.hub() as hub:
        yield hub.project(ProjectFinder(hub).find(project)).jobs


def _find(jobs: Jobs, text: str) -> Job:
    """The job that a text stands for.

    Raises:
        NotFound: None.
        Conflict: Several.
    """
    if len(text) == 36:
        return jobs.get(text)
    found = [job for job in jobs.list() if job.id.startswith(text.lower())]
    if not found:
        raise NotFound(f"no job of this project has an id that begins with {text!r}")
    if len(found) > 1:
        raise Conflict(f"{len(found)} jobs have an id that begins with {text!r}; give more of it")
    return found[0]


def _send(session: Session, project: str, job: str, name: str) -> None:
    with _jobs_of(session, project) as jobs:
        if not _find(jobs, job).signal(name):
            output.print_note("it had ended already")


def _command(info: Any) -> str:
    text = " ".join([info["command"], *info["args"]])
    return text if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]}..."


def _print(session: Session, job: Job) -> None:
    if session.as_json:
        output.print_json(job.info)
        return
    info: Any = job.info
    ended = None if info["ended_at"] is None else output.local_time(info["ended_at"])
    output.print_facts(
        [
            ("id", info["id"]),
            ("state", info["state"]),
            ("command", _command(info)),
            ("directory", info["directory"]),
            ("started", output.local_time(info["started_at"])),
            ("ended", ended),
            ("exit code", info["exit_code"]),
            ("signal", info["signal"]),
            ("error", info["error"]),
            ("output", f"{info['output_bytes']} bytes{', truncated' if info['truncated'] else ''}"),
            ("by", info["by"]),
        ]
    )
