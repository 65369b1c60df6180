"""What the machine shows of a hub and its projects, read without the hub's help."""

from __future__ import annotations

import contextlib
import json
import os
import signal
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psutil

from projecthub.engines.local.cgroups import tree_name
from projecthub.engines.local.records import RECORD_FILES
from projecthub.wire.ids import is_uuid

LAUNCHER: Final = "project-launch"
ZYGOTE: Final = "project-zygote"
SPARE: Final = "project-spare"
INIT: Final = "project-init"
SERVER: Final = "project-server"

_CGROUPS: Final = Path("/sys/fs/cgroup")


@dataclass(frozen=True, slots=True)
class Run:
    """A run as its record in the runtime directory tells it.

    Attributes:
        init: Process id of its init.
        server: Process id of its server.
    """

    project_id: str
    epoch: int
    session_id: str
    init: int
    server: int

    @property
    def is_alive(self) -> bool:
        """Whether both of its processes live, and are what the record says."""
        return process_name(self.init) == INIT and process_name(self.server) == SERVER


def process_name(pid: int) -> str | None:
    """The name of a process; None if it does not live."""
    with contextlib.suppress(psutil.NoSuchProcess):
        process = psutil.Process(pid)
        if process.status() != psutil.STATUS_ZOMBIE:
            return process.name()
    return None


def processes_below(pid: int, *, but: Iterable[int] = ()) -> dict[int, str]:
    """The names of all processes below one that live, by id.

    The campaign adopts orphans: whatever any hub of it has started is below it, whoever was killed in between.

    Args:
        pid: The uppermost.
        but: Leave these out, with all below them.
    """
    children: dict[int, list[psutil.Process]] = {}
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.NoSuchProcess):
            children.setdefault(process.ppid(), []).append(process)
    found: dict[int, str] = {}
    left_out = set(but)
    waiting = list(children.get(pid, []))
    while waiting:
        process = waiting.pop()
        if process.pid in left_out:
            continue
        waiting += children.get(process.pid, [])
        with contextlib.suppress(psutil.NoSuchProcess):
            if process.status() != psutil.STATUS_ZOMBIE:
                found[process.pid] = process.name()
    return found


def with_parent(pid: int) -> set[int]:
    """A process and its parent, as far as they live."""
    with contextlib.suppress(psutil.NoSuchProcess):
        return {pid, psutil.Process(pid).ppid()}
    return set()


def reap_orphans(but: Iterable[int]) -> None:
    """Take the remains of adopted processes that have ended; those that somebody else waits for are left."""
    kept = set(but)
    for child in psutil.Process().children():
        with contextlib.suppress(psutil.NoSuchProcess, ChildProcessError):
            if child.pid not in kept and child.status() == psutil.STATUS_ZOMBIE:
                os.waitpid(child.pid, os.WNOHANG)


def send(pid: int, name: str, number: signal.Signals) -> bool:
    """Send a signal to a process if it has that name; whether it was sent."""
    try:
        pidfd = os.pidfd_open(pid)
    except ProcessLookupError:
        return False
    try:
        if process_name(pid) != name:
            return False
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(pidfd, number)
            return True
        return False
    finally:
        os.close(pidfd)


def runs(data_dir: Path) -> list[Run]:
    """All records of runs that can be read, in the order of their projects."""
    found = []
    for directory in sorted((data_dir / "run").iterdir()):
        if is_uuid(directory.name):
            with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
                found.append(_run(directory))
    return found


def _run(directory: Path) -> Run:
    """The first record of a run that can be read."""
    for name in RECORD_FILES:
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            record = json.loads((directory / name).read_bytes())
            pids = record["init"]["pid"], record["server"]["pid"]
            return Run(record["project_id"], record["epoch"], record["session_id"], *pids)
    raise ValueError(directory.name)


def mounts_of(data_dir: Path) -> list[str]:
    """The lines of this mount table that name the data directory."""
    return [line for line in Path("/proc/self/mountinfo").read_text().splitlines() if str(data_dir) in line]


def stray_groups(data_dir: Path, expected: Collection[int]) -> list[str]:
    """The control groups of this hub's engine that hold none of the expected processes, and not the spare ones.

    Source: The engine makes them below a directory with the name of its runtime directory, one for each run.
    """
    trees = _CGROUPS.glob(f"**/{tree_name(data_dir / 'run')}")
    groups = [group for tree in trees for group in tree.iterdir() if group.is_dir()]
    return [str(group) for group in groups if not _is_known(group, expected)]


def _is_known(group: Path, expected: Collection[int]) -> bool:
    try:
        pids = [int(pid) for pid in (group / "cgroup.procs").read_text().split()]
    except OSError:  # it has gone meanwhile
        return True
    return any(pid in expected or process_name(pid) in (SPARE, ZYGOTE, LAUNCHER) for pid in pids)
