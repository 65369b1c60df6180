"""Planning what is deleted from a target: what it alone has, and what is in the way of a file."""

from __future__ import annotations

import os
import stat

from projecthub.files.copying.manifests import DIRECTORY
from projecthub.files.copying.plan_files import DOOMED, Row
from projecthub.files.copying.plan_writing import PlanWriter, opened, parted
from projecthub.files.copying.policies import Action, Status, decide
from projecthub.files.copying.states import identity, status_at
from projecthub.files.paths import PendingDirectories, join

_MAX_DOOMED_BYTES = 65_536
"""Of a path; what lies deeper is not deleted entry by entry."""


class Deletions:
    """The deletions of one plan."""

    def __init__(self, plan: PlanWriter) -> None:
        """Make ready."""
        self._plan = plan

    def rows(self, where: str, fd: int, names: list[str]) -> list[Row]:
        """Rows for what is deleted of a directory, and parts for what is deleted in directories of it."""
        rows: list[Row] = []
        for name in names:
            self._plan.course.check()
            row = self._row(where, fd, name)
            if row is not None:
                rows.append(row)
        return rows

    def _row(self, where: str, fd: int, name: str) -> Row | None:
        there = status_at(fd, name)
        if there is None:
            return None
        is_directory = stat.S_ISDIR(there.st_mode)
        if self._stays(join(where, name), is_directory=is_directory):
            return None
        found = identity(there)
        kind, _, mtime_ns, _, size, mode = found
        summary, spare, status = self._plan.summary, None, Status.WOULD_BE_DELETED
        if is_directory:
            if not self.doom(join(where, name)):
                return None
            action = Action.DELETE
        else:
            since, _ = self._plan.since(name, None, fd, name, there)
            status, action = decide(
                self._plan.options, source=False, target=True, same=False, newer=False, since=since, moved=True
            )
            if action is Action.DELETE:
                spare = self._plan.spare(fd, name, there)
                if spare is not None and spare[1] is not None and spare[1][0] == DIRECTORY:
                    action = Action.BLOCKED
                    summary.blocked += 1
                else:
                    self._plan.free(there)
                    summary.to_back_up += spare is not None
            if action is Action.KEEP:
                summary.keep(self._plan.shown(join(where, name)))
        summary.counts[status] += 1
        summary.to_delete += action is Action.DELETE
        summary.steps += action is Action.DELETE
        return Row(name, status, action, kind, mode, size, mtime_ns, there.st_blocks, None, found, None, spare)

    def doom(self, top: str) -> bool:
        """Plan to delete all that may be deleted of a directory; tells whether nothing of it stays."""
        stays: set[str] = set()
        visited: list[str] = []
        pending = PendingDirectories(*parted(top))
        before, self._plan.before = self._plan.before, None if self._plan.base is None else {}
        try:
            for parent, name in pending:
                path = join(parent, name)
                visited.append(path)
                with opened(self._plan.target.fd, path) as fd:
                    if fd is None or len(os.fsencode(path)) > _MAX_DOOMED_BYTES:
                        stays.add(path)
                    else:
                        pending.add(path, self._doom_files(path, fd, stays))
        finally:
            self._plan.before = before
        for path in reversed(visited):
            parent = parted(path)[0]
            if path in stays or self._is_theirs(path):
                stays.add(path)
                stays.add(parent)
        for path in visited:
            if path != top and path not in stays:
                self._doom_directory(path)
        return top not in stays

    def _doom_files(self, path: str, fd: int, stays: set[str]) -> list[str]:
        """Plan to delete the files of a directory; tells which directories are in it."""
        below: list[str] = []
        rows: list[Row] = []
        names = sorted(os.listdir(fd))
        if self._plan.base is not None:
            self._plan.before = self._plan.base.entries(self._plan.relative(path))
        for name in names:
            self._plan.course.check()
            there = status_at(fd, name)
            if there is None:
                continue
            if stat.S_ISDIR(there.st_mode):
                inner = join(path, name)
                if self._stays(inner, is_directory=True):
                    stays.add(path)
                else:
                    below.append(name)
                continue
            row = self._row(path, fd, name)
            if row is None or row.action is not Action.DELETE or row.spare is not None:
                stays.add(path)
            if row is not None:
                rows.append(row)
        if rows:
            status = os.fstat(fd)
            was = [stat.S_IMODE(status.st_mode), status.st_mtime_ns]
            self._plan.write(path, rows, s=DOOMED, c=-1, was=was)
        return below

    def _is_theirs(self, path: str) -> bool:
        """Whether a directory stays because it was not handed out, whatever is in it."""
        base = self._plan.base
        return self._plan.spares_theirs and (base is None or not base.has(self._plan.relative(path)))

    def _doom_directory(self, path: str) -> None:
        parent, name = parted(path)
        with opened(self._plan.target.fd, parent) as fd:
            there = None if fd is None else status_at(fd, name)
            above = None if fd is None else os.fstat(fd)
        if there is None or above is None:
            return
        found = identity(there)
        self._plan.summary.counts[Status.WOULD_BE_DELETED] += 1
        self._plan.summary.to_delete += 1
        self._plan.summary.steps += 1
        row = Row(
            name,
            Status.WOULD_BE_DELETED,
            Action.DELETE,
            DIRECTORY,
            found[5],
            0,
            found[2],
            there.st_blocks,
            None,
            found,
        )
        was = [stat.S_IMODE(above.st_mode), above.st_mtime_ns]
        self._plan.write(parent, [row], s=DOOMED, c=-1, was=was)

    def _stays(self, path: str, *, is_directory: bool) -> bool:
        if self._plan.options.backup and path.endswith("~"):
            return True
        return bool(self._plan.excludes) and self._plan.excludes.match(
            self._plan.relative(path), is_directory=is_directory
        )
