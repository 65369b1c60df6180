"""`projecthub files history` and its like: what text files held before."""

from __future__ import annotations

import sys
from typing import Annotated, Any

import typer

from projecthub.cli import output
from projecthub.cli.files import APath, AProject
from projecthub.cli.references import ProjectFinder
from projecthub.cli.session import AsJson, Session

Version = Annotated[int, typer.Argument(metavar="VERSION", help="Its number, as `files history` tells it.")]


def history(context: typer.Context, project: AProject, path: APath, as_json: AsJson = False) -> None:
    """List the versions of a text file that the hub has seen, oldest first.

    `projecthub files show-version` prints one of them, `projecthub files restore-version` brings it back.
    """
    session = Session.of(context, as_json)
    with session.hub() as hub:
        versions: Any = hub.sync.history(ProjectFinder(hub).find(project), path)
        ids = sorted({version["account_id"] for version in versions if version["account_id"]})
        names: Any = hub.system.get_names(ids) if ids and not session.as_json else {}
    if session.as_json:
        output.print_json(versions)
        return
    rows = [
        (
            version["seq"],
            output.local_time(version["time"]),
            version["event"],
            _name(names.get(version["account_id"])),
        )
        for version in versions
    ]
    output.print_table(("VERSION", "TIME", "HOW", "BY"), rows)


def _name(name: Any) -> str:
    return f"{name['first_name']} {name['last_name']}".strip() if name else ""


def show_version(context: typer.Context, project: AProject, path: APath, version: Version) -> None:
    """Write a text file as it was at a version to standard output."""
    with Session.of(context, False).hub() as hub:
        text = hub.sync.text(ProjectFinder(hub).find(project), path, version)
    sys.stdout.buffer.write(text.encode())
    sys.stdout.buffer.flush()


def restore_version(context: typer.Context, project: AProject, path: APath, version: Version) -> None:
    """Write a text file as it was at a version to its place; what is there becomes a version, too."""
    with Session.of(context, False).hub() as hub:
        project_id = ProjectFinder(hub).find(project)
        hub.project(project_id).files.write_bytes(path, hub.sync.text(project_id, path, version).encode())


def checkpoint(context: typer.Context, project: AProject, path: APath, as_json: AsJson = False) -> None:
    """Take a text file into its history as it is now."""
    session = Session.of(context, as_json)
    with session.hub() as hub:
        made: Any = hub.sync.checkpoint(ProjectFinder(hub).find(project), path)
    if session.as_json:
        output.print_json(made)
    else:
        output.print_facts([("version", made["seq"]), ("new", "yes" if made["created"] else "no")])


def use_times(
    context: typer.Context,
    project: AProject,
    path: APath,
    account_id: Annotated[str | None, typer.Option("--account", help="Whose; default: yours.")] = None,
    as_json: AsJson = False,
) -> None:
    """Tell when somebody used a file, as far as they noted it, and changed it, as far as its history tells."""
    session = Session.of(context, as_json)
    with session.hub() as hub:
        project_id = ProjectFinder(hub).find(project)
        times: Any = hub.db.file_use_times(project_id, path, account_id, edit_times=True)
    if session.as_json:
        output.print_json(times)
        return
    rows = [("used", output.local_time(at)) for at in times["access_times"]]
    output.print_table(("WHAT", "TIME"), rows + [("changed", output.local_time(at)) for at in times["edit_times"]])
