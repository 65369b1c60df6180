"""A limit on the processes of a pid namespace: so many ids as there are in it. Linux 6.14 and newer.

It holds the projects of a hub that is not root and has no control groups. An rlimit would count all processes of the
hub's user, in all projects. Run as a program this tries it, and tells by its exit code.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Final

from projecthub.engines.local import kernel
from projecthub.interpreters import python_environment

_PID_MAX: Final = Path("/proc/sys/kernel/pid_max")
_LEAST: Final = 301
"""What the kernel keeps for itself, and one."""
_TIMEOUT_S: Final = 20


def are_offered() -> bool:
    """Whether this machine offers them to a user who is not root; takes some hundredths of a second."""
    trial = subprocess.run(
        [sys.executable, "-P", "-m", __name__],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd="/",
        env=python_environment(),
        timeout=_TIMEOUT_S,
        check=False,
    )
    return trial.returncode == 0


def limit(most: int) -> bool:
    """Limit the processes and threads of our own pid namespace, whose first process we are or descend from.

    Never as root: on an older kernel there is one such number, and it is the machine's.

    Args:
        most: How many; 301 at least.

    Returns:
        Whether it could be done.
    """
    try:
        _PID_MAX.write_text(str(max(most, _LEAST)))
    except OSError:
        return False
    return True


def _try() -> int:
    before = _PID_MAX.read_text()
    kernel.unshare(kernel.CLONE_NEWUSER | kernel.CLONE_NEWPID)
    child = os.fork()
    if child == 0:
        os._exit(0 if limit(_LEAST) else 1)
    _, status = os.waitpid(child, 0)
    return 0 if status == 0 and _PID_MAX.read_text() == before else 1


if __name__ == "__main__":
    sys.exit(1 if os.geteuid() == 0 else _try())
