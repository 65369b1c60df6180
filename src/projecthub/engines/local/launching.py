"""The hub's side of the launcher: start the process, ask it for projects, notice its end."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import os
import socket
import subprocess
import sys
from collections.abc import Coroutine, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

from projecthub.engines.local.cgroups import Trees
from projecthub.engines.local.records import Record
from projecthub.engines.port import Isolation, Network, StartSpec
from projecthub.errors import StartFailed
from projecthub.interpreters import not_runnable, python_environment

_T = TypeVar("_T")
_MODULE = "projecthub.engines.local.launcher"
_OPEN_TIMEOUT_S = 30.0
_ANSWER_TIMEOUT_S = 20.0
_ABORT_TIMEOUT_S = 5.0
_END_TIMEOUT_S = 5.0
_MAX_LINE_BYTES = 1024 * 1024


async def to_the_end(work: Coroutine[Any, Any, _T]) -> _T:
    """Await something that has to be completed even if the caller is cancelled meanwhile, again and again.

    For the tidying up inside an ``except`` block, which raises what it caught afterwards.
    """
    task = asyncio.ensure_future(work)
    while not task.done():
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.wait([task])
    return task.result()


def _spawn(runtime_dir: Path) -> tuple[subprocess.Popen[bytes], socket.socket]:
    ours, theirs = socket.socketpair()
    with theirs, (runtime_dir / "launcher.log").open("wb") as log:
        try:
            process = subprocess.Popen(
                [sys.executable, "-P", "-m", _MODULE, str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=log,
                cwd="/",
                env=python_environment(),
                start_new_session=True,
            )
        except OSError as error:
            ours.close()
            raise StartFailed(f"the launcher could not be started: {not_runnable(error)}") from error
    return process, ours


class LauncherLost(Exception):
    """A launcher has ended, or did not answer and was ended; what it was asked for is undone or never was."""


class Launching:
    """A running launcher."""

    def __init__(
        self,
        process: subprocess.Popen[bytes],
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        runtime_dir: Path,
        trial_pid: int | None,
        counts_processes: bool,
    ) -> None:
        """Take over a launcher that has been opened; `begin` makes one."""
        self._process = process
        self._runtime_dir = runtime_dir
        self.trial_pid = trial_pid
        """A process of the launcher in a network of its own, to be tried and killed; None: there is no such network."""
        self.counts_processes = counts_processes
        """Whether the kernel counts the processes of a project by themselves, so that an rlimit holds them."""
        self._reader = reader
        self._writer = writer
        self._numbers = itertools.count(1)
        self._answers: dict[int, asyncio.Future[Record]] = {}
        self._listener = asyncio.create_task(self._listen())

    @classmethod
    async def begin(
        cls, *, isolation: Isolation, network: Network, trees: Trees, runtime_dir: Path, hidden: Sequence[Path]
    ) -> Launching:
        """Start a launcher and wait until it is ready.

        Args:
            isolation: What is to keep projects apart.
            network: What most projects will reach: those start fastest.
            trees: Where the control groups of runs are made.
            runtime_dir: Of the engine.
            hidden: As for `LocalEngine`.

        Raises:
            StartFailed: It cannot build sandboxes here, with the reason.
            LauncherLost: It was killed meanwhile.
        """
        process, ours = _spawn(runtime_dir)
        reader, writer = await asyncio.open_unix_connection(sock=ours, limit=_MAX_LINE_BYTES)
        request = {
            "isolation": isolation,
            "network": network,
            "trees": asdict(trees),
            "runtime_dir": str(runtime_dir),
            "hidden": [str(path) for path in hidden],
        }
        writer.write(json.dumps(request).encode() + b"\n")
        try:
            async with asyncio.timeout(_OPEN_TIMEOUT_S):
                line = await reader.readline()
            if not line:
                raise LauncherLost("the launcher ended at once")
            answer = json.loads(line)
            if "error" in answer:
                raise StartFailed(f"the launcher could not be started: {answer['error']}")
        except BaseException as error:
            writer.close()
            process.kill()
            process.wait()
            if isinstance(error, ConnectionError):
                raise LauncherLost("the launcher ended at once") from error
            if isinstance(error, TimeoutError):
                raise StartFailed("the launcher could not be started: it does not answer") from error
            raise
        return cls(process, reader, writer, runtime_dir, **answer)

    @property
    def pid(self) -> int:
        """The launcher's process id."""
        return self._process.pid

    @property
    def is_alive(self) -> bool:
        """Whether it can still be asked."""
        return not self._listener.done()

    async def end(self) -> None:
        """Wait until it cannot be asked any more."""
        await asyncio.wait([self._listener])

    async def launch(self, spec: StartSpec, session_id: str) -> Record:
        """Start a project's processes; their identity is saved when this returns.

        If the call is cancelled, the start is undone or complete when the cancellation comes out. One that hangs is
        undone after 20 s; a launcher that does not even do that is ended.

        Raises:
            StartFailed: It did not work; nothing of it is left.
            LauncherLost: Another launcher may do it.
        """
        wanted = {
            "project_id": spec.project_id,
            "epoch": spec.epoch,
            "session_id": session_id,
            "home": str(spec.home),
            "uid": spec.uid,
            "network": spec.network,
            "limits": asdict(spec.limits),
            "environment_file": None,
        }
        file = self._runtime_dir / f".environment-{session_id}"
        if spec.environment:
            # Past the launcher, for every later project is a copy of its memory.
            _write_private(file, json.dumps(dict(spec.environment)))
            wanted["environment_file"] = str(file)
        number = next(self._numbers)
        answer = self._answers[number] = asyncio.get_running_loop().create_future()
        self._ask({"id": number, "start": wanted})
        try:
            async with asyncio.timeout(_ANSWER_TIMEOUT_S):
                return await asyncio.shield(answer)
        except (asyncio.CancelledError, TimeoutError) as given_up:
            self._ask({"id": number})
            await to_the_end(self._settle(answer))
            if isinstance(given_up, TimeoutError):
                raise _hung(answer) from given_up
            raise
        finally:
            self._answers.pop(number, None)
            file.unlink(missing_ok=True)

    async def _settle(self, answer: asyncio.Future[Record]) -> None:
        """Wait for an answer though nobody wants it any more; a launcher that gives none is ended."""
        done, _ = await asyncio.wait([answer], timeout=_ABORT_TIMEOUT_S)
        if not done:
            self._process.kill()
            await asyncio.wait([answer])
        if not answer.cancelled():
            answer.exception()  # looked at, so that nobody complains

    def _ask(self, request: dict[str, Any]) -> None:
        if not self.is_alive:
            self._lose()
            return
        self._writer.write(json.dumps(request).encode() + b"\n")

    async def _listen(self) -> None:
        """Hand out the answers until the launcher ends."""
        try:
            while line := await self._reader.readline():
                message = json.loads(line)
                answer = self._answers.get(message["id"])
                if answer is None or answer.done():
                    continue
                if "error" in message:
                    answer.set_exception(StartFailed(f"the project could not be started: {message['error']}"))
                else:
                    answer.set_result(Record.from_json(message["record"]))
        except ConnectionError:
            pass
        finally:
            self._lose()
            self._writer.close()

    def _lose(self) -> None:
        for answer in self._answers.values():
            if not answer.done():
                answer.set_exception(LauncherLost("the launcher has ended"))

    async def close(self) -> None:
        """End the launcher. What it has started runs on."""
        self._writer.close()
        self._listener.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._listener
        try:
            await asyncio.to_thread(self._process.wait, _END_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            await asyncio.to_thread(self._process.wait)


def _hung(answer: asyncio.Future[Record]) -> Exception:
    """What to say of a start that took too long, by what became of the request to undo it."""
    if isinstance(answer.exception(), LauncherLost):
        return LauncherLost("the launcher does not answer")
    return StartFailed(
        f"the project could not be started: it has not come up within {_ANSWER_TIMEOUT_S:g} seconds, and was ended; "
        "start it again, and if that does not help, ask the operator what keeps this machine so busy"
    )


def _write_private(file: Path, text: str) -> None:
    try:
        with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as out:
            out.write(text)
    except OSError as error:
        with contextlib.suppress(OSError):
            file.unlink()
        raise StartFailed(
            f"the project could not be started: its variables could not be handed over: {error.strerror}"
        ) from error
