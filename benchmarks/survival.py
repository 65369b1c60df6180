"""Figures of what a hub does besides calls: find its projects again, wait, and keep one from slowing down another."""

from __future__ import annotations

import statistics
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import psutil
from tests.hubs import HubProcess

from benchmarks.hub import Wire
from benchmarks.table import Table

_STOPPED = 10_000
_WATCHED_S = 70.0
_CALLS = 150
_CONNECTIONS = 16

# What a project may do to its neighbours. Each goes on until its project is stopped, whatever it is refused.
_NUISANCES = {
    "a busy loop on every processor": "for n in $(seq $(nproc)) 1 2 3; do while :; do :; done & done; wait",
    "a fork bomb": "f() { f | f & }; while :; do f; sleep 0.05; done 2>/dev/null",
    "a memory hog": ("while :; do python3 -c \"b = []\nwhile True: b.append(b'x' * 10**7)\"; done 2>/dev/null"),
    "a disk filler": "while :; do head -c 200000000 /dev/zero > big; sync big; rm big; done",
}


def adoption(table: Table, process: HubProcess, wire: Wire, projects: int) -> None:
    """Kill -9 of a hub whose projects run, and its next start."""
    with HubProcess() as hub:
        none_s = statistics.median(_restart_s(hub) for _ in range(3))
        starter = Wire(hub)
        ids = [starter.call("projects.createProject", {"title": "bench"}) for _ in range(projects)]
        _spread(hub, "projects.start", [{"project_id": each} for each in ids])
        many_s = statistics.median(_restart_s(hub) for _ in range(3))
        again = Wire(hub)
        assert all(again.call("projects.state", {"project_id": each})["state"] == "running" for each in ids)
        again.call("projects.stopAll", {})
    table.add(
        f"adoption of {projects} running projects after kill -9",
        f"{max(many_s - none_s, 0):.2f} s",
        "1 s",
        f"{none_s:.2f} s: start of the same hub without any",
    )


def _spread(hub: HubProcess, name: str, arguments: list[Any]) -> None:
    """Make many calls, over a few connections at a time."""

    def some(first: int) -> None:
        wire = Wire(hub)
        for each in arguments[first::_CONNECTIONS]:
            wire.call(name, each)

    with ThreadPoolExecutor(_CONNECTIONS) as pool:
        list(pool.map(some, range(_CONNECTIONS)))


def _restart_s(hub: HubProcess) -> float:
    hub.kill()
    begin = time.perf_counter()
    hub.restart()
    return time.perf_counter() - begin


def waiting(table: Table, process: HubProcess, wire: Wire, projects: int) -> None:
    """Processor time of a hub that nobody calls."""
    with HubProcess() as empty, HubProcess() as full:
        _spread(full, "projects.createProject", [{"title": "bench"}] * _STOPPED)
        hubs = [psutil.Process(hub.process.pid) for hub in (empty, full)]
        before = [sum(hub.cpu_times()[:2]) for hub in hubs]
        time.sleep(_WATCHED_S)
        without, with_projects = (
            (sum(hub.cpu_times()[:2]) - cpu_s) * 60 / _WATCHED_S for hub, cpu_s in zip(hubs, before, strict=True)
        )
    table.add(
        f"CPU of a hub nobody calls, {_STOPPED:,} stopped projects",
        f"{with_projects * 1000:.0f} ms a minute",
        "near zero",
        f"{without * 1000:.0f} ms a minute: without projects",
    )


def neighbours(table: Table, process: HubProcess, wire: Wire, projects: int) -> None:
    """How long calls into one project take while another one does its worst."""
    own, other = (wire.call("projects.createProject", {"title": "bench"}) for _ in range(2))
    wire.call("projects.start", {"project_id": own})
    for name, script in _NUISANCES.items():
        # Quiet and loud by turns, so that a machine that slows down slows both.
        quiet, loud = [], []
        for _ in range(3):
            quiet += _latencies_ms(wire, own)
            with _nuisance(process, other, script):
                loud += _latencies_ms(wire, own)
        table.add(
            f"exec beside {name}, median",
            f"{statistics.median(loud):.2f} ms = {statistics.median(loud) / statistics.median(quiet):.2f} x",
            "2 x",
            f"{statistics.median(quiet):.2f} ms: quiet",
        )
        table.add(
            f"exec beside {name}, 95 %",
            f"{_high(loud):.2f} ms = {_high(loud) / _high(quiet):.2f} x",
            "",  # a tick of the scheduler or two: no weight changes that
            f"{_high(quiet):.2f} ms: quiet",
        )
    wire.call("projects.stop", {"project_id": own})


def _high(values: list[float]) -> float:
    return statistics.quantiles(values, n=20)[-1]


def _latencies_ms(wire: Wire, project_id: str) -> list[float]:
    taken = []
    for _ in range(_CALLS):
        begin = time.perf_counter()
        wire.call("system.exec", {"command": "true"}, project_id=project_id)
        taken.append((time.perf_counter() - begin) * 1000)
    return taken


@contextmanager
def _nuisance(process: HubProcess, project_id: str, script: str) -> Iterator[None]:
    begin = Wire(process)
    begin.call("projects.start", {"project_id": project_id})

    def run() -> None:
        command: dict[str, Any] = {"command": script, "bash": True, "timeout": 600, "err_on_exit": False}
        try:
            Wire(process).call("system.exec", command, project_id=project_id)
        except AssertionError:
            pass  # its project was stopped: that is how it ends

    thread = threading.Thread(target=run)
    thread.start()
    time.sleep(1)
    try:
        yield
    finally:
        begin.call("projects.stop", {"project_id": project_id})
        thread.join()
