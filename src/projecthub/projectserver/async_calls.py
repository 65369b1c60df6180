"""Asynchronous calls of ``system.exec``: each is a job, told in the words of the wire.

Source: Wire contract 5.6.
"""

from __future__ import annotations

import time
from typing import Any

from projecthub.errors import NotFound
from projecthub.projectserver import job_files
from projecthub.projectserver.job_options import JobOptions
from projecthub.projectserver.jobs import Jobs
from projecthub.wire.jobs import Job, JobState, Stream

_NO_OUTPUT = "No result"
_MAX_OUTPUT = 1024 * 1024


class AsyncCalls:
    """Begins commands that nobody waits for, and tells how it stands with them."""

    def __init__(self, jobs: Jobs) -> None:
        self._jobs = jobs

    async def start(self, options: JobOptions, by: str | None) -> dict[str, object]:
        """Begin one; answers at once.

        Returns:
            ``{"type": "async", "job_id", "start", "status", "stdout", "stderr", "exit_code", "pid"}``.
        """
        return self._tell(await self._jobs.begin(options, by), stats=False)

    async def get(self, job_id: str, *, wait: bool, stats: bool) -> dict[str, object]:
        """How it stands with one.

        Args:
            job_id: Which.
            wait: Whether to wait for its end.
            stats: Whether to add samples of what it used.

        Raises:
            NotFound: There is none of this id.
        """
        if wait:
            await self._jobs.wait(job_id)
        try:
            job = self._jobs.read(job_id)
        except NotFound as error:
            raise NotFound(f"Async operation '{job_id[:100]}' does not exist.") from error
        return self._tell(job, stats=stats)

    def _tell(self, job: Job, *, stats: bool) -> dict[str, object]:
        # What a file holds may be anything: the project's people can write there.
        told: dict[str, Any] = dict(job)
        limit = told.get("max_output")
        max_output = limit if isinstance(limit, int) and limit > 0 else _MAX_OUTPUT
        directory = self._jobs.directory_of(job["id"])
        stdout, stderr = (job_files.read_text(directory, each, max_output) for each in (Stream.STDOUT, Stream.STDERR))
        state, code = told.get("state"), told.get("exit_code")
        status, exit_code = "running" if state == JobState.RUNNING else "completed", code or 0
        # A command that did not end by itself failed, whether its exit code is wanted or not.
        by_itself = state in (JobState.COMPLETED, JobState.RUNNING)
        if not by_itself and (told.get("err_on_exit") or state in (JobState.TIMED_OUT, JobState.LOST)):
            status, exit_code, stdout = "error", 1, ""
            stderr = stderr or told.get("error") or _NO_OUTPUT
        ended_at = told.get("ended_at") or time.time_ns() // 1_000_000
        return {
            "type": "async",
            "job_id": job["id"],
            "start": told.get("started_at"),
            "status": status,
            "stdout": stdout,
            "stderr": stderr,
            "exit_code": exit_code,
            **({"pid": told["pid"]} if told.get("pid") else {}),
            **({"elapsed_s": (ended_at - told["started_at"]) / 1000} if status != "running" else {}),
            **({"stats": told.get("samples", [])} if stats else {}),
        }
