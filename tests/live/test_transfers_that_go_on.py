"""Transfers whose program was killed go on in another one, and send only the rest."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from projecthub import Project
from projecthub.errors import InvalidArgument, ProtocolError
from tests.hubs import HubProcess
from tests.live.test_files import Remote, wait_until

SIZE = 200_000_000


class Gauge:
    """Carries connections to a hub, counts what passes, and can hold it up."""

    def __init__(self, url: str) -> None:
        self.up = self.down = 0
        self.stop_at: int | None = None
        self._end = threading.Event()
        self._port = int(url.rpartition(":")[2])
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                one, _ = self._listener.accept()
                other = socket.create_connection(("127.0.0.1", self._port))
                for source, target, is_up in ((one, other, True), (other, one, False)):
                    threading.Thread(target=self._carry, args=(source, target, is_up), daemon=True).start()

    def _carry(self, source: socket.socket, target: socket.socket, is_up: bool) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 18):
                target.sendall(data)
                if is_up:
                    self.up += len(data)
                else:
                    self.down += len(data)
                if self.is_full() and self._end.wait(0.2):
                    break
        for each in (source, target):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
        source.close()  # the other one is closed by the thread that reads of it

    def is_full(self) -> bool:
        return self.stop_at is not None and max(self.up, self.down) >= self.stop_at

    def begin(self, stop_at: int | None) -> None:
        self.up = self.down = 0
        self.stop_at = stop_at

    def close(self) -> None:
        self._end.set()
        self._listener.close()


@pytest.fixture
def remote(hub_process: HubProcess) -> Remote:
    return Remote(hub_process)


@pytest.fixture
def gauge(hub_process: HubProcess) -> Iterator[Gauge]:
    with contextlib.closing(Gauge(hub_process.url)) as made:
        yield made


@pytest.fixture
def inside(remote: Remote, gauge: Gauge) -> Iterator[Project]:
    with Project(remote.key, gauge.url, remote.project_id) as project:
        yield project


def start(remote: Remote, gauge: Gauge, *words: str) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "PROJECTHUB_URL": gauge.url, "PROJECTHUB_API_KEY": remote.key}
    command = [sys.executable, "-m", "projecthub", "files", words[0], remote.project_id, *words[1:]]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def run_until_killed(remote: Remote, gauge: Gauge, *words: str) -> None:
    gauge.begin(SIZE // 2)
    process = start(remote, gauge, *words)
    wait_until(gauge.is_full)
    process.kill()
    process.communicate()
    gauge.begin(None)


def run(remote: Remote, gauge: Gauge, *words: str) -> None:
    process = start(remote, gauge, *words)
    told = process.communicate(timeout=60)
    assert process.returncode == 0, told


@pytest.fixture
def local(tmp_path: Path) -> Path:
    path = tmp_path / "local"
    with path.open("wb") as file:
        for _ in range(SIZE // 1_000_000):
            file.write(os.urandom(1_000_000))
    return path


def test_an_upload_by_a_command_that_was_killed(remote: Remote, gauge: Gauge, local: Path) -> None:
    run_until_killed(remote, gauge, "put", str(local), "up")
    assert not (remote.home / "up").exists()
    run(remote, gauge, "put", str(local), "up")
    assert gauge.up < 0.7 * SIZE
    assert (remote.home / "up").read_bytes() == local.read_bytes()
    assert remote.left_over() == []


def test_an_upload_of_a_file_that_has_changed_since_begins_anew(remote: Remote, gauge: Gauge, local: Path) -> None:
    run_until_killed(remote, gauge, "put", str(local), "up")
    local.write_bytes(os.urandom(SIZE))
    run(remote, gauge, "put", str(local), "up")
    assert gauge.up > SIZE
    assert (remote.home / "up").read_bytes() == local.read_bytes()


def test_an_upload_whose_first_part_was_damaged_is_refused(remote: Remote, gauge: Gauge, local: Path) -> None:
    run_until_killed(remote, gauge, "put", str(local), "up")
    (data,) = (remote.directory / "uploads").glob("*/data")
    wait_until(lambda: data.stat().st_size > 10_000_000)
    with data.open("r+b") as file:
        file.seek(5_000_000)
        file.write(b"damage")
    with Project(remote.key, gauge.url, remote.project_id) as project:
        with pytest.raises(InvalidArgument, match="SHA-256"):
            project.files.upload(local, "up", mode=local.stat().st_mode & 0o777)
        assert not (remote.home / "up").exists()
        assert remote.left_over() == []
        project.files.upload(local, "up")
    assert (remote.home / "up").read_bytes() == local.read_bytes()


def test_a_source_that_is_cut_short_is_told(inside: Project, remote: Remote, tmp_path: Path) -> None:
    path = tmp_path / "shrinks"
    path.write_bytes(os.urandom(20_000_000))

    def cut(done: int, total: int | None) -> None:
        os.truncate(path, 10_000_000)

    with pytest.raises(ProtocolError, match="cut short"):
        inside.files.upload(path, "shrunk", progress=cut)
    assert not (remote.home / "shrunk").exists()


@pytest.fixture
def far(remote: Remote) -> Path:
    remote.put("far", b"")
    path = remote.home / "far"
    path.write_bytes(os.urandom(SIZE))
    return path


def test_a_download_by_a_command_that_was_killed(remote: Remote, gauge: Gauge, far: Path, tmp_path: Path) -> None:
    run_until_killed(remote, gauge, "get", "far", str(tmp_path / "near"))
    (part,) = tmp_path.iterdir()
    assert part.name.startswith(".near.part-") and part.stat().st_size > 0.3 * SIZE
    run(remote, gauge, "get", "far", str(tmp_path / "near"))
    assert gauge.down < 0.7 * SIZE
    assert (tmp_path / "near").read_bytes() == far.read_bytes()
    assert os.listdir(tmp_path) == ["near"]


def test_a_download_of_a_file_that_has_changed_begins_anew(
    remote: Remote, gauge: Gauge, far: Path, tmp_path: Path
) -> None:
    run_until_killed(remote, gauge, "get", "far", str(tmp_path / "near"))
    far.write_bytes(os.urandom(SIZE))
    run(remote, gauge, "get", "far", str(tmp_path / "near"))
    assert gauge.down > SIZE
    assert (tmp_path / "near").read_bytes() == far.read_bytes()
    assert os.listdir(tmp_path) == ["near"]


def test_what_is_left_of_a_download(inside: Project, remote: Remote, tmp_path: Path) -> None:
    content = os.urandom(3_000_000)
    remote.put("far", content)
    near = tmp_path / "near"

    def leave(done: int, total: int | None) -> None:
        raise KeyboardInterrupt

    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            inside.files.download("far", near, progress=leave)
        (part,) = tmp_path.iterdir()
    assert 0 < part.stat().st_size < len(content)
    left = part.read_bytes()
    part.write_bytes(b"damage" + left[6:])
    with pytest.raises(ProtocolError, match="checksum"):
        inside.files.download("far", near)
    assert os.listdir(tmp_path) == []
    for strange in (content, content + b"more", b""):
        part.write_bytes(strange)
        assert inside.files.download("far", near) == len(content)
        assert near.read_bytes() == content
        assert os.listdir(tmp_path) == ["near"]


def test_two_downloads_into_one_target_at_once(inside: Project, remote: Remote, tmp_path: Path) -> None:
    content = os.urandom(3_000_000)
    remote.put("far", content)
    near = tmp_path / "near"

    def another(done: int, total: int | None) -> None:
        if not near.exists():
            assert inside.files.download("far", near) == len(content)
            assert near.read_bytes() == content

    assert inside.files.download("far", near, progress=another) == len(content)
    assert near.read_bytes() == content
    assert os.listdir(tmp_path) == ["near"]
