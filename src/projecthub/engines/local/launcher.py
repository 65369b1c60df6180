"""The launcher: a process that has the project server's program in memory and forks it on request.

It is started by `LocalEngine` over a socket that it inherits, has one thread, and holds no key, no database, nothing
of the hub's environment and no code of any project. Requests and replies are lines of JSON:

* first ``{"isolation", "runtime_dir", "hidden"}``, answered by ``{}`` or ``{"error"}``;
* then ``{"id", "start": {...}}``, answered by ``{"id", "record": {...}}`` or ``{"id", "error"}``;
* and ``{"id"}`` alone, which undoes the start of that id if it has not been answered yet, and answers it.

It ends when the hub closes the socket. What it has started runs on.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import selectors
import shutil
import signal
import socket
import struct
import sys
import traceback
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NoReturn

from projecthub.engines.local import init, kernel, processes, sandbox
from projecthub.engines.local.records import EXIT_FILE, LOG_FILE, SKELETON, SOCKET_FILE, Record, project_dir
from projecthub.engines.port import Isolation
from projecthub.errors import HubError, StartFailed
from projecthub.projectserver.environment import make_environment
from projecthub.projectserver.http import make_server, rehearse, serve
from projecthub.projectserver.identity import Identity

_BACKLOG = 128
_CREDENTIALS = struct.Struct("3i")
_INIT_IS_UP, _SERVER_IS_UP, _FAILED, _GO = b"I", b"S", b"E", b"G"


@dataclass(slots=True, kw_only=True)
class _Start:
    """A start that has not been answered yet.

    Attributes:
        id: The request's number.
        identity: Of the server to be.
        directory: The project's runtime directory.
        control: Our end of the conversation with the new processes.
        pids: Processes of this start whose end has not been seen, ours to kill.
        init: The project's first process, once it has reported.
        is_deserted: Whether nobody holds the other end of `control` any more.
        failure: Why it is being undone, if it is.
    """

    id: int
    identity: Identity
    directory: Path
    control: socket.socket
    pids: set[int] = field(default_factory=set)
    init: int | None = None
    is_deserted: bool = False
    failure: str | None = None


class Launcher:
    """Serves one hub."""

    def __init__(self, hub: socket.socket) -> None:
        """Make a launcher that is spoken to over a connected stream socket."""
        self._hub = hub
        self._lines = bytearray()
        self._isolation = Isolation.NONE
        self._runtime_dir = Path("/")
        self._starts: dict[int, _Start] = {}
        self._selector = selectors.DefaultSelector()

    def run(self) -> None:
        """Open, then serve until the hub closes the socket."""
        while not (requests := self._receive()):
            if requests is None:
                return
        try:
            self._open(requests[0])
        except HubError as error:
            self._tell({"error": error.message})
            return
        wakeups, wakeup = socket.socketpair()
        for end in (wakeups, wakeup):
            end.setblocking(False)
        signal.set_wakeup_fd(wakeup.fileno(), warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        self._selector.register(wakeups, selectors.EVENT_READ)
        self._selector.register(self._hub, selectors.EVENT_READ)
        self._tell({})
        self._serve(wakeups)

    def _serve(self, wakeups: socket.socket) -> None:
        while True:
            for key, _ in self._selector.select():
                if key.fileobj is self._hub:
                    requests = self._receive()
                    if requests is None:
                        return
                    for request in requests:
                        self._answer(request)
                elif key.fileobj is wakeups:
                    wakeups.recv(4096)
                    self._reap()
                elif key.data in self._starts:
                    self._advance(self._starts[key.data])

    def _receive(self) -> list[dict[str, Any]] | None:
        """The requests that have come in; None if the hub has closed the socket."""
        data = self._hub.recv(65536)
        if not data:
            return None
        self._lines += data
        *lines, rest = self._lines.split(b"\n")
        self._lines = rest
        return [json.loads(line) for line in lines]

    def _tell(self, message: dict[str, Any]) -> None:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # the hub is gone: the next read says so
            self._hub.sendall(json.dumps(message).encode() + b"\n")

    def _open(self, request: dict[str, Any]) -> None:
        self._isolation = Isolation(request["isolation"])
        self._runtime_dir = Path(request["runtime_dir"])
        os.umask(0o022)
        if self._isolation is not Isolation.NONE:
            hidden = [self._runtime_dir, *(Path(each) for each in request["hidden"])]
            sandbox.prepare(self._isolation, self._runtime_dir / SKELETON, hidden)
        # A project's first process is forked by one that ends at once: it becomes our child here.
        kernel.adopt_orphans()
        kernel.set_process_name("project-launch")
        rehearse()
        gc.collect()
        gc.freeze()

    def _answer(self, request: dict[str, Any]) -> None:
        number = request["id"]
        if "start" in request:
            try:
                self._begin(number, request["start"])
            except OSError as error:
                why = f"its processes or files could not be made: {error.strerror}"
                if number in self._starts:
                    self._fail(self._starts[number], why)
                else:
                    self._tell({"id": number, "error": why})
        elif number in self._starts:
            self._fail(self._starts[number], "the start was given up")

    def _begin(self, number: int, wanted: dict[str, Any]) -> None:
        """Fork the processes of a project; what they report is handled by `_advance`."""
        home, uid = wanted.pop("home"), wanted.pop("uid")
        isolated = self._isolation is not Isolation.NONE
        identity = Identity(**wanted, home=sandbox.HOME if isolated else home)
        directory = project_dir(self._runtime_dir, identity.project_id)
        shutil.rmtree(directory, ignore_errors=True)
        directory.mkdir(mode=0o700)
        control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        control.setblocking(False)
        control.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        start = _Start(id=number, identity=identity, directory=directory, control=control)
        self._starts[number] = start
        self._selector.register(control, selectors.EVENT_READ, number)
        log_fd, record_fd = (
            os.open(directory / name, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600) for name in (LOG_FILE, EXIT_FILE)
        )
        with theirs, _listen(directory) as listener:
            child = os.fork()
            if child == 0:
                seed = _Seed(identity, home, uid, theirs, listener, log_fd, record_fd)
                seed.grow(self._isolation, self._runtime_dir / SKELETON)
            start.pids.add(child)
        os.close(log_fd)
        os.close(record_fd)

    def _advance(self, start: _Start) -> None:
        """Take all that the processes of a start have reported so far."""
        while start.id in self._starts and not start.is_deserted:
            try:
                message, pid = _receive_with_sender(start.control)
            except BlockingIOError:
                return
            if not message:
                self._selector.unregister(start.control)
                start.is_deserted = True
                self._fail(start, "it ended while it was set up")
            elif message == _INIT_IS_UP:
                start.init = pid
                start.pids.add(pid)
                if start.failure is not None:
                    self._undo(start)
            elif message == _SERVER_IS_UP and start.failure is None:
                self._finish(start, pid)
            elif message.startswith(_FAILED):
                self._fail(start, message[1:].decode())

    def _finish(self, start: _Start, server_pid: int) -> None:
        """Save who the new processes are, and only then let the server run."""
        first = processes.identify(start.init) if start.init is not None else None
        server = processes.identify(server_pid)
        if first is None or server is None:
            self._fail(start, "it ended while it was set up")
            return
        record = Record(
            boot_id=processes.boot_id(),
            project_id=start.identity.project_id,
            epoch=start.identity.epoch,
            session_id=start.identity.session_id,
            isolation=self._isolation,
            init=first,
            server=server,
            started_at=datetime.now(UTC),
        )
        try:
            record.save(start.directory)
            start.control.send(_GO)
        except OSError as error:
            self._fail(start, f"its identity could not be saved: {error.strerror}")
            return
        self._forget(start)
        self._tell({"id": start.id, "record": record.as_json()})

    def _fail(self, start: _Start, why: str) -> None:
        """Undo a start. It is answered when nothing of it is left."""
        if start.failure is None:
            start.failure = why
            # A server that waits for the word to go, and whose id we may never learn, ends by this.
            with contextlib.suppress(OSError):
                start.control.shutdown(socket.SHUT_WR)
        self._undo(start)

    def _undo(self, start: _Start) -> None:
        for pid in start.pids:
            os.kill(pid, signal.SIGKILL)  # not reaped yet, so it is still that process
        if start.is_deserted and not start.pids:
            shutil.rmtree(start.directory, ignore_errors=True)
            self._forget(start)
            self._tell({"id": start.id, "error": start.failure})

    def _forget(self, start: _Start) -> None:
        del self._starts[start.id]
        if not start.is_deserted:
            self._selector.unregister(start.control)
        start.control.close()

    def _reap(self) -> None:
        """Take the remains of ended children. From then on their ids may mean other processes."""
        with contextlib.suppress(ChildProcessError):
            while (ended := os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)) is not None:
                starts = list(self._starts.values())
                if not any(ended.si_pid in start.pids for start in starts):
                    # Perhaps it has told us its id just before it ended: that is read while the id is still its own.
                    for start in starts:
                        self._advance(start)
                os.waitpid(ended.si_pid, 0)
                for start in starts:
                    start.pids.discard(ended.si_pid)
        for start in [each for each in self._starts.values() if each.failure is not None]:
            self._undo(start)


@dataclass(slots=True)
class _Seed:
    """What a forked child needs to become a project: its open files, and who it is to be."""

    identity: Identity
    home: str
    uid: int | None
    control: socket.socket
    listener: socket.socket
    log_fd: int
    record_fd: int

    def grow(self, isolation: Isolation, skeleton: Path) -> NoReturn:
        """Build the sandbox around this process and turn it into a project's init. Never returns."""
        try:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            init.close_all_but(0, 1, 2, self.control.fileno(), self.listener.fileno(), self.log_fd, self.record_fd)
            if isolation is not Isolation.NONE:
                sandbox.enter_namespaces()
                if os.fork():
                    os._exit(0)
            os.setsid()
            self.control.send(_INIT_IS_UP)
            sandbox.clamp_resources(own_uid=isolation is Isolation.FULL)
            if isolation is Isolation.NONE:
                kernel.adopt_orphans()
                if self.uid is not None:
                    sandbox.drop_privileges(self.uid)
            else:
                sandbox.enter(root=str(skeleton), home=self.home, uid=self.uid, user=self.identity.user)
                sandbox.drop_privileges(self.uid)
            _enter_home(self.identity.home)
            # Without isolation a change of uid alone has this effect, and there is nothing in here to hide.
            kernel.set_dumpable(isolation is Isolation.NONE)
            alone = isolation is not Isolation.NONE
            init.fork_server(self._serve, log_fd=self.log_fd, record_fd=self.record_fd, alone=alone)
        except StartFailed as error:
            self.control.send(_FAILED + error.message.encode())
        except Exception as error:
            self.control.send(_FAILED + f"setting it up failed: {type(error).__name__}".encode())
            raise
        finally:
            os._exit(1)

    def _serve(self) -> None:
        self.control.send(_SERVER_IS_UP)
        # The change of uid has given this process's /proc files to root; they are the project's.
        kernel.set_dumpable(True)
        kernel.set_process_name("project-server")
        os.environ.clear()
        os.environ.update(make_environment(self.identity))
        server = make_server(self.identity)
        if self.control.recv(1) != _GO:
            os._exit(1)
        self.control.close()
        # Where DATA and LOGS point to. A home that has no room for it does without.
        with contextlib.suppress(OSError):
            Path(self.identity.home, ".smc").mkdir(exist_ok=True)
        try:
            serve(server, self.listener)
        except BaseException:
            traceback.print_exc()
            os._exit(1)


def _enter_home(home: str) -> None:
    try:
        os.chdir(home)
    except OSError as error:
        raise StartFailed(f"the project's home cannot be entered: {error.strerror}") from error


def _listen(directory: Path) -> socket.socket:
    """A listening socket in a directory whose path may be longer than an address can be."""
    listener = socket.socket(socket.AF_UNIX)
    directory_fd = os.open(directory, os.O_PATH | os.O_DIRECTORY)
    try:
        listener.bind(f"/proc/self/fd/{directory_fd}/{SOCKET_FILE}")
        listener.listen(_BACKLOG)
    finally:
        os.close(directory_fd)
    return listener


def _receive_with_sender(control: socket.socket) -> tuple[bytes, int]:
    """A message and the sender's process id as we see it, whatever it is called inside its namespace.

    Raises:
        BlockingIOError: There is none now.
    """
    try:
        message, extra, _, _ = control.recvmsg(4096, socket.CMSG_SPACE(_CREDENTIALS.size))
    except ConnectionResetError:  # it ended with something unread
        return b"", 0
    for _, kind, data in extra:
        if kind == socket.SCM_CREDENTIALS:
            return message, _CREDENTIALS.unpack(data)[0]
    return b"", 0


def main() -> None:
    """Run the launcher on the inherited socket whose number is the only argument."""
    with socket.socket(fileno=int(sys.argv[1])) as hub:
        Launcher(hub).run()


if __name__ == "__main__":
    main()
