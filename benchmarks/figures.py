"""All figures, by name, and how they are taken."""

from __future__ import annotations

from tests.hubs import HubProcess

from benchmarks import copies, exports, files, hub, jobs, jupyter, keys, people, snapshots, survival
from benchmarks.table import Table

FIGURES = {
    "start": hub.start_stop,
    "many": hub.many,
    "calls": hub.small_calls,
    "list": hub.listing,
    "rate": hub.rate,
    "copies": hub.copies,
    "trees": copies.figures,
    "keys": keys.checks,
    "exec": hub.execution,
    "jobs": jobs.output,
    "jupyter": jupyter.calls,
    "files": files.transfers,
    "archives": files.unpacking,
    "exports": exports.out_and_in,
    "snapshots": snapshots.figures,
    "adoption": survival.adoption,
    "neighbours": survival.neighbours,
    "waiting": survival.waiting,
    "people": people.figures,
}


def measure(table: Table, *, projects: int, only: str) -> None:
    """Take the figures whose names contain ``only``."""
    process = HubProcess()
    try:
        wire = hub.Wire(process)
        for name, figure in FIGURES.items():
            if only in name:
                figure(table, process, wire, projects)
    finally:
        process.close()
