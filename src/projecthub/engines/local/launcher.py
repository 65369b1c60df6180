"""The launcher: a process that has the project server's program in memory and forks it on request.

It is started by `LocalEngine` over a socket that it inherits, has one thread, and holds no key, no database, nothing
of the hub's environment and no code of any project. Requests and replies are lines of JSON:

* first ``{"isolation", "runtime_dir", "hidden"}``, answered by ``{}`` or ``{"error"}``;
* then ``{"id", "start": {...}}``, answered by ``{"id", "record": {...}}`` or ``{"id", "error"}``;
* and ``{"id"}`` alone, which undoes the start of that id if it has not been answered yet, and answers it.

One *seedling* is kept ready: a first process in namespaces of its own that waits to be told whose it is. So a start
does not wait for what is the same for all projects. When it is used the next one is made, as soon as there is nothing
else to do.

It ends when the hub closes the socket, and is killed when the hub is. What it has started runs on.
"""

from __future__ import annotations

import contextlib
import functools
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
from dataclasses import asdict, dataclass, field, replace
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
_RESTOCK_S = 0.01


@dataclass(slots=True, kw_only=True)
class _Seedling:
    """Processes that are no project yet.

    Attributes:
        control: Our end of the conversation with them.
        pids: Those whose end has not been seen, ours to kill.
        init: The first process to be, once it has reported.
    """

    control: socket.socket
    pids: set[int]
    init: int | None = None

    def is_good(self) -> bool:
        """Whether it waits, or soon will."""
        with contextlib.suppress(BlockingIOError):
            message, pid = _receive_with_sender(self.control)
            if message != _INIT_IS_UP:
                return False  # it has failed, or was killed
            self.init = pid
            self.pids.add(pid)
            return self.is_good()
        return True


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
        self._hidden: list[Path] = []
        self._covered: list[str] = []
        self._starts: dict[int, _Start] = {}
        self._spare: _Seedling | None = None
        self._is_barren = False
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
            needs_spare = self._spare is None and not self._starts and not self._is_barren
            ready = self._selector.select(_RESTOCK_S if needs_spare else None)
            if not ready and needs_spare:
                self._restock()
            for key, _ in ready:
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

    def _restock(self) -> None:
        try:
            self._spare = self._plant()
        except OSError:  # no process to be had: the next start tries again, and is the one to tell
            self._is_barren = True

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
            self._hidden = [self._runtime_dir, *(Path(each) for each in request["hidden"])]
            self._covered = sandbox.covered_trees()
            sandbox.prepare(self._isolation, self._runtime_dir / SKELETON, self._hidden)
        # A launcher that is stopped or slow must not carry out starts of a hub that is gone, beside those of the next.
        kernel.die_with_parent()
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
        """Give a seedling to a project; what it reports is handled by `_advance`."""
        home, uid, environment_file = wanted.pop("home"), wanted.pop("uid"), wanted.pop("environment_file")
        isolated = self._isolation is not Isolation.NONE
        identity = Identity(**wanted, home=sandbox.HOME if isolated else home)
        directory = project_dir(self._runtime_dir, identity.project_id)
        shutil.rmtree(directory, ignore_errors=True)
        directory.mkdir(mode=0o700)
        seedling, self._spare = self._spare, None
        if seedling is not None and not seedling.is_good():
            seedling.control.close()
            seedling = None
        if seedling is None:
            seedling = self._plant()
        start = _Start(
            id=number,
            identity=identity,
            directory=directory,
            control=seedling.control,
            pids=seedling.pids,
            init=seedling.init,
        )
        self._starts[number] = start
        self._selector.register(start.control, selectors.EVENT_READ, number)
        task = _Task(identity=identity, home=home, uid=uid, environment_file=environment_file)
        task.hand_over(start.control, directory)

    def _plant(self) -> _Seedling:
        """Fork a seedling.

        Raises:
            OSError: No process or socket is to be had.
        """
        control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        control.setblocking(False)
        control.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        with theirs:
            child = os.fork()
            if child == 0:
                _grow(theirs, self._isolation, self._runtime_dir / SKELETON, self._covered, self._hidden)
        self._is_barren = False
        return _Seedling(control=control, pids={child})

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
                    if self._spare is not None and not self._spare.is_good():
                        self._spare.control.close()
                        self._spare = None
                os.waitpid(ended.si_pid, 0)
                if self._spare is not None:
                    self._spare.pids.discard(ended.si_pid)
                for start in starts:
                    start.pids.discard(ended.si_pid)
        for start in [each for each in self._starts.values() if each.failure is not None]:
            self._undo(start)


@dataclass(slots=True, kw_only=True)
class _Task:
    """Whose project a seedling is to be.

    Attributes:
        identity: Of the server.
        home: The project's home on the machine.
        uid: The project's uid; None: the launcher's own.
        environment_file: Where the variables are that the project's people have set. The launcher never reads it: what
            it has once held, every later project can find in its own memory.
    """

    identity: Identity
    home: str
    uid: int | None
    environment_file: str | None

    def hand_over(self, control: socket.socket, directory: Path) -> None:
        """Tell a seedling, with the files that it needs from a project's runtime directory."""
        with contextlib.ExitStack() as opened:
            listener = opened.enter_context(_listen(directory))
            # A file, for a message has bounds that a project's environment has not.
            task = opened.enter_context(os.fdopen(os.memfd_create("task"), "wb", buffering=0))
            task.write(json.dumps(asdict(self)).encode())
            fds = [listener.fileno(), task.fileno()]
            for name in (LOG_FILE, EXIT_FILE):
                fds.append(os.open(directory / name, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600))
                opened.callback(os.close, fds[-1])
            socket.send_fds(control, [_GO], fds)

    @classmethod
    def read(cls, fd: int) -> _Task:
        """Read a task from its file, and close that."""
        with os.fdopen(fd, "rb") as file:
            file.seek(0)
            values = json.load(file)
        identity = Identity(**values["identity"])
        if values["environment_file"] is not None:
            environment = json.loads(Path(values["environment_file"]).read_bytes())
            identity = replace(identity, environment=environment)
        return cls(**{**values, "identity": identity})


def _grow(
    control: socket.socket, isolation: Isolation, skeleton: Path, covered: list[str], hidden: list[Path]
) -> NoReturn:
    """Turn this forked process into the first one of a project, once it is told of which. Never returns."""
    try:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        init.close_all_but(0, 1, 2, control.fileno())
        isolated = isolation is not Isolation.NONE
        if isolated:
            sandbox.enter_namespaces()
            if os.fork():
                os._exit(0)
        os.setsid()
        kernel.set_process_name("project-spare")
        control.send(_INIT_IS_UP)
        sandbox.clamp_resources(own_uid=isolation is Isolation.FULL)
        if isolated:
            sandbox.prepare_project(str(skeleton), covered, hidden)
        message, fds, _, _ = socket.recv_fds(control, 1, 4)
        if not message:
            os._exit(0)  # the launcher has ended
        listener_fd, task_fd, log_fd, record_fd = fds
        task = _Task.read(task_fd)
        if isolated:
            sandbox.enter(root=str(skeleton), home=task.home, uid=task.uid, user=task.identity.user)
        else:
            kernel.adopt_orphans()
        if isolated or task.uid is not None:
            sandbox.drop_privileges(task.uid)
        _enter_home(task.identity.home)
        # Without isolation a change of uid alone has this effect, and there is nothing in here to hide.
        kernel.set_dumpable(not isolated)
        listener = socket.socket(fileno=listener_fd)
        serve_task = functools.partial(_serve, task.identity, control, listener)
        init.fork_server(serve_task, log_fd=log_fd, record_fd=record_fd, alone=isolated)
    except StartFailed as error:
        control.send(_FAILED + error.message.encode())
    except Exception as error:
        control.send(_FAILED + f"setting it up failed: {type(error).__name__}".encode())
        raise
    finally:
        os._exit(1)


def _serve(identity: Identity, control: socket.socket, listener: socket.socket) -> None:
    """Be the project server, as soon as the launcher has saved who we are."""
    control.send(_SERVER_IS_UP)
    # The change of uid has given this process's /proc files to root; they are the project's.
    kernel.set_dumpable(True)
    kernel.set_process_name("project-server")
    os.environ.clear()
    os.environ.update(make_environment(identity))
    server = make_server(identity)
    if control.recv(1) != _GO:
        os._exit(1)
    control.close()
    # Where DATA and LOGS point to. A home that has no room for it does without.
    with contextlib.suppress(OSError):
        Path(identity.home, ".smc").mkdir(exist_ok=True)
    try:
        serve(server, listener)
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
