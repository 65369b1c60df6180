"""Records: where a copy into a project is made ready, and what was displaced by it is kept.

A record is a directory beside the home, on the same file system, and never visible inside of a project. What it holds
says how far its copy has got, so that one that was killed can be ended, and one that is done can be undone.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from projecthub.errors import NotFound
from projecthub.files.failures import unwritable
from projecthub.files.paths import DIRECTORY
from projecthub.files.places import closing
from projecthub.files.spreading import mark
from projecthub.files.staging import StagingRun

COPIES: Final = "copies"
HEAD, PLAN, STEPS, MARK, DONE, UNDONE = "head.json", "plan", "steps", "marked", "done.json", "undone.json"
NEW, OLD, KEPT = "new", "old", "kept"
VERSION: Final = 1
STAGED: Final = "staged"
_UNFINISHED = ".part"


@dataclass(frozen=True, slots=True)
class Record:
    """One record of a project.

    Attributes:
        name: Its name.
        path: Where it lies.
        state: ``staging``, ``staged``, ``committed`` or ``undone``.
        size_bytes: What it takes on disk.
        made_ns: When it was begun.
    """

    name: str
    path: Path
    state: str
    size_bytes: int
    made_ns: int


def record_path(home: Path, name: str) -> Path:
    """Where the record of a copy into a home lies."""
    return home.with_name(COPIES) / name


def state_of(record: Path) -> str:
    """How far a copy has got."""
    for name, state in ((UNDONE, "undone"), (DONE, "committed"), (STEPS, STAGED)):
        if (record / name).exists():
            return state
    return "staging"


def records_of(project_dir: Path) -> list[Record]:
    """All records of a project, oldest first. Blocks."""
    found: list[Record] = []
    try:
        names = os.listdir(project_dir / COPIES)  # noqa: PTH208
    except FileNotFoundError:
        return []
    for name in names:
        path = project_dir / COPIES / name
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            made_ns = (path / HEAD).stat().st_mtime_ns if (path / HEAD).exists() else path.stat().st_mtime_ns
            if path.is_dir():
                found.append(Record(name, path, state_of(path), size_of(path), made_ns))
    return sorted(found, key=lambda record: record.made_ns)


def size_of(record: Path) -> int:
    """What a record takes on disk, in bytes. What has a name elsewhere too is not counted."""
    blocks = 0
    for where, _, names in os.walk(record):
        with contextlib.suppress(FileNotFoundError):
            blocks += os.lstat(where).st_blocks
        for name in names:
            with contextlib.suppress(FileNotFoundError):
                status = os.lstat(f"{where}/{name}")
                blocks += status.st_blocks if status.st_nlink == 1 else 0
    return blocks * 512


def discard(record: Path) -> None:
    """Remove a record, however far its copy has got. Idempotent.

    Raises:
        HubError: It cannot be removed.
    """
    if not record.exists():
        return
    try:
        with contextlib.closing(StagingRun(record.parent.with_name("staging"))) as run:
            run.discard_path(record)
    except OSError as error:
        raise unwritable(error, "the record of the copy") from error


def begin(record: Path, head: dict[str, Any], plan: Path) -> None:
    """Make an empty record; one that was left by a copy that was killed before it was staged goes."""
    discard(record)
    record.parent.mkdir(mode=0o700, exist_ok=True)
    record.mkdir(mode=0o700)
    for name in (OLD, KEPT):
        (record / name).mkdir(mode=0o700)
    _spread(record)
    (record / NEW).mkdir(mode=0o700)
    _spread(record / NEW)
    write_json(record / HEAD, {"version": VERSION, **head}, synced=False)
    try:
        os.link(plan, record / PLAN)
    except OSError as error:
        if error.errno not in (errno.EXDEV, errno.EMLINK, errno.EPERM):
            raise
        shutil.copyfile(plan, record / PLAN)


def _spread(directory: Path) -> None:
    """Have what is made in it lie apart from where many files may just have been deleted; see `spreading`."""
    with closing(os.open(directory, DIRECTORY | os.O_NOFOLLOW)) as fd:
        mark(fd)


def write_json(path: Path, value: Any, *, synced: bool = True) -> None:
    """Write a small file whole or not at all."""
    part = path.with_name(path.name + _UNFINISHED)
    with part.open("w", encoding="ascii") as file:
        file.write(json.dumps(value))  # at once: `json.dump` encodes piece by piece, in Python
        if synced:
            file.flush()
            os.fsync(file.fileno())
    part.rename(path)


def read_json(path: Path) -> Any:
    """Read such a file.

    Raises:
        NotFound: It is not there.
    """
    try:
        return json.loads(path.read_bytes())
    except FileNotFoundError as error:
        raise NotFound("there is no record of this copy, or not of so much of it") from error


def open_record(record: Path) -> int:
    """Open the directory of a record."""
    return os.open(record, DIRECTORY | os.O_NOFOLLOW)
