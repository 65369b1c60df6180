"""`projecthub files`: the files of a project, whether it runs or not."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from projecthub.cli import output
from projecthub.cli.references import PROJECT_HELP, ProjectFinder
from projecthub.cli.session import AsJson, Session
from projecthub.errors import Conflict, InvalidArgument

if TYPE_CHECKING:
    from projecthub import Project
    from projecthub.client.directories import Transferred

files = typer.Typer(help="The files of a project, whether it runs or not.", no_args_is_help=True)
trash = typer.Typer(help="What was deleted from a project.", no_args_is_help=True)
files.add_typer(trash, name="trash")

AProject = Annotated[str, typer.Argument(metavar="PROJECT", help=PROJECT_HELP)]
APath = Annotated[str, typer.Argument(metavar="PATH", help="A path relative to the project's home.")]
Recursive = Annotated[bool, typer.Option("--recursive", "-r", help="A directory, with all that is in it.")]


@contextmanager
def _project(context: typer.Context, reference: str, as_json: bool) -> Iterator[tuple[Session, Project]]:
    session = Session.of(context, as_json)
    try:
        with session.hub() as hub:
            yield session, hub.project(ProjectFinder(hub).find(reference))
    except BrokenPipeError:
        raise
    except OSError as error:  # of files on this machine: the client tells of the network by errors of its own
        where = f"'{error.filename}' on this machine" if error.filename else "this machine"
        raise InvalidArgument(f"{where}: {error.strerror or error}") from error


@files.command("ls")
def list_files(
    context: typer.Context,
    project: AProject,
    path: Annotated[str, typer.Argument(metavar="[PATH]", help="A directory; default: the home.")] = "",
    hidden: Annotated[bool, typer.Option("--all", "-a", help="Also names that begin with a dot.")] = False,
    as_json: AsJson = False,
) -> None:
    """List a directory."""
    with _project(context, project, as_json) as (session, inside):
        entries: Any = inside.files.list(path, hidden=hidden)
    if session.as_json:
        output.print_json(entries)
        return
    rows = [
        (f"{entry['mode']:03o}", entry["bytes"], output.local_time(entry["modified_at"]), _shown(entry))
        for entry in entries
    ]
    output.print_table(("MODE", "SIZE", "MODIFIED", "NAME"), rows)


def _shown(entry: Any) -> str:
    name = os.fsencode(entry["name"]).decode(errors="backslashreplace")
    if entry["link_target"] is not None:
        return f"{name} -> {entry['link_target']}"
    return f"{name}/" if entry["kind"] == "directory" else name


@files.command("cat")
def print_file(context: typer.Context, project: AProject, path: APath) -> None:
    """Write a file to standard output, as it is."""
    with _project(context, project, False) as (_, inside):
        inside.files.download(path, sys.stdout.buffer)
    sys.stdout.buffer.flush()


@files.command("put")
def put(
    context: typer.Context,
    project: AProject,
    source: Annotated[Path, typer.Argument(metavar="FILE", help="On this machine; - for standard input.")],
    path: Annotated[str, typer.Argument(metavar="PATH", help="Where in the project; a directory ends in /.")],
    recursive: Recursive = False,
    as_json: AsJson = False,
) -> None:
    """Upload. What is there is replaced.

    When the connection is lost, or the command was ended and is given again within 24 hours, a file goes on where it
    was; a directory, which is sent as one archive, is whole in the project or unchanged.
    """
    if path.endswith("/"):
        path += source.name
    with _project(context, project, as_json) as (session, inside):
        if str(source) == "-":
            count, size = 1, inside.files.upload(sys.stdin.buffer, path)
        elif source.is_dir():
            if not recursive:
                raise InvalidArgument(f"'{source}' is a directory; give -r to upload it with all that is in it")
            count, size = _put_directory(inside, source, path)
        elif not source.is_file():
            raise InvalidArgument(f"there is no file '{source}' on this machine")
        else:
            count, size = 1, _put_file(inside, source, path)
    _tell(session, count, size)


def _put_directory(inside: Project, source: Path, path: str) -> tuple[int, int]:
    with output.transferring(str(source)) as progress:
        done = inside.files.upload_dir(source, path, progress=progress)
    return _told(done)


def _told(done: Transferred) -> tuple[int, int]:
    for name in done.left_out:
        output.print_note(f"left out: {name}")
    return done.files, done.bytes


def _put_file(inside: Project, source: Path, path: str) -> int:
    with output.transferring(str(source)) as progress:
        return inside.files.upload(source, path, mode=source.stat().st_mode & 0o777, progress=progress)


@files.command("get")
def get(
    context: typer.Context,
    project: AProject,
    path: APath,
    target: Annotated[Path, typer.Argument(metavar="[FILE]", help="On this machine; - for standard output.")] = Path(),
    recursive: Recursive = False,
    verify: Annotated[bool, typer.Option("--verify", help="Compare checksums, of a single file.")] = False,
    as_json: AsJson = False,
) -> None:
    """Download. What is there is replaced.

    When the connection is lost, or the command was ended and is given again, a file goes on where it was, from a part
    that is beside FILE until then; a directory comes as one archive, which begins anew.
    """
    with _project(context, project, as_json) as (session, inside):
        if str(target) == "-":
            inside.files.download(path, sys.stdout.buffer, verify=verify)
            sys.stdout.buffer.flush()
            return
        if target.is_dir():
            target /= path.rstrip("/").rpartition("/")[2]
        if inside.files.stat(path)["is_directory"]:
            if not recursive:
                raise Conflict(f"'{path}' is a directory; give -r to download it with all that is in it")
            if verify:
                raise InvalidArgument("--verify is for single files: an archive is made while it is sent")
            count, size = _get_directory(inside, path, target)
        else:
            count, size = 1, _get_file(inside, path, target, verify)
    _tell(session, count, size)


def _get_directory(inside: Project, path: str, target: Path) -> tuple[int, int]:
    with output.transferring(path) as progress:
        done = inside.files.download_dir(path, target, progress=progress)
    return _told(done)


def _get_file(inside: Project, path: str, target: Path, verify: bool) -> int:
    with output.transferring(path) as progress:
        return inside.files.download(path, target, verify=verify, progress=progress)


def _tell(session: Session, count: int, size: int) -> None:
    if session.as_json:
        output.print_json({"files": count, "bytes": size})
    else:
        output.print_facts([("files", count), ("bytes", size)])


@files.command("rm")
def remove(
    context: typer.Context,
    project: AProject,
    paths: Annotated[list[str], typer.Argument(metavar="PATH...", help="What to delete.")],
    recursive: Recursive = False,
    permanent: Annotated[bool, typer.Option("--permanent", help="Keep nothing in the trash.")] = False,
    as_json: AsJson = False,
) -> None:
    """Delete. It goes to the trash of the project, unless the project is over its quota."""
    with _project(context, project, as_json) as (session, inside):
        deleted = []
        for path in paths:
            if inside.files.stat(path)["kind"] == "directory" and not recursive:
                raise Conflict(f"'{path}' is a directory; give -r to delete it with all that is in it")
            deleted.append({"path": path, "trash_id": inside.files.delete(path, permanent=permanent)})
    if session.as_json:
        output.print_json(deleted)


@files.command("mv")
def move(context: typer.Context, project: AProject, src: APath, dest: APath) -> None:
    """Give a file or directory another path; never overwrites."""
    with _project(context, project, False) as (_, inside):
        inside.files.move(src, dest)


@files.command("mkdir")
def make_directory(context: typer.Context, project: AProject, path: APath) -> None:
    """Make a directory, and those above it."""
    with _project(context, project, False) as (_, inside):
        inside.files.mkdir(path)


@trash.command("ls")
def list_trash(context: typer.Context, project: AProject, as_json: AsJson = False) -> None:
    """List what was deleted, oldest first."""
    with _project(context, project, as_json) as (session, inside):
        items: Any = inside.files.trash.list()
    if session.as_json:
        output.print_json(items)
        return
    rows = [(item["id"], item["bytes"], output.local_time(item["deleted_at"]), item["path"]) for item in items]
    output.print_table(("ID", "SIZE", "DELETED", "PATH"), rows)


@trash.command()
def restore(
    context: typer.Context,
    project: AProject,
    id: Annotated[str, typer.Argument(metavar="ID", help="As `files trash ls` tells it.")],
    path: Annotated[str | None, typer.Argument(metavar="[PATH]", help="Where to; default: where it was.")] = None,
) -> None:
    """Bring something back; never overwrites."""
    with _project(context, project, False) as (_, inside):
        print(output.plain(inside.files.trash.restore(id, path)))


@trash.command()
def empty(context: typer.Context, project: AProject, as_json: AsJson = False) -> None:
    """Delete all of the trash for good."""
    with _project(context, project, as_json) as (session, inside):
        count = inside.files.trash.empty()
    if session.as_json:
        output.print_json({"items": count})
    else:
        output.print_facts([("items", count)])
