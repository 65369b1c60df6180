"""The hub as a process: socket, signals, logs, and what is printed at the start."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import gc
import os
import resource
import signal
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import structlog
import uvicorn

from projecthub.api.native.streamed import is_followed
from projecthub.app import ADMIN_KEY_FILE, URL_FILE, RunningHub, open_hub
from projecthub.corking import CorkedProtocol
from projecthub.engines.port import Isolation, Network
from projecthub.errors import HubError
from projecthub.logs import set_up_logs

if TYPE_CHECKING:
    from collections.abc import Iterator

    from projecthub.settings import Settings

_ISOLATION = {
    Isolation.FULL: "full: each project in its own namespaces, read-only system and user id",
    Isolation.USER: "user: own namespaces and read-only system (a user id, too, as root or with subordinate ids)",
    Isolation.NONE: "NONE: projects are plain processes that can see each other and this hub; run 'projecthub doctor'",
}


_NETWORK = {
    Network.NONE: "none: each project has a loopback of its own, unless a license or its settings give it the internet",
    Network.INTERNET: "internet: each project has a network of its own with a way out",
    Network.HOST: "HOST: every project reaches all loopback services of this machine; run 'projecthub doctor'",
}
_MAX_OPEN_FILES = 65_536
_ANSWER_WITHIN_S = 10
"""How long answers that are under way may take, or be taken, when the hub ends. Told in docs/operating.md."""
_log = structlog.get_logger()


class Refused(Exception):
    """The hub cannot start; the text says why, and what to do."""


class _Server(uvicorn.Server):
    """Leaves signals to us: what they mean for the projects is more than to close a socket.

    When it ends, what was asked for has `_ANSWER_WITHIN_S`; whoever follows something is left at once.
    """

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Take nothing more, answer what was asked, and leave who is left."""
        connections: set[Any] = {*self.server_state.connections}
        for connection in connections:
            if connection.cycle is not None and is_followed(connection.cycle.scope):
                connection.transport.abort()
        await super().shutdown(sockets)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Capture nothing."""
        yield


async def run(settings: Settings) -> None:
    """Serve until a signal ends it.

    Raises:
        Refused: It cannot start.
    """
    set_up_logs(settings.log_level, settings.log_format)
    _allow_open_files()
    keep_to_ourselves()
    listener = _listen(settings)
    try:
        async with open_hub(settings) as hub:
            config = uvicorn.Config(
                hub.app,
                http=CorkedProtocol,
                ws="none",
                lifespan="off",
                access_log=False,
                log_config=None,
                server_header=False,
                timeout_keep_alive=65,
                timeout_graceful_shutdown=_ANSWER_WITHIN_S,
                backlog=2048,
            )
            server = _Server(config)
            _handle_signals(server, hub)
            # What is loaded by now stays: the collector need not look through it again with every large listing.
            gc.collect()
            gc.freeze()
            _announce(settings, hub, listener)
            _tell_service_manager()
            await server.serve(sockets=[listener])
            if hub.stop_projects:
                _say_stopping(settings)
    except HubError as error:
        file = f" (it is {settings.url_of_store})" if error.details.get("damaged") else ""
        raise Refused(f"{error.message}{file}") from error
    except OSError as error:
        if not _is_of_data(error, settings.data_dir):
            raise
        raise Refused(
            f"cannot use the data directory {settings.data_dir}: {os.strerror(error.errno or 0)}; "
            "give another one with --data-dir"
        ) from error


def _allow_open_files() -> None:
    """Open as many files as the machine allows: each call into a project has a connection of its own."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _MAX_OPEN_FILES if hard == resource.RLIM_INFINITY else min(hard, _MAX_OPEN_FILES)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def keep_to_ourselves() -> None:
    """Hand none of the files on that we were started with: what outlives us would hold them, as the lock of `flock`."""
    for fd in [int(each.name) for each in Path("/proc/self/fd").iterdir()]:
        if fd > 2:
            with contextlib.suppress(OSError):  # that of the list itself
                os.set_inheritable(fd, False)


def _say_stopping(settings: Settings) -> None:
    if settings.log_format == "json":
        _log.warning("hub.stopping_projects")
    else:
        print("stopping all projects; Ctrl-C again does not wait", file=sys.stderr, flush=True)


def _is_of_data(error: OSError, data_dir: Path) -> bool:
    """Whether the data directory is to blame, or one of those that it lies in."""
    if error.filename is None:
        return error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EIO)  # met when a file was written to
    path = Path(os.fsdecode(error.filename))
    return path.is_relative_to(data_dir) or data_dir.is_relative_to(path)


def _listen(settings: Settings) -> socket.socket:
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    try:
        listener = socket.create_server((settings.host, settings.port), family=family, backlog=2048)
    except OSError as error:
        raise Refused(
            f"cannot listen on {settings.bind}: {error.strerror}; give another address with --bind"
        ) from error
    listener.setblocking(False)
    return listener


def _handle_signals(server: uvicorn.Server, hub: RunningHub) -> None:
    def interrupt() -> None:
        if server.should_exit:
            # The store is safe at every moment, and the projects are found again.
            os._exit(130)
        hub.stop_projects = True
        server.should_exit = True

    def terminate() -> None:
        server.should_exit = True

    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGINT, interrupt)
    loop.add_signal_handler(signal.SIGTERM, terminate)


def _announce(settings: Settings, hub: RunningHub, listener: socket.socket) -> None:
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    url = f"http://{host}:{listener.getsockname()[1]}"
    hub.site.listens_at(url)
    key_file = settings.data_dir / ADMIN_KEY_FILE
    # Where clients on this machine find the hub, whatever its port; the key lies beside it.
    (settings.data_dir / URL_FILE).write_text(url.replace("//0.0.0.0:", "//127.0.0.1:").replace("[::]", "[::1]") + "\n")
    if settings.log_format == "json":  # for a service: every line is one object, and the key stays in its file
        told = {"isolation": hub.isolation, "network": hub.network, "admin_key_file": str(key_file)}
        _log.warning("hub.serving", url=url, data_dir=str(settings.data_dir), **told)
        return
    lines = [
        f"projecthub serves {url}",
        f"  data directory  {settings.data_dir}",
        f"  isolation       {_isolation(settings, hub)}",
        f"  network         {_NETWORK[hub.network]}",
    ]
    if settings.admin_key is not None:
        lines.append(f"  admin's key     as given; kept in {key_file}")
    elif hub.admin_key_is_new:
        lines.append(f"  admin's key     {hub.admin_key}   (shown this once; kept in {key_file})")
    elif hub.admin_key is not None:
        lines.append(f"  admin's key     in {key_file}")
    lines += ["", *_examples(url, str(key_file))]
    print("\n".join(lines), flush=True)


def _tell_service_manager() -> None:
    """Tell systemd, if it wants to know (`Type=notify`), that the hub is there. Source: sd_notify(3)."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if address:
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as to_manager:
            to_manager.sendto(b"READY=1", "\0" + address[1:] if address.startswith("@") else address)


def _isolation(settings: Settings, hub: RunningHub) -> str:
    if settings.isolation == "none":
        return "NONE, as PROJECTHUB_ISOLATION says: projects are plain processes that can see each other and this hub"
    return _ISOLATION[hub.isolation]


def _examples(url: str, key_file: str) -> list[str]:
    """Three ways in, with the programs of the environment that this hub itself runs in."""
    programs = Path(sys.prefix) / "bin"
    command = programs / "projecthub"
    body = '{"name": "projects.createProject", "args": [{"title": "From curl"}]}'
    return [
        "# Python",
        f"{programs / 'python'} - <<'END'",
        "from projecthub import Hub",
        f"hub = Hub(api_key=open('{key_file}').read().strip(), host='{url}')",
        "project_id = hub.projects.create_project(title='First steps')",
        "print(hub.projects.start(project_id), hub.project(project_id).system.exec('echo hello'))",
        "END",
        "",
        "# curl",
        f"curl -u \"$(cat '{key_file}'):\" -H 'Content-Type: application/json' \\",
        f"     -d '{body}' {url}/api/conat/hub",
        "",
        "# command line",
        f"PROJECTHUB_URL={url} PROJECTHUB_API_KEY=\"$(cat '{key_file}')\" {command} projects list",
        "",
    ]
