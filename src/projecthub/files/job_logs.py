"""The jobs in a home, as its project server keeps them. All of it is the project's people's: nothing is believed.

Everything here blocks: call it in a thread.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import stat
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any, Final

from projecthub.errors import NotFound
from projecthub.files.paths import DIRECTORY, LeavesHomeError, open_beneath
from projecthub.wire.ids import is_uuid
from projecthub.wire.jobs import (
    CHUNKS_FILE,
    JOBS_DIRECTORY,
    MAX_CHUNK_BYTES,
    MAX_STATE_BYTES,
    OUTPUT_FILE,
    RECORD,
    STATE_FILE,
    Chunk,
    Job,
    JobState,
    Stream,
)

MAX_LISTED: Final = 10_000
"""Directories that are looked at, and jobs that are told of."""

_REGULAR: Final = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY
_RECORDS_AT_A_TIME: Final = 256
_MAX_NUMBER: Final = 2**53
_MAX_SAMPLES: Final = 1000
_STREAMS: Final = (Stream.STDOUT, Stream.STDERR)
_TEXTS: Final = ("command", "directory", "session_id")
_MAYBE_TEXTS: Final = ("by", "signal", "error")
_FLAGS: Final = ("bash", "has_stdin", "truncated")
_COUNTS: Final = ("started_at", "output_bytes", "stdout_bytes", "stderr_bytes")
_MAYBE_NUMBERS: Final = ("ended_at", "exit_code", "pid", "timeout_s")
_SAMPLE: Final = ("timestamp", "mem_rss", "cpu_pct", "cpu_secs")


def list_jobs(home: Path) -> list[Job]:
    """The jobs that a home knows, newest first."""
    with _opened(home) as home_fd:
        try:
            fd = open_beneath(home_fd, JOBS_DIRECTORY, DIRECTORY, follow=False)
        except (OSError, LeavesHomeError):
            return []
        try:
            with os.scandir(fd) as entries:
                names = [entry.name for entry in islice(entries, MAX_LISTED) if is_uuid(entry.name)]
        finally:
            os.close(fd)
        found = (_read_job(home_fd, name) for name in names)
        return sorted((job for job in found if job is not None), key=lambda job: -job["started_at"])


def read_job(home: Path, job_id: str) -> Job:
    """One job.

    Raises:
        NotFound: The home knows none of this id, or what stands there is none.
    """
    with _opened(home) as home_fd:
        job = _read_job(home_fd, job_id) if is_uuid(job_id) else None
    if job is None:
        raise NotFound(f"there is no job '{job_id[:50]}' in this project", job_id=job_id)
    return job


class JobLogReader:
    """Reads the output of one job, from any place, while it grows or later."""

    def __init__(self, home: Path, job_id: str) -> None:
        """Name a log, which is opened when it is first read; a job without one has an empty one.

        Raises:
            NotFound: ``job_id`` is no uuid.
        """
        if not is_uuid(job_id):
            raise NotFound(f"there is no job '{job_id[:50]}' in this project", job_id=job_id)
        self._home, self._job_id = home, job_id
        self._output: int | None = None
        self._chunks: int | None = None

    def _open(self) -> None:
        if self._output is None:
            self.close()
            with _opened(self._home) as home_fd:
                self._chunks = _open_file(home_fd, self._job_id, CHUNKS_FILE)
                self._output = _open_file(home_fd, self._job_id, OUTPUT_FILE)

    def close(self) -> None:
        """Close the files. Idempotent."""
        for fd in (self._output, self._chunks):
            if fd is not None:
                os.close(fd)
        self._output = self._chunks = None

    def size(self) -> int:
        """Bytes of output that there are."""
        return 0 if self._output is None else os.fstat(self._output).st_size

    def read(self, offset: int, max_bytes: int, *, is_final: bool) -> list[tuple[Chunk, memoryview]]:
        """The next pieces from a place on.

        Args:
            offset: Where to begin, in bytes of the whole output.
            max_bytes: How much to read at most.
            is_final: Whether nothing more comes: then also what has no record is told, as standard output.

        Returns:
            Pieces that follow one another; none if there is nothing yet.

        Raises:
            NotFound: The project has no home any more.
        """
        self._open()
        if self._output is None or offset >= (size := self.size()):
            return []
        pieces = list(self._records_from(offset, min(size, offset + max_bytes)))
        if not pieces and is_final:
            length = min(size - offset, max_bytes, MAX_CHUNK_BYTES)
            pieces = [Chunk(offset, int(os.fstat(self._output).st_mtime * 1e6), length, Stream.STDOUT)]
        if not pieces:
            return []
        data = memoryview(os.pread(self._output, pieces[-1].offset + pieces[-1].length - offset, offset))
        return [
            (piece, data[piece.offset - offset : piece.offset - offset + piece.length])
            for piece in pieces
            if piece.offset + piece.length - offset <= len(data)  # it was shortened meanwhile
        ]

    def _records_from(self, offset: int, end: int) -> Iterator[Chunk]:
        """The records of the output from ``offset`` on, cut to what lies between; ends with the first odd one."""
        place = self._find(offset)
        while offset < end:
            block = self._block(place, _RECORDS_AT_A_TIME)
            for record in block:
                ahead = offset - record.offset
                # The true ones follow one another; of the first perhaps only a part is wanted.
                if not 0 <= ahead < record.length <= MAX_CHUNK_BYTES or record.stream not in _STREAMS:
                    return
                length = min(record.length - ahead, end - offset)
                yield Chunk(offset, min(max(record.time_us, 0), _MAX_NUMBER), length, record.stream)
                offset += length
                if offset >= end:
                    return
            if len(block) < _RECORDS_AT_A_TIME:
                return
            place += len(block)

    def _find(self, offset: int) -> int:
        """The number of the last record that begins at ``offset`` or before."""
        if self._chunks is None:
            return 0
        low, high = 0, os.fstat(self._chunks).st_size // RECORD.size
        while high - low > 1:
            middle = (low + high) // 2
            block = self._block(middle, 1)
            if block and block[0].offset <= offset:
                low = middle
            else:
                high = middle
        return low

    def _block(self, place: int, count: int) -> list[Chunk]:
        if self._chunks is None:
            return []
        block = os.pread(self._chunks, count * RECORD.size, place * RECORD.size)
        return [Chunk(*each) for each in RECORD.iter_unpack(block[: len(block) - len(block) % RECORD.size])]


@contextlib.contextmanager
def _opened(home: Path) -> Iterator[int]:
    """A descriptor of a home.

    Raises:
        NotFound: It does not exist.
    """
    try:
        fd = os.open(home, DIRECTORY)
    except OSError as error:
        raise NotFound("the project has no home yet, and so no jobs: it was never started") from error
    try:
        yield fd
    finally:
        os.close(fd)


def _open_file(home_fd: int, job_id: str, name: str) -> int | None:
    """A regular file of a job; None if there is none."""
    try:
        fd = open_beneath(home_fd, f"{JOBS_DIRECTORY}/{job_id}/{name}", _REGULAR, follow=False)
    except (OSError, LeavesHomeError):
        return None
    if stat.S_ISREG(os.fstat(fd).st_mode):
        return fd
    os.close(fd)
    return None


def _read_job(home_fd: int, job_id: str) -> Job | None:
    fd = _open_file(home_fd, job_id, STATE_FILE)
    if fd is None:
        return None
    try:
        text = os.pread(fd, MAX_STATE_BYTES, 0)
        value = json.loads(text)
        # Halves of surrogate pairs could not be sent on.
        value = json.loads(json.dumps(value, ensure_ascii=False).encode("utf-8", "replace"))
    except (OSError, ValueError, RecursionError):
        return None
    finally:
        os.close(fd)
    job = _checked(job_id, value)
    if job is not None and job["state"] == JobState.RUNNING and (output := _open_file(home_fd, job_id, OUTPUT_FILE)):
        job["output_bytes"] = os.fstat(output).st_size
        os.close(output)
    return job


def _checked(job_id: str, value: Any) -> Job | None:
    """What a file says of a job, each of the right type; None if it is none."""
    if not isinstance(value, dict) or value.get("state") not in list(JobState):
        return None
    args = value.get("args")
    samples = value.get("samples")
    checked: dict[str, Any] = {
        "id": job_id,
        "state": value["state"],
        "args": [each for each in args if isinstance(each, str)] if isinstance(args, list) else [],
        "samples": [
            {name: _number(each.get(name)) or 0 for name in _SAMPLE}
            for each in (samples[:_MAX_SAMPLES] if isinstance(samples, list) else [])
            if isinstance(each, dict)
        ],
        **{name: value[name] if isinstance(value.get(name), str) else "" for name in _TEXTS},
        **{name: value[name] if isinstance(value.get(name), str) else None for name in _MAYBE_TEXTS},
        **{name: value.get(name) is True for name in _FLAGS},
        **{name: int(_number(value.get(name)) or 0) for name in _COUNTS},
        **{name: _number(value.get(name)) for name in _MAYBE_NUMBERS},
    }
    job: Job = checked  # type: ignore[assignment]
    return job


def _number(value: object) -> int | float | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return value if abs(value) <= _MAX_NUMBER else None
