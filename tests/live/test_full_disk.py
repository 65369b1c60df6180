"""A hub on a small disk of its own that is filled up, goes read-only, or had been so from the start."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from projecthub import Hub
from projecthub.errors import HubError, LimitError
from tests.hubs import HubProcess

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root mounts a small file system")

SIZE_MB = 64
CHANGES = 300
"""Changes that a store certainly takes though its disk is full."""


class SmallDisk:
    """An ext4 file system in a file, without blocks that are kept for root."""

    def __init__(self, directory: Path) -> None:
        self.mount_point = directory / "disk"
        self.mount_point.mkdir()
        image = directory / "image"
        with image.open("wb") as file:
            file.truncate(SIZE_MB * 1_000_000)
        subprocess.run(["mkfs.ext4", "-q", "-F", "-m", "0", image], check=True)
        mounted = subprocess.run(
            ["mount", "-o", "loop,errors=remount-ro", image, self.mount_point],
            capture_output=True,
            text=True,
            check=False,
        )
        if mounted.returncode:
            pytest.skip(f"no loop devices here: {mounted.stderr.strip()}")
        self._filler = self.mount_point / "filler"

    def fill(self) -> None:
        """Leave nothing free, not even for a file's first block."""
        with self._filler.open("ab", buffering=0) as file:
            for size in (1_000_000, 4096, 1):
                try:
                    while True:
                        file.write(bytes(size))
                        os.fsync(file.fileno())
                except OSError:
                    continue
        status = os.statvfs(self.mount_point)
        assert status.f_bavail * status.f_frsize < 100_000

    def make_room(self) -> None:
        self._filler.unlink()
        subprocess.run(["sync", "-f", self.mount_point], check=True)

    def fail(self) -> None:
        """Have the file system find an error in itself, upon which it takes no more writes."""
        device = subprocess.run(
            ["findmnt", "-n", "-o", "SOURCE", self.mount_point], check=True, capture_output=True, text=True
        ).stdout.strip()
        Path("/sys/fs/ext4", Path(device).name, "trigger_fs_error").write_text("a test")
        with pytest.raises(OSError):
            (self.mount_point / "probe").touch()

    def unmount(self) -> None:
        deadline = time.monotonic() + 10
        while subprocess.run(["umount", self.mount_point], capture_output=True, check=False).returncode:
            assert time.monotonic() < deadline, "something still uses the small disk"
            time.sleep(0.05)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    disk = SmallDisk(tmp_path)
    yield disk
    disk.unmount()


@pytest.fixture
def hub_on_it(disk: SmallDisk) -> Iterator[HubProcess]:
    process = HubProcess(disk.mount_point)
    yield process
    process.close()


def refusal(work: Any, *arguments: Any, **options: Any) -> str:
    with pytest.raises(LimitError) as refused:
        work(*arguments, **options)
    assert "/" not in refused.value.message.replace("'/", ""), "a path of the server"
    return refused.value.message


def write(hub: Hub, project_id: str, size_mb: int) -> None:
    hub.project(project_id).system.exec(f"mkdir -p data; head -c {size_mb}000000 /dev/urandom > data/f", bash=True)


def share(hub: Hub, project_id: str, path: str) -> str:
    hub.db.query({"public_paths": {"project_id": project_id, "path": path}})
    rows = hub.db.query({"public_paths": [{"project_id": project_id, "id": None, "path": path}]})
    return str(rows["public_paths"][0]["id"])


def rename(hub: Hub, project_id: str, title: str) -> None:
    hub.db.query({"projects": {"project_id": project_id, "title": title}})


def test_a_full_disk_is_told_and_survived(disk: SmallDisk, hub_on_it: HubProcess) -> None:
    with hub_on_it.hub() as hub:
        running, stopped, new = (hub.projects.create_project(title=title) for title in ("running", "stopped", "new"))
        for project_id in (running, stopped):
            hub.projects.start(project_id)
            write(hub, project_id, 1)
        hub.projects.stop(stopped)
        shared = share(hub, running, "data")

        disk.fill()
        homes = sorted(os.listdir(hub_on_it.data_dir / "projects"))
        full = "the hub's disk is full"
        assert full in refusal(hub.projects.copy_path_between_projects, stopped, "data", running, "copy")
        assert full in refusal(hub.projects.create_project, title="none")
        assert full in refusal(hub.projects.create_project, public_path_id=shared)
        assert full in refusal(hub.projects.start, stopped)
        assert full in refusal(hub.projects.start, new)

        # All that makes room or only looks works, and is written.
        assert hub.projects.state(running)["state"] == "running"
        assert hub.projects.state(stopped)["state"] == "error"
        assert hub.projects.status(stopped)["disk_MB"] == 2
        assert "project" in hub.projects.status(running)
        assert {row["project_id"] for row in hub.projects.get(all=True)} == {running, stopped, new}
        assert hub.project(running).system.exec("ls data")["stdout"] == "f\n"
        assert hub.projects.stop(stopped)["state"] == "stopped"
        assert hub.projects.stop(running)["state"] == "stopped"
        assert hub.projects.delete(new)["deleted"] is True
        for number in range(CHANGES):
            rename(hub, stopped, f"Title {number}")
        assert sorted(os.listdir(hub_on_it.data_dir / "projects")) == homes
        assert not (hub_on_it.data_dir / "projects" / running / "home/copy").exists()
        assert os.listdir(hub_on_it.data_dir / "projects" / running / "staging") == []

        disk.make_room()
        assert hub.projects.start(stopped)["state"] == "running"
        assert hub.projects.copy_path_between_projects(stopped, "data", running, "copy")["files"] == 1
        assert hub.projects.start(hub.projects.create_project(title="again"))["state"] == "running"
    assert hub_on_it.process.poll() is None


def test_copies_leave_something_free(disk: SmallDisk, hub_on_it: HubProcess) -> None:
    """Refused before the last block is taken, whole or not at all; what takes no room is none of that."""
    with hub_on_it.hub() as hub:
        source, target = hub.projects.create_project(), hub.projects.create_project()
        hub.projects.start(source)
        write(hub, source, 5)
        copy = (source, "data", target)
        hub.projects.copy_path_between_projects(*copy, "first")
        free = os.statvfs(disk.mount_point)
        with (disk.mount_point / "filler").open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, free.f_bavail * free.f_frsize - 7_000_000)
        told = refusal(hub.projects.copy_path_between_projects, *copy, "second")
        assert told.startswith("the hub's disk is full: this copy needs 6 MB and ")
        assert not (hub_on_it.data_dir / "projects" / target / "home/second").exists()
        assert hub.projects.copy_path_between_projects(*copy, "first")["unchanged"] == 1
        assert hub.projects.start(hub.projects.create_project())["state"] == "running"
        disk.make_room()
        assert hub.projects.copy_path_between_projects(*copy, "second")["files"] == 1


def test_what_was_promised_on_a_full_disk_is_kept(disk: SmallDisk, hub_on_it: HubProcess) -> None:
    """The hub is killed on the full disk: what it had answered still holds when there is room again."""
    with hub_on_it.hub() as hub:
        one, two = hub.projects.create_project(), hub.projects.create_project()
        hub.projects.start(one)
        hub.projects.start(two)
        disk.fill()
        hub.projects.stop(one)
        hub.projects.delete(two)
    hub_on_it.kill()
    disk.make_room()
    hub_on_it.restart()
    with hub_on_it.hub() as hub:
        assert hub.projects.state(one)["state"] == "stopped"
        assert hub.projects.get(project_id=two)[0]["deleted"] is True


def test_a_project_without_a_sandbox_ends_whole_on_a_full_disk(disk: SmallDisk) -> None:
    """How it ended cannot be written down; all of it ends all the same."""
    process = HubProcess(disk.mount_point, isolation="none")
    try:
        with process.hub() as hub:
            project_id = hub.projects.create_project()
            hub.projects.start(project_id)
            command = "setsid sleep 1000 >/dev/null 2>&1 & echo $!"
            sleeper = psutil.Process(int(hub.project(project_id).system.exec(command, bash=True)["stdout"]))
            disk.fill()
            hub.projects.stop(project_id)
            assert not sleeper.is_running()
    finally:
        process.close()


def test_a_disk_that_fails_is_told(disk: SmallDisk) -> None:
    process = HubProcess(disk.mount_point)
    try:
        with process.hub() as hub:
            one, two = hub.projects.create_project(), hub.projects.create_project()
            hub.projects.start(one)
            write(hub, one, 1)
            init = psutil.Process(hub.projects.status(one)["project"]["pid"]).parent()
            assert init is not None
            disk.fail()
            for work in (
                lambda: hub.projects.create_project(),
                lambda: hub.projects.start(two),
                lambda: hub.projects.delete(two),
                lambda: hub.projects.copy_path_between_projects(one, "data", two),
            ):
                assert "takes no writes at present; ask the hub's operator" in refusal(work)
            assert hub.projects.state(one)["state"] == "running"
            assert hub.projects.state(two)["state"] == "stopped"
            assert hub.projects.status(one)["disk_MB"] == 2
            assert hub.project(one).system.exec("ls data")["stdout"] == "f\n"
        assert process.process.poll() is None
        # A stop cannot be written, so the project outlives the hub.
        process.interrupt()
    finally:
        process.kill()
        process.process.communicate()
        init.kill()
        init.wait(10)


def test_a_read_only_data_directory_is_refused(tmp_path: Path, disk: SmallDisk) -> None:
    (disk.mount_point / "made").mkdir()
    subprocess.run(["mount", "-o", "remount,ro", disk.mount_point], check=True)
    for name in ("made", "not/made"):
        data_dir = disk.mount_point / name
        served = subprocess.run(
            [sys.executable, "-m", "projecthub", "serve", "--bind", "127.0.0.1:0", f"--data-dir={data_dir}"],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert served.returncode == 1
        assert served.stderr.startswith(f"error: cannot use the data directory {data_dir}: Read-only file system; give")
        assert served.stderr.count("\n") == 1


def test_a_full_disk_at_the_start_is_told(disk: SmallDisk) -> None:
    disk.fill()
    served = subprocess.run(
        [sys.executable, "-m", "projecthub", "serve", "--bind", "127.0.0.1:0", f"--data-dir={disk.mount_point}"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert served.returncode == 1
    assert served.stderr.splitlines()[-1].startswith("error: ")
    assert "disk is full" in served.stderr or "No space left on device" in served.stderr
    assert "Traceback" not in served.stderr


def test_many_refused_calls_leave_the_hub_well(disk: SmallDisk, hub_on_it: HubProcess) -> None:
    with hub_on_it.hub() as hub:
        source = hub.projects.create_project(start=True)
        hub.projects.start(source)
        write(hub, source, 1)
        disk.fill()
        for _ in range(50):
            with pytest.raises(HubError):
                hub.projects.copy_path_between_projects(source, "data", target_path="copy")
        descriptors = len(os.listdir(f"/proc/{hub_on_it.process.pid}/fd"))
        for _ in range(50):
            with pytest.raises(HubError):
                hub.projects.copy_path_between_projects(source, "data", target_path="copy")
        assert len(os.listdir(f"/proc/{hub_on_it.process.pid}/fd")) <= descriptors
        disk.make_room()
        assert hub.projects.copy_path_between_projects(source, "data", target_path="copy")["files"] == 1
