"""One walk through a source, into a manifest."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import stat
from dataclasses import dataclass
from pathlib import Path

from projecthub.files.copying.manifests import (
    DIRECTORY,
    FILE,
    LINKED,
    NAME,
    OTHER,
    PART,
    SYMLINK,
    Entry,
    ManifestWriter,
    SourceSummary,
)
from projecthub.files.ends import Source, open_source
from projecthub.files.excludes import Excludes
from projecthub.files.failures import unreadable, unwritable
from projecthub.files.making import KEPT_MODE
from projecthub.files.paths import DIRECTORY as OPEN_DIRECTORY
from projecthub.files.paths import PendingDirectories, join, open_beneath, reduced, shown
from projecthub.files.plans import Course

_VANISHED = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP})
"""What opening a directory answers that was there a moment before, and is gone or another thing by now."""
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
MAX_HASHED_BYTES = 1024 * 1024
_ENTRIES_A_CHECK = 64


@dataclass(frozen=True, slots=True)
class End:
    """One end of a copy.

    Attributes:
        home: Where ``path`` is; nothing outside of it is read or changed.
        path: As a caller gave it, relative to the home.
    """

    home: Path
    path: str


def open_home(home: Path) -> int:
    """Open the directory of a home.

    Raises:
        HubError: It is not there, or may not be read.
    """
    try:
        return os.open(home, OPEN_DIRECTORY | os.O_NOFOLLOW)
    except OSError as error:
        raise unreadable(error, "the home of the project") from error


def walk(
    source: End, manifest: Path, *, exclude: tuple[str, ...] = (), hashes: bool = False, course: Course
) -> SourceSummary:
    """Walk through what is to be copied. Blocks: run it in a thread.

    Args:
        source: A file, a symlink, or a directory whose contents are copied.
        manifest: Where to write what was found; what is there is replaced.
        exclude: Patterns of what is left out.
        hashes: Also read every file of at most 1 MiB, so that contents can be compared where times differ.
        course: Ends it early.

    Raises:
        InvalidArgument: The path leaves its home, or a tree is too deep to name.
        NotFound: There is no such source.
        PermissionDenied: Something may not be read.
        CopyCancelledError: The course was cancelled.
    """
    excludes = Excludes(exclude)
    with contextlib.ExitStack() as opened:
        home_fd = open_home(source.home)
        opened.callback(os.close, home_fd)
        found = open_source(home_fd, source.path)
        opened.callback(os.close, found.fd)
        try:
            manifest.unlink(missing_ok=True)  # somebody may have it under another name, as a base
            with manifest.open("x", encoding="ascii", newline="\n") as file:
                writer = ManifestWriter(file, found.name, _origin(source))
                summary = _Walk(found, writer, excludes, course, hashes=hashes).run()
                writer.end(summary)
        except OSError as error:
            raise unwritable(error, "the plan of the copy") from error
    return summary


def _origin(source: End) -> list[str]:
    """What tells a source from others: the directory that its home lies in is called after its project."""
    return [source.home.parent.name, reduced(source.path)]


class _Walk:
    """One run. Paths are relative to the copied directory."""

    def __init__(
        self, source: Source, writer: ManifestWriter, excludes: Excludes, course: Course, *, hashes: bool
    ) -> None:
        self._source = source
        self._writer = writer
        self._excludes = excludes
        self._course = course
        self._hashes = hashes
        self._linked: dict[tuple[int, int], list[str | int]] = {}
        self._latest_ns = 0
        self._files = self._bytes = self._blocks = self._directories = self._skipped = 0

    def run(self) -> SourceSummary:
        name = self._source.name
        if name is None:
            pending = PendingDirectories()
            for parent, inner in pending:
                path = join(parent, inner)
                below = self._directory(path)
                below.reverse()  # the last one is visited first
                pending.add(path, below)
        else:
            self._file(name)
        return SourceSummary(
            name=name,
            files=self._files,
            bytes=self._bytes,
            disk_bytes=self._blocks * 512,
            directories=self._directories,
            skipped=self._skipped,
        )

    def _file(self, name: str) -> None:
        entries: list[Entry] = []
        if not (self._excludes and self._excludes.match(name, is_directory=False)):
            entry = self._entry(self._source.fd, "", name)
            entries = [entry] if entry is not None and entry[1] != DIRECTORY else []
        self._writer.directory("", 0, 0, 0, entries, self._latest_ns)

    def _directory(self, path: str) -> list[str]:
        """Write down one directory; tells which directories are in it."""
        try:
            fd = open_beneath(self._source.fd, path, OPEN_DIRECTORY, follow=False)
        except OSError as error:
            if error.errno in _VANISHED:
                return []
            raise unreadable(error, self._shown(path)) from error
        try:
            status = os.fstat(fd)
            names = os.listdir(fd)  # noqa: PTH208 - a path cannot stand for a descriptor
            names.sort()
            self._directories += 1
            self._blocks += status.st_blocks
            below: list[str] = []
            about = (path, status.st_mode & KEPT_MODE, status.st_mtime_ns, status.st_blocks)
            for begin in range(0, len(names) or 1, PART):
                entries = self._entries(fd, path, names[begin : begin + PART], below)
                self._writer.directory(*about, entries, self._latest_ns)
            return below
        except PermissionError as error:
            raise unreadable(error, self._shown(path)) from error
        finally:
            os.close(fd)

    def _entries(self, fd: int, path: str, names: list[str], below: list[str]) -> list[Entry]:
        entries: list[Entry] = []
        excludes, status_of, add, is_file = self._excludes, os.stat, entries.append, stat.S_ISREG
        files = size = blocks = latest_ns = 0
        self._course.check()
        for at, name in enumerate(names):
            if not at % _ENTRIES_A_CHECK:
                self._course.check()
            try:
                status = status_of(name, dir_fd=fd, follow_symlinks=False)
            except FileNotFoundError:
                continue
            mode = status.st_mode
            if is_file(mode) and status.st_nlink == 1 and not excludes and not self._hashes:
                files += 1
                size += status.st_size
                blocks += status.st_blocks
                if status.st_ctime_ns > latest_ns:
                    latest_ns = status.st_ctime_ns
                add([name, FILE, mode & KEPT_MODE, status.st_size, status.st_mtime_ns, status.st_blocks])
                continue
            if excludes and excludes.match(join(path, name), is_directory=stat.S_ISDIR(mode)):
                add([name, OTHER])
                continue
            entry = self._entry(fd, path, name, status)
            if entry is not None:
                if entry[1] == DIRECTORY:
                    below.append(name)
                elif status.st_ctime_ns > latest_ns:
                    latest_ns = status.st_ctime_ns
                add(entry)
        self._latest_ns = latest_ns
        self._files += files
        self._bytes += size
        self._blocks += blocks
        return entries

    def _entry(self, fd: int, path: str, name: str, status: os.stat_result | None = None) -> Entry | None:
        """Any entry; None: it is gone."""
        try:
            status = status or os.stat(name, dir_fd=fd, follow_symlinks=False)
            mode = status.st_mode
            if stat.S_ISDIR(mode):
                return [name, DIRECTORY]
            if not stat.S_ISREG(mode) and not stat.S_ISLNK(mode):
                self._skipped += 1
                return [name, OTHER]
            text = os.readlink(name, dir_fd=fd) if stat.S_ISLNK(mode) else None
        except (FileNotFoundError, OSError) as error:
            if error.errno in (errno.ENOENT, errno.EINVAL):
                return None
            raise unreadable(error, self._shown(join(path, name))) from error
        self._latest_ns = status.st_ctime_ns
        self._files += 1
        kind, extra = (SYMLINK, text) if text is not None else (FILE, None)
        if kind == FILE:
            self._bytes += status.st_size
            if status.st_nlink > 1:
                kind, extra = self._link(status, join(path, name))
            if kind != NAME and self._hashes and status.st_size <= MAX_HASHED_BYTES:
                extra = hash_at(fd, name)
        if kind != NAME:
            self._blocks += status.st_blocks
        entry: Entry = [name, kind, mode & KEPT_MODE, status.st_size, status.st_mtime_ns, status.st_blocks]
        return [*entry, extra] if extra is not None else entry

    def _link(self, status: os.stat_result, path: str) -> tuple[str, str | None]:
        """The kind of a file with several names, and the path of the first of those that was met."""
        key = (status.st_dev, status.st_ino)
        known = self._linked.get(key)
        if known is None:
            self._linked[key] = [path, status.st_nlink - 1]
            return LINKED, None
        first, left = str(known[0]), int(known[1]) - 1
        if left:
            known[1] = left
        else:  # all of its names are met
            del self._linked[key]
        return NAME, first

    def _shown(self, path: str) -> str:
        return shown(join(self._source.path, path))


def hash_at(directory_fd: int, name: str) -> str | None:
    """The hash of a small regular file; None: it cannot be told, and counts as unknown."""
    try:
        fd = os.open(name, _READ, dir_fd=directory_fd)
    except OSError:
        return None
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            return None
        data = os.read(fd, MAX_HASHED_BYTES + 1)
    except OSError:
        return None
    finally:
        os.close(fd)
    return hashlib.blake2b(data, digest_size=16).hexdigest() if len(data) <= MAX_HASHED_BYTES else None
