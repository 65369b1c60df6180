"""The launcher: a process that has the project server's program in memory and has it forked on request.

It is started by `LocalEngine` over a socket that it inherits, has one thread, and holds no key, no database, nothing
of the hub's environment and no code of any project. Requests and replies are lines of JSON:

* first ``{"isolation", "network", "runtime_dir", "hidden"}``, answered by ``{"trial_pid", "counts_processes"}``
  or ``{"error"}``;
* then ``{"id", "start": {...}}``, answered by ``{"id", "record": {...}}`` or ``{"id", "error"}``;
* and ``{"id"}`` alone, which undoes the start of that id if it has not been answered yet, and answers it.

What forks is its *zygote*, which does nothing else. One *seedling* is kept ready: an init and a server to be, in
namespaces of their own, that wait to be told whose they are. So a start does not wait for what is the same for all
projects. When it is used the next one is made, as soon as there is nothing else to do.

It ends when the hub closes the socket, and is killed when the hub is. What it has started runs on.
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
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from projecthub.engines.local import cgroups, kernel, network, processes, sandbox, seccomp, user_namespaces
from projecthub.engines.local.records import SKELETON, Record, project_dir
from projecthub.engines.local.seedlings import FAILED, GO, SERVER_IS_UP, Soil, Task
from projecthub.engines.local.sockets import receive_with_sender
from projecthub.engines.local.zygote import Zygote
from projecthub.engines.port import Isolation, Limits, Network
from projecthub.errors import HubError
from projecthub.projectserver.http import rehearse
from projecthub.projectserver.identity import Identity

_RESTOCK_S = 0.01


@dataclass(slots=True, kw_only=True)
class _Seedling:
    """Processes that are no project yet.

    Attributes:
        control: Our end of the conversation with them.
        group: The control group that they are in.
        init: The first process to be.
        is_alive: Whether its end has not been seen, so that it is ours to kill.
    """

    control: socket.socket
    group: cgroups.Group
    init: int
    is_alive: bool = True

    def is_good(self) -> bool:
        """Whether it waits, or soon will."""
        try:
            receive_with_sender(self.control)
        except BlockingIOError:
            return self.is_alive
        return False  # it has failed, or was killed

    def discard(self) -> bool:
        """End what is left of it; whether nothing is. To be called again when a process of it has ended."""
        self.control.close()
        self.group.kill_once()
        return self.group.remove()


@dataclass(slots=True, kw_only=True)
class _Start:
    """A start that has not been answered yet.

    Attributes:
        id: The request's number.
        identity: Of the server to be.
        directory: The project's runtime directory.
        seedling: What becomes the project.
        is_deserted: Whether nobody holds the other end of the conversation any more.
        failure: Why it is being undone, if it is.
    """

    id: int
    identity: Identity
    directory: Path
    seedling: _Seedling
    is_deserted: bool = False
    failure: str | None = None


class Launcher:
    """Serves one hub."""

    def __init__(self, hub: socket.socket) -> None:
        """Make a launcher that is spoken to over a connected stream socket."""
        self._hub = hub
        self._lines = bytearray()
        self._isolation = Isolation.NONE
        self._network = Network.HOST
        self._runtime_dir = Path("/")
        self._zygote: Zygote
        self._trees = cgroups.Trees()
        self._counts_processes = False
        self._starts: dict[int, _Start] = {}
        self._spare: _Seedling | None = None
        self._withered: list[_Seedling] = []
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
        trial = None if self._isolation is Isolation.NONE else network.try_own()
        self._tell({"trial_pid": trial and trial[0], "counts_processes": self._counts_processes})
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
            self._spare = self._plant(own_network=self._network is not Network.HOST)
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
        self._network = Network(request["network"])
        self._trees = cgroups.Trees(**request["trees"])
        self._runtime_dir = Path(request["runtime_dir"])
        os.umask(0o022)
        skeleton, soil = self._runtime_dir / SKELETON, Soil(self._isolation)
        if self._isolation is not Isolation.NONE:
            hidden = (self._runtime_dir, *(Path(each) for each in request["hidden"]))
            sandbox.prepare(self._isolation, skeleton, hidden)
            soil = Soil(self._isolation, str(skeleton), tuple(sandbox.covered_trees()), hidden)
            self._counts_processes = self._isolation is Isolation.FULL or user_namespaces.count_processes()
        # A launcher that is stopped or slow must not carry out starts of a hub that is gone, beside those of the next.
        kernel.die_with_parent()
        kernel.set_process_name("project-launch")
        rehearse()
        seccomp.is_offered()  # makes the filter, once for all
        gc.collect()
        gc.freeze()
        namespaces = 0 if self._isolation is Isolation.NONE else sandbox.PROJECT_NAMESPACES
        self._zygote = Zygote(soil.grow, namespaces=namespaces)

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
        reach, limits = Network(wanted.pop("network")), Limits(**wanted.pop("limits"))
        isolated = self._isolation is not Isolation.NONE
        identity = Identity(**wanted, home=sandbox.HOME if isolated else home)
        directory = project_dir(self._runtime_dir, identity.project_id)
        shutil.rmtree(directory, ignore_errors=True)
        directory.mkdir(mode=0o700)
        seedling, own_network = None, reach is not Network.HOST
        if own_network is (self._network is not Network.HOST):  # what spares are made for
            seedling, self._spare = self._spare, None
        if seedling is not None and not seedling.is_good():
            self._discard(seedling)
            seedling = None
        if seedling is None:
            seedling = self._plant(own_network=own_network)
        start = _Start(id=number, identity=identity, directory=directory, seedling=seedling)
        self._starts[number] = start
        self._selector.register(seedling.control, selectors.EVENT_READ, number)
        seedling.group.limit(limits)
        task = Task(
            identity=identity,
            home=home,
            uid=uid,
            environment_file=environment_file,
            network=reach,
            memory_bytes=limits.memory_bytes,
            max_address_space_bytes=limits.memory_bytes if self._trees.memory is None else None,
            max_processes=limits.processes if self._trees.processes is None and self._counts_processes else None,
        )
        task.hand_over(seedling.control, directory)

    def _plant(self, *, own_network: bool) -> _Seedling:
        """Have a seedling forked.

        Raises:
            OSError: No process or socket is to be had.
        """
        group = self._trees.group()
        group.make()
        with contextlib.ExitStack() as opened:
            opened.callback(group.remove)
            control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            opened.enter_context(control)
            with theirs, group.opened() as (files, into):
                init = self._zygote.fork(theirs, files, into, own_network=own_network)
            control.setblocking(False)
            control.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
            opened.pop_all()
        self._is_barren = False
        return _Seedling(control=control, group=group, init=init)

    def _advance(self, start: _Start) -> None:
        """Take all that the processes of a start have reported so far."""
        while start.id in self._starts and not start.is_deserted:
            try:
                message, pid = receive_with_sender(start.seedling.control)
            except BlockingIOError:
                return
            if not message:
                self._selector.unregister(start.seedling.control)
                start.is_deserted = True
                self._fail(start, "it ended while it was set up")
            elif message == SERVER_IS_UP and start.failure is None:
                self._finish(start, pid)
            elif message.startswith(FAILED):
                self._fail(start, message[1:].decode())

    def _finish(self, start: _Start, server_pid: int) -> None:
        """Save who the new processes are, and only then let the server run."""
        first = processes.identify(start.seedling.init) if start.seedling.is_alive else None
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
            groups=start.seedling.group.directories,
        )
        try:
            record.save(start.directory)
            start.seedling.control.send(GO)
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
                start.seedling.control.shutdown(socket.SHUT_WR)
        self._undo(start)

    def _undo(self, start: _Start) -> None:
        if start.seedling.is_alive:
            os.kill(start.seedling.init, signal.SIGKILL)  # not reaped yet, so it is still that process
        elif start.is_deserted:
            shutil.rmtree(start.directory, ignore_errors=True)
            start.seedling.group.remove()
            self._forget(start)
            self._tell({"id": start.id, "error": start.failure})

    def _forget(self, start: _Start) -> None:
        del self._starts[start.id]
        if not start.is_deserted:
            self._selector.unregister(start.seedling.control)
        start.seedling.control.close()

    def _reap(self) -> None:
        """Take the remains of ended children. From then on their ids may mean other processes."""
        with contextlib.suppress(ChildProcessError):
            while (ended := os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG)) is not None:
                if ended.si_pid == self._zygote.pid:
                    raise EOFError("the zygote has ended")  # the hub makes another launcher, with another zygote
                for start in self._starts.values():
                    if start.seedling.init == ended.si_pid:
                        start.seedling.is_alive = False
                if self._spare is not None and self._spare.init == ended.si_pid:
                    self._spare.is_alive = False
                    self._discard(self._spare)
                    self._spare = None
        for start in [each for each in self._starts.values() if each.failure is not None]:
            self._undo(start)
        self._withered = [each for each in self._withered if not each.discard()]

    def _discard(self, seedling: _Seedling) -> None:
        if not seedling.discard():
            self._withered.append(seedling)


def main() -> None:
    """Run the launcher on the inherited socket whose number is the only argument."""
    with socket.socket(fileno=int(sys.argv[1])) as hub:
        Launcher(hub).run()


if __name__ == "__main__":
    main()
