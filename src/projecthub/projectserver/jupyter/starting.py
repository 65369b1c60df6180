"""Starting kernels: a fork of the template for our own Python, a program for all others."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import itertools
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import zmq.asyncio
from jupyter_client.connect import write_connection_file
from jupyter_client.kernelspec import KernelSpec

from projecthub.errors import KernelDied, ProjectError
from projecthub.projectserver.commands import badness
from projecthub.projectserver.jupyter import kernelspecs
from projecthub.projectserver.jupyter.kernels import Kernel
from projecthub.projectserver.jupyter.template import MAX_REQUEST_BYTES, fork_template, limit_resources

_START_S = 60.0
_FORK_S = 15.0
"""So long a template, and a kernel of it, may take; then the kernel is started as a program."""
_LIMITS = {"RLIMIT_NOFILE": 1000, "RLIMIT_FSIZE": 10 * 1024**3}
"""Of each process of a kernel. Its time is bounded by the call, its memory by the project's control group."""


class KernelStarter:
    """Starts kernels, whose files lie in a private directory."""

    def __init__(self, *, scratch_prefix: str, environment: Mapping[str, str]) -> None:
        """Make it; nothing is started yet.

        Args:
            scratch_prefix: How the names of temporary directories begin.
            environment: The variables of all kernels.
        """
        self._scratch_prefix = scratch_prefix
        self._environment = environment
        self._numbers = itertools.count()
        self._template: socket.socket | None = None
        self._template_pid = 0
        self._asking = asyncio.Lock()
        self._context: zmq.asyncio.Context | None = None

    @functools.cached_property
    def _directory(self) -> Path:
        return Path(tempfile.mkdtemp(dir="/tmp", prefix=self._scratch_prefix))

    async def start(self, name: str, directory: str) -> Kernel:
        """Start a kernel and wait until it answers.

        Args:
            name: Of its specification.
            directory: Where it runs.

        Raises:
            InvalidArgument: There is no such kernel.
            ProjectError: It did not come up.
        """
        spec = kernelspecs.find(name)
        if kernelspecs.is_ours(spec) and (forked := await self._forked(name, directory)) is not None:
            return forked
        kernel = None
        try:
            async with asyncio.timeout(_START_S):
                kernel = self._spawn(name, spec, directory, self._make_connection_file())
                await self._connect(kernel)
        except BaseException as error:
            if kernel is not None:
                kernel.kill()
            if isinstance(error, TimeoutError):
                raise ProjectError(f"the kernel '{name}' did not answer within {_START_S:g} s") from error
            if isinstance(error, OSError):
                raise ProjectError(f"the kernel '{name}' could not be started: {error.strerror}") from error
            raise
        return kernel

    async def _forked(self, name: str, directory: str) -> Kernel | None:
        """A kernel of the template that answers; None: what ends a template, or makes it hang, must not end Jupyter.

        Raises:
            KernelDied: It ended before its sockets were open.
        """
        kernel = None
        try:
            async with asyncio.timeout(_FORK_S):
                kernel = await self._fork(name, directory, self._make_connection_file())
                await self._connect(kernel)
                return kernel
        except BaseException as error:
            if kernel is not None:
                kernel.kill()
            if isinstance(error, OSError | ValueError | TimeoutError):
                return None
            raise

    async def _connect(self, kernel: Kernel) -> None:
        if self._context is None:
            self._context = zmq.asyncio.Context()
        await kernel.connect(self._context)

    def _make_connection_file(self) -> Path:
        place = self._directory / f"kernel-{next(self._numbers)}"
        path = place.with_suffix(".json")
        write_connection_file(
            str(path),
            transport="ipc",
            ip=str(place),
            key=secrets.token_hex(32).encode(),
            shell_port=1,
            iopub_port=2,
            stdin_port=3,
            hb_port=4,
            control_port=5,
        )
        return path

    async def _fork(self, name: str, directory: str, connection_file: Path) -> Kernel:
        """Have the template become a kernel.

        Raises:
            OSError: There is no template, and none could be made.
            KernelDied: It ended before its sockets were open.
        """
        request = {"connection_file": str(connection_file), "directory": directory, "limits": _LIMITS}
        async with self._asking:
            if self._template is None:
                ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
                with theirs:
                    self._template_pid = fork_template(theirs)
                ours.setblocking(False)
                self._template = ours
            try:
                self._template.send(json.dumps(request).encode())
                pid, fds = await _receive(self._template)
            except BaseException:
                # Its answers would be taken for those of the next request.
                self._template.close()
                self._template = None
                self._end_template()
                raise
        pidfd, ready = fds
        kernel = Kernel(name, pid, pidfd, connection_file)
        try:
            await _readable(ready)
            if os.read(ready, 1) != b"R":
                raise KernelDied(f"the kernel '{name}' ended before it was ready")
        except BaseException:
            kernel.kill()
            raise
        finally:
            os.close(ready)
        return kernel

    def _spawn(self, name: str, spec: KernelSpec, directory: str, connection_file: Path) -> Kernel:
        """Start a kernel's program.

        Raises:
            OSError: It cannot be run.
        """
        values = {
            "{connection_file}": str(connection_file),
            "{resource_dir}": spec.resource_dir,
            "{prefix}": sys.prefix,
        }
        argv = [functools.reduce(lambda text, each: text.replace(*each), values.items(), word) for word in spec.argv]
        if argv[:1] in (["python"], ["python3"]) and Path(spec.resource_dir).is_relative_to(sys.prefix):
            argv[0] = sys.executable
        process = subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            cwd=directory,
            env={**self._environment, **spec.env, "JPY_PARENT_PID": str(os.getpid())},
            start_new_session=True,
            preexec_fn=functools.partial(limit_resources, _LIMITS),
        )
        with contextlib.suppress(OSError):
            Path(f"/proc/{process.pid}/oom_score_adj").write_bytes(badness())
        kernel = Kernel(
            name,
            process.pid,
            os.pidfd_open(process.pid),
            connection_file,
            interrupted_by_message=spec.interrupt_mode == "message",
        )
        reaper = asyncio.create_task(_reap(kernel, process))
        _reapers.add(reaper)
        reaper.add_done_callback(_reapers.discard)
        return kernel

    def close_template(self) -> None:
        """Let the template end. The next start makes another one."""
        if self._template is not None and not self._asking.locked():
            self._template.close()
            self._template = None

    def _end_template(self) -> None:
        """Kill the template and reap it: one that hangs does not see that its socket is closed."""
        with contextlib.suppress(ProcessLookupError, ChildProcessError):  # it has ended, and was reaped
            os.kill(self._template_pid, signal.SIGKILL)
            os.waitpid(self._template_pid, 0)


_reapers: set[asyncio.Task[None]] = set()


async def _reap(kernel: Kernel, process: subprocess.Popen[bytes]) -> None:
    await kernel.died.wait()
    process.wait()


async def _receive(template: socket.socket) -> tuple[int, list[int]]:
    await _readable(template.fileno())
    message, fds, _, _ = socket.recv_fds(template, MAX_REQUEST_BYTES, 2)
    answer: dict[str, Any] = json.loads(message) if message else {"error": "the template has ended"}
    if "pid" not in answer:
        raise OSError(0, answer["error"])
    return answer["pid"], fds


async def _readable(fd: int) -> None:
    loop = asyncio.get_running_loop()
    readable = asyncio.Event()
    loop.add_reader(fd, readable.set)
    try:
        await readable.wait()
    finally:
        loop.remove_reader(fd)
