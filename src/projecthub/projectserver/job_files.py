"""The files of jobs, from inside the project: made, written, read back, removed."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from projecthub.errors import Conflict, HubError, LimitError
from projecthub.projectserver.commands import cut
from projecthub.wire.ids import is_uuid
from projecthub.wire.jobs import CHUNKS_FILE, JOBS_DIRECTORY, MAX_STATE_BYTES, OUTPUT_FILE, RECORD, STATE_FILE, Stream

_MODE = 0o700
_MOST_BYTES_A_CHARACTER = 4
_RECORDS_AT_A_TIME = 4096


def make_directory(jobs: Path, job_id: str) -> Path:
    """Make the directory of a job.

    Raises:
        OSError: It cannot be made.
    """
    jobs.mkdir(mode=_MODE, parents=True, exist_ok=True)
    directory = jobs / job_id
    directory.mkdir(mode=_MODE)
    return directory


def unrecordable(error: OSError) -> HubError:
    """What to tell if no directory of a job could be made."""
    why = os.strerror(error.errno or 0)
    if error.errno in (errno.EEXIST, errno.ENOTDIR, errno.ELOOP, errno.ENOENT):
        return Conflict(
            f"the job cannot be recorded ({why}): in the project's home '{JOBS_DIRECTORY}' has to be a directory of "
            "its own, and a link or a file stands in the way; rename or remove that"
        )
    if error.errno in (errno.EACCES, errno.EPERM):
        return Conflict(f"the job cannot be recorded ({why}): make '{JOBS_DIRECTORY}' in the project's home writable")
    return LimitError(f"the job cannot be recorded ({why}); make room")


def write_state(directory: Path, state: dict[str, Any]) -> None:
    """Write a job's state; whoever reads meanwhile gets the old one or the new one.

    Raises:
        OSError: It cannot be written.
    """
    new = directory / f".{STATE_FILE}.new"
    new.write_text(json.dumps(state))
    new.replace(directory / STATE_FILE)


def read_state(directory: Path) -> dict[str, Any] | None:
    """The state of a job; None if there is none that can be read."""
    try:
        with (directory / STATE_FILE).open("rb") as file:
            state = json.loads(file.read(MAX_STATE_BYTES))
    except (OSError, ValueError, RecursionError):
        return None
    return state if isinstance(state, dict) and state.get("id") == directory.name else None


def all_states(jobs: Path) -> list[dict[str, Any]]:
    """The states of all jobs that have one, oldest first."""
    try:
        names = [name for name in os.listdir(jobs) if is_uuid(name)]  # noqa: PTH208 - names alone
    except OSError:
        return []
    states = (read_state(jobs / name) for name in names)
    return sorted((state for state in states if state), key=lambda state: str(state.get("started_at", 0)))


def remove(jobs: Path, job_id: str) -> None:
    """Remove all files of a job. Idempotent."""
    shutil.rmtree(jobs / job_id, ignore_errors=True)


def read_text(directory: Path, stream: Stream, max_characters: int) -> str:
    """What came from one stream, decoded as UTF-8 and cut as the output of a blocking command is."""
    pieces: list[bytes] = []
    most_bytes = (max_characters + 1) * _MOST_BYTES_A_CHARACTER
    with contextlib.suppress(OSError), (directory / OUTPUT_FILE).open("rb") as output:
        for offset, length, kind in _records(directory):
            if kind == stream and most_bytes > 0:
                output.seek(offset)
                pieces.append(output.read(min(length, most_bytes)))
                most_bytes -= length
    return cut(b"".join(pieces).decode("utf-8", "replace"), max_characters)


def _records(directory: Path) -> Iterator[tuple[int, int, int]]:
    """Offset, length and stream of each piece of output."""
    with (directory / CHUNKS_FILE).open("rb") as chunks:
        while block := chunks.read(RECORD.size * _RECORDS_AT_A_TIME):
            whole = len(block) - len(block) % RECORD.size
            for offset, _, length, stream in RECORD.iter_unpack(block[:whole]):
                yield offset, length, stream
