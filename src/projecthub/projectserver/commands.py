"""Running a command: start it, read what it writes within bounded memory, and end it when its time is up."""

from __future__ import annotations

import asyncio
import codecs
import contextlib
import functools
import os
import shlex
import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

_READ_BYTES = 65536
# A process that a command left behind may hold its pipes open for ever: what it writes after that is not waited for.
_LINGER_S = 0.25
# A killed process may take a while to end: it gives back its memory first.
_DEATH_S = 10.0
_FIRST_TO_GO = 500
_MOST_TO_GO = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How a command ended.

    Attributes:
        stdout: What it wrote, decoded as UTF-8 (what is not becomes U+FFFD), cut at the limit.
        stderr: The same of its standard error.
        exit_code: Its exit code; 128 + n if signal n ended it.
        timed_out: Whether it was killed because its time was up.
    """

    stdout: str
    stderr: str
    exit_code: int
    timed_out: bool


class _Output:
    """Reads one pipe of a command; keeps the first ``max_characters`` and reads on, so that no writer blocks."""

    def __init__(self, pipe: IO[bytes], max_characters: int, on_end: Callable[[], None]) -> None:
        self._pipe = pipe
        self._room = self._limit = max_characters
        self._on_end = on_end
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._pieces: list[str] = []
        self._cut = False
        os.set_blocking(pipe.fileno(), False)
        asyncio.get_running_loop().add_reader(pipe.fileno(), self.read)

    @property
    def ended(self) -> bool:
        return self._pipe.closed

    def read(self) -> bool:
        """Take one piece; False if there is none now."""
        try:
            data = os.read(self._pipe.fileno(), _READ_BYTES)
        except BlockingIOError:
            return False
        if not data:
            self.close()
            self._on_end()
            return False
        self._keep(self._decoder.decode(data))
        return True

    def _keep(self, text: str) -> None:
        if len(text) > self._room:
            self._cut = True
            text = text[: self._room]
        if text:
            self._room -= len(text)
            self._pieces.append(text)

    def close(self) -> None:
        """Stop reading. Idempotent."""
        if not self._pipe.closed:
            self._keep(self._decoder.decode(b"", final=True))
            asyncio.get_running_loop().remove_reader(self._pipe.fileno())
            self._pipe.close()

    def text(self) -> str:
        text = "".join(self._pieces)
        return f"{text} (truncated at {self._limit} characters)" if self._cut else text


@functools.cache
def badness() -> bytes:
    """What the kernel is to add for a command when it looks for what to end: more than for this process, never less."""
    own = int(Path("/proc/self/oom_score_adj").read_text())
    return b"%d" % min(max(own, 0) + _FIRST_TO_GO, _MOST_TO_GO)


def make_script(command: str, args: Sequence[str], cpu_limit_s: int | None) -> str:
    """The text of a script file. Its first line is ours in any case, so that line numbers do not depend on options."""
    limit = "" if cpu_limit_s is None else f"ulimit -t {cpu_limit_s} 2>/dev/null"
    return f"{limit}\n{' '.join([command, *(shlex.quote(arg) for arg in args)])}"


def cut(text: str, max_characters: int) -> str:
    """The beginning of an output, with a word about it if there is more.

    Source: Wire contract 5.6.
    """
    if len(text) <= max_characters:
        return text
    return f"{text[:max_characters]} (truncated at {max_characters} characters)"


def spawn(
    argv: Sequence[str], directory: str, environment: Mapping[str, str], *, has_stdin: bool = False
) -> tuple[subprocess.Popen[bytes], tuple[int, int]]:
    """Start a program as the leader of a session of its own.

    Args:
        argv: The program and its arguments; looked up in the ``PATH`` of ``environment``.
        directory: Working directory.
        environment: All its variables.
        has_stdin: Whether there is to be a pipe to its standard input, which is empty otherwise.

    Returns:
        The process, and the reading ends of its standard output and error, which the caller closes.

    Raises:
        OSError: It could not be started.
    """
    process, pipes = _open(argv, directory, environment, subprocess.PIPE if has_stdin else subprocess.DEVNULL)
    fds = os.dup(pipes[0].fileno()), os.dup(pipes[1].fileno())
    for pipe in pipes:
        pipe.close()
    return process, fds


def _open(
    argv: Sequence[str], directory: str, environment: Mapping[str, str], stdin: int = subprocess.DEVNULL
) -> tuple[subprocess.Popen[bytes], tuple[IO[bytes], IO[bytes]]]:
    process = subprocess.Popen(
        argv,
        stdin=stdin,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=directory,
        env=environment,
        start_new_session=True,
        bufsize=0,
    )
    assert process.stdout is not None and process.stderr is not None
    # Where memory is short, a command goes before the server does, on which all others depend.
    with contextlib.suppress(OSError), open(f"/proc/{process.pid}/oom_score_adj", "wb", buffering=0) as file:
        file.write(badness())
    return process, (process.stdout, process.stderr)


async def run(
    argv: Sequence[str],
    *,
    directory: str,
    environment: Mapping[str, str],
    timeout_s: float,
    max_characters: int,
) -> Outcome:
    """Run a program and wait for its end.

    Args:
        argv: The program and its arguments; looked up in the ``PATH`` of ``environment``.
        directory: Working directory.
        environment: All its variables.
        timeout_s: After that many seconds its process group is killed.
        max_characters: How much of each of its two outputs is kept.

    Raises:
        OSError: It could not be started.
    """
    process, pipes = _open(argv, directory, environment)
    all_read = asyncio.Event()

    def note_end() -> None:
        if all(output.ended for output in outputs):
            all_read.set()

    outputs = [_Output(pipe, max_characters, note_end) for pipe in pipes]
    try:
        timed_out = not await ends_within(timeout_s, process.pid)
        if not timed_out:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_LINGER_S):
                    await all_read.wait()
    finally:
        for output in outputs:
            output.close()
        code = await _reap(process)
    return Outcome(
        stdout=outputs[0].text(),
        stderr=outputs[1].text(),
        exit_code=code if code >= 0 else 128 - code,
        timed_out=timed_out,
    )


async def ends_within(timeout_s: float | None, pid: int) -> bool:
    """Wait for the end of a child, without taking its exit code; False if it has not come in time (None: no bound)."""
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    pidfd = os.pidfd_open(pid)
    loop.add_reader(pidfd, ended.set)
    try:
        async with asyncio.timeout(timeout_s):
            await ended.wait()
    except TimeoutError:
        return False
    finally:
        loop.remove_reader(pidfd)
        os.close(pidfd)
    return True


async def _reap(process: subprocess.Popen[bytes]) -> int:
    """The exit code of a process; one that runs on is killed with its group first."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
        await ends_within(_DEATH_S, process.pid)
    return process.wait()
