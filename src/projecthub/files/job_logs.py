"""The jobs in a home, as its project server keeps them. All of it is the project's people's: nothing is believed.

Everything here blocks: call it in a thread.
"""

from __future__ import annotations

import contextlib
import json
import os
import stat
import threading
from collections.abc import Iterable, Iterator
from heapq import nlargest
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
    JobSample,
    JobState,
    ListedJob,
    Stream,
)

MAX_LISTED: Final = 2000
"""Jobs that a list tells of: as many as a project keeps."""

MAX_LIST_BYTES: Final = 16 * 1024 * 1024
"""What the states in one list may take as they stand in their files, all together."""

_MAX_LOOKED_AT: Final = 10_000

_REGULAR: Final = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY
_RECORDS_AT_A_TIME: Final = 256
_MAX_PIECES: Final = 4096
_MAX_NUMBER: Final = 2**53
_MAX_SAMPLES: Final = 1000
_STREAMS: Final = (Stream.STDOUT, Stream.STDERR)
_TEXTS: Final = ("command", "directory", "session_id")
_MAYBE_TEXTS: Final = ("by", "signal", "error")
_FLAGS: Final = ("bash", "has_stdin", "truncated")
_COUNTS: Final = ("started_at", "output_bytes", "stdout_bytes", "stderr_bytes")
_MAYBE_WHOLE: Final = ("ended_at", "exit_code", "pid")
_MEASURES: Final = ("mem_rss", "cpu_pct", "cpu_secs")


def list_jobs(home: Path) -> list[ListedJob]:
    """The jobs that a home knows, newest first; no more than `MAX_LISTED`, those that were changed last.

    Raises:
        NotFound: There is no home.
    """
    with _opened(home) as home_fd:
        try:
            fd = open_beneath(home_fd, JOBS_DIRECTORY, DIRECTORY, follow=False)
        except (OSError, LeavesHomeError):
            return []
        try:
            names = _newest(fd)
        finally:
            os.close(fd)
        found: list[ListedJob] = []
        left = MAX_LIST_BYTES
        for name in names:
            text = _read_state(home_fd, name, min(left, MAX_STATE_BYTES))
            left -= len(text)
            if (value := _parsed(text)) is not None:
                found.append(_listed(home_fd, name, value))
            if not left:
                break
        return sorted(found, key=lambda job: -job["started_at"])


def _newest(jobs_fd: int) -> list[str]:
    """The names of the jobs' directories that were changed last."""
    times: dict[str, int] = {}
    with os.scandir(jobs_fd) as entries:
        for entry in islice(entries, _MAX_LOOKED_AT):
            if is_uuid(entry.name):
                with contextlib.suppress(OSError):  # it was removed meanwhile
                    times[entry.name] = entry.stat(follow_symlinks=False).st_mtime_ns
    return nlargest(MAX_LISTED, times, key=times.__getitem__)


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
        self._lock = threading.Lock()
        self._closed = False

    def _open(self) -> None:
        if self._output is None:
            self._close_files()
            with _opened(self._home) as home_fd:
                self._chunks = _open_file(home_fd, self._job_id, CHUNKS_FILE)
                self._output = _open_file(home_fd, self._job_id, OUTPUT_FILE)

    def close(self) -> None:
        """Close the files, after a read that is under way; nothing is opened again. Idempotent."""
        with self._lock:
            self._closed = True
            self._close_files()

    def _close_files(self) -> None:
        for fd in (self._output, self._chunks):
            if fd is not None:
                os.close(fd)
        self._output = self._chunks = None

    def size(self) -> int:
        """Bytes of output that there are.

        Raises:
            NotFound: The project has no home any more.
        """
        with self._lock:
            if not self._closed:
                self._open()
            return self._size()

    def _size(self) -> int:
        return 0 if self._output is None else os.fstat(self._output).st_size

    def read(
        self, offset: int, max_bytes: int, *, is_final: bool, is_merged: bool = False
    ) -> list[tuple[Chunk, memoryview]]:
        """The next pieces from a place on.

        Args:
            offset: Where to begin, in bytes of the whole output.
            max_bytes: How much to read at most.
            is_final: Whether nothing more comes: then also what has no record is told, as standard output.
            is_merged: Whether neighbours of one stream may come as one piece.

        Returns:
            Pieces that follow one another; none if there is nothing yet.

        Raises:
            NotFound: The project has no home any more.
        """
        with self._lock:
            return [] if self._closed else self._read(offset, max_bytes, is_final=is_final, is_merged=is_merged)

    def _read(self, offset: int, max_bytes: int, *, is_final: bool, is_merged: bool) -> list[tuple[Chunk, memoryview]]:
        self._open()
        if self._output is None or offset >= (size := self._size()):
            return []
        # Output may come byte by byte, and each piece costs more than its bytes.
        records = islice(self._records_from(offset, min(size, offset + max_bytes)), _MAX_PIECES)
        pieces = _merged(records) if is_merged else list(records)
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


def _merged(pieces: Iterable[Chunk]) -> list[Chunk]:
    """Pieces that follow one another, with neighbours of one stream in one."""
    merged: list[Chunk] = []
    for piece in pieces:
        if merged and merged[-1].stream == piece.stream:
            merged[-1] = merged[-1]._replace(length=merged[-1].length + piece.length)
        else:
            merged.append(piece)
    return merged


def _read_state(home_fd: int, job_id: str, max_bytes: int) -> bytes:
    """The text of a state, as far as it may be; empty if there is none."""
    fd = _open_file(home_fd, job_id, STATE_FILE)
    if fd is None:
        return b""
    try:
        return os.pread(fd, max_bytes, 0)
    except OSError:
        return b""
    finally:
        os.close(fd)


def _parsed(text: bytes) -> dict[str, Any] | None:
    """What a file says of a job; None if it says nothing of one."""
    try:
        value = json.loads(text)
        # Halves of surrogate pairs could not be sent on.
        value = json.loads(json.dumps(value, ensure_ascii=False).encode("utf-8", "replace"))
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) and value.get("state") in list(JobState) else None


def _read_job(home_fd: int, job_id: str) -> Job | None:
    value = _parsed(_read_state(home_fd, job_id, MAX_STATE_BYTES))
    return None if value is None else {**_listed(home_fd, job_id, value), "samples": _samples(value.get("samples"))}


def _listed(home_fd: int, job_id: str, value: dict[str, Any]) -> ListedJob:
    """What a file says of a job, each of the right type."""
    args = value.get("args")
    checked: dict[str, Any] = {
        "id": job_id,
        "state": value["state"],
        "args": [each for each in args if isinstance(each, str)] if isinstance(args, list) else [],
        **{name: value[name] if isinstance(value.get(name), str) else "" for name in _TEXTS},
        **{name: value[name] if isinstance(value.get(name), str) else None for name in _MAYBE_TEXTS},
        **{name: value.get(name) is True for name in _FLAGS},
        **{name: _whole(value.get(name)) or 0 for name in _COUNTS},
        **{name: _whole(value.get(name)) for name in _MAYBE_WHOLE},
        "timeout_s": _number(value.get("timeout_s")),
    }
    if value["state"] == JobState.RUNNING and (output := _open_file(home_fd, job_id, OUTPUT_FILE)) is not None:
        checked["output_bytes"] = os.fstat(output).st_size
        os.close(output)
    job: ListedJob = checked  # type: ignore[assignment]
    return job


def _samples(value: object) -> list[JobSample]:
    checked: list[Any] = [
        {"timestamp": _whole(each.get("timestamp")) or 0, **{name: _number(each.get(name)) or 0 for name in _MEASURES}}
        for each in (value[:_MAX_SAMPLES] if isinstance(value, list) else [])
        if isinstance(each, dict)
    ]
    return checked


def _number(value: object) -> int | float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return value if abs(value) <= _MAX_NUMBER else None  # which no NaN is


def _whole(value: object) -> int | None:
    return number if isinstance(number := _number(value), int) else None
