"""A home with a shelf for its snapshots, without a hub, and what can be seen of a tree of files."""

from __future__ import annotations

import os
import stat
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from projecthub.files import Home
from projecthub.files.snapshots import restoring
from projecthub.files.snapshots.comparing import changes_since
from projecthub.files.snapshots.manifests import Entry, key_of, read
from projecthub.files.snapshots.shelves import Shelf
from projecthub.files.snapshots.sweeping import sweep
from projecthub.files.snapshots.taking import Count, Taking
from projecthub.wire.ids import ProjectId

PROJECT = ProjectId("11111111-1111-4111-8111-111111111111")


@dataclass
class SnapshotHome:
    """A home and its shelf, beneath one directory."""

    top: Path
    project_id: ProjectId = PROJECT

    def __post_init__(self) -> None:
        self.path = self.top / "projects" / self.project_id / "home"
        self.path.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.home = Home(self.path, None, ())
        self.shelf = Shelf(self.top / "snapshots", self.project_id)
        self.count = Count()

    def take(
        self, previous: str | None = None, *, unsure_s: float = 0.0, take: Callable[[int], None] = lambda size: None
    ) -> str:
        """Take a snapshot; tells its id."""
        snapshot_id = str(uuid.uuid4())
        before = None if previous is None else self.shelf.manifest(previous)
        taking = Taking(self.shelf, self.path, before, check=lambda: None, take=take, unsure_s=unsure_s)
        try:
            taking.run()
            taking.place(snapshot_id)
        finally:
            taking.close()
        self.count = taking.count
        return snapshot_id

    def decide(self, snapshot_id: str, path: str = "") -> None:
        """Do all of a restoring up to the decision."""
        staged = restoring.Restoring(self.home, self.shelf, lambda: None)
        plan = restoring.Plan(
            snapshot_id=snapshot_id,
            path=path,
            by=self.project_id,
            before=snapshot_id,
            before_ns=time.time_ns() + 10**9,  # nothing goes to the trash
            files=0,
            bytes=0,
        )
        try:
            staged.stage(self.shelf.manifest(snapshot_id), plan)
            staged.decide()
        finally:
            staged.close()

    def finish(self) -> list[str]:
        """Bring about what was decided; tells what went to the trash."""
        plan = restoring.pending(self.home)
        assert plan is not None
        kept = restoring.finish(self.home, plan, datetime.now(UTC), self.shelf.manifest(plan.before))
        restoring.forget(self.home)
        return kept

    def restore(self, snapshot_id: str, path: str = "") -> None:
        """Restore in place, without a snapshot of what is there."""
        self.decide(snapshot_id, path)
        self.finish()

    def entries(self, snapshot_id: str) -> dict[str, Entry]:
        """What a snapshot holds, by path."""
        return {entry.path: entry for entry in read(self.shelf.manifest(snapshot_id))}

    def changes(self, snapshot_id: str, other: str | None = None, path: str = "", **more: Any) -> dict[str, str]:
        """The status of each path that is other."""
        past = None if "past" not in more else key_of(more["past"])
        found = changes_since(
            self.shelf, snapshot_id, other, self.path, path, past=past, limit=more.get("limit", 10**6),
            check=lambda: None,
        )  # fmt: skip
        return {change.path: change.status for change in found}

    def sweep(self, *ids: str) -> int:
        """Remove what these snapshots do not need."""
        return sweep(self.shelf, [self.shelf.manifest(each) for each in ids], 0)

    def tree(self) -> dict[str, Any]:
        """All that a snapshot keeps of the home."""
        return tree_of(self.path, leave_out=".projecthub")


def tree_of(top: Path, leave_out: str = "") -> dict[str, Any]:
    """What can be seen of a tree: kinds, modes, times, contents, links, names of one file, attributes."""
    found: dict[str, Any] = {}
    names: dict[int, list[str]] = {}
    pending = [b""]
    while pending:
        parent = pending.pop()
        for raw in sorted(os.listdir(os.path.join(os.fsencode(top), parent))):
            path = os.path.join(parent, raw)
            if path == os.fsencode(leave_out):
                continue
            full = os.path.join(os.fsencode(top), path)
            status, shown = os.lstat(full), os.fsdecode(path)
            kind, detail = stat.S_IFMT(status.st_mode), None
            if stat.S_ISDIR(status.st_mode):
                pending.append(path)
            elif stat.S_ISLNK(status.st_mode):
                detail = os.readlink(full)
            elif stat.S_ISREG(status.st_mode):
                with open(full, "rb") as file:
                    detail = file.read()
                names.setdefault(status.st_ino, []).append(shown)
            else:
                continue
            xattrs = {name: os.getxattr(full, name, follow_symlinks=False) for name in _xattrs(full)}
            found[shown] = (kind, stat.S_IMODE(status.st_mode), status.st_mtime_ns, detail, xattrs)
    found["\0names"] = sorted(sorted(group) for group in names.values() if len(group) > 1)
    return found


def _xattrs(path: bytes) -> list[str]:
    try:
        return [name for name in os.listxattr(path, follow_symlinks=False) if name.startswith("user.")]
    except OSError:
        return []
