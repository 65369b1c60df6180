"""The first process of a project: parent of the project server and of every orphan, and the end of them all.

It runs no code of the project's people, keeps what the server logs within bounds, and writes down how the server
ended. Asked with SIGTERM it asks everything to end and waits for that; with SIGUSR1 it kills. It ends with the server.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import select
import signal
import socket
import struct
from collections.abc import Sequence
from typing import Final, NoReturn

from projecthub.engines.local import kernel, processes, sandbox
from projecthub.engines.local.records import INIT_NAME
from projecthub.errors import StartFailed

MAX_LOG_BYTES = 256 * 1024
SIGNALS: Final = (signal.SIGTERM, signal.SIGUSR1, signal.SIGCHLD)
"""What an init is told by. They wait from before it has a child until it can take them."""

_CONFINED = b"C"
_ORDERS = struct.Struct("q?")


def close_all_but(*kept: int) -> None:
    """Close all file descriptors but some."""
    edges = [-1, *sorted(kept), os.sysconf("SC_OPEN_MAX")]
    for low, high in itertools.pairwise(edges):
        if low + 1 < high:  # an empty range at 0 would be taken for all there are
            os.closerange(low + 1, high)


def give_orders(channel: socket.socket, uid: int | None, *, isolated: bool, fds: Sequence[int]) -> None:
    """Tell the init, as the server to be, what both are to become, and wait until it is that; log to it from then on.

    Args:
        channel: To the init.
        uid: What it is to become; None: it stays what it is.
        isolated: Whether it is the first process of an own pid namespace, which ends with it.
        fds: A file for what the server writes to its standard output and error; one that gets how the server ended,
            ``code 0`` or ``signal 9``; and what the init is to keep open as long as it lives. They are closed here.

    Raises:
        StartFailed: The init could not follow.
    """
    output, server_output = os.pipe()
    handed = [output, *fds]
    socket.send_fds(channel, [_ORDERS.pack(-1 if uid is None else uid, isolated)], handed)
    answer = channel.recv(4096)
    if answer != _CONFINED:
        raise StartFailed(answer.decode() or "its first process has ended")
    for fd in handed:
        os.close(fd)
    for standard in (1, 2):
        os.dup2(server_output, standard)
    os.close(server_output)


def be_init(server: int, channel: socket.socket) -> NoReturn:
    """Follow the orders that the server to be gives, and be its init from then on.

    Args:
        server: Its process id.
        channel: To it.
    """
    message, fds, _, _ = socket.recv_fds(channel, _ORDERS.size, 8)
    if not message:
        os._exit(1)  # it has ended
    uid, isolated = _ORDERS.unpack(message)
    try:
        if not isolated:
            kernel.adopt_orphans()
        sandbox.confine_init(uid if uid >= 0 else None, isolated=isolated)
        # Without isolation a change of uid alone has this effect, and there is nothing in here to hide.
        kernel.set_dumpable(not isolated)
    except StartFailed as error:
        channel.send(error.message.encode())
        os._exit(1)
    kernel.set_process_name(INIT_NAME)  # before there is a server that could answer
    output, log_fd, record_fd, *_ = fds
    os.dup2(log_fd, 2)
    channel.send(_CONFINED)
    close_all_but(0, 1, 2, *fds)
    _Init(server, output, log_fd, record_fd, isolated).run()


class _Init:
    def __init__(self, server: int, output: int, log_fd: int, record_fd: int, alone: bool) -> None:
        self._server = server
        self._output = output
        self._log_fd = log_fd
        self._logged_bytes = 0
        self._record_fd = record_fd
        self._alone = alone
        self._ending = False
        self._exit_code: int | None = None

    def run(self) -> NoReturn:
        wakeups, wakeup = os.pipe()
        os.set_blocking(wakeups, False)
        os.set_blocking(wakeup, False)
        signal.set_wakeup_fd(wakeup, warn_on_full_buffer=False)
        for number in SIGNALS:
            signal.signal(number, lambda *_: None)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
        poll = select.poll()
        poll.register(wakeups, select.POLLIN)
        poll.register(self._output, select.POLLIN)
        while True:
            for fd, _ in poll.poll():
                if fd == wakeups:
                    self._handle(os.read(wakeups, 64))
                elif not self._copy_log():
                    poll.unregister(self._output)

    def _handle(self, signals: bytes) -> None:
        if signal.SIGUSR1 in signals:
            self._signal_all(signal.SIGKILL)
        elif signal.SIGTERM in signals:
            self._ending = True
            self._signal_all(signal.SIGTERM)
        nobody_left = self._reap()
        if self._exit_code is not None and (nobody_left or not self._ending):
            self._end(self._exit_code)

    def _copy_log(self) -> bool:
        data = os.read(self._output, 16384)
        if self._logged_bytes + len(data) > MAX_LOG_BYTES:
            # Starting over bounds the file without a second one.
            os.ftruncate(self._log_fd, 0)
            os.lseek(self._log_fd, 0, os.SEEK_SET)
            self._logged_bytes = 0
        with contextlib.suppress(OSError):  # a full disk must not end a project
            self._logged_bytes += os.write(self._log_fd, data)
        return bool(data)

    def _signal_all(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            if self._alone:
                os.kill(-1, number)
                return
            for pid in processes.descendants(os.getpid()):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, number)

    def _reap(self) -> bool:
        """Take the remains of what has ended; whether no child is left."""
        try:
            while True:
                pid, status = os.waitpid(-1, os.WNOHANG)
                if pid == 0:
                    return False
                if pid == self._server:
                    self._exit_code = os.waitstatus_to_exitcode(status)
        except ChildProcessError:
            return True

    def _end(self, code: int) -> NoReturn:
        with contextlib.suppress(OSError):  # on a full disk: then nobody knows how it ended, but all of it ends
            os.write(self._record_fd, (f"code {code}" if code >= 0 else f"signal {-code}").encode())
        # What is left ends with an own pid namespace. Without one it is hunted down, however often it forks.
        while not self._alone:
            self._signal_all(signal.SIGKILL)
            try:
                os.waitpid(-1, 0)
            except ChildProcessError:
                break
        os._exit(code if code >= 0 else 128 - code)
