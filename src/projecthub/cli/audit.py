"""`projecthub audit`."""

from __future__ import annotations

import csv
import json
import sys
import time
from collections.abc import Iterable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from projecthub.cli import output
from projecthub.cli.references import PROJECT_HELP, ProjectFinder
from projecthub.cli.session import AsJson, Session
from projecthub.cli.times import DURATION_HELP, moment_ago

if TYPE_CHECKING:
    from projecthub import Hub

_SHOWN: Final = 100
_EVERY_S: Final = 1.0
_PAGE: Final = 1000
_COLUMNS: Final = (
    "id", "time", "began", "account_id", "key_id", "key_kind", "request_id", "address", "method", "project_id",
    "target", "outcome", "message", "times",
)  # fmt: skip
_FORMULA: Final = ("=", "+", "-", "@")
"""What spreadsheets take for the beginning of a formula."""
_TIME_HELP: Final = f"2027-01-31, 2027-01-31T12:00, or so long ago, {DURATION_HELP}"


def audit(
    context: typer.Context,
    account: Annotated[str | None, typer.Option(metavar="PERSON", help="By whom: an id or e-mail address.")] = None,
    project: Annotated[str | None, typer.Option(metavar="PROJECT", help=f"Named. {PROJECT_HELP}")] = None,
    method: Annotated[str | None, typer.Option(help="Beginning of a method's name, such as projects.")] = None,
    outcome: Annotated[str | None, typer.Option(help="ok, unknown, left, or an error's code.")] = None,
    denied: Annotated[bool, typer.Option("--denied", help="Only what was denied.")] = False,
    since: Annotated[str | None, typer.Option(parser=moment_ago, metavar="TIME", help=_TIME_HELP)] = None,
    until: Annotated[str | None, typer.Option(parser=moment_ago, metavar="TIME", help="Before then.")] = None,
    limit: Annotated[
        int | None, typer.Option("--limit", "-n", min=1, help="Entries at most. Default: 100, or all of an export.")
    ] = None,
    oldest_first: Annotated[bool, typer.Option("--oldest-first", help="From the oldest entry on.")] = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Export as CSV.")] = False,
    as_jsonl: Annotated[bool, typer.Option("--jsonl", help="Export as JSON, a line for each entry.")] = False,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Print what comes from now on, until Ctrl-C.")] = False,
    as_json: AsJson = False,
) -> None:
    """Who changed what, and who was denied: newest first. For site admins.

    Exports are made while they are printed, whatever their size.
    """
    session = Session.of(context, as_json)
    if sum((session.as_json, as_csv, as_jsonl)) > 1 or (follow and session.as_json):
        raise typer.BadParameter("give one of --json, --jsonl and --csv; with --follow --jsonl or --csv")
    if denied and outcome:
        raise typer.BadParameter("give --denied or --outcome, not both")
    if follow and (oldest_first or limit is not None or until is not None):
        raise typer.BadParameter("--follow prints what comes from now on; leave --oldest-first, --limit, --until out")
    with session.hub() as hub:
        filters: dict[str, Any] = {
            "account_id": account,
            "project_id": ProjectFinder(hub).find(project) if project else None,
            "method": method,
            "outcome": "denied" if denied else outcome,
            "since": since,
            "until": until,
        }
        if follow:
            show = partial(_print, as_csv=as_csv, as_jsonl=as_jsonl) if as_csv or as_jsonl else _print_lines
            show(_coming(hub, filters))
            return
        is_export = session.as_json or as_csv or as_jsonl
        entries = hub.audit.entries(
            **filters,
            order="oldest" if oldest_first else "newest",
            limit=limit if limit is not None or is_export else _SHOWN,
        )
        if is_export:
            _print(entries, as_csv=as_csv, as_jsonl=as_jsonl)
        else:
            _print_table(entries)


def _print_table(entries: Iterable[Any]) -> None:
    with output.working("Asking for the audit log"):
        rows = [_row(entry) for entry in entries]
    output.print_table(("TIME", "ACCOUNT", "METHOD", "PROJECT", "OUTCOME", "DETAILS"), rows)


def _coming(hub: Hub, filters: dict[str, Any]) -> Iterator[Any]:
    """Entries as they come, until Ctrl-C."""
    page = hub.audit.list(limit=1)
    after = page["entries"][0]["id"] if page["entries"] else None
    try:
        while True:
            page = hub.audit.list(**filters, after=after, order="oldest", limit=_PAGE)
            yield from page["entries"]
            last = page["entries"][-1]["id"] if page["entries"] else after
            after = last if page["next"] is None else page["next"]
            if page["next"] is None:
                sys.stdout.flush()
                time.sleep(_EVERY_S)
    except KeyboardInterrupt:
        return


def _print_lines(entries: Iterable[Any]) -> None:
    """Print entries for people, a line each, as they come."""
    for entry in entries:
        print("  ".join(output.plain(str(part)) for part in _row(entry) if part), flush=True)


def _print(entries: Iterable[Any], *, as_csv: bool, as_jsonl: bool) -> None:
    """Print entries one after the other; none of them is kept."""
    if as_csv:
        writer = csv.writer(sys.stdout, lineterminator="\n")
        writer.writerow(_COLUMNS)
        for entry in entries:
            writer.writerow([_cell(entry[name]) for name in _COLUMNS])
    elif as_jsonl:
        for entry in entries:
            print(json.dumps(entry))
    else:
        separator = "["
        for entry in entries:
            print(f"{separator}\n  {json.dumps(entry)}", end="")
            separator = ","
        print("[]" if separator == "[" else "\n]")


def _cell(value: Any) -> Any:
    """A cell that no spreadsheet takes for a formula."""
    if not isinstance(value, str | dict):
        return value
    text = output.plain(value if isinstance(value, str) else json.dumps(value))
    return f"'{text}" if text.startswith(_FORMULA) else text


def _row(entry: Any) -> tuple[Any, ...]:
    target = entry["target"] or {}
    details = [f"{name}={', '.join(value) if isinstance(value, list) else value}" for name, value in target.items()]
    if entry["message"]:
        details.append(entry["message"])
    if entry["times"] > 1:
        details.append(f"{entry['times']} times")
    who = entry["account_id"] or entry["address"]
    return (output.local_time(entry["time"]), who, entry["method"], entry["project_id"], entry["outcome"],
            "; ".join(details))  # fmt: skip
