"""Copies, as people get to see them."""

from __future__ import annotations

from collections.abc import Sequence
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


def print_operation(operation: Any) -> None:
    """An operation with a summary table of its targets."""
    totals, progress = operation["totals"], operation["progress"]
    states = ", ".join(f"{n} {state}" for state, n in sorted(totals["states"].items()))
    output.print_facts(
        [
            ("id", operation["id"]),
            ("state", operation["state"]),
            ("policy", operation["policy"]),
            ("targets", states or progress["targets"]),
            ("files", totals["files"]),
            ("bytes", size(totals["bytes"])),
            ("can be undone until", output.local_time(operation.get("undo_until"))),
        ]
    )
    targets: Sequence[Any] = operation.get("targets") or ()
    if not targets:
        return
    print()
    ends = {side: len({target[f"{side}_project_id"] for target in targets}) for side in ("source", "target")}
    side = "source" if ends["source"] > ends["target"] else "target"
    statuses = [status for status in _HEADINGS if any(target.get("counts", {}).get(status) for target in targets)]
    headings = ["NUMBER", "PROJECT", "PATH", "STATE", *(_HEADINGS[status] for status in statuses), "FILES", "SIZE"]
    output.print_table([*headings, "DETAILS"], [_row(target, side, statuses) for target in targets])


def _row(target: Any, side: str, statuses: Sequence[str]) -> list[Any]:
    counts = target.get("counts", {})
    return [
        target["number"],
        target[f"{side}_project_id"],
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
    if target.get("over_quota"):
        parts.append("over quota")
    if target.get("kept_newer"):
        parts.append(f"{target['kept_newer']} kept")
    if (undone := target.get("undone")) is not None:
        parts.append(f"{undone['restored']} put back, {undone['removed']} taken away, {undone['kept']} kept")
    return "; ".join(parts) or None


def print_list(operations: Sequence[Any]) -> None:
    """A list of operations."""
    rows = [
        (
            one["id"],
            output.local_time(one["created"]),
            one["state"],
            one["policy"],
            one["progress"]["targets"],
            one["totals"]["files"],
            size(one["totals"]["bytes"]),
        )
        for one in operations
    ]
    output.print_table(("ID", "MADE", "STATE", "POLICY", "TARGETS", "FILES", "SIZE"), rows)


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
