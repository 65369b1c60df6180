"""The log of a job, as its recorder writes it."""

from __future__ import annotations

import resource
from pathlib import Path

import pytest

from projecthub.projectserver.recording import JobLog
from projecthub.wire.jobs import CHUNKS_FILE, OUTPUT_FILE, RECORD, Stream

pytestmark = pytest.mark.anyio
LARGEST = 100


async def test_what_was_written_in_part_is_counted(tmp_path: Path) -> None:
    log = JobLog(tmp_path, 10_000)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (LARGEST, hard))  # more than that no file takes
    try:
        log.append(b"x" * 60, Stream.STDOUT)
        log.append(b"y" * 60, Stream.STDERR)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    log.append(b"z", Stream.STDOUT)
    log.close()
    assert (tmp_path / OUTPUT_FILE).read_bytes() == b"x" * 60 + b"y" * 40
    assert (log.size, log.truncated, log.bytes_of[Stream.STDERR]) == (LARGEST, True, 60)
    records = [*RECORD.iter_unpack((tmp_path / CHUNKS_FILE).read_bytes())]
    assert [(offset, length, stream) for offset, _, length, stream in records] == [(0, 60, 1), (60, 40, 2)]
