"""The figures of snapshots: 20,000 small files, the first time and again, beside ``cp -a`` of the same run, synced."""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from tests.hubs import HubProcess

from benchmarks.hub import Wire
from benchmarks.table import Table

MANY = 20_000
ROUNDS = 3
SETTLED_S = 61.0
"""What changed within a minute before a snapshot is read once more by the next."""


def figures(table: Table, process: HubProcess, wire: Wire, projects: int) -> None:
    project_id = _call(wire, "projects.createProject", {"title": "bench"})
    _call(wire, "snapshots.create", {"project_id": project_id})
    home = process.data_dir / "projects" / project_id / "home"
    for number in range(MANY):
        directory = home / "many" / f"d{number // 100}"
        directory.mkdir(parents=True, exist_ok=True)
        (directory / f"f{number}").write_bytes(os.urandom(64) * (1 + number % 64))
    subprocess.run(["sync", "-f", home], check=True)
    time.sleep(SETTLED_S)
    taken: dict[str, list[float]] = {"cp": [], "first": [], "again": [], "diff": [], "restore": []}
    target = process.data_dir / "copied"
    for _ in range(ROUNDS):
        taken["cp"].append(_seconds(lambda: _copy(home, target))[0])
        shutil.rmtree(target)
        ids = []
        for name in ("first", "again"):
            seconds, made = _seconds(lambda: _call(wire, "snapshots.create", {"project_id": project_id}))
            taken[name].append(seconds)
            ids.append(made["id"])
        one = {"project_id": project_id, "id": ids[0]}
        taken["diff"].append(_seconds(partial(_call, wire, "snapshots.diff", one))[0])
        restore = {**one, "path": "many", "to": "restored"}
        taken["restore"].append(_seconds(partial(_call, wire, "snapshots.restore", restore))[0])
        shutil.rmtree(home / "restored")
        for each in ids:
            _call(wire, "snapshots.delete", {"project_id": project_id, "id": each})
    medians = {name: statistics.median(values) for name, values in taken.items()}
    baseline = f"cp -a, synced: {medians['cp']:.2f} s"
    for name, text in (
        ("first", f"a snapshot of {MANY} small files"),
        ("again", "the same again, unchanged"),
        ("diff", "compared with what is there"),
        ("restore", "restored to another path"),
    ):
        table.add(text, f"{medians[name]:.2f} s = {medians[name] / medians['cp']:.2f} x", "", baseline)


def _call(wire: Wire, name: str, arguments: dict[str, Any]) -> Any:
    """A call by a new connection: the last one may have been idle for long."""
    wire.connection.close()
    return wire.call(name, arguments)


def _copy(home: Path, target: Path) -> None:
    subprocess.run(["cp", "-a", home, target], check=True)
    subprocess.run(["sync", "-f", target], check=True)


def _seconds(work: Callable[[], Any]) -> tuple[float, Any]:
    begin = time.perf_counter()
    reply = work()
    return time.perf_counter() - begin, reply
