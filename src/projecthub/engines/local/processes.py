"""What /proc tells about processes: who they are, whose children, what they use.

A pid alone names nobody for long, since the kernel gives it away again. Together with the start time it does, until
the machine is booted anew.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from projecthub.engines.port import Activity
from projecthub.errors import EndFailed

_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
GONE = (FileNotFoundError, ProcessLookupError)


@dataclass(frozen=True, slots=True)
class Process:
    """A process of this machine.

    Attributes:
        pid: Its id.
        started: When it was started, in clock ticks since the boot.
    """

    pid: int
    started: int


@dataclass(frozen=True, slots=True)
class Stat:
    """The fields of /proc/PID/stat that are used here."""

    state: str
    parent: int
    started: int
    cpu_s: float
    leads_terminal: bool


def read(path: str) -> bytes:
    """The content of a file of /proc."""
    with open(path, "rb", buffering=0) as file:  # much is read here, and a Path and a buffer take twice the time
        return file.read()


def read_stat(pid: int) -> Stat | None:
    """The state of a process; None if there is none of that id."""
    try:
        data = read(f"/proc/{pid}/stat")
    except GONE:
        return None
    # The command's name stands in parentheses and may hold anything, parentheses too.
    fields = data[data.rindex(b")") + 2 :].split()
    cpu_ticks = sum(int(field) for field in fields[11:15])
    leads_terminal = int(fields[3]) == pid and int(fields[4]) != 0
    return Stat(fields[0].decode(), int(fields[1]), int(fields[19]), cpu_ticks / _TICKS_PER_S, leads_terminal)


@cache
def boot_id() -> str:
    """A uuid that the kernel makes at every boot."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def identify(pid: int) -> Process | None:
    """The process of an id; None if there is none, or only the remains of one that has ended."""
    stat = read_stat(pid)
    return Process(pid, stat.started) if stat is not None and stat.state not in "ZX" else None


def is_alive(process: Process) -> bool:
    """Whether that very process still runs."""
    return identify(process.pid) == process


def open_pidfd(process: Process) -> int | None:
    """A file descriptor of that very process, readable once it has ended; None if it has already."""
    try:
        pidfd = os.pidfd_open(process.pid)
    except ProcessLookupError:
        return None
    # Looked at after opening: from here on the descriptor and the start time speak of the same process.
    if is_alive(process):
        return pidfd
    os.close(pidfd)
    return None


def find_above(pid: int, name: str) -> Process | None:
    """The process of a name that is this one or the parent of it; None if there is none."""
    stat = read_stat(pid)
    for each in (pid, stat.parent if stat is not None else 0):
        with contextlib.suppress(*GONE):
            if Path(f"/proc/{each}/comm").read_text().rstrip("\n") == name:
                return identify(each)
    return None


def descendants(pid: int) -> list[int]:
    """All processes below one, without itself."""
    listed = _children_listed(pid)
    if listed is None:
        return _descendants_searched(pid)
    for each in listed:
        listed += _children_listed(each) or []
    return listed


def _children_listed(pid: int) -> list[int] | None:
    """The children of a process as /proc lists them; None where the kernel keeps no such list."""
    found: list[int] = []
    try:
        for task in Path(f"/proc/{pid}/task").iterdir():
            found += map(int, (task / "children").read_bytes().split())
    except GONE:
        return None if Path(f"/proc/{pid}").exists() else found
    return found


def _descendants_searched(pid: int) -> list[int]:
    """The same by one look at all processes of the machine."""
    children: dict[int, list[int]] = defaultdict(list)
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and (stat := read_stat(int(entry.name))) is not None:
            children[stat.parent].append(int(entry.name))
    found = list(children[pid])
    for each in found:
        found += children[each]
    return found


def send(process: Process, number: int) -> None:
    """Send a signal to that very process; nothing if it has ended.

    Raises:
        EndFailed: It is not ours to signal.
    """
    pidfd = open_pidfd(process)
    if pidfd is not None:
        try:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(pidfd, number)
        except PermissionError as error:
            raise EndFailed(
                "the project's processes are not this hub's to end: a hub of another user, or in another user "
                "namespace, has started them; its operator has to end them as that user, or to restart the machine"
            ) from error
        finally:
            os.close(pidfd)


def kill_tree(pid: int) -> list[Process]:
    """Kill a process and all below it; which ones they are.

    Raises:
        EndFailed: Some are not ours to kill; all others are killed.
    """
    found = [process for each in (pid, *descendants(pid)) if (process := identify(each)) is not None]
    failure: EndFailed | None = None
    for process in found:
        try:
            send(process, signal.SIGKILL)
        except EndFailed as error:
            failure = error
    if failure is not None:
        raise failure
    return found


async def end_of(process: Process, *, reap: bool = False) -> None:
    """Wait until that very process has ended, and take its remains if it was our child and ``reap`` is set."""
    pidfd = open_pidfd(process)
    if pidfd is not None:
        loop = asyncio.get_running_loop()
        ended = asyncio.Event()
        loop.add_reader(pidfd, ended.set)
        try:
            await ended.wait()
        finally:
            loop.remove_reader(pidfd)
            os.close(pidfd)
    if reap:
        _reap(process)


def _reap(process: Process) -> None:
    stat = read_stat(process.pid)
    if stat is not None and stat.started == process.started:
        with contextlib.suppress(ChildProcessError):
            os.waitpid(process.pid, os.WNOHANG)


def tree_of(pid: int) -> list[int]:
    """A process and all below it."""
    return [pid, *descendants(pid)]


def activity_of(pids: Iterable[int], *, own: tuple[int, int]) -> Activity:
    """What shows that a project is in use, from its processes; its init and server, ``own``, do not count as such."""
    count, terminals, cpu_s = 0, 0, 0.0
    for each in pids:
        stat = read_stat(each)
        if stat is None or stat.state in "ZX":
            continue
        cpu_s += stat.cpu_s
        count += each not in own
        terminals += stat.leads_terminal
    return Activity(cpu_s=cpu_s, terminals=terminals, processes=count)
