"""Writes what jobs put out into their logs: one thread for all jobs, so that a slow disk stalls no call."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import fcntl
import os
import select
import threading
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path

from projecthub.wire.jobs import CHUNKS_FILE, MAX_CHUNK_BYTES, OUTPUT_FILE, RECORD, Stream

_APPEND = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW
_USUAL_PIPE_BYTES = 65536


class JobLog:
    """The log of one job, while it is written.

    Attributes:
        size: Bytes of output that it holds.
        bytes_of: Bytes that came from each stream, kept or not.
        truncated: Whether something was not kept: it was too much, or could not be written.
        failure: What kept it from being recorded at all, if anything did.
        ended: Set when nothing more will be written.
    """

    def __init__(self, directory: Path, max_bytes: int) -> None:
        """Make the files of a log in a directory that exists.

        Raises:
            OSError: They cannot be made.
        """
        self._room = max_bytes
        self.size = 0
        self.bytes_of = {Stream.STDOUT: 0, Stream.STDERR: 0}
        self.truncated = False
        self.failure: OSError | None = None
        self.ended = asyncio.Event()
        self.open_pipes = 0
        self._grown = asyncio.Event()
        self._told = False
        self._loop = asyncio.get_running_loop()
        self._output = os.open(directory / OUTPUT_FILE, _APPEND, 0o644)
        try:
            self._chunks = os.open(directory / CHUNKS_FILE, _APPEND, 0o644)
        except OSError:
            os.close(self._output)
            raise

    def append(self, data: bytes, stream: Stream) -> None:
        """Keep what came in, as far as there is room. The recorder's business."""
        self.bytes_of[stream] += len(data)
        kept = data[: max(0, self._room - RECORD.size)]
        self.truncated |= len(kept) < len(data)
        if kept:
            try:
                self._write(kept, stream)
            except OSError:  # a full disk must not end the job, whose output it is
                self._room, self.truncated = 0, True
        self._tell()

    def _write(self, data: bytes, stream: Stream) -> None:
        offset = self.size
        written = os.write(self._output, data)
        self.size += written  # what is there is there, with a record or without
        record = RECORD.pack(offset, time.time_ns() // 1000, written, stream)
        if os.write(self._chunks, record) != len(record) or written < len(data):
            raise OSError("a record does not fit")
        self._room -= written + len(record)

    def _tell(self) -> None:
        # One message at a time: the loop has not yet taken the last one while this is set.
        if not self._told:
            self._told = True
            with contextlib.suppress(RuntimeError):  # the loop has ended
                self._loop.call_soon_threadsafe(self._hear)

    def _hear(self) -> None:
        self._told = False
        self._grown.set()

    async def growth(self) -> None:
        """Wait until it has grown, or is ended; or since somebody waited last."""
        self._grown.clear()
        await self._grown.wait()

    def fail(self, failure: OSError, tell: Callable[[], None]) -> None:
        """Close it: nothing that comes can be recorded. The recorder's business.

        Args:
            failure: Why.
            tell: Is called in the loop, before those who wait for the end hear of it.
        """
        self.failure, self.truncated = failure, True
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(tell)
        self.close()

    def close(self) -> None:
        """Nothing more comes: close the files and tell those who wait. The recorder's business."""
        os.close(self._output)
        os.close(self._chunks)

        def end() -> None:
            self.ended.set()
            self._grown.set()

        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(end)


class Recorder:
    """Reads the pipes of all jobs. Its thread begins with the first of them, and ends with the process.

    The thread alone touches the pipes, and takes what it is asked for after the events that it was told: the number of
    a pipe that it has closed may be that of a new one, which an event of the old one must not be taken for.
    """

    def __init__(self) -> None:
        self._pipes: dict[int, tuple[JobLog, Stream]] = {}
        self._epoll: select.epoll | None = None
        self._wakeup = -1
        self._asked: deque[Callable[[select.epoll], None]] = deque()

    def begin(self) -> None:
        """Have the thread run, before there is anything that would wait for it.

        Raises:
            OSError: There is no room for it.
        """
        if self._epoll is not None:
            return
        with contextlib.ExitStack() as on_failure:
            epoll = on_failure.enter_context(select.epoll())
            wakeup = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
            on_failure.callback(os.close, wakeup)
            epoll.register(wakeup, select.EPOLLIN)
            try:
                threading.Thread(target=self._run, args=(epoll, wakeup), name="recorder", daemon=True).start()
            except RuntimeError as error:
                raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN)) from error
            on_failure.pop_all()
        self._epoll, self._wakeup = epoll, wakeup

    def add(self, log: JobLog, stdout: int, stderr: int, on_failure: Callable[[], None]) -> None:
        """Take over the reading ends of two pipes; the log is closed when both have ended, or by `close`.

        Args:
            log: Where to keep what they bring.
            stdout: One of them.
            stderr: The other one.
            on_failure: Is called in the loop if they cannot be read: see `JobLog.failure`.
        """
        log.open_pipes = 2
        pipes = {stdout: Stream.STDOUT, stderr: Stream.STDERR}

        def take(epoll: select.epoll) -> None:
            try:
                for fd, stream in pipes.items():
                    os.set_blocking(fd, False)
                    epoll.register(fd, select.EPOLLIN)
                    self._pipes[fd] = log, stream
            except OSError as error:  # as many may be waited for as the kernel allows a user
                for fd in pipes:
                    self._pipes.pop(fd, None)
                    os.close(fd)
                log.fail(error, on_failure)

        self._ask(take)

    def close(self, log: JobLog) -> None:
        """Take what is in the pipes of a log by now, and close it; `JobLog.ended` tells when."""
        self._ask(lambda _: self._close(log))

    def _ask(self, work: Callable[[select.epoll], None]) -> None:
        self.begin()
        self._asked.append(work)
        os.eventfd_write(self._wakeup, 1)

    def _run(self, epoll: select.epoll, wakeup: int) -> None:
        while True:
            ready = [fd for fd, _ in epoll.poll()]
            for fd in ready:
                if fd in self._pipes:
                    self._read(fd)
            if wakeup in ready:
                os.eventfd_read(wakeup)
                while self._asked:
                    self._asked.popleft()(epoll)

    def _read(self, fd: int) -> bool:
        """Take one piece from a pipe; False if there is none."""
        log, stream = self._pipes[fd]
        try:
            data = os.read(fd, MAX_CHUNK_BYTES)
        except BlockingIOError:
            return False
        if not data:
            self._drop(fd, log)
            return False
        if len(data) == _USUAL_PIPE_BYTES:  # it was full: a larger one makes for fewer and larger pieces
            with contextlib.suppress(OSError):
                fcntl.fcntl(fd, fcntl.F_SETPIPE_SZ, MAX_CHUNK_BYTES)
        log.append(data, stream)
        return True

    def _drop(self, fd: int, log: JobLog) -> None:
        del self._pipes[fd]
        os.close(fd)  # which takes it out of the epoll
        log.open_pipes -= 1
        if not log.open_pipes:
            log.close()

    def _close(self, log: JobLog) -> None:
        for fd in [fd for fd, (each, _) in self._pipes.items() if each is log]:
            # Who writes on for ever would be read for ever: a pipe's worth is what there was.
            for _ in range(2):
                if fd in self._pipes and not self._read(fd):
                    break
            if fd in self._pipes:
                self._drop(fd, log)
