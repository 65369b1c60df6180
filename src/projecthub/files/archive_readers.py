"""What an archive holds, read in order and with bounded memory, whatever its maker has put into it.

Only files, directories, symlinks and hard links come out of here; all else is refused, and so is what is damaged or
ends too early.
"""

from __future__ import annotations

import gzip
import math
import os
import stat
import struct
import tarfile
import zipfile
import zlib
from calendar import timegm
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import IO, Any, Final, cast

import zstandard

from projecthub.errors import InvalidArgument
from projecthub.files.packing import Form
from projecthub.files.paths import MAX_PATH_BYTES, shown

_PIECE_BYTES: Final = 512 * 1024
_HEADER_BYTES: Final = 256 * 1024
"""What may describe one thing of a tar: names, extended headers, the map of a sparse file."""
_MAX_GLOBAL_HEADERS: Final = 64
_LIST_BYTES: Final = 8 * 1024 * 1024
"""Longest list at the end of a zip. It is held in memory, and takes some ten times as much there."""
_WINDOW_BYTES: Final = 32 * 1024 * 1024
_ENCRYPTED: Final = 0x1
_UNIX: Final = 3
_DAMAGED: Final = (
    tarfile.TarError,
    zipfile.BadZipFile,
    gzip.BadGzipFile,
    zlib.error,
    zstandard.ZstdError,
    struct.error,
    EOFError,
    ValueError,
    OverflowError,
    RecursionError,
    NotImplementedError,
)


@dataclass(frozen=True, slots=True)
class Packed:
    """One thing of an archive, as it claims to be.

    Attributes:
        name: Its path; anything.
        mode: Its type and permission bits.
        mtime: Seconds since the epoch; anything.
        link: What a symlink says.
        same_as: The path of what it is a hard link to; None: it is none.
        size: Of a file.
        content: Of a file: stretches of bytes, each with its place; to be read before the next thing comes.
    """

    name: str
    mode: int
    mtime: float
    link: str = ""
    same_as: str | None = None
    size: int = 0
    content: Iterable[tuple[int, bytes]] = ()


def contents_of(fd: int, form: Form) -> Iterator[Packed]:
    """What an archive holds.

    Args:
        fd: The archive, a file that stays open.
        form: Of the archive.

    Raises:
        InvalidArgument: It is no such archive, is damaged, holds what is refused, or takes too much memory to read.
    """
    with _told(form), open(os.dup(fd), "rb") as file:
        file.seek(0)
        for thing in _things(file, form):
            yield replace(thing, content=_guarded(thing.content, form))


def _things(file: IO[bytes], form: Form) -> Iterator[Packed]:
    if form == "zip":
        return _zipped(file)
    if form == "tar.zst":
        reader = zstandard.ZstdDecompressor(max_window_size=_WINDOW_BYTES)
        return _tarred(reader.stream_reader(file, read_across_frames=True))
    return _tarred(gzip.GzipFile(fileobj=file, mode="rb") if form == "tar.gz" else file)


def _guarded(content: Iterable[tuple[int, bytes]], form: Form) -> Iterator[tuple[int, bytes]]:
    with _told(form):
        yield from content


@contextmanager
def _told(form: Form) -> Iterator[None]:
    try:
        yield
    except _DAMAGED as error:
        raise InvalidArgument(
            f"what came is no {form}, or damaged: {str(error)[:200] or type(error).__name__}"
        ) from error


class _Tape:
    """The bytes of a tar, in order. Headers are read within a budget, for they are held in memory.

    Attributes:
        last: What was read last.
        budget: How many bytes more may be read.
    """

    def __init__(self, source: Any) -> None:
        self._source = source
        self._at = 0
        self.last = b""
        self.budget = _HEADER_BYTES

    def tell(self) -> int:
        return self._at

    def read(self, size: int) -> bytes:
        self.budget -= size
        if size < 0 or self.budget < 0:
            raise InvalidArgument(
                f"a header of the archive is larger than {_HEADER_BYTES} bytes; pack it in another way"
            )
        self.last = self.take(size)
        return self.last

    def take(self, size: int) -> bytes:
        """Read without a budget; less than ``size`` bytes only at the end."""
        parts = []
        while size and (part := self._source.read(min(size, _PIECE_BYTES))):
            parts.append(part)
            size -= len(part)
            self._at += len(part)
        return b"".join(parts)

    def seek(self, to: int) -> None:
        if to < self._at:
            raise tarfile.ReadError("it leads back to where it was read already")
        while self._at < to:
            if not self.take(min(to - self._at, _PIECE_BYTES)):
                raise EOFError("it ends too early")


def _tarred(source: Any) -> Iterator[Packed]:
    tape = _Tape(source)
    tar = tarfile.TarFile(fileobj=cast(IO[bytes], tape), encoding="utf-8", errors="surrogateescape")
    while (info := tar.next()) is not None:
        tar.members.clear()  # type: ignore[attr-defined]  # it would remember them all
        if len(tar.pax_headers) > _MAX_GLOBAL_HEADERS:
            raise InvalidArgument(
                f"the archive has more than {_MAX_GLOBAL_HEADERS} global headers; pack it in another way"
            )
        yield _from_tar(info, tape)
        tape.budget = _HEADER_BYTES
    if tape.last != bytes(tarfile.BLOCKSIZE):  # a reader of tars takes any damage for its end
        raise EOFError("it ends too early")


def _from_tar(info: tarfile.TarInfo, tape: _Tape) -> Packed:
    mode = info.mode & 0o7777
    if info.isdir():
        return Packed(info.name, stat.S_IFDIR | mode, info.mtime)
    if info.issym():
        return Packed(info.name, stat.S_IFLNK | mode, info.mtime, link=info.linkname)
    if info.islnk():
        return Packed(info.name, stat.S_IFREG | mode, info.mtime, same_as=info.linkname)
    if info.isreg():
        content = _tar_content(info, tape)
        return Packed(info.name, stat.S_IFREG | mode, info.mtime, size=info.size, content=content)
    raise InvalidArgument(
        f"the archive holds '{_short(info.name)}', a pipe, a device or of an unknown kind; pack it without that"
    )


def _tar_content(info: tarfile.TarInfo, tape: _Tape) -> Iterator[tuple[int, bytes]]:
    stretches: Any = [(0, info.size)] if info.sparse is None else info.sparse
    tape.seek(info.offset_data)
    at = 0
    for start, size in stretches:
        stop = start + size
        if not at <= start <= stop <= info.size:
            raise tarfile.ReadError(f"the map of the sparse file '{_short(info.name)}' makes no sense")
        at = start
        while at < stop:
            piece = tape.take(min(stop - at, _PIECE_BYTES))
            if not piece:
                raise EOFError("it ends too early")
            yield at, piece
            at += len(piece)


class _Listed:
    """The file of a zip, whose list is read at once."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.seek, self.tell = file.seek, file.tell

    def seekable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        if size < 0:
            size = os.fstat(self._file.fileno()).st_size - self._file.tell()
        if size > _LIST_BYTES:
            raise InvalidArgument(f"the list of the zip is longer than {_LIST_BYTES} bytes; send a tar.zst")
        return self._file.read(size)


def _zipped(file: IO[bytes]) -> Iterator[Packed]:
    with zipfile.ZipFile(cast(IO[bytes], _Listed(file))) as archive:
        for info in archive.infolist():
            yield _from_zip(archive, info)


def _from_zip(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> Packed:
    name = _short(info.filename)
    if info.flag_bits & _ENCRYPTED:
        raise InvalidArgument(f"'{name}' is encrypted in the archive; pack it without a password")
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):  # others choose how much memory they take
        raise InvalidArgument(f"'{name}' is compressed in an unusual way; pack it by deflate")
    mode = info.external_attr >> 16 if info.create_system == _UNIX else 0
    mtime = _mtime(info)
    kind = stat.S_IFDIR if info.is_dir() else stat.S_IFMT(mode) or stat.S_IFREG
    if kind == stat.S_IFDIR:
        return Packed(info.filename, kind | (mode & 0o7777 or 0o755), mtime)
    if kind == stat.S_IFREG:
        content = _zip_content(archive, info)
        return Packed(info.filename, kind | (mode & 0o7777 or 0o644), mtime, size=info.file_size, content=content)
    if kind == stat.S_IFLNK:
        if info.file_size > MAX_PATH_BYTES:
            raise InvalidArgument(f"the symlink '{name}' says more than a link can")
        text = b"".join(piece for _, piece in _zip_content(archive, info))
        return Packed(info.filename, kind, mtime, link=os.fsdecode(text))
    raise InvalidArgument(f"the archive holds '{name}', which is a pipe or a device; pack it without that")


def _zip_content(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> Iterator[tuple[int, bytes]]:
    at = 0
    with archive.open(info) as file:
        while piece := file.read(_PIECE_BYTES):
            yield at, piece
            at += len(piece)
    if at != info.file_size:
        raise EOFError("it ends too early")


def _mtime(info: zipfile.ZipInfo) -> float:
    try:
        return float(timegm((*info.date_time, 0, 0, 0)))
    except ValueError:  # many a zip has the month 0
        return math.nan


def _short(name: str) -> str:
    return shown(name)[:200]
