"""Whole projects out of one hub and into another, and clones; a hub that is killed in the middle leaves nothing."""

from __future__ import annotations

import io
import json
import os
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from projecthub import Hub, errors
from tests.hubs import HubProcess

FILES = 1500


@pytest.fixture(scope="module")
def other_hub() -> Iterator[HubProcess]:
    with HubProcess() as hub:
        yield hub


def home_of(process: HubProcess, project_id: str) -> Path:
    return process.data_dir / "projects" / project_id / "home"


def plant(home: Path) -> None:
    """All kinds of things, as a project could make them."""
    (home / "deep" / "er").mkdir(parents=True)
    (home / "deep" / "er" / "large").write_bytes(os.urandom(2_500_000))
    (home / "script").write_bytes(b"#!/bin/sh\n")
    (home / "script").chmod(0o750)
    (home / "secret").write_text("for me")
    (home / "secret").chmod(0o400)
    os.link(home / "script", home / "deep" / "the same")
    (home / "link").symlink_to("deep/er/large")
    (home / "away").symlink_to("/etc/passwd")
    with (home / "sparse").open("wb") as file:
        file.seek(40_000_000)
        file.write(b"end")
        file.truncate(80_000_000)
    with open(os.fsencode(home) + b"/\xff\n", "wb") as file:
        file.write(b"odd")
    (home / ("ü" * 100)).write_text("long")
    os.setxattr(home / "script", "user.origin", b"\x00\xff=\n")
    os.setxattr(home / "deep", "user.kind", b"directory")
    os.mkfifo(home / "pipe")
    (home / "shut").mkdir()
    (home / "shut" / "in").write_text("x")
    (home / "shut").chmod(0o500)
    os.utime(home / "deep" / "er", ns=(0, 1_000_000_000_123_456_789))
    os.utime(home / "link", ns=(0, 1_000_000_000_987_654_321), follow_symlinks=False)
    owner = home.stat()
    for top, directories, names in os.walk(os.fsencode(home)):
        for name in (b".", *directories, *names):
            os.chown(os.path.join(top, name), owner.st_uid, owner.st_gid, follow_symlinks=False)
    (home / "script").chmod(0o750)
    os.utime(home / "shut", ns=(0, 1_500_000_000_000_000_001))


def seen(home: Path) -> dict[bytes, Any]:
    """All of a tree that an export keeps; pipes are left out, and what the hub keeps."""
    root = os.fsencode(home)
    owner = home.stat().st_uid
    found: dict[bytes, Any] = {}
    numbers: dict[int, bytes] = {}
    for top, directories, names in os.walk(root):
        if top == root and b".projecthub" in directories:
            directories.remove(b".projecthub")
        directories.sort()
        for name in sorted((b".", *directories, *names)):
            path = os.path.join(top, name)
            status = os.lstat(path)
            assert status.st_uid == status.st_gid == owner
            content: Any = None
            if stat.S_ISLNK(status.st_mode):
                content = os.readlink(path)
            elif stat.S_ISREG(status.st_mode):
                content = Path(os.fsdecode(path)).read_bytes(), numbers.setdefault(status.st_ino, path)[len(root) :]
            elif not stat.S_ISDIR(status.st_mode):
                continue
            xattrs = {each: os.getxattr(path, each) for each in os.listxattr(path, follow_symlinks=False)}
            found[path[len(root) :]] = (status.st_mode, status.st_mtime_ns, content, xattrs)
    return found


def command(process: HubProcess, *arguments: str, code: int = 0, **options: Any) -> subprocess.CompletedProcess[bytes]:
    environment = {**os.environ, "PROJECTHUB_URL": process.url, "PROJECTHUB_API_KEY": process.admin_key}
    done = subprocess.run(
        [sys.executable, "-m", "projecthub", *arguments], env=environment, capture_output=True, timeout=120, **options
    )
    assert done.returncode == code, done.stderr
    return done


@pytest.fixture(scope="module")
def planted(hub_process: HubProcess) -> str:
    with hub_process.hub() as hub:
        project_id = hub.projects.create_project("Soil", "samples")
        with hub.project(project_id) as inside:
            inside.files.write_text("thrown", "away")
            inside.files.delete("thrown")
    plant(home_of(hub_process, project_id))
    return project_id


def test_from_one_hub_to_another(hub_process: HubProcess, other_hub: HubProcess, planted: str, tmp_path: Path) -> None:
    before = seen(home_of(hub_process, planted))
    file, again, running = (tmp_path / f"{name}.tar.zst" for name in ("soil", "again", "running"))
    steps: list[tuple[int, int | None]] = []
    with hub_process.hub() as hub, other_hub.hub() as other:
        size = hub.projects.export(planted, file, progress=lambda *step: steps.append(step))
        assert steps[-1] == (size, None) == (file.stat().st_size, None)
        hub.projects.export(planted, again)
        hub.projects.start(planted)
        assert hub.projects.export(planted, running) > 1000
        hub.projects.stop(planted)
        steps.clear()
        done = other.projects.import_(file, progress=lambda *step: steps.append(step))
        assert steps[-1] == (size, size)
        assert done["left_out"] == 1
        [row] = other.projects.get(fields=["title", "description"], project_id=done["project_id"])
        assert (row["title"], row["description"]) == ("Soil", "samples")
        made = home_of(other_hub, done["project_id"])
        assert seen(made) == before
        assert (made / "sparse").stat().st_blocks * 512 < 1_000_000
        back = tmp_path / "back.tar.zst"
        other.projects.export(done["project_id"], back)
        assert file.read_bytes() == again.read_bytes()
        other.projects.start(done["project_id"])
        with other.project(done["project_id"]) as inside:
            assert inside.system.exec("cat shut/in; ./script; cat secret", bash=True)["stdout"] == "xfor me"
    assert sorted(os.listdir(tmp_path)) == ["again.tar.zst", "back.tar.zst", "running.tar.zst", "soil.tar.zst"]


def test_by_the_command_line(hub_process: HubProcess, other_hub: HubProcess, planted: str, tmp_path: Path) -> None:
    file = tmp_path / "soil.tar.zst"
    told = json.loads(command(hub_process, "projects", "export", planted, str(file), "--json").stdout)
    assert told == {"project_id": planted, "file": str(file), "bytes": file.stat().st_size}
    assert command(hub_process, "projects", "export", planted, "-").stdout == file.read_bytes()
    done = command(other_hub, "projects", "import", str(file), "--title", "Mine")
    project_id = done.stdout.decode().strip()
    assert b"1 sockets, pipes" in done.stderr
    assert seen(home_of(other_hub, project_id)) == seen(home_of(hub_process, planted))
    again = json.loads(command(other_hub, "projects", "import", "-", "--json", input=file.read_bytes()).stdout)
    assert again["files"] > 5
    cloned = command(other_hub, "projects", "clone", project_id, "Copy").stdout.decode().strip()
    assert seen(home_of(other_hub, cloned)).keys() == seen(home_of(other_hub, project_id)).keys()
    assert b"there is no file" in command(other_hub, "projects", "import", str(tmp_path / "none"), code=1).stderr
    assert b"on this machine" in command(hub_process, "projects", "export", planted, "/no/such/x", code=1).stderr
    assert b"no tar.zst" in command(other_hub, "projects", "import", __file__, code=1).stderr


def test_who_exports_and_imports(hub_process: HubProcess, planted: str) -> None:
    _, key = hub_process.person("export-stranger")
    with hub_process.hub() as admin, hub_process.hub(key) as stranger:
        with pytest.raises(errors.PermissionDenied):
            stranger.projects.export(planted, io.BytesIO())
        reader = hub_process.hub(stranger.keys.create(scopes=["read"])["secret"])
        with reader, pytest.raises(errors.PermissionDenied, match="scope 'manage'"):
            reader.projects.import_(b"x")
        with pytest.raises(errors.InvalidArgument):
            stranger.projects.import_(b"")
        gone = admin.projects.create_project("Gone")
        admin.projects.delete(gone)
        with pytest.raises(errors.Conflict, match="deleted"):
            admin.projects.export(gone, io.BytesIO())
    for method, path in (("GET", f"projects/{planted}/export"), ("POST", "projects/import"), ("POST", "projects")):
        assert httpx2.request(method, f"{hub_process.url}/api/v1/{path}").status_code == 401


def many(hub: Hub, process: HubProcess) -> str:
    """A project of many files."""
    project_id = hub.projects.create_project("Many")
    with hub.project(project_id) as inside:
        inside.files.write_text("first", "x")
    home = home_of(process, project_id)
    for number in range(FILES):
        directory = home / f"d{number % 20}"
        directory.mkdir(exist_ok=True)
        (directory / str(number)).write_bytes(b"%d" % number * 200)
    return project_id


def is_whole(process: HubProcess, project_id: str) -> bool:
    home = home_of(process, project_id)
    return all((home / f"d{number % 20}" / str(number)).read_bytes() == b"%d" % number * 200 for number in range(FILES))


def projects_on_disk(process: HubProcess) -> set[str]:
    return {name for name in os.listdir(process.data_dir / "projects") if len(name) == 36}


@pytest.mark.parametrize("what", ["import", "clone"])
def test_a_hub_that_is_killed_in_the_middle_leaves_all_or_nothing(
    own_hub: HubProcess, tmp_path: Path, what: str
) -> None:
    file = tmp_path / "many.tar.zst"
    with own_hub.hub(retries=0) as hub:
        source = many(hub, own_hub)
        hub.projects.export(source, file)
    unfinished = own_hub.data_dir / "projects" / ".unfinished"
    cut_short = 0
    for attempt in range(6):
        with own_hub.hub(retries=0) as hub:
            calls: dict[str, Callable[[], object]] = {
                "import": lambda hub=hub: hub.projects.import_(file),  # type: ignore[misc]
                "clone": lambda hub=hub: hub.projects.clone(source),  # type: ignore[misc]
            }
            thread = threading.Thread(target=_quietly, args=(calls[what],))
            thread.start()
            deadline = time.monotonic() + 20
            while thread.is_alive() and not (unfinished.exists() and os.listdir(unfinished)):
                assert time.monotonic() < deadline
                time.sleep(0.001)
            time.sleep(0.03 * attempt)
            own_hub.kill()
            thread.join()
        cut_short += len(os.listdir(unfinished))
        own_hub.restart()
        with own_hub.hub() as hub:
            known = {row["project_id"] for row in hub.projects.get(fields=["project_id", "title"], all=True)}
        assert projects_on_disk(own_hub) == known
        assert os.listdir(unfinished) == []
        for project_id in known:
            assert is_whole(own_hub, project_id)
    assert cut_short, "none was cut short"


def _quietly(call: Callable[[], object]) -> None:
    try:
        call()
    except errors.HubError:
        pass


def test_a_sender_who_goes_away_leaves_nothing(own_hub: HubProcess) -> None:
    with own_hub.hub() as hub:
        source = many(hub, own_hub)
        content = bytearray()

        class Into:
            def write(self, piece: bytes) -> int:
                content.extend(piece)
                return len(piece)

        hub.projects.export(source, Into())  # type: ignore[arg-type]
        before = projects_on_disk(own_hub)

        def half() -> Iterator[bytes]:
            yield bytes(content[: len(content) // 2])
            until(lambda: len(projects_on_disk(own_hub)) == len(before) + 1)
            raise ConnectionError

        with pytest.raises((ConnectionError, httpx2.HTTPError)):
            httpx2.post(
                f"{own_hub.url}/api/v1/projects/import",
                content=half(),
                headers={"Authorization": f"Bearer {own_hub.admin_key}"},
            )
        until(lambda: projects_on_disk(own_hub) == before)


def test_whoever_stops_watching_a_clone_has_none(own_hub: HubProcess) -> None:
    with own_hub.hub() as hub:
        source = hub.projects.create_project("Large")
        with hub.project(source) as inside:
            inside.files.write_text("first", "x")
        home = home_of(own_hub, source)
        for number in range(6000):
            directory = home / f"d{number % 20}"
            directory.mkdir(exist_ok=True)
            (directory / str(number)).write_bytes(b"x" * 2000)
        lines: list[dict[str, Any]] = []
        url = f"{own_hub.url}/api/v1/projects/{source}/clone"
        headers = {"Authorization": f"Bearer {own_hub.admin_key}"}
        before = projects_on_disk(own_hub)
        with httpx2.stream("POST", url, json={}, headers=headers, timeout=60) as answer:
            assert answer.headers["content-type"].startswith("application/x-ndjson")
            for line in answer.iter_lines():
                lines.append(json.loads(line))
                if "bytes" in lines[-1]:
                    break
        until(lambda: projects_on_disk(own_hub) == before)
        steps: list[tuple[int, int | None]] = []
        made = hub.projects.clone(source, progress=lambda *step: steps.append(step))
        assert projects_on_disk(own_hub) == before | {made}
        assert [done for done, _ in steps] == sorted(done for done, _ in steps)
        assert len(list(home_of(own_hub, made).rglob("*"))) == len(list(home.rglob("*")))


def until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.02)
