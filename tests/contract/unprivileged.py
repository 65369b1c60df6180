"""Runs pytest as a user of no privileges, even if Python and the tests lie where only root may go.

Usage (as root): python unprivileged.py [--with-ids] PYTEST_ARGUMENTS

With ``--with-ids`` that user is root in a user namespace, into which other ids are mapped, as newuidmap maps those of
/etc/subuid.
"""

from __future__ import annotations

import contextlib
import os
import stat
import sys
import tempfile
from pathlib import Path

from projecthub.engines.local import kernel, probe, user_namespaces
from projecthub.engines.port import Isolation
from projecthub.errors import StartFailed

USER = 65534
OTHER_IDS = range(3_000_000, 3_065_535)
PROJECT = Path(__file__).resolve().parents[2]


def closed_parent(path: str) -> str | None:
    """The outermost directory above a path that others may not enter."""
    for parent in reversed(Path(path).parents):
        if not parent.stat().st_mode & 0o001:
            return str(parent)
    return None


def open_the_way(paths: set[str]) -> None:
    """Show paths at their places in a file system of their own, where their parents are open to all."""
    kernel.unshare(kernel.CLONE_NEWNS)
    kernel.mount("none", "/", None, kernel.MS_REC | kernel.MS_PRIVATE)
    closed = {path: parent for path in paths if (parent := closed_parent(path)) is not None}
    opened = {path: os.open(path, os.O_PATH) for path in closed}
    for parent in set(closed.values()):
        kernel.mount("open", parent, "tmpfs", 0, "mode=0755")
    for path, fd in opened.items():
        Path(path).mkdir(parents=True, exist_ok=True)
        kernel.mount(f"/proc/self/fd/{fd}", path, None, kernel.MS_BIND | kernel.MS_REC)


def open_tun() -> None:
    """Let everybody open the device of virtual networks, as nearly all machines do."""
    if not Path("/dev/net/tun").exists():
        return
    kernel.mount("open", "/dev/net", "tmpfs", 0, "mode=0755")
    os.umask(0)
    os.mknod("/dev/net/tun", 0o666 | stat.S_IFCHR, os.makedev(10, 200))


def become(user: int) -> None:
    os.setgroups([])
    os.setresgid(user, user, user)
    os.setresuid(user, user, user)


def become_root_of_ids() -> None:
    """From root to a user who is root in a user namespace of his, where he has other ids besides."""

    def write_maps(pid: int) -> None:
        for name in ("uid_map", "gid_map"):
            Path(f"/proc/{pid}/{name}").write_text(f"0 {USER} 1\n1 {OTHER_IDS.start} {len(OTHER_IDS)}\n")

    with user_namespaces.mapped_by_helper(write_maps) as go:
        become(USER)
        kernel.unshare(kernel.CLONE_NEWUSER)
        go()
    become(0)


def main() -> None:
    arguments = sys.argv[1:]
    isolation = Isolation.USER
    open_the_way({sys.prefix, sys.base_prefix, str(PROJECT)})
    open_tun()
    os.umask(0o022)
    os.chdir(PROJECT)
    os.environ |= {"PYTHONDONTWRITEBYTECODE": "1", "HOME": "/", "PYTHONPATH": str(PROJECT / "src")}
    if arguments[0] == "--with-ids":
        del arguments[0]
        isolation = Isolation.FULL
        with contextlib.suppress(OSError, StartFailed):
            become_root_of_ids()
    else:
        become(USER)
    if probe.best_isolation() is not isolation:
        print("no user namespaces", flush=True)
    with tempfile.TemporaryDirectory() as scratch:
        options = ["-p", "no:cacheprovider", f"--basetemp={scratch}/pytest", "-q"]
        command = [sys.executable, "-m", "pytest", *options, *arguments]
        sys.exit(os.spawnv(os.P_WAIT, sys.executable, command))


if __name__ == "__main__":
    main()
