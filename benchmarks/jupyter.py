"""The figures of Jupyter: warm calls, many of them in a row, the first one of a project, and cells of a session."""

from __future__ import annotations

import asyncio
import statistics
import time

from jupyter_client.manager import AsyncKernelManager
from tests.hubs import HubProcess

from benchmarks.hub import Wire
from benchmarks.table import Table

ROW = 1000
WARM = 40
CELLS = 200
FIRST = 5
PAUSE_S = 0.3
"""Between calls that are to find a warm kernel: a pool of two needs a moment to be full again."""


async def _plain_ms() -> tuple[float, float]:
    """A kernel of ipykernel, started by jupyter-client, that executes once, and its cells after that."""
    begin = time.perf_counter()
    manager = AsyncKernelManager(kernel_name="python3")
    await manager.start_kernel()
    client = manager.client()
    client.start_channels()
    await client.wait_for_ready(timeout=60)
    await client.execute_interactive("1+1", timeout=60, output_hook=lambda message: None)
    took = time.perf_counter() - begin
    cells = []
    for _ in range(CELLS):
        begin = time.perf_counter()
        await client.execute_interactive("1+1", timeout=60, output_hook=lambda message: None)
        cells.append(time.perf_counter() - begin)
    client.stop_channels()
    await manager.shutdown_kernel(now=True)
    return took * 1000, statistics.median(cells) * 1000


class _Project:
    """A project that runs code."""

    def __init__(self, wire: Wire) -> None:
        self.wire = wire
        self.project_id = wire.call("projects.createProject", {"title": "bench"})
        wire.call("projects.start", {"project_id": self.project_id})

    def ms(self) -> float:
        begin = time.perf_counter()
        arguments = {"input": "1+1", "kernel": "python3", "project_id": self.project_id}
        assert self.wire.call("jupyter.execute", arguments)["output"] == [{"data": {"text/plain": "2"}}]
        return (time.perf_counter() - begin) * 1000

    def stop(self) -> None:
        self.wire.call("projects.stop", {"project_id": self.project_id})


def calls(table: Table, process: HubProcess, wire: Wire, projects: int) -> None:
    first, plain, plain_cells = [], [], []
    for _ in range(FIRST):
        once, cells = asyncio.run(_plain_ms())
        plain.append(once)
        plain_cells.append(cells)
        project = _Project(wire)
        first.append(project.ms())
        project.stop()
    baseline = f"{statistics.median(plain):.0f} ms: jupyter-client starts ipykernel, once"
    table.add("first Jupyter call of a project", f"{statistics.median(first):.0f} ms", "400 ms", baseline)
    project = _Project(wire)
    project.ms()
    warm = []
    for _ in range(WARM):
        time.sleep(PAUSE_S)
        warm.append(project.ms())
    table.add('jupyter.execute("1+1"), warm', f"{statistics.median(warm):.1f} ms", "25 ms", baseline)
    row = sorted(project.ms() for _ in range(ROW))
    table.add(f"{ROW} of them in a row: median", f"{statistics.median(row):.1f} ms", "", baseline)
    table.add(f"{ROW} of them in a row: 99 %", f"{row[int(ROW * 0.99)]:.0f} ms", "1000 ms", "none lost")
    cell = statistics.median(_cells(process, project.project_id))
    baseline = f"{statistics.median(plain_cells):.1f} ms: jupyter-client, a kernel that runs"
    table.add("a session's cell, its outputs followed", f"{cell:.1f} ms", "12 ms", baseline)
    project.stop()


def _cells(process: HubProcess, project_id: str) -> list[float]:
    """What cells of a session take our client, in ms, to the end of their outputs."""
    took = []
    with process.hub() as hub, hub.project(project_id).jupyter.session("bench") as session:
        for _ in range(CELLS):
            begin = time.perf_counter()
            (output,) = session.execute("1+1")
            took.append((time.perf_counter() - begin) * 1000)
            assert output["data"] == {"text/plain": "2"}
    return took
