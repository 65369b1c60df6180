"""One job while it runs: its process, its input, its samples, and what is written of it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

from projecthub.errors import Conflict
from projecthub.projectserver import commands, job_files
from projecthub.projectserver.job_options import JobOptions
from projecthub.projectserver.recording import JobLog
from projecthub.projectserver.sessions import Used
from projecthub.wire.jobs import Job, JobSample, JobState, Stream

_MAX_SAMPLES = 120
_SAMPLE_EVERY_S = 1.0
_CODE_OF_THE_UNSTARTED = 127
_SCRIPT_FILE = "script"


class Samples:
    """What a job used: so many samples at most, evenly over its time, the wider apart the longer it runs."""

    def __init__(self) -> None:
        self.taken: list[JobSample] = []
        self._every_s = _SAMPLE_EVERY_S
        self._last = time.monotonic()
        self._last_cpu_s = 0.0

    def due(self) -> bool:
        """Whether it is time for another."""
        # Looks come once a second, give or take: a tenth of it is not waited for.
        return time.monotonic() - self._last >= 0.9 * self._every_s

    def add(self, used: Used) -> None:
        """Note what is used now."""
        now = time.monotonic()
        # Processes that have ended take their time with them, unless somebody waited for them.
        spent_s, elapsed_s = max(0.0, used.cpu_s - self._last_cpu_s), now - self._last
        self.taken.append(
            {
                "timestamp": time.time_ns() // 1_000_000,
                "mem_rss": round(used.rss_bytes / 1e6, 3),
                "cpu_pct": round(100 * spent_s / elapsed_s, 1),
                "cpu_secs": round(used.cpu_s, 2),
            }
        )
        self._last, self._last_cpu_s = now, used.cpu_s
        if len(self.taken) >= _MAX_SAMPLES:
            del self.taken[::2]
            self._every_s *= 2


class RunningJob:
    """A job that has begun.

    Attributes:
        id: A uuid.
        options: How it runs.
        log: What it puts out.
        process: Its first process, which leads its session.
        samples: What it used.
        ended: Set when it has ended and that is written.
    """

    process: subprocess.Popen[bytes]

    def __init__(
        self, id: str, options: JobOptions, directory: Path, log: JobLog, *, by: str | None, session_id: str
    ) -> None:
        self.id = id
        self.options = options
        self.log = log
        self.samples = Samples()
        self.ended = asyncio.Event()
        self._directory = directory
        self._stdin = -1
        self._writing = asyncio.Lock()
        command, *args = options.shown or (options.command, *options.args)
        self._fixed: dict[str, Any] = {
            "id": id,
            "command": command,
            "args": args,
            "bash": options.bash,
            "directory": options.directory,
            "by": by,
            "timeout_s": options.timeout_s,
            "has_stdin": options.has_stdin,
            "started_at": time.time_ns() // 1_000_000,
            "session_id": session_id,
            "err_on_exit": options.err_on_exit,
            "max_output": options.max_output,
        }
        self._changing: dict[str, Any] = {
            "state": JobState.RUNNING,
            "ended_at": None,
            "exit_code": None,
            "signal": None,
            "error": None,
            "pid": None,
        }

    def argv(self) -> list[str]:
        """What to run. A script is kept with the job.

        Raises:
            OSError: The script cannot be written.
        """
        if not self.options.bash:
            return [self.options.command, *self.options.args]
        script = self._directory / _SCRIPT_FILE
        script.write_text(commands.make_script(self.options.command, self.options.args, self.options.cpu_limit_s))
        return ["bash", str(script)]

    def started(self, process: subprocess.Popen[bytes]) -> None:
        """Its process is there."""
        self.process = process
        self._changing["pid"] = process.pid
        if process.stdin is not None:
            self._stdin = os.dup(process.stdin.fileno())
            process.stdin.close()
            os.set_blocking(self._stdin, False)
        self._save()

    def end_unstarted(self, error: OSError) -> None:
        """It could not begin."""
        text = f"{self.options.command[:200]!r} could not be run: {os.strerror(error.errno or 0)}"
        self._end(JobState.FAILED, exit_code=_CODE_OF_THE_UNSTARTED, error=text)

    def end(self, code: int, *, timed_out: bool) -> None:
        """It has ended with a code, or by the signal of its negative."""
        self.close_stdin()
        if (failure := self.log.failure) is not None:
            why = (
                f"its output could not be recorded ({os.strerror(failure.errno or 0)}), so it was ended; start it again"
            )
            self._end(JobState.FAILED, exit_code=128 - code if code < 0 else code, error=why)
            return
        if timed_out:
            state = JobState.TIMED_OUT
        elif code < 0:
            state = JobState.KILLED
        else:
            state = JobState.FAILED if code else JobState.COMPLETED
        name = _signal_name(-code) if code < 0 else None
        self._end(state, exit_code=code if code >= 0 else 128 - code, signal=name)

    def _end(self, state: JobState, **facts: object) -> None:
        self._changing |= {"state": state, "ended_at": time.time_ns() // 1_000_000, **facts}
        self._save()
        self.ended.set()

    def sample(self, used: Used) -> None:
        """Note what it uses now, and write it down: a project server that is killed writes nothing at its end."""
        self.samples.add(used)
        self._save()

    def state(self) -> Job:
        """What is known of it now."""
        counted: Any = {
            "output_bytes": self.log.size,
            "stdout_bytes": self.log.bytes_of[Stream.STDOUT],
            "stderr_bytes": self.log.bytes_of[Stream.STDERR],
            "truncated": self.log.truncated,
            "samples": self.samples.taken,
        }
        job: Job = {**self._fixed, **self._changing, **counted}  # type: ignore[typeddict-item]
        return job

    def _save(self) -> None:
        with contextlib.suppress(OSError):  # a full disk must not end a job
            job_files.write_state(self._directory, dict(self.state()))

    async def growth(self) -> None:
        """Wait until its log has grown, or it has ended."""
        waits = [asyncio.ensure_future(self.log.growth()), asyncio.ensure_future(self.ended.wait())]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for each in waits:
                each.cancel()

    async def write(self, data: bytes, *, close: bool) -> None:
        """Write to its standard input, and wait until all of it is in the pipe.

        Raises:
            Conflict: It has none, or does not read it any more.
        """
        async with self._writing:
            left = memoryview(data)
            while left:
                try:
                    left = left[os.write(self._open_stdin(), left) :]
                except BlockingIOError:
                    await self._until_writable()
                except BrokenPipeError as error:
                    self.close_stdin()
                    raise Conflict(f"job '{self.id}' does not read its input any more") from error
            if close:
                self._open_stdin()
                self.close_stdin()

    def close_stdin(self) -> None:
        """Nothing more is written to it. Idempotent."""
        if self._stdin >= 0:
            asyncio.get_running_loop().remove_writer(self._stdin)
            os.close(self._stdin)
            self._stdin = -1

    def _open_stdin(self) -> int:
        if self._stdin < 0:
            why = "its input was closed" if self.options.has_stdin else "it was started without 'stdin'"
            raise Conflict(f"job '{self.id}' takes no input: {why}")
        return self._stdin

    async def _until_writable(self) -> None:
        writable = asyncio.Event()
        asyncio.get_running_loop().add_writer(self._stdin, writable.set)
        waits = [asyncio.ensure_future(writable.wait()), asyncio.ensure_future(self.ended.wait())]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for each in waits:
                each.cancel()
            if self._stdin >= 0:
                asyncio.get_running_loop().remove_writer(self._stdin)


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # one of the real-time signals has no name of its own
        return f"SIG{number}"
