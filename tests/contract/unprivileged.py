"""Runs pytest as a user of no privileges, even if Python and the tests lie where only root may go.

Usage (as root): python unprivileged.py PYTEST_ARGUMENTS
"""

from __future__ import annotations

import os
import stat
import sys
import tempfile
from pathlib import Path

from projecthub.engines.local import kernel, probe
from projecthub.engines.port import Isolation

USER = 65534
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


def main() -> None:
    open_the_way({sys.prefix, sys.base_prefix, str(PROJECT)})
    open_tun()
    os.umask(0o022)
    os.setgroups([])
    os.setresgid(USER, USER, USER)
    os.setresuid(USER, USER, USER)
    os.chdir(PROJECT)
    os.environ |= {"PYTHONDONTWRITEBYTECODE": "1", "HOME": "/", "PYTHONPATH": str(PROJECT / "src")}
    if probe.best_isolation() is not Isolation.USER:
        print("no user namespaces", flush=True)
    with tempfile.TemporaryDirectory() as scratch:
        options = ["-p", "no:cacheprovider", f"--basetemp={scratch}/pytest", "-q"]
        command = [sys.executable, "-m", "pytest", *options, *sys.argv[1:]]
        sys.exit(os.spawnv(os.P_WAIT, sys.executable, command))


if __name__ == "__main__":
    main()
