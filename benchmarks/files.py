"""The figures of files: a large one down and up, beside a static file server and a bare upload of the same run.

And many small ones in one archive, beside GNU tar.
"""

from __future__ import annotations

import http.client
import io
import os
import socket
import statistics
import subprocess
import sys
import tarfile
import tempfile
import time
import zipfile
from pathlib import Path
from urllib.parse import urlsplit

import psutil
import zstandard
from tests.hubs import HubProcess

from benchmarks.hub import Wire
from benchmarks.table import Table

SIZE = 1_000_000_000
PIECE = 1 << 20
MANY = 20_000
BARE_SERVER = """
import os, sys, uvicorn
from starlette.applications import Starlette
from starlette.responses import FileResponse, Response
from starlette.routing import Route
async def get(request):
    return FileResponse(sys.argv[2])
async def put(request):
    with open(sys.argv[2] + ".up", "wb") as out:
        async for piece in request.stream():
            out.write(piece)
        os.fsync(out.fileno())
    return Response()
app = Starlette(routes=[Route("/", get), Route("/", put, methods=["PUT"])])
uvicorn.run(app, fd=int(sys.argv[1]), access_log=False, log_level="warning", lifespan="off")
"""


def _request(port: int, method: str, path: str, key: str, source: Path | None = None) -> float:
    """MB/s of one request."""
    connection = http.client.HTTPConnection("127.0.0.1", port)
    begin = time.perf_counter()
    headers = {"Authorization": f"Bearer {key}"}
    if source is None:
        connection.request(method, path, headers=headers)
    else:
        with source.open("rb") as body:
            connection.request(method, path, body=body, headers={**headers, "Content-Length": str(SIZE)})
    reply = connection.getresponse()
    size = 0
    while piece := reply.read(PIECE):
        size += len(piece)
    took = time.perf_counter() - begin
    assert reply.status in (200, 201), reply.status
    assert source is not None or size == SIZE
    connection.close()
    return SIZE / 1e6 / took


def transfers(table: Table, process: HubProcess, wire: Wire, projects: int) -> None:
    project_id = wire.call("projects.createProject", {"title": "bench"})
    port = urlsplit(process.url).port
    assert port is not None
    path = f"/api/v1/projects/{project_id}/files/content?path=large"
    server = psutil.Process(process.process.pid)
    figures: dict[str, list[float]] = {"down": [], "up": [], "bare down": [], "bare up": []}
    with tempfile.TemporaryDirectory() as scratch, socket.create_server(("127.0.0.1", 0)) as listener:
        source = Path(scratch, "large")
        with source.open("wb") as out:
            for _ in range(SIZE // PIECE + 1):
                out.write(os.urandom(PIECE))
            out.truncate(SIZE)
        arguments = [sys.executable, "-c", BARE_SERVER, str(listener.fileno()), str(source)]
        other = subprocess.Popen(arguments, pass_fds=[listener.fileno()])
        other_port = listener.getsockname()[1]
        before = server.memory_info().rss
        most = before
        for _ in range(3):
            figures["up"].append(_request(port, "PUT", path, process.admin_key, source))
            most = max(most, server.memory_info().rss)
            figures["bare up"].append(_request(other_port, "PUT", "/", "none", source))
            figures["down"].append(_request(port, "GET", path, process.admin_key))
            most = max(most, server.memory_info().rss)
            figures["bare down"].append(_request(other_port, "GET", "/", "none"))
        other.terminate()
        other.wait()
    for way, words in (("down", "download"), ("up", "upload")):
        ours, bare = statistics.median(figures[way]), statistics.median(figures[f"bare {way}"])
        table.add(
            f"{words} of 1 GB", f"{ours:.0f} MB/s = {ours / bare:.0%}", "(least) 60 %", f"{bare:.0f} MB/s: Starlette"
        )
    table.add("memory of the hub meanwhile", f"+{(most - before) / 1e6:.0f} MB", "", "")
    wire.call("projects.deleteProject", {"project_id": project_id})


def _archives() -> dict[str, bytes]:
    """The same files of 1 kB, packed in three ways."""
    contents = {f"d{number // 100}/f{number}": os.urandom(1000) for number in range(MANY)}
    tarred, zipped = io.BytesIO(), io.BytesIO()
    with tarfile.open(fileobj=tarred, mode="w") as tar:
        for name, content in contents.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    with zipfile.ZipFile(zipped, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in contents.items():
            archive.writestr(name, content)
    return {
        "tar.zst": zstandard.compress(tarred.getvalue()),
        "tar": tarred.getvalue(),
        "zip": zipped.getvalue(),
    }


def unpacking(table: Table, process: HubProcess, wire: Wire, projects: int) -> None:
    project_id = wire.call("projects.createProject", {"title": "bench"})
    port = urlsplit(process.url).port
    assert port is not None
    archives = _archives()
    rates: dict[str, list[float]] = {form: [] for form in (*archives, "GNU tar")}
    # Beside the homes: what a file system does with new files depends on where they are.
    with tempfile.TemporaryDirectory(dir=process.data_dir) as scratch:
        packed = Path(scratch, "a.tar.zst")
        packed.write_bytes(archives["tar.zst"])
        for run in range(3):
            for form, content in archives.items():
                path = f"/api/v1/projects/{project_id}/files/archive?path={run}.{form}&format={form}"
                connection = http.client.HTTPConnection("127.0.0.1", port)
                begin = time.perf_counter()
                connection.request("PUT", path, body=content, headers={"Authorization": f"Bearer {process.admin_key}"})
                reply = connection.getresponse()
                reply.read()
                rates[form].append(MANY / (time.perf_counter() - begin))
                assert reply.status == 201, reply.status
                connection.close()
            target = Path(scratch, str(run))
            target.mkdir()
            begin = time.perf_counter()
            subprocess.run(["tar", "--zstd", "-xf", packed, "-C", target], check=True)
            os.sync()  # as the hub does before it answers
            rates["GNU tar"].append(MANY / (time.perf_counter() - begin))
    bare = statistics.median(rates.pop("GNU tar"))
    for form, measured in rates.items():
        ours = statistics.median(measured)
        table.add(
            f"{MANY} files of 1 kB unpacked from {form}",
            f"{ours:.0f} files/s = {ours / bare:.0%}",
            "",
            f"{bare:.0f} files/s: tar --zstd -x",
        )
    wire.connection.close()  # the hub has closed it meanwhile; the next call opens it again
    wire.call("projects.deleteProject", {"project_id": project_id})
