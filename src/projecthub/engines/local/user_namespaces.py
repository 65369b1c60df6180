"""User namespaces: one for all that a launcher starts, and in it one for each project of a hub that is not root.

Since Linux 5.14 the kernel counts what a user has of some things, as processes, in each user namespace by itself. So
projects of one user are held apart by limits that would else count all of them and the hub together.
"""

from __future__ import annotations

import contextlib
import functools
import os
import resource
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from projecthub.engines.local import kernel
from projecthub.errors import StartFailed

_NO_MORE: Final = "/proc/sys/user/max_user_namespaces"
_PARTS: Final = 4
_SHARED: Final = {
    "/proc/sys/user/max_inotify_instances": "/proc/sys/fs/inotify/max_user_instances",
    "/proc/sys/user/max_inotify_watches": "/proc/sys/fs/inotify/max_user_watches",
}


@contextlib.contextmanager
def mapped_by_helper(write_maps: Callable[[int], None]) -> Iterator[Callable[[], object]]:
    """Have a process of the outer user namespace map the ids of ours. It waits for the word, and is gone at the end.

    Args:
        write_maps: What it does, with our process id: `write_same_ids`.

    Raises:
        StartFailed: The ids could not be mapped.
    """
    pid = os.getpid()
    waiting, word = os.pipe()
    helper = os.fork()
    if helper == 0:
        status = 1
        try:
            os.close(word)
            if os.read(waiting, 1):
                write_maps(pid)
            status = 0
        finally:
            os._exit(status)
    os.close(waiting)
    try:
        yield functools.partial(os.write, word, b"!")
    finally:
        os.close(word)
        _, status = os.waitpid(helper, 0)
    if status:
        raise StartFailed("this machine does not let user ids be mapped into a namespace")


def write_same_ids(pid: int) -> None:
    """Map ids onto themselves: all of them as root, our own otherwise. Only a process outside may write all."""
    if os.geteuid() != 0:
        _map_own(f"/proc/{pid}", os.getuid(), os.getgid())
        return
    for name in ("uid_map", "gid_map"):
        extents = [line.split() for line in Path("/proc/self", name).read_text().splitlines()]
        text = "".join(f"{inside} {inside} {count}\n" for inside, _, count in extents)
        Path(f"/proc/{pid}", name).write_text(text)


def _map_own(proc: str, uid: int, gid: int) -> None:
    Path(proc, "setgroups").write_text("deny")
    Path(proc, "uid_map").write_text(f"{uid} {uid} 1\n")
    Path(proc, "gid_map").write_text(f"{gid} {gid} 1\n")


def allow_no_more() -> None:
    """Let no user namespace be made in ours: nothing a project does makes it privileged in one of its own."""
    with contextlib.suppress(OSError):  # a second layer: what a namespace of its own offers ends at the sandbox
        Path(_NO_MORE).write_text("0")


def enter_own() -> None:
    """Enter a user namespace in which our ids mean what they mean outside, and that owns nothing.

    For a project's server to be, of a hub that is not root: `allow_no_more` ended this for the others. Whatever
    privilege the project might ever get back is one over nothing then, since all its other namespaces belong to the
    outer one.

    Raises:
        OSError: The kernel refuses.
    """
    uid, gid = os.getuid(), os.getgid()
    kernel.unshare(kernel.CLONE_NEWUSER)
    _map_own("/proc/self", uid, gid)
    _leave_some_to_others()
    allow_no_more()
    kernel.empty_bounding_set()


def _leave_some_to_others() -> None:
    """Allow a part of what the kernel allows a user, where it counts that in each user namespace, too."""
    for of_namespace, of_user in _SHARED.items():
        with contextlib.suppress(OSError, ValueError):
            most = int(Path(of_user).read_text())
            Path(of_namespace).write_text(str(most // _PARTS))


def count_processes() -> bool:
    """Whether the processes of a user are counted in each user namespace by itself; tried, in some milliseconds.

    For a process of one thread that is not root and may make user namespaces.
    """
    child = os.fork()
    if child == 0:
        status = 1
        try:
            enter_own()
            resource.setrlimit(resource.RLIMIT_NPROC, (2, 2))
            # At least one beside us, though the user has more. The first kernels that count so allow one too many.
            status = 0 if 1 <= _sleepers(3) < 3 else 1
        finally:
            os._exit(status)
    _, status = os.waitpid(child, 0)
    return status == 0


def _sleepers(most: int) -> int:
    """How many processes there may be beside us, up to ``most``; none of them stays."""
    sleepers: list[int] = []
    try:
        while len(sleepers) < most:
            child = os.fork()
            if child == 0:
                kernel.die_with_parent()
                while True:
                    signal.pause()
            sleepers.append(child)
    except BlockingIOError:
        pass
    finally:
        for sleeper in sleepers:
            os.kill(sleeper, signal.SIGKILL)
            os.waitpid(sleeper, 0)
    return len(sleepers)
