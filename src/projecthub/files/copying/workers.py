"""A few processes that do the work of large copies, so that it has all cores, and the hub's own one is free.

They are started when there is much to do, and end when there has been nothing for a while. What one was doing when it
was killed is done again by another: nothing of it counts until its result is there.
"""

from __future__ import annotations

import contextlib
import math
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

from projecthub.errors import HubError, LimitError
from projecthub.files.copying import records
from projecthub.files.copying.applications import Application, stage_many
from projecthub.files.copying.comparing import compare
from projecthub.files.copying.manifests import SourceSummary, fields_of
from projecthub.files.copying.plan_files import PlanSummary
from projecthub.files.copying.walking import End, walk
from projecthub.files.copying.worker_lines import Line, LineClosedError, error_json, error_of
from projecthub.files.plans import CopyCancelledError, CopyOptions, Course
from projecthub.interpreters import python_environment

MUCH: Final = 2_000
"""So many files are worth a process: it takes as long to start as 2,000 files take to copy."""
_MODULE: Final = "projecthub.files.copying.worker"
_MOST: Final = 4
_IDLE_S: Final = 20.0
_LOOK_S: Final = 0.05
_TRIES: Final = 2
_PATIENCE_S: Final = 0.5
"""So long a walk or a comparison waits for a worker; those may be at a large tree for minutes."""
_END_S: Final = 5.0


class WorkerMistakeError(Exception):
    """A worker has met what it should not have; the text is its traceback, for the log."""


class Workers:
    """The processes. Their jobs block: they are asked for in threads, of which several may ask at a time.

    Attributes:
        count: How many work at a time.
    """

    def __init__(self, count: int | None = None, *, idle_s: float = _IDLE_S) -> None:
        """Start none yet.

        Args:
            count: How many; None: one for each processor, and at most four.
            idle_s: How long they wait for more to do before they end, in seconds.
        """
        self.count = count or min(_MOST, len(os.sched_getaffinity(0)))
        self._idle_s = idle_s
        self._turns = threading.Condition()
        self._idle: list[_Worker] = []
        self._busy: set[_Worker] = set()
        self._starting = 0
        self._is_closed = False
        self._timer: threading.Timer | None = None
        self._idle_since = 0.0
        # The kernel ends a worker with the thread that has started it: so one does that which stays.
        self._starter = ThreadPoolExecutor(1, thread_name_prefix="copy-start")

    def close(self) -> None:
        """End them all. What they are doing is lost; nothing is started any more."""
        with self._turns:
            self._is_closed = True
            self._starter.shutdown(wait=False)
            workers = [*self._idle, *self._busy]
            self._idle.clear()
            if self._timer is not None:
                self._timer.cancel()
            self._turns.notify_all()
        for worker in workers:
            worker.end()

    # -- jobs --------------------------------------------------------------------------------------

    def walk(
        self, source: End, manifest: Path, *, exclude: tuple[str, ...], hashes: bool, course: Course
    ) -> SourceSummary:
        """As `walking.walk`, by a worker."""
        asked = {"source": _end(source), "manifest": str(manifest), "exclude": exclude, "hashes": hashes}
        try:
            return SourceSummary(**self._done({"job": "walk", **asked}, [course], wait_s=_PATIENCE_S))
        except _NoWorkerError:
            return walk(source, manifest, exclude=exclude, hashes=hashes, course=course)

    def compare(
        self,
        source: End,
        manifest: Path,
        target: End,
        plan: Path,
        *,
        options: CopyOptions,
        base: Path | None = None,
        course: Course,
    ) -> PlanSummary:
        """As `comparing.compare`, by a worker."""
        asked = {
            "source": _end(source),
            "manifest": str(manifest),
            "target": _end(target),
            "plan": str(plan),
            "options": fields_of(options),
            "base": None if base is None else str(base),
        }
        try:
            return PlanSummary(**self._done({"job": "compare", **asked}, [course], wait_s=_PATIENCE_S))
        except _NoWorkerError:
            return compare(source, manifest, target, plan, options=options, base=base, course=course)

    def stage_one(self, application: Application, files: int) -> None:
        """As `Application.stage`, by a worker if one is free, and there are ``files`` enough for it."""
        with self._turns:
            is_free = len(self._busy) + self._starting < self.count
        if files < MUCH or not is_free:
            application.stage()
        elif failed := self.stage_many([application]):
            raise failed[application]

    def stage_many(self, applications: Sequence[Application]) -> dict[Application, HubError]:
        """As `applications.stage_many`, by a worker; waits for one."""
        targets = [
            {"record": str(each.record), "target": _end(each.target), "plan": str(each.plan), "uid": each.uid}
            for each in applications
        ]
        asked = {"job": "stage", "source": _end(applications[0].source), "targets": targets}
        courses = [each.course for each in applications]
        begun = _tallies(courses)
        try:
            outcomes = self._done(asked, courses)
        except _NoWorkerError:
            return stage_many(applications)
        except BaseException:
            _discard(applications)
            raise
        failed: dict[Application, HubError] = {}
        for application, outcome, made in zip(applications, outcomes, begun, strict=True):
            _count(application.course, outcome["made"], made)
            error = _settled(application, outcome)
            if error is not None:
                failed[application] = error
        return failed

    # -- how they are done -------------------------------------------------------------------------

    def _done(self, request: dict[str, Any], courses: Sequence[Course], *, wait_s: float = math.inf) -> Any:
        """Have a job done, and what it tells; once more if its worker was killed.

        Raises:
            HubError: What the job has raised, or that workers are killed again and again.
            CopyCancelledError: A course was cancelled.
            _NoWorkerError: None can be started, or is free within ``wait_s`` seconds.
        """
        begun = _tallies(courses)
        for _ in range(_TRIES):
            with contextlib.suppress(LineClosedError), self._worker(courses, wait_s) as worker:
                return worker.done(request, courses)
            for course, before in zip(courses, begun, strict=True):
                _count(course, (0, 0), before)
                course.begin_again()
        raise LimitError(
            "the process that was to copy was killed, twice: the machine may be short of memory; nothing was changed; "
            "copy again, or tell the hub's operator"
        )

    @contextlib.contextmanager
    def _worker(self, courses: Sequence[Course], wait_s: float) -> Iterator[_Worker]:
        """One of them, when there is one."""
        worker = self._taken(courses, wait_s)
        is_well = False
        try:
            yield worker
            is_well = True
        except (HubError, CopyCancelledError, WorkerMistakeError):
            is_well = True  # it is the job that has failed
            raise
        finally:
            if not is_well:
                worker.end()
            self._give_back(worker, is_well=is_well)

    def _taken(self, courses: Sequence[Course], wait_s: float) -> _Worker:
        give_up_at = time.monotonic() + wait_s
        with self._turns:
            while True:
                if self._is_closed or time.monotonic() > give_up_at:
                    raise _NoWorkerError
                while self._idle:
                    worker = self._idle.pop()
                    if worker.is_there():
                        self._busy.add(worker)
                        return worker
                    worker.end()
                if len(self._busy) + self._starting < self.count:
                    break
                self._turns.wait(_LOOK_S)
                for course in courses:
                    course.check()
            self._starting += 1
        return self._started()

    def _started(self) -> _Worker:
        worker = None
        try:
            worker = self._starter.submit(_Worker).result()
        except (OSError, RuntimeError) as error:  # for want of memory, processes or descriptors; or closed by now
            raise _NoWorkerError from error
        finally:
            with self._turns:
                self._starting -= 1
                if worker is not None:
                    self._busy.add(worker)
                self._turns.notify()
        return worker

    def _give_back(self, worker: _Worker, *, is_well: bool) -> None:
        with self._turns:
            self._busy.discard(worker)
            if self._is_closed:
                is_well = False
            elif is_well:
                self._idle.append(worker)
            self._idle_since = time.monotonic()
            if self._idle and self._timer is None:
                self._wake_in(self._idle_s)
            self._turns.notify()
        if not is_well:
            worker.end()

    def _wake_in(self, wait_s: float) -> None:
        self._timer = threading.Timer(wait_s, self._end_idle)
        self._timer.daemon = True
        self._timer.start()

    def _end_idle(self) -> None:
        """End those that have had nothing to do for long enough; look again later if they have."""
        with self._turns:
            self._timer = None
            if self._is_closed or not (self._idle or self._busy):
                return
            left_s = self._idle_since + self._idle_s - time.monotonic()
            if self._busy or left_s > 0:
                self._wake_in(self._idle_s if self._busy else left_s)
                return
            workers = [*self._idle]
            self._idle.clear()
        for worker in workers:
            worker.end()


class _NoWorkerError(Exception):
    """No process can be started, or is free in time: the work is done in this one."""


class _Worker:
    """One of the processes."""

    def __init__(self) -> None:
        ours, theirs = socket.socketpair()
        try:
            with theirs:
                self._process = subprocess.Popen(
                    [sys.executable, "-P", "-m", _MODULE, str(theirs.fileno()), str(os.getpid())],
                    pass_fds=[theirs.fileno()],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    cwd="/",
                    env=python_environment(),
                )
        except BaseException:
            ours.close()
            raise
        self._line = Line(ours)
        self._is_ready = False

    def is_there(self) -> bool:
        """Whether it was not killed while it had nothing to do."""
        return self._process.poll() is None

    def end(self) -> None:
        """End it, now. Idempotent."""
        self._process.kill()
        with contextlib.suppress(subprocess.TimeoutExpired):  # it hangs in a call of the system, and ends after it
            self._process.wait(_END_S)
        self._line.close()

    def done(self, request: dict[str, Any], courses: Sequence[Course]) -> Any:
        """Have it do a job.

        Raises:
            LineClosedError: It was killed.
            _NoWorkerError: It has not even come up.
            HubError: As the job.
            CopyCancelledError: A course was cancelled, and the job has ended.
            WorkerMistakeError: It has met what it should not have.
        """
        try:
            self._line.send(request)
            return self._answer(courses, _tallies(courses))
        except LineClosedError as error:
            if not self._is_ready:
                raise _NoWorkerError from error
            raise

    def _answer(self, courses: Sequence[Course], begun: Sequence[tuple[int, int]]) -> Any:
        stopped: Exception | None = None
        while True:
            message = self._line.receive(_LOOK_S)
            if stopped is None:
                stopped = _reason_to_stop(courses)
                if stopped is not None:
                    self._line.send({"cancel": True})
            if message is None:
                continue
            if "ready" in message:
                self._is_ready = True
            elif "progress" in message:
                for course, made, before in zip(courses, message["progress"], begun, strict=True):
                    _count(course, made, before)
            elif "take" in message:
                self._line.send({"taken": _refusal(courses, *message["take"])})
            else:
                return _outcome(message, stopped)


def _reason_to_stop(courses: Sequence[Course]) -> Exception | None:
    try:
        for course in courses:
            course.check()
    except (HubError, CopyCancelledError) as error:
        return error
    return None


def _tallies(courses: Sequence[Course]) -> list[tuple[int, int]]:
    return [(course.tally.files, course.tally.bytes) for course in courses]


def _count(course: Course, made: Sequence[int], before: tuple[int, int]) -> None:
    course.tally.files, course.tally.bytes = before[0] + made[0], before[1] + made[1]


def _refusal(courses: Sequence[Course], number: int, size: int) -> dict[str, Any] | None:
    """Why a target may not be written so many bytes more; None: it may."""
    try:
        courses[number].charge(size)
    except HubError as error:
        return error_json(error)
    return None


def _outcome(message: dict[str, Any], stopped: Exception | None) -> Any:
    """What a job has told in the end, or raised."""
    if "mistake" in message:
        raise WorkerMistakeError(message["mistake"])
    if stopped is not None:
        raise stopped
    if "error" in message:
        raise error_of(message["error"])
    return message["result"]


def _settled(application: Application, outcome: dict[str, Any]) -> HubError | None:
    """What of a target the hub has not heard yet; why it is not ready, if it is not."""
    if outcome["error"] is not None:
        return error_of(outcome["error"])
    try:
        application.course.charge(outcome["owed"])
    except HubError as error:
        _discard([application])
        return error
    return None


def _discard(applications: Sequence[Application]) -> None:
    for application in applications:
        with contextlib.suppress(HubError):
            records.discard(application.record)


def _end(end: End) -> list[str]:
    return [str(end.home), end.path]
