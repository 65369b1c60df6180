"""`projecthub snapshots`: what a project held at other times, whether it runs or not."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from projecthub.cli import output, times
from projecthub.cli.projects import ProjectArgument
from projecthub.cli.references import ProjectFinder
from projecthub.cli.session import AsJson, Session
from projecthub.errors import Conflict, HubError, NotFound

if TYPE_CHECKING:
    from projecthub.client._sync.snapshots import Snapshots

snapshots = typer.Typer(name="snapshots", help="Snapshots of a project's files.", no_args_is_help=True)

_EVERY_S: Final = 1.0
"""How often it is asked how far a snapshot is."""
_HELP = "A snapshot: its id, the beginning of its id, or 'latest'."
SnapshotArgument = Annotated[str, typer.Argument(metavar="SNAPSHOT", help=_HELP)]


@snapshots.command()
def create(
    context: typer.Context,
    project: ProjectArgument,
    title: Annotated[str, typer.Argument(metavar="[TITLE]", help="What people call it.")] = "",
    expire: Annotated[
        str | None, typer.Option(metavar="TIME", help=f"When it goes: a date, or a duration {times.DURATION_HELP}.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Take a snapshot."""
    session = Session.of(context, as_json)
    until = None if expire is None else times.moment(expire)
    with _snapshots_of(session, project) as found, output.transferring("Taking a snapshot") as progress:
        made: Any = _create(found, title, until, progress)
    if session.as_json:
        output.print_json(made)
        return
    names = ("id", "files", "bytes", "own_bytes", "skipped", "changing", "expires")
    output.print_facts([(name, made[name]) for name in names if made[name] or name in ("files", "bytes")])


def _create(found: Snapshots, title: str, until: str | None, progress: Any) -> Any:
    """Take a snapshot, and show meanwhile how many bytes it has come to, if somebody watches."""
    if progress is None:
        return found.create(title, expire=until)
    with ThreadPoolExecutor(1) as threads:
        made = threads.submit(found.create, title, expire=until)
        while not wait([made], timeout=_EVERY_S).done:
            with contextlib.suppress(HubError):
                under_way = found.overview()["under_way"]
                progress(under_way["bytes"] if under_way else 0, None)
        return made.result()


@snapshots.command("list")
def list_(context: typer.Context, project: ProjectArgument, as_json: AsJson = False) -> None:
    """List the snapshots, newest first, and what they take."""
    session = Session.of(context, as_json)
    with _snapshots_of(session, project) as found:
        overview: Any = found.overview()
    if session.as_json:
        output.print_json(overview)
        return
    rows = [
        (
            row["id"],
            output.local_time(row["created"]),
            "automatic" if row["automatic"] else "kept",
            row["files"],
            row["bytes"],
            row["own_bytes"],
            output.local_time(row["expires"]),
            row["title"],
        )
        for row in overview["snapshots"]
    ]
    output.print_table(("ID", "TAKEN", "KIND", "FILES", "BYTES", "ADDED", "EXPIRES", "TITLE"), rows)
    output.print_note(f"{overview['used_bytes']} bytes of {overview['quota_bytes']} that snapshots may take")


@snapshots.command()
def diff(
    context: typer.Context,
    project: ProjectArgument,
    snapshot: SnapshotArgument,
    other: Annotated[
        str | None, typer.Argument(metavar="[OTHER]", help="A later one; default: the files as they are now.")
    ] = None,
    path: Annotated[str, typer.Option("--path", help="Only this path, and what is below.")] = "",
    limit: Annotated[int | None, typer.Option(min=1, help="So many at most.", show_default="all")] = None,
    as_json: AsJson = False,
) -> None:
    """Tell what is other now, or in a later snapshot: A added, D deleted, M modified."""
    session = Session.of(context, as_json)
    with _snapshots_of(session, project) as found, output.working("Comparing"):
        one, later = _find(found, snapshot), None if other is None else _find(found, other)
        changes: Any = found.diff(one, later, path=path, limit=limit)
    if session.as_json:
        output.print_json(changes)
        return
    letters = {"added": "A", "removed": "D", "changed": "M"}
    for change in changes:
        slash = "/" if change["kind"] == "directory" else ""
        print(f"{letters[change['status']]} {output.plain(change['path'])}{slash}")


@snapshots.command()
def restore(
    context: typer.Context,
    project: ProjectArgument,
    snapshot: SnapshotArgument,
    path: Annotated[str, typer.Argument(metavar="[PATH]", help="What of it; default: everything.")] = "",
    to: Annotated[str | None, typer.Option(metavar="PATH", help="Another place, where nothing is.")] = None,
    as_json: AsJson = False,
) -> None:
    """Bring back a path, or everything. What is there now is kept in a snapshot first, whose restoring undoes this."""
    session = Session.of(context, as_json)
    with _snapshots_of(session, project) as found, output.working("Restoring"):
        done: Any = found.restore(_find(found, snapshot), path, to=to)
    if session.as_json:
        output.print_json(done)
        return
    output.print_facts([("files", done["files"]), ("bytes", done["bytes"]), ("before", done["before"])])
    for kept in done["in_trash"]:
        output.print_note(f"in the trash, for the snapshot of what was there does not hold it as it was: {kept}")


@snapshots.command()
def cat(
    context: typer.Context,
    project: ProjectArgument,
    snapshot: SnapshotArgument,
    path: Annotated[str, typer.Argument(metavar="PATH", help="A file in it.")],
) -> None:
    """Write a file of a snapshot to standard output, as it was."""
    with _snapshots_of(Session.of(context, False), project) as found:
        sys.stdout.buffer.write(found.read_bytes(_find(found, snapshot), path))
    sys.stdout.buffer.flush()


@snapshots.command()
def delete(
    context: typer.Context, project: ProjectArgument, snapshot: SnapshotArgument, as_json: AsJson = False
) -> None:
    """Delete a snapshot."""
    session = Session.of(context, as_json)
    with _snapshots_of(session, project) as found:
        done: Any = found.delete(_find(found, snapshot))
    if session.as_json:
        output.print_json(done)
    else:
        output.print_facts([("freed_bytes", done["freed_bytes"])])


@contextmanager
def _snapshots_of(session: Session, project: str) -> Iterator[Snapshots]:
    with session.hub() as hub:
        yield hub.project(ProjectFinder(hub).find(project)).snapshots


def _find(found: Snapshots, text: str) -> str:
    """The id that a text stands for.

    Raises:
        NotFound: None.
        Conflict: Several.
    """
    if len(text) == 36:
        return text
    ids = [row["id"] for row in found.list()]
    fits = ids[:1] if text == "latest" else [each for each in ids if each.startswith(text.lower())]
    if not fits:
        raise NotFound(f"no snapshot of this project has an id that begins with {text!r}")
    if len(fits) > 1:
        raise Conflict(f"{len(fits)} snapshots have an id that begins with {text!r}; give more of it")
    return fits[0]
