"""`projecthub projects copy`, `projecthub copies`: files between projects."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from projecthub.cli import output
from projecthub.cli.copy_tables import print_files, print_list, print_operation, print_summary
from projecthub.cli.references import PROJECT_HELP, ProjectFinder
from projecthub.cli.session import AsJson, Session
from projecthub.errors import Conflict, InvalidArgument, NotFound
from projecthub.wire.ids import is_share_id, is_uuid

if TYPE_CHECKING:
    from projecthub import Hub

FAILED: Final = 1
"""Exit code when a target was not copied to."""

copies = typer.Typer(
    help="Copies from one project to many, or from many to one: planned, applied, undone.", no_args_is_help=True
)

OperationArgument = Annotated[
    str, typer.Argument(metavar="ID", help="A copy operation: its id, or the beginning of its id.")
]
Wait = Annotated[bool, typer.Option("--wait/--no-wait", help="Wait for its end.")]
OverwriteNewer = Annotated[bool, typer.Option("--overwrite-newer", help="Replace files that are newer in the target.")]
DeleteMissing = Annotated[
    bool, typer.Option("--delete-missing", help="Delete what the target directory has and the source has not.")
]
Backup = Annotated[bool, typer.Option("--backup", help="Keep a replaced file as NAME~.")]
Exclude = Annotated[
    list[str] | None, typer.Option(metavar="PATTERN", help="Leave out what has such a name; repeatable.")
]
SkipMissing = Annotated[
    bool, typer.Option("--skip-missing", help="With several: that a source is not there is no failure.")
]
Policy = Annotated[
    str,
    typer.Option(
        metavar="POLICY",
        help="What happens to what people have changed: update (what is newer there is kept), overwrite, keep, or "
        "merge (kept, and the new version put beside it).",
    ),
]
TargetsFrom = Annotated[
    Path | None,
    typer.Option(
        "--targets-from", metavar="FILE", help="A file with more targets, one a line; - reads standard input."
    ),
]
Into = Annotated[
    str | None,
    typer.Option(
        "--into", metavar="DST:PATH", help="Collect: all that is named, and in --targets-from, goes in there."
    ),
]


def copy(
    context: typer.Context,
    source: Annotated[
        str,
        typer.Argument(
            metavar="SRC:PATH", help="What to copy: a project, or the id of a share, a colon, a path in it."
        ),
    ],
    targets: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[DST][:PATH]...",
            help="Where to. No project means the same project, no path the same path. A project whose title holds a "
            "colon is given by its id.",
        ),
    ] = None,
    overwrite_newer: OverwriteNewer = False,
    delete_missing: DeleteMissing = False,
    backup: Backup = False,
    exclude: Exclude = None,
    skip_missing: SkipMissing = False,
    policy: Policy = "update",
    targets_from: TargetsFrom = None,
    into: Into = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what would be done.")] = False,
    wait: Wait = True,
    timeout: Annotated[
        float | None,
        typer.Option(
            metavar="SECONDS",
            help="With one target and the policy update: give up after so long.",
            show_default="no limit",
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Copy a file or the contents of a directory between projects, or within one. None of them has to run.

    With several targets, each is copied to whole or not at all; the exit code is 1 if one of them was not.
    """
    session = Session.of(context, as_json)
    options = _options(policy, overwrite_newer, delete_missing, backup, exclude, skip_missing)
    is_single = len(targets or ()) == 1 and not (targets_from or into or dry_run or policy != "update") and wait
    is_single = is_single and not is_share_id(source.partition(":")[0])
    if is_single and targets is not None:
        _copy_one(session, context, source, targets[0], timeout, options)
        return
    if timeout is not None:
        raise typer.BadParameter(
            "--timeout is for a copy of one project's files to one target with the policy update, that is waited for; "
            "leave it out: others go on until copies cancel ends them",
            ctx=context,
        )
    with session.hub() as hub:
        finder = ProjectFinder(hub)
        ends = _ends(finder, context, [source, *(targets or ())], targets_from, into)
        with output.copying("Copying") as follow:
            started = hub.projects.copy_paths(**ends, **options, dry_run=dry_run, wait=False)
            operation = hub.copies.wait(started["id"], on_progress=follow) if wait or dry_run else started
        _finish(session, finder, operation)


def _copy_one(
    session: Session, context: typer.Context, source: str, target: str, timeout: float | None, options: dict[str, Any]
) -> None:
    src_project, src_path = _parts(source, context)
    if not src_project or not src_path:
        raise typer.BadParameter(f"{source!r} has to name both: a project and a path", ctx=context)
    dst_project, _, dst_path = target.partition(":")
    with session.hub() as hub, output.working(f"Copying {source}"):
        finder = ProjectFinder(hub)
        given = {name: value for name, value in options.items() if name not in ("policy", "skip_missing")}
        reply: Any = hub.projects.copy_path_between_projects(
            finder.find(src_project),
            src_path,
            finder.find(dst_project) if dst_project else None,
            dst_path or None,
            timeout=timeout,
            **given,
        )
    if session.as_json:
        output.print_json(reply)
    else:
        print_summary(reply)


@copies.command()
def plan(
    context: typer.Context,
    source: Annotated[
        str, typer.Argument(metavar="SRC:PATH", help="As in projects copy; with --into, one of several.")
    ],
    targets: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="DST[:PATH]...", help="Where to; no path means the same path. With --into: more to collect."
        ),
    ] = None,
    policy: Policy = "update",
    overwrite_newer: OverwriteNewer = False,
    delete_missing: DeleteMissing = False,
    backup: Backup = False,
    exclude: Exclude = None,
    skip_missing: SkipMissing = False,
    targets_from: TargetsFrom = None,
    into: Into = None,
    as_json: AsJson = False,
) -> None:
    """Show what copies would do. The plan is kept for a day, for copies apply."""
    session = Session.of(context, as_json)
    options = _options(policy, overwrite_newer, delete_missing, backup, exclude, skip_missing)
    with session.hub() as hub:
        finder = ProjectFinder(hub)
        ends = _ends(finder, context, [source, *(targets or ())], targets_from, into)
        with output.copying("Planning") as follow:
            started = hub.copies.plan(**ends, **options, wait=False)
            operation = hub.copies.wait(started["id"], on_progress=follow)
        _finish(session, finder, operation)


@copies.command()
def apply(context: typer.Context, operation: OperationArgument, wait: Wait = True, as_json: AsJson = False) -> None:
    """Do what is planned. Targets that have moved since stay as they are, and the exit code is 1."""
    session = Session.of(context, as_json)
    with session.hub() as hub:
        id = find_operation(hub, operation)
        hub.copies.apply(id, wait=False)
        _follow(session, hub, id, "Copying", wait=wait)


@copies.command()
def retry(context: typer.Context, operation: OperationArgument, wait: Wait = True, as_json: AsJson = False) -> None:
    """Try again what has failed, was refused or cancelled."""
    session = Session.of(context, as_json)
    with session.hub() as hub:
        id = find_operation(hub, operation)
        hub.copies.retry(id, wait=False)
        _follow(session, hub, id, "Copying", wait=wait)


@copies.command()
def undo(
    context: typer.Context,
    operation: OperationArgument,
    target: Annotated[
        list[int] | None, typer.Option("--target", metavar="NUMBER", help="Only this target; repeatable.")
    ] = None,
    wait: Wait = True,
    as_json: AsJson = False,
) -> None:
    """Put back what copies have replaced or deleted, and take away what they have made; for a week."""
    session = Session.of(context, as_json)
    with session.hub() as hub:
        id = find_operation(hub, operation)
        hub.copies.undo(id, target or None, wait=False)
        _follow(session, hub, id, "Undoing", wait=wait)


@copies.command()
def forget(
    context: typer.Context,
    operation: Annotated[
        str | None, typer.Argument(metavar="[ID]", help="Only of this operation: its id, or the beginning of its id.")
    ] = None,
    project: Annotated[
        str | None, typer.Option("--project", metavar="PROJECT", help=f"Of all copies into this. {PROJECT_HELP}")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Let go of what is kept to undo copies, which frees its room. They cannot be undone any more."""
    if operation is None and project is None:
        raise typer.BadParameter("say of what to forget: give an operation, or --project", ctx=context)
    session = Session.of(context, as_json)
    with session.hub() as hub, output.working("Forgetting"):
        project_id = None if project is None else ProjectFinder(hub).find(project)
        id = None if operation is None else find_operation(hub, operation)
        done: Any = hub.copies.forget(id, project_id=project_id)
    if session.as_json:
        output.print_json(done)
    else:
        output.print_facts([(name, done[name]) for name in ("targets", "freed_bytes")])


@copies.command()
def show(
    context: typer.Context,
    operation: OperationArgument,
    wait: Annotated[bool, typer.Option("--wait", help="Wait for its end.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show how far an operation is, target by target."""
    session = Session.of(context, as_json)
    with session.hub() as hub:
        _follow(session, hub, find_operation(hub, operation), "Copying", wait=wait, judged=wait)


@copies.command()
def cancel(context: typer.Context, operation: OperationArgument, as_json: AsJson = False) -> None:
    """Stop an operation, or drop a plan. What is copied by then stays."""
    session = Session.of(context, as_json)
    with session.hub() as hub, output.working("Stopping"):
        found = hub.copies.cancel(find_operation(hub, operation))
        _finish(session, ProjectFinder(hub), found, judged=False)


@copies.command("list")
def list_operations(
    context: typer.Context,
    project: Annotated[
        str | None, typer.Argument(metavar="PROJECT", help=f"Only copies from or to this. {PROJECT_HELP}")
    ] = None,
    plans: Annotated[
        bool, typer.Option("--plans", "--all", help="Also plans that were never applied; they are kept for a day.")
    ] = False,
    limit: Annotated[int, typer.Option("--limit", "-n", help="How many at most.")] = 100,
    as_json: AsJson = False,
) -> None:
    """List your copies, newest first: from where to where, and their ids, for copies show and copies undo."""
    session = Session.of(context, as_json)
    with session.hub() as hub, output.working("Asking for copies"):
        finder = ProjectFinder(hub)
        project_id = None if project is None else finder.find(project)
        found: list[Any] = list(hub.copies.list(project_id, plans=plans, limit=limit))
        titles = finder.titles() if found and not session.as_json else {}
    if session.as_json:
        output.print_json(found)
    else:
        print_list(found, titles)


@copies.command()
def files(
    context: typer.Context,
    operation: OperationArgument,
    number: Annotated[int, typer.Argument(metavar="[NUMBER]", help="The target's number, as copies show has it.")] = 0,
    status: Annotated[
        list[str] | None, typer.Option("--status", metavar="STATUS", help="Only such files; repeatable.")
    ] = None,
    limit: Annotated[int, typer.Option("--limit", "-n", help="How many at most.")] = 1000,
    as_json: AsJson = False,
) -> None:
    """List the files of one target that are not the same already, and what is to become of each."""
    session = Session.of(context, as_json)
    with session.hub() as hub, output.working("Asking for files"):
        page: Any = hub.copies.files(find_operation(hub, operation), number, statuses=status or None, limit=limit)
    if session.as_json:
        output.print_json(page)
    else:
        print_files(page)


def find_operation(hub: Hub, text: str) -> str:
    """The id of the operation that ``text`` stands for.

    Raises:
        NotFound: None.
        Conflict: Several.
    """
    if is_uuid(text):
        return text.lower()
    found = [one["id"] for one in hub.copies.list(plans=True, limit=500) if one["id"].startswith(text.lower())]
    if not found:
        raise NotFound(f"no copy operation of yours has an id that begins with {text!r}")
    if len(found) > 1:
        raise Conflict(f"{len(found)} copy operations have an id that begins with {text!r}; give more of it")
    return found[0]


def _options(
    policy: str,
    overwrite_newer: bool,
    delete_missing: bool,
    backup: bool,
    exclude: list[str] | None,
    skip_missing: bool,
) -> dict[str, Any]:
    return {
        "policy": policy,
        "overwrite_newer": overwrite_newer,
        "delete_missing": delete_missing,
        "backup": backup,
        "exclude": exclude or None,
        "skip_missing": skip_missing,
    }


def _ends(
    finder: ProjectFinder, context: typer.Context, given: list[str], targets_from: Path | None, into: str | None
) -> dict[str, Any]:
    """From where to where: the arguments of `plan` of the client."""
    more = [] if targets_from is None else _lines(targets_from)
    if into is not None:
        project, path = _parts(into, context)
        sources = [_source(finder, text, context) for text in (*given, *more)]
        return {"sources": sources, "target": {"project_id": finder.find(project), "path": path or "."}}
    source = _source(finder, given[0], context)
    targets = [_target(finder, text, source.get("project_id"), context) for text in (*given[1:], *more)]
    if not targets:
        raise typer.BadParameter("no target is named; give DST[:PATH], --targets-from or --into", ctx=context)
    return {"source": source, "targets": targets}


def _source(finder: ProjectFinder, text: str, context: typer.Context) -> dict[str, str]:
    project, path = _parts(text, context)
    if is_share_id(project):
        return {"public_path_id": project, "path": path}
    if not project or not path:
        raise typer.BadParameter(f"{text!r} has to name both: a project and a path", ctx=context)
    return {"project_id": finder.find(project), "path": path}


def _target(finder: ProjectFinder, text: str, source_id: str | None, context: typer.Context) -> dict[str, str]:
    project, _, path = text.partition(":")
    if not project and source_id is None:
        raise typer.BadParameter(f"{text!r} has to name a project: the source is a share", ctx=context)
    found = {"project_id": finder.find(project) if project else source_id or ""}
    return {**found, "path": path} if path else found


def _lines(file: Path) -> list[str]:
    """What a file names: lines that are neither empty nor a remark.

    Raises:
        InvalidArgument: It cannot be read.
    """
    try:
        text = typer.get_text_stream("stdin").read() if str(file) == "-" else file.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidArgument(f"{str(file)!r} cannot be read: {error}") from error
    lines = [line.strip() for line in text.splitlines()]
    return [line for line in lines if line and not line.startswith("#")]


def _follow(session: Session, hub: Hub, id: str, text: str, *, wait: bool, judged: bool = True) -> None:
    if wait:
        with output.copying(text) as follow:
            operation = hub.copies.wait(id, on_progress=follow)
    else:
        operation = hub.copies.get(id)
    _finish(session, ProjectFinder(hub), operation, judged=judged)


def _finish(session: Session, finder: ProjectFinder, operation: Any, *, judged: bool = True) -> None:
    """Print an operation, and end with 1 if one of its targets was not copied to."""
    if session.as_json:
        output.print_json(operation)
    else:
        print_operation(operation, finder.titles())
    states = operation["totals"]["states"]
    if judged and (states.get("failed") or states.get("refused")):
        raise typer.Exit(FAILED)


def _parts(text: str, context: typer.Context) -> tuple[str, str]:
    project, colon, path = text.partition(":")
    if not colon:
        raise typer.BadParameter(f"{text!r} has no colon between the project and the path", ctx=context)
    return project, path
