"""The methods ``system.jupyterExecute``, ``listJupyterKernels``, ``stopJupyterKernel``: a fresh kernel for each call.

Source: Wire contract 5.5, 5.7.
"""

from __future__ import annotations

import asyncio
import functools
import importlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from projecthub.errors import InvalidArgument, KernelDied
from projecthub.projectserver.arguments import Options
from projecthub.projectserver.jupyter.sessions import Sessions

if TYPE_CHECKING:
    from projecthub.projectserver.jupyter.kernels import Kernel
    from projecthub.projectserver.jupyter.outputs import Outputs
    from projecthub.projectserver.jupyter.pools import Pools
    from projecthub.projectserver.jupyter.starting import KernelStarter

_MODULES = ("kernelspecs", "outputs", "pools", "starting")
_METHOD = "system.jupyterExecute"
_POOL_SIZE, _MAX_POOL_SIZE = 2, 10
_POOL_TIMEOUT_S, _MAX_POOL_TIMEOUT_S = 3600.0, 7 * 86400.0
_CELL_S, _TOTAL_S, _MAX_LIMIT_S = 30.0, 45.0, 3600.0
_MAX_OUTPUT_BYTES = 5_000_000
_MOST_OUTPUT_BYTES = 10_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class JupyterOptions:
    """The options of ``system.jupyterExecute``, checked.

    Attributes:
        input: Code to run.
        kernel: Name of the kernel's specification.
        history: Code to run before it, whose output is dropped.
        path: Directory to run in, as given; empty: the home.
        pool_size: How many kernels to keep ready.
        pool_timeout_s: For how long after the last call.
        cell_s: What ``history`` and ``input`` may take each, in seconds.
        total_s: What both may take.
        max_output_bytes: How much output is kept.
    """

    input: str
    kernel: str
    history: str
    path: str
    pool_size: int
    pool_timeout_s: float
    cell_s: float
    total_s: float
    max_output_bytes: int


def parse(arguments: Sequence[object]) -> JupyterOptions:
    """Check the options of a call. Options that are not known are ignored.

    Raises:
        InvalidArgument: An option is not of its type or out of its range.
    """
    options = Options.of(_METHOD, arguments)
    code = options.text("input")
    if code is None:
        raise options.refuse("input", "the code to run, as a string")
    kernel = options.text("kernel")
    if not kernel:
        raise InvalidArgument("cannot spawn since no kernel is set")
    pool = _part(options, "pool")
    limits = _part(options, "limits")
    total_s = limits.number("total_timeout_s", _TOTAL_S, at_most=_MAX_LIMIT_S)
    cell_s = limits.number("timeout_s", min(_CELL_S, total_s), at_most=_MAX_LIMIT_S)
    return JupyterOptions(
        input=code,
        kernel=kernel,
        history="\n".join(options.texts("history")),
        path=options.text("path") or "",
        pool_size=int(pool.number("size", _POOL_SIZE, at_most=_MAX_POOL_SIZE)),
        pool_timeout_s=pool.number("timeout_s", _POOL_TIMEOUT_S, at_most=_MAX_POOL_TIMEOUT_S),
        cell_s=cell_s,
        total_s=max(total_s, cell_s),
        max_output_bytes=int(limits.number("max_output_bytes", _MAX_OUTPUT_BYTES, at_most=_MOST_OUTPUT_BYTES)),
    )


def _part(options: Options, name: str) -> Options:
    value = options.values.get(name)
    if value is not None and not isinstance(value, dict):
        raise options.refuse(name, "an object")
    return Options(f"{_METHOD} ({name})", value or {})


@functools.cache
def _load() -> None:
    """Load what kernels need, whole: two threads that load parts of it at the same time may wait for each other."""
    for name in ("IPython.paths", *(f"projecthub.projectserver.jupyter.{each}" for each in _MODULES)):
        importlib.import_module(name)


class Jupyter:
    """Runs code in kernels. What it needs is loaded by the first call: most projects never make one.

    Attributes:
        sessions: Kernels that live from call to call.
    """

    def __init__(self, *, home: str, environment: Mapping[str, str], session_id: str) -> None:
        """Make it; nothing is started yet.

        Args:
            home: The project's home.
            environment: The variables that every kernel gets.
            session_id: Stands in the names of temporary files, as for commands.
        """
        self._home = home
        self._environment = environment
        self._scratch_prefix = f"exec-{session_id}-kernels-"
        self.sessions = Sessions(lambda: self._starter, home)

    @functools.cached_property
    def _starter(self) -> KernelStarter:
        from projecthub.projectserver.jupyter.starting import KernelStarter

        return KernelStarter(scratch_prefix=self._scratch_prefix, environment=self._environment)

    @functools.cached_property
    def _pools(self) -> Pools:
        _load()
        from projecthub.projectserver.jupyter.pools import Pools

        return Pools(self._starter)

    async def execute(self, arguments: Sequence[object]) -> dict[str, object]:
        """Run code in a fresh kernel.

        Returns:
            ``{"outputs": JSON, "outcome"}``: a list of its outputs as text, which the hub passes on unread whatever is
            in it, and ``ok`` or the name of the error that ended it. Code that fails, takes too long or ends its kernel
            is told of by an output of it.

        Raises:
            InvalidArgument: An option is wrong, or there is no such kernel.
            ProjectError: The kernel did not come up.
        """
        _load()
        from projecthub.projectserver.jupyter.outputs import Outputs, to_json

        options = parse(arguments)
        outputs = Outputs(options.max_output_bytes)
        kernel = await self._pools.take(
            options.kernel,
            self._enter(options.path, outputs),
            size=options.pool_size,
            timeout_s=options.pool_timeout_s,
        )
        try:
            await _run(kernel, options, outputs)
        finally:
            self._pools.give_back(kernel)
        return {"outputs": to_json(outputs.items), "outcome": outputs.outcome}

    async def listing(self, _: Sequence[object]) -> list[dict[str, object]]:
        """The kernels that run, those kept ready and those of sessions among them."""
        return [
            {"pid": kernel.pid, "connectionFile": str(kernel.connection_file), "kernel_name": kernel.name}
            for kernel in self._kernels()
        ]

    async def specs(self, _: Sequence[object]) -> list[dict[str, object]]:
        """The kernels that could run."""
        _load()
        from projecthub.projectserver.jupyter import kernelspecs

        return await asyncio.to_thread(kernelspecs.listing, self._home)

    async def stop(self, arguments: Sequence[object]) -> dict[str, bool]:
        """Kill a kernel, and nothing else.

        Raises:
            InvalidArgument: ``pid`` is no number.
        """
        options = Options.of("system.stopJupyterKernel", arguments)
        pid = options.values.get("pid")
        if isinstance(pid, bool) or not isinstance(pid, int):
            raise options.refuse("pid", "a kernel's process id, a number")
        found = [kernel for kernel in self._kernels() if kernel.pid == pid]
        for kernel in found:
            kernel.kill()
            await kernel.died.wait()
        return {"success": bool(found)}

    def _kernels(self) -> list[Kernel]:
        return [*self._pools.kernels(), *self.sessions.kernels()]

    def _enter(self, path: str, outputs: Outputs) -> str:
        """The directory to run in; if it cannot be entered that is said, and the home is taken."""
        directory = Path(self._home, path)
        if os.access(directory, os.X_OK) and directory.is_dir():
            return str(directory)
        outputs.say(f"chdir: no such directory: '{path[:200]}'\n")
        return self._home


async def _run(kernel: Kernel, options: JupyterOptions, outputs: Outputs) -> None:
    what = "history"
    try:
        async with asyncio.timeout(options.total_s):
            if options.history.strip():
                async with asyncio.timeout(options.cell_s):
                    await kernel.execute(options.history)
            what = "input"
            async with asyncio.timeout(options.cell_s):
                await kernel.execute(options.input, outputs.take)
    except TimeoutError:
        bounds = f"{options.cell_s:g} s, or history and input longer than {options.total_s:g} s"
        why = f"the kernel was ended in {what}: that ran longer than {bounds}"
        outputs.fail("TimeoutError", why)
    except KernelDied as error:
        outputs.fail("KernelDied", error.message)
