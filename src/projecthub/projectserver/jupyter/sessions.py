"""Sessions: named kernels that live from call to call, whose outputs are kept for whoever comes back for them.

Source: docs/decisions/0020-sessions.md.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import time
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from projecthub.errors import Conflict, InvalidArgument, KernelDied, LimitError, NotFound
from projecthub.projectserver.arguments import Options
from projecthub.wire.ids import is_uuid
from projecthub.wire.jupyter import MAX_CODE, SESSION_NAME, ExecutionState, SessionState

if TYPE_CHECKING:
    from projecthub.projectserver.jupyter.kept_outputs import Execution
    from projecthub.projectserver.jupyter.kernels import Kernel
    from projecthub.projectserver.jupyter.starting import KernelStarter

MAX_SESSIONS = 20
MAX_ENDS = 5000
"""Executions of whose end is told to whoever asks for it, beyond those that sessions remember."""

_DEFAULT_KERNEL = "python3"
_COMPLETION_S = 5.0
_BEGIN_S = 2.0
_STATES = {"ok": ExecutionState.OK, "aborted": ExecutionState.ABORTED}


class _Session:
    """One session. Executions run one after the other, in the order in which they came."""

    def __init__(
        self,
        name: str,
        kernel_name: str,
        path: str,
        start: Callable[[], asyncio.Task[Kernel]],
        on_end: Callable[[Execution], None],
    ) -> None:
        from projecthub.projectserver.jupyter.kept_outputs import KeptOutputs

        self.name = name
        self.kernel_name = kernel_name
        self.path = path
        self.executions = KeptOutputs(on_end)
        self._start = start
        self._opened_at = time.time_ns() // 1_000_000
        self._coming = start()
        self._turn = asyncio.Lock()
        self._running: set[asyncio.Task[None]] = set()

    async def kernel(self) -> Kernel:
        """Its kernel, when it has come up.

        Raises:
            ProjectError: It did not come up.
        """
        return await asyncio.shield(self._coming)

    def present_kernel(self) -> Kernel | None:
        """Its kernel, if there is one that lives."""
        task = self._coming
        if not task.done() or task.cancelled() or task.exception() is not None:
            return None
        return None if task.result().died.is_set() else task.result()

    @property
    def state(self) -> SessionState:
        if not self._coming.done():
            return SessionState.STARTING
        if self.present_kernel() is None:
            return SessionState.DEAD
        return SessionState.BUSY if self._turn.locked() else SessionState.IDLE

    def view(self) -> dict[str, object]:
        kernel = self.present_kernel()
        return {
            "name": self.name,
            "kernel": self.kernel_name,
            "path": self.path,
            "state": self.state,
            "pid": None if kernel is None else kernel.pid,
            "opened_at": self._opened_at,
        }

    def execute(self, id: str, code: str) -> Execution:
        """Have some code run, unless this very execution is known already.

        Raises:
            Conflict: The kernel is dead, or the id is that of other code.
            LimitError: Too many wait.
        """
        if (known := self.executions.get(id)) is not None:
            if known.code != code:
                raise Conflict(f"execution '{id}' is one of other code; give another id")
            return known
        if self.state is SessionState.DEAD:
            raise Conflict(f"the kernel of session '{self.name}' is dead; restart the session")
        if not self.executions.has_room():
            raise LimitError(f"too many executions wait in session '{self.name}'; wait for some of them")
        execution = self.executions.add(id, code)
        task = asyncio.create_task(self._run(execution))
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        return execution

    async def _run(self, execution: Execution) -> None:
        async with self._turn:
            if execution.has_ended:  # an interrupt was quicker
                return
            execution.begin()
            try:
                reply = await (await self.kernel()).execute(execution.code, execution.take)
            except Exception as error:
                why = error.message if isinstance(error, KernelDied) else "the kernel did not come up"
                if not execution.has_ended:
                    told = f"KernelDied: {why}"
                    execution.add({"output_type": "error", "ename": "KernelDied", "evalue": why, "traceback": [told]})
                execution.end(ExecutionState.DIED)
                return
            execution.end(_STATES.get(str(reply.get("status")), ExecutionState.ERROR), reply.get("execution_count"))

    async def interrupt(self) -> None:
        """Interrupt what runs; what waits behind it does not run at all.

        Raises:
            Conflict: The kernel is dead.
        """
        if (kernel := self.present_kernel()) is None:
            raise Conflict(f"the kernel of session '{self.name}' does not run; restart the session")
        for execution in self.executions:
            if execution.state is ExecutionState.WAITING:
                execution.end(ExecutionState.ABORTED)
        for execution in self.executions:
            if execution.state is ExecutionState.RUNNING:
                with contextlib.suppress(TimeoutError):  # a kernel that has not begun would not notice
                    async with asyncio.timeout(_BEGIN_S):
                        await execution.heard.wait()
                if not execution.has_ended:
                    kernel.interrupt()

    async def restart(self) -> None:
        """Give it a new kernel; nothing of the old one's state is left.

        Raises:
            ProjectError: It did not come up.
        """
        self.end_kernel()
        self._coming = self._start()
        await self.kernel()

    def end_kernel(self) -> None:
        """End its kernel, and with it all that runs or waits."""
        for execution in self.executions:
            execution.end(ExecutionState.ABORTED)
        self._coming.add_done_callback(_end)


def _end(task: asyncio.Task[Kernel]) -> None:
    if not task.cancelled() and task.exception() is None:
        task.result().kill()


class Sessions:
    """The sessions of a project. They end with its project server."""

    def __init__(self, starter: Callable[[], KernelStarter], home: str) -> None:
        """Make it; nothing is started yet.

        Args:
            starter: Gives what starts kernels.
            home: The project's home.
        """
        self._starter = starter
        self._home = home
        self._sessions: dict[str, _Session] = {}
        self._ends: dict[str, dict[str, object]] = {}

    async def open(self, arguments: Sequence[object]) -> dict[str, object]:
        """Open a session, or find the one that is open: ``{"name", "kernel"?, "path"?}``.

        Raises:
            InvalidArgument: An option is wrong.
            NotFound: There is no such kernel or directory.
            Conflict: It is open with another kernel, or in another directory.
            LimitError: Too many are open.
            ProjectError: The kernel did not come up.
        """
        options = Options.of("jupyter.sessions.open", arguments)
        name, kernel, path = _name_of(options), options.text("kernel"), options.text("path")
        if (session := self._sessions.get(name)) is None:
            session = self._new(name, kernel or _DEFAULT_KERNEL, path or "")
        elif (kernel or session.kernel_name, _tidy(path or session.path)) != (session.kernel_name, session.path):
            raise Conflict(
                f"session '{name}' is open with kernel '{session.kernel_name}' in '{session.path}'; close it, or give "
                "another name"
            )
        try:
            await session.kernel()
        except Exception:
            if self._sessions.get(name) is session:
                del self._sessions[name]
            raise
        return session.view()

    def _new(self, name: str, kernel: str, path: str) -> _Session:
        if len(self._sessions) >= MAX_SESSIONS:
            raise LimitError(f"{MAX_SESSIONS} sessions are open in this project; close some of them")
        path = _tidy(path)
        directory = str(Path(self._home, path))
        if not (os.access(directory, os.X_OK) and Path(directory).is_dir()):
            raise NotFound(f"there is no directory '{path[:200]}' in this project")
        _look_up(kernel)
        session = _Session(
            name,
            kernel,
            path,
            lambda: asyncio.create_task(self._starter().start(kernel, directory), name="kernel"),
            self._note_end,
        )
        self._sessions[name] = session
        return session

    async def listing(self, _: Sequence[object]) -> list[dict[str, object]]:
        """All that are open, in the order in which they were opened."""
        return [session.view() for session in self._sessions.values()]

    async def get(self, arguments: Sequence[object]) -> dict[str, object]:
        """One: ``{"name"}``.

        Raises:
            NotFound: It is not open.
        """
        return self._find(Options.of("jupyter.sessions.get", arguments)).view()

    async def execute(self, arguments: Sequence[object]) -> dict[str, object]:
        """Have code run, and do not wait for it: ``{"name", "id", "code"}``. The same id twice runs once.

        Raises:
            NotFound: The session is not open.
            Conflict: Its kernel is dead, or the id is that of other code.
            LimitError: Too many wait.
        """
        options = Options.of("jupyter.sessions.execute", arguments)
        session, code = self._find(options), options.text("code")
        if code is None or len(code) > MAX_CODE:
            raise options.refuse("code", f"code of at most {MAX_CODE} characters")
        if not is_uuid(id := options.text("id")):
            raise options.refuse("id", "a uuid")
        return session.execute(id, code).view()

    async def executions(self, arguments: Sequence[object]) -> list[dict[str, object]]:
        """Those that a session remembers, oldest first: ``{"name"}``.

        Raises:
            NotFound: The session is not open.
        """
        return [each.view() for each in self._find(Options.of("jupyter.sessions.executions", arguments)).executions]

    async def ends(self, arguments: Sequence[object]) -> dict[str, dict[str, object]]:
        """Which of some executions do not run any more, by their ids: ``{"ids"}``.

        Of each its ``state``, the ``bytes`` that it has put out and its ``seconds``; an empty object if none is known.
        """
        wanted = Options.of("jupyter.sessions.ends", arguments).texts("ids")
        running = {each.id for each in self._unended()}
        return {id: self._ends.get(id, {}) for id in wanted if id not in running}

    def unended(self) -> int:
        """How many executions run or wait, in all sessions."""
        return sum(1 for _ in self._unended())

    def _unended(self) -> Iterator[Execution]:
        return (each for session in self._sessions.values() for each in session.executions if not each.has_ended)

    def _note_end(self, execution: Execution) -> None:
        self._ends[execution.id] = {
            "state": execution.state,
            "bytes": execution.bytes,
            "seconds": execution.seconds,
        }
        if len(self._ends) > MAX_ENDS:
            del self._ends[next(iter(self._ends))]

    async def execution(self, arguments: Sequence[object]) -> dict[str, object]:
        """One execution: ``{"name", "id"}``.

        Raises:
            NotFound: The session is not open, or remembers no such execution.
        """
        return self._find_execution(Options.of("jupyter.sessions.execution", arguments)).view()

    async def follow(self, arguments: Sequence[object]) -> AsyncGenerator[object, None]:
        """The outputs of an execution, see `Execution.follow`: ``{"name", "id", "index"?}``.

        Raises:
            NotFound: The session is not open, or remembers no such execution.
        """
        options = Options.of("jupyter.sessions.follow", arguments)
        execution = self._find_execution(options)
        index = options.values.get("index") or 0
        if isinstance(index, bool) or not isinstance(index, int) or index < 0:
            raise options.refuse("index", "the index of an output, 0 or more")
        async for value in execution.follow(index):
            yield value

    async def interrupt(self, arguments: Sequence[object]) -> dict[str, object]:
        """Interrupt what runs, and drop what waits: ``{"name"}``.

        Raises:
            NotFound: The session is not open.
            Conflict: Its kernel is dead.
        """
        session = self._find(Options.of("jupyter.sessions.interrupt", arguments))
        await session.interrupt()
        return session.view()

    async def restart(self, arguments: Sequence[object]) -> dict[str, object]:
        """Give a session a new kernel: ``{"name"}``. What runs or waits is aborted.

        Raises:
            NotFound: The session is not open.
            ProjectError: The kernel did not come up.
        """
        session = self._find(Options.of("jupyter.sessions.restart", arguments))
        await session.restart()
        return session.view()

    async def complete(self, arguments: Sequence[object]) -> dict[str, object]:
        """What may stand where the cursor is: ``{"name", "code", "cursor"?}``, which is in characters.

        Raises:
            NotFound: The session is not open.
            Conflict: Its kernel is dead, or is busy.
        """
        options = Options.of("jupyter.sessions.complete", arguments)
        session, code = self._find(options), options.text("code") or ""
        cursor = options.values.get("cursor")
        if cursor is None:
            cursor = len(code)
        if isinstance(cursor, bool) or not isinstance(cursor, int) or not 0 <= cursor <= len(code):
            raise options.refuse("cursor", f"a place in the code, 0 to {len(code)}")
        if (kernel := session.present_kernel()) is None:
            raise Conflict(f"the kernel of session '{session.name}' does not run; restart the session")
        try:
            async with asyncio.timeout(_COMPLETION_S):
                reply = await kernel.complete(code, cursor)
        except TimeoutError as error:
            raise Conflict(f"session '{session.name}' is busy; ask again when it is idle") from error
        return {name: reply.get(name) for name in ("matches", "cursor_start", "cursor_end", "metadata")}

    async def close(self, arguments: Sequence[object]) -> dict[str, object]:
        """End a session and its kernel: ``{"name"}``.

        Raises:
            NotFound: It is not open.
        """
        session = self._find(Options.of("jupyter.sessions.close", arguments))
        del self._sessions[session.name]
        session.end_kernel()
        return {"name": session.name, "closed": True}

    def kernels(self) -> list[Kernel]:
        """Those of all sessions that run."""
        return [kernel for session in self._sessions.values() if (kernel := session.present_kernel()) is not None]

    def _find(self, options: Options) -> _Session:
        name = _name_of(options)
        if (session := self._sessions.get(name)) is None:
            raise NotFound(f"there is no session '{name}' in this project; open it")
        return session

    def _find_execution(self, options: Options) -> Execution:
        session, id = self._find(options), options.text("id") or ""
        if (execution := session.executions.get(id)) is None:
            raise NotFound(f"session '{session.name}' remembers no execution '{id[:50]}'")
        return execution


def _name_of(options: Options) -> str:
    name = options.text("name")
    if name is None or not re.fullmatch(SESSION_NAME, name):
        raise options.refuse("name", "a name of up to 100 letters, digits, '.', '_' and '-'")
    return name


def _look_up(kernel: str) -> None:
    from projecthub.projectserver.jupyter import kernelspecs

    try:
        kernelspecs.find(kernel)
    except InvalidArgument as error:  # with the wire's text, which is for another call
        raise NotFound(f"there is no kernel '{kernel[:100]}' in this project; ask which kernels there are") from error


def _tidy(path: str) -> str:
    """A path as it is compared and shown: without what changes nothing."""
    if path.startswith("/"):
        raise InvalidArgument(f"path '{path[:200]}' must be relative to the project's home")
    return "" if (tidied := os.path.normpath(path)) == "." else tidied
