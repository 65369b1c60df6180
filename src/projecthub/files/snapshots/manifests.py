"""Manifests: what a home held when a snapshot was taken, one line of JSON for each thing, compressed.

The lines are grouped by directory: a text is the path of the directory whose entries follow, a list is an entry. The
directories come parents first and siblings in the order of the bytes of their names, and so do the entries of each: two
manifests, or a manifest and a home, are compared by reading both once, and no more than a line of each is in memory.
"""

from __future__ import annotations

import contextlib
import gzip
import json
import os
import stat
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Final

from projecthub.errors import InternalError
from projecthub.files.paths import join, split

FORMAT: Final = 1
FILE: Final = "f"
DIRECTORY: Final = "d"
SYMLINK: Final = "l"
_LEVEL: Final = 1
"""Of compression: names and times shrink to a fifth by it, and the next levels take three times as long for a tenth."""
_NO_XATTRS: Final[dict[str, str]] = {}

_encode: Final = json.JSONEncoder(separators=(",", ":"), check_circular=False).encode
_decode: Final = json.JSONDecoder().decode

Key = tuple[bytes, bytes]
"""Where something stands in a manifest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One thing in a home.

    Attributes:
        parent: The directory that it is in, relative to the home; empty for the home.
        name: Its name.
        kind: `FILE`, `DIRECTORY` or `SYMLINK`.
        mode: Permission bits.
        size: Bytes of a file, as they were kept.
        disk: Bytes of it that were on disk: less than its size where it has holes.
        mtime_ns: When its content was changed, in nanoseconds since the epoch.
        inode: Its number in its file system.
        ctime_ns: When anything of it was changed; 0: it may have changed since without another ctime.
        content: Of a file: names its content among the objects; empty: it has none. Of a symlink: what it says.
        link: Of a file with several names: the first path of those in the home; empty: it has one.
        xattrs: Extended attributes (``user.*``), with their values in hex.
    """

    parent: str
    name: str
    kind: str
    mode: int
    size: int
    disk: int
    mtime_ns: int
    inode: int
    ctime_ns: int
    content: str
    link: str = ""
    xattrs: dict[str, str] = field(default_factory=lambda: _NO_XATTRS)

    @property
    def path(self) -> str:
        """Relative to the home."""
        return join(self.parent, self.name)

    @property
    def key(self) -> Key:
        """Where it stands."""
        return order_of(self.parent), os.fsencode(self.name)

    def is_as(self, status: os.stat_result) -> bool:
        """Whether a file that has this status now is known to be what it was."""
        return (
            self.kind == FILE
            and self.ctime_ns == status.st_ctime_ns
            and self.inode == status.st_ino
            and self.size == status.st_size
            and self.mtime_ns == status.st_mtime_ns
        )


def order_of(path: str) -> bytes:
    """Sorts directories: parents first, and all of one before its next sibling."""
    return os.fsencode(path).replace(b"/", b"\0")


def key_of(path: str) -> Key:
    """Where a path stands."""
    parent, name = split(path)
    return order_of(parent), os.fsencode(name)


def kind_of(mode: int) -> str | None:
    """The kind of a thing with this mode; None: a pipe, socket or device, which no snapshot keeps."""
    if stat.S_ISREG(mode):
        return FILE
    if stat.S_ISDIR(mode):
        return DIRECTORY
    return SYMLINK if stat.S_ISLNK(mode) else None


def entry_of(parent: str, name: str, kind: str, status: os.stat_result) -> Entry:
    """The entry of something as far as its status tells."""
    is_file = kind == FILE
    return Entry(
        parent=parent,
        name=name,
        kind=kind,
        mode=stat.S_IMODE(status.st_mode),
        size=status.st_size if is_file else 0,
        disk=min(status.st_size, status.st_blocks * 512) if is_file else 0,
        mtime_ns=status.st_mtime_ns,
        inode=status.st_ino,
        ctime_ns=status.st_ctime_ns,
        content="",
    )


def xattrs_of(file: int | str) -> dict[str, str]:
    """The extended attributes of a file or directory, of an open one or by a path that is safe; not of a symlink."""
    found: dict[str, str] = {}
    follows = isinstance(file, int)
    with contextlib.suppress(OSError):  # gone, or its file system has none
        for name in os.listxattr(file, follow_symlinks=follows):
            if name.startswith("user."):
                found[name] = os.getxattr(file, name, follow_symlinks=follows).hex()
    return found or _NO_XATTRS


def are_alike(one: Entry, other: Entry) -> bool:
    """Whether two entries of one path tell of the same content, mode, and, of files, time."""
    if (one.kind, one.mode, one.content, one.size, one.xattrs) != (
        other.kind,
        other.mode,
        other.content,
        other.size,
        other.xattrs,
    ):
        return False
    return one.kind != FILE or (one.mtime_ns == other.mtime_ns and one.link == other.link)


class ManifestWriter:
    """Writes a manifest; it is whole when it is closed."""

    def __init__(self, fd: int) -> None:
        """Begin it in an empty file, which is closed with it."""
        self._raw: IO[bytes] = os.fdopen(fd, "wb")
        self._file = gzip.GzipFile("", "wb", _LEVEL, self._raw, 0)
        self._lines: list[str] = [_encode({"format": FORMAT})]
        self._count = 0

    def enter(self, directory: str) -> None:
        """What is added from here on is in this directory."""
        self._lines.append(_encode(directory))

    def add(self, entry: Entry) -> None:
        """Add an entry of the directory that was entered last."""
        line: list[Any] = [
            entry.name,
            entry.kind,
            entry.mode,
            entry.size,
            entry.disk,
            entry.mtime_ns,
            entry.inode,
            entry.ctime_ns,
            entry.content,
        ]
        if entry.link or entry.xattrs:
            line += [entry.link, entry.xattrs]
        self._lines.append(_encode(line))
        self._count += 1
        if len(self._lines) >= 256:
            self._flush()

    def close(self) -> None:
        """End it."""
        self._lines.append(_encode({"entries": self._count}))
        self._flush()
        self._file.close()
        self._raw.close()

    def drop(self) -> None:
        """Let go of it unfinished. Idempotent, and does nothing to one that was closed."""
        self._raw.close()

    def _flush(self) -> None:
        self._file.write(("\n".join(self._lines) + "\n").encode())
        self._lines.clear()


def read(manifest: Path, within: str = "") -> Iterator[Entry]:
    """The entries of a manifest, in their order.

    Args:
        manifest: The file.
        within: Only what is at this path or below.

    Raises:
        InternalError: It is damaged, or not there.
    """
    try:
        with gzip.open(manifest, "rt", encoding="ascii", newline="\n") as lines:
            yield from _entries(lines, within)
    except (OSError, EOFError, ValueError, AttributeError, zlib.error) as error:
        raise InternalError("the contents of a snapshot are damaged or lost; take another one") from error


def read_what_is_sound(manifest: Path) -> Iterator[Entry]:
    """The entries of a manifest up to where it is damaged."""
    with contextlib.suppress(InternalError):
        yield from read(manifest)


def _entries(lines: Iterator[str], within: str) -> Iterator[Entry]:
    if _decode(next(lines, "{}")).get("format") != FORMAT:
        raise ValueError("format")
    top, top_name = split(within)
    parent, takes_all, takes_top = "", not within, False
    for line in lines:
        if line.startswith("["):
            if not (takes_all or takes_top):
                continue
            entry = _entry(parent, _decode(line))
            if takes_all or entry.name == top_name:
                yield entry
        elif line.startswith('"'):
            parent = _decode(line)
            takes_all = not within or parent == within or parent.startswith(f"{within}/")
            takes_top = bool(within) and parent == top
        elif next(lines, None) is None:  # and so its checksum holds
            return
    raise ValueError("no end")


def _entry(parent: str, line: list[Any]) -> Entry:
    name, kind, mode, size, disk, mtime_ns, inode, ctime_ns, content, *more = line
    link, xattrs = more or ("", _NO_XATTRS)
    return Entry(
        parent=parent,
        name=name,
        kind=kind,
        mode=mode,
        size=size,
        disk=disk,
        mtime_ns=mtime_ns,
        inode=inode,
        ctime_ns=ctime_ns,
        content=content,
        link=link,
        xattrs=xattrs,
    )


class Earlier:
    """Entries of another manifest, looked up in the order of a walk."""

    def __init__(self, entries: Iterator[Entry]) -> None:
        """Begin."""
        self._entries = entries
        self._next = next(entries, None)
        self._key = None if self._next is None else self._next.key

    def at(self, key: Key) -> Entry | None:
        """The entry with this key; later calls ask for later keys."""
        while self._key is not None and self._key < key:
            self._next = next(self._entries, None)
            self._key = None if self._next is None else self._next.key
        return self._next if self._key == key else None
