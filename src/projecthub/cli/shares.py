"""`projecthub shares`: what projects show to others."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from projecthub.cli import output
from projecthub.cli.copies import Backup, DeleteMissing, Exclude, OverwriteNewer
from projecthub.cli.copy_tables import print_summary
from projecthub.cli.project_making import told_of_this_machine
from projecthub.cli.references import PROJECT_HELP, ProjectFinder
from projecthub.cli.session import AsJson, Session

shares = typer.Typer(help="What projects show to others: paths that are shared.", no_args_is_help=True)

AShare = Annotated[str, typer.Argument(metavar="SHARE", help="The id of a share: 40 hex digits.")]
Description = Annotated[str | None, typer.Option("--description", "-d", help="What it is.")]
Unlisted = Annotated[
    bool | None, typer.Option("--unlisted/--listed", help="Only for those who know its id, or for all who browse.")
]
Authenticated = Annotated[
    bool | None, typer.Option("--signed-in/--anybody", help="For people who are signed in, or for anybody.")
]
License = Annotated[str | None, typer.Option(help="Under which license others may use it.")]


@shares.command()
def create(
    context: typer.Context,
    project: Annotated[str, typer.Argument(metavar="PROJECT", help=PROJECT_HELP)],
    path: Annotated[str, typer.Argument(metavar="PATH", help="A file or directory, relative to the project's home.")],
    description: Description = None,
    unlisted: Unlisted = None,
    authenticated: Authenticated = None,
    license: License = None,
    as_json: AsJson = False,
) -> None:
    """Share a path of a project, and print the share's id."""
    session = Session.of(context, as_json)
    with session.hub() as hub, output.working("Sharing"):
        share: Any = hub.shares.create(
            ProjectFinder(hub).find(project),
            path,
            description=description,
            unlisted=unlisted,
            authenticated=authenticated,
            license=license,
        )
    if session.as_json:
        output.print_json(share)
    else:
        print(output.plain(share["id"]))
        if "problem" in share:
            output.print_note(f"{share['path'] or '.'}: {share['problem']}")


@shares.command("list")
def list_shares(
    context: typer.Context,
    project: Annotated[str | None, typer.Argument(metavar="[PROJECT]", help=PROJECT_HELP)] = None,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, max=1000, help="How many at most.")] = 100,
    as_json: AsJson = False,
) -> None:
    """List the shares of a project; without one, those of all projects that may be browsed."""
    session = Session.of(context, as_json)
    with session.hub() as hub, output.working("Asking for shares"):
        project_id = ProjectFinder(hub).find(project) if project else None
        rows: Any = hub.shares.list(project_id, limit=limit)
    if session.as_json:
        output.print_json(rows)
        return
    output.print_table(
        ("ID", "PROJECT", "PATH", "FOR", "DETAILS"),
        [(row["id"], row["project_title"], row["path"] or ".", _for_whom(row), row["description"]) for row in rows],
    )


@shares.command()
def show(context: typer.Context, share: AShare, as_json: AsJson = False) -> None:
    """Tell about a share."""
    session = Session.of(context, as_json)
    with session.hub() as hub, output.working("Asking for the share"):
        row: Any = hub.shares.get(share)
    _tell(session, row)


@shares.command()
def update(
    context: typer.Context,
    share: AShare,
    description: Description = None,
    disabled: Annotated[
        bool | None, typer.Option("--disable/--enable", help="Whether nobody gets it any more.")
    ] = None,
    unlisted: Unlisted = None,
    authenticated: Authenticated = None,
    license: License = None,
    as_json: AsJson = False,
) -> None:
    """Change a share; what is not given stays."""
    session = Session.of(context, as_json)
    with session.hub() as hub, output.working("Changing the share"):
        row: Any = hub.shares.update(
            share,
            description=description,
            disabled=disabled,
            unlisted=unlisted,
            authenticated=authenticated,
            license=license,
        )
    _tell(session, row)


@shares.command()
def delete(context: typer.Context, share: AShare) -> None:
    """Share a path no longer. What others have made from it stays theirs."""
    with Session.of(context, False).hub() as hub, output.working("Deleting the share"):
        hub.shares.delete(share)


@shares.command("files")
def list_files(
    context: typer.Context,
    share: AShare,
    path: Annotated[str, typer.Argument(metavar="[PATH]", help="A directory below what is shared.")] = "",
    hidden: Annotated[bool, typer.Option("--all", "-a", help="Also names that begin with a dot.")] = False,
    as_json: AsJson = False,
) -> None:
    """List what is in a share."""
    session = Session.of(context, as_json)
    with session.hub() as hub, output.working("Asking for files"):
        entries: Any = hub.shares.files(share, path, hidden=hidden)
    if session.as_json:
        output.print_json(entries)
        return
    rows = [(entry["bytes"], output.local_time(entry["modified_at"]), _shown(entry)) for entry in entries]
    output.print_table(("SIZE", "MODIFIED", "NAME"), rows)


@shares.command()
def get(
    context: typer.Context,
    share: AShare,
    target: Annotated[Path, typer.Argument(metavar="FILE", help="On this machine; - for standard output.")],
    path: Annotated[str, typer.Option(help="Which part, a path below what is shared.")] = "",
    archive: Annotated[bool, typer.Option("--archive", help="A directory, as one tar.zst.")] = False,
    as_json: AsJson = False,
) -> None:
    """Download a file of a share, or a directory as one archive."""
    session = Session.of(context, as_json)
    with session.hub() as hub, told_of_this_machine():
        if str(target) == "-":
            hub.shares.download(share, sys.stdout.buffer, path, archive=archive)
            sys.stdout.buffer.flush()
            return
        with output.transferring(str(target)) as progress:
            size = hub.shares.download(share, target, path, archive=archive, progress=progress)
    if session.as_json:
        output.print_json({"file": str(target), "bytes": size})
    else:
        output.print_facts([("file", target), ("bytes", size)])


@shares.command()
def copy(
    context: typer.Context,
    share: AShare,
    project: Annotated[str, typer.Argument(metavar="PROJECT", help=PROJECT_HELP)],
    target_path: Annotated[str | None, typer.Argument(metavar="[TO]", help="Where to; default: the same path.")] = None,
    path: Annotated[str | None, typer.Option(help="Only this part, a path below what is shared.")] = None,
    overwrite_newer: OverwriteNewer = False,
    delete_missing: DeleteMissing = False,
    backup: Backup = False,
    exclude: Exclude = None,
    as_json: AsJson = False,
) -> None:
    """Copy what is shared into a project of yours."""
    session = Session.of(context, as_json)
    with session.hub() as hub, output.working("Copying"):
        target = ProjectFinder(hub).find(project)
        reply: Any = hub.shares.copy(
            share,
            target,
            target_path,
            path=path,
            overwrite_newer=overwrite_newer,
            delete_missing=delete_missing,
            backup=backup,
            exclude=exclude or None,
        )
    if session.as_json:
        output.print_json(reply)
    else:
        print_summary(reply)


def _tell(session: Session, row: Any) -> None:
    if session.as_json:
        output.print_json(row)
        return
    facts = [(name, row[name]) for name in ("id", "project_id", "project_title", "path", "description", "license")]
    times = [(name.replace("_", " "), output.local_time(row[name])) for name in ("created", "last_edited")]
    output.print_facts(
        [*facts, ("for", _for_whom(row)), ("taken", row["counter"]), *times, ("problem", row.get("problem"))]
    )


def _for_whom(row: Any) -> str:
    if row["disabled"]:
        return "nobody"
    people = "who is signed in" if row["authenticated"] else "anybody"
    return f"{people}, by its id" if row["unlisted"] else people


def _shown(entry: Any) -> str:
    name = os.fsencode(entry["name"]).decode(errors="backslashreplace")
    return f"{name}/" if entry["kind"] == "directory" else name
