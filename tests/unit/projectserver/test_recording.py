"""The log of a job, as its recorder writes it."""

from __future__ import annotations

import asyncio
import os
import resource
from pathlib import Path

import pytest

from projecthub.projectserver.recording import JobLog, Recorder
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


async def test_many_short_jobs_are_recorded_to_their_ends(tmp_path: Path) -> None:
    """The numbers of pipes come back soon, while events of the old ones may still be on their way."""
    recorder = Recorder()
    for number in range(5000):
        directory = tmp_path / str(number)
        directory.mkdir()
        log, pipes = JobLog(directory, 1000), (os.pipe(), os.pipe())
        os.write(pipes[0][1], b"x")
        for _, writer in pipes:
            os.close(writer)
        recorder.add(log, pipes[0][0], pipes[1][0])
        if number % 2:
            recorder.close(log)
        if number % 50 == 0:
            async with asyncio.timeout(10):
                await log.ended.wait()
            assert log.bytes_of == {Stream.STDOUT: 1, Stream.STDERR: 0}
