"""A manifest beside a target, and beside what was handed out before: a plan comes of it. Changes nothing."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from projecthub.errors import Conflict
from projecthub.files.copying.attributes import SourceAttributes
from projecthub.files.copying.deletions import Deletions
from projecthub.files.copying.displacing import meet, stay_out
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
    fields_of,
)
from projecthub.files.copying.overlaps import overlap, real_path
from projecthub.files.copying.plan_files import IN_NEW, NEW, THERE, VERSION, PlanHead, PlanSummary, Row, row_of
from projecthub.files.copying.plan_writing import BLOCK_BYTES, PlanWriter, opened, parted
from projecthub.files.copying.policies import Action, Since, Status, decide
from projecthub.files.copying.states import has_moved, identity, is_same, status_at
from projecthub.files.copying.walking import End, open_home
from projecthub.files.ends import open_source, open_target
from projecthub.files.failures import unreadable, unwritable
from projecthub.files.making import KEPT_MODE, MISSING_DIRECTORY_MODE
from projecthub.files.paths import DIRECTORY as OPEN_DIRECTORY
from projecthub.files.paths import join, open_beneath, same, shown
from projecthub.files.plans import CopyOptions, Course, Policy


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
        base: The manifest of what was copied to this place last; None: it is not known, and neither it is if that came
            from elsewhere.
        course: Ends it early.

    Raises:
        InvalidArgument: A path leaves its home, or a directory would be copied into itself.
        NotFound: There is no such source any more.
        Conflict: The target path leads through a file.
        PermissionDenied: A directory of the target may not be read.
        CopyCancelledError: The course was cancelled.
    """
    with contextlib.ExitStack() as stack:
        try:
            return _compare(stack, source, manifest, target, plan, options, base, course)
        except OSError as error:
            raise unwritable(error, shown(target.path)) from error


def _compare(
    stack: contextlib.ExitStack,
    source: End,
    manifest: Path,
    target: End,
    plan: Path,
    options: CopyOptions,
    base: Path | None,
    course: Course,
) -> PlanSummary:
    def closed(fd: int) -> int:
        stack.callback(os.close, fd)
        return fd

    source_fd, target_fd = closed(open_home(source.home)), closed(open_home(target.home))
    found = stack.enter_context(Manifest(manifest))
    found_source = open_source(source_fd, source.path)
    closed(found_source.fd)
    if found.name != found_source.name:
        raise Conflict(f"cannot copy '{shown(source.path)}': it was changed meanwhile; copy again")
    found_target = open_target(target_fd, target.path, found.name)
    closed(found_target.fd)
    home, root = os.fstat(target_fd), os.fstat(found_target.fd)
    is_same_home = found.name is None and same(os.fstat(source_fd), home)
    head = PlanHead(
        root=real_path(target_fd, found_target.fd, target.path),
        identity=(root.st_dev, root.st_ino),
        name=found.name,
        same=is_same_home and overlap(found_source, found_target, home, options),
    )
    names = None
    if options.delete_missing or options.backup or options.policy is Policy.MERGE:
        names = stack.enter_context(Manifest(manifest)).names()
    handed_out = None
    if base is not None:
        handed_out = BaseManifest(base)
        stack.callback(handed_out.close)
        if handed_out.origin != found.origin:  # somebody has copied something else there since: it may be their work
            handed_out = None
    plan.unlink(missing_ok=True)  # a record may have it under another name
    with plan.open("x", encoding="ascii", newline="\n") as file:
        file.write(encode({"version": VERSION, "head": fields_of(head)}) + "\n")
        writer = PlanWriter(file, found_target, options, handed_out, course, is_file=found.name is not None)
        if not head.same:
            writer.summary.skipped = found.summary().skipped
            _Comparing(found, names, writer, home, found_source.fd).run()
        file.write(encode({"end": fields_of(writer.summary)}) + "\n")
    return writer.summary


class _Comparing:
    """One run. Paths are relative to the directory of the target that exists."""

    def __init__(
        self,
        manifest: Manifest,
        names: Iterator[set[str]] | None,
        plan: PlanWriter,
        home: os.stat_result,
        source_fd: int,
    ) -> None:
        self._attributes = SourceAttributes(source_fd)
        self._manifest = manifest
        self._all_names = names
        self._plan = plan
        self._deletions = Deletions(plan)
        self._home = home
        self._is_single = manifest.name is not None
        self._new: str | None = None  # the topmost directory that is to be made, while what is in it goes by
        self._kept: tuple[str, Status] | None = None  # one that does not get its place, and why
        self._linked: set[str] = set()  # files to be written that have more names
        # Directories that both have and whose times nothing changes so far: those that lead to the one under way.
        self._above: list[tuple[str, dict[str, Any]]] = []
        # Of the directory under way:
        self._is_touched = False
        self._displaced: list[Any] | None = None

    def run(self) -> None:
        if self._plan.prefix:
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
            self._attributes.close()
            if fd is not None:
                os.close(fd)

    def _make_missing(self) -> None:
        """Plan the directories above that are missing, the topmost one with all that is in it."""
        names = self._plan.prefix.split("/")
        self._new = names[0]
        if not self._is_single:
            names.pop()  # which is a directory of the source
        path = ""
        for name in names:
            path = join(path, name)
            self._plan.write(path, [], s=NEW if path == self._new else IN_NEW, c=-1, d=[MISSING_DIRECTORY_MODE, None])
            self._plan.summary.steps += 1
            self._plan.summary.added += 4096

    def _enter(self, part: dict[str, Any]) -> int | None:
        """Open the directory of the target that one of the source goes to; None: it is to be made, or stays out."""
        path = part["p"]
        where = join(self._plan.prefix, path)
        self._plan.course.check()
        self._plan.names = next(self._all_names) if self._all_names is not None else self._plan.names
        self._plan.before = self._plan.base.entries(path) if self._plan.base is not None else None
        self._is_touched, self._displaced = False, None
        if self._kept is not None and where.startswith(self._kept[0] + "/"):
            return None
        self._kept = None
        if self._new is not None and (where == self._new or where.startswith(self._new + "/")):
            return None
        self._new = None
        try:
            return open_beneath(self._plan.target.fd, where, OPEN_DIRECTORY, follow=False)
        except FileNotFoundError:
            self._new = where
        except OSError as error:
            if error.errno not in (errno.ENOTDIR, errno.ELOOP):
                raise unreadable(error, self._plan.shown(where)) from error
            self._displace(where, part)
        return None

    def _displace(self, where: str, part: dict[str, Any]) -> None:
        """A directory goes where something is that is none, or stays out."""
        met = meet(self._plan, where, part)
        if met is not None and met.is_kept:
            self._kept = where, met.status
        else:
            self._new, self._displaced = where, None if met is None else met.displaced

    def _touch_above(self, where: str) -> None:
        """Something gets a place in a directory: this changes its times, which are to be set then."""
        parent = parted(where)[0]
        while self._above and not (where + "/").startswith(self._above[-1][0] + "/" if self._above[-1][0] else ""):
            self._above.pop()
        if self._above and self._above[-1][0] == parent:
            about = self._above.pop()[1]
            self._plan.write(parent, [], s=THERE, c=-1, **about)
            self._plan.summary.steps += "d" in about

    def _part(self, index: int, part: dict[str, Any], fd: int | None, *, is_first: bool) -> None:
        path = part["p"]
        where = join(self._plan.prefix, path)
        if self._kept is not None:
            stay_out(self._plan, where, part, self._kept[1])
        elif fd is None:
            rows = self._new_rows(part)
            about: dict[str, Any] = {"s": IN_NEW, "c": index, "q": path}
            if is_first and not self._is_single:
                about["d"] = [part["m"], part["t"]]
                self._plan.summary.steps += 1
                self._plan.summary.added += part["b"] * BLOCK_BYTES
                if where == self._new:
                    about["s"] = NEW
                    self._touch_above(where)
                    if self._displaced is not None:
                        about["x"] = self._displaced
            self._plan.write(where, rows, **about)
        else:
            rows = self._rows(part, fd)
            if rows:
                self._is_touched = True
                self._plan.write(where, rows, s=THERE, c=index, q=path)

    def _new_rows(self, part: dict[str, Any]) -> list[Row]:
        """Rows of a directory that the target does not have."""
        rows: list[Row] = []
        keeps = self._plan.before is not None and self._plan.options.policy is Policy.MERGE
        before = self._plan.before or {}
        counts = self._plan.summary.counts
        size = blocks = 0
        for entry in part["e"]:
            kind = entry[1]
            if kind in (DIRECTORY, OTHER):
                continue
            status, was = "new", before.get(entry[0])
            if was is not None and was[1] not in (DIRECTORY, OTHER):
                status = "deleted_by_them"
                if keeps and not has_moved(entry, was):
                    counts[status] += 1
                    rows.append(row_of(self._new_name(entry[0]), status, Action.KEEP, entry))
                    continue
            counts[status] += 1
            size += entry[3] if kind != SYMLINK else 0
            blocks += self._blocks(entry, part["p"])
            rows.append(row_of(self._new_name(entry[0]), status, "write", entry))
            self._plan.summary.files += 1
        self._plan.summary.bytes += size
        self._plan.summary.added += blocks * BLOCK_BYTES
        self._plan.summary.steps += sum(row[2] == "write" for row in rows)
        return rows

    def _new_name(self, name: str) -> str:
        return name if not self._is_single else self._plan.target.name or name

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
        status_of, is_file, is_single = os.stat, stat.S_ISREG, self._is_single
        unchanged, latest_ns = 0, part.get("c", 0)
        check = self._plan.course.check
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
                if there.st_ctime_ns <= latest_ns and self._has_other_xattrs(part["p"], entry, fd, name, there):
                    row = self._judge(part["p"], entry, fd, name, there, is_other=True)
                    rows += [row] if row is not None else []
                elif not (there.st_mode ^ entry[2]) & KEPT_MODE:
                    unchanged += 1
                elif self._plan.sets_mode(entry[0], there):
                    unchanged += 1
                    rows.append(row_of(name, Status.SAME, Action.MODE, entry, identity(there)))
                    self._plan.summary.steps += 1
                else:
                    rows.append(self._keep_mode(part["p"], entry, name, there))
                continue
            row = self._judge(part["p"], entry, fd, name, there)
            if row is None:
                unchanged += 1
            else:
                rows.append(row)
        self._plan.summary.unchanged += unchanged
        self._plan.summary.counts[Status.SAME] += unchanged
        return rows

    def _has_other_xattrs(self, path: str, entry: Entry, fd: int, name: str, there: os.stat_result) -> bool:
        """Whether a file of which all else is the same is to get other extended attributes.

        It is asked only where a file of the source directory has changed in some way since theirs did.
        """
        if entry[1] != FILE:
            return False
        if self._plan.spares_theirs and self._plan.since(entry[0], entry, fd, name, there)[0] is not Since.UNTOUCHED:
            return False
        return self._attributes.differ(path, entry[0], fd, name)

    def _judge(
        self, path: str, entry: Entry, fd: int, name: str, there: os.stat_result | None, *, is_other: bool = False
    ) -> Row | None:
        """What to do about one entry that is not the same at first sight; None: it is the same at the second."""
        kind, options = entry[1], self._plan.options
        if there is not None and not is_other and is_same(entry, fd, name, there):
            return None
        newer = there is not None and self._is_newer(kind, there, entry[4])
        since, moved = self._plan.since(entry[0], entry, fd, name, there)
        status, action = decide(
            options, source=True, target=there is not None, same=False, newer=newer, since=since, moved=moved
        )
        summary = self._plan.summary
        beside = spare = None
        if action is Action.BESIDE:
            beside = self._free_name(fd, entry, name)
            if beside is None:  # the new version was put there before
                action = Action.KEEP
                summary.left_out -= 1
        elif action is Action.WRITE and there is not None:
            if stat.S_ISDIR(there.st_mode):
                if not self._make_way(join(self._plan.prefix, path), fd, name):
                    action = Action.BLOCKED
            else:
                entry = self._with_their_mode(entry, there)
                spare = self._plan.spare(fd, name, there)
                if spare is not None and spare[1] is not None and spare[1][0] == DIRECTORY:
                    action = Action.BLOCKED
        summary.counts[status] += 1
        if action is Action.KEEP:
            if there is not None:
                summary.keep(self._plan.shown(join(join(self._plan.prefix, path), name)))
                summary.left_out += 1
        elif action is Action.BLOCKED:
            summary.blocked += 1
        else:
            summary.steps += 1
            summary.files += 1
            summary.bytes += entry[3] if kind != SYMLINK else 0
            summary.added += self._blocks(entry, path) * BLOCK_BYTES
            if action is Action.WRITE and there is not None:
                self._plan.free(there)
                summary.to_back_up += spare is not None
        return row_of(name, status, action, entry, None if there is None else identity(there), beside, spare)

    def _is_newer(self, kind: str, there: os.stat_result, mtime_ns: int) -> bool:
        if there.st_mtime_ns <= mtime_ns or stat.S_ISDIR(there.st_mode):
            return False
        return self._plan.options.keeps_newer_kinds or (kind != SYMLINK and stat.S_ISREG(there.st_mode))

    def _with_their_mode(self, entry: Entry, there: os.stat_result) -> Entry:
        """An entry that replaces a file, with the mode that is given to it: theirs, if they have changed it."""
        mode = stat.S_IMODE(there.st_mode) & KEPT_MODE
        is_file = stat.S_ISREG(there.st_mode) and entry[1] in (FILE, LINKED)
        if not is_file or mode == entry[2] or self._plan.sets_mode(entry[0], there):
            return entry
        self._plan.summary.left_out += 1
        return [*entry[:2], mode, *entry[3:]]

    def _keep_mode(self, path: str, entry: Entry, name: str, there: os.stat_result) -> Row:
        """They have given another mode to a file that is the same otherwise."""
        self._plan.summary.counts[Status.CHANGED_BY_THEM] += 1
        self._plan.summary.left_out += 1
        self._plan.summary.keep(self._plan.shown(join(join(self._plan.prefix, path), name)))
        return row_of(name, Status.CHANGED_BY_THEM, Action.KEEP, entry, identity(there))

    def _free_name(self, fd: int, entry: Entry, name: str) -> str | None:
        """The name that a new version gets beside theirs; None: it is there already under one of them."""
        stem, suffix = _split_suffix(name)
        number = 1
        while True:
            beside = f"{stem}.new{suffix}" if number == 1 else f"{stem}.new-{number}{suffix}"
            there = status_at(fd, beside)
            if beside not in self._plan.names:
                if there is None:
                    return beside
                if is_same(entry, fd, beside, there):
                    return None
            number += 1

    def _leave(self, part: dict[str, Any], fd: int) -> None:
        """All entries of a directory that both have were looked at."""
        try:
            where = join(self._plan.prefix, part["p"])
            rows: list[Row] = []
            if self._plan.options.delete_missing and not self._is_single:
                names = [name for name in os.listdir(fd) if name not in self._plan.names]
                rows = self._deletions.rows(where, fd, sorted(names))
            status = os.fstat(fd)
            differs = False
            about: dict[str, Any] = {"was": [stat.S_IMODE(status.st_mode), status.st_mtime_ns]}
            if not self._is_single and not same(status, self._home):
                mode = self._plan.directory_mode(part["p"], part["m"], status)
                about["d"] = [mode, part["t"]]
                differs = status.st_mtime_ns != part["t"] or bool((status.st_mode ^ mode) & KEPT_MODE)
            if rows or self._is_touched or differs:
                self._plan.write(where, rows, s=THERE, c=-1, **about)
                self._plan.summary.steps += "d" in about
            else:
                self._above.append((where, about))
        finally:
            os.close(fd)

    def _make_way(self, parent: str, fd: int, name: str) -> bool:
        """Plan to remove a directory where a file goes: an empty one, or any with ``delete_missing``."""
        path = join(parent, name)
        with opened(self._plan.target.fd, path) as inner:
            if inner is None:
                return False
            names = os.listdir(inner)  # noqa: PTH208
        return not names or (self._plan.options.delete_missing and self._deletions.doom(path))


def _split_suffix(name: str) -> tuple[str, str]:
    """``hw1`` and ``.ipynb`` of ``hw1.ipynb``; a name that begins with its only dot has no suffix."""
    stem, dot, suffix = name.rpartition(".")
    return (stem, dot + suffix) if stem else (name, "")
