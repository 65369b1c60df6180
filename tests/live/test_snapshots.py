"""Snapshots on a real hub: people's use of them, kills, a hostile project, full disks and file systems that clone."""

from __future__ import annotations

import contextlib
import json
import os
import random
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from projecthub import Hub
from projecthub.errors import HubError, LimitError, TransportError
from projecthub.files.snapshots.manifests import read
from tests.hubs import HubProcess
from tests.snapshot_homes import SnapshotHome, tree_of

RACE_S = 3.0
SECRET = b"SECRET"
SWAP = """
import ctypes, os, sys
swap = ctypes.CDLL(None).renameat2
places = [(os.open(os.path.dirname(path), os.O_PATH), os.fsencode(os.path.basename(path))) for path in sys.argv[1:]]
print("ready", flush=True)
while os.getppid() != 1:
    for one, other in zip(places[::2], places[1::2]):
        swap(*one, *other, 2)
"""
root_only = pytest.mark.skipif(os.geteuid() != 0, reason="only root mounts a file system")


def home_of(process: HubProcess, project_id: str) -> Path:
    return process.data_dir / "projects" / project_id / "home"


def test_people_use_snapshots(hub_process: HubProcess) -> None:
    _, key = hub_process.person("snapper")
    with hub_process.hub(key) as hub:
        project_id = hub.projects.create_project("Snapped")
        with hub.project(project_id) as project:
            project.files.write_text("data/a.txt", "one")
            project.system.exec("ln -s a.txt data/link; chmod 750 data; ln data/a.txt data/hard", bash=True)
            first = project.snapshots.create("first", expire="2100-01-01")
            assert (first["title"], first["expires"]) == ("first", "2100-01-01T00:00:00.000Z")
            project.system.exec("echo two > data/a.txt; rm data/link; echo x > 'new file'", bash=True)
            changes = {change["path"]: change["status"] for change in project.snapshots.diff(first["id"])}
            assert changes == {
                "data/a.txt": "changed", "data/hard": "changed", "data/link": "removed", "new file": "added",
            }  # fmt: skip
            assert len(project.snapshots.diff(first["id"], limit=2)) == 2
            assert project.snapshots.read_bytes(first["id"], "data/a.txt") == b"one"
            restored = project.snapshots.restore(first["id"])  # under a running project
            look = "cat data/a.txt data/hard; echo; readlink data/link; stat -c '%a %h' data/hard data; ls"
            seen = project.system.exec(look, bash=True)["stdout"].split()
            assert seen == ["oneone", "a.txt", "644", "2", "750", "2", "data"]
            project.system.exec("echo mine >> data/a.txt", bash=True)  # it belongs to the project
            hub.projects.stop(project_id)
            project.snapshots.restore(restored["before"], "data")
            assert project.files.read_text("data/a.txt") == "two\n"
            overview = project.snapshots.overview()
            assert [row["automatic"] for row in overview["snapshots"]] == [True, True, False]
            assert 0 < overview["used_bytes"] < overview["quota_bytes"]
            assert hub.projects.status(project_id)["snapshots_MB"] >= 1
            assert hub.projects.state(project_id)["state"] == "stopped"
            for row in overview["snapshots"]:
                project.snapshots.delete(row["id"])
            assert project.snapshots.overview()["used_bytes"] == 0
        events = [entry["event"]["event"] for entry in hub.projects.log(project_id)]
        assert events.count("snapshot_restored") == 2
        assert events.count("snapshot_deleted") == 3
    owners = {path.lstat().st_uid for path in home_of(hub_process, project_id).rglob("*")}
    assert len(owners) == 1


def run(process: HubProcess, key: str, *arguments: str) -> str:
    environment = {**os.environ, "PROJECTHUB_API_KEY": key, "PROJECTHUB_URL": process.url}
    command = [sys.executable, "-m", "projecthub", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_command_line(hub_process: HubProcess) -> None:
    _, key = hub_process.person("typist-of-snapshots")
    with hub_process.hub(key) as hub:
        project_id = hub.projects.create_project("Typed")
        inside = hub.project(project_id)
        inside.files.write_text("a", "one")
        assert "files" in run(hub_process, key, "snapshots", "create", project_id, "the first", "--expire", "30d")
        inside.files.write_text("a", "two")
        inside.files.write_text("b", "two")
        assert run(hub_process, key, "snapshots", "diff", project_id, "latest").splitlines() == ["M a", "A b"]
        assert "the first" in run(hub_process, key, "snapshots", "list", project_id)
        assert run(hub_process, key, "snapshots", "cat", project_id, "latest", "a") == "one"
        [row] = json.loads(run(hub_process, key, "snapshots", "list", project_id, "--json"))["snapshots"]
        done = json.loads(run(hub_process, key, "snapshots", "restore", project_id, row["id"][:8], "a", "--json"))
        assert (done["files"], inside.files.read_text("a"), inside.files.read_text("b")) == (1, "one", "two")
        changes = json.loads(
            run(hub_process, key, "snapshots", "diff", project_id, row["id"], done["before"], "--json")
        )
        assert [change["path"] for change in changes] == ["a", "b"]
        run(hub_process, key, "snapshots", "restore", project_id, row["id"], "--to", "old")
        assert inside.files.read_text("old/a") == "one"
        assert "freed_bytes" in run(hub_process, key, "snapshots", "delete", project_id, row["id"])


# -- kills -----------------------------------------------------------------------------------------


def fill(home: Path, number: int) -> None:
    """A tree of its own for each number: files that stay, change, come and go."""
    for name in range(300):
        path = home / f"d{name % 7}" / f"{name}"
        if (name + number) % 3:
            path.parent.mkdir(exist_ok=True)
            path.write_text("same" * name if name % 2 else f"{number} {name}")
        else:
            path.unlink(missing_ok=True)
    (home / f"only-{number}").write_text("x")
    for other in home.glob("only-*"):
        if other.name != f"only-{number}":
            other.unlink()


def test_a_hub_that_is_killed_ends_in_one_state_or_the_other(own_hub: HubProcess) -> None:
    draw = random.Random(7)
    with own_hub.hub() as hub:
        project_id = hub.projects.create_project("Killed")
        hub.project(project_id).files.mkdir("d0")
    home = home_of(own_hub, project_id)
    shelf = own_hub.data_dir / "snapshots" / "projects" / project_id
    trees: dict[str, Any] = {}
    for number in (20, 21):
        fill(home, number)
        with own_hub.hub() as hub:
            began = time.monotonic()
            trees[hub.project(project_id).snapshots.create()["id"]] = tree_of(home, ".projecthub")
            usual_s = time.monotonic() - began
    for number in range(10):
        fill(home, number)
        now = tree_of(home, ".projecthub")
        doing = draw.choice(["create", "restore", "restore", "delete"]) if len(trees) > 1 else "create"
        target = draw.choice(sorted(trees))
        thread = threading.Thread(target=call, args=[own_hub, project_id, doing, target])
        thread.start()
        time.sleep(draw.uniform(0, 2) * usual_s)
        own_hub.kill()
        thread.join()
        own_hub.restart()
        with own_hub.hub() as hub:
            snapshots = hub.project(project_id).snapshots
            await_repair(own_hub, project_id)
            rows = {row["id"]: row for row in snapshots.list()}
            after = tree_of(home, ".projecthub")
            if doing == "restore" and after != now:
                assert after == trees[target], "neither the one nor the other"
                # What was there is in a snapshot, for it was decided after that.
                newest = next(iter(rows))
                assert rows[newest]["automatic"]
                trees[newest] = now
                assert target in rows
            else:
                assert after == now
                for made in rows.keys() - trees.keys():
                    trees[made] = now
            for gone in trees.keys() - rows.keys():
                assert (doing, gone) == ("delete", target)
                del trees[gone]
            needed = {entry.content for each in rows for entry in read(shelf / "manifests" / each)} - {""}
            assert set(os.listdir(shelf / "objects")) == needed
            assert set(os.listdir(shelf / "manifests")) == rows.keys()
            assert sorted(os.listdir(home.parent)) in (["home", "staging"], ["copies", "home", "staging"])
            chosen = draw.choice(sorted(trees))
            snapshots.restore(chosen)
            assert tree_of(home, ".projecthub") == trees[chosen]
            newest = snapshots.list()[0]
            if newest["id"] not in trees:
                trees[newest["id"]] = after
    assert len(trees) > 3


def call(process: HubProcess, project_id: str, doing: str, target: str) -> None:
    with contextlib.suppress(TransportError), process.hub(retries=0) as hub:
        snapshots = hub.project(project_id).snapshots
        if doing == "create":
            snapshots.create()
        elif doing == "restore":
            snapshots.restore(target)
        else:
            snapshots.delete(target)


def await_repair(process: HubProcess, project_id: str) -> None:
    """Wait until the hub, which looks when it opens, has brought to an end what was left."""
    mark = process.data_dir / "snapshots" / "unfinished" / project_id
    for _ in range(300):
        if not mark.exists():
            return
        time.sleep(0.05)
    raise AssertionError("nobody looked after it")


def test_a_hub_takes_them_by_itself() -> None:
    with HubProcess() as process:
        with process.hub() as hub:
            used, other = hub.projects.create_project("Used"), hub.projects.create_project("Not used")
            hub.project(used).files.write_text("a", "one")
        process.terminate()
        process.restart(PROJECTHUB_SNAPSHOT_HOURS="24")  # it looks when it opens, and once a minute
        with process.hub() as hub:
            for _ in range(600):
                if rows := hub.project(used).snapshots.list():
                    break
                time.sleep(0.1)
            assert [(row["automatic"], row["account_id"]) for row in rows] == [(True, None)]
            assert hub.project(used).snapshots.read_bytes(rows[0]["id"], "a") == b"one"
            assert hub.project(other).snapshots.list() == []
            event = hub.projects.log(used)[0]
            assert event["event"]["event"] == "snapshot_created"


# -- a hostile project -----------------------------------------------------------------------------


@contextlib.contextmanager
def swapping(*paths: Path) -> Iterator[None]:
    """A process that lets paths change places, two and two, as fast as it can."""
    command = [sys.executable, "-c", SWAP, *map(str, paths)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == b"ready\n"
            yield
        finally:
            process.kill()


def test_a_hostile_home_neither_shows_nor_reaches_what_is_outside(tmp_path: Path) -> None:
    kept = SnapshotHome(tmp_path / "hub")
    outside = tmp_path / "outside"
    outside.mkdir()
    for number in range(20):
        (outside / f"{number}").write_bytes(SECRET)
    for directory in ("d", "d/e"):
        (kept.path / directory).mkdir()
        for number in range(20):
            (kept.path / directory / f"{number}").write_text("mine")
    first = kept.take()
    (kept.path / "evil").symlink_to(outside)
    (kept.path / "d" / "evil").symlink_to(outside)
    (kept.path / "d" / "one").symlink_to(outside / "1")
    before = tree_of(outside)
    ends = time.monotonic() + RACE_S
    rounds = 0
    pairs = [("d", "evil"), ("d/e", "d/evil"), ("d/1", "d/one")]
    with swapping(*(kept.path / name for pair in pairs for name in pair)):
        while time.monotonic() < ends:
            rounds += 1
            with contextlib.suppress(HubError):
                taken = kept.take(first)
                assert SECRET.decode() not in {entry.content for entry in kept.entries(taken).values()}
            with contextlib.suppress(HubError):
                kept.changes(first)
            for path in ("d/e", "d/1", "d"):
                with contextlib.suppress(HubError):
                    kept.restore(first, path)
    assert rounds > 3
    assert tree_of(outside) == before
    for name in os.listdir(kept.shelf.objects):
        assert (kept.shelf.objects / name).read_bytes() != SECRET
    for path in kept.path.rglob("*"):
        if path.is_file() and kept.path in path.resolve().parents:
            assert path.read_bytes() != SECRET


# -- disks -----------------------------------------------------------------------------------------


@contextlib.contextmanager
def disk(directory: Path, kind: str, size_mb: int) -> Iterator[Path]:
    """A file system in a file."""
    mount_point, image = directory / "disk", directory / "image"
    mount_point.mkdir()
    with image.open("wb") as file:
        file.truncate(size_mb * 1_000_000)
    made = subprocess.run([f"mkfs.{kind}", "-q", image], capture_output=True, text=True)
    mounted = subprocess.run(["mount", "-o", "loop", image, mount_point], capture_output=True, text=True)
    if made.returncode or mounted.returncode:
        pytest.skip(f"no {kind} in a file here: {(made.stderr + mounted.stderr).strip()[-200:]}")
    try:
        yield mount_point
    finally:
        subprocess.run(["umount", mount_point], check=True)


@root_only
@pytest.mark.parametrize("kind", ["xfs", "btrfs"])
def test_where_files_can_be_cloned_snapshots_take_no_room(tmp_path: Path, kind: str) -> None:
    with disk(tmp_path, kind, 400) as top:
        kept = SnapshotHome(top)
        for number in range(4):
            (kept.path / f"{number}").write_bytes(os.urandom(25_000_000))
        with (kept.path / "sparse").open("wb") as file:
            file.truncate(2**33)
            file.seek(2**32)
            file.write(os.urandom(5000))
        before = {name: os.stat(kept.path / name).st_mtime_ns for name in "0123"}
        os.sync()
        used = used_bytes(top)
        first = kept.take()
        assert kept.count.new_bytes > 100_000_000
        assert used_bytes(top) - used < 12_000_000
        with (kept.path / "0").open("r+b") as file:
            file.write(b"changed")
        for number in (1, 2):
            (kept.path / f"{number}").unlink()
        kept.restore(first)
        os.sync()
        assert used_bytes(top) - used < 12_000_000
        assert {name: os.stat(kept.path / name).st_mtime_ns for name in "0123"} == before
        assert (kept.path / "0").read_bytes()[:7] != b"changed"
        assert kept.changes(first) == {}
        assert (kept.path / "sparse").stat().st_blocks * 512 < 1_000_000


def used_bytes(top: Path) -> int:
    status = os.statvfs(top)
    return (status.f_blocks - status.f_bfree) * status.f_frsize


@root_only
def test_a_full_disk_refuses_and_changes_nothing(tmp_path: Path) -> None:
    with contextlib.ExitStack() as opened:
        data_dir = opened.enter_context(disk(tmp_path, "ext4", 115)) / "data"
        data_dir.mkdir()
        process = opened.enter_context(HubProcess(data_dir))
        hub = opened.enter_context(process.hub())
        project_id = hub.projects.create_project("Full")
        project = hub.project(project_id)
        project.files.write_bytes("a", os.urandom(20_000_000))
        first = project.snapshots.create()
        project.files.write_bytes("b", os.urandom(40_000_000))
        project.files.write_bytes("a", b"other")
        home = home_of(process, project_id)
        before = tree_of(home, ".projecthub")
        for attempt in (lambda: project.snapshots.create(), lambda: project.snapshots.restore(first["id"])):
            with pytest.raises(LimitError, match=r"disk is full|no space"):
                attempt()
            assert tree_of(home, ".projecthub") == before
            assert [row["id"] for row in project.snapshots.list()] == [first["id"]]
        check_room(hub, project_id, first["id"])


def check_room(hub: Hub, project_id: str, snapshot_id: str) -> None:
    """When there is room again, all goes on."""
    project = hub.project(project_id)
    project.files.delete("b", permanent=True)
    project.snapshots.restore(snapshot_id)
    assert len(project.files.read_bytes("a")) == 20_000_000
    for row in project.snapshots.list():
        project.snapshots.delete(row["id"])
    assert project.snapshots.overview()["used_bytes"] == 0
