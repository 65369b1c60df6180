"""Files of projects by the clients and the command line."""

from __future__ import annotations

import contextlib
import io
import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from projecthub import AsyncHub, Hub, Project
from projecthub.errors import Conflict, InvalidArgument, LimitError, NotFound, PermissionDenied
from tests.hubs import HubProcess


@pytest.fixture(scope="module")
def hub(hub_process: HubProcess) -> Iterator[Hub]:
    with hub_process.hub() as client:
        yield client


@pytest.fixture(scope="module")
def project(hub: Hub) -> Project:
    return hub.project(hub.projects.create_project(title="Files of the client"))


def test_bytes_and_texts(project: Project) -> None:
    files = project.files
    assert files.write_bytes("a/b", b"\x00\xff")["bytes"] == 2
    assert files.read_bytes("a/b") == b"\x00\xff"
    files.write_text("a/t", "grün")
    assert files.read_text("a/t") == "grün"
    assert [entry["name"] for entry in files.list("a")] == ["b", "t"]
    assert files.stat("a")["is_directory"]
    files.move("a/t", "a/u")
    with pytest.raises(Conflict, match="already exists"):
        files.rename("a/u", "a/b")
    files.copy("a/u", "a/v")
    files.mkdir("a/w/x")
    assert [entry["name"] for entry in files.list("a")] == ["b", "u", "v", "w"]
    with pytest.raises(NotFound):
        files.read_bytes("a/none")
    with pytest.raises(InvalidArgument, match="outside"):
        files.read_bytes("../x")


def test_the_trash(project: Project) -> None:
    project.files.write_text("gone", "x")
    item = project.files.delete("gone")
    assert item is not None
    assert [one["path"] for one in project.files.trash.list() if one["id"] == item] == ["gone"]
    assert project.files.trash.restore(item, "back") == "back"
    project.files.delete("back")
    assert project.files.trash.empty() >= 1
    assert project.files.trash.list() == []
    project.files.write_text("gone", "x")
    assert project.files.delete("gone", permanent=True) is None


@pytest.mark.parametrize("size", [0, 1, 8 * 1024 * 1024, 20_000_001])
def test_any_size_in_and_out(project: Project, tmp_path: Path, size: int) -> None:
    content = os.urandom(size)
    (tmp_path / "local").write_bytes(content)
    seen: list[tuple[int, int | None]] = []
    assert project.files.upload(tmp_path / "local", "sized", mode=0o600, progress=lambda *at: seen.append(at)) == size
    assert project.files.upload(io.BytesIO(content), "sized2") == size
    assert project.files.download("sized", tmp_path / "back", verify=True) == size
    assert (tmp_path / "back").read_bytes() == content
    into = io.BytesIO()
    assert project.files.download("sized2", into) == size
    assert into.getvalue() == content
    assert seen[-1:] == ([(size, size)] if size else [])
    assert sorted(os.listdir(tmp_path)) == ["back", "local"]


class Relay:
    """Carries connections to a hub, and cuts each of the first ones after so many bytes of either direction."""

    def __init__(self, url: str, cuts: list[int]) -> None:
        self.cuts = cuts
        self.done = 0
        self._port = int(url.rpartition(":")[2])
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                one, _ = self._listener.accept()
                other = socket.create_connection(("127.0.0.1", self._port))
                for source, target in ((one, other), (other, one)):
                    threading.Thread(target=self._carry, args=(source, target), daemon=True).start()

    def _carry(self, source: socket.socket, target: socket.socket) -> None:
        carried = 0
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                target.sendall(data)
                carried += len(data)
                if self.cuts and carried >= self.cuts[0]:
                    self.cuts.pop(0)
                    self.done += 1
                    break
        for each in (source, target):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()  # with what was not read of it, so that whoever writes to it learns of its end

    def close(self) -> None:
        self._listener.close()


def test_what_is_cut_off_goes_on(hub_process: HubProcess, project: Project, tmp_path: Path) -> None:
    content = os.urandom(20_000_000)
    relay = Relay(hub_process.url, [9_000_000, 5_000_000])
    with contextlib.closing(relay), Project(hub_process.admin_key, relay.url, project.project_id) as lossy:
        assert lossy.files.upload(content, "cut") == len(content)
        assert relay.done == 2
        assert project.files.read_bytes("cut") == content
        relay.cuts = [9_000_000, 5_000_000]
        assert lossy.files.download("cut", tmp_path / "cut", verify=True) == len(content)
        assert relay.done == 4
        assert (tmp_path / "cut").read_bytes() == content


async def test_the_async_side(hub_process: HubProcess, tmp_path: Path) -> None:
    async with AsyncHub(hub_process.admin_key, hub_process.url) as hub:
        project = hub.project(await hub.projects.create_project())
        content = os.urandom(10_000_000)
        assert await project.files.upload(content, "x") == len(content)
        assert await project.files.download("x", tmp_path / "x", verify=True) == len(content)
        assert (tmp_path / "x").read_bytes() == content
        (tmp_path / "tree").mkdir()
        (tmp_path / "tree/f").write_bytes(content)
        assert (await project.files.upload_dir(tmp_path / "tree", "tree")).files == 1
        assert (await project.files.download_dir("tree", tmp_path / "back")).bytes == len(content)
        assert (tmp_path / "back/f").read_bytes() == content
        await project.files.delete("tree", permanent=True)
        await project.files.delete("x")
        assert len(await project.files.trash.list()) == 1
        assert await project.system.listing() == []


def test_a_key_of_the_project_and_one_of_others(hub_process: HubProcess, hub: Hub, project: Project) -> None:
    key = hub.keys.create(project_id=project.project_id, name="own")["secret"]
    with Project(key, hub_process.url) as own:
        own.files.write_text("by-key", "x")
        assert own.files.read_text("by-key") == "x"
    _, stranger = hub_process.person("client-stranger")
    with Project(stranger, hub_process.url, project.project_id) as other, pytest.raises(PermissionDenied):
        other.files.read_text("by-key")


def test_the_methods_of_the_wire(project: Project) -> None:
    system = project.system
    system.write_text_file_to_project("w/moved", "x")
    assert system.read_text_file_from_project("w/moved") == "x"
    system.move_files(["w/moved"], "")
    system.rename_file("w", "w2")
    assert system.realpath("w2") == "w2"
    assert system.canonical_paths(["w2/../w2/n"]) == ["w2/n"]
    system.delete_files(["w2"])
    assert "w2" not in {entry["name"] for entry in system.listing()}
    project.files.upload(io.BytesIO(b"x" * 9_000_000), "large")
    with pytest.raises(LimitError, match="files/content"):
        system.read_text_file_from_project("large")


def test_directories_in_and_out(project: Project, tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    (tree / "sub/empty").mkdir(parents=True)
    (tree / "sub/large").write_bytes(os.urandom(3_000_000))
    (tree / os.fsdecode(b"n\xff")).write_text("odd")
    (tree / "sub/large").chmod(0o750)
    (tree / "in").symlink_to("sub/large")
    (tree / "out").symlink_to("/etc/passwd")
    os.mkfifo(tree / "pipe")
    seen: list[tuple[int, int | None]] = []
    done = project.files.upload_dir(tree, "dir/t", progress=lambda *at: seen.append(at))
    assert (done.files, done.bytes, seen[-1]) == (4, 3_000_003, (3_000_003, 3_000_003))
    assert [text.rpartition("/")[2] for text in done.left_out] == ["pipe, which is no regular file"]
    (tmp_path / "back/sub").mkdir(parents=True)
    (tmp_path / "back/sub/large").write_text("old")
    (tmp_path / "back/kept").write_text("kept")
    back = project.files.download_dir("dir/t", tmp_path / "back")
    assert (back.files, back.bytes) == (3, 3_000_003)
    assert back.left_out == ("out, which leads out of the directory, or is no regular file",)
    assert (tmp_path / "back/sub/large").read_bytes() == (tree / "sub/large").read_bytes()
    assert (tmp_path / "back/sub/large").stat().st_mode & 0o777 == 0o750
    assert os.readlink(tmp_path / "back/in") == "sub/large"
    names = {os.fsencode(name) for name in os.listdir(tmp_path / "back")}
    assert names == {b"sub", b"in", b"kept", b"n\xff"}
    with pytest.raises(NotFound):
        project.files.download_dir("no/such", tmp_path / "none")
    with pytest.raises(InvalidArgument, match="no directory"):
        project.files.upload_dir(tmp_path / "no", "x")
    (tmp_path / "away").mkdir()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "away/sub").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(Conflict, match="leads out"):
        project.files.download_dir("dir/t", tmp_path / "away")
    assert os.listdir(tmp_path / "elsewhere") == []


def run(process: HubProcess, *words: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    environment = {**os.environ, "PROJECTHUB_URL": process.url, "PROJECTHUB_API_KEY": process.admin_key}
    command = [sys.executable, "-m", "projecthub", "files", *words]
    return subprocess.run(command, env=environment, input=stdin, capture_output=True, timeout=60)


def test_the_command_line(hub_process: HubProcess, hub: Hub, tmp_path: Path) -> None:
    project_id = hub.projects.create_project()
    tree = tmp_path / "tree"
    (tree / "sub/empty").mkdir(parents=True)
    (tree / "f").write_bytes(b"\xff\x00")
    (tree / "sub/g").write_text("g")
    assert run(hub_process, "put", project_id, str(tree), "t").returncode == 1, "without -r"
    told = run(hub_process, "put", "-r", "--json", project_id, str(tree), "t")
    assert json.loads(told.stdout) == {"files": 2, "bytes": 3}
    assert run(hub_process, "put", project_id, "-", "from-stdin", stdin=b"piped").returncode == 0
    assert run(hub_process, "cat", project_id, "t/f").stdout == b"\xff\x00"
    assert run(hub_process, "cat", project_id, "from-stdin").stdout == b"piped"
    assert run(hub_process, "get", "-r", project_id, "t", str(tmp_path / "back")).returncode == 0
    assert (tmp_path / "back/sub/g").read_text() == "g" and (tmp_path / "back/sub/empty").is_dir()
    assert run(hub_process, "get", "-r", "--verify", project_id, "t", str(tmp_path / "back")).returncode == 1
    assert run(hub_process, "get", "--verify", project_id, "t/f", str(tmp_path / "f")).returncode == 0
    names = [entry["name"] for entry in json.loads(run(hub_process, "ls", "--json", project_id, "t").stdout)]
    assert names == ["f", "sub"]
    assert b"sub/" in run(hub_process, "ls", project_id, "t").stdout
    nowhere = run(hub_process, "get", project_id, "t/f", str(tmp_path / "no/such/f"))
    assert (nowhere.returncode, b"on this machine: No such file" in nowhere.stderr) == (1, True)
    assert run(hub_process, "mkdir", project_id, "new/dir").returncode == 0
    assert run(hub_process, "mv", project_id, "t/f", "new/f").returncode == 0
    assert run(hub_process, "mv", project_id, "t/none", "x").returncode == 3
    assert run(hub_process, "rm", project_id, "t").returncode == 1, "without -r"
    assert run(hub_process, "rm", "-r", project_id, "t").returncode == 0
    (item,) = json.loads(run(hub_process, "trash", "ls", "--json", project_id).stdout)
    assert run(hub_process, "trash", "restore", project_id, item["id"]).stdout == b"t\n"
    assert run(hub_process, "rm", "--permanent", project_id, "new/f").returncode == 0
    assert json.loads(run(hub_process, "trash", "empty", "--json", project_id).stdout) == {"items": 0}
