"""The log of a job, as its recorder writes it."""

from __future__ import annotations

import asyncio
import os
import resource
import threading
from pathlib import Path

import pytest

from projecthub.errors import LimitError
from projecthub.projectserver.jobs import Jobs
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


async def test_a_recorder_that_could_not_begin_does_later(tmp_path: Path) -> None:
    """A project may have as many threads as it may just when its first job starts: the next one is recorded."""
    jobs = Jobs(home=str(tmp_path), environment={"PATH": os.environ["PATH"]}, session_id="run-1")
    call = [{"command": "echo", "args": ["here"]}]
    usual = threading.stack_size(1 << 45)  # which no thread gets
    try:
        with pytest.raises(LimitError, match="cannot be recorded"):
            await jobs.start(call)
    finally:
        threading.stack_size(usual)
    job = await jobs.start(call)
    async with asyncio.timeout(10):
        await jobs.wait(job["id"])
    assert jobs.read(job["id"])["stdout_bytes"] == len("here\n")
    assert jobs.running() == 0
    await jobs.close()
