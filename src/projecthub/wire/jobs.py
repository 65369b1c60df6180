"""Jobs as they stand in files and on the wire: a project server writes them, a hub reads them, clients get them.

A job's directory in a project's home holds three files. ``output`` has the bytes of stdout and stderr in the order they
came in, ``chunks`` a record of fixed size for each piece of it, and ``job.json`` what else is known. Whoever reads them
has to reckon with anything: they belong to the project's people.
"""

from __future__ import annotations

import struct
from enum import IntEnum, StrEnum
from typing import Final, NamedTuple, TypedDict

JOBS_DIRECTORY: Final = ".projecthub/jobs"
"""Of a home; each job has a directory in it that is named by its id."""

OUTPUT_FILE: Final = "output"
CHUNKS_FILE: Final = "chunks"
STATE_FILE: Final = "job.json"
MAX_STATE_BYTES: Final = 256 * 1024
"""Longest `STATE_FILE` that is read."""

MAX_CHUNK_BYTES: Final = 1024 * 1024
"""Longest piece of output that has one record."""

RECORD: Final = struct.Struct("<QqII")
"""A piece of output: its offset in bytes, when it came (microseconds since the epoch), its length, its stream."""

MARKER: Final = "PROJECTHUB_JOB_ID"
"""Variable in the environment of everything that a job starts."""

EXEC_TIMEOUT_S: Final = 60.0
"""After which a command of a blocking ``system.exec`` is killed, unless its call says otherwise."""


class Stream(IntEnum):
    """Where a piece of output comes from."""

    STATE = 0
    """Nowhere: the piece is the job itself, as JSON. Only what is sent has these, no file."""
    STDOUT = 1
    STDERR = 2


class JobState(StrEnum):
    """How it stands with a job."""

    RUNNING = "running"
    COMPLETED = "completed"
    """It ended with exit code 0."""
    FAILED = "failed"
    """It ended with another exit code, could not begin, or could not be recorded."""
    KILLED = "killed"
    """A signal ended it."""
    TIMED_OUT = "timed_out"
    LOST = "lost"
    """The project was stopped or died meanwhile: nobody knows how it ended. Its log is whole up to there."""


class Chunk(NamedTuple):
    """One piece of output.

    Attributes:
        offset: Where it begins in the whole output, in bytes.
        time_us: When it came in, in microseconds since the epoch.
        length: Its length in bytes.
        stream: A value of `Stream`.
    """

    offset: int
    time_us: int
    length: int
    stream: int


class JobSample(TypedDict):
    """What a job used at a moment, with everything in its session.

    `timestamp` in milliseconds since the epoch, `mem_rss` in MB, `cpu_pct` of one core since the sample before,
    `cpu_secs` in seconds since its start.
    """

    timestamp: int
    mem_rss: float
    cpu_pct: float
    cpu_secs: float


class ListedJob(TypedDict):
    """A job: a command that runs in a project, or has run there, and whose output is kept.

    Times are in milliseconds since the epoch. `exit_code` is 128 + n if signal n ended it, null while it runs or if
    nobody knows. `by` is the account that started it. `output_bytes` is the length of the kept output; beyond the
    job's `max_log_bytes` it is `truncated` and goes on unrecorded.
    """

    id: str
    state: str
    command: str
    args: list[str]
    bash: bool
    directory: str
    by: str | None
    started_at: int
    ended_at: int | None
    exit_code: int | None
    signal: str | None
    error: str | None
    pid: int | None
    timeout_s: float | None
    has_stdin: bool
    output_bytes: int
    stdout_bytes: int
    stderr_bytes: int
    truncated: bool
    session_id: str


class Job(ListedJob):
    """A job, and what it used over its time, which lists do not tell."""

    samples: list[JobSample]
