"""A directory of a home as one archive, made while it is read, and never larger in memory than a piece.

The project may run and change its files meanwhile. Every directory is opened beneath the one that is packed without
following symlinks, and a symlink is kept as what it is. What vanishes is left out; a file that grows is cut at the size
it had, and one that shrinks is filled up with zeros.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import tarfile
import time
import zipfile
import zlib
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from typing import IO, Any, Final, Literal, Protocol, cast

import zstandard

from projecthub.errors import InvalidArgument
from projecthub.files.making import KEPT_MODE
from projecthub.files.paths import DIRECTORY, PendingDirectories, join, open_beneath, shown
from projecthub.files.places import closing

Form = Literal["tar.zst", "tar.gz", "tar", "zip"]
"""What kinds of archives there are."""

MAX_ZIPPED: Final = 65_535
"""A zip lists all that it holds at its end, so it holds at most so many things."""
MAX_LIST_BYTES: Final = 16 * 1024 * 1024
"""Longest list of a zip that is made: it is held in memory meanwhile."""
KEEPING: Final = ".projecthub"
"""What the hub keeps in a home; it is no part of an archive of the whole home."""
UNREADABLE: Final = "PROJECTHUB.unreadable"
"""Where a tar tells how many things could not be read."""

_PIECE_BYTES: Final = 512 * 1024
_READ: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
VANISHED: Final = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.EINVAL, errno.ENXIO})
UNREADABLE_HERE: Final = frozenset({errno.EACCES, errno.EPERM, errno.ENAMETOOLONG})
"""What keeps the hub from a thing that is there: a path longer than the kernel takes is one, too."""
_FIRST_ZIP_TIME: Final = (1980, 1, 1, 0, 0, 0)
_LAST_ZIP_YEAR: Final = 2107
_LISTED_BYTES: Final = 46 + 28
"""What the list of a zip says of one thing, beside its name."""


class _Compressor(Protocol):
    def compress(self, data: bytes, /) -> bytes: ...
    def flush(self) -> bytes: ...


class _Plain:
    def compress(self, data: bytes) -> bytes:
        return data

    def flush(self) -> bytes:
        return b""


_COMPRESSORS: Final[dict[Form, Callable[[], _Compressor]]] = {
    "tar.zst": lambda: zstandard.ZstdCompressor(write_checksum=True).compressobj(),
    "tar.gz": lambda: zlib.compressobj(wbits=31),
    "tar": _Plain,
    "zip": _Plain,
}


class _Sink:
    """Takes what is packed, and gives it away compressed.

    Attributes:
        worked: How much has come since something was taken, in bytes.
    """

    def __init__(self, compressor: _Compressor) -> None:
        self._compressor = compressor
        self._waiting: list[bytes] = []
        self.worked = 0

    def write(self, data: bytes) -> int:
        self.worked += len(data)
        self._waiting.append(self._compressor.compress(data))
        return len(data)

    def flush(self) -> None:
        """A file has one, and a zip calls it."""

    def take(self) -> bytes:
        taken = b"".join(self._waiting)
        self._waiting.clear()
        self.worked = 0
        return taken

    def end(self) -> bytes:
        self._waiting.append(self._compressor.flush())
        return self.take()


@dataclass(frozen=True, slots=True)
class _Thing:
    """One thing of the directory.

    Attributes:
        path: Relative to what is packed.
        status: As it was when it was opened.
        text: What a symlink says.
        fd: A regular file, open; it is closed before the next thing comes.
    """

    path: str
    status: os.stat_result
    text: str = ""
    fd: int = -1


class _Packer(Protocol):
    """Writes things into a sink; every step of an iteration is a good moment to empty that."""

    def add(self, thing: _Thing) -> Iterator[None]: ...
    def end(self, unreadable: int) -> None: ...


def packed(directory_fd: int, form: Form, *, whole_home: bool) -> Generator[bytes, None, None]:
    """The bytes of an archive of a directory, in pieces; some are empty, so that nobody waits long for the next.

    What cannot be read, because its owner may not or its path is too long, is left out and counted: in the zip's
    comment, or in the extended header `UNREADABLE` of an entry ``.`` at the end of a tar.

    Args:
        directory_fd: The directory, which stays open.
        form: Of the archive.
        whole_home: Whether it is the home itself.
    """
    sink = _Sink(_COMPRESSORS[form]())
    packer: _Packer = _Zip(sink) if form == "zip" else _Tar(sink)
    walk = _Walk(directory_fd, KEEPING if whole_home else None)
    for thing in walk:
        if thing is None:
            sink.worked += tarfile.BLOCKSIZE  # it is work to leave something out, too
        else:
            for _ in packer.add(thing):
                if sink.worked >= _PIECE_BYTES:
                    yield sink.take()
        if sink.worked >= _PIECE_BYTES:
            yield sink.take()
    packer.end(walk.unreadable)
    yield sink.end()


def require_few(directory_fd: int) -> None:
    """Make sure that a directory holds no more than a zip can.

    Raises:
        InvalidArgument: It does.
    """
    pending, count, listed = PendingDirectories(), 0, 0
    for parent, name in pending:
        path = join(parent, name)
        below = []
        with (
            contextlib.suppress(OSError),
            closing(open_beneath(directory_fd, path, DIRECTORY, follow=False)) as fd,
            os.scandir(fd) as entries,
        ):
            for entry in entries:
                count += 1
                listed += _list_bytes(join(path, entry.name))
                if count > MAX_ZIPPED or listed > MAX_LIST_BYTES:
                    raise _too_many()
                if entry.is_dir(follow_symlinks=False):
                    below.append(entry.name)
        pending.add(path, below)


def _list_bytes(path: str) -> int:
    return _LISTED_BYTES + len(shown(path).encode())


def _too_many() -> InvalidArgument:
    return InvalidArgument(
        f"there are more than the {MAX_ZIPPED} things here that one zip may hold, or their names are too long; "
        "take tar.zst"
    )


class _Walk:
    """All that is in a directory; None for what is left out.

    Attributes:
        unreadable: How many things could not be opened by right.
    """

    def __init__(self, root_fd: int, left_out: str | None) -> None:
        self._root_fd = root_fd
        self._left_out = left_out
        self.unreadable = 0

    def __iter__(self) -> Iterator[_Thing | None]:
        pending = PendingDirectories()
        for parent, name in pending:
            path = join(parent, name)
            below: list[str] = []
            yield None  # to try costs time, too
            with self._passing(), closing(open_beneath(self._root_fd, path, DIRECTORY, follow=False)) as fd:
                if path:
                    yield _Thing(path, os.fstat(fd))
                with os.scandir(fd) as entries:
                    for entry in entries:
                        if not path and entry.name == self._left_out:
                            continue
                        if entry.is_dir(follow_symlinks=False):
                            below.append(entry.name)
                        else:
                            yield from self._thing(fd, entry, join(path, entry.name))
            pending.add(path, below)

    def _thing(self, directory_fd: int, entry: os.DirEntry[str], path: str) -> Iterator[_Thing | None]:
        with self._passing():
            if entry.is_symlink():
                status = os.stat(entry.name, dir_fd=directory_fd, follow_symlinks=False)
                text = os.readlink(entry.name, dir_fd=directory_fd)
                yield _Thing(path, status, text)
                return
            if entry.is_file(follow_symlinks=False):
                with closing(os.open(entry.name, _READ, dir_fd=directory_fd)) as fd:
                    status = os.fstat(fd)
                    if stat.S_ISREG(status.st_mode):
                        yield _Thing(path, status, fd=fd)
                        return
        yield None

    @contextlib.contextmanager
    def _passing(self) -> Iterator[None]:
        """Pass over what is not there any more, or may not be read."""
        try:
            yield
        except OSError as error:
            if error.errno in UNREADABLE_HERE:
                self.unreadable += 1
            elif error.errno not in VANISHED:
                raise


def _content(thing: _Thing) -> Iterator[bytes]:
    """As many bytes as the file had."""
    left = thing.status.st_size
    while left:
        piece = os.read(thing.fd, min(left, _PIECE_BYTES)) or bytes(min(left, _PIECE_BYTES))
        left -= len(piece)
        yield piece


class _Tar:
    """A tar as POSIX has it, with names of any bytes."""

    def __init__(self, sink: _Sink) -> None:
        self._sink = sink

    def add(self, thing: _Thing) -> Iterator[None]:
        info = tarfile.TarInfo(thing.path)
        info.mode = thing.status.st_mode & KEPT_MODE
        info.mtime = thing.status.st_mtime
        if stat.S_ISDIR(thing.status.st_mode):
            info.type = tarfile.DIRTYPE
        elif thing.fd == -1:
            info.type, info.linkname = tarfile.SYMTYPE, thing.text
        else:
            info.size = thing.status.st_size
        self._sink.write(info.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape"))
        if thing.fd != -1:
            for piece in _content(thing):
                self._sink.write(piece)
                yield
            self._sink.write(bytes(-info.size % tarfile.BLOCKSIZE))

    def end(self, unreadable: int) -> None:
        if unreadable:
            info = tarfile.TarInfo(".")  # readers do not expect a global header at the end
            info.type, info.mode = tarfile.DIRTYPE, 0o755
            info.pax_headers = {UNREADABLE: str(unreadable)}
            self._sink.write(info.tobuf(tarfile.PAX_FORMAT))
        self._sink.write(bytes(2 * tarfile.BLOCKSIZE))


class _Zip:
    r"""A zip; names that are no UTF-8 have ``\xff`` for their bytes."""

    def __init__(self, sink: _Sink) -> None:
        self._zip = zipfile.ZipFile(cast(IO[bytes], sink), "w", zipfile.ZIP_DEFLATED, compresslevel=1)
        self._names: set[str] = set()
        self._listed = 0

    def _name(self, thing: _Thing, *, is_directory: bool) -> str:
        """A name that no other thing has: bytes that are no text may be shown as what another one is called."""
        name = free = shown(thing.path)
        while free in self._names:
            free = f"{name}~{len(self._names)}"
        self._names.add(free)
        self._listed += _list_bytes(free)
        if len(self._names) > MAX_ZIPPED or self._listed > MAX_LIST_BYTES:  # they came after they had been counted
            raise _too_many()
        return free + "/" * is_directory

    def add(self, thing: _Thing) -> Iterator[None]:
        mode = thing.status.st_mode
        is_directory = stat.S_ISDIR(mode)
        info = zipfile.ZipInfo(self._name(thing, is_directory=is_directory), _zip_time(thing.status.st_mtime))
        info.compress_type = zipfile.ZIP_DEFLATED
        info.external_attr = (stat.S_IFMT(mode) | mode & KEPT_MODE) << 16 | 0x10 * is_directory
        if thing.fd == -1:
            self._zip.writestr(info, os.fsencode(thing.text))
            return
        info.file_size = thing.status.st_size
        with self._zip.open(info, "w") as file:
            for piece in _content(thing):
                file.write(piece)
                yield

    def end(self, unreadable: int) -> None:
        if unreadable:
            self._zip.comment = b"%d unreadable things were left out" % unreadable
        self._zip.close()


def _zip_time(mtime: float) -> Any:
    try:
        moment = time.gmtime(mtime)[:6]
    except (OverflowError, ValueError, OSError):
        return _FIRST_ZIP_TIME
    return moment if 1980 <= moment[0] <= _LAST_ZIP_YEAR else _FIRST_ZIP_TIME
