"""Headers of a tar as POSIX has it, of names of any bytes, to the nanosecond; the same facts give the same bytes.

Source: POSIX.1-2017, pax; the keywords ``SCHILY.xattr`` and ``GNU.sparse`` (version 1.0) as GNU tar reads them.
"""

from __future__ import annotations

import tarfile
from collections.abc import Mapping
from typing import Final

BLOCK: Final = tarfile.BLOCKSIZE
XATTR: Final = "SCHILY.xattr."
"""What stands before the name of an extended attribute; in that name ``%`` and ``=`` are percent-encoded."""

_NAME_BYTES: Final = 100
_LARGEST_SIZE: Final = 8**11
_EXTENDED_NAME: Final = b"././@PaxHeader"


def header(
    name: bytes,
    kind: bytes,
    mode: int,
    mtime_ns: int,
    *,
    size: int = 0,
    link: bytes = b"",
    more: Mapping[bytes, bytes] | None = None,
) -> bytes:
    """What stands before the content of one thing.

    Args:
        name: Its path.
        kind: As `tarfile` has them, such as `tarfile.REGTYPE`.
        mode: Its permission bits.
        mtime_ns: When it was changed last, in nanoseconds since the epoch; may be negative.
        size: How many bytes follow.
        link: What a symlink says, or the path that a hard link is another name of.
        more: Further records, such as extended attributes.
    """
    records: dict[bytes, bytes] = {}
    seconds, rest = divmod(mtime_ns, 10**9)
    if rest or not 0 <= seconds < _LARGEST_SIZE:
        records[b"mtime"], seconds = _decimal(mtime_ns), 0
    if len(name) > _NAME_BYTES:
        records[b"path"], name = name, name[:_NAME_BYTES]
    if len(link) > _NAME_BYTES:
        records[b"linkpath"], link = link, link[:_NAME_BYTES]
    if size >= _LARGEST_SIZE:
        records[b"size"], size = b"%d" % size, 0
    records.update(more or {})
    own = _block(name, kind, mode, seconds, size, link)
    return _extended(records) + own if records else own


def padding(size: int) -> bytes:
    """What follows ``size`` bytes of content."""
    return bytes(-size % BLOCK)


def xattr_keyword(name: str) -> bytes:
    """The keyword for an extended attribute."""
    return f"{XATTR}{name.replace('%', '%25').replace('=', '%3D')}".encode("utf-8", "surrogateescape")


def xattr_name(keyword: str) -> str:
    """The name of the extended attribute that a keyword stands for."""
    return keyword.removeprefix(XATTR).replace("%3D", "=").replace("%25", "%")


def _decimal(time_ns: int) -> bytes:
    seconds, rest = divmod(abs(time_ns), 10**9)
    text = f"{'-' * (time_ns < 0)}{seconds}.{rest:09d}"
    return text.rstrip("0").rstrip(".").encode()


def _block(name: bytes, kind: bytes, mode: int, seconds: int, size: int, link: bytes) -> bytes:
    start = name.ljust(100, b"\0") + b"%07o\0%07o\0%07o\0%011o\0%011o\0" % (mode, 0, 0, size, seconds)
    end = kind + link.ljust(100, b"\0") + b"ustar\x0000" + bytes(BLOCK - 265)
    checksum = sum(start) + sum(end) + 8 * ord(" ")
    return start + b"%06o\0 " % checksum + end


def _extended(records: Mapping[bytes, bytes]) -> bytes:
    # Who reads it must not take for damage what is no UTF-8.
    binary = b"" if _is_text(records) else _record(b"hdrcharset", b"BINARY")
    content = binary + b"".join(_record(keyword, value) for keyword, value in records.items())
    return _block(_EXTENDED_NAME, tarfile.XHDTYPE, 0o644, 0, len(content), b"") + content + padding(len(content))


def _is_text(records: Mapping[bytes, bytes]) -> bool:
    try:
        for name in (b"path", b"linkpath", b"GNU.sparse.name"):
            records.get(name, b"").decode()
    except UnicodeDecodeError:
        return False
    return True


def _record(keyword: bytes, value: bytes) -> bytes:
    """``length keyword=value``, where the length counts itself."""
    rest = len(keyword) + len(value) + 3
    length = rest + len(str(rest))
    if len(str(length)) > len(str(rest)):
        length += 1
    return b"%d %s=%s\n" % (length, keyword, value)
