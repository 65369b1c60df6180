# Written by tools/unasync.py from client/_async; change it there.
from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any, Final, Literal

from projecthub.client._sync.connection import Connection
from projecthub.client._sync.native import NativeProject
from projecthub.client.frames import Frames, JobOutput
from projecthub.errors import TransportError
from projecthub.wire import jobs as wire

AWAY_S: Final = 30.0
"""How long a hub may be away before whoever follows a job gives up, in seconds."""

_PAUSE_S: Final = 0.2
_CHUNKS: Final = {"accept": "application/vnd.projecthub.chunks"}
_STDIN_BYTES: Final = 512 * 1024


class Jobs:
    """The jobs of a project: commands that run on when nobody waits for them, and whose output is kept."""

    def __init__(self, connection: Connection, project_id: str | None) -> None:
        self._native = NativeProject(connection, project_id)

    def start(
        self,
        command: str,
        args: list[str] | None = None,
        *,
        bash: bool | None = None,
        path: str | None = None,
        cwd: str | None = None,
        env: dict[str, str] | None = None,
        timeout: float | None = None,
        stdin: bool | None = None,
        max_log_bytes: int | None = None,
    ) -> Job:
        """Start a job. The project is started if it does not run.

        Args:
            command: A program's name or path; with blanks and no ``args``, or with ``bash``, a bash script.
            args: Its arguments.
            bash: Run ``command`` as a bash script.
            path: Directory to run in, relative to the project's home. Default: the home.
            cwd: Directory to run in, absolute; wins over ``path``.
            env: Variables to add to its environment.
            timeout: Seconds after which it is killed. Default: never.
            stdin: Whether `Job.write` will be used. Default: its standard input is empty.
            max_log_bytes: Bytes its log may take; what comes after is dropped. Default: 1 GiB.

        Returns:
            The job, which runs.

        Raises:
            InvalidArgument: An argument is malformed or out of range.
            PermissionDenied: You are not on the project.
            StartFailed: The project could not be started.

        Example:
            ```python
            job = project.jobs.start("make -j2 all")
            for piece in job.output():
                print(piece.stream, piece.data)
            ```
        """
        options = {
            "command": command,
            "args": args,
            "bash": bash,
            "path": path,
            "cwd": cwd,
            "env": env,
            "timeout": timeout,
            "stdin": stdin,
            "max_log_bytes": max_log_bytes,
        }
        body = {name: value for name, value in options.items() if value is not None}
        return Job(self._native, self._native.json("POST", "/jobs", body=body))

    def list(self) -> list[Job]:
        """The jobs that are remembered, newest first. The project need not run.

        Their `info` has no ``samples`` before `Job.refresh`.

        Raises:
            PermissionDenied: You are not on the project.

        Example:
            ```python
            for job in project.jobs.list():
                print(job.id, job.state)
            ```
        """
        return [Job(self._native, job) for job in self._native.json("GET", "/jobs")]

    def get(self, id: str) -> Job:
        """One job, by its id. The project need not run.

        Raises:
            NotFound: There is none of this id.
            PermissionDenied: You are not on the project.

        Example:
            ```python
            job = project.jobs.get(job_id)
            ```
        """
        return Job(self._native, self._native.json("GET", f"/jobs/{id}"))


class Job:
    """A job.

    Attributes:
        info: What was last heard of it; `refresh` and `wait` ask anew.
    """

    info: wire.Job

    def __init__(self, native: NativeProject, info: wire.Job) -> None:
        self._native = native
        self.info = info

    @property
    def id(self) -> str:
        """Its id, a uuid."""
        return self.info["id"]

    @property
    def state(self) -> str:
        """How it stood with it when it was last heard of: ``running``, ``completed``, ``failed``, ``killed``, ...

        `projecthub.wire.jobs.JobState` has them all.
        """
        return self.info["state"]

    @property
    def exit_code(self) -> int | None:
        """Its exit code, 128 + n if signal n ended it; None while it runs, or if nobody knows."""
        return self.info["exit_code"]

    def refresh(self) -> wire.Job:
        """How it stands with it now.

        Example:
            ```python
            print(job.refresh()["state"])
            ```
        """
        self.info = self._native.json("GET", f"/jobs/{self.id}")
        return self.info

    def wait(self) -> wire.Job:
        """Wait for its end, also while the hub is away for a moment.

        Raises:
            TransportError: The hub was away for longer than `AWAY_S` seconds.

        Example:
            ```python
            if job.wait()["exit_code"] == 0:
                print(job.read())
            ```
        """
        heard_at = time.monotonic()
        while self.info["state"] == wire.JobState.RUNNING:
            try:
                self.info = self._native.json("GET", f"/jobs/{self.id}?wait=true", wait_s=None)
                heard_at = time.monotonic()
            except TransportError:
                if time.monotonic() - heard_at > AWAY_S:
                    raise
                time.sleep(_PAUSE_S)
        return self.info

    def output(self, *, offset: int = 0, follow: bool = True) -> Iterator[JobOutput]:
        """What it puts out, piece by piece, in the order it came; goes on where it was when a connection is lost.

        Args:
            offset: Where to begin, in bytes of the whole output; `JobOutput.end` of the last piece that you have.
            follow: Whether to go on to the end of the job, or end with what there is now.

        Raises:
            NotFound: It was removed.
            TransportError: The hub was away for longer than `AWAY_S` seconds.

        Example:
            ```python
            for piece in job.output():
                print(piece.stream, piece.data)
            ```
        """
        frames, heard_at = Frames(), time.monotonic()
        while frames.job is None:
            frames = Frames()
            path = f"/jobs/{self.id}/output?offset={offset}&follow={str(follow).lower()}"
            try:
                with self._native.stream("GET", path, headers=_CHUNKS) as response:
                    for data in response.iter_bytes():
                        heard_at = time.monotonic()
                        for piece in frames.feed(data):
                            offset = piece.end
                            yield piece
            except TransportError:
                if time.monotonic() - heard_at > AWAY_S:
                    raise
                time.sleep(_PAUSE_S)
        self.info = frames.job

    def read(self, stream: Literal["stdout", "stderr", "both"] = "both") -> bytes:
        """All that it has put out so far.

        Example:
            ```python
            errors = job.read("stderr")
            ```
        """
        with self._native.stream("GET", f"/jobs/{self.id}/output?stream={stream}") as response:
            content: Any = response.read()
            return bytes(content)

    def write(self, data: bytes, *, close: bool = False) -> None:
        """Write to its standard input, and wait until all of it is in its pipe.

        Args:
            data: What to write.
            close: Whether nothing comes after this.

        Raises:
            Conflict: It has ended, was started without ``stdin``, reads it no more, or has read nothing for 30 s.

        Example:
            ```python
            job = project.jobs.start("wc -c", stdin=True)
            job.write(b"some bytes", close=True)
            ```
        """
        path = f"/jobs/{self.id}/stdin"
        for begin in range(0, len(data), _STDIN_BYTES):
            part = data[begin : begin + _STDIN_BYTES]
            self._native.json("POST", path, content=part, wait_s=None)
        if close:
            self._native.json("POST", f"{path}?close=true", content=b"")

    def signal(self, name: str) -> bool:
        """Send a signal to its process group; whether it still ran.

        Args:
            name: Such as ``SIGINT``.

        Raises:
            InvalidArgument: There is no such signal.

        Example:
            ```python
            job.signal("SIGINT")
            ```
        """
        told = self._native.json("POST", f"/jobs/{self.id}/signal", body={"signal": name})
        return bool(told["sent"])

    def kill(self) -> bool:
        """Kill it and whatever came of it, daemons too; whether it still ran.

        Example:
            ```python
            job.kill()
            ```
        """
        return self.signal("SIGKILL")

    def remove(self) -> None:
        """Remove it and its output.

        Raises:
            Conflict: It runs.

        Example:
            ```python
            job.wait()
            job.remove()
            ```
        """
        self._native.json("DELETE", f"/jobs/{self.id}")

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.id} {self.state}>"
