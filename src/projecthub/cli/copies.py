"""`projecthub projects copy`: files between projects."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from projecthub.cli import output
from projecthub.cli.references import ProjectFinder
from projecthub.cli.session import AsJson, Session


def copy(
    context: typer.Context,
    source: Annotated[
        str, typer.Argument(metavar="SRC:PATH", help="What to copy: a project, a colon, a path in its home.")
    ],
    target: Annotated[
        str,
        typer.Argument(
            metavar="[DST]:[PATH]",
            help="Where to. No project means the same project, no path the same path. A project whose title holds a "
            "colon is given by its id.",
        ),
    ],
    overwrite_newer: Annotated[
        bool, typer.Option("--overwrite-newer", help="Replace files that are newer in the target.")
    ] = False,
    delete_missing: Annotated[
        bool, typer.Option("--delete-missing", help="Delete what the target directory has and the source has not.")
    ] = False,
    backup: Annotated[bool, typer.Option("--backup", help="Keep a replaced file as NAME~.")] = False,
    exclude: Annotated[
        list[str] | None, typer.Option(metavar="PATTERN", help="Leave out what has such a name; repeatable.")
    ] = None,
    timeout: Annotated[
        float | None, typer.Option(metavar="SECONDS", help="Give up after so long.", show_default="no limit")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Copy a file or the contents of a directory between two projects, or within one. Neither has to run."""
    session = Session.of(context, as_json)
    src_project, src_path = _parts(source, context)
    if not src_project or not src_path:
        raise typer.BadParameter(f"{source!r} has to name both: a project and a path", ctx=context)
    dst_project, dst_path = _parts(target, context)
    with session.hub() as hub, output.working(f"Copying {source}"):
        finder = ProjectFinder(hub)
        reply: Any = hub.projects.copy_path_between_projects(
            finder.find(src_project),
            src_path,
            finder.find(dst_project) if dst_project else None,
            dst_path or None,
            overwrite_newer=overwrite_newer,
            delete_missing=delete_missing,
            backup=backup,
            exclude=exclude or None,
            timeout=timeout,
        )
    if session.as_json:
        output.print_json(reply)
        return
    kept = reply.pop("kept_newer_paths", [])
    output.print_facts([(name, value) for name, value in reply.items() if value or name in ("files", "bytes")])
    for path in kept:
        output.print_note(f"kept, because newer in the target: {path}")


def _parts(text: str, context: typer.Context) -> tuple[str, str]:
    project, colon, path = text.partition(":")
    if not colon:
        raise typer.BadParameter(f"{text!r} has no colon between the project and the path", ctx=context)
    return project, path
