"""Trying what this machine offers, for the engine's own choice and for the operator's report.

Nothing is concluded from versions or configuration: what matters is tried, in processes that end afterwards.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from projecthub.engines.local import kernel, sandbox
from projecthub.engines.local.launching import python_environment
from projecthub.engines.port import Isolation
from projecthub.errors import StartFailed

_TRIAL_TIMEOUT_S = 30.0
_STRANGER = 65534
_FICLONE = 0x40049409
_CGROUPS = Path("/sys/fs/cgroup")


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was tried.

    Attributes:
        name: What.
        ok: Whether it works.
        detail: What was seen.
        remedy: What the operator can do if it does not work, or what is used instead.
    """

    name: str
    ok: bool
    detail: str
    remedy: str


def best_isolation() -> Isolation:
    """The strongest isolation that works for this user on this machine. Takes about 0.2 s."""
    return Isolation.NONE if _try_sandbox() is not None else _isolation_of_user()


def checks(directory: Path) -> list[Check]:
    """Everything that an operator may want to know of this machine.

    Args:
        directory: Where project homes are kept; it is tried with two small files.
    """
    return [
        _check_sandbox(),
        *(_check_controller(name) for name in ("memory", "pids", "cpu")),
        _check_landlock(),
        _check_seccomp(),
        _check_reflink(directory),
        _check_disk_quotas(),
        _check_pidfd(),
        _check_children(),
    ]


def _isolation_of_user() -> Isolation:
    return Isolation.FULL if os.geteuid() == 0 else Isolation.USER


def _try_sandbox() -> str | None:
    """Build a sandbox and go in, in a process of its own; why it does not work, or None."""
    # Made and removed out here: inside, the whole system is mounted below it.
    with tempfile.TemporaryDirectory() as scratch:
        for name in ("home", "skeleton"):
            Path(scratch, name).mkdir()
        if os.geteuid() == 0:
            try:
                os.chown(Path(scratch, "home"), _STRANGER, _STRANGER)
            except OSError as error:
                return f"no user ids for projects in this user namespace: {error.strerror}"
        trial = subprocess.run(
            [sys.executable, "-P", "-m", __name__, scratch],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            cwd="/",
            env=python_environment(),
            timeout=_TRIAL_TIMEOUT_S,
            check=False,
        )
    try:
        answer = json.loads(trial.stdout)
    except ValueError:
        return f"the trial ended with {trial.returncode}"
    return None if answer is None else str(answer)


def _check_sandbox() -> Check:
    failure = _try_sandbox()
    isolation = _isolation_of_user()
    return Check(
        "sandbox",
        failure is None,
        f"isolation '{isolation}' works" if failure is None else failure,
        "run the hub as root, or allow unprivileged user namespaces (sysctl user.max_user_namespaces, "
        "kernel.unprivileged_userns_clone, kernel.apparmor_restrict_unprivileged_userns)",
    )


def _check_controller(name: str) -> Check:
    """Whether the groups that limit a resource can be made below our own, in either version of the interface."""
    remedy = "limits of projects are to come, and will need it: run the hub as root, or delegate a cgroup to it"
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        number, controllers, path = line.split(":", 2)
        if number == "0":
            for mount in (_CGROUPS, _CGROUPS / "unified"):
                group = mount / path.lstrip("/")
                with contextlib.suppress(OSError):
                    if name in (group / "cgroup.controllers").read_text().split():
                        return Check(f"cgroup {name}", os.access(group, os.W_OK), "version 2, not used yet", remedy)
        elif name in controllers.split(","):
            group = _CGROUPS / controllers / path.lstrip("/")
            return Check(f"cgroup {name}", os.access(group, os.W_OK), "version 1, not used yet", remedy)
    return Check(f"cgroup {name}", False, "no controller", remedy)


def _check_landlock() -> Check:
    abi = kernel.landlock_abi()
    return Check(
        "Landlock",
        abi > 0,
        f"ABI {abi}, not used yet",
        "a second layer that is to come: a kernel from 5.13 on offers it",
    )


def _check_seccomp() -> Check:
    offered = Path("/proc/sys/kernel/seccomp/actions_avail").exists()
    return Check("seccomp filters", offered, "offered" if offered else "not offered", "a second layer only")


def _check_reflink(directory: Path) -> Check:
    remedy = "copies take time and space: keep homes on btrfs, or on xfs with reflink=1"
    try:
        with tempfile.TemporaryFile(dir=directory) as source, tempfile.TemporaryFile(dir=directory) as target:
            source.write(b"x")
            source.flush()
            fcntl.ioctl(target.fileno(), _FICLONE, source.fileno())
    except OSError as error:
        return Check("reflinks", False, str(error.strerror), remedy)
    return Check("reflinks", True, "files are copied without copying", remedy)


def _check_disk_quotas() -> Check:
    return Check(
        "exact disk quotas",
        False,
        "quotas of the kernel are not used: homes are measured, and copies and new projects held to their quota",
        "no harm, but what projects write themselves is only told by 'projects status': watch the disk's free space",
    )


def _check_pidfd() -> Check:
    remedy = "required: a kernel from 5.3 on, and no filter that refuses pidfd_open"
    try:
        os.close(os.pidfd_open(os.getpid()))
    except OSError as error:
        return Check("pidfd", False, str(error.strerror), remedy)
    return Check("pidfd", True, "offered", remedy)


def _check_children() -> Check:
    offered = Path(f"/proc/self/task/{os.getpid()}/children").exists()
    detail = "offered" if offered else "not offered: processes are found by one look at all of them"
    return Check("list of children in /proc", offered, detail, "no harm; a kernel with CONFIG_PROC_CHILDREN is faster")


def _trial(scratch: Path) -> None:
    """Build a sandbox and go in with a child. Leaves this process of no further use.

    Raises:
        StartFailed: It does not work.
    """
    uid = _STRANGER if os.geteuid() == 0 else None
    sandbox.prepare(_isolation_of_user(), scratch / "skeleton", [])
    sandbox.enter_namespaces()
    told, tell = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            sandbox.prepare_project(str(scratch / "skeleton"), sandbox.covered_trees(), [])
            sandbox.enter(root=str(scratch / "skeleton"), home=str(scratch / "home"), uid=uid, user="trial")
            sandbox.drop_privileges(uid)
        except StartFailed as error:
            os.write(tell, error.message.encode())
        finally:
            os._exit(0)
    os.close(tell)
    os.waitpid(child, 0)
    if failure := os.read(told, 4096):
        raise StartFailed(failure.decode())


def main() -> None:
    """Try the sandbox in the directory that is the only argument, and write the result as JSON."""
    failure = None
    try:
        _trial(Path(sys.argv[1]))
    except StartFailed as error:
        failure = error.message
    sys.stdout.write(json.dumps(failure))


if __name__ == "__main__":
    main()
