"""The template: a process that is a Python kernel but for its sockets and threads, and becomes one by each fork.

A kernel that is started as a program imports for a third of a second before it answers. The template has imported and
built everything that knows neither sockets nor threads, and has run a cell; a fork of it opens its sockets and is a
kernel. What must differ between kernels (session, keys, ids, random numbers) is made after the fork.

It reads requests from a socket that keeps message bounds: ``{"connection_file", "directory", "limits"}``. Each is
answered by ``{"pid"}`` with a pidfd of the new kernel and a pipe that says when its sockets are open, in the order of
the requests. It ends when the socket is closed.
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import gc
import importlib
import json
import os
import resource
import signal
import socket
import sys
import traceback
from typing import Any, NoReturn

from ipykernel.ipkernel import IPythonKernel
from ipykernel.kernelapp import IPKernelApp
from ipykernel.zmqshell import ZMQInteractiveShell

from projecthub.projectserver.commands import badness

MAX_REQUEST_BYTES = 8192
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGCHLD, signal.SIGHUP)

_LOADED_AT_START = (
    "faulthandler",
    "encodings.idna",
    "ipykernel.debugger",
    "IPython.extensions.storemagic",
    "tornado.locks",
    "tornado.platform.asyncio",
    "tornado.queues",
)


class _Kernel(IPythonKernel):
    """A kernel around the shell that was made before the fork."""

    def __init__(self, **options: Any) -> None:
        base: Any = super()  # without types
        base.__init__(**options)  # finds the shell, which is the only one of its process
        assert self.shell is not None
        self.shell.parent = self
        self.shell.kernel = self


class _KernelApp(IPKernelApp):
    """The program of a kernel, its start divided in what can be done before a fork and what only after it."""

    def prepare(self) -> None:
        """Do all that needs neither sockets nor threads."""
        app: Any = self  # without types
        app.kernel_class = _Kernel
        # Its files of settings are read, as by the program itself, and no command line is.
        base: Any = super(IPKernelApp, self)
        base.initialize([])
        # A history on disk has a thread and a connection to a database, and is nobody's who has a fresh kernel a call.
        self.config.HistoryManager.enabled = False
        app.init_pdb()
        _load_rest()
        shell = ZMQInteractiveShell.instance(parent=self, profile_dir=self.profile_dir)
        _rehearse(shell)

    def finish(self, connection_file: str) -> None:
        """Do the rest, in a new process."""
        app: Any = self  # without types
        app.connection_file = connection_file
        app.init_connection_file()
        app.init_sockets()
        # No heartbeat, which has a context and threads of its own: the end of the process is seen by its pidfd.
        ports = ("shell", "iopub", "stdin", "hb", "control")
        self._ports = {name: getattr(self, f"{name}_port") for name in ports}
        app.init_io()
        app.init_signal()
        app.init_kernel()
        app.init_path()
        app.init_shell()
        app.init_gui_pylab()
        app.init_extensions()
        app.init_code()
        sys.stdout.flush()
        sys.stderr.flush()


def _load_rest() -> None:
    """Load what a kernel loads when it starts, but for the debugger, which takes longest and which nobody can reach."""
    is_loaded = "debugpy" in sys.modules
    if not is_loaded:
        sys.modules["debugpy"] = None  # type: ignore[assignment]  # as if it were not installed
    for name in _LOADED_AT_START:
        importlib.import_module(name)
    if not is_loaded:
        del sys.modules["debugpy"]  # code may still use it


def _rehearse(shell: Any) -> None:
    """Have the shell load what it loads when it is first used, and leave nothing of it behind."""
    shell.run_cell("None", silent=True, store_history=False)
    shell.display_formatter.format({"a": [1]})
    try:
        raise ZeroDivisionError
    except ZeroDivisionError:
        shell.InteractiveTB.structured_traceback(*sys.exc_info())
    shell.reset(new_session=False)


def fork_template(control: socket.socket) -> int:
    """Fork this process into a template that serves ``control``; the child never returns.

    Returns:
        Its process id.

    Raises:
        OSError: No process is to be had.
    """
    child = os.fork()
    if child == 0:
        status = 1
        try:
            _become_own_process(control.fileno())
            _serve(control)
            status = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(status)
    return child


def _become_own_process(*kept: int) -> None:
    """Let go of what is the parent's: its session, its signal handlers, its files, its event loop."""
    os.setsid()
    signal.set_wakeup_fd(-1)
    for number in _SIGNALS:
        signal.signal(number, signal.SIG_DFL)
    lowest = 3
    for fd in (*sorted(kept), os.sysconf("SC_OPEN_MAX")):
        os.closerange(lowest, fd)
        lowest = fd + 1
    atexit._clear()


def _serve(control: socket.socket) -> None:
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "wb") as file:
        file.write(badness())
    app = _KernelApp.instance()
    app.prepare()
    gc.collect()
    gc.freeze()
    signal.signal(signal.SIGCHLD, _reap)
    while request := control.recv(MAX_REQUEST_BYTES):
        wanted = json.loads(request)
        # Held back: a kernel that ends at once keeps its process id until its pidfd is told.
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGCHLD])
        _fork_kernel(app, wanted, control)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGCHLD])


def _fork_kernel(app: _KernelApp, wanted: dict[str, Any], control: socket.socket) -> None:
    ready, readiness = os.pipe()
    child = None
    try:
        child = os.fork()
        if child == 0:
            _be_kernel(app, wanted, readiness)
        pidfd = os.pidfd_open(child)
        socket.send_fds(control, [json.dumps({"pid": child}).encode()], [pidfd, ready])
        os.close(pidfd)
    except OSError as error:
        if child is not None:
            os.kill(child, signal.SIGKILL)
        control.send(json.dumps({"error": error.strerror}).encode())
    finally:
        os.close(ready)
        os.close(readiness)


def _reap(*_: object) -> None:
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def _be_kernel(app: Any, wanted: dict[str, Any], readiness: int) -> NoReturn:
    status = 1
    try:
        _become_own_process(readiness)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGCHLD])
        limit_resources(wanted["limits"])
        os.chdir(wanted["directory"])
        asyncio.set_event_loop(asyncio.new_event_loop())
        app.finish(wanted["connection_file"])
        os.write(readiness, b"R")
        os.close(readiness)
        app.start()
        status = 0
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else 0
    except BaseException:
        traceback.print_exc(file=sys.__stderr__)
    finally:
        with contextlib.suppress(BaseException):
            atexit._run_exitfuncs()
        os._exit(status)


def limit_resources(limits: dict[str, int]) -> None:
    """Lower limits of this process, named as in `resource`; none is raised."""
    for name, value in limits.items():
        number = getattr(resource, name)
        hard = resource.getrlimit(number)[1]
        value = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(number, (value, value))
