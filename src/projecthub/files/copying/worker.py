"""A process that walks, compares and stages for the hub: what it is told over a socket, one job after the other.

    python -m projecthub.files.copying.worker DESCRIPTOR PARENT

It holds no key and no store, decides nothing and marks nothing: what it has made counts only when the hub says so.
It ends with the hub, whatever ends that.
"""

from __future__ import annotations

import ctypes
import os
import signal
import socket
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, NoReturn

from projecthub.errors import HubError
from projecthub.files.copying.comparing import compare
from projecthub.files.copying.manifests import fields_of
from projecthub.files.copying.staged_targets import Staging
from projecthub.files.copying.staging import stage
from projecthub.files.copying.walking import End, walk
from projecthub.files.copying.worker_lines import Line, LineClosedError, error_json, error_of
from projecthub.files.plans import CopyCancelledError, CopyOptions, Course, Policy

LOOK_S: Final = 0.05
"""So often a job tells how far it is, and hears that it was cancelled."""
CHARGED_BYTES: Final = 8_000_000
"""So much may be written before the hub is asked whether there is room; what is left is told with the result."""
_NICE: Final = 5
"""Answers to people come before copies."""
_PR_SET_NAME, _PR_SET_PDEATHSIG = 15, 1


class Job:
    """One job under way: what it is asked for, and its talk with the hub meanwhile.

    Attributes:
        request: What the hub has asked for.
        courses: Of its targets, in their order; of a job without any, one.
    """

    def __init__(self, line: Line, request: dict[str, Any]) -> None:
        """Begin it."""
        self._line = line
        self._look_at = time.monotonic() + LOOK_S
        self._is_cancelled = False
        self.request = request
        self.courses = [_Course(self, number) for number in range(len(request.get("targets", ())) or 1)]

    def look(self) -> None:
        """Tell how far it is, now and then.

        Raises:
            CopyCancelledError: It was cancelled.
            LineClosedError: The hub has ended.
        """
        now = time.monotonic()
        if now >= self._look_at:
            self._look_at = now + LOOK_S
            self._line.send({"progress": [[each.tally.files, each.tally.bytes] for each in self.courses]})
            self._is_cancelled = self._is_cancelled or self._line.receive(0) is not None
        if self._is_cancelled:
            raise CopyCancelledError

    def take(self, number: int, size: int) -> None:
        """Ask whether a target may be written so many bytes.

        Raises:
            HubError: It may not.
        """
        self._line.send({"take": [number, size]})
        while "taken" not in (answer := self._line.receive(None) or {}):
            self._is_cancelled = True
        if answer["taken"] is not None:
            raise error_of(answer["taken"])


class _Course(Course):
    """The course of one target, kept for the hub.

    Attributes:
        owed: Bytes that were written, and of which the hub has not heard.
    """

    def __init__(self, job: Job, number: int) -> None:
        super().__init__(None)
        self._job = job
        self._number = number
        self.owed = 0
        self.take = self._take

    def check(self) -> None:
        self._job.look()

    def charge(self, size: int) -> None:
        self._take(size)

    def _take(self, size: int) -> None:
        self.owed += size
        if self.owed >= CHARGED_BYTES:
            owed, self.owed = self.owed, 0
            self._job.take(self._number, owed)


def _walk(job: Job) -> Any:
    asked = job.request
    return fields_of(
        walk(
            end_of(asked["source"]),
            Path(asked["manifest"]),
            exclude=tuple(asked["exclude"]),
            hashes=asked["hashes"],
            course=job.courses[0],
        )
    )


def _compare(job: Job) -> Any:
    asked = job.request
    return fields_of(
        compare(
            end_of(asked["source"]),
            Path(asked["manifest"]),
            end_of(asked["target"]),
            Path(asked["plan"]),
            options=options_of(asked["options"]),
            base=None if asked["base"] is None else Path(asked["base"]),
            course=job.courses[0],
        )
    )


def _stage(job: Job) -> Any:
    stagings = [
        Staging(Path(one["record"]), end_of(one["target"]), Path(one["plan"]), one["uid"], course)
        for one, course in zip(job.request["targets"], job.courses, strict=True)
    ]
    stage(end_of(job.request["source"]), stagings)
    return [
        {
            "error": None if staging.error is None else error_json(staging.error),
            "owed": course.owed,
            "made": [course.tally.files, course.tally.bytes],
        }
        for staging, course in zip(stagings, job.courses, strict=True)
    ]


_JOBS: dict[str, Callable[[Job], Any]] = {"walk": _walk, "compare": _compare, "stage": _stage}


def end_of(told: list[str]) -> End:
    """One end of a copy, as it is told over a line."""
    return End(Path(told[0]), told[1])


def options_of(told: dict[str, Any]) -> CopyOptions:
    """Options, as they are told over a line."""
    return CopyOptions(**{**told, "exclude": tuple(told["exclude"]), "policy": Policy(told["policy"])})


def _done(line: Line, request: dict[str, Any]) -> dict[str, Any]:
    """Do a job, and tell what came of it."""
    try:
        return {"result": _JOBS[request["job"]](Job(line, request))}
    except HubError as error:
        return {"error": error_json(error)}
    except CopyCancelledError:
        return {"cancelled": True}
    except LineClosedError:
        raise
    except Exception:
        return {"mistake": traceback.format_exc()}


def serve(end: socket.socket) -> None:
    """Do jobs until the hub has ended, or wants no more of them."""
    line = Line(end)
    try:
        line.send({"ready": True})
        while True:
            request = line.receive(None)
            if request is not None and "job" in request:  # and no cancelling of one that had ended
                line.send(_done(line, request))
    except LineClosedError:
        return


def _end_with(parent: int) -> None:
    """Be killed when the thread that has started this process ends, however it ends."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    libc.prctl(_PR_SET_NAME, b"projecthub-copy", 0, 0, 0)
    if os.getppid() != parent:
        os._exit(1)


def main() -> NoReturn:
    """Be such a process."""
    descriptor, parent = int(sys.argv[1]), int(sys.argv[2])
    _end_with(parent)
    for number in (signal.SIGINT, signal.SIGTERM):  # of a terminal or a supervisor, which send them to the hub as well
        signal.signal(number, signal.SIG_IGN)
    os.nice(_NICE)
    serve(socket.socket(fileno=descriptor))
    os._exit(0)


if __name__ == "__main__":
    main()
