"""A whole home as one portable file, made while it is read.

It is a tar.zst, which ``tar`` can read, of three parts: `MANIFEST`, which says what project this is; the home, below
``home``; and `SEAL`, with counts and the SHA-256 of all that stands before it. The same home gives the same bytes:
names come in order, owners and access times are left out, and nothing tells when or where it was made. A directory
comes after what is in it, so that who unpacks it gives it its mode and time at once and for good.

Kept are names of any bytes, modes, times to the nanosecond, symlinks, hard links, holes and the extended attributes
that users may set. The project may run and change its files meanwhile: see `packing`.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import stat
import tarfile
from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import zstandard

from projecthub.errors import InvalidArgument
from projecthub.files.making import KEPT_MODE
from projecthub.files.packing import KEEPING, UNREADABLE_HERE, VANISHED
from projecthub.files.paths import DIRECTORY, PendingDirectories, join, open_beneath
from projecthub.files.places import closing
from projecthub.files.tar_headers import header, padding, xattr_keyword

FORMAT: Final = "projecthub-export"
VERSION: Final = 1
MANIFEST: Final = "projecthub.json"
SEAL: Final = "projecthub.seal.json"
HOME: Final = "home"
MAX_THINGS: Final = 1_000_000
"""A home that is exported holds at most so many."""

_LEVEL: Final = 3
_PIECE_BYTES: Final = 512 * 1024
_READ: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_KEPT_XATTR: Final = "user."
_MAX_STRETCHES: Final = 4000
"""A file of more stretches of data, with holes between them, is written with its zeros."""
_MAX_SPARSE_BYTES: Final = 2**33
"""So is one with as much data: Python cannot read it else."""
_MAX_XATTR_BYTES: Final = 128 * 1024
"""Of extended attributes, so many bytes are kept for one thing: its header is read as a whole."""
_MAX_LINK_BYTES: Final = 64 * 1024 * 1024
"""Names of files with several names are remembered up to so many bytes; what is more becomes files of their own."""


@dataclass(slots=True)
class Exported:
    """What an export holds.

    Attributes:
        files: Files and links.
        bytes: Bytes of its files, each counted once.
        left_out: Pipes, sockets, devices, and what could not be read.
    """

    files: int = 0
    bytes: int = 0
    left_out: int = 0


class Export:
    """Writes one export.

    Attributes:
        done: What it holds so far.
    """

    def __init__(self, home_fd: int, manifest: Mapping[str, Any]) -> None:
        """Make ready.

        Args:
            home_fd: The home, which stays open.
            manifest: What is told of the project.
        """
        self.done = Exported()
        self._home_fd = home_fd
        self._manifest = {"format": FORMAT, "version": VERSION, **manifest}
        self._sink = _Sink()
        self._links: dict[tuple[int, ...], tuple[bytes, int]] = {}
        self._link_bytes = 0

    def pieces(self) -> Generator[bytes, None, None]:
        """The bytes; some pieces are empty, so that nobody waits long for the next."""
        self._document(MANIFEST, self._manifest)
        for _ in self._home():
            if self._sink.waiting_bytes >= _PIECE_BYTES:
                yield self._sink.take()
        done = self.done
        sealed = {"files": done.files, "bytes": done.bytes, "left_out": done.left_out, "sha256": self._sink.sha256()}
        self._document(SEAL, sealed)
        self._sink.write(bytes(2 * tarfile.BLOCKSIZE))
        yield self._sink.end()

    def _document(self, name: str, value: Mapping[str, Any]) -> None:
        content = json.dumps(value, indent=2, sort_keys=True).encode() + b"\n"
        self._sink.write(header(name.encode(), tarfile.REGTYPE, 0o644, 0, size=len(content)))
        self._sink.write(content + padding(len(content)))

    def _home(self) -> Iterator[None]:
        levels: list[tuple[str, list[str], bytes]] = []
        yield from self._enter("", levels)
        while levels:
            path, below, own = levels[-1]
            if below:
                yield from self._enter(join(path, below.pop()), levels)
            else:
                levels.pop()
                self._sink.write(own)
                yield

    def _enter(self, path: str, levels: list[tuple[str, list[str], bytes]]) -> Iterator[None]:
        """All that is in one directory but for directories: those, in the reverse order, are left to the caller."""
        with self._passing(), closing(open_beneath(self._home_fd, path, DIRECTORY, follow=False)) as fd:
            own = header(_packed_name(path), tarfile.DIRTYPE, *_dress(os.fstat(fd)), more=_xattrs(fd))
            below: list[str] = []
            others: list[tuple[str, bool, bool]] = []
            with os.scandir(fd) as entries:
                for entry in entries:
                    if not path and entry.name == KEEPING:
                        continue
                    if entry.is_dir(follow_symlinks=False):
                        below.append(entry.name)
                    else:
                        others.append((entry.name, entry.is_file(follow_symlinks=False), entry.is_symlink()))
            below.sort(reverse=True)
            others.sort()
            levels.append((path, below, own))
            for name, is_file, is_link in others:
                packed_name = _packed_name(join(path, name))
                with self._passing():
                    if is_file:
                        yield from self._file(os.open(name, _READ, dir_fd=fd), packed_name)
                    elif is_link:
                        self._link(fd, name, packed_name)
                    else:
                        self.done.left_out += 1
                yield

    def _link(self, directory_fd: int, name: str, packed_name: bytes) -> None:
        text = os.fsencode(os.readlink(name, dir_fd=directory_fd))
        status = os.stat(name, dir_fd=directory_fd, follow_symlinks=False)
        self._sink.write(header(packed_name, tarfile.SYMTYPE, *_dress(status), link=text))
        self.done.files += 1

    def _file(self, fd: int, packed_name: bytes) -> Iterator[None]:
        try:
            yield from self._opened(fd, packed_name)
        finally:
            os.close(fd)

    def _opened(self, fd: int, packed_name: bytes) -> Iterator[None]:
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode):  # it was one when it was looked at
            self.done.left_out += 1
            return
        self.done.files += 1
        if status.st_nlink > 1 and (first := self._first_name(status, packed_name)) is not None:
            self._sink.write(header(packed_name, tarfile.LNKTYPE, *_dress(status), link=first))
            return
        self.done.bytes += status.st_size
        stretches, more = _stretches(fd, status), _xattrs(fd)
        start = b""
        if stretches is not None:
            start, sparse = _map_of(packed_name, status.st_size, stretches)
            more |= sparse
        packed = [(0, status.st_size)] if stretches is None else stretches
        size = len(start) + sum(stop - begin for begin, stop in packed)
        self._sink.write(header(packed_name, tarfile.REGTYPE, *_dress(status), size=size, more=more) + start)
        for begin, stop in packed:
            yield from self._content(fd, begin, stop)
        self._sink.write(padding(size))

    def _content(self, fd: int, at: int, stop: int) -> Iterator[None]:
        """As many bytes as there were; zeros for those that are gone."""
        while at < stop:
            piece = os.pread(fd, min(stop - at, _PIECE_BYTES), at) or bytes(min(stop - at, _PIECE_BYTES))
            self._sink.write(piece)
            at += len(piece)
            yield

    def _first_name(self, status: os.stat_result, packed_name: bytes) -> bytes | None:
        """Under which name a file has come already; None: it has not, and this one is remembered."""
        key = status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns  # a number may be another file's by now
        if (known := self._links.get(key)) is None:
            if self._link_bytes + len(packed_name) <= _MAX_LINK_BYTES:
                self._links[key] = packed_name, status.st_nlink - 1
                self._link_bytes += len(packed_name)
            return None
        first, left = known
        if left > 1:
            self._links[key] = first, left - 1
        else:
            del self._links[key]
            self._link_bytes -= len(first)
        return first

    def _passing(self) -> _Passing:
        """Pass over what is not there any more, or may not be read."""
        return _Passing(self.done)


class _Passing:
    """As a class it costs a fraction of what a generator does, for each file."""

    __slots__ = ("_done",)

    def __init__(self, done: Exported) -> None:
        self._done = done

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> bool:
        if not isinstance(error, OSError):
            return False
        if error.errno in UNREADABLE_HERE:
            self._done.left_out += 1
            return True
        return error.errno in VANISHED


class _Sink:
    """Takes what is packed, sums it up, and gives it away compressed.

    Attributes:
        waiting_bytes: How much has come since something was taken.
    """

    def __init__(self) -> None:
        self._compressor = zstandard.ZstdCompressor(level=_LEVEL, write_checksum=True).compressobj()
        self._digest = hashlib.sha256()
        self._waiting: list[bytes] = []
        self.waiting_bytes = 0
        self._ready: list[bytes] = []

    def write(self, data: bytes) -> None:
        self._waiting.append(data)
        self.waiting_bytes += len(data)

    def take(self) -> bytes:
        self._pass_on()
        ready = b"".join(self._ready)
        self._ready.clear()
        return ready

    def sha256(self) -> str:
        """Of all that has come."""
        self._pass_on()
        return self._digest.hexdigest()

    def end(self) -> bytes:
        return self.take() + self._compressor.flush()

    def _pass_on(self) -> None:
        data = b"".join(self._waiting)
        self._waiting.clear()
        self.waiting_bytes = 0
        self._digest.update(data)
        self._ready.append(self._compressor.compress(data))


def require_few(home_fd: int) -> None:
    """Make sure that a home holds no more than an export can.

    Raises:
        InvalidArgument: It does.
    """
    pending, count = PendingDirectories(), 0
    for parent, name in pending:
        path = join(parent, name)
        below = []
        with (
            contextlib.suppress(OSError),
            closing(open_beneath(home_fd, path, DIRECTORY, follow=False)) as fd,
            os.scandir(fd) as entries,
        ):
            for entry in entries:
                count += 1
                if count > MAX_THINGS:
                    raise InvalidArgument(
                        f"there are more than the {MAX_THINGS} things in this project that one export may hold; pack "
                        "some of its directories, or export it in parts as archives"
                    )
                if entry.is_dir(follow_symlinks=False):
                    below.append(entry.name)
        pending.add(path, below)


def _packed_name(path: str) -> bytes:
    return os.fsencode(join(HOME, path))


def _dress(status: os.stat_result) -> tuple[int, int]:
    """Mode and time."""
    return status.st_mode & KEPT_MODE, status.st_mtime_ns


def _xattrs(fd: int) -> dict[bytes, bytes]:
    found: dict[bytes, bytes] = {}
    left = _MAX_XATTR_BYTES
    with contextlib.suppress(OSError):  # the file system has none, or one has gone meanwhile
        for name in sorted(os.listxattr(fd)):
            if name.startswith(_KEPT_XATTR):
                keyword, value = xattr_keyword(name), os.getxattr(fd, name)
                left -= len(keyword) + len(value)
                if left >= 0:
                    found[keyword] = value
    return found


def _stretches(fd: int, status: os.stat_result) -> list[tuple[int, int]] | None:
    """Where a file has data: begin and end of each stretch; None: it has no holes, or too many."""
    size = status.st_size
    if status.st_blocks * 512 >= size:
        return None
    found: list[tuple[int, int]] = []
    at = total = 0
    while at < size:
        try:
            start = os.lseek(fd, at, os.SEEK_DATA)
        except OSError as error:
            if error.errno != errno.ENXIO:
                raise
            break  # a hole up to the end
        at = min(os.lseek(fd, start, os.SEEK_HOLE), size)
        if start >= at:
            break
        found.append((start, at))
        total += at - start
        if len(found) > _MAX_STRETCHES or total >= _MAX_SPARSE_BYTES:
            return None
    return None if found == [(0, size)] else found


def _map_of(name: bytes, size: int, stretches: list[tuple[int, int]]) -> tuple[bytes, dict[bytes, bytes]]:
    """What stands before the data of a file with holes, and what its header says of it."""
    parts = [*stretches] if stretches and stretches[-1][1] == size else [*stretches, (size, size)]
    numbers = [len(parts), *(number for start, stop in parts for number in (start, stop - start))]
    listed = b"".join(b"%d\n" % number for number in numbers)
    records = {
        b"GNU.sparse.major": b"1",
        b"GNU.sparse.minor": b"0",
        b"GNU.sparse.name": name,
        b"GNU.sparse.realsize": b"%d" % size,
    }
    return listed + padding(len(listed)), records
