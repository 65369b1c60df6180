"""Copies, as people get to see them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from projecthub.cli import output

_HEADINGS: Final = {
    "new": "NEW",
    "same": "SAME",
    "changed_by_us": "OURS",
    "changed_by_them": "THEIRS",
    "conflict": "CONFLICT",
    "deleted_by_them": "GONE",
    "would_be_deleted": "DELETE",
}
_UNITS: Final = ("B", "kB", "MB", "GB", "TB")


def print_summary(summary: Any) -> None:
    """What a single copy has done."""
    told = {name: value for name, value in summary.items() if name != "kept_newer_paths"}
    output.print_facts([(name, value) for name, value in told.items() if value or name in ("files", "bytes")])
    for path in summary.get("kept_newer_paths", ()):
        output.print_note(f"kept, because newer in the target: {path}")
    if "operation_id" in summary:
        output.print_note(f"projecthub copies undo {summary['operation_id']} takes it back, for a week")


def print_operation(operation: Any, titles: Mapping[str, str]) -> None:
    """An operation with a summary table of its targets, whose projects have these titles, as far as they are known."""
    totals, progress = operation["totals"], operation["progress"]
    states = ", ".join(f"{n} {state}" for state, n in sorted(totals["states"].items()))
    output.print_facts(
        [
            ("id", operation["id"]),
            ("state", operation["state"]),
            ("policy", operation["policy"]),
            ("from", _end(operation.get("source"), titles)),
            ("to", _end(operation.get("target"), titles)),
            ("targets", states or progress["targets"]),
            ("files", totals["files"]),
            ("bytes", size(totals["bytes"])),
            ("can be undone until", output.local_time(operation.get("undo_until"))),
        ]
    )
    targets: Sequence[Any] = operation.get("targets") or ()
    if targets:
        print()
        _print_targets(targets, titles)
    if (hint := _hint(operation)) is not None:
        output.print_note(hint)


def _hint(operation: Any) -> str | None:
    """What can be done with an operation now."""
    if operation["state"] == "planned":
        return f"nothing is copied yet; projecthub copies apply {operation['id']} does it"
    if operation["state"] == "failed" and operation.get("applied") is False:
        return "of this plan nothing can be applied: all of its targets have failed"
    if any(target.get("can_undo") for target in operation.get("targets") or ()):
        return f"projecthub copies undo {operation['id']} takes it back"
    return None


def _print_targets(targets: Sequence[Any], titles: Mapping[str, str]) -> None:
    ends = {side: len({target[f"{side}_project_id"] for target in targets}) for side in ("source", "target")}
    side = "source" if ends["source"] > ends["target"] else "target"
    statuses = [status for status in _HEADINGS if any(target.get("counts", {}).get(status) for target in targets)]
    counted = [_HEADINGS[status] for status in statuses]
    headings = ["NUMBER", "PROJECT", "TITLE", "PATH", "STATE", *counted, "FILES", "SIZE", "DETAILS"]
    output.print_table(headings, [_row(target, side, statuses, titles) for target in targets])


def _row(target: Any, side: str, statuses: Sequence[str], titles: Mapping[str, str]) -> list[Any]:
    counts = target.get("counts", {})
    return [
        target["number"],
        target[f"{side}_project_id"],
        titles.get(target[f"{side}_project_id"]),
        target["target_path"],
        target["state"],
        *(counts.get(status) or None for status in statuses),
        target.get("files"),
        None if target.get("bytes") is None else size(target["bytes"]),
        _details(target),
    ]


def _details(target: Any) -> str | None:
    parts = []
    if target.get("error"):
        parts.append(target["error"])
    if target.get("vanished"):
        parts.append(f"{target['vanished']} not copied: gone from the source since the plan")
    if target.get("skipped"):
        parts.append(f"{target['skipped']} skipped (pipes, sockets, devices)")
    if target.get("over_quota"):
        parts.append("over quota")
    if target.get("kept_newer"):
        parts.append(f"{target['kept_newer']} kept")
    if (undone := target.get("undone")) is not None:
        parts.append(f"{undone['restored']} put back, {undone['removed']} taken away, {undone['kept']} kept")
    return "; ".join(parts) or None


def _end(end: Any, titles: Mapping[str, str]) -> str | None:
    """Where copies come from or go to: ``Course:hw1``, ``31 projects:hw1``; None: it is not known."""
    if not end:
        return None
    project = end.get("project_id")
    name = f"{end['projects']} projects" if project is None else titles.get(project) or project
    if "public_path_id" in end and project not in titles:
        name = f"share {end['public_path_id']}"
    return f"{name}:{end['path']}" if "path" in end else f"{name}, several paths"


def print_list(operations: Sequence[Any], titles: Mapping[str, str]) -> None:
    """A list of operations; ``titles`` of projects, by their ids."""
    rows = [
        (
            one["id"],
            output.local_time(one["created"]),
            one["state"],
            one["policy"],
            _end(one.get("source"), titles),
            _end(one.get("target"), titles) or f"{one['progress']['targets']} targets",
            one["totals"]["files"],
            size(one["totals"]["bytes"]),
        )
        for one in operations
    ]
    output.print_table(("ID", "MADE", "STATE", "POLICY", "FROM", "TO", "FILES", "SIZE"), rows)


def print_files(page: Any) -> None:
    """The files of a plan."""
    rows = [(one["status"], one["action"], size(one["size"]), one["path"], one.get("beside")) for one in page["files"]]
    output.print_table(("STATUS", "ACTION", "SIZE", "PATH", "BESIDE"), rows)
    if page["next"] is not None:
        output.print_note("there are more; --limit shows them")


def size(value: float) -> str:
    """Bytes for people: ``1.5 MB``."""
    for unit in _UNITS:
        if value < 1000 or unit == _UNITS[-1]:
            break
        value /= 1000
    return f"{value:.3g} {unit}" if value < 1000 else f"{value:.0f} {unit}"
