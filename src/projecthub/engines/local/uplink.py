"""The way out of a project's own network: a process of slirp4netns for each project, on the hub's side.

It carries connections from inside to the world and answers questions for names; nothing comes in. It runs outside of
the project, and is held to the life of the project's init and of nobody else: init alone holds the *lifeline* open,
a named pipe whose other end the process watches. So it survives the hub's end, and never its project's.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import json
import os
import shutil
import signal
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from projecthub.engines.local import processes
from projecthub.engines.local.cgroups import Group
from projecthub.engines.local.launching import to_the_end
from projecthub.engines.local.processes import Process
from projecthub.engines.local.records import LIFELINE_FILE, NETWORK_FILE, UPLINK_FILE
from projecthub.engines.port import Network
from projecthub.errors import StartFailed

PROGRAM = "slirp4netns"
# As root, and with --enable-sandbox, slirp4netns takes all mounts off in a mount namespace of its own, but leaves them
# shared: where mounts are shared, as systemd has them, the machine loses its /sys/fs/cgroup, /dev/pts and /dev/shm.
_WITH_PRIVATE_MOUNTS = ("unshare", "--mount", "--propagation=private", "--")
_FAILED = "the project's network could not be connected"
_READY_TIMEOUT_S = 10.0
_NS_GET_USERNS = 0xB701
_MTU = 65520
_DEVICE = "tap0"
_SEARCHED = "/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin"


async def attach(directory: Path, init: Process, server: Process, group: Group) -> None:
    """Give a running project its way out, and wait until it is there.

    Args:
        directory: The project's runtime directory; what `end` needs is saved there.
        init: The project's first process, which holds the lifeline.
        server: A process in the project's network whose namespaces may be opened.
        group: The run's control group: what the uplink uses counts as the project's.

    Raises:
        StartFailed: It did not work; the text is for people.
    """
    with contextlib.ExitStack() as opened:
        lifeline, namespaces = _connected(opened, directory, init, server)
        (directory / NETWORK_FILE).write_text(_identity(namespaces[0]))
        process, _ = await _spawn(opened, lifeline, namespaces)
    if process is None:
        raise StartFailed(f"{_FAILED}: {PROGRAM} failed; run 'projecthub doctor'")
    _save(directory, process, group)


async def attach_again(directory: Path, init: Process, server: Process, group: Group) -> None:
    """The same for a project whose uplink has ended while its people's programs run.

    Raises:
        StartFailed: As `attach`; or the server is not in the network that it was started with: nothing else is
            ever given a way out.
    """
    with contextlib.ExitStack() as opened:
        lifeline, namespaces = _connected(opened, directory, init, server)
        try:
            known = (directory / NETWORK_FILE).read_text()
        except OSError as error:
            raise StartFailed(f"{_FAILED}: an older hub has started it; restart the project") from error
        if known != _identity(namespaces[0]):
            raise StartFailed(f"{_FAILED}: it is not in its own network any more; restart the project")
        # Saved as soon as it is there: if this hub is killed meanwhile, the next one knows of it.
        process, why = await _spawn(opened, lifeline, namespaces, lambda process: _save(directory, process, group))
    if process is None:
        raise StartFailed(f"{_FAILED}: {why}")


def _connected(
    opened: contextlib.ExitStack, directory: Path, init: Process, server: Process
) -> tuple[int, tuple[int, int | None]]:
    """The end of a project's lifeline, and its namespaces.

    Raises:
        StartFailed: There are none.
    """
    try:
        lifeline = _open(opened, directory / LIFELINE_FILE, os.O_RDONLY | os.O_NONBLOCK)
        namespaces = _open_namespaces(opened, server)
    except OSError as error:
        raise StartFailed(f"{_FAILED}: {error.strerror}") from error
    # Looked at after opening: so it is their namespaces, and init held the lifeline when we took our end of it.
    if not (processes.is_alive(init) and processes.is_alive(server)):
        raise StartFailed(f"{_FAILED}: the project has ended")
    return lifeline, namespaces


def _identity(namespace: int) -> str:
    """What no other namespace is called while this one lives."""
    status = os.fstat(namespace)
    return f"{status.st_dev}:{status.st_ino}"


def _save(directory: Path, process: Process, group: Group) -> None:
    group.add(process.pid)
    (directory / UPLINK_FILE).write_text(json.dumps(asdict(process)))


def is_wanted(directory: Path) -> bool:
    """Whether a project is to have a way out."""
    return (directory / LIFELINE_FILE).exists()


def saved(directory: Path) -> Process | None:
    """The uplink of a project; None if it has none, or nobody knows which."""
    try:
        return Process(**json.loads((directory / UPLINK_FILE).read_bytes()))
    except (OSError, TypeError, ValueError):
        return None


def is_missing(directory: Path) -> bool:
    """Whether a project is to have a way out that `attach` has not completed."""
    return is_wanted(directory) and not (directory / UPLINK_FILE).exists()


async def end(directory: Path) -> None:
    """Wait until the uplink of a project that has ended is gone; nothing if it had none."""
    process = saved(directory)
    if process is not None:
        await _end(process)


async def networks(trial_pid: int | None) -> tuple[frozenset[Network], str]:
    """What projects can be given on this machine, and why not more.

    Args:
        trial_pid: The process of `network.try_own`, which is used for the trial and killed; None: there is none.
    """
    trial = None if trial_pid is None else processes.identify(trial_pid)
    if trial is None:
        return frozenset({Network.HOST}), "no network namespaces for projects"
    try:
        why = await _try_out(trial)
    finally:
        processes.send(trial, signal.SIGKILL)
        await to_the_end(processes.end_of(trial))
    if why:
        return frozenset({Network.HOST, Network.NONE}), why
    return frozenset(Network), ""


async def _try_out(trial: Process) -> str:
    """Give a process a way out, and take it away again; why it does not work, or nothing."""
    with contextlib.ExitStack() as opened:
        try:
            namespaces = _open_namespaces(opened, trial)
        except OSError as error:
            return f"the namespaces of a project cannot be opened: {error.strerror}"
        lifeline, life = os.pipe()
        opened.callback(os.close, lifeline)
        opened.callback(os.close, life)
        process, why = await _spawn(opened, lifeline, namespaces)
        if process is not None:
            await to_the_end(_end(process))
        return why


def _open(opened: contextlib.ExitStack, path: Path, flags: int) -> int:
    fd = os.open(path, flags | os.O_CLOEXEC)
    opened.callback(os.close, fd)
    return fd


def _open_namespaces(opened: contextlib.ExitStack, process: Process) -> tuple[int, int | None]:
    """The network namespace of a process, and the user namespace that has to be entered first, if one has."""
    network = _open(opened, Path(f"/proc/{process.pid}/ns/net"), os.O_RDONLY)
    if os.geteuid() == 0:
        return network, None
    owner = fcntl.ioctl(network, _NS_GET_USERNS)  # not the process's own, which owns nothing
    opened.callback(os.close, owner)
    return network, owner


async def _spawn(
    opened: contextlib.ExitStack,
    lifeline: int,
    namespaces: tuple[int, int | None],
    begun: Callable[[Process], None] | None = None,
) -> tuple[Process | None, str]:
    """Start the program and wait until it has set up the network; the process, or None and why there is none.

    ``begun`` is told the process before that.
    """
    command = [*_WITH_PRIVATE_MOUNTS, PROGRAM] if namespaces[1] is None else [PROGRAM]
    first = shutil.which(command[0], path=_SEARCHED)
    if first is None or shutil.which(PROGRAM, path=_SEARCHED) is None:
        return None, f"{PROGRAM if first else command[0]} is not installed"
    ready, tell_ready = os.pipe()
    opened.callback(os.close, ready)
    complaints = os.memfd_create("complaints", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    opened.callback(os.close, complaints)
    try:
        command = [first, *command[1:], *_options(lifeline, tell_ready, namespaces)]
        pid = _start(command, (lifeline, tell_ready, *(fd for fd in namespaces if fd is not None)), complaints)
    finally:
        os.close(tell_ready)
    process = processes.identify(pid)
    is_up = False
    try:
        if begun is not None and process is not None:
            begun(process)
        is_up = await _read_byte(ready)
    finally:
        if not is_up:
            os.kill(pid, signal.SIGKILL)  # not reaped yet, so it is still that process
            await to_the_end(asyncio.to_thread(os.waitpid, pid, 0))
    # Whatever it has to say from here on, it cannot fill memory with it.
    fcntl.fcntl(complaints, fcntl.F_ADD_SEALS, fcntl.F_SEAL_WRITE)
    if is_up:
        return process, ""
    lines = os.pread(complaints, 4096, 0).decode(errors="replace").splitlines()
    # The first line that tells of no progress: those that follow are consequences.
    return None, next((line for line in lines if "tapfd=" not in line), f"{PROGRAM} does not come up")


async def _read_byte(fd: int) -> bool:
    """Whether a byte comes out of a pipe in time, before its end."""
    loop = asyncio.get_running_loop()
    readable = asyncio.Event()
    loop.add_reader(fd, readable.set)
    try:
        async with asyncio.timeout(_READY_TIMEOUT_S):
            await readable.wait()
    except TimeoutError:
        return False
    finally:
        loop.remove_reader(fd)
    return bool(os.read(fd, 1))


async def _end(process: Process) -> None:
    processes.send(process, signal.SIGKILL)
    await processes.end_of(process, reap=True)


def _options(lifeline: int, tell_ready: int, namespaces: tuple[int, int | None]) -> list[str]:
    network, user = namespaces
    options = [f"--exit-fd={lifeline}", f"--ready-fd={tell_ready}", "--configure", f"--mtu={_MTU}"]
    options += ["--disable-host-loopback", "--enable-seccomp", "--netns-type=path"]
    if user is None:
        options += ["--enable-sandbox"]  # an empty root, no capabilities; to make one needs a user 0
    else:
        options += [f"--userns-path=/proc/self/fd/{user}"]
    return [*options, f"/proc/self/fd/{network}", _DEVICE]


def _start(command: list[str], inherited: tuple[int, ...], complaints: int) -> int:
    """Start a program that outlives us, with some of our file descriptors."""
    # Not by subprocess, whose objects complain, and whose asyncio variant kills, when they go before the process does.
    for fd in inherited:
        os.set_inheritable(fd, True)
    try:
        return os.posix_spawn(
            command[0],
            command,
            {"PATH": _SEARCHED},
            file_actions=[
                (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                (os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0),
                (os.POSIX_SPAWN_DUP2, complaints, 2),
            ],
            setsid=True,
        )
    finally:
        for fd in inherited:
            os.set_inheritable(fd, False)
