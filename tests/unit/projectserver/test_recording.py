"""The log of a job, as its recorder writes it."""

from __future__ import annotations

import asyncio
import errno
import os
import resource
import select
import threading
from pathlib import Path
from typing import Self

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
        recorder.add(log, pipes[0][0], pipes[1][0], lambda: None)
        if number % 2:
            recorder.close(log)
        if number % 50 == 0:
            async with asyncio.timeout(10):
                await log.ended.wait()
            assert log.bytes_of == {Stream.STDOUT: 1, Stream.STDERR: 0}


async def test_what_cannot_be_waited_for_is_told_and_leaves_nothing_open(tmp_path: Path) -> None:
    recorder = Recorder()
    recorder.begin()
    opened = set(os.listdir("/proc/self/fd"))
    log, (reader, writer), failures = JobLog(tmp_path, 1000), os.pipe(), []
    file = os.open(tmp_path / "file", os.O_RDWR | os.O_CREAT)  # of which there are no events
    recorder.add(log, reader, file, lambda: failures.append(log.ended.is_set()))
    async with asyncio.timeout(10):
        await log.ended.wait()
    assert failures == [False]
    assert log.failure is not None and log.failure.errno == errno.EPERM
    os.close(writer)
    assert set(os.listdir("/proc/self/fd")) == opened

    (tmp_path / "next").mkdir()
    log, (reader, writer), (other, end) = JobLog(tmp_path / "next", 1000), os.pipe(), os.pipe()
    recorder.add(log, reader, other, lambda: None)
    os.write(writer, b"x")
    os.close(writer)
    os.close(end)
    async with asyncio.timeout(10):
        await log.ended.wait()
    assert (log.failure, log.size) == (None, 1)
    assert set(os.listdir("/proc/self/fd")) == opened


class FullEpoll:
    """An epoll of a user who has as many watches as the kernel allows, but for the first one."""

    def __init__(self, epoll: select.epoll) -> None:
        self.epoll = epoll
        self.is_full = False
        self.poll, self.close = epoll.poll, epoll.close

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *details: object) -> None:
        self.close()

    def register(self, fd: int, events: int) -> None:
        if self.is_full:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self.epoll.register(fd, events)


async def test_a_job_that_cannot_be_recorded_ends_and_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    epoll = FullEpoll(select.epoll())
    with monkeypatch.context() as patch:
        patch.setattr(select, "epoll", lambda: epoll)
        jobs = Jobs(home=str(tmp_path), environment={"PATH": os.environ["PATH"]}, session_id="run-1")
        first = await jobs.start([{"command": "true", "args": []}])
    async with asyncio.timeout(10):
        await jobs.wait(first["id"])
        epoll.is_full = True
        job = await jobs.start([{"command": "sleep 1000 & sleep 1000"}])
        await jobs.wait(job["id"])
        epoll.is_full = False
        last = await jobs.start([{"command": "echo", "args": ["here"]}])
        await jobs.wait(last["id"])
    ended = jobs.read(job["id"])
    assert (ended["state"], ended["exit_code"], ended["output_bytes"]) == ("failed", 137, 0)
    assert ended["error"] is not None and "could not be recorded (No space left on device)" in ended["error"]
    assert jobs.read(last["id"])["stdout_bytes"] == len("here\n")
    assert jobs.running() == 0
    await jobs.close()


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
