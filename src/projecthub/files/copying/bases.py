"""What a target was given: the list of its source, but for what a copy has left out, of which it has what it had."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Any

from projecthub.files.copying.manifests import FILE, SYMLINK, VERSION, BaseManifest, Entry, Manifest, encode, fields_of
from projecthub.files.copying.plan_files import TOLD, Plan, Row, rows_of
from projecthub.files.copying.policies import Action, Status
from projecthub.files.plans import Policy


def write_given(manifest: Path, plan: Path, base: Path | None, given: Path, policy: Policy) -> None:
    """Write down what a target was given. Blocks: run it in a thread.

    Args:
        manifest: What its source held.
        plan: What the copy has done.
        base: What it was given before; None: that is not known.
        given: Where to write it, as a manifest; what is there is replaced, at once, and is on the disk then.
        policy: Of the copy.

    Raises:
        OSError: It cannot be written.
    """
    part = given.with_name(given.name + ".part")
    with contextlib.ExitStack() as stack:
        found = stack.enter_context(Manifest(manifest))
        before = None if base is None else BaseManifest(base)
        if before is not None:
            stack.callback(before.close)
            before = before if before.origin == found.origin else None
        opened = stack.enter_context(Plan(plan))
        file = stack.enter_context(part.open("w", encoding="ascii", newline="\n"))
        file.write(encode({"version": VERSION, "name": found.name, "origin": found.origin}) + "\n")
        given_of = _Given(opened, before, policy, is_single=found.name is not None)
        for index, each in enumerate(found.parts()):
            given_of.change(index, each)
            if each["e"] or not given_of.is_out(each["p"]):
                file.write(encode(each) + "\n")
        file.write(encode({"end": fields_of(found.summary())}) + "\n")
        file.flush()
        os.fsync(file.fileno())
    part.rename(given)


class _Given:
    """Changes a list of a source into what was given. Plan and list have one order, and are read side by side."""

    def __init__(self, plan: Plan, before: BaseManifest | None, policy: Policy, *, is_single: bool) -> None:
        self._before = before
        self._is_single = is_single
        self._is_merge = policy is Policy.MERGE
        self._out: dict[str, set[str]] = {}  # directories of the source that have not got their place, by what has them
        for part in plan.parts():
            if part["s"] == TOLD and "q" in part:
                self._out.setdefault(part["q"], set()).update(row.name for row in rows_of(part) if _stays(row))
        self._parts = (part for part in plan.parts() if part["c"] >= 0)
        self._part = next(self._parts, None)

    def is_out(self, path: str) -> bool:
        """Whether a directory is one that has not got its place, or lies in one."""
        while path and self._out:
            above, _, name = path.rpartition("/")
            if name in self._out.get(above, ()):
                return True
            path = above
        return False

    def change(self, index: int, part: dict[str, Any]) -> None:
        """Change a part of the list."""
        rows, out = self._rows(index), self._out.get(part["p"], set())
        is_out = self.is_out(part["p"])
        if not rows and not out and not is_out:
            return
        before = {} if self._before is None else self._before.entries(part["p"])
        entries = []
        for entry in part["e"]:
            row = next(iter(rows.values()), None) if self._is_single else rows.get(entry[0])
            is_left = is_out or entry[0] in out
            given = before.get(entry[0]) if is_left else _given(entry, row, before.get(entry[0]))
            if given is not None:
                entries.append(given)
        part["e"] = entries

    def _rows(self, index: int) -> dict[str, Row]:
        """What was left out of a part, in all or of its mode."""
        while self._part is not None and self._part["c"] < index:
            self._part = next(self._parts, None)
        if self._part is None or self._part["c"] != index:
            return {}
        return {
            row.name: row
            for row in rows_of(self._part)
            if row.action == Action.WRITE or (_stays(row) and not (self._is_merge and row.status == Status.CONFLICT))
        }  # a conflict that is merged lies beside already, if it is not put there now


def _stays(row: Row) -> bool:
    return row.action == Action.KEEP


def _given(entry: Entry, row: Row | None, before: Entry | None) -> Entry | None:
    """What was given of an entry of the source, if anything was, ever."""
    if row is None:
        return entry
    mode = before[2] if before is not None and len(before) > 2 else entry[2] if len(entry) > 2 else 0
    if row.action == Action.WRITE:
        return entry if row.mode == entry[2] else [*entry[:2], mode, *entry[3:]]
    there = row.there or ["", 0, 0, 0, 0, 0]
    is_mode_alone = (there[0], there[4], there[2]) == (FILE, row.size, row.mtime_ns)
    return [*entry[:2], mode, *entry[3:]] if is_mode_alone and row.kind != SYMLINK else before
