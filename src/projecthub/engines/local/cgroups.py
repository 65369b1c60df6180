"""Control groups: what holds a project to its limits, counts what it uses, and finds every process of it.

The kernel has them in two versions, and a machine may have both: version 2 is one tree, version 1 has one for each
resource. What is used is chosen for each resource, by trying. Version 2 is used for finding and killing processes even
where it holds no resource.

Every run of a project has a group of its own in each tree in use, below one that bears the name of this engine's
runtime directory, so that two hubs on one machine never touch each other's. A project cannot write its groups: they
belong to the hub's user, and are not to be seen in its sandbox. Without isolation it can.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import signal
import time
import uuid
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Final

from projecthub.engines.port import Limits

_PERIOD_US: Final = 100_000
_LEAST_QUOTA_US: Final = 1000
_OWN_LEAVES: Final = ("projecthub-hub", "hub")
"""Names of a group that is there for the hub alone: ours, and one to give to systemd (`DelegateSubgroup=`)."""
_FIRST_LOOK_S: Final = 0.0003
_LOOK_S: Final = 0.005
_KILL_TIMEOUT_S: Final = 10.0

_CONTROLLERS: Final = {"memory": "memory", "cpu": "cpu", "processes": "pids", "account": "cpuacct"}
_LIMITED: Final = ("memory", "cpu", "processes")
_WITHOUT_CONTROLLERS: Final = frozenset({"track", "account"})
"""What every group of version 2 does."""

# The files that are written, by version: for memory the second keeps swap from being used on top.
_MEMORY: Final = {1: ("memory.limit_in_bytes", "memory.memsw.limit_in_bytes"), 2: ("memory.max", "memory.swap.max")}
_SOCKETS: Final = "memory.kmem.tcp.limit_in_bytes"
_CPU: Final = {1: "cpu.cfs_quota_us", 2: "cpu.max"}
_UNLIMITED_BYTES: Final = {1: "-1", 2: "max"}


@dataclass(frozen=True, slots=True)
class Mount:
    """A tree of groups, as it is mounted here.

    Attributes:
        version: 1 or 2.
        controllers: The resources that can be limited in it.
        top: Where it is mounted.
        own: The directory of our own group, at or below `top`; None if it lies elsewhere.
    """

    version: int
    controllers: frozenset[str]
    top: Path
    own: Path | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Trees:
    """For each purpose the directory below which the groups of runs are made; None: not to be had.

    Attributes:
        memory: Limits memory.
        cpu: Limits processor time.
        processes: Limits the number of processes.
        account: Counts processor time.
        track: Knows the processes, and kills them all at once: version 2.
    """

    memory: str | None = None
    cpu: str | None = None
    processes: str | None = None
    account: str | None = None
    track: str | None = None

    def version(self, purpose: str) -> int | None:
        """Which version serves a purpose: 1, 2, or none at all."""
        directory = getattr(self, purpose)
        return None if directory is None else _version_of(Path(directory))

    def all(self) -> list[Path]:
        """The directories, each once."""
        return [Path(each) for each in dict.fromkeys(getattr(self, one.name) for one in fields(self)) if each]

    def group(self, name: str | None = None) -> Group:
        """The group of a run, which `Group.make` makes; with a new name unless one is given."""
        name = name or uuid.uuid4().hex
        return Group({one.name: f"{top}/{name}" for one in fields(self) if (top := getattr(self, one.name))})

    def names(self) -> set[str]:
        """The names of all groups that are there."""
        trees = [tree for tree in self.all() if tree.is_dir()]
        return {entry.name for tree in trees for entry in os.scandir(tree) if entry.is_dir(follow_symlinks=False)}

    def remove(self) -> None:
        """Remove the directories, unless there are groups in them."""
        for tree in self.all():
            with contextlib.suppress(OSError):
                tree.rmdir()


@dataclass(frozen=True, slots=True)
class Held:
    """What the processes of a group hold, in bytes, each page once: anonymous memory, mapped files, and swap."""

    anonymous: int
    mapped: int
    swap: int


@dataclass(frozen=True, slots=True)
class Group:
    """The group of one run: its directory for each purpose of `Trees`."""

    directories: Mapping[str, str]

    def _all(self) -> list[Path]:
        return [Path(each) for each in dict.fromkeys(self.directories.values())]

    def make(self) -> None:
        """Make it.

        Raises:
            OSError: The kernel refuses; nothing of it is left.
        """
        try:
            for directory in self._all():
                directory.mkdir()
        except OSError:
            self.remove()
            raise

    @contextlib.contextmanager
    def opened(self) -> Iterator[tuple[list[int], int | None]]:
        """What a process needs to be in it: files for `join`, and a directory to be forked into, if there is one.

        A thread that joins a tree of version 1 by itself holds nobody up (Linux 5.5), and no more does a fork into a
        group of version 2. But when a whole process joins, the kernel has every fork and every end of a process wait,
        for 4 to 15 ms after a pause.

        Raises:
            OSError: The kernel refuses.
        """
        files: list[int] = []
        into: int | None = None
        with contextlib.ExitStack() as stack:
            for directory in self._all():
                try:
                    files.append(os.open(directory / "tasks", os.O_WRONLY | os.O_CLOEXEC))
                    stack.callback(os.close, files[-1])
                except FileNotFoundError:
                    into = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
                    stack.callback(os.close, into)
            yield files, into

    def add(self, pid: int) -> None:
        """Move another process into it, as far as the kernel lets us."""
        for directory in self._all():
            with contextlib.suppress(OSError):
                (directory / "cgroup.procs").write_text(str(pid))

    def limit(self, limits: Limits) -> None:
        """Set the limits, those that can be set.

        Raises:
            OSError: The kernel refuses.
        """
        for purpose, write in (("memory", _limit_memory), ("cpu", _limit_cpu), ("processes", _limit_processes)):
            if purpose in self.directories:
                directory = Path(self.directories[purpose])
                write(directory, _version_of(directory), limits)

    def pids(self, *, everywhere: bool = True) -> list[int]:
        """The processes in it, as our pid namespace names them.

        Args:
            everywhere: Whether all its directories are looked at; a process is in each, unless something went wrong.
        """
        found: set[int] = set()
        for directory in list(dict.fromkeys(self.directories.values()))[: None if everywhere else 1]:
            with contextlib.suppress(OSError), open(f"{directory}/cgroup.procs", "rb", buffering=0) as file:
                found.update(map(int, file.read().split()))
        return sorted(found - {0})

    def oom_kills(self) -> int:
        """How many processes were ended in it for want of memory."""
        for name in ("memory.events", "memory.oom_control"):
            if (count := self._number("memory", name, "oom_kill")) is not None:
                return count
        return 0

    def cpu_s(self) -> float | None:
        """The processor time of everything that ever ran in it; None if nobody counts."""
        if (us := self._number("account", "cpu.stat", "usage_usec")) is not None:
            return us / 1e6
        with contextlib.suppress(KeyError, OSError, ValueError):
            return int(Path(self.directories["account"], "cpuacct.usage").read_text()) / 1e9
        return None

    def memory_held(self) -> Held | None:
        """What its processes hold; None if nobody counts."""
        counts = self._numbers("memory", "memory.stat")
        if "anon" in counts:
            swap = 0
            with contextlib.suppress(OSError, ValueError):  # a kernel without swap has no such file
                swap = int(Path(self.directories["memory"], "memory.swap.current").read_text())
            return Held(counts["anon"], counts.get("file_mapped", 0), swap)
        if "rss" in counts:  # version 1
            return Held(counts["rss"], counts.get("mapped_file", 0), counts.get("swap", 0))
        return None

    def _number(self, purpose: str, name: str, key: str) -> int | None:
        return self._numbers(purpose, name).get(key)

    def _numbers(self, purpose: str, name: str) -> dict[str, int]:
        """The numbers in one of the files that have a key in every line; empty if it cannot be read."""
        with contextlib.suppress(KeyError, OSError, ValueError):
            lines = Path(self.directories[purpose], name).read_text().splitlines()
            return {key: int(value) for key, _, value in (line.partition(" ") for line in lines)}
        return {}

    async def kill(self) -> bool:
        """Kill everything in it, and wait for the end; whether nothing is left."""
        deadline = time.monotonic() + _KILL_TIMEOUT_S
        wait_s = _FIRST_LOOK_S
        while pids := self.pids():
            if time.monotonic() > deadline:
                return False
            self._kill_all(pids)
            await asyncio.sleep(wait_s)
            wait_s = min(2 * wait_s, _LOOK_S)
        return True

    def kill_once(self) -> None:
        """Kill what is in it now, and do not wait."""
        if pids := self.pids():
            self._kill_all(pids)

    def _kill_all(self, pids: Sequence[int]) -> None:
        with contextlib.suppress(KeyError, OSError):
            Path(self.directories["track"], "cgroup.kill").write_text("1")
            return
        # Read a moment ago: a pid could have been given away since only if all pids had been used meanwhile.
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def remove(self) -> bool:
        """Remove it; whether it is gone, which it is not while processes are in it."""
        for directory in self._all():
            with contextlib.suppress(OSError):
                directory.rmdir()
        return not any(directory.exists() for directory in self._all())


def join(fds: Sequence[int]) -> None:
    """Move this process, which has one thread, into a group; its children will be in it from the beginning.

    Args:
        fds: The files of `Group.opened`.

    Raises:
        OSError: The kernel refuses.
    """
    for fd in fds:
        os.write(fd, b"0")


def join_directory(fd: int) -> None:
    """The same for the directory of `Group.opened`, by a process that could not be forked into it.

    Raises:
        OSError: The kernel refuses.
    """
    file = os.open("cgroup.procs", os.O_WRONLY | os.O_CLOEXEC, dir_fd=fd)
    try:
        os.write(file, b"0")
    finally:
        os.close(file)


def _version_of(directory: Path) -> int:
    return 2 if (directory / "cgroup.events").exists() or (directory / "cgroup.subtree_control").exists() else 1


def _limit_memory(directory: Path, version: int, limits: Limits) -> None:
    name, with_swap = _MEMORY[version]
    value = _UNLIMITED_BYTES[version] if limits.memory_bytes is None else str(limits.memory_bytes)
    (directory / name).write_text(value)
    if (directory / with_swap).exists():  # a kernel that accounts for swap
        swap = "0" if version == 2 and limits.memory_bytes is not None else value
        (directory / with_swap).write_text(swap)
    if (directory / _SOCKETS).exists():  # version 1 counts what waits in sockets by itself, if it is told to
        (directory / _SOCKETS).write_text(value)


def _limit_cpu(directory: Path, version: int, limits: Limits) -> None:
    cores = limits.cpu_cores
    quota = None if cores is None else max(round(cores * _PERIOD_US), _LEAST_QUOTA_US)
    if version == 2:
        text = f"{'max' if quota is None else quota} {_PERIOD_US}"
    else:
        text = "-1" if quota is None else str(quota)
    (directory / _CPU[version]).write_text(text)


def _limit_processes(directory: Path, version: int, limits: Limits) -> None:
    (directory / "pids.max").write_text("max" if limits.processes is None else str(limits.processes))


# -- finding what can be used ----------------------------------------------------------------------


def mounts(proc: Path = Path("/proc/self")) -> list[Mount]:
    """The trees of groups that are mounted here, and where we are in them."""
    own = {}
    for line in (proc / "cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        own[frozenset(controllers.split(",")) - {""}] = path
    return [mount for line in (proc / "mountinfo").read_text().splitlines() if (mount := _mount(line, own))]


def _mount(line: str, own: Mapping[frozenset[str], str]) -> Mount | None:
    before, _, after = line.partition(" - ")
    kind, _, options = after.split(" ", 2)
    root, top = (_unescaped(field) for field in before.split(" ")[3:5])
    if kind == "cgroup2":
        with contextlib.suppress(OSError):
            controllers = frozenset(Path(top, "cgroup.controllers").read_text().split())
            return Mount(2, controllers, Path(top), _below(top, root, own.get(frozenset())))
    elif kind == "cgroup":
        for controllers, path in own.items():
            if controllers and controllers <= set(options.split(",")):
                return Mount(1, controllers, Path(top), _below(top, root, path))
    return None


def _unescaped(field: str) -> str:
    return field.replace("\\040", " ").replace("\\011", "\t").replace("\\134", "\\")


def _below(top: str, root: str, path: str | None) -> Path | None:
    """Where a group lies that the kernel calls ``path``, in a mount that shows the tree from ``root`` on."""
    if path is None or not (path + "/").startswith(root.rstrip("/") + "/"):
        return None
    return Path(top, path.removeprefix(root.rstrip("/")).lstrip("/"))


def tree_name(runtime_dir: Path) -> str:
    """What the directory is called in every tree below which an engine makes the groups of its runs."""
    # A container may share our trees and call a directory of its own the same, but its processes are not ours.
    place = f"{Path('/proc/self/ns/pid').readlink()} {runtime_dir.resolve()}"
    return f"projecthub-{hashlib.sha256(os.fsencode(place)).hexdigest()[:12]}"


def find(runtime_dir: Path) -> Trees:
    """What can be used here, tried with groups that are removed again. Makes the directories for the runs.

    Args:
        runtime_dir: The engine's; a name that follows from its path stands for it in the trees.
    """
    name = tree_name(runtime_dir)
    found: dict[str, str] = {}
    for mount in sorted(mounts(), key=lambda each: -each.version):
        found |= _found_in(mount, name, found.keys())
    return Trees(**found)


def _found_in(mount: Mount, name: str, known: Collection[str]) -> dict[str, str]:
    """What one tree can be used for, all at one place of it: a process is in one group of a tree only."""
    bases = [(base, _offered(mount, base).difference(known)) for base in _bases(mount)]
    # A group that hands nothing down can still be used to find and to kill.
    for base, purposes in [*bases, *((base, offered & _WITHOUT_CONTROLLERS) for base, offered in bases)]:
        if purposes and (tree := _usable(mount, base / name, purposes)) is not None:
            return dict.fromkeys(purposes, str(tree))
    return {}


def _bases(mount: Mount) -> Iterator[Path]:
    """Where to try, best first: as root at the top, which is the same place after every restart; then around our own.

    Beside our own group before in it: a service manager puts no process into a group that hands controllers down, so
    it could not start the hub again while projects run.
    """
    if os.geteuid() == 0:
        yield mount.top
    if mount.own is not None:
        if mount.version == 2 and (mount.own.name in _OWN_LEAVES or _is_given(mount.own.parent, mount.top)):
            yield mount.own.parent  # we were put into a leaf, or went there; or what holds us is ours, too
        yield mount.own


def _is_given(directory: Path, top: Path) -> bool:
    """Whether we may make groups in a group, and move processes from one of them to another."""
    return directory.is_relative_to(top) and all(
        os.access(each, os.W_OK) for each in (directory, directory / "cgroup.procs")
    )


def _offered(mount: Mount, base: Path) -> set[str]:
    """What a group could be used for."""
    controllers = set(mount.controllers)
    if mount.version == 2:
        try:
            controllers = set((base / "cgroup.controllers").read_text().split())
        except OSError:
            return set()
    offered = {purpose for purpose, controller in _CONTROLLERS.items() if controller in controllers}
    return offered | _WITHOUT_CONTROLLERS if mount.version == 2 else offered


def _usable(mount: Mount, tree: Path, purposes: set[str]) -> Path | None:
    """The directory, made if it is not there, if groups can be made and limited in it."""
    controllers = [_CONTROLLERS[purpose] for purpose in purposes if purpose in _LIMITED]
    try:
        if mount.version == 2:
            _delegate(tree.parent, controllers)
        tree.mkdir(exist_ok=True)
        if mount.version == 2:
            _hand_down(tree, controllers)
        group = Group(dict.fromkeys(purposes, str(tree / "trial")))
        group.remove()
        group.make()
        try:
            group.limit(Limits(memory_bytes=2**28, cpu_cores=1.0, processes=64))
        finally:
            group.remove()
    except OSError:
        with contextlib.suppress(OSError):
            tree.rmdir()
        return None
    return tree


def _hand_down(directory: Path, controllers: Sequence[str]) -> None:
    """Have the groups below a group of version 2 limit what it can.

    Raises:
        OSError: Processes are in it, or it is not ours.
    """
    handed = (directory / "cgroup.subtree_control").read_text().split()
    if missing := [controller for controller in controllers if controller not in handed]:
        # All or none: cpu and pids alone would be handed down past processes in it, and make it one of threads, below
        # which no group can be joined.
        (directory / "cgroup.subtree_control").write_text(" ".join(f"+{controller}" for controller in missing))


def _delegate(base: Path, controllers: Sequence[str]) -> None:
    """As `_hand_down`, of a group that we may be in ourselves: then we move into a leaf of it, if we are all there is.

    Raises:
        OSError: It cannot be had.
    """
    try:
        _hand_down(base, controllers)
        return
    except OSError:
        if [int(line) for line in (base / "cgroup.procs").read_text().split()] != [os.getpid()]:
            raise
    leaf = base / _OWN_LEAVES[0]
    leaf.mkdir(exist_ok=True)
    (leaf / "cgroup.procs").write_text("0")
    _hand_down(base, controllers)
