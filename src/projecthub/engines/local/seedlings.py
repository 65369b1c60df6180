"""A project's first processes: forked by the launcher as a seedling, told later whose they are."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import sys
import traceback
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import NoReturn

from projecthub.engines.local import cgroups, init, kernel, network, sandbox
from projecthub.engines.local.records import EXIT_FILE, LOG_FILE, lock_alive
from projecthub.engines.local.sockets import listen
from projecthub.engines.port import Isolation, Network
from projecthub.errors import StartFailed
from projecthub.projectserver.environment import make_environment
from projecthub.projectserver.http import make_server, serve
from projecthub.projectserver.identity import Identity

SERVER_IS_UP, FAILED, GO = b"S", b"E", b"G"
"""What is said between the launcher and them."""


@dataclass(slots=True, kw_only=True)
class Task:
    """Whose project a seedling is to be.

    Attributes:
        identity: Of the server.
        home: The project's home on the machine.
        uid: The project's uid; None: the launcher's own.
        environment_file: Where the variables are that the project's people have set. The launcher never reads it: what
            it has once held, every later project can find in its own memory.
        network: What the project reaches.
        memory_bytes: The project's limit, below which its files in memory stay; None: it has none.
        max_address_space_bytes: Of each process; set where no control group limits memory.
        max_processes: Of the project's uid, in its user namespace; set where no control group limits them and the
            kernel counts the project's alone.
    """

    identity: Identity
    home: str
    uid: int | None
    environment_file: str | None
    network: Network
    memory_bytes: int | None
    max_address_space_bytes: int | None
    max_processes: int | None

    def hand_over(self, control: socket.socket, directory: Path) -> None:
        """Tell a seedling, with the files that it needs from a project's runtime directory."""
        with contextlib.ExitStack() as opened:
            listener = opened.enter_context(listen(directory))
            # A file, for a message has bounds that a project's environment has not.
            task = opened.enter_context(os.fdopen(os.memfd_create("task"), "wb", buffering=0))
            task.write(json.dumps(asdict(self)).encode())
            fds = [listener.fileno(), task.fileno()]
            for name in (LOG_FILE, EXIT_FILE):
                fds.append(os.open(directory / name, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600))
                opened.callback(os.close, fds[-1])
            fds.append(lock_alive(directory))
            opened.callback(os.close, fds[-1])
            if self.network is Network.INTERNET:
                fds.append(network.make_lifeline(directory))
                opened.callback(os.close, fds[-1])
            socket.send_fds(control, [GO], fds)

    @classmethod
    def read(cls, fd: int) -> Task:
        """Read a task from its file, and close that."""
        with os.fdopen(fd, "rb") as file:
            file.seek(0)
            values = json.load(file)
        identity = Identity(**values["identity"])
        if values["environment_file"] is not None:
            environment = json.loads(Path(values["environment_file"]).read_bytes())
            identity = replace(identity, environment=environment)
        return cls(**{**values, "identity": identity, "network": Network(values["network"])})


@dataclass(frozen=True, slots=True)
class Soil:
    """What is the same for all projects.

    Attributes:
        isolation: What keeps them apart.
        skeleton: Where `sandbox.prepare` has built it.
        covered: Of `sandbox.covered_trees`.
        hidden: Directories that no project may see.
    """

    isolation: Isolation
    skeleton: str = ""
    covered: tuple[str, ...] = ()
    hidden: tuple[Path, ...] = ()

    def grow(self, control: socket.socket, group_fds: Sequence[int], own_network: bool) -> NoReturn:
        """Turn this forked process into the first one of a project, once it is told of which. Never returns.

        It does next to nothing itself: what is to be the server builds the sandbox around both, for what it touches by
        that is memory that a server has anyway.
        """
        try:
            cgroups.join(group_fds)
            init.close_all_but(0, 1, 2, control.fileno())
            os.setsid()
            kernel.set_process_name("project-spare")
            signal.pthread_sigmask(signal.SIG_BLOCK, init.SIGNALS)
            channel, orders = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            server = os.fork()
            if server == 0:
                channel.close()
                self._grow_server(control, orders, own_network)
            control.close()
            orders.close()
            init.be_init(server, channel)
        finally:
            os._exit(1)

    def _grow_server(self, control: socket.socket, orders: socket.socket, own_network: bool) -> NoReturn:
        try:
            task, listener = self._settle_in(control, orders, own_network)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, init.SIGNALS)
            _serve(task.identity, control, listener)
            os._exit(0)
        except StartFailed as error:
            control.send(FAILED + error.message.encode())
        except Exception as error:
            control.send(FAILED + f"setting it up failed: {type(error).__name__}".encode())
            traceback.print_exc()
        finally:
            os._exit(1)

    def _settle_in(
        self, control: socket.socket, orders: socket.socket, own_network: bool
    ) -> tuple[Task, socket.socket]:
        """Build the sandbox, wait for the task, and have both processes confined; what the server is to listen on."""
        isolated, own_uid = self.isolation is not Isolation.NONE, self.isolation is Isolation.FULL
        if not isolated:
            kernel.die_with_parent()  # as in an own pid namespace: even a process that nobody knows by its id ends
        sandbox.clamp_resources(own_uid=own_uid)
        if isolated:
            sandbox.prepare_project(self.skeleton, self.covered, self.hidden, own_network=own_network)
        message, fds, _, _ = socket.recv_fds(control, 1, 6)
        if not message:
            os._exit(0)  # the launcher has ended
        listener_fd, task_fd, log_fd, record_fd, *held_fds = fds
        task = Task.read(task_fd)
        if isolated:
            if task.memory_bytes is not None:
                sandbox.limit_files_in_memory(self.skeleton, task.memory_bytes)
            resolver = network.resolver_configuration(task.network)
            sandbox.enter(root=self.skeleton, home=task.home, uid=task.uid, user=task.identity.user, resolver=resolver)
        if self.isolation is Isolation.USER:
            sandbox.enter_own_user_namespace()
        sandbox.limit_resources(task.max_address_space_bytes, task.max_processes)
        if isolated or task.uid is not None:
            sandbox.drop_privileges(task.uid)
        if isolated:
            sandbox.add_second_layers()
        else:
            kernel.die_with_parent()  # which a change of uid undoes
        _enter_home(task.identity.home)
        with orders:
            init.give_orders(orders, task.uid, isolated=isolated, fds=[log_fd, record_fd, *held_fds])
        return task, socket.socket(fileno=listener_fd)


def _serve(identity: Identity, control: socket.socket, listener: socket.socket) -> None:
    """Be the project server, as soon as the launcher has saved who we are."""
    # The change of uid has given this process's /proc files to root; they are the project's. Before we are known: the
    # hub opens our namespaces by them.
    kernel.set_dumpable(True)
    control.send(SERVER_IS_UP)
    kernel.set_process_name("project-server")
    os.environ.clear()
    os.environ.update(make_environment(identity))
    server = make_server(identity, _end)
    if control.recv(1) != GO:
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


def _end() -> NoReturn:
    """End at once: to take the event loop apart costs a millisecond, and nobody would see it."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


def _enter_home(home: str) -> None:
    try:
        os.chdir(home)
    except OSError as error:
        raise StartFailed(f"the project's home cannot be entered: {error.strerror}") from error
