"""Contents of files on their way onto a shelf: copied, and named by their checksum."""

from __future__ import annotations

import contextlib
import hashlib
import os
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from projecthub.files.contents import Contents, stretches, write_all
from projecthub.files.paths import rename_to_free
from projecthub.files.snapshots.shelves import SPARSE_SUFFIX, charge_of

_PIECE_BYTES: Final = 1024 * 1024
_SMALL_BYTES: Final = 128 * 1024
_PART: Final = "part"
_CREATE: Final = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


@dataclass(frozen=True, slots=True)
class Kept:
    """A content that is kept.

    Attributes:
        name: Of the object; empty for no bytes.
        size: In bytes.
        disk: Without holes.
        new: What it counts of the project's share, if it was not on its shelf; else 0.
    """

    name: str
    size: int
    disk: int
    new: int


_NOTHING: Final = Kept("", 0, 0, 0)


class Objects:
    """Makes objects for one snapshot. Not for several threads at once."""

    def __init__(self, new_fd: int, shelf_fd: int, check: Callable[[], None], take: Callable[[int], None]) -> None:
        """Make ready.

        Args:
            new_fd: A directory for new objects.
            shelf_fd: The objects of the project so far.
            check: Called between pieces; raises to end the work.
            take: Called with what a new object counts, before it is written; raises if there is no room.
        """
        self._new_fd = new_fd
        self._shelf_fd = shelf_fd
        self._check = check
        self._take = take
        self._contents = Contents(check)

    def keep(self, file: int, status: os.stat_result, *, likely: bool) -> Kept:
        """Keep what a file holds now, up to the size that its status tells.

        Args:
            file: Open for reading.
            status: Of the file.
            likely: Whether the shelf has it, probably: then it is looked for before anything is written.

        Raises:
            OSError: It cannot be read, or there is no room.
        """
        size = status.st_size
        if not size:
            return _NOTHING
        has_holes = status.st_blocks * 512 < size
        if size <= _SMALL_BYTES and not has_holes and not self._contents.clones:
            return self._keep_small(os.pread(file, size, 0))
        if likely:
            name, disk = self.sum(file, size, has_holes=has_holes)
            if self.has(name):
                return Kept(name, size, disk, 0)
        room = charge_of(status.st_blocks * 512 if has_holes else size)
        self._take(room)
        kept = self._keep_part(file, size, has_holes=has_holes)
        self._take(kept.new - room)
        return kept

    def has(self, name: str) -> bool:
        """Whether a content is on the project's shelf."""
        return not name or _is_there(name, self._shelf_fd)

    def sum(self, file: int, size: int, *, has_holes: bool, target: int | None = None) -> tuple[str, int]:
        """What a content is called, and its bytes without holes; it is copied to ``target`` meanwhile."""
        data = list(stretches(file, size)) if has_holes else [(0, size)]
        has_holes = data != [(0, size)]
        digest, disk = hashlib.sha256(), 0
        for start, stop in data:
            if has_holes:
                digest.update(struct.pack("<QQ", start, stop))
            disk += self._sum(digest, file, target, start, stop)
        if has_holes:
            digest.update(struct.pack("<Q", size))
            if target is not None:
                os.ftruncate(target, size)
        return digest.hexdigest() + (SPARSE_SUFFIX if has_holes else ""), disk

    def _keep_small(self, data: bytes) -> Kept:
        if not data:  # it was cut short meanwhile
            return _NOTHING
        name, size = hashlib.sha256(data).hexdigest(), len(data)
        if self.has(name):
            return Kept(name, size, size, 0)
        try:
            fd = os.open(name, _CREATE, 0o600, dir_fd=self._new_fd)
        except FileExistsError:  # another file of this home holds the same
            return Kept(name, size, size, 0)
        try:
            self._take(charge_of(size))
            write_all(fd, data)
        except BaseException:
            os.unlink(name, dir_fd=self._new_fd)
            raise
        finally:
            os.close(fd)
        return Kept(name, size, size, charge_of(size))

    def _keep_part(self, file: int, size: int, *, has_holes: bool) -> Kept:
        part = os.open(_PART, _CREATE, 0o600, dir_fd=self._new_fd)
        try:
            if self._contents.clone(file, part):
                size = os.fstat(part).st_size
                name, disk = self.sum(part, size, has_holes=has_holes)
            else:
                name, disk = self.sum(file, size, has_holes=has_holes, target=part)
                size = os.fstat(part).st_size
            if not size or self.has(name):
                return Kept(name if size else "", size, disk, 0)
            try:
                rename_to_free(self._new_fd, _PART, self._new_fd, name)
            except FileExistsError:
                return Kept(name, size, disk, 0)
            return Kept(name, size, disk, charge_of(disk))
        finally:
            os.close(part)
            with contextlib.suppress(FileNotFoundError):
                os.unlink(_PART, dir_fd=self._new_fd)

    def _sum(self, digest: Any, file: int, target: int | None, start: int, stop: int) -> int:
        at = start
        while at < stop:
            self._check()
            piece = os.pread(file, min(_PIECE_BYTES, stop - at), at)
            if not piece:  # it was cut short meanwhile
                break
            digest.update(piece)
            if target is not None:
                os.lseek(target, at, os.SEEK_SET)
                write_all(target, piece)
            at += len(piece)
        return at - start


def _is_there(name: str, directory_fd: int) -> bool:
    return os.access(name, os.F_OK, dir_fd=directory_fd)
