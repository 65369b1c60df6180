"""Jobs: commands that run on when nobody waits for them, and whose output is kept in the project's home.

Source: docs/decisions/0017-jobs.md.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import contextlib
import signal
import time
import uuid
from collections.abc import AsyncGenerator, Mapping, Sequence
from pathlib import Path
from typing import Any

from projecthub.errors import Conflict, InvalidArgument, NotFound
from projecthub.projectserver import commands, job_files, sessions
from projecthub.projectserver.arguments import Options, show
from projecthub.projectserver.job_options import JobOptions, parse_job
from projecthub.projectserver.recording import JobLog, Recorder
from projecthub.projectserver.running_job import RunningJob
from projecthub.wire.ids import is_uuid
from projecthub.wire.jobs import JOBS_DIRECTORY, MARKER, Job, JobState

MAX_KEPT = 2000
"""Jobs whose files are kept; older ones that have ended go."""

_LINGER_S = 0.25
_NEWS_EVERY_S = 0.01
_SAMPLE_EVERY_S = 1.0
_END_S = 1.0


class Jobs:
    """The jobs of a project."""

    def __init__(self, *, home: str, environment: Mapping[str, str], session_id: str) -> None:
        """Make one; nothing is read or begun before there is a first job.

        Args:
            home: The project's home.
            environment: The variables that every command gets.
            session_id: Of this run of the project server; jobs of an earlier one that have no end are lost.
        """
        self._home = home
        self._directory = Path(home, JOBS_DIRECTORY)
        self._environment = environment
        self._session_id = session_id
        self._recorder = Recorder()
        self._running: dict[str, RunningJob] = {}
        self._ended: list[str] | None = None
        self._watches: set[asyncio.Task[None]] = set()
        self._sampling: asyncio.Task[None] | None = None

    # -- methods, by the hub's calls -----------------------------------------------------------------

    async def start(self, arguments: Sequence[object]) -> Job:
        """Start a job. Arguments: its options, and ``{"by": account_id}``, which the hub adds.

        Raises:
            InvalidArgument: An option is wrong.
            LimitError: There is no room for it.
        """
        return await self.begin(parse_job(arguments, home=self._home), starter_of(arguments))

    async def write(self, arguments: Sequence[object]) -> object:
        """Write to a job's standard input, and perhaps close it: ``{"id", "data"?: base64, "close"?}``.

        Raises:
            NotFound: There is no such job.
            Conflict: It has ended, or reads nothing.
        """
        options = Options.of("jobs.write", arguments)
        try:
            data = base64.b64decode(options.text("data") or "", validate=True)
        except (binascii.Error, ValueError) as error:
            raise options.refuse("data", "bytes in base64") from error
        await self._live(options).write(data, close=options.flag("close", False))
        return {"written": len(data)}

    async def signal(self, arguments: Sequence[object]) -> object:
        """Send a signal to a job's process group: ``{"id", "signal"}``, a name such as ``SIGINT`` or ``INT``.

        ``KILL`` reaches what has left the group too. A job that has ended is left alone.

        Raises:
            NotFound: There is no such job.
        """
        options = Options.of("jobs.signal", arguments)
        name = (options.text("signal") or "TERM").upper()
        number = getattr(signal.Signals, name if name.startswith("SIG") else f"SIG{name}", None)
        if number is None:
            raise options.refuse("signal", "the name of a signal, such as SIGINT")
        if (job := self._running.get(self._id_of(options))) is None:
            self.read(self._id_of(options))
            return {"sent": False}
        if number is signal.SIGKILL:
            sessions.kill_all(job.process.pid, job.id)
        else:
            sessions.signal_group(job.process.pid, number)
        return {"sent": True}

    async def remove(self, arguments: Sequence[object]) -> object:
        """Remove a job that has ended, with its output: ``{"id"}``.

        Raises:
            NotFound: There is no such job.
            Conflict: It runs.
        """
        job_id = self._id_of(Options.of("jobs.remove", arguments))
        if job_id in self._running:
            raise Conflict(f"job '{job_id}' runs; kill it, and wait for its end, before it is removed")
        self.read(job_id)
        job_files.remove(self._directory, job_id)
        return {"id": job_id, "removed": True}

    async def follow(self, arguments: Sequence[object]) -> AsyncGenerator[object, None]:
        """Tell how a job grows, ``{"size": bytes}`` at most every 10 ms, and at last ``{"job": ...}``: ``{"id"}``.

        Raises:
            NotFound: There is no such job.
        """
        job_id = self._id_of(Options.of("jobs.follow", arguments))
        told = -1
        if (job := self._running.get(job_id)) is not None:
            while not job.ended.is_set():
                if job.log.size == told:
                    await job.growth()
                    continue
                told = job.log.size
                yield {"size": told}
                await asyncio.sleep(_NEWS_EVERY_S)
        yield {"job": self.read(job_id)}

    # -- what the project server itself asks for -------------------------------------------------------

    async def begin(self, options: JobOptions, by: str | None) -> Job:
        """Start a job.

        Raises:
            Conflict: Something stands where jobs are recorded.
            LimitError: The disk is full, or too many processes or files are open.
        """
        self._make_room()
        job_id = str(uuid.uuid4())
        try:
            self._recorder.begin()
            directory = job_files.make_directory(self._directory, job_id)
            log = JobLog(directory, options.max_log_bytes)
        except OSError as error:
            raise job_files.unrecordable(error) from error
        job = RunningJob(job_id, options, directory, log, by=by, session_id=self._session_id)
        environment = {**self._environment, **options.environment, MARKER: job_id}
        try:
            process, pipes = commands.spawn(job.argv(), options.directory, environment, has_stdin=options.has_stdin)
        except OSError as error:
            log.close()
            job.end_unstarted(error)
            self._note_end(job_id)
            return job.state()
        job.started(process)
        self._recorder.add(log, *pipes, lambda: sessions.kill_all(process.pid, job_id))
        self._running[job_id] = job
        self._hold(asyncio.create_task(self._watch(job), name=f"job-{job_id}"))
        if self._sampling is None:
            self._sampling = asyncio.create_task(self._sample())
        return job.state()

    def read(self, job_id: str) -> Job:
        """A job as it is now.

        Raises:
            NotFound: There is none of this id.
        """
        if (job := self._running.get(job_id)) is not None:
            return job.state()
        state: Any = job_files.read_state(self._directory / job_id) if is_uuid(job_id) else None
        if state is None:
            raise NotFound(f"there is no job '{job_id[:50]}' in this project; jobs.list tells which there are")
        if state.get("state") == JobState.RUNNING:
            state |= {"state": JobState.LOST}
        job_: Job = state
        return job_

    async def wait(self, job_id: str) -> None:
        """Wait for the end of a job; at once if it does not run."""
        if (job := self._running.get(job_id)) is not None:
            await job.ended.wait()

    def running(self) -> int:
        """How many run."""
        return len(self._running)

    def directory_of(self, job_id: str) -> Path:
        """Where the files of a job are."""
        return self._directory / job_id

    async def close(self) -> None:
        """The server ends, and with it all jobs: wait a moment for those that end by themselves, and note the ends."""
        if self._watches:
            await asyncio.wait(self._watches, timeout=_END_S)
        for job in [*self._running.values()]:
            sessions.kill_all(job.process.pid, job.id)
        if self._watches:
            await asyncio.wait(self._watches, timeout=_END_S)

    # -- within ----------------------------------------------------------------------------------------

    def _id_of(self, options: Options) -> str:
        job_id = options.text("id")
        if not job_id:
            raise options.refuse("id", "the id of a job")
        return job_id

    def _live(self, options: Options) -> RunningJob:
        job_id = self._id_of(options)
        if (job := self._running.get(job_id)) is None:
            state = self.read(job_id)["state"]
            raise Conflict(f"job '{job_id}' has ended ({state}): nobody reads its input any more")
        return job

    def _hold(self, task: asyncio.Task[None]) -> None:
        self._watches.add(task)
        task.add_done_callback(self._watches.discard)

    async def _watch(self, job: RunningJob) -> None:
        """See a job to its end, and note it."""
        in_time = await commands.ends_within(job.options.timeout_s, job.process.pid)
        if not in_time:
            sessions.kill_all(job.process.pid, job.id)
            await commands.ends_within(None, job.process.pid)
        # What it left behind may hold the pipes for ever.
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_LINGER_S):
                await job.log.ended.wait()
        self._recorder.close(job.log)
        await job.log.ended.wait()
        job.end(job.process.wait(), timed_out=not in_time)
        del self._running[job.id]
        self._note_end(job.id)

    async def _sample(self) -> None:
        """Take samples of what runs, as long as something does."""
        while self._running:
            await asyncio.sleep(_SAMPLE_EVERY_S)
            due = [job for job in self._running.values() if job.samples.due()]
            used = await asyncio.to_thread(sessions.used_by_sessions, [job.process.pid for job in due])
            for job in due:
                if not job.ended.is_set():
                    job.sample(used[job.process.pid])
        self._sampling = None

    def _make_room(self) -> None:
        """Remove the files of the oldest jobs that have ended, if there are too many."""
        if self._ended is None:
            states = job_files.all_states(self._directory)
            for state in states:
                self._mark_lost(state)
            self._ended = [state["id"] for state in states]
        while len(self._ended) + len(self._running) >= MAX_KEPT and self._ended:
            job_files.remove(self._directory, self._ended.pop(0))

    def _mark_lost(self, state: dict[str, Any]) -> None:
        if state.get("state") == JobState.RUNNING:
            with contextlib.suppress(OSError):
                job_files.write_state(self._directory / state["id"], {**state, "state": JobState.LOST})

    def _note_end(self, job_id: str) -> None:
        if self._ended is not None:
            self._ended.append(job_id)


def starter_of(arguments: Sequence[object]) -> str | None:
    """The account that the hub says is calling; it stands in the second argument."""
    if len(arguments) < 2:
        return None
    told = arguments[1]
    by = told.get("by") if isinstance(told, dict) else told
    if by is not None and not is_uuid(by):
        raise InvalidArgument(f"'by' must be the id of an account, not {show(by)}")
    return by


def now_ms() -> int:
    """Milliseconds since the epoch."""
    return time.time_ns() // 1_000_000
