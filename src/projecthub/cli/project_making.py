"""`projecthub projects clone`, `export`, `import`, `set-template`, `templates`: projects that begin as others."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from projecthub.cli import output
from projecthub.cli.references import PROJECT_HELP, ProjectFinder
from projecthub.cli.session import AsJson, Session
from projecthub.errors import InvalidArgument

AProject = Annotated[str, typer.Argument(metavar="PROJECT", help=PROJECT_HELP)]
SUFFIX = ".projecthub.tar.zst"


def clone(
    context: typer.Context,
    project: AProject,
    title: Annotated[
        str | None, typer.Argument(metavar="[TITLE]", help="What the new one is called; default: the same, (copy).")
    ] = None,
    exclude: Annotated[
        list[str] | None, typer.Option(metavar="PATTERN", help="Leave out what has such a name; repeatable.")
    ] = None,
    with_collaborators: Annotated[
        bool, typer.Option("--with-collaborators", help="Have the project's people on the new one, too.")
    ] = False,
    start: Annotated[bool, typer.Option("--start", help="Start it in the background.")] = False,
    as_json: AsJson = False,
) -> None:
    """Make a project that is as another one is now, and print its id."""
    session = Session.of(context, as_json)
    with session.hub() as hub, output.transferring(f"Cloning {project}") as progress:
        made = hub.projects.clone(
            ProjectFinder(hub).find(project),
            title,
            exclude=exclude or None,
            with_collaborators=with_collaborators,
            start=start,
            progress=progress,
        )
    tell_id(session, made)


def export(
    context: typer.Context,
    project: AProject,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="On this machine; - for standard output.")],
    as_json: AsJson = False,
) -> None:
    """Write a whole project into one file, a tar.zst, which any hub makes a project of again."""
    session = Session.of(context, as_json)
    with session.hub() as hub, told_of_this_machine():
        project_id = ProjectFinder(hub).find(project)
        if str(file) == "-":
            hub.projects.export(project_id, sys.stdout.buffer)
            sys.stdout.buffer.flush()
            return
        if file.is_dir():
            file /= f"{project_id}{SUFFIX}"
        with output.transferring(str(file)) as progress:
            size = hub.projects.export(project_id, file, progress=progress)
    if session.as_json:
        output.print_json({"project_id": project_id, "file": str(file), "bytes": size})
    else:
        output.print_facts([("file", file), ("bytes", size)])


def import_(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="On this machine; - for standard input.")],
    title: Annotated[str | None, typer.Option(help="What the project is called; default: as it was.")] = None,
    as_json: AsJson = False,
) -> None:
    """Make a project of a file that `export` has written, on this hub or another, and print its id."""
    session = Session.of(context, as_json)
    with session.hub() as hub, told_of_this_machine():
        if str(file) == "-":
            done: Any = hub.projects.import_(sys.stdin.buffer, title)
        elif not file.is_file():
            raise InvalidArgument(f"there is no file '{file}' on this machine")
        else:
            with output.transferring(str(file)) as progress:
                done = hub.projects.import_(file, title, progress=progress)
    if session.as_json:
        output.print_json(done)
        return
    print(output.plain(done["project_id"]))
    if done["left_out"]:
        output.print_note(f"the export does not hold {done['left_out']} sockets, pipes or unreadable things")


def set_template(
    context: typer.Context,
    project: AProject,
    off: Annotated[bool, typer.Option("--off", help="It is to be a template no more.")] = False,
    everybody: Annotated[
        bool | None,
        typer.Option("--everybody/--members", help="Whether it is offered to everybody; site admins may say so."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Have a project be a template, as which new projects can begin."""
    session = Session.of(context, as_json)
    with session.hub() as hub, output.working("Setting the template"):
        reply: Any = hub.projects.set_template(ProjectFinder(hub).find(project), not off, everybody=everybody)
    if session.as_json:
        output.print_json(reply)
    else:
        output.print_facts([(name, _word(value)) for name, value in reply.items()])


def templates(context: typer.Context, as_json: AsJson = False) -> None:
    """List the projects that new ones can begin as: `projects create --template ID`."""
    session = Session.of(context, as_json)
    with session.hub() as hub, output.working("Asking for templates"):
        rows: Any = hub.projects.templates()
    if session.as_json:
        output.print_json(rows)
        return
    output.print_table(
        ("ID", "TITLE", "FOR"),
        [(row["project_id"], row["title"], "everybody" if row["everybody"] else "its people") for row in rows],
    )


def _word(value: Any) -> Any:
    return ("yes" if value else "no") if isinstance(value, bool) else value


def tell_id(session: Session, project_id: str) -> None:
    """Print the id of a project that was made."""
    if session.as_json:
        output.print_json({"project_id": project_id})
    else:
        print(output.plain(project_id))


@contextmanager
def told_of_this_machine() -> Iterator[None]:
    """What fails here of files on this machine, as errors that name them."""
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:  # of files on this machine: the client tells of the network by errors of its own
        where = f"'{error.filename}' on this machine" if error.filename else "this machine"
        raise InvalidArgument(f"{where}: {error.strerror or error}") from error
