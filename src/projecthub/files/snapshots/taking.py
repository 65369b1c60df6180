"""Taking a snapshot of a home, whether its project runs or not.

A file that has inode, size, mtime and ctime as in the project's last snapshot is not read again: no process can set a
ctime. One that changed less than a minute before it was looked at is read once more the next time: a page that is
mapped into memory and was written to shortly before may change without a new ctime until it is on disk.
"""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from projecthub.files import paths
from projecthub.files.places import closing, opened_home
from projecthub.files.snapshots.manifests import (
    DIRECTORY,
    FILE,
    Earlier,
    Entry,
    ManifestWriter,
    are_alike,
    entry_of,
    order_of,
    read_what_is_sound,
    xattrs_of,
)
from projecthub.files.snapshots.objects import Objects
from projecthub.files.snapshots.shelves import Shelf
from projecthub.files.snapshots.syncing import sync_file_system
from projecthub.files.snapshots.walking import Found, Walk, plain_entry
from projecthub.files.staging import StagingRun

UNSURE_S: Final = 60.0
_TRIES: Final = 3
_READ: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_MANIFEST: Final = "manifest"
_NEW: Final = "new"
_MAX_LINKS: Final = 200_000
"""Files with several names whose other names are remembered at once; of more, some become files of their own."""


@dataclass(slots=True)
class Count:
    """What a snapshot holds, or has so far.

    Attributes:
        files: Files and symlinks.
        bytes: Sum of the sizes of the files.
        new_bytes: What contents count that no snapshot of the project had before.
        skipped: Pipes, sockets, devices, what could not be read, and paths that are too long.
        changing: Files that were written to each time that they were read; they are kept as they were read.
        differs: Whether anything is other than in the snapshot before.
    """

    files: int = 0
    bytes: int = 0
    new_bytes: int = 0
    skipped: int = 0
    changing: int = 0
    differs: bool = False


class Taking:
    """A snapshot that is being taken: `run` in a thread, then `place`, and in any case `close`.

    Attributes:
        count: What it holds so far; may be read while it runs.
        manifest: Its manifest, when it has run, until it is placed.
    """

    def __init__(
        self,
        shelf: Shelf,
        home: Path,
        previous: Path | None,
        *,
        check: Callable[[], None],
        take: Callable[[int], None],
        unsure_s: float = UNSURE_S,
    ) -> None:
        """Make ready; the shelf is made if it is missing.

        Args:
            shelf: Where it goes.
            home: What is kept.
            previous: The manifest of the project's last snapshot.
            check: Called again and again; raises to end the work.
            take: Called with what new contents count, before they are written; raises if there is no room.
            unsure_s: What changed so many seconds before it is looked at is not relied on later.
        """
        shelf.make()
        self.count = Count()
        self._shelf = shelf
        self._home = home
        self._previous = previous
        self._check = check
        self._take = take
        self._unsure_ns = int(unsure_s * 1e9)
        self._run = StagingRun(shelf.root / "staging")
        self.manifest = shelf.root / "staging" / self._run.name / _MANIFEST
        self._links: dict[int, tuple[str, int]] = {}

    def run(self) -> None:
        """Read the home, and write what is new; all of it is on disk in the end, and none of it on the shelf.

        Raises:
            HubError: There is no home, or no room.
            OSError: Something could not be written.
        """
        os.mkdir(_NEW, 0o700, dir_fd=self._run.fd)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        writer = ManifestWriter(os.open(_MANIFEST, flags, 0o600, dir_fd=self._run.fd))
        try:
            with (
                opened_home(self._home) as home_fd,
                closing(os.open(_NEW, paths.DIRECTORY, dir_fd=self._run.fd)) as new_fd,
                closing(os.open(self._shelf.objects, paths.DIRECTORY)) as shelf_fd,
            ):
                self._walk(home_fd, Objects(new_fd, shelf_fd, self._check, self._take), writer)
            writer.close()
        finally:
            writer.drop()
        sync_file_system(self._run.fd)

    def place(self, snapshot_id: str) -> None:
        """Put it on the shelf, for good: contents first, so that a manifest never names what is not there."""
        with (
            closing(os.open(_NEW, paths.DIRECTORY, dir_fd=self._run.fd)) as new_fd,
            closing(os.open(self._shelf.objects, paths.DIRECTORY)) as objects_fd,
        ):
            with os.scandir(new_fd) as scan:
                for entry in scan:
                    self._shelf.take_over(new_fd, entry.name, objects_fd)
            os.rename(_MANIFEST, self._shelf.manifest(snapshot_id), src_dir_fd=self._run.fd)
            sync_file_system(objects_fd)

    def close(self) -> None:
        """Remove what was not placed."""
        self._run.close()

    def _walk(self, home_fd: int, objects: Objects, writer: ManifestWriter) -> None:
        walk = Walk(home_fd, self._check)
        earlier = self._earlier()
        seen = 0
        for path, contents in walk.directories():
            writer.enter(path)
            for found in contents:
                entry = self._entry(found, earlier, objects)
                if entry is not None:
                    writer.add(entry)
                    seen += 1
        self.count.skipped += walk.skipped
        if self._previous is not None and not self.count.differs:
            self.count.differs = seen != sum(1 for _ in read_what_is_sound(self._previous))

    def _earlier(self) -> Earlier:
        self.count.differs = self._previous is None
        return Earlier(iter(()) if self._previous is None else read_what_is_sound(self._previous))

    def _entry(self, found: Found, earlier: Earlier, objects: Objects) -> Entry | None:
        """The entry of something; None: it is gone, or cannot be read."""
        before = earlier.at((order_of(found.parent), os.fsencode(found.name)))
        entry = self._file(found, before, objects) if found.kind == FILE else plain_entry(found)
        if entry is None:
            return None
        if entry.kind != DIRECTORY:
            self.count.files += 1
            self.count.bytes += entry.size
        if not self.count.differs:
            self.count.differs = entry is not before and (before is None or not are_alike(before, entry))
        return entry

    def _file(self, found: Found, before: Entry | None, objects: Objects) -> Entry | None:
        if before is not None and before.is_as(found.status) and objects.has(before.content):
            link = self._link(found)
            return before if link == before.link else replace(before, link=link)
        for attempt in range(1, _TRIES + 1):
            try:
                fd = os.open(found.name, _READ, dir_fd=found.directory_fd)
            except FileNotFoundError:
                return None
            except OSError:
                self.count.skipped += 1
                return None
            with closing(fd):
                status = os.fstat(fd)
                if not stat.S_ISREG(status.st_mode):
                    return None
                sure_before_ns = time.time_ns() - self._unsure_ns
                kept = objects.keep(fd, status, likely=before is not None and before.size == status.st_size)
                self.count.new_bytes += kept.new
                after = os.fstat(fd)
                is_quiet = (after.st_ctime_ns, after.st_size) == (status.st_ctime_ns, status.st_size)
                if not is_quiet and attempt < _TRIES:
                    continue
                self.count.changing += not is_quiet
                is_sure = is_quiet and status.st_ctime_ns < sure_before_ns
                return replace(
                    entry_of(found.parent, found.name, FILE, status),
                    size=kept.size,
                    disk=kept.disk,
                    ctime_ns=status.st_ctime_ns if is_sure else 0,
                    content=kept.name,
                    link=self._link(found),
                    xattrs=xattrs_of(fd),
                )
        return None

    def _link(self, found: Found) -> str:
        """For a file with several names: the first path of those."""
        inode, names = found.status.st_ino, found.status.st_nlink
        if names < 2:
            return ""
        first, left = self._links.get(inode, (paths.join(found.parent, found.name), names))
        if left > 1 and (inode in self._links or len(self._links) < _MAX_LINKS):
            self._links[inode] = (first, left - 1)
        else:
            self._links.pop(inode, None)
        return first
