"""What all projects of a machine share, whatever their own limits are: tables of the kernel that nobody divides.

One project, or a few together, can use such a table up; then the others, and the hub, get nothing more of it. What can
be read is compared with what projects may ask for.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Final

from projecthub.engines.local.probe import Check
from projecthub.engines.local.sandbox import MAX_OPEN_FILES

_FULL_PROJECTS: Final = 64
"""How many projects at their limit a machine should have processes for."""
_SYSCTL: Final = Path("/proc/sys")


def checks(
    processes: int, memory_version: int | None, *, sysctl: Path = _SYSCTL, is_root: bool | None = None
) -> list[Check]:
    """The tables that projects share.

    Args:
        processes: How many processes and threads a project may have.
        memory_version: Of the control groups that limit memory; None: there are none.
        sysctl: Where the kernel's settings are read.
        is_root: Whether each project has a user id of its own; None: as this process is root or not.
    """
    found = [_of_processes(processes, sysctl), _of_files(processes, sysctl)]
    if memory_version == 1:
        found.append(_of_udp(sysctl))
    if not (os.geteuid() == 0 if is_root is None else is_root):
        found.append(_of_users(sysctl))
    return found


def _read(sysctl: Path, name: str) -> int:
    """One of the kernel's settings; without a bound where there is none to be read."""
    try:
        return int((sysctl / name.replace(".", "/")).read_text().split()[-1])
    except (OSError, ValueError, IndexError):
        return sys.maxsize


def _of_processes(processes: int, sysctl: Path) -> Check:
    most = min(_read(sysctl, "kernel.pid_max"), _read(sysctl, "kernel.threads-max"))
    wanted = _FULL_PROJECTS * processes
    full = most // processes
    return Check(
        "machine's processes",
        most >= wanted,
        f"{most} for all: {full} projects of {processes} use them up",
        f"sysctl kernel.pid_max and kernel.threads-max: {wanted} or more, or a lower setting processes",
    )


def _of_files(processes: int, sysctl: Path) -> Check:
    most, wanted = _read(sysctl, "fs.file-max"), processes * MAX_OPEN_FILES
    return Check(
        "machine's open files",
        most >= wanted,
        f"{'without bound' if most >= 2**62 else most} for all; a project may open {wanted} as far as its memory goes",
        f"sysctl fs.file-max: {wanted} or more: else one project can use them up",
    )


def _of_udp(sysctl: Path) -> Check:
    pages = _read(sysctl, "net.ipv4.udp_mem")
    return Check(
        "machine's UDP buffers",
        False,
        f"{pages * os.sysconf('SC_PAGE_SIZE') // 1_000_000} MB for all, and beside the memory limits of projects",
        "control groups of version 2 count them; else lower sysctl net.ipv4.udp_mem",
    )


def _of_users(sysctl: Path) -> Check:
    watches, instances = _read(sysctl, "fs.epoll.max_user_watches"), _read(sysctl, "fs.inotify.max_user_instances")
    return Check(
        "tables of the user",
        False,
        f"the hub and all projects are one user to the machine, and share {watches} epoll watches, {instances} inotify "
        "instances, pipe buffers and descriptors in flight",
        "where people do not trust one another run the hub as root, or give its user subordinate ids "
        "(docs/operating.md): any project can use up the hub's share",
    )
