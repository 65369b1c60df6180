"""A load of keep-alive connections from one process, and the bare server to compare with."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
import time

BARE_SERVER = """
import socket, sys, uvicorn
from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Route
async def ping(request):
    return JSONResponse({"now": 0})
app = Starlette(routes=[Route("/api/conat/hub", ping, methods=["POST"])])
config = uvicorn.Config(app, loop="uvloop", http="httptools", access_log=False, log_level="warning", lifespan="off")
listener = socket.socket(fileno=int(sys.argv[1]))
uvicorn.Server(config).run(sockets=[listener])
"""


class BareServer:
    """A Starlette application with one route, on the same server as the hub."""

    def __enter__(self) -> BareServer:
        listener = socket.create_server(("127.0.0.1", 0), backlog=2048)
        self.port = listener.getsockname()[1]
        self.process = subprocess.Popen(
            [sys.executable, "-c", BARE_SERVER, str(listener.fileno())], pass_fds=[listener.fileno()]
        )
        listener.close()
        return self

    def __exit__(self, *details: object) -> None:
        self.process.terminate()
        self.process.wait()


class _Connection(asyncio.Protocol):
    """Sends the same request again as soon as its answer is whole."""

    def __init__(self, request: bytes, until: float) -> None:
        self.request = request
        self.until = until
        self.answers = 0
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        transport.write(self.request)  # type: ignore[attr-defined]

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        head, found, body = self.buffer.partition(b"\r\n\r\n")
        if not found:
            return
        length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n")[0])
        if len(body) < length:
            return
        if b" 200 " not in head[:16] or b'"error"' in body:
            self.done.set_exception(AssertionError(self.buffer))
            return
        self.answers += 1
        self.buffer = b""
        if time.perf_counter() < self.until:
            self.transport.write(self.request)  # type: ignore[attr-defined]
        else:
            self.transport.close()
            self.done.set_result(None)


def requests_per_s(port: int, key: str, body: bytes, *, connections: int = 16, seconds: float = 4.0) -> float:
    """How many calls a server answers in a second."""
    request = (
        b"POST /api/conat/hub HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
        b"Authorization: Bearer "
        + key.encode()
        + b"\r\nContent-Length: "
        + str(len(body)).encode()
        + b"\r\n\r\n"
        + body
    )

    async def run() -> float:
        loop = asyncio.get_running_loop()
        begin = time.perf_counter()
        made = [
            (await loop.create_connection(lambda: _Connection(request, begin + seconds), "127.0.0.1", port))[1]
            for _ in range(connections)
        ]
        await asyncio.gather(*(one.done for one in made))
        return sum(one.answers for one in made) / (time.perf_counter() - begin)

    import uvloop

    return uvloop.run(run())
