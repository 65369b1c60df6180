"""What a project server has answered when it is asked to end."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import socket
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from http.client import HTTPResponse
from pathlib import Path
from typing import Any

DEADLINE_S = 30.0
FULL = 100_000
EXECUTION = "01234567-89ab-cdef-0123-456789abcdef"

_SERVER = """
import os, socket, sys
from projecthub.projectserver.http import make_server, serve
from projecthub.projectserver.identity import Identity
identity = Identity(project_id="01234567-89ab-cdef-0123-456789abcdef", epoch=1, session_id="run-1", home=sys.argv[2])
listener = socket.socket(socket.AF_UNIX)
listener.bind(sys.argv[1])
listener.listen()
server = make_server(identity, lambda: os._exit(0))
print(flush=True)
serve(server, listener)
"""


@contextmanager
def running_server(home: Path) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    path = str(home / "s")
    with subprocess.Popen([sys.executable, "-c", _SERVER, path, str(home)], stdout=subprocess.PIPE) as server:
        assert server.stdout is not None
        server.stdout.readline()
        try:
            yield server, path
        finally:
            server.kill()


def asked(path: str, where: str, name: str, *args: object) -> socket.socket:
    """A connection on which something is called."""
    caller = socket.socket(socket.AF_UNIX)
    caller.connect(path)
    caller.settimeout(DEADLINE_S)
    ask(caller, where, name, *args)
    return caller


def ask(caller: socket.socket, where: str, name: str, *args: object) -> None:
    body = json.dumps({"name": name, "args": args}).encode()
    caller.sendall(b"POST %s HTTP/1.1\r\nhost: p\r\ncontent-length: %d\r\n\r\n%s" % (where.encode(), len(body), body))


def answer(caller: socket.socket) -> Any:
    with HTTPResponse(caller) as reply:
        reply.begin()
        return json.loads(reply.read())


def unread_bytes(caller: socket.socket) -> int:
    return int.from_bytes(fcntl.ioctl(caller, termios.FIONREAD, bytes(4)), sys.byteorder)


def until_full(caller: socket.socket) -> None:
    """Wait until there is more than the socket holds."""
    seen = -1
    while seen != (seen := unread_bytes(caller)) or seen < FULL:
        time.sleep(0.2)


def test_an_answer_that_does_not_fit_into_the_socket_is_not_cut_off(tmp_path: Path) -> None:
    command = {"command": "head -c 3000000 /dev/zero | tr '\\0' x", "bash": True}
    with running_server(tmp_path) as (server, path), asked(path, "/call", "system.exec", command) as caller:
        caller.recv(1, socket.MSG_PEEK)  # it is answered, and most of that waits in the server
        server.send_signal(signal.SIGTERM)
        time.sleep(0.2)
        assert len(answer(caller)["ok"]["stdout"]) == 3_000_000
        assert server.wait(DEADLINE_S) == 0


def test_who_takes_nothing_of_a_stream_does_not_keep_a_server_from_its_end(tmp_path: Path) -> None:
    code = "for _ in range(50): print('x' * 100_000)"
    with running_server(tmp_path) as (server, path), ExitStack() as stack:
        with asked(path, "/call", "jupyter.sessions.open", {"name": "s"}) as caller:
            kernel = answer(caller)["ok"]["pid"]
        stack.callback(os.kill, kernel, signal.SIGKILL)  # outside of a sandbox it stays
        followed = {"name": "s", "id": EXECUTION}
        with asked(path, "/call", "jupyter.sessions.execute", {**followed, "code": code}) as caller:
            assert "ok" in answer(caller)
        for _ in range(5):
            until_full(stack.enter_context(asked(path, "/stream", "jupyter.sessions.follow", followed)))
        begin = time.monotonic()
        server.send_signal(signal.SIGTERM)
        assert server.wait(DEADLINE_S) == 0
        assert time.monotonic() - begin < 2  # which is what an engine allows it


def test_a_server_that_was_asked_to_end_takes_no_more_calls_on_kept_connections(tmp_path: Path) -> None:
    with running_server(tmp_path) as (server, path), ExitStack() as stack:
        idle, busy = (stack.enter_context(asked(path, "/call", "ping")) for _ in range(2))
        for caller in (idle, busy):
            assert answer(caller) == {"ok": "pong"}
        ask(busy, "/call", "system.exec", {"command": "sleep 1; echo done", "bash": True})
        time.sleep(0.3)
        server.send_signal(signal.SIGTERM)
        assert idle.recv(1) == b""
        with HTTPResponse(busy) as reply:
            reply.begin()
            assert json.loads(reply.read())["ok"]["stdout"] == "done\n"
            assert reply.headers["connection"] == "close"
        assert busy.recv(1) == b""
        assert server.wait(DEADLINE_S) == 0
