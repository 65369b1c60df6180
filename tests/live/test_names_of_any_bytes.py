"""Files whose names are no UTF-8, by the routes, the client and the command line."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from projecthub import AsyncHub, Project
from projecthub.errors import InvalidArgument, NotFound
from tests.hubs import HubProcess
from tests.live.test_files import Remote

ODD = os.fsdecode(b"\xff\n%41")
LOOKS_ODD = "\\xff\n%41"


@pytest.fixture
def remote(hub_process: HubProcess) -> Remote:
    return Remote(hub_process)


@pytest.fixture
def inside(remote: Remote) -> Iterator[Project]:
    with Project(remote.key, remote.process.url, remote.project_id) as project:
        yield project


def on_disk(remote: Remote, path: str = "") -> set[str]:
    return {name for name in os.listdir(remote.home / path) if not name.startswith(".")}


def test_what_looks_alike_is_told_apart(inside: Project, remote: Remote) -> None:
    files = inside.files
    files.write_text(ODD, "odd")
    files.write_text(LOOKS_ODD, "looks odd")
    assert on_disk(remote) == {ODD, LOOKS_ODD}
    assert {entry["name"] for entry in files.list()} == {ODD, LOOKS_ODD}
    assert (files.read_text(ODD), files.read_text(LOOKS_ODD)) == ("odd", "looks odd")
    assert (files.stat(ODD)["bytes"], files.stat(LOOKS_ODD)["bytes"]) == (3, 9)
    files.move(ODD, f"d{ODD}")
    files.mkdir(f"dir{ODD}/in")
    files.copy(f"d{ODD}", f"dir{ODD}/copied{ODD}")
    assert on_disk(remote, f"dir{ODD}") == {"in", f"copied{ODD}"}
    item = files.delete(f"d{ODD}")
    assert on_disk(remote) == {LOOKS_ODD, f"dir{ODD}"}
    assert item is not None
    assert files.trash.restore(item) == "d\\xff\n%41"
    assert on_disk(remote) == {LOOKS_ODD, f"dir{ODD}", f"d{ODD}"}
    with pytest.raises(NotFound, match=r"\\xff"):
        files.read_text(ODD)
    with pytest.raises(InvalidArgument, match="outside"):
        files.read_text(f"../{ODD}")
    with pytest.raises(InvalidArgument, match="half of a character"):
        files.read_text("\ud800")
    shown = [entry for entry in inside.system.listing() if entry["name"] == LOOKS_ODD]
    assert len(shown) == 1


def test_any_size_and_directories(inside: Project, remote: Remote, tmp_path: Path) -> None:
    content = os.urandom(9_000_000)
    local = tmp_path / f"local{ODD}"
    local.write_bytes(content)
    inside.files.upload(local, f"up{ODD}")
    assert (remote.home / f"up{ODD}").read_bytes() == content
    inside.files.download(f"up{ODD}", tmp_path / f"down{ODD}", verify=True)
    assert (tmp_path / f"down{ODD}").read_bytes() == content
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree" / ODD).write_text("x")
    inside.files.upload_dir(tmp_path / "tree", f"tree{ODD}")
    inside.files.download_dir(f"tree{ODD}", tmp_path / "back")
    assert os.listdir(tmp_path / "back") == [ODD]
    named = remote("GET", "files/archive", params={"path": "", "format": "zip"})
    assert named.status_code == 200


async def test_the_async_side(hub_process: HubProcess) -> None:
    async with AsyncHub(hub_process.admin_key, hub_process.url) as hub:
        files = hub.project(await hub.projects.create_project()).files
        await files.write_text(ODD, "x")
        await files.move(ODD, f"{ODD}{ODD}")
        assert [entry["name"] for entry in await files.list()] == [f"{ODD}{ODD}"]


def test_pages_lose_nothing(remote: Remote) -> None:
    remote.put("d/first", b"")
    names = [b"\xff", b"\\xff", b"a\xff", b"a\\xff", b"%", b"%41", b"A", b"a\n", "\U0001f600".encode(), b"first", b" "]
    for name in names:
        (remote.home / "d" / os.fsdecode(name)).touch()
    found: list[bytes] = []
    after = ""
    while True:
        page = remote("GET", "files", params={"path": "d", "limit": 1, "after": after}).json()
        found += [os.fsencode(_raw(entry)) for entry in page["entries"]]
        assert len(page["entries"]) == 1
        if page["next"] is None:
            break
        after = page["next"]
    assert sorted(found) == sorted(names)


def _raw(entry: dict[str, str]) -> str:
    from urllib.parse import unquote_to_bytes

    return os.fsdecode(unquote_to_bytes(entry["encoded_name"])) if entry["encoded_name"] else entry["name"]


def test_the_routes(remote: Remote) -> None:
    assert remote("PUT", "files/content?path=%FF", content=b"x").json()["path"] == "\\xff"
    assert on_disk(remote) == {os.fsdecode(b"\xff")}
    assert remote("GET", "files/stat?path=%FF").json()["encoded_name"] == "%FF"
    assert remote("GET", "files/content?path=%FF").headers["content-disposition"].endswith("%5Cxff")
    moved = remote("POST", "files/move", json={"src": "%FF", "dest": "b%25", "encoded": True})
    assert moved.status_code == 200
    assert on_disk(remote) == {"b%"}
    assert remote("POST", "files/move", json={"src": "b%", "dest": "%FF"}).status_code == 200
    assert on_disk(remote) == {"%FF"}
    assert remote("GET", "files?path=%FF%FE").status_code == 404
    assert remote("GET", "files/archive?path=%FF%FE").status_code == 404
    assert remote("GET", "uploads?path=%FF").json() == {"uploads": []}


def run(remote: Remote, *words: str) -> subprocess.CompletedProcess[bytes]:
    environment = {**os.environ, "PROJECTHUB_URL": remote.process.url, "PROJECTHUB_API_KEY": remote.key}
    command = [sys.executable, "-m", "projecthub", "files", words[0], remote.project_id, *words[1:]]
    return subprocess.run(command, env=environment, capture_output=True, timeout=60)


def test_the_command_line(remote: Remote, tmp_path: Path) -> None:
    (tmp_path / "f").write_text("x")
    assert run(remote, "put", str(tmp_path / "f"), ODD).returncode == 0
    assert on_disk(remote) == {ODD}
    assert "\\xff" in run(remote, "ls").stdout.decode()
    (entry,) = json.loads(run(remote, "ls", "--json").stdout)
    assert entry["name"] == ODD
    assert run(remote, "cat", ODD).stdout == b"x"
    assert run(remote, "get", ODD, str(tmp_path)).returncode == 0
    assert (tmp_path / ODD).read_text() == "x"
    assert run(remote, "mv", ODD, f"{ODD}2").returncode == 0
    assert run(remote, "rm", "--json", f"{ODD}2").returncode == 0
    assert on_disk(remote) == set()
