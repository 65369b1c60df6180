"""The zygote: a process that has everything loaded and does nothing but fork first processes of projects.

What a process of ours touches becomes memory of its own, and what its parent touches while it lives does so too: every
look at a Python object writes to it. So what forks the projects does as little as there is to do, and the launcher,
which reads requests and keeps records, is not what they are made of. Nor does anything that it hears of a project get
into the memory of another.
"""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Callable, Sequence
from typing import NoReturn

from projecthub.engines.local import cgroups, kernel

_OWN_NETWORK, _SHARED_NETWORK = b"n", b"s"
_INTO_GROUP = b"g"
_MAX_FDS = 16

Grow = Callable[[socket.socket, Sequence[int], bool], NoReturn]
"""What a first process does: with its end of the conversation, files to join groups by, and whether the network is its
own."""


class Zygote:
    """The launcher's hold on its zygote."""

    def __init__(self, grow: Grow, *, namespaces: int) -> None:
        """Fork it from this process, which has one thread.

        Args:
            grow: What the processes that it forks do.
            namespaces: Which they get of their own: bits of ``CLONE_NEW*``.
        """
        self._requests, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.pid = os.fork()
        if self.pid == 0:
            self._requests.close()
            _serve(theirs, grow, namespaces)
        theirs.close()

    def fork(self, control: socket.socket, group_fds: Sequence[int], group: int | None, *, own_network: bool) -> int:
        """Have a first process made. It is a child of this process, like the zygote.

        Args:
            control: Its end of the conversation.
            group_fds: Files that it writes to, to be in its control groups before anything else.
            group: The directory of a control group that it is to be in from the beginning.
            own_network: Whether its network is to be its own: a loopback and nothing else.

        Returns:
            Its process id.

        Raises:
            OSError: The kernel refuses.
            EOFError: The zygote has ended.
        """
        word = _OWN_NETWORK if own_network else _SHARED_NETWORK
        fds = [control.fileno(), *group_fds]
        if group is not None:
            word += _INTO_GROUP
            fds.append(group)
        try:
            socket.send_fds(self._requests, [word], fds)
            answer = self._requests.recv(16)
        except ConnectionError:
            answer = b""
        if not answer:
            raise EOFError("the zygote has ended")
        number = int(answer)
        if number < 0:
            raise OSError(-number, os.strerror(-number))
        return number


def _serve(requests: socket.socket, grow: Grow, namespaces: int) -> NoReturn:
    """Fork on request, until the launcher has ended."""
    try:
        kernel.die_with_parent()
        kernel.set_process_name("project-zygote")
        while True:
            word, fds, _, _ = socket.recv_fds(requests, 2, _MAX_FDS)
            if not word:
                os._exit(0)
            own_network = word.startswith(_OWN_NETWORK)
            control, *files = fds
            group = files.pop() if word.endswith(_INTO_GROUP) else None
            try:
                pid = _fork(namespaces | (kernel.CLONE_NEWNET if own_network else 0), group)
            except OSError as error:
                pid = -(error.errno or errno.EIO)
            if pid == 0:
                grow(socket.socket(fileno=control), files, own_network)
            for fd in fds:
                os.close(fd)
            requests.send(b"%d" % pid)
    finally:
        os._exit(1)


def _fork(flags: int, group: int | None) -> int:
    """Fork into a group, or else have the new process go there itself."""
    if group is None:
        return kernel.fork_sibling(flags)
    try:
        return kernel.fork_sibling(flags, group)
    except OSError:  # an older kernel, or a filter that does not know the call
        pid = kernel.fork_sibling(flags)
        if pid == 0:
            try:
                cgroups.join_directory(group)
            except OSError:
                os._exit(1)
        return pid
