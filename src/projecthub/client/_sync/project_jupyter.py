# Written by tools/unasync.py from client/_async; change it there.
from __future__ import annotations

import time
import uuid
from collections.abc import Iterator
from types import TracebackType
from typing import Any, Final, Self

from projecthub.client._sync.connection import Connection
from projecthub.client._sync.jobs import AWAY_S, Job
from projecthub.client._sync.native import NativeProject
from projecthub.client.events import Events
from projecthub.errors import TransportError
from projecthub.wire import jupyter as wire
from projecthub.wire.errors import from_text

_PAUSE_S: Final = 0.2


class ProjectJupyter:
    """The kernels of a project."""

    def __init__(self, connection: Connection, project_id: str | None) -> None:
        self._native = NativeProject(connection, project_id)

    def kernels(self) -> list[dict[str, Any]]:
        """The kernels that sessions can have: ``name``, ``display_name``, ``language`` of each.

        Raises:
            PermissionDenied: You are not on the project.
            StartFailed: The project could not be started.

        Example:
            ```python
            names = [kernel["name"] for kernel in project.jupyter.kernels()]
            ```
        """
        kernels: list[dict[str, Any]] = self._native.json("GET", "/jupyter/kernels")
        return kernels

    def session(self, name: str, kernel: str | None = None, *, path: str | None = None) -> JupyterSession:
        """A session: a kernel with a name, which keeps its state from call to call. Nothing is sent yet.

        In a ``with`` it is opened, and closed at the end; `JupyterSession.open` leaves it open.

        Args:
            name: Up to 100 letters, digits, ``.``, ``_``, ``-``.
            kernel: The kernel's name. Default: that of the open session of this name, or ``python3``.
            path: Directory to run in, relative to the home. Default: that of the open session, or the home.

        Example:
            ```python
            with project.jupyter.session("analysis") as session:
                session.execute("x = 6")
                for output in session.execute("x * 7"):
                    print(output["data"]["text/plain"])
            ```
        """
        return JupyterSession(self._native, name, kernel, path)

    def run_notebook(self, path: str, *, kernel: str | None = None, allow_errors: bool = False) -> Job:
        """Run a notebook file in the project, and write the outputs of each cell into it when it has ended.

        It goes on without you. The job's output tells of each cell, and its exit code is 0 if all were run.

        Args:
            path: The file, relative to the home. Its cells run in its directory.
            kernel: The kernel's name. Default: the one that the notebook names.
            allow_errors: Go on after a cell that raises.

        Returns:
            The job, which runs.

        Raises:
            NotFound: There is no such file.
            PermissionDenied: You are not on the project.
            StartFailed: The project could not be started.

        Example:
            ```python
            job = project.jupyter.run_notebook("report.ipynb")
            job.wait()
            ```
        """
        body = {"path": path, "kernel": kernel, "allow_errors": allow_errors}
        return Job(self._native, self._native.json("POST", "/jupyter/runs", body=body))

    def sessions(self) -> list[wire.JupyterSession]:
        """The sessions that are open; none if the project does not run.

        Raises:
            PermissionDenied: You are not on the project.

        Example:
            ```python
            for session in project.jupyter.sessions():
                print(session["name"], session["state"])
            ```
        """
        sessions: list[wire.JupyterSession] = self._native.json("GET", "/jupyter/sessions")
        return sessions


class JupyterSession:
    """A session. It lives until it is closed or the project stops, whether anybody is there or not.

    Attributes:
        name: Its name.
    """

    name: str

    def __init__(self, native: NativeProject, name: str, kernel: str | None, path: str | None) -> None:
        self.name = name
        self._native = native
        self._wanted = {"kernel": kernel, "path": path}
        self._path = f"/jupyter/sessions/{name}"

    def open(self) -> Self:
        """Open it, or find it open. The project is started if it does not run.

        Raises:
            InvalidArgument: The name is malformed, or the path is not relative.
            NotFound: There is no such kernel or directory.
            Conflict: It is open with another kernel, or in another directory.
            LimitError: Too many are open.

        Example:
            ```python
            session = project.jupyter.session("analysis").open()
            ```
        """
        self._native.json("PUT", self._path, body=self._wanted)
        return self

    def info(self) -> wire.JupyterSession:
        """How it stands with it.

        Raises:
            NotFound: It is not open.

        Example:
            ```python
            print(session.info()["state"])
            ```
        """
        info: wire.JupyterSession = self._native.json("GET", self._path)
        return info

    def execute(self, code: str, *, id: str | None = None) -> JupyterExecution:
        """Have code run after all that was given to it before. Iterate over what is returned for the outputs.

        Args:
            code: In the kernel's language.
            id: A uuid of your own: given twice, the code runs once.

        Raises:
            NotFound: The session is not open.
            Conflict: Its kernel is dead, or the id is that of other code.
            LimitError: Too many executions wait.

        Example:
            ```python
            execution = session.execute("x = 6")
            ```
        """
        body = {"code": code, "id": id or str(uuid.uuid4())}
        info = self._native.json("POST", f"{self._path}/executions", body=body)
        return JupyterExecution(self._native, self._path, info)

    def executions(self) -> list[JupyterExecution]:
        """Those that it remembers, oldest first: also of callers who have gone.

        Raises:
            NotFound: The session is not open.

        Example:
            ```python
            for execution in session.executions():
                print(execution.id, execution.state)
            ```
        """
        infos = self._native.json("GET", f"{self._path}/executions")
        return [JupyterExecution(self._native, self._path, info) for info in infos]

    def interrupt(self) -> None:
        """Interrupt what runs, as Ctrl-C would; what waits behind it is aborted.

        Raises:
            NotFound: The session is not open.
            Conflict: Its kernel is dead.

        Example:
            ```python
            execution = session.execute("while True: pass")
            session.interrupt()
            ```
        """
        self._native.json("POST", f"{self._path}/interrupt")

    def restart(self) -> None:
        """Give it a new kernel; what runs or waits is aborted.

        Raises:
            NotFound: The session is not open.
            ProjectError: The kernel did not come up.

        Example:
            ```python
            session.restart()
            ```
        """
        self._native.json("POST", f"{self._path}/restart")

    def complete(self, code: str, cursor: int | None = None) -> wire.JupyterCompletion:
        """What may stand where the cursor is.

        Args:
            code: In the kernel's language.
            cursor: A place in it, in characters. Default: its end.

        Raises:
            NotFound: The session is not open.
            Conflict: Its kernel is dead, or is busy.

        Example:
            ```python
            print(session.complete("import js")["matches"])
            ```
        """
        body = {"code": code, "cursor": cursor}
        reply: wire.JupyterCompletion = self._native.json("POST", f"{self._path}/complete", body=body)
        return reply

    def close(self) -> None:
        """End it and its kernel.

        Raises:
            NotFound: It is not open.

        Example:
            ```python
            session.close()
            ```
        """
        self._native.json("DELETE", self._path)

    def __enter__(self) -> Self:
        return self.open()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name}>"


class JupyterExecution:
    """Code that was given to a session; iterate over it for its outputs.

    Attributes:
        info: What was last heard of it; an iteration that ends and `wait` tell its end.
    """

    info: wire.JupyterExecution

    def __init__(self, native: NativeProject, path: str, info: wire.JupyterExecution) -> None:
        self.info = info
        self._native = native
        self._path = f"{path}/executions/{info['id']}"

    @property
    def id(self) -> str:
        """Its id, a uuid."""
        return self.info["id"]

    @property
    def state(self) -> str:
        """How it stood with it when it was last heard of: ``waiting``, ``running``, ``ok``, ``error``, ...

        `projecthub.wire.jupyter.ExecutionState` has them all.
        """
        return self.info["state"]

    def outputs(self, index: int = 0) -> Iterator[wire.JupyterSessionOutput]:
        """Its outputs as they come, to its end; goes on where it was when a connection is lost.

        Args:
            index: Where to begin, counted from 0. Those that are no longer kept are left out.

        Raises:
            NotFound: The session is closed, or does not remember it.
            TransportError: The hub was away for longer than `AWAY_S` seconds.

        Example:
            ```python
            for output in execution.outputs():
                print(output)
            ```
        """
        heard_at = time.monotonic()
        while True:
            events = Events()
            try:
                with self._native.stream("GET", f"{self._path}/events?index={index}") as response:
                    for data in response.iter_bytes():
                        heard_at = time.monotonic()
                        for event in events.feed(data):
                            index = event.id
                            if event.kind == "output":
                                yield event.data
                            elif event.kind == "end":
                                self.info = event.data
                                return
                            elif event.kind == "error":
                                raise from_text(str(event.data["detail"]), str(event.data["code"]))
                raise TransportError("the hub's answer ended before the execution did")
            except TransportError:
                if time.monotonic() - heard_at > AWAY_S:
                    raise
                time.sleep(_PAUSE_S)

    def __iter__(self) -> Iterator[wire.JupyterSessionOutput]:
        return self.outputs()

    def wait(self) -> wire.JupyterExecution:
        """Wait for its end.

        Raises:
            NotFound: The session is closed, or does not remember it.
            TransportError: The hub was away for longer than `AWAY_S` seconds.

        Example:
            ```python
            if execution.wait()["state"] == "error": ...
            ```
        """
        for _ in self.outputs(index=self.info["outputs"]):
            pass
        return self.info

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.id} {self.state}>"
