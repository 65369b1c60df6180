"""What the processes of a run use together.

The kernel tells exactly what a process holds (``smaps_rollup``) by walking through all its pages, once for each process
that has them mapped: 900 processes that share 230 MB take a second. So that is for runs of usual size; of others the
control group tells what its processes hold, at the cost of one file.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable
from dataclasses import replace
from typing import Final

from projecthub.engines.local import processes
from projecthub.engines.local.cgroups import Group
from projecthub.engines.local.records import Record
from projecthub.engines.port import Activity, Usage

_PAGE_BYTES: Final = os.sysconf("SC_PAGE_SIZE")
_MOST_WALKED: Final = 64
_MOST_WALKED_BYTES: Final = 4 * 2**30
"""How many processes, and how much mapped memory of theirs, are walked through: some 20 ms."""


def usage_of_run(record: Record) -> Usage:
    """What a run uses."""
    group, pids = _processes_of(record)
    usage = usage_of(pids, group)
    return replace(usage, oom_kills=group.oom_kills(), cpu_s=group.cpu_s() or usage.cpu_s)


def activity_of_run(record: Record) -> Activity:
    """What shows that a run is in use."""
    group, pids = _processes_of(record)
    activity = processes.activity_of(pids, own=(record.init.pid, record.server.pid))
    return replace(activity, cpu_s=group.cpu_s() or activity.cpu_s, oom_kills=group.oom_kills())


def _processes_of(record: Record) -> tuple[Group, list[int]]:
    """The control group of a run, and its processes: those of the group, or where there is none, of the tree."""
    group = Group(record.groups)
    return group, group.pids(everywhere=False) or processes.tree_of(record.init.pid)


def usage_of(pids: Iterable[int], group: Group | None = None) -> Usage:
    """What processes use together. Those that end meanwhile count nothing.

    Args:
        pids: The processes.
        group: Their control group, which is asked where there is too much to walk through.
    """
    cpu_s, living = 0.0, {}
    for each in pids:
        stat = processes.read_stat(each)
        if stat is None or stat.state in "ZX":
            continue
        with contextlib.suppress(*processes.GONE):
            living[each] = _read_statm(each)
            cpu_s += stat.cpu_s
    rss = sum(resident for resident, _ in living.values())
    is_usual = len(living) <= _MOST_WALKED and rss <= _MOST_WALKED_BYTES
    sizes = _walked(living) if is_usual else _estimated(living, group)
    return Usage(processes=len(living), cpu_s=cpu_s, **sizes)


def _walked(living: dict[int, tuple[int, int]]) -> dict[str, int]:
    """The exact sizes, process by process."""
    sizes = dict.fromkeys(("rss", "pss", "uss", "swap"), 0)
    for pid, statm in living.items():
        with contextlib.suppress(*processes.GONE):
            for name, size in _read_sizes(pid, statm).items():
                sizes[name] += size
    return sizes


def _estimated(living: dict[int, tuple[int, int]], group: Group | None) -> dict[str, int]:
    """The sizes as the group counts them: each page once, those of the system's files not at all; else by `statm`."""
    rss = sum(resident for resident, _ in living.values())
    held = None if group is None else group.memory_held()
    if held is not None:
        return {"rss": rss, "pss": min(held.anonymous + held.mapped, rss), "uss": held.anonymous, "swap": held.swap}
    own = sum(resident - shared for resident, shared in living.values())
    most_shared = max((shared for _, shared in living.values()), default=0)
    return {"rss": rss, "pss": min(own + most_shared, rss), "uss": own, "swap": 0}


def _read_statm(pid: int) -> tuple[int, int]:
    """How much a process holds, and how much of that is shared or of files, in bytes; the kernel keeps count."""
    fields = processes.read(f"/proc/{pid}/statm").split()
    return int(fields[1]) * _PAGE_BYTES, int(fields[2]) * _PAGE_BYTES


def _read_sizes(pid: int, statm: tuple[int, int]) -> dict[str, int]:
    try:
        lines = processes.read(f"/proc/{pid}/smaps_rollup").decode().splitlines()[1:]
    except PermissionError:
        # A process that may not be looked into still tells how much it holds, and how much of that is shared.
        resident, shared = statm
        return {"rss": resident, "pss": resident - shared, "uss": resident - shared, "swap": 0}
    kilobytes = {name: int(rest.split()[0]) for name, _, rest in (line.partition(":") for line in lines)}
    return {
        "rss": kilobytes["Rss"] * 1024,
        "pss": kilobytes["Pss"] * 1024,
        "uss": (kilobytes["Private_Clean"] + kilobytes["Private_Dirty"]) * 1024,
        "swap": kilobytes["Swap"] * 1024,
    }
