"""What the system tells of the processes of a job: its session, and what left that and still bears the job's mark."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from projecthub.wire.jobs import MARKER

_PROC = Path("/proc")
_TICK_S = 1 / os.sysconf("SC_CLK_TCK")
_PAGE_BYTES = os.sysconf("SC_PAGESIZE")
_SESSION, _UTIME, _CSTIME_END, _RSS = 3, 11, 15, 21
_ROUNDS = 10


class Used(NamedTuple):
    """What the processes of a session use together: processor time in seconds, resident memory in bytes."""

    cpu_s: float
    rss_bytes: int


def used_by_sessions(wanted: Iterable[int]) -> dict[int, Used]:
    """What sessions use, by their ids; one look at all processes, however many are wanted."""
    sums = dict.fromkeys(wanted, (0, 0))
    for pid in _pids():
        try:
            # The name in front may hold anything, blanks and brackets too.
            fields = (_PROC / str(pid) / "stat").read_bytes().rpartition(b")")[2].split()
        except OSError:
            continue
        if (session := int(fields[_SESSION])) in sums:
            ticks, pages = sums[session]
            ticks += sum(int(field) for field in fields[_UTIME:_CSTIME_END])
            sums[session] = ticks, pages + int(fields[_RSS])
    return {session: Used(ticks * _TICK_S, pages * _PAGE_BYTES) for session, (ticks, pages) in sums.items()}


def signal_group(group: int, number: int) -> None:
    """Send a signal to a process group; nobody there is fine."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)


def kill_all(group: int, job_id: str) -> None:
    """Kill a job: its process group, and whatever else bears its mark, such as daemons that made their own session.

    What has wiped its own environment is not found.
    """
    signal_group(group, signal.SIGKILL)
    mark = f"{MARKER}={job_id}".encode()
    killed: set[int] = set()
    for _ in range(_ROUNDS):  # whoever forks meanwhile is found in the next round
        found = {pid for pid in _pids() if pid not in killed and _bears(pid, mark)}
        if not found:
            return
        for pid in found:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        killed |= found


def _bears(pid: int, mark: bytes) -> bool:
    try:
        return mark in (_PROC / str(pid) / "environ").read_bytes().split(b"\0")
    except OSError:
        return False


def _pids() -> Iterator[int]:
    return (int(name) for name in os.listdir(_PROC) if name.isdigit())  # noqa: PTH208 - names alone, in a hurry
