"""Trying what this machine offers, for the engine's own choice and for the operator's report.

Nothing is concluded from versions or configuration: what matters is tried, in processes that end afterwards.
"""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from projecthub.engines.local import cgroups, kernel, landlock, sandbox, seccomp, uplink
from projecthub.engines.local.cgroups import Trees
from projecthub.engines.local.launching import Launching
from projecthub.engines.local.records import SKELETON
from projecthub.engines.port import Isolation, Network
from projecthub.errors import StartFailed
from projecthub.interpreters import not_runnable, python_environment

_TRIAL_TIMEOUT_S = 30.0
_STRANGER = 65534
_FICLONE = 0x40049409


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


@dataclass(frozen=True, slots=True)
class _Offered:
    """What a launcher finds when it starts; the defaults: without isolation.

    Attributes:
        networks: What projects can be given.
        why_not_more: Nothing if it is all.
        counts_processes: Whether an rlimit holds a project's processes.
    """

    networks: frozenset[Network] = frozenset({Network.HOST})
    why_not_more: str = "no isolation, so projects share the machine's network"
    counts_processes: bool = False


def best_isolation() -> Isolation:
    """The strongest isolation that works for this user on this machine. Takes about 0.2 s."""
    return Isolation.NONE if _try_sandbox() is not None else _isolation_of_user()


def checks(directory: Path) -> list[Check]:
    """Everything that an operator may want to know of this machine.

    Args:
        directory: Where project homes are kept; it is tried with two small files.
    """
    failure = _try_sandbox()
    offered = _Offered() if failure is not None else asyncio.run(_offered(_isolation_of_user()))
    return [
        _check_sandbox(failure),
        _check_network(offered),
        *_check_limits(offered),
        _check_landlock(),
        _check_seccomp(),
        _check_reflink(directory),
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
        try:
            trial = subprocess.run(
                [sys.executable, "-P", "-m", __name__, scratch],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                cwd="/",
                env=python_environment(),
                timeout=_TRIAL_TIMEOUT_S,
                check=False,
            )
        except OSError as error:
            return not_runnable(error)
        except subprocess.TimeoutExpired:
            return f"the trial has not ended within {_TRIAL_TIMEOUT_S:.0f} seconds"
    try:
        answer = json.loads(trial.stdout)
    except ValueError:
        return f"the trial ended with {trial.returncode}"
    return None if answer is None else str(answer)


def _check_sandbox(failure: str | None) -> Check:
    isolation = _isolation_of_user()
    return Check(
        "sandbox",
        failure is None,
        f"isolation '{isolation}' works" if failure is None else failure,
        "run the hub as root, or allow unprivileged user namespaces (sysctl user.max_user_namespaces, "
        "kernel.unprivileged_userns_clone, kernel.apparmor_restrict_unprivileged_userns)",
    )


def control_groups() -> dict[str, int | None]:
    """By control groups of which version an engine would limit what; None: by none. Nothing of them is left."""
    with tempfile.TemporaryDirectory() as stands_for_a_hub:
        trees = cgroups.find(Path(stands_for_a_hub))
        versions = {
            purpose: trees.version(purpose) for purpose in ("memory", "cpu", "processes")
        }  # while they are there
        trees.remove()
    return versions


def _check_limits(offered: _Offered) -> list[Check]:
    """What holds projects to their limits, each as an engine would choose it."""
    versions = control_groups()
    remedy = "run the hub as root, or lend it control groups, as the unit file does; as long as there are none, "
    instead = {
        "memory": "each process is limited on its own, by an rlimit",
        "cpu": "nothing keeps a project from using all processors",
        "processes": "only kernels from 5.14 on, and isolation, keep a project from using up all processes",
    }
    checks = []
    for purpose, what in instead.items():
        version = versions[purpose]
        detail = "no control group" if version is None else f"control group, version {version}"
        is_held = version is not None
        if purpose == "processes" and not is_held and offered.counts_processes:
            is_held, detail = True, "an rlimit"
        checks.append(Check(f"limit of {purpose}", is_held, detail, remedy + what))
    return checks


def _check_network(offered: _Offered) -> Check:
    """Whether projects can have networks of their own, with a way out."""
    names = ", ".join(f"'{each}'" for each in Network if each in offered.networks)
    remedy = "install slirp4netns"
    if Network.NONE not in offered.networks:
        remedy = (
            "allow network namespaces: with the machine's network a project reaches the machine's loopback services"
        )
    elif "/dev/net/tun" in offered.why_not_more:
        remedy = "let the hub's user open /dev/net/tun: chmod 0666, as nearly all distributions have it"
    detail = f"{names}; {offered.why_not_more}" if offered.why_not_more else names
    return Check("network", len(offered.networks) == len(Network), detail, remedy)


async def _offered(isolation: Isolation) -> _Offered:
    with tempfile.TemporaryDirectory() as scratch:
        Path(scratch, SKELETON).mkdir()
        launcher = await Launching.begin(
            isolation=isolation, network=Network.HOST, trees=Trees(), runtime_dir=Path(scratch), hidden=[]
        )
        try:
            return _Offered(*await uplink.networks(launcher.trial_pid), launcher.counts_processes)
        finally:
            await launcher.close()


def _check_landlock() -> Check:
    abi = kernel.landlock_abi()
    detail = f"ABI {abi}" + ("" if landlock.has_scopes() or not abi else ", which does not know abstract sockets")
    remedy = "a second layer only: a kernel from 5.19 on offers what is used of it, one from 6.12 on all of it"
    return Check("Landlock", landlock.is_offered(), detail, remedy)


def _check_seccomp() -> Check:
    offered = seccomp.is_offered()
    remedy = "a second layer only: offered on x86_64 and aarch64, by kernels with CONFIG_SECCOMP_FILTER"
    return Check("seccomp filters", offered, "offered" if offered else "not offered", remedy)


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
    isolation = _isolation_of_user()
    uid = _STRANGER if isolation is Isolation.FULL else None
    sandbox.prepare(isolation, scratch / "skeleton", [])
    try:
        kernel.unshare(sandbox.PROJECT_NAMESPACES)
    except OSError as error:
        raise StartFailed(f"namespaces: {error.strerror}") from error
    told, tell = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            sandbox.prepare_project(str(scratch / "skeleton"), sandbox.covered_trees(), [], own_network=False)
            root, home = str(scratch / "skeleton"), str(scratch / "home")
            sandbox.enter(root=root, home=home, uid=uid, user="trial", resolver="")
            if isolation is Isolation.USER:
                sandbox.enter_own_user_namespace()
            sandbox.drop_privileges(uid)
            sandbox.add_second_layers()
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
