"""Planning what a directory of the source does to what is in its place and is none: a file, or a symlink."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

from projecthub.files.copying.manifests import DIRECTORY, OTHER
from projecthub.files.copying.plan_files import TOLD, row_of
from projecthub.files.copying.plan_writing import PlanWriter, opened, parted
from projecthub.files.copying.policies import Action, Since, Status, decide
from projecthub.files.copying.states import identity, status_at


@dataclass(frozen=True, slots=True)
class Met:
    """What was met.

    Attributes:
        status: How it is to the directory.
        is_kept: Whether it stays, and the directory stays out.
        displaced: What it was, and the name for its backup with what has that.
    """

    status: Status
    is_kept: bool
    displaced: list[Any]


def meet(plan: PlanWriter, where: str, part: dict[str, Any]) -> Met | None:
    """Plan what becomes of what is in the place of a directory; None: it is gone by now.

    Args:
        plan: The plan, which gets a row for it.
        where: The place.
        part: The first part of the directory.
    """
    parent, name = parted(where)
    with opened(plan.target.fd, parent) as fd:
        there = None if fd is None else status_at(fd, name)
        if fd is None or there is None:
            return None
        status, action = decide(
            plan.options,
            source=True,
            target=True,
            same=False,
            newer=plan.options.keeps_newer_kinds and there.st_mtime_ns > part["t"],
            since=_since(plan, part["p"], fd, name, there),
            moved=True,
        )
        spare = None
        if action is Action.BESIDE:  # a directory has no place beside: what is in it would be handed out twice
            action = Action.KEEP
        if action is Action.WRITE:
            spare = plan.spare(fd, name, there)
            plan.free(there)
            plan.summary.to_back_up += spare is not None
            if spare is not None and spare[1] is not None and spare[1][0] == DIRECTORY:
                action = Action.BLOCKED
                plan.summary.blocked += 1
        else:
            plan.summary.keep(plan.shown(where))
            plan.summary.left_out += 1
    plan.summary.counts[status] += 1
    entry = [name, DIRECTORY, part["m"], 0, part["t"], part["b"]]
    found = identity(there)
    row = row_of(name, status, action, entry, found, None, spare)
    plan.write(parent, [row], s=TOLD, c=-1, q=parted(part["p"])[0])
    return Met(status, action is Action.KEEP, [found, spare])


def _since(plan: PlanWriter, path: str, fd: int, name: str, there: os.stat_result) -> Since:
    """What became of what was handed out under the path that is a directory of the source now."""
    above, source_name = parted(path)
    within = plan.before
    plan.before = None if plan.base is None else plan.base.entries(above) if path else {}
    try:
        return plan.since(source_name, None, fd, name, there)[0]
    finally:
        plan.before = within


def stay_out(plan: PlanWriter, where: str, part: dict[str, Any], status: Status) -> None:
    """Tell of what is in a directory that does not get its place, or in a part of one, for the same reason."""
    entries = [entry for entry in part["e"] if entry[1] not in (DIRECTORY, OTHER)]
    if entries:
        plan.summary.counts[status] += len(entries)
        plan.write(where, [row_of(entry[0], status, Action.KEEP, entry) for entry in entries], s=TOLD, c=-1)
