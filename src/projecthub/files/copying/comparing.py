"""A manifest beside a target, and beside what was handed out before: a plan comes of it. Changes nothing."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any

from projecthub.errors import Conflict, InvalidArgument
from projecthub.files.copying.manifests import (
    DIRECTORY,
    FILE,
    LINKED,
    NAME,
    OTHER,
    SYMLINK,
    BaseManifest,
    Entry,
    Manifest,
    encode,
)
from projecthub.files.copying.plan_files import DOOMED, IN_NEW, NEW, THERE, VERSION, PlanHead, PlanSummary, Row
from projecthub.files.copying.policies import Action, Since, Status, decide
from projecthub.files.copying.walking import End, hash_at, open_home
from projecthub.files.ends import Source, Target, open_source, open_target
from projecthub.files.excludes import Excludes
from projecthub.files.failures import unreadable, unwritable
from projecthub.files.making import KEPT_MODE, MISSING_DIRECTORY_MODE
from projecthub.files.paths import DIRECTORY as OPEN_DIRECTORY
from projecthub.files.paths import PendingDirectories, is_within, join, open_beneath, open_deep, same, shown
from projecthub.files.plans import CopyOptions, Course, Policy

_BLOCK_BYTES = 512
_MAX_DOOMED_BYTES = 65_536
"""Of a path; what lies deeper is not deleted entry by entry."""
_OLD_KINDS = {stat.S_IFREG: FILE, stat.S_IFLNK: SYMLINK, stat.S_IFDIR: DIRECTORY}


def identity(status: os.stat_result) -> list[Any]:
    """What tells one state of a file from another: kind, inode, times, size; and its mode."""
    kind = _OLD_KINDS.get(stat.S_IFMT(status.st_mode), OTHER)
    mode = stat.S_IMODE(status.st_mode)
    return [kind, status.st_ino, status.st_mtime_ns, status.st_ctime_ns, status.st_size, mode]


def status_at(directory_fd: int, name: str) -> os.stat_result | None:
    """What is there under a name; None: nothing."""
    try:
        return os.stat(name, dir_fd=directory_fd, follow_symlinks=False)
    except FileNotFoundError:
        return None


def compare(
    source: End,
    manifest: Path,
    target: End,
    plan: Path,
    *,
    options: CopyOptions,
    base: Path | None = None,
    course: Course,
) -> PlanSummary:
    """Find out what a copy would do. Blocks: run it in a thread.

    Args:
        source: What was walked.
        manifest: What the walk has found.
        target: Where it goes: what a directory's contents go to, or a file becomes or lands in.
        plan: Where to write the plan; what is there is replaced.
        options: How to copy.
        base: The manifest of what was handed out to this place before; None: it is not known.
        course: Ends it early.

    Raises:
        InvalidArgument: A path leaves its home, or a directory would be copied into itself.
        NotFound: There is no such source any more.
        Conflict: The target path leads through a file.
        PermissionDenied: A directory of the target may not be read.
        CopyCancelledError: The course was cancelled.
    """
    with contextlib.ExitStack() as opened:

        def closed(fd: int) -> int:
            opened.callback(os.close, fd)
            return fd

        source_fd, target_fd = closed(open_home(source.home)), closed(open_home(target.home))
        found_source = open_source(source_fd, source.path)
        closed(found_source.fd)
        found = opened.enter_context(Manifest(manifest))
        if found.name != found_source.name:
            raise Conflict(f"cannot copy '{shown(source.path)}': it was changed meanwhile; copy again")
        found_target = open_target(target_fd, target.path, found.name)
        closed(found_target.fd)
        home = os.fstat(target_fd)
        is_same = (
            found.name is None
            and same(os.fstat(source_fd), home)
            and _overlap(found_source, found_target, home, options)
        )
        root = os.fstat(found_target.fd)
        head = PlanHead(
            root=_real_path(target_fd, found_target.fd, target.path),
            identity=(root.st_dev, root.st_ino),
            name=found.name,
            same=is_same,
        )
        handed_out = None
        if base is not None:
            handed_out = BaseManifest(base)
            opened.callback(handed_out.close)
        try:
            plan.unlink(missing_ok=True)  # a record may have it under another name
            with plan.open("x", encoding="ascii", newline="\n") as file:
                file.write(encode({"version": VERSION, "head": asdict(head)}) + "\n")
                summary = PlanSummary()
                if not is_same:
                    summary.skipped = found.summary().skipped
                    names = None
                    if options.delete_missing or options.backup or options.policy is Policy.MERGE:
                        names = opened.enter_context(Manifest(manifest)).names()
                    comparing = _Comparing(
                        found, names, found_target, head, file, options, handed_out, course, summary, home
                    )
                    comparing.run()
                file.write(encode({"end": asdict(summary)}) + "\n")
        except OSError as error:
            raise unwritable(error, shown(target.path)) from error
    return summary


def _overlap(source: Source, target: Target, home: os.stat_result, options: CopyOptions) -> bool:
    """Whether source and target are one and the same directory of a home, so that there is nothing to do.

    Raises:
        InvalidArgument: One contains the other in a way that can come to no good end.
    """
    source_status, target_status = os.fstat(source.fd), os.fstat(target.fd)
    if target.name is None and same(source_status, target_status):
        return True
    if is_within(target.fd, source_status, home):
        path = shown(join(target.path, target.name or ""))
        raise InvalidArgument(
            f"cannot copy a directory into itself: '{path}' lies inside of the source; choose another target path"
        )
    if target.name is None and options.delete_missing and is_within(source.fd, target_status, home):
        raise InvalidArgument(
            f"delete_missing would delete the source '{shown(source.path)}', which lies inside of "
            f"'{shown(target.path)}': choose another target path"
        )
    return False


def _real_path(home_fd: int, fd: int, given: str) -> str:
    """Where an open directory lies in its home, without symlinks."""
    home, here = (str(Path(f"/proc/self/fd/{each}").readlink()) for each in (home_fd, fd))
    if here == home:
        return ""
    if not here.startswith(home + "/"):
        raise Conflict(f"cannot write '{shown(given)}': a directory that holds it was moved meanwhile; copy again")
    return here.removeprefix(home + "/")


class _Comparing:
    """One run. Paths are relative to the directory of the target that exists."""

    def __init__(
        self,
        manifest: Manifest,
        names: Iterator[set[str]] | None,
        target: Target,
        head: PlanHead,
        file: IO[str],
        options: CopyOptions,
        base: BaseManifest | None,
        course: Course,
        summary: PlanSummary,
        home: os.stat_result,
    ) -> None:
        self._manifest = manifest
        self._all_names = names
        self._target = target
        self._head = head
        self._file = file
        self._options = options
        self._excludes = Excludes(options.exclude)
        self._base = base
        self._course = course
        self._summary = summary
        self._home = home
        self._number = 1
        self._prefix = "/".join(target.missing)
        if head.name is None:
            self._prefix = join(self._prefix, target.name or "")
        self._new: str | None = None  # the topmost directory that is to be made, while what is in it goes by
        self._kept: str | None = None  # one that does not get its place
        self._linked: set[str] = set()  # files to be written that have more names
        # Of the directory under way:
        self._names: set[str] = set()
        self._before: dict[str, Entry] | None = None
        self._is_touched = False
        self._displaced: list[Any] | None = None
        self._above: list[
            tuple[str, dict[str, Any]]
        ] = []  # directories that both have, whose times nothing changes so far

    def run(self) -> None:
        if self._prefix:
            self._make_missing()
        first: dict[str, Any] | None = None
        fd: int | None = None
        try:
            for index, part in enumerate(self._manifest.parts()):
                if first is None or part["p"] != first["p"]:
                    if fd is not None:
                        last, fd = fd, None
                        self._leave(first or part, last)
                    first = part
                    fd = self._enter(part)
                    self._part(index, part, fd, is_first=True)
                else:
                    self._part(index, part, fd, is_first=False)
            if fd is not None:
                last, fd = fd, None
                self._leave(first or {}, last)
        finally:
            if fd is not None:
                os.close(fd)

    def _write(self, path: str, rows: list[Row], **about: Any) -> None:
        trimmed = [row if row[9:] != (None, None, None) else row[: 9 if row[8] is not None else 8] for row in rows]
        self._file.write(encode({"n": self._number, "p": path, **about, "e": trimmed}) + "\n")
        self._number += len(rows)

    def _make_missing(self) -> None:
        """Plan the directories above that are missing, the topmost one with all that is in it."""
        names = self._prefix.split("/")
        self._new = names[0]
        if self._head.name is None:
            names.pop()  # which is a directory of the source
        path = ""
        for name in names:
            path = join(path, name)
            self._write(path, [], s=NEW if path == self._new else IN_NEW, c=-1, d=[MISSING_DIRECTORY_MODE, None])
            self._summary.steps += 1
            self._summary.added += 4096

    def _enter(self, part: dict[str, Any]) -> int | None:
        """Open the directory of the target that one of the source goes to; None: it is to be made, or stays out."""
        path = part["p"]
        where = join(self._prefix, path)
        self._course.check()
        self._names = next(self._all_names) if self._all_names is not None else self._names
        self._before = self._base.entries(path) if self._base is not None else None
        self._is_touched, self._displaced = False, None
        if self._kept is not None and where.startswith(self._kept + "/"):
            return None
        self._kept = None
        if self._new is not None and (where == self._new or where.startswith(self._new + "/")):
            return None
        self._new = None
        try:
            return open_beneath(self._target.fd, where, OPEN_DIRECTORY, follow=False)
        except FileNotFoundError:
            self._new = where
        except OSError as error:
            if error.errno not in (errno.ENOTDIR, errno.ELOOP):
                raise unreadable(error, self._shown(where)) from error
            self._displace(where)
        return None

    def _touch_above(self, where: str) -> None:
        """Something gets a place in a directory: this changes its times, which are to be set then."""
        parent = _parted(where)[0]
        while self._above and not (where + "/").startswith(self._above[-1][0] + "/" if self._above[-1][0] else ""):
            self._above.pop()
        if self._above and self._above[-1][0] == parent:
            about = self._above.pop()[1]
            self._write(parent, [], s=THERE, c=-1, **about)
            self._summary.steps += "d" in about

    def _displace(self, where: str) -> None:
        """A directory goes where something is that is none."""
        parent, _, name = where.rpartition("/")
        with _opened(self._target.fd, parent) as fd:
            status = None if fd is None else status_at(fd, name)
            if fd is None or status is None:
                self._new = where  # gone by now
            elif self._options.policy in (Policy.KEEP, Policy.MERGE):
                self._kept = where
                self._summary.counts[Status.CONFLICT] += 1
                self._summary.keep(self._shown(where))
            else:
                self._new = where
                spare = self._spare(fd, name, status)
                self._displaced = [identity(status), spare]
                self._free(status)
                self._summary.to_back_up += spare is not None
                if spare is not None and spare[1] is not None and spare[1][0] == DIRECTORY:
                    self._summary.blocked += 1

    def _part(self, index: int, part: dict[str, Any], fd: int | None, *, is_first: bool) -> None:
        if self._kept is not None:
            return
        path = part["p"]
        where = join(self._prefix, path)
        if fd is None:
            rows = self._new_rows(part)
            about: dict[str, Any] = {"s": IN_NEW, "c": index, "q": path}
            if is_first and self._head.name is None:
                about["d"] = [part["m"], part["t"]]
                self._summary.steps += 1
                self._summary.added += part["b"] * _BLOCK_BYTES
                if where == self._new:
                    about["s"] = NEW
                    self._touch_above(where)
                    if self._displaced is not None:
                        about["x"] = self._displaced
            self._write(where, rows, **about)
        else:
            rows = self._rows(part, fd)
            if rows:
                self._is_touched = True
                self._write(where, rows, s=THERE, c=index, q=path)

    def _new_rows(self, part: dict[str, Any]) -> list[Row]:
        """Rows of a directory that the target does not have."""
        rows: list[Row] = []
        keeps = self._before is not None and self._options.policy is Policy.MERGE
        before = self._before or {}
        counts = self._summary.counts
        size = blocks = 0
        for entry in part["e"]:
            kind = entry[1]
            if kind in (DIRECTORY, OTHER):
                continue
            status = "new"
            if entry[0] in before:
                status = "deleted_by_them"
                if keeps and not _has_moved(entry, before[entry[0]]):
                    counts[status] += 1
                    rows.append(_row(self._new_name(entry[0]), status, Action.KEEP, entry))
                    continue
            counts[status] += 1
            size += entry[3] if kind != SYMLINK else 0
            blocks += self._blocks(entry, part["p"])
            rows.append(_row(self._new_name(entry[0]), status, "write", entry))
            self._summary.files += 1
        self._summary.bytes += size
        self._summary.added += blocks * _BLOCK_BYTES
        self._summary.steps += sum(row[2] == "write" for row in rows)
        return rows

    def _new_name(self, name: str) -> str:
        return name if self._head.name is None else self._target.name or name

    def _blocks(self, entry: Entry, path: str) -> int:
        """What it takes to write an entry, with what is written already."""
        kind = entry[1]
        if kind == LINKED:
            self._linked.add(join(path, entry[0]))
        elif kind == NAME and entry[6] in self._linked:
            return 0
        blocks: int = entry[5]
        return blocks

    def _rows(self, part: dict[str, Any], fd: int) -> list[Row]:
        """Rows of a directory that both have."""
        rows: list[Row] = []
        status_of, is_file, is_single = os.stat, stat.S_ISREG, self._head.name is not None
        unchanged = 0
        check = self._course.check
        for at, entry in enumerate(part["e"]):
            kind = entry[1]
            if kind in (DIRECTORY, OTHER):
                continue
            if not at % 64:
                check()
            name = self._new_name(entry[0]) if is_single else entry[0]
            try:
                there = status_of(name, dir_fd=fd, follow_symlinks=False)
            except FileNotFoundError:
                there = None
            if (
                there is not None
                and there.st_size == entry[3]
                and there.st_mtime_ns == entry[4]
                and kind != SYMLINK
                and is_file(there.st_mode)
            ):
                unchanged += 1
                if (there.st_mode ^ entry[2]) & KEPT_MODE:
                    rows.append(_row(name, Status.SAME, Action.MODE, entry, identity(there)))
                    self._summary.steps += 1
                continue
            row = self._judge(part["p"], entry, fd, name, there)
            if row is None:
                unchanged += 1
            else:
                rows.append(row)
        self._summary.unchanged += unchanged
        self._summary.counts[Status.SAME] += unchanged
        return rows

    def _judge(self, path: str, entry: Entry, fd: int, name: str, there: os.stat_result | None) -> Row | None:
        """What to do about one entry that is not the same at first sight; None: it is the same at the second."""
        kind, options = entry[1], self._options
        is_same = there is not None and _is_same(entry, fd, name, there)
        if is_same:
            return None
        newer = there is not None and kind != SYMLINK and stat.S_ISREG(there.st_mode) and there.st_mtime_ns > entry[4]
        since, moved = self._since(entry[0], entry, fd, name, there)
        status, action = decide(
            options, source=True, target=there is not None, same=False, newer=newer, since=since, moved=moved
        )
        summary = self._summary
        beside = spare = None
        if action is Action.BESIDE:
            beside = self._free_name(fd, entry, name)
            if beside is None:  # the new version was put there before
                action = Action.KEEP
        elif action is Action.WRITE and there is not None:
            if stat.S_ISDIR(there.st_mode):
                if not self._make_way(join(self._prefix, path), fd, name):
                    action = Action.BLOCKED
            else:
                spare = self._spare(fd, name, there)
                if spare is not None and spare[1] is not None and spare[1][0] == DIRECTORY:
                    action = Action.BLOCKED
        summary.counts[status] += 1
        if action is Action.KEEP:
            if there is not None:
                summary.keep(self._shown(join(join(self._prefix, path), name)))
        elif action is Action.BLOCKED:
            summary.blocked += 1
        else:
            summary.steps += 1
            summary.files += 1
            summary.bytes += entry[3] if kind != SYMLINK else 0
            summary.added += self._blocks(entry, path) * _BLOCK_BYTES
            if action is Action.WRITE and there is not None:
                self._free(there)
                summary.to_back_up += spare is not None
        return _row(name, status, action, entry, None if there is None else identity(there), beside, spare)

    def _since(
        self, source_name: str, entry: Entry | None, fd: int, name: str, there: os.stat_result | None
    ) -> tuple[Since, bool]:
        """What became in the target of what was handed out; and whether the source has changed since."""
        if self._before is None:
            return Since.UNKNOWN, False
        before = self._before.get(source_name)
        if before is None or before[1] in (DIRECTORY, OTHER):
            return Since.NEVER, False
        moved = entry is None or _has_moved(entry, before)
        if there is None or not _is_same(before, fd, name, there):
            return Since.TOUCHED, moved
        return Since.UNTOUCHED, moved

    def _free_name(self, fd: int, entry: Entry, name: str) -> str | None:
        """The name that a new version gets beside theirs; None: it is there already under one of them."""
        stem, suffix = _split_suffix(name)
        number = 1
        while True:
            beside = f"{stem}.new{suffix}" if number == 1 else f"{stem}.new-{number}{suffix}"
            there = status_at(fd, beside)
            if beside not in self._names:
                if there is None:
                    return beside
                if _is_same(entry, fd, beside, there):
                    return None
            number += 1

    def _spare(self, fd: int, name: str, there: os.stat_result) -> list[Any] | None:
        """The name for the backup of what is replaced, and what has it now; None: there is none."""
        if not self._options.backup or stat.S_ISDIR(there.st_mode):
            return None
        spare = f"{name}~"
        while spare in self._names:  # the source brings a file of that name
            spare += "~"
        taken = status_at(fd, spare)
        return [spare, None if taken is None else identity(taken)]

    def _leave(self, part: dict[str, Any], fd: int) -> None:
        """All entries of a directory that both have were looked at."""
        try:
            where = join(self._prefix, part["p"])
            rows: list[Row] = []
            if self._options.delete_missing and self._head.name is None:
                names = [name for name in os.listdir(fd) if name not in self._names]
                rows = self._doomed_rows(where, fd, sorted(names))
            status = os.fstat(fd)
            differs = False
            about: dict[str, Any] = {"was": [stat.S_IMODE(status.st_mode), status.st_mtime_ns]}
            if self._head.name is None and not same(status, self._home):
                about["d"] = [part["m"], part["t"]]
                differs = status.st_mtime_ns != part["t"] or bool((status.st_mode ^ part["m"]) & KEPT_MODE)
            if rows or self._is_touched or differs:
                self._write(where, rows, s=THERE, c=-1, **about)
                self._summary.steps += "d" in about
            else:
                self._above.append((where, about))
        finally:
            os.close(fd)

    def _make_way(self, parent: str, fd: int, name: str) -> bool:
        """Plan to remove a directory where a file goes: an empty one, or any with ``delete_missing``."""
        path = join(parent, name)
        with _opened(self._target.fd, path) as inner:
            if inner is None:
                return False
            names = os.listdir(inner)  # noqa: PTH208
        return not names or (self._options.delete_missing and self._doom(path))

    def _doomed_rows(self, where: str, fd: int, names: list[str]) -> list[Row]:
        """Rows for what is deleted of a directory, and parts for what is deleted in directories of it."""
        rows: list[Row] = []
        for name in names:
            self._course.check()
            row = self._doomed_row(where, fd, name)
            if row is not None:
                rows.append(row)
        return rows

    def _doomed_row(self, where: str, fd: int, name: str) -> Row | None:
        there = status_at(fd, name)
        if there is None:
            return None
        is_directory = stat.S_ISDIR(there.st_mode)
        if (self._options.backup and name.endswith("~")) or (
            self._excludes and self._excludes.match(self._relative(join(where, name)), is_directory=is_directory)
        ):
            return None
        found = identity(there)
        kind, _, mtime_ns, _, size, mode = found
        summary, spare = self._summary, None
        if is_directory:
            if not self._doom(join(where, name)):
                return None
            action = Action.DELETE
        else:
            since, _ = self._since(name, None, fd, name, there)
            _, action = decide(
                self._options, source=False, target=True, same=False, newer=False, since=since, moved=True
            )
            if action is Action.DELETE:
                spare = self._spare(fd, name, there)
                if spare is not None and spare[1] is not None and spare[1][0] == DIRECTORY:
                    action = Action.BLOCKED
                    summary.blocked += 1
                else:
                    self._free(there)
                    summary.to_back_up += spare is not None
            if action is Action.KEEP:
                summary.keep(self._shown(join(where, name)))
        summary.counts[Status.WOULD_BE_DELETED] += 1
        summary.to_delete += action is Action.DELETE
        summary.steps += action is Action.DELETE
        return Row(
            name, Status.WOULD_BE_DELETED, action, kind, mode, size, mtime_ns, there.st_blocks, None, found, None, spare
        )

    def _doom(self, top: str) -> bool:
        """Plan to delete all that may be deleted of a directory; tells whether nothing of it stays."""
        stays: set[str] = set()
        visited: list[str] = []
        pending = PendingDirectories(*_parted(top))
        before, self._before = self._before, None if self._base is None else {}
        try:
            for parent, name in pending:
                path = join(parent, name)
                visited.append(path)
                with _opened(self._target.fd, path) as fd:
                    if fd is None or len(os.fsencode(path)) > _MAX_DOOMED_BYTES:
                        stays.add(path)
                    else:
                        pending.add(path, self._doom_files(path, fd, stays))
        finally:
            self._before = before
        for path in reversed(visited):
            parent = _parted(path)[0]
            if path in stays:
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
        if self._base is not None:
            self._before = self._base.entries(self._relative(path))
        for name in names:
            self._course.check()
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
            row = self._doomed_row(path, fd, name)
            if row is None or row.action is not Action.DELETE or row.spare is not None:
                stays.add(path)
            if row is not None:
                rows.append(row)
        if rows:
            status = os.fstat(fd)
            was = [stat.S_IMODE(status.st_mode), status.st_mtime_ns]
            self._write(path, rows, s=DOOMED, c=-1, was=was)
        return below

    def _doom_directory(self, path: str) -> None:
        parent, name = _parted(path)
        with _opened(self._target.fd, parent) as fd:
            there = None if fd is None else status_at(fd, name)
            above = None if fd is None else os.fstat(fd)
        if there is None or above is None:
            return
        found = identity(there)
        self._summary.counts[Status.WOULD_BE_DELETED] += 1
        self._summary.to_delete += 1
        self._summary.steps += 1
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
        self._write(parent, [row], s=DOOMED, c=-1, was=was)

    def _stays(self, path: str, *, is_directory: bool) -> bool:
        if self._options.backup and path.endswith("~"):
            return True
        return bool(self._excludes) and self._excludes.match(self._relative(path), is_directory=is_directory)

    def _relative(self, where: str) -> str:
        """A path relative to the copied directory."""
        return where[len(self._prefix) + 1 :] if self._prefix else where

    def _free(self, there: os.stat_result) -> None:
        if not self._options.backup and not stat.S_ISDIR(there.st_mode) and there.st_nlink == 1:
            self._summary.freed += there.st_blocks * _BLOCK_BYTES

    def _shown(self, where: str) -> str:
        """A path in the target, relative to its home, for people: through the directories that were named."""
        missing = "/".join(self._target.missing)
        given = self._target.path.removesuffix(missing).rstrip("/") if missing else self._target.path
        return shown(join(given, where))


def _row(
    name: str,
    status: str,
    action: str,
    entry: Entry,
    there: list[Any] | None = None,
    beside: str | None = None,
    spare: list[Any] | None = None,
) -> Row:
    extra = entry[6] if len(entry) > 6 and entry[1] in (SYMLINK, NAME) else None
    return Row(name, status, action, entry[1], entry[2], entry[3], entry[4], entry[5], extra, there, beside, spare)


def _is_same(entry: Entry, fd: int, name: str, there: os.stat_result) -> bool:
    """Whether what is in a directory is the same as an entry of a manifest; a hash decides where times differ."""
    if entry[1] == SYMLINK:
        if not stat.S_ISLNK(there.st_mode):
            return False
        try:
            return bool(os.readlink(name, dir_fd=fd) == entry[6])
        except OSError:
            return False
    if not stat.S_ISREG(there.st_mode) or there.st_size != entry[3]:
        return False
    if there.st_mtime_ns == entry[4]:
        return True
    known = entry[6] if len(entry) > 6 and entry[1] in (FILE, LINKED) else None
    return known is not None and hash_at(fd, name) == known


def _has_moved(entry: Entry, before: Entry) -> bool:
    """Whether an entry of the source is another one than before."""
    is_link = entry[1] == SYMLINK
    if is_link != (before[1] == SYMLINK):
        return True
    if is_link:
        return bool(entry[6] != before[6])
    if entry[3] != before[3]:
        return True
    if entry[4] == before[4]:
        return False
    hashes = [each[6] for each in (entry, before) if len(each) > 6 and each[1] in (FILE, LINKED)]
    return len(hashes) < 2 or hashes[0] != hashes[1]


def _split_suffix(name: str) -> tuple[str, str]:
    """``hw1`` and ``.ipynb`` of ``hw1.ipynb``; a name that begins with its only dot has no suffix."""
    stem, dot, suffix = name.rpartition(".")
    return (stem, dot + suffix) if stem else (name, "")


def _parted(path: str) -> tuple[str, str]:
    parent, _, name = path.rpartition("/")
    return parent, name


@contextlib.contextmanager
def _opened(root_fd: int, path: str) -> Iterator[int | None]:
    """A directory of the target; None: there is none that can be read."""
    fd = None
    with contextlib.suppress(OSError):
        fd = open_deep(root_fd, path, OPEN_DIRECTORY)
    try:
        yield fd
    finally:
        if fd is not None:
            os.close(fd)
