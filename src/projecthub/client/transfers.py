"""What uploads read from on this machine, and what they tell of it."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import io
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any, Final

from projecthub.client.names import to_bytes

PIECE_BYTES: Final = 1024 * 1024
SMALL_BYTES: Final = 8 * 1024 * 1024
"""What is no larger is sent in one request."""

Local = str | os.PathLike[str] | bytes | IO[bytes]
"""A path on this machine, bytes, or an open binary file."""
Progress = Callable[[int, int | None], None]
"""Called with how many bytes are done, and how many there are, if known."""


@contextlib.contextmanager
def reading(source: Local) -> Iterator[IO[bytes]]:
    """The source as an open binary file; one that was given stays open."""
    if isinstance(source, bytes | bytearray | memoryview):
        yield io.BytesIO(source)
    elif isinstance(source, str | os.PathLike):
        with open(source, "rb") as file:
            yield file
    else:
        yield source


def remaining(file: IO[bytes]) -> int | None:
    """How many bytes are left in a file; None: it cannot be told, or the file cannot be read twice."""
    try:
        at = file.tell()
        end = file.seek(0, os.SEEK_END)
        file.seek(at)
    except (OSError, AttributeError, ValueError):
        return None
    return end - at


def metadata(values: dict[str, Any]) -> str:
    """The `Upload-Metadata` of tus; what is None is left out."""
    pairs = {name: str(value) for name, value in values.items() if value is not None}
    return ",".join(f"{name} {base64.b64encode(to_bytes(value)).decode()}" for name, value in pairs.items())


def fingerprint(source: Local, mode: int | None) -> str | None:
    """What names one state of a file of this machine, by which its upload is found again; None: it is no file's."""
    if not isinstance(source, str | os.PathLike):
        return None
    path = Path(source).resolve()
    status = path.stat()
    facts = (str(path), status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, mode)
    return hashlib.sha256(repr(facts).encode()).hexdigest()


def to_digest(sha256: bytes) -> str:
    """A checksum as it stands in `Repr-Digest`."""
    return f"sha-256=:{base64.b64encode(sha256).decode()}:"


class SummedFile:
    """A file that is sent in parts, perhaps some of it twice or not at all, and the checksum of all of it.

    Attributes:
        length: How many bytes of it are sent, from where it was.
    """

    def __init__(self, file: IO[bytes], length: int) -> None:
        """Begin where the file is."""
        self._file = file
        self._start = file.tell()
        self._hasher = hashlib.sha256()
        self._summed = 0
        self.length = length

    def pieces(self, at: int, stop: int) -> Iterator[bytes]:
        """The bytes from ``at`` to ``stop``; fewer if it was cut short meanwhile."""
        self._sum_up_to(at)
        self._file.seek(self._start + at)
        while at < stop and (piece := self._file.read(min(PIECE_BYTES, stop - at))):
            if at <= self._summed < at + len(piece):
                self._hasher.update(piece[self._summed - at :])
                self._summed = at + len(piece)
            yield piece
            at += len(piece)

    def digest(self) -> str:
        """The checksum of all of it, as it stands in `Repr-Digest`."""
        self._sum_up_to(self.length)
        return to_digest(self._hasher.digest())

    def _sum_up_to(self, stop: int) -> None:
        if self._summed < stop:
            for _ in self.pieces(self._summed, stop):
                pass
