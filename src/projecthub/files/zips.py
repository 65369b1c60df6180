"""The things of a zip, one after the other by its list, in memory that does not grow with them.

Python's `zipfile` holds the whole list. Here each entry is read when its turn comes, and its content is inflated in
pieces, with its checksum compared at the end.

Source: PKWARE's APPNOTE 6.3, without encryption, disks, and methods other than store and deflate.
"""

from __future__ import annotations

import os
import struct
import zlib
from calendar import timegm
from collections.abc import Iterator
from dataclasses import dataclass
from math import nan
from typing import Any, Final

STORED: Final = 0
DEFLATED: Final = 8
UNIX: Final = 3
"""System of whoever packed: external attributes hold a mode, and names are bytes."""

_END: Final = struct.Struct("<4s4H2LH")
_END_64_PLACE: Final = struct.Struct("<4sLQL")
_END_64: Final = struct.Struct("<4sQ2H2L4Q")
_ENTRY: Final = struct.Struct("<4sBB5H3L5H2L")
_LOCAL: Final = struct.Struct("<4s5H3L2H")
_MAX_COMMENT: Final = 0xFFFF
_IN_64: Final = 0xFFFFFFFF
_EXTRA_64: Final = 1
_UTF_8: Final = 0x800
_PIECE_BYTES: Final = 512 * 1024
_BARREN_BYTES: Final = 1024 * 1024


class BadZipError(Exception):
    """It is no zip, or a damaged one."""


@dataclass(frozen=True, slots=True)
class Listed:
    """What the list says of one thing.

    Attributes:
        name: Its path; ends in a slash for a directory.
        raw_name: The same, as it stands in the zip.
        system: Of whoever packed it.
        flags: Bits.
        method: How it is compressed.
        mtime: Seconds since the epoch; not a number: none.
        crc: Checksum of its content.
        packed_size: Bytes in the zip.
        size: Bytes of its content.
        attributes: External ones.
        offset: Where it begins in the file.
    """

    name: str
    raw_name: bytes
    system: int
    flags: int
    method: int
    mtime: float
    crc: int
    packed_size: int
    size: int
    attributes: int
    offset: int


def listed(fd: int) -> Iterator[Listed]:
    """What the list of a zip tells, in its order.

    Args:
        fd: The zip, a file.

    Raises:
        BadZipError: It is no zip, or damaged.
    """
    at, stop, shift, count = _find_list(fd)
    seen = 0
    while at < stop:
        fields = _ENTRY.unpack(_exactly(fd, _ENTRY.size, at))
        if fields[0] != b"PK\1\2":
            raise BadZipError("its list is not where its end says")
        lengths = fields[11:14]
        rest = _exactly(fd, sum(lengths), at + _ENTRY.size)
        at += _ENTRY.size + len(rest)
        seen += 1
        yield _listed(fields, rest[: lengths[0]], rest[lengths[0] : lengths[0] + lengths[1]], shift)
    if at != stop or seen & 0xFFFF != count & 0xFFFF:
        raise BadZipError("its list is not as long as its end says")


def content(fd: int, entry: Listed) -> Iterator[tuple[int, bytes]]:
    """The content of a thing, in pieces with their places.

    Raises:
        BadZipError: It is damaged, or does not fit to the list.
    """
    at = _content_place(fd, entry)
    stop, place, crc = at + entry.packed_size, 0, 0
    inflating = zlib.decompressobj(-zlib.MAX_WBITS) if entry.method == DEFLATED else None
    waiting = b""
    while True:
        if not waiting and at < stop:
            waiting = _exactly(fd, min(_PIECE_BYTES, stop - at), at)
            at += len(waiting)
        if inflating is None:
            piece, waiting = waiting, b""
        else:
            piece, waiting = inflating.decompress(waiting, _PIECE_BYTES), inflating.unconsumed_tail
        if piece:
            yield place, piece
            place += len(piece)
            crc = zlib.crc32(piece, crc)
        elif at == stop and not waiting:
            break
        if place > entry.size or at - (stop - entry.packed_size) > 4 * place + _BARREN_BYTES:
            raise BadZipError("an entry is of another size than its list says")
    if (inflating is not None and not inflating.eof) or place != entry.size or crc != entry.crc:
        raise BadZipError("an entry has another checksum or size than its list says")


def _find_list(fd: int) -> tuple[int, int, int, int]:
    """Where the list begins and ends, how far all is from where the zip says it is, and how many entries there are."""
    size = os.fstat(fd).st_size
    tail_at = max(0, size - _END.size - _MAX_COMMENT)
    tail = _exactly(fd, size - tail_at, tail_at)
    found = tail.rfind(b"PK\5\6")
    if found < 0 or found + _END.size > len(tail):
        raise BadZipError("it has no end, and so no list")
    _, _, _, _, count, length, offset, comment = _END.unpack_from(tail, found)
    end_at = tail_at + found
    if end_at + _END.size + comment != size:
        raise BadZipError("something follows after its end")
    if count == 0xFFFF or _IN_64 in (length, offset):
        place = _END_64_PLACE.unpack(_exactly(fd, _END_64_PLACE.size, end_at - _END_64_PLACE.size))
        if place[0] == b"PK\6\7":
            end_at -= _END_64_PLACE.size + _END_64.size
            end = _END_64.unpack(_exactly(fd, _END_64.size, end_at))
            if end[0] != b"PK\6\6":
                raise BadZipError("the second of its ends is not where it should be")
            count, length, offset = end[7:]
    shift = end_at - length - offset  # what stands before it, as in archives that unpack themselves
    if shift < 0:
        raise BadZipError("its list would begin before it does")
    return end_at - length, end_at, shift, count


def _listed(fields: tuple[Any, ...], raw_name: bytes, extra: bytes, shift: int) -> Listed:
    _, _, system, _, flags, method, time, date, crc, *sizes = fields[:11]
    attributes, offset = fields[16:]
    packed_size, size = sizes
    if _IN_64 in (size, packed_size, offset):
        longer = iter(_longer(extra))
        size, packed_size, offset = (next(longer, v) if v == _IN_64 else v for v in (size, packed_size, offset))
    if flags & _UTF_8:
        name = raw_name.decode()
    else:
        name = os.fsdecode(raw_name) if system == UNIX else raw_name.decode("cp437")
    mtime = _mtime(date, time)
    return Listed(name, raw_name, system, flags, method, mtime, crc, packed_size, size, attributes, offset + shift)


def _longer(extra: bytes) -> tuple[int, ...]:
    """The numbers that were too large for their fields."""
    at = 0
    while at + 4 <= len(extra):
        kind, length = struct.unpack_from("<2H", extra, at)
        at += 4
        if kind == _EXTRA_64:
            count = min(length, len(extra) - at) // 8
            numbers: tuple[int, ...] = struct.unpack_from(f"<{count}Q", extra, at)
            return numbers
        at += length
    return ()


def _content_place(fd: int, entry: Listed) -> int:
    fields = _LOCAL.unpack(_exactly(fd, _LOCAL.size, entry.offset))
    name_length, extra_length = fields[9:]
    name_at = entry.offset + _LOCAL.size
    if fields[0] != b"PK\3\4" or _exactly(fd, name_length, name_at) != entry.raw_name:
        raise BadZipError("an entry is not where its list says")
    return name_at + int(name_length) + int(extra_length)


def _mtime(date: int, time: int) -> float:
    month, day = date >> 5 & 15, date & 31
    if not 1 <= month <= 12 or not day:  # many a zip has the month 0
        return nan
    moment = (1980 + (date >> 9), month, day, time >> 11, time >> 5 & 63, 2 * (time & 31))
    return float(timegm((*moment, 0, 0, 0)))


def _exactly(fd: int, size: int, at: int) -> bytes:
    data = os.pread(fd, size, at) if at >= 0 else b""
    if len(data) != size:
        raise BadZipError("it ends too early")
    return data
