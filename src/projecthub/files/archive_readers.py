"""What an archive holds, read in order and with bounded memory, whatever its maker has put into it.

Only files, directories, symlinks and hard links come out of here; all else is refused, and so is what is damaged or
ends too early.
"""

from __future__ import annotations

import gzip
import os
import re
import stat
import struct
import tarfile
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import IO, Any, Final, cast

import zstandard

from projecthub.errors import InvalidArgument
from projecthub.files import zips
from projecthub.files.packing import Form
from projecthub.files.paths import MAX_PATH_BYTES, shown
from projecthub.files.tar_headers import XATTR, xattr_name

_PIECE_BYTES: Final = 512 * 1024
_HEADER_BYTES: Final = 256 * 1024
"""What may describe one thing of a tar: names, extended headers, the map of a sparse file."""
_MAX_GLOBAL_HEADERS: Final = 64
_BARREN_BYTES: Final = 1024 * 1024
_BARREN_SHARE: Final = 4
"""An archive may be so many times as large as what is in it, and `_BARREN_BYTES` larger."""
_PADDING_BYTES: Final = 16 * 1024 * 1024
_WINDOW_BYTES: Final = 32 * 1024 * 1024
_ENCRYPTED: Final = 0x1
_EXACT_TIME: Final = re.compile(r"(-?)(\d{1,11})(?:\.(\d{1,30}))?")
_KEPT_XATTR: Final = f"{XATTR}user."
_DAMAGED: Final = (
    tarfile.TarError,
    zips.BadZipError,
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
        mtime_ns: The same as ``mtime``, exactly; None: nothing more exact is told.
        xattrs: Extended attributes, those that users may set.
    """

    name: str
    mode: int
    mtime: float
    link: str = ""
    same_as: str | None = None
    size: int = 0
    content: Iterable[tuple[int, bytes]] = ()
    mtime_ns: int | None = None
    xattrs: Mapping[str, bytes] = field(default_factory=dict)


def contents_of(fd: int, form: Form) -> Iterator[Packed]:
    """What an archive holds.

    Args:
        fd: The archive, a file that stays open.
        form: Of the archive.

    Raises:
        InvalidArgument: It is no such archive, is damaged, holds what is refused, or takes too much memory to read.
    """
    with told_damage(form), open(os.dup(fd), "rb") as file:
        file.seek(0)
        for thing in _zipped(fd) if form == "zip" else _tarred(_Tape(Fed(file), form)):
            yield replace(thing, content=_guarded(thing.content, form))


class Fed:
    """An archive as it is decompressed. One that feeds much and yields little only takes time, and is refused.

    Attributes:
        yielded: How many bytes have come of it.
    """

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._fed = 0
        self.yielded = 0

    def read(self, size: int = -1) -> bytes:
        """Give more of it, if so much is worth its while."""
        data = self._file.read(size)
        self._fed += len(data)
        if self._fed > _BARREN_BYTES + _BARREN_SHARE * self.yielded:
            raise InvalidArgument("the archive is larger than what is in it; compress it as one stream")
        return data


def decompressed(fed: Fed, form: Form) -> Any:
    """A file of what is in an archive, without its compression."""
    if form == "tar.zst":
        reader = zstandard.ZstdDecompressor(max_window_size=_WINDOW_BYTES)
        return reader.stream_reader(cast(IO[bytes], fed), read_across_frames=True)
    return gzip.GzipFile(fileobj=cast(IO[bytes], fed), mode="rb") if form == "tar.gz" else fed


def _guarded(content: Iterable[tuple[int, bytes]], form: Form) -> Iterator[tuple[int, bytes]]:
    with told_damage(form):
        yield from content


@contextmanager
def told_damage(form: Form) -> Iterator[None]:
    """What a reader says of damage, as the refusal of an archive."""
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

    def __init__(self, fed: Fed, form: Form) -> None:
        self._fed = fed
        self._source = decompressed(fed, form)
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
            self._fed.yielded = self._at
        return b"".join(parts)

    def seek(self, to: int) -> None:
        if to < self._at:
            raise tarfile.ReadError("it leads back to where it was read already")
        while self._at < to:
            if not self.take(min(to - self._at, _PIECE_BYTES)):
                raise EOFError("it ends too early")


def _tarred(tape: _Tape) -> Iterator[Packed]:
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
    _read_out(tape)


def _read_out(tape: _Tape) -> None:
    """See that nothing but padding follows. A checksum of what is compressed is compared only at its very end."""
    left = _PADDING_BYTES
    while piece := tape.take(_PIECE_BYTES):
        left -= len(piece)
        if left < 0 or piece.strip(b"\0"):
            raise InvalidArgument("something follows after the end of the archive; send one archive at a time")


def _from_tar(info: tarfile.TarInfo, tape: _Tape) -> Packed:
    mode = info.mode & 0o7777
    more: dict[str, Any] = {"mtime_ns": exact_time(info.pax_headers.get("mtime", "")), "xattrs": _xattrs(info)}
    if info.isdir():
        return Packed(info.name, stat.S_IFDIR | mode, info.mtime, **more)
    if info.issym():
        return Packed(info.name, stat.S_IFLNK | mode, info.mtime, link=info.linkname, **more)
    if info.islnk():
        return Packed(info.name, stat.S_IFREG | mode, info.mtime, same_as=info.linkname, **more)
    if info.isreg():
        content = _tar_content(info, tape)
        return Packed(info.name, stat.S_IFREG | mode, info.mtime, size=info.size, content=content, **more)
    raise InvalidArgument(
        f"the archive holds '{_short(info.name)}', a pipe, a device or of an unknown kind; pack it without that"
    )


def exact_time(text: str) -> int | None:
    """Nanoseconds since the epoch, of seconds with a fraction; None: it is no such text."""
    match = _EXACT_TIME.fullmatch(text)
    if match is None:
        return None
    time_ns = int(match[2]) * 10**9 + int((match[3] or "")[:9].ljust(9, "0"))
    return -time_ns if match[1] else time_ns


def _xattrs(info: tarfile.TarInfo) -> dict[str, bytes]:
    return {
        xattr_name(keyword): value.encode("utf-8", "surrogateescape")
        for keyword, value in info.pax_headers.items()
        if keyword.startswith(_KEPT_XATTR)
    }


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


def _zipped(fd: int) -> Iterator[Packed]:
    for entry in zips.listed(fd):
        yield _from_zip(fd, entry)


def _from_zip(fd: int, entry: zips.Listed) -> Packed:
    name = _short(entry.name)
    if entry.flags & _ENCRYPTED:
        raise InvalidArgument(f"'{name}' is encrypted in the archive; pack it without a password")
    if entry.method not in (zips.STORED, zips.DEFLATED):  # others choose how much memory they take
        raise InvalidArgument(f"'{name}' is compressed in an unusual way; pack it by deflate")
    mode = entry.attributes >> 16 if entry.system == zips.UNIX else 0
    kind = stat.S_IFDIR if entry.name.endswith("/") else stat.S_IFMT(mode) or stat.S_IFREG
    if kind == stat.S_IFDIR:
        return Packed(entry.name, kind | (mode & 0o7777 or 0o755), entry.mtime)
    if kind == stat.S_IFREG:
        mode = kind | (mode & 0o7777 or 0o644)
        return Packed(entry.name, mode, entry.mtime, size=entry.size, content=zips.content(fd, entry))
    if kind == stat.S_IFLNK:
        if entry.size > MAX_PATH_BYTES:
            raise InvalidArgument(f"the symlink '{name}' says more than a link can")
        text = b"".join(piece for _, piece in zips.content(fd, entry))
        return Packed(entry.name, kind, entry.mtime, link=os.fsdecode(text))
    raise InvalidArgument(f"the archive holds '{name}', which is a pipe or a device; pack it without that")


def _short(name: str) -> str:
    return shown(name)[:200]
