"""Files on their way to this machine: each a part beside its target until all of it is there.

A part is named by what it is of: the hub, the project, the path, and the state of the file there. So a download that
was ended, by whatever, is found again by the next one of the same file, and never by one of another.
"""

from __future__ import annotations

import glob
import hashlib
import os
import sys
from pathlib import Path
from typing import IO, Protocol

from projecthub.client.names import to_bytes
from projecthub.client.transfers import PIECE_BYTES, to_digest
from projecthub.errors import HubError, TransportError

if sys.platform != "win32":
    import fcntl


class Receiver(Protocol):
    """Where a download goes.

    Attributes:
        at: How many bytes it has.
        etag: Of the state of the file that they are of; empty before the first is there.
    """

    at: int
    etag: str

    def begin(self, etag: str) -> None:
        """Make ready for the bytes of one state of the file."""

    def write(self, piece: bytes) -> None:
        """Take what comes next."""

    def digest(self) -> str:
        """The checksum of all that is there, as it stands in `Repr-Digest`."""


class Passing:
    """An open file that belongs to the caller."""

    def __init__(self, file: IO[bytes]) -> None:
        """Write to where it is."""
        self._file = file
        self._hasher = hashlib.sha256()
        self.at = 0
        self.etag = ""

    def begin(self, etag: str) -> None:
        """See `Receiver`."""
        self.etag = etag

    def write(self, piece: bytes) -> None:
        """See `Receiver`."""
        self._file.write(piece)
        self._hasher.update(piece)
        self.at += len(piece)

    def digest(self) -> str:
        """See `Receiver`."""
        return to_digest(self._hasher.digest())


class Part(Passing):
    """A file beside its target, which it becomes when all of it is there.

    It stays if the connection is lost or the program is ended, and goes if what is in it is of no use.
    """

    def __init__(self, target: str | os.PathLike[str], source: str) -> None:
        """Make nothing yet.

        Args:
            target: The path on this machine.
            source: What is downloaded: names hub, project and path.
        """
        self._target = Path(target)
        self._source = source
        self._place: Path | None = None
        self.at = 0
        self.etag = ""
        self._hasher = hashlib.sha256()

    def __enter__(self) -> Part:
        """Itself."""
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        """Become the target, stay, or go."""
        if self._place is None:
            return
        is_useless = isinstance(error, HubError) and not isinstance(error, TransportError)
        with self._file as file:
            if error is None:
                file.flush()
                if sys.platform == "win32":
                    file.close()  # there, nothing that is open can be renamed
                self._place.replace(self._target)
            elif is_useless or not self.at:
                self._place.unlink(missing_ok=True)

    def is_waiting(self) -> bool:
        """Whether a download into this target was ended before its time."""
        return bool(self._parts())

    def take_up(self, etag: str) -> None:
        """Go on with what is there of this state of the file; parts of other states that nobody holds go."""
        self._open(etag)
        self._file.seek(0)
        while piece := self._file.read(PIECE_BYTES):
            self._hasher.update(piece)
            self.at += len(piece)

    def begin(self, etag: str) -> None:
        """Make ready for the bytes of one state of the file, from the first one unless it was taken up."""
        if self._place is None:
            self._open(etag)
            self.begin_anew()

    def begin_anew(self) -> None:
        """Forget what is there."""
        self._file.truncate(0)
        self.at, self._hasher = 0, hashlib.sha256()

    def _open(self, etag: str) -> None:
        name = hashlib.sha256(to_bytes(f"{self._source}\n{etag}")).hexdigest()[:16]
        place = self._target.with_name(f".{self._target.name}.part-{name}")
        held = _held(place)
        if held is None:  # another process is about the same
            place = place.with_name(f"{place.name}-{os.getpid()}")
            held = place.open("a+b", buffering=0)
        self._file, self._place, self.etag = held, place, etag
        for other in self._parts():
            if other != place and (left := _held(other)) is not None:
                other.unlink(missing_ok=True)
                left.close()

    def _parts(self) -> list[Path]:
        return list(self._target.parent.glob(f".{glob.escape(self._target.name)}.part-*"))


def _held(place: Path) -> IO[bytes] | None:
    """A part, made if it is not there, open and for nobody else as long as it is; None: somebody has it."""
    file = place.open("a+b", buffering=0)
    if sys.platform == "win32":
        return file
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.path.samestat(os.fstat(file.fileno()), place.stat()):
            return file
    except (BlockingIOError, FileNotFoundError):  # whoever had it has just finished
        pass
    file.close()
    return None
