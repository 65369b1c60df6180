"""The tar of an export, read in order: what `exporting` writes, and of other tars as little as possible.

It takes a fraction of the time that a reader of all kinds of tars does. Memory is bounded, whatever its maker has put
into it: a piece, and the header of one thing.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
import tarfile
from collections.abc import Iterator
from typing import Final

from projecthub.errors import InvalidArgument
from projecthub.files.archive_readers import Fed, Packed, decompressed, exact_time, told_damage
from projecthub.files.tar_headers import BLOCK, XATTR, xattr_name

_PIECE_BYTES: Final = 512 * 1024
_HEADER_BYTES: Final = 256 * 1024
_ZEROS: Final = bytes(BLOCK)
_OCTAL: Final = re.compile(rb"[0-7]{1,11}[\0 ]*")
_LARGEST: Final = 2**62
_KEPT_XATTR: Final = f"{XATTR}user.".encode()
_KINDS: Final = {
    tarfile.REGTYPE: stat.S_IFREG,
    tarfile.LNKTYPE: stat.S_IFREG,
    tarfile.SYMTYPE: stat.S_IFLNK,
    tarfile.DIRTYPE: stat.S_IFDIR,
}
Records = dict[bytes, bytes]
Stretches = list[tuple[int, int]]


class ExportReader:
    """Reads one export.

    Attributes:
        sum_before_seal: The SHA-256 of all before the seal, in hex, when that has been read; empty before.
    """

    def __init__(self, fd: int, seal: str) -> None:
        """Make ready.

        Args:
            fd: The export, a file that stays open.
            seal: What the thing is called whose checksum is wanted.
        """
        self.sum_before_seal = ""
        self._seal = os.fsencode(seal)
        self._fd = fd
        self._digest = hashlib.sha256()
        self._buffer = b""
        self._at = self._summed = 0
        self._left = 0

    def things(self) -> Iterator[Packed]:
        """What it holds; the content of each is to be read before the next thing comes.

        Raises:
            InvalidArgument: It is damaged, holds what is refused, or takes too much memory to read.
        """
        with told_damage("tar.zst"), open(os.dup(self._fd), "rb") as file:
            file.seek(0)
            self._fed = Fed(file)
            self._source = decompressed(self._fed, "tar.zst")
            while (block := self._block()) != _ZEROS:
                yield self._thing(block)
                self._skip(self._left)
            self._end()

    def _thing(self, block: bytes) -> Packed:
        records: Records = {}
        if block[156:157] == tarfile.XHDTYPE:
            size = _octal(block[124:136])
            if size > _HEADER_BYTES:
                raise InvalidArgument(f"a header of the export is larger than {_HEADER_BYTES} bytes; export it again")
            records = _records(self._take(size + -size % BLOCK)[:size])
            block = self._block()
        elif block[:100].rstrip(b"\0") == self._seal:
            self.sum_before_seal = self._sum_before(BLOCK)
        kind = _KINDS.get(block[156:157])
        name = os.fsdecode(records.get(b"path", block[:100].rstrip(b"\0")))
        if kind is None:
            raise InvalidArgument(f"the export holds {name[:200]!a}, a pipe, a device or of an unknown kind")
        link = os.fsdecode(records.get(b"linkpath", block[157:257].rstrip(b"\0")))
        is_again = block[156:157] == tarfile.LNKTYPE
        size = _decimal(records[b"size"]) if b"size" in records else _octal(block[124:136])
        if kind != stat.S_IFREG or is_again:
            size = 0
        self._left = size + -size % BLOCK
        stretches: Stretches = [(0, size)]
        if b"GNU.sparse.major" in records:
            size, stretches = self._holes(records, size)
        seconds = _octal(block[136:148])
        time_ns = exact_time(records[b"mtime"].decode()) if b"mtime" in records else seconds * 10**9
        return Packed(
            name,
            kind | _octal(block[100:108]) & 0o7777,
            seconds,
            link=link if kind == stat.S_IFLNK else "",
            same_as=link if is_again else None,
            size=size,
            content=self._content(stretches),
            mtime_ns=time_ns,
            xattrs={xattr_name(os.fsdecode(key)): records[key] for key in records if key.startswith(_KEPT_XATTR)},
        )

    def _content(self, stretches: Stretches) -> Iterator[tuple[int, bytes]]:
        with told_damage("tar.zst"):
            for start, stop in stretches:
                at = start
                while at < stop:
                    piece = self._some(stop - at)
                    self._left -= len(piece)
                    yield at, piece
                    at += len(piece)

    def _holes(self, records: Records, packed: int) -> tuple[int, Stretches]:
        """The size of a file with holes, and where its data are; their map stands before them."""
        if (records[b"GNU.sparse.major"], records.get(b"GNU.sparse.minor")) != (b"1", b"0"):
            raise ValueError("a sparse file is kept in an unknown way")
        size = _decimal(records.get(b"GNU.sparse.realsize", b""))
        numbers, listed = self._map(min(packed, _HEADER_BYTES))
        self._left -= listed
        stretches = [(start, start + length) for start, length in zip(numbers[::2], numbers[1::2], strict=True)]
        at = 0
        for start, stop in stretches:
            if not at <= start <= stop <= size:
                raise ValueError("the map of a sparse file makes no sense")
            at = stop
        if sum(stop - start for start, stop in stretches) + listed != packed:
            raise ValueError("the map of a sparse file does not fit what is kept of it")
        return size, stretches

    def _map(self, most: int) -> tuple[list[int], int]:
        """Places and lengths, one after the other, and how many bytes their list takes."""
        numbers: list[int] = []
        rest, listed = b"", 0
        while not numbers or len(numbers) <= 2 * numbers[0]:
            if listed >= most:
                raise ValueError("the map of a sparse file has no end")
            *lines, rest = (rest + self._take(BLOCK)).split(b"\n")
            listed += BLOCK
            wanted = 2 * _decimal(lines[0]) + 1 if not numbers and lines else 2 * numbers[0] + 1 if numbers else 0
            numbers += [_decimal(line) for line in lines[: wanted - len(numbers)]]
        return numbers[1:], listed

    def _block(self) -> bytes:
        """A block of a header, whose own checksum is right; or one of zeros."""
        block = self._take(BLOCK)
        if block != _ZEROS:
            told = _octal(block[148:156])
            if sum(block) - sum(block[148:156]) + 8 * ord(" ") != told:
                raise ValueError("a header has another checksum")
        return block

    def _end(self) -> None:
        """See that nothing but zeros follows. A checksum of what is compressed is compared only at its very end."""
        if self._take(BLOCK) != _ZEROS:
            raise ValueError("it ends too early")
        left = 16 * 1024 * 1024
        while self._at < len(self._buffer) or self._fill():
            piece = self._some(_PIECE_BYTES)
            left -= len(piece)
            if left < 0 or piece.strip(b"\0"):
                raise InvalidArgument("something follows after the end of the export; send one at a time")

    def _take(self, size: int) -> bytes:
        """So many bytes, which are not many."""
        parts = []
        while size:
            parts.append(self._some(size))
            size -= len(parts[-1])
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def _some(self, most: int) -> bytes:
        if self._at >= len(self._buffer) and not self._fill():
            raise EOFError("it ends too early")
        piece = self._buffer[self._at : self._at + most]
        self._at += len(piece)
        return piece

    def _skip(self, size: int) -> None:
        while size:
            size -= len(self._some(min(size, _PIECE_BYTES)))

    def _fill(self) -> bool:
        """Get more, behind the block that was read last: what is before it may be wanted. False: that was all."""
        kept = max(self._summed, self._at - BLOCK)
        self._digest.update(memoryview(self._buffer)[self._summed : kept])
        more = self._source.read(_PIECE_BYTES)
        self._buffer = self._buffer[kept:] + more
        self._at -= kept
        self._summed = 0
        self._fed.yielded += len(more)
        return bool(more)

    def _sum_before(self, size: int) -> str:
        """The checksum of all that was read, but for the last so many bytes."""
        digest = self._digest.copy()
        digest.update(memoryview(self._buffer)[self._summed : self._at - size])
        return digest.hexdigest()


def _octal(field: bytes) -> int:
    if not _OCTAL.fullmatch(field):
        raise ValueError("a header holds a number that is none")
    return int(field.rstrip(b"\0 "), 8)


def _decimal(text: bytes) -> int:
    if not text.isdigit() or len(text) > 20 or (number := int(text)) > _LARGEST:
        raise ValueError("a header holds a number that is none")
    return number


def _records(content: bytes) -> Records:
    found: Records = {}
    at = 0
    while at < len(content):
        space = content.index(b" ", at)
        stop = at + _decimal(content[at:space])
        keyword, equals, value = content[space + 1 : stop - 1].partition(b"=")
        if not equals or stop > len(content) or content[stop - 1 : stop] != b"\n":
            raise ValueError("an extended header makes no sense")
        found[keyword] = value
        at = stop
    return found
