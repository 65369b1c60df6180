"""Jobs and commands of projects: started in the project, told from its home, noted in its log.

What runs in a project knows of its jobs, and so do files in its home; this service keeps nothing of them. So the jobs
of a stopped project are told too, and those that went on while no hub ran.
"""

from __future__ import annotations

import asyncio
import base64
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, Final, TypeVar

import structlog

from projecthub.errors import (
    Conflict,
    InvalidArgument,
    LimitError,
    NotFound,
    ProjectError,
    ServerLost,
    StoreUnavailable,
)
from projecthub.files.job_logs import JobLogReader, list_jobs, read_job
from projecthub.files.places import opened_home, within_home
from projecthub.files.threads import in_thread
from projecthub.wire.jobs import Chunk, Job, JobState, ListedJob

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Mapping, Sequence

    from projecthub.hub.calls import ProjectCalls
    from projecthub.hub.command_log import CommandLog
    from projecthub.hub.histories import Histories
    from projecthub.hub.homes import ProjectHomes
    from projecthub.hub.lifecycle import Lifecycle
    from projecthub.hub.principals import Principal
    from projecthub.wire.ids import ProjectId

READ_BYTES: Final = 1024 * 1024
"""How much of a log is in memory for each of its readers."""

WRITE_WITHIN_S: Final = 30.0
"""How long a job may leave what is written to it unread, in seconds."""

RUN: Final = "run"
"""The event of what the run of a notebook has written."""

_THREADS: Final = 4
_NEWS_EVERY_S: Final = 0.01
_log = structlog.get_logger()
_T = TypeVar("_T")
Piece = tuple[Chunk, memoryview]


class Jobs:
    """Starts, tells and ends the jobs of projects. Who may do so is settled before, by `ProjectCalls.access`."""

    def __init__(
        self, calls: ProjectCalls, lifecycle: Lifecycle, homes: ProjectHomes, log: CommandLog, histories: Histories
    ) -> None:
        """Make the service."""
        self._histories = histories
        self._calls = calls
        self._lifecycle = lifecycle
        self._homes = homes
        self._log = log
        self._doubtful: set[str] = set()
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="job")

    async def execute(self, caller: Principal, project_id: ProjectId, arguments: Sequence[Any]) -> object:
        """``system.exec`` of a project that was woken, noted in the project's log.

        Raises:
            HubError: What the project server refuses; see `Engine.call`.
        """
        given = arguments[0] if arguments and isinstance(arguments[0], dict) else {}
        arguments = [*arguments[:1], {"by": caller.account_id}]
        if given.get("async_get"):
            return await self._calls.call(project_id, "system.exec", arguments)
        with self._log.command(project_id, caller.account_id, given) as note:
            result = await self._calls.call(project_id, "system.exec", arguments)
            note.result = result
        if isinstance(result, dict) and result.get("type") == "async":
            await self._log.job_started(project_id, caller.account_id, result.get("job_id"), given)
        return result

    async def start(self, caller: Principal, project_id: ProjectId, options: Mapping[str, Any]) -> Job:
        """Start a job in a project that was woken.

        Raises:
            InvalidArgument, LimitError: An option is wrong, or there is no room for it.
            ServerLost: The project has stopped meanwhile.
        """
        return await self._begin(caller, project_id, "jobs.start", options, noted=options)

    async def run_notebook(self, caller: Principal, project_id: ProjectId, options: Mapping[str, Any]) -> Job:
        """Start a job that runs a notebook of a project that was woken.

        Raises:
            NotFound: There is no such file.
            InvalidArgument, LimitError: An option is wrong, or there is no room for it.
            ServerLost: The project has stopped meanwhile.
        """
        noted = {"command": "run notebook", "args": [options["path"]]}
        by, home = caller.account_id, self._homes.path(project_id)
        try:
            path = within_home(options["path"])
        except InvalidArgument:  # the project says what there is
            return await self._begin(caller, project_id, "jupyter.run_notebook", options, noted=noted)
        async with self._histories.recording(project_id, by, RUN) as keeper:

            def keep() -> None:
                with opened_home(home) as home_fd:
                    keeper.found(home_fd, path)

            await self._in_thread(keep)
        job = await self._begin(caller, project_id, "jupyter.run_notebook", options, noted=noted)
        async with self._histories.recording(project_id, by, RUN, job_id=job["id"]) as keeper:
            keeper.changed(path)
        return job

    async def _begin(
        self,
        caller: Principal,
        project_id: ProjectId,
        method: str,
        options: Mapping[str, Any],
        noted: Mapping[str, Any],
    ) -> Job:
        told: Any = await self._calls.call(project_id, method, [dict(options), {"by": caller.account_id}])
        if not isinstance(told, dict):
            raise ServerLost("the project server does not say which job it has started")
        await self._log.job_started(project_id, caller.account_id, told.get("id"), noted)
        return await self.get(project_id, str(told.get("id")))

    async def all_of(self, project_id: ProjectId, form: Callable[[list[ListedJob]], _T]) -> _T:
        """The jobs of a project that are remembered, newest first.

        Args:
            project_id: The project, which need not run.
            form: What to make of them, in a thread, for they may be thousands.
        """
        home, session_id = self._homes.path(project_id), self._session_id(project_id)

        def work() -> _T:
            try:
                jobs = list_jobs(home)
            except NotFound:
                jobs = []
            for job in jobs:
                _mark_lost(job, session_id)
            return form(jobs)

        return await self._in_thread(work)

    async def get(self, project_id: ProjectId, job_id: str) -> Job:
        """One job.

        Raises:
            NotFound: There is none of this id.
        """
        job = await self._in_thread(lambda: read_job(self._homes.path(project_id), job_id))
        _mark_lost(job, self._session_id(project_id))
        return job

    async def wait(self, project_id: ProjectId, job_id: str) -> Job:
        """A job when it has ended.

        Raises:
            NotFound: There is none of this id.
        """
        job = await self.get(project_id, job_id)
        if job["state"] == JobState.RUNNING:
            async with aclosing(self._news(project_id, job_id)) as news:
                async for _ in news:
                    pass
            job = await self.get(project_id, job_id)
        return job

    async def output(
        self, project_id: ProjectId, job_id: str, *, offset: int = 0, follow: bool = False, is_merged: bool = False
    ) -> AsyncGenerator[list[Piece], None]:
        """The output of a job, in pieces that follow one another, from a place on.

        Args:
            project_id: The project, which need not run.
            job_id: The job.
            offset: Where to begin, in bytes of the whole output.
            follow: Whether to wait for what is still to come, to the end of the job.
            is_merged: Whether neighbours of one stream may come as one piece.

        Raises:
            NotFound: There is no such job.
        """
        job = await self.get(project_id, job_id)
        reader = JobLogReader(self._homes.path(project_id), job_id)
        is_live = follow and job["state"] == JobState.RUNNING
        try:
            async with aclosing(self._news(project_id, job_id) if is_live else _no_news()) as news:
                while True:
                    pieces = await self._in_thread(
                        lambda at=offset, final=not is_live: reader.read(  # type: ignore[misc]
                            at, READ_BYTES, is_final=final, is_merged=is_merged
                        )
                    )
                    if pieces:
                        offset += sum(len(data) for _, data in pieces)
                        yield pieces
                    elif is_live:
                        is_live = await _more_than(offset, news)
                    else:
                        return
        finally:
            reader.close()

    async def output_size(self, project_id: ProjectId, job_id: str) -> int:
        """How many bytes of output there are now, whatever the job's state says.

        Raises:
            NotFound: There is no such job.
        """
        reader = JobLogReader(self._homes.path(project_id), job_id)
        try:
            return await self._in_thread(reader.size)
        finally:
            reader.close()

    async def write(self, project_id: ProjectId, job_id: str, data: bytes, *, close: bool = False) -> None:
        """Write to the standard input of a job, and perhaps close it; returns when all of it is in its pipe.

        Raises:
            NotFound: There is no such job.
            Conflict: It has ended, or reads nothing, or not for `WRITE_WITHIN_S` seconds.
        """
        message = {"id": job_id, "data": base64.b64encode(data).decode(), "close": close}
        try:
            async with asyncio.timeout(WRITE_WITHIN_S):
                await self._calls.call(project_id, "jobs.write", [message])
        except TimeoutError as error:
            raise Conflict(
                f"job '{job_id}' has not read its input for {WRITE_WITHIN_S:g} s, and of the last {len(data)} bytes "
                "perhaps a part; write on when it reads"
            ) from error

    async def signal(self, project_id: ProjectId, job_id: str, name: str) -> bool:
        """Send a signal to a job, ``SIGKILL`` to all that came of it; whether it still ran.

        Raises:
            NotFound: There is no such job.
            InvalidArgument: There is no such signal.
        """
        told: Any = await self._calls.call(project_id, "jobs.signal", [{"id": job_id, "signal": name}])
        return isinstance(told, dict) and told.get("sent") is True

    async def remove(self, project_id: ProjectId, job_id: str) -> None:
        """Remove a job that has ended, with its output.

        Raises:
            NotFound: There is no such job.
            Conflict: It runs.
        """
        await self._calls.call(project_id, "jobs.remove", [{"id": job_id}])

    async def note_ends(self) -> None:
        """Note in the logs of projects which jobs have ended since this was done last, by whatever hub."""
        for project_id, job_id in await self._log.jobs_without_end():
            try:
                await self._note_end(project_id, job_id)
            except (LimitError, StoreUnavailable):  # no job's fault: the others would fare alike
                raise
            except Exception:
                _log.exception("job.end_not_noted", project_id=project_id, job_id=job_id)

    async def _note_end(self, project_id: ProjectId, job_id: str) -> None:
        try:
            job: Job | None = await self.get(project_id, job_id)
        except NotFound:
            job = None
        state = None if job is None else job["state"]
        if state == JobState.LOST and job_id not in self._doubtful:
            # Perhaps the project is just being stopped: its server may still write how the job has ended.
            self._doubtful.add(job_id)
        elif state != JobState.RUNNING:
            self._doubtful.discard(job_id)
            await self._log.job_ended(project_id, job_id, job)
            await self._histories.job_ended(project_id, job_id)

    def close(self) -> None:
        """End the threads."""
        self._threads.shutdown(cancel_futures=True)

    def _session_id(self, project_id: ProjectId) -> str | None:
        """Which run of a project is the present one."""
        instance = self._lifecycle.instance(project_id)
        return None if instance is None else instance.session_id

    async def _news(self, project_id: ProjectId, job_id: str) -> AsyncGenerator[int, None]:
        """How long the output of a job is, as it grows; ends with the job, or with the project."""
        try:
            async with aclosing(self._calls.stream(project_id, "jobs.follow", [{"id": job_id}])) as told:
                async for value in told:
                    size = value.get("size") if isinstance(value, dict) else None
                    if not isinstance(size, int):  # the job itself: it has ended
                        return
                    yield size
                    await asyncio.sleep(_NEWS_EVERY_S)  # whatever the project says, and however fast
        except (ProjectError, NotFound):
            return

    async def _in_thread(self, work: Callable[[], _T]) -> _T:
        """Run blocking work, and wait for its end whatever happens: its files are closed after it."""
        return await in_thread(self._threads, work)


def _mark_lost(job: ListedJob, session_id: str | None) -> None:
    """A job that a file says runs, and that belongs to a run of the project that has ended, is lost."""
    if job["state"] == JobState.RUNNING and job["session_id"] != session_id:
        job["state"] = JobState.LOST


async def _no_news() -> AsyncGenerator[int, None]:
    nothing: tuple[int, ...] = ()
    for size in nothing:
        yield size


async def _more_than(offset: int, news: AsyncGenerator[int, None]) -> bool:
    """Wait until there is more output than ``offset``; False if no more will come."""
    async for size in news:
        if size > offset:
            return True
    return False
