"""Uploads that go on where they ended: parts of one file, kept beside the home until all of it is there.

Each has a directory with ``data``, whose size is how far it has come, and ``record.json``. It is the hub's alone and no
project sees it. Nothing is remembered elsewhere, so a hub that was killed finds them as they were.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import re
import secrets
import shutil
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from projecthub.errors import Conflict, HubError, InvalidArgument, LimitError, NotFound
from projecthub.files.changes import Check, Dress, Home, place_file
from projecthub.files.keeping import Keeper
from projecthub.files.paths import DIRECTORY
from projecthub.files.places import closing
from projecthub.files.staging import StagingRun

KEPT: Final = timedelta(hours=24)
"""How long an upload is kept that nothing is added to."""
MAX_UPLOADS: Final = 100
"""Unfinished uploads of a project at most."""
_ID: Final = re.compile(r"[0-9a-f]{32}")
_DATA: Final = "data"
_RECORD: Final = "record.json"
_PIECE_BYTES: Final = 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class UploadPlan:
    """What is to be uploaded.

    Attributes:
        path: Where the file will be, reduced.
        length: Its bytes.
        mode: Its permission bits; None: as `Dress.mode`.
        mtime_ns: As `Dress.mtime_ns`.
        sha256: What its checksum has to be, in hex; None: any.
        exclusive: Whether nothing may be replaced.
        fingerprint: By which whoever sends it finds it again; their own words.
    """

    path: str
    length: int
    mode: int | None = None
    mtime_ns: int | None = None
    sha256: str | None = None
    exclusive: bool = False
    fingerprint: str | None = None


@dataclass(frozen=True, slots=True)
class Upload:
    """An upload that is not in its place yet.

    Attributes:
        id: Names it.
        plan: What it is to become.
        offset: How many bytes are there.
        expires_at: When it goes unless something is added.
    """

    id: str
    plan: UploadPlan
    offset: int
    expires_at: datetime


def begin(home: Home, plan: UploadPlan) -> str:
    """Make an upload; tells its id.

    Raises:
        LimitError: There are too many in this project.
    """
    top = _top(home.path)
    top.mkdir(mode=0o700, exist_ok=True)
    if len(os.listdir(top)) >= MAX_UPLOADS:  # noqa: PTH208
        raise LimitError(
            f"the project has {MAX_UPLOADS} unfinished uploads; finish or cancel one, or wait: they go after "
            f"{KEPT.total_seconds() / 3600:g} hours"
        )
    upload_id = secrets.token_hex(16)
    partial = top / f".{upload_id}"
    partial.mkdir(mode=0o700)
    (partial / _RECORD).write_text(json.dumps(asdict(plan)))
    (partial / _DATA).touch(mode=0o600)
    partial.rename(top / upload_id)
    return upload_id


def find(home: Home, upload_id: str) -> Upload:
    """An upload as it is.

    Raises:
        NotFound: There is none of that id: it was finished, cancelled or has expired.
    """
    if not _ID.fullmatch(upload_id):
        raise _unknown(upload_id)
    directory = _top(home.path) / upload_id
    try:
        plan = UploadPlan(**json.loads((directory / _RECORD).read_text()))
        status = (directory / _DATA).stat()
    except (FileNotFoundError, ValueError, TypeError) as error:  # a record is empty when the machine lost its power
        raise _unknown(upload_id) from error
    return Upload(upload_id, plan, status.st_size, datetime.fromtimestamp(status.st_mtime, UTC) + KEPT)


def unfinished(home: Home, path: str | None) -> list[Upload]:
    """Uploads that are not in their place yet, the one that goes last first.

    Args:
        home: The home.
        path: Only those to this path, reduced; None: all.
    """
    found = []
    for upload_id in _ids(home):
        with contextlib.suppress(NotFound):  # it was just finished
            upload = find(home, upload_id)
            if path is None or upload.plan.path == path:
                found.append(upload)
    return sorted(found, key=lambda upload: upload.expires_at, reverse=True)


def promise(home: Home, upload: Upload, sha256: str) -> Upload:
    """Have an upload hold to a checksum that is known only now; the answer is as it is from then on."""
    plan = replace(upload.plan, sha256=sha256)
    directory = _top(home.path) / upload.id
    fresh = directory / f"{_RECORD}.new"
    fresh.write_text(json.dumps(asdict(plan)))
    fresh.replace(directory / _RECORD)
    return replace(upload, plan=plan)


def pending_bytes(home: Path) -> int:
    """What the unfinished uploads beside a home have on disk."""
    total = 0
    with contextlib.suppress(FileNotFoundError):
        for directory in _top(home).iterdir():
            with contextlib.suppress(FileNotFoundError):
                total += (directory / _DATA).stat().st_size
    return total


@contextlib.contextmanager
def adding(home: Home, upload_id: str, offset: int) -> Iterator[tuple[Upload, int]]:
    """An upload with its data, open at its end and for nobody else. What is added is on disk when this ends.

    Raises:
        NotFound: There is none of that id.
        Conflict: Somebody else adds to it, or ``offset`` is not where it ends.
    """
    upload = find(home, upload_id)
    try:
        fd = os.open(_top(home.path) / upload_id / _DATA, os.O_RDWR | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError as error:
        raise _unknown(upload_id) from error
    with closing(fd):
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            message = f"upload {upload_id} is being added to; wait, and ask for its offset"
            raise Conflict(message, busy=True) from error
        at = os.fstat(fd).st_size
        if at != offset or not os.fstat(fd).st_nlink:
            raise Conflict(f"upload {upload_id} ends at byte {at}, not at {offset}; go on from there", offset=at)
        try:
            yield upload, fd
        finally:
            os.fsync(fd)


def finish(home: Home, upload: Upload, fd: int, check: Check, keeper: Keeper | None = None) -> None:
    """Give a complete upload its place. If that can never succeed, the upload is over; otherwise it is kept.

    Raises:
        InvalidArgument: Its checksum is another, or its path leads out of the home; it is over.
        Conflict: ``check`` refuses, and it is over; or a directory is in its place.
        HubError: The system refuses.
    """
    directory = _top(home.path) / upload.id
    try:
        if upload.plan.sha256 is not None and (found := _sha256(fd)) != upload.plan.sha256:
            raise InvalidArgument(f"what was uploaded has the SHA-256 {found}, not {upload.plan.sha256}; upload again")
        dress = Dress(upload.plan.mode, upload.plan.mtime_ns)
        with (
            closing(os.open(directory, DIRECTORY)) as directory_fd,
            contextlib.closing(StagingRun(home.staging)) as run,
        ):
            place_file(home, run, (directory_fd, _DATA, fd), upload.plan.path, dress, check, keeper)
    except BaseException as error:
        if not _is_final(error) and (directory / _DATA).exists():
            os.fchmod(fd, 0o600)  # it may be dressed already: it is to be opened again, and to be kept from now on
            os.utime(fd)
            raise
        shutil.rmtree(directory, ignore_errors=True)
        raise
    shutil.rmtree(directory, ignore_errors=True)


def _is_final(error: BaseException) -> bool:
    refused = isinstance(error, Conflict) and ("precondition" in error.details or "exists" in error.details)
    return refused or isinstance(error, InvalidArgument)


def finish_complete(home: Home, check: Callable[[Upload], Check], keeper: Keeper | None = None) -> int:
    """Give their places to uploads of which all is there, but which a hub did not live to finish; tells how many.

    Args:
        home: The home.
        check: Tells what to check of an upload. See `finish`.
        keeper: See `place_file <projecthub.files.changes.place_file>`.
    """
    finished = 0
    for upload_id in _ids(home):
        with contextlib.suppress(HubError, OSError):  # somebody is about it, or it is to be tried again later
            upload = find(home, upload_id)
            if upload.offset == upload.plan.length:
                with adding(home, upload_id, upload.offset) as (_, fd):
                    finish(home, upload, fd, check(upload), keeper)
                finished += 1
    return finished


def _ids(home: Home) -> list[str]:
    with contextlib.suppress(FileNotFoundError):
        return [name for name in os.listdir(_top(home.path)) if _ID.fullmatch(name)]  # noqa: PTH208
    return []


def cancel(home: Home, upload_id: str) -> None:
    """Forget an upload, with all that was uploaded.

    Raises:
        NotFound: There is none of that id.
    """
    find(home, upload_id)
    shutil.rmtree(_top(home.path) / upload_id, ignore_errors=True)


def expire(home: Home, now: datetime) -> int:
    """Forget uploads to which nothing was added for long, and to which nothing is being added; tells how many."""
    gone = 0
    with contextlib.suppress(FileNotFoundError):
        for directory in list(_top(home.path).iterdir()):
            with contextlib.suppress(FileNotFoundError, BlockingIOError), _held(directory) as changed:
                if datetime.fromtimestamp(changed, UTC) + KEPT <= now:
                    shutil.rmtree(directory, ignore_errors=True)
                    gone += 1
    return gone


@contextlib.contextmanager
def _held(directory: Path) -> Iterator[float]:
    """Keep others from adding to an upload, or finishing it; tells when it was changed, in seconds since the epoch.

    Raises:
        BlockingIOError: Somebody is about that.
    """
    try:
        fd = os.open(directory / _DATA, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:  # it was just begun, or is just being finished
        fd = os.open(directory, DIRECTORY)
    with closing(fd):
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield os.fstat(fd).st_mtime


def _top(home: Path) -> Path:
    return home.with_name("uploads")


def _sha256(fd: int) -> str:
    digest, at = hashlib.sha256(), 0
    while piece := os.pread(fd, _PIECE_BYTES, at):
        digest.update(piece)
        at += len(piece)
    return digest.hexdigest()


def _unknown(upload_id: str) -> NotFound:
    return NotFound(f"there is no upload '{upload_id[:50]}': it was finished or cancelled, or has expired; begin again")
