"""What a project server has answered when it is asked to end."""

from __future__ import annotations

import http.client
import json
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

DEADLINE_S = 30.0

_SERVER = """
import os, socket, sys
from projecthub.projectserver.http import make_server, serve
from projecthub.projectserver.identity import Identity
identity = Identity(project_id="01234567-89ab-cdef-0123-456789abcdef", epoch=1, session_id="run-1", home="/tmp")
listener = socket.socket(socket.AF_UNIX)
listener.bind(sys.argv[1])
listener.listen()
server = make_server(identity, lambda: os._exit(0))
print(flush=True)
serve(server, listener)
"""


def test_an_answer_that_does_not_fit_into_the_socket_is_not_cut_off(tmp_path: Path) -> None:
    path = str(tmp_path / "s")
    with subprocess.Popen([sys.executable, "-c", _SERVER, path], stdout=subprocess.PIPE) as server:
        assert server.stdout is not None
        server.stdout.readline()
        with socket.socket(socket.AF_UNIX) as caller:
            caller.connect(path)
            caller.settimeout(DEADLINE_S)
            command = {"command": "head -c 3000000 /dev/zero | tr '\\0' x", "bash": True}
            body = json.dumps({"name": "system.exec", "args": [command]}).encode()
            caller.sendall(b"POST /call HTTP/1.1\r\nhost: p\r\ncontent-length: %d\r\n\r\n%s" % (len(body), body))
            caller.recv(1, socket.MSG_PEEK)  # it is answered, and most of that waits in the server
            server.send_signal(signal.SIGTERM)
            time.sleep(0.2)
            with http.client.HTTPResponse(caller) as reply:
                reply.begin()
                assert len(json.loads(reply.read())["ok"]["stdout"]) == 3_000_000
        assert server.wait(DEADLINE_S) == 0
