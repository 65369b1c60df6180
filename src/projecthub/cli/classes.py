"""`projecthub class`: hand out and collect, as a class file says."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from projecthub.cli import output
from projecthub.cli.references import PROJECT_HELP, ProjectFinder
from projecthub.cli.session import AsJson, Session
from projecthub.client.classes.changes import ChangeKind

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from projecthub.client.classes.definition import Item
    from projecthub.client.classes.reports import ClassReport, CollectReport

classes = typer.Typer(
    help="Classes: who is in them, what is handed out and collected, as a small file in the course's project says.",
    no_args_is_help=True,
)

CourseArgument = Annotated[str, typer.Argument(metavar="PROJECT", help=f"The course. {PROJECT_HELP}")]
FileOption = Annotated[str, typer.Option("--file", "-f", metavar="PATH", help="The class file in its home.")]
ItemsArgument = Annotated[
    list[str] | None, typer.Argument(metavar="[ITEM]...", help="Only these items.", show_default="all")
]

_EXAMPLE: Final = """\
title = "{title}"
roster = "roster.csv"          # columns: email, and perhaps id, first name, last name, group
timezone = "UTC"               # of times that name none
# layout = "nbgrader"          # release/ITEM, submitted/STUDENT/ITEM, feedback/STUDENT/ITEM

[[item]]
name = "hw1"                   # the directory hw1 of this project goes to hw1 in the students'
# due = 2030-01-31T18:00:00
# exclude = ["solution*"]
# groups = ["A"]               # only for these
# policy = "merge"             # or update, keep, overwrite: what becomes of files that students have changed
# [item.extensions]
# "ada@example.org" = 2030-02-02
"""
_NAMED: Final = 5
"""So many students are named where more are counted."""
_ROSTER: Final = "email,id,first name,last name,group\n"


@classes.command()
def init(
    context: typer.Context,
    project: CourseArgument,
    file: FileOption = "class.toml",
    roster: Annotated[
        Path | None, typer.Option(metavar="CSV", exists=True, dir_okay=False, help="A roster to begin with.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Put a class file with explanations, and a roster, into a project. What is there stays."""
    from projecthub.errors import Conflict, NotFound

    session = Session.of(context, as_json)
    with session.hub() as hub:
        project_id = ProjectFinder(hub).find(project)
        files = hub.project(project_id).files
        folder = file.rpartition("/")[0]
        roster_path = f"{folder}/roster.csv" if folder else "roster.csv"
        wanted = {file: b"", roster_path: b""}
        for path in wanted:
            try:
                files.stat(path)
            except NotFound:
                continue
            raise Conflict(f"'{path}' is there already; nothing was written. Edit it, or name another with --file")
        (row,) = hub.projects.get(fields=["title"], project_id=project_id)
        title = row.get("title", "Class").replace("\\", "\\\\").replace('"', '\\"')
        wanted[file] = _EXAMPLE.format(title=output.plain(title)).encode()
        wanted[roster_path] = roster.read_bytes() if roster else _ROSTER.encode()
        for path, content in wanted.items():
            files.write_bytes(path, content)
    if session.as_json:
        output.print_json({"project_id": project_id, "paths": list(wanted)})
    else:
        output.print_facts([("written", path) for path in wanted])


@classes.command()
def diff(
    context: typer.Context,
    project: CourseArgument,
    items: ItemsArgument = None,
    file: FileOption = "class.toml",
    as_json: AsJson = False,
) -> None:
    """Show what `apply` would do. Changes nothing."""
    session = Session.of(context, as_json)
    with session.hub() as hub, output.working("Comparing the class"):
        report = hub.classes.diff(ProjectFinder(hub).find(project), file, items)
    _print_report(session, report, done=False)
    _exit_if(report.has_failed)


@classes.command()
def apply(
    context: typer.Context,
    project: CourseArgument,
    items: ItemsArgument = None,
    file: FileOption = "class.toml",
    as_json: AsJson = False,
) -> None:
    """Make missing projects, add missing people, hand out what is missing or new. May be repeated."""
    session = Session.of(context, as_json)
    with session.hub() as hub, output.advancing("Working") as tell:
        report = hub.classes.apply(ProjectFinder(hub).find(project), file, items, on_progress=tell)
    _print_report(session, report, done=True)
    _exit_if(report.has_failed)


@classes.command()
def collect(
    context: typer.Context,
    project: CourseArgument,
    items: ItemsArgument = None,
    file: FileOption = "class.toml",
    early: Annotated[bool, typer.Option("--early", help="Also of those whose time is not over.")] = False,
    again: Annotated[bool, typer.Option("--again", help="Also what was collected before.")] = False,
    as_json: AsJson = False,
) -> None:
    """Collect the work of those whose time is over, once from each. To be called every few minutes, or by hand."""
    session = Session.of(context, as_json)
    with session.hub() as hub, output.advancing("Working") as tell:
        course = ProjectFinder(hub).find(project)
        reports = hub.classes.collect(course, file, items, early=early, again=again, on_progress=tell)
    _print_collected(session, reports)


@classes.command("return")
def return_graded(
    context: typer.Context,
    project: CourseArgument,
    items: ItemsArgument = None,
    file: FileOption = "class.toml",
    as_json: AsJson = False,
) -> None:
    """Give graded work back, as far as it is graded. May be repeated."""
    session = Session.of(context, as_json)
    with session.hub() as hub, output.advancing("Working") as tell:
        reports = hub.classes.return_graded(ProjectFinder(hub).find(project), file, items, on_progress=tell)
    _print_returned(session, reports)


@classes.command()
def status(
    context: typer.Context, project: CourseArgument, file: FileOption = "class.toml", as_json: AsJson = False
) -> None:
    """Show how everybody stands with every item, and when each is due."""
    session = Session.of(context, as_json)
    with session.hub() as hub, output.working("Looking at the class"):
        course = ProjectFinder(hub).find(project)
        students = hub.classes.status(course, file)
        definition = None if session.as_json else hub.classes.read(course, file)
    if definition is None:
        output.print_json([student.as_json() for student in students])
        return
    items = [item.name for item in definition.items]
    output.print_table(
        ("STUDENT", "NAME", "ACCOUNT", "PROJECT", *(name.upper() for name in items)),
        [
            (
                student.student,
                student.name,
                "yes" if student.has_account else "no",
                f"{student.project_id} (deleted)" if student.project_deleted else student.project_id,
                *(student.items.get(name) for name in items),
            )
            for student in students
        ],
    )
    for item in definition.items:
        output.print_note(f"{item.name}: {_told_due(item)}")
    for note in definition.notes:
        output.print_note(note)


def _told_due(item: Item) -> str:
    """When an item is due, and for whom at another time."""
    extensions = ", ".join(f"{id} {_time(at)}" for id, at in sorted(item.extensions.items()))
    due = f"due {_time(item.due)}" if item.due else "no due date"
    return f"{due}; extensions: {extensions}" if extensions else due


def _time(at: datetime) -> str:
    return output.local_time(at.isoformat()) or at.isoformat()


def _print_report(session: Session, report: ClassReport, *, done: bool) -> None:
    if session.as_json:
        output.print_json(report.as_json())
        return
    if report.changes:
        output.print_table(
            ("STUDENT", "WHAT", "DETAILS"),
            [(each.student, str(each.kind), each.name or each.who) for each in report.changes],
        )
    rows = []
    for handout in report.handouts:
        totals: dict[str, Any] = (handout.operation or {}).get("totals", {})
        counts: Counter[str] = Counter(totals.get("counts", {}))
        theirs = counts["changed_by_them"] + counts["deleted_by_them"]
        told = (counts["new"], counts["changed_by_us"], theirs, counts["conflict"], totals.get("files", 0))
        rows.append((handout.item, len(handout.students), *told))
    if rows:
        heads = ("ITEM", "STUDENTS", "NEW", "CHANGED BY US", "BY THEM", "BY BOTH", "WRITTEN" if done else "TO WRITE")
        output.print_table(heads, rows)
    if report.links:
        output.print_table(("STUDENT", "LINK"), sorted(report.links.items()))
        output.print_note(
            f"no mail was sent to {len(report.links)} students: pass the links on yourself; their tokens stay in "
            "`projecthub projects invite-tokens` of each project"
        )
    for failure in report.failures:
        output.print_error(f"{failure.student}: {failure.what}: {failure.error}")
    for handout in report.handouts:
        for student, error in handout.troubles:
            output.print_error(f"{handout.item}{f', {student}' if student else ''}: {error}")
    for note in report.notes:
        output.print_note(note)
    waiting = sum(change.kind in (ChangeKind.CREATE, ChangeKind.UNDELETE) for change in report.changes)
    if waiting and not done:
        output.print_note(f"{waiting} students get what is handed out once their projects are there")
    if report.departed:
        output.print_note(f"{len(report.departed)} projects are of students who are not in the class; they stay")
    if report.is_idle:
        output.print_note(f"{report.students} students; nothing to do")


def _print_collected(session: Session, reports: list[CollectReport]) -> None:
    if not session.as_json:
        rows = [
            (report.item, row.student, row.files, output.local_time(row.changed_at and row.changed_at.isoformat()),
             _late(row.late_s))
            for report in reports
            for row in report.rows
        ]  # fmt: skip
        output.print_table(("ITEM", "STUDENT", "FILES", "LAST CHANGED", "LATE"), rows)
    _print_work(session, reports, "collected")


def _print_returned(session: Session, reports: list[CollectReport]) -> None:
    if not session.as_json:
        rows = [(report.item, *each) for report in reports for each in sorted(report.returned.items())]
        output.print_table(("ITEM", "STUDENT", "FILES"), rows)
    _print_work(session, reports, "returned")


def _print_work(session: Session, reports: list[CollectReport], word: str) -> None:
    if session.as_json:
        output.print_json([report.as_json() for report in reports])
    else:
        for report in reports:
            for failure in report.failures:
                output.print_error(f"{report.item}, {failure.student}: {failure.error}")
            for stray in report.strays:
                output.print_note(f"{report.item}: '{stray}' is of nobody whom it can be returned to")
            output.print_note(f"{report.item}: {_sum(report, word)}")
    _exit_if(any(report.failures for report in reports))


def _sum(report: CollectReport, word: str) -> str:
    """How many of a class are done, and of whom nothing was there."""
    waiting = sum(at is not None for at in report.waiting.values())
    undated = len(report.waiting) - waiting
    told = f"{len(report.returned if word == 'returned' else report.rows)} {word}"
    told += f", nothing there from {len(report.missing)} ({_named(report.missing)})" if report.missing else ""
    told += f", {waiting} not due yet" if waiting else ""
    return told + (f", no due date for {undated} (--early collects from them)" if undated else "")


def _named(students: Sequence[str]) -> str:
    names = ", ".join(sorted(students)[:_NAMED])
    return names if len(students) <= _NAMED else f"{names} and {len(students) - _NAMED} more"


def _late(seconds: int) -> str | None:
    if not seconds:
        return None
    hours, minutes = seconds // 3600, seconds % 3600 // 60
    return f"{hours // 24} d {hours % 24} h" if hours >= 24 else f"{hours} h {minutes} min"


def _exit_if(failed: bool) -> None:
    if failed:
        raise typer.Exit(1)
