"""Copies from one project to many on a real hub: killed at any point, cancelled, cut short for want of room."""

from __future__ import annotations

import hashlib
import os
import random
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import psutil
import pytest

from projecthub import Hub
from projecthub.errors import Conflict, NotFound, PermissionDenied, TransportError
from tests.hubs import HubProcess
from tests.live.test_full_disk import SmallDisk

STUDENTS = 30
FILES = 80
"""For so many students there are processes that copy."""
UNDER_WAY = ("planning", "running")
KILLS = 8

Tree = dict[str, tuple[str, int, int, str]]


@pytest.fixture
def hub_process() -> Iterator[HubProcess]:
    """A hub of a test's own, which may be killed."""
    process = HubProcess()
    yield process
    process.close()


def home_of(process: HubProcess, project_id: str) -> Path:
    return process.data_dir / "projects" / project_id / "home"


def tree(top: Path) -> Tree:
    """All that is beneath a directory: kind, mode, time, contents."""
    found: Tree = {}
    for file in sorted(top.rglob("*")):
        status = file.lstat()
        is_file = file.is_file() and not file.is_symlink()
        content = (
            hashlib.sha256(file.read_bytes()).hexdigest() if is_file else os.readlink(file) if file.is_symlink() else ""
        )
        mtime_ns = status.st_mtime_ns if is_file else 0
        found[str(file.relative_to(top))] = (oct(status.st_mode), status.st_uid, mtime_ns, content)
    return found


def without_owner(one: Tree) -> dict[str, tuple[Any, ...]]:
    return {path: (mode, mtime, content) for path, (mode, _, mtime, content) in one.items()}


def make_course(process: HubProcess, hub: Hub, students: int) -> tuple[str, list[str]]:
    """A course with an assignment, and students of whom some have work of their own at that place."""
    course = hub.projects.create_project("Course")
    ids = [hub.projects.create_project(f"Student {n}") for n in range(students)]
    hub.project(course).files.write_text("hw/task.md", "# Task\n")
    home = home_of(process, course)
    owner = home.stat().st_uid
    for n in range(FILES):
        file = home / "hw" / f"part{n % 6}" / f"file{n}"
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(random.Random(n).randbytes(3000 + n))
        os.utime(file, (1_700_000_000 + n, 1_700_000_000 + n))
        for path in (file, file.parent):
            os.chown(path, owner, owner)
    for student in ids:
        hub.project(student).files.write_text("elsewhere", "theirs")
    for student in ids[::3]:
        files = hub.project(student).files
        files.write_text("hw/task.md", "old task")
        files.write_text("hw/own notes", "mine")
        os.utime(home_of(process, student) / "hw" / "task.md", (1_600_000_000, 1_600_000_000))
    return course, ids


def homes(process: HubProcess, ids: list[str]) -> list[Any]:
    return [without_owner(tree(home_of(process, one))) for one in ids]


def settled(hub: Hub, id: str) -> Any:
    return hub.copies.wait(id, timeout_s=60)


def events(hub: Hub, project_id: str) -> list[str]:
    return [entry["event"]["event"] for entry in hub.projects.log(project_id) if "cop" in entry["event"]["event"]]


def test_a_hub_that_is_killed_at_any_point_ends_as_one_that_is_not(hub_process: HubProcess) -> None:
    """Each round hands out to students anew; the hub is killed at a random moment, and the outcome is the same."""
    chance = random.Random(os.environ.get("PROJECTHUB_TEST_SEED"))
    with hub_process.hub() as hub:
        course, ids = make_course(hub_process, hub, STUDENTS)
    template = hub_process.data_dir / "before"
    for one in ids:
        shutil.copytree(home_of(hub_process, one), template / one, symlinks=True)
    began = time.monotonic()
    with hub_process.hub() as hub:
        undisturbed = hub.projects.copy_paths({"project_id": course, "path": "hw"}, ids, policy="overwrite")
    took_s = time.monotonic() - began
    assert undisturbed["state"] == "done"
    expected = homes(hub_process, ids)
    for round in range(KILLS):
        for one in ids:
            put_back(template / one, home_of(hub_process, one))
        with hub_process.hub() as hub:
            started = hub.projects.copy_paths({"project_id": course, "path": "hw"}, ids, policy="overwrite", wait=False)
            time.sleep(chance.uniform(0, took_s))
            hub_process.kill()
        hub_process.restart()
        with hub_process.hub() as hub:
            done = settled(hub, started["id"])
            assert done["state"] == "done", [target.get("error") for target in done["targets"]]
            assert homes(hub_process, ids) == expected
            assert events(hub, ids[0]) == ["path_copied"] * (round + 2)
            assert events(hub, course) == ["paths_copied"] * (round + 2)
            again = hub.projects.copy_paths({"project_id": course, "path": "hw"}, ids, policy="overwrite", dry_run=True)
            assert again["totals"]["files"] == 0
            hub.copies.cancel(again["id"])
    with hub_process.hub() as hub:
        undone = hub.copies.undo(started["id"])
        assert undone["state"] == "undone"
    before = [without_owner(tree(template / one)) for one in ids]
    assert [unlike(now, then) for now, then in zip(homes(hub_process, ids), before, strict=True)] == [{}] * STUDENTS


def unlike(one: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    return {
        path: (one.get(path), other.get(path)) for path in one.keys() | other.keys() if one.get(path) != other.get(path)
    }


def put_back(saved: Path, home: Path) -> None:
    """Bring a home back to what it was, owner and all."""
    status = home.stat()
    for entry in [*home.iterdir()]:
        shutil.rmtree(entry) if entry.is_dir() and not entry.is_symlink() else entry.unlink()
    subprocess.run(["cp", "-a", f"{saved}/.", str(home)], check=True)
    subprocess.run(["chown", "-hR", f"{status.st_uid}:{status.st_gid}", str(home)], check=True)
    home.chmod(status.st_mode & 0o7777)


def test_a_single_copy_that_is_killed_is_whole_or_not_there(hub_process: HubProcess) -> None:
    chance = random.Random(os.environ.get("PROJECTHUB_TEST_SEED"))
    with hub_process.hub() as hub:
        course, [target] = make_course(hub_process, hub, 1)
        began = time.monotonic()
        hub.projects.copy_path_between_projects(course, "hw", target, "probe")
        took_s = time.monotonic() - began
    whole = without_owner(tree(home_of(hub_process, course) / "hw"))
    outcomes = set()
    for round in range(KILLS):
        path = f"round{round}"

        def copy(path: str = path) -> None:
            with hub_process.hub(retries=0) as hub, pytest.MonkeyPatch.context():
                try:
                    hub.projects.copy_path_between_projects(course, "hw", target, path)
                except (TransportError, httpx2.HTTPError):
                    pass

        thread = threading.Thread(target=copy)
        thread.start()
        time.sleep(0.02 + chance.uniform(0, took_s))
        hub_process.kill()
        thread.join()
        hub_process.restart()
        there = home_of(hub_process, target) / path
        outcomes.add(there.exists())
        if there.exists():
            assert without_owner(tree(there)) == whole
        with hub_process.hub() as hub:
            for operation in hub.copies.list(target):
                assert operation["state"] == "done"
            hub.projects.copy_path_between_projects(course, "hw", target, path)
        assert without_owner(tree(there)) == whole


def enlarge(process: HubProcess, course: str, files: int) -> None:
    """Have a copy of the assignment take long enough to be met in the middle."""
    home = home_of(process, course)
    for n in range(files):
        file = home / "hw" / f"large{n}"
        file.write_bytes(os.urandom(400_000))
        shutil.chown(file, home.stat().st_uid)


def workers_of(process: HubProcess) -> list[psutil.Process]:
    return [child for child in psutil.Process(process.process.pid).children() if child.name() == "projecthub-copy"]


def begun(process: HubProcess, hub: Hub, course: str, ids: list[str]) -> tuple[str, list[psutil.Process]]:
    """An operation that is copying, and the processes that do it."""
    started = hub.projects.copy_paths({"project_id": course, "path": "hw"}, ids, policy="overwrite", wait=False)
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        operation = hub.copies.get(started["id"])
        if operation["state"] == "running" and operation["progress"]["files"] and (found := workers_of(process)):
            return started["id"], found
    raise AssertionError(f"never met in the middle: {operation}")


def test_who_copies_for_the_hub_is_killed(hub_process: HubProcess) -> None:
    """Nobody notices: what it did is done again."""
    with hub_process.hub() as hub:
        course, ids = make_course(hub_process, hub, STUDENTS)
        enlarge(hub_process, course, 40)
        id, found = begun(hub_process, hub, course, ids)
        found[0].kill()
        done = settled(hub, id)
        assert done["state"] == "done", [target.get("error") for target in done["targets"]]
        handed_out = without_owner(tree(home_of(hub_process, course) / "hw"))
        for one in ids:
            assert handed_out.items() <= without_owner(tree(home_of(hub_process, one) / "hw")).items()
        again = hub.projects.copy_paths({"project_id": course, "path": "hw"}, ids, policy="overwrite", dry_run=True)
        assert again["totals"]["files"] == 0


def test_who_copies_for_a_hub_that_is_killed_ends_with_it(hub_process: HubProcess) -> None:
    with hub_process.hub() as hub:
        course, ids = make_course(hub_process, hub, STUDENTS)
        enlarge(hub_process, course, 40)
        id, found = begun(hub_process, hub, course, ids)
    os.kill(hub_process.process.pid, signal.SIGKILL)
    _, left = psutil.wait_procs(found, timeout=3)
    assert [one for one in left if one.status() != psutil.STATUS_ZOMBIE] == []
    hub_process.kill()
    hub_process.restart()
    with hub_process.hub() as hub:
        assert settled(hub, id)["state"] == "done"


def test_who_copies_ends_with_the_hub(hub_process: HubProcess) -> None:
    with hub_process.hub() as hub:
        course, ids = make_course(hub_process, hub, STUDENTS)
        enlarge(hub_process, course, 40)
        _, found = begun(hub_process, hub, course, ids)
    assert hub_process.terminate() == 0
    assert psutil.wait_procs(found, timeout=3)[1] == []
    assert "Traceback" not in hub_process.errors()


def test_cancelled_in_the_middle_and_retried(hub_process: HubProcess) -> None:
    with hub_process.hub() as hub:
        course, ids = make_course(hub_process, hub, STUDENTS)
        enlarge(hub_process, course, 40)
        before = homes(hub_process, ids)
        plan = hub.copies.plan({"project_id": course, "path": "hw"}, ids, policy="overwrite")
        assert homes(hub_process, ids) == before
        hub.copies.apply(plan["id"], wait=False)
        cancelled = hub.copies.cancel(plan["id"])
        assert cancelled["state"] in ("cancelled", "done")
        for number, one in enumerate(ids):
            if cancelled["targets"][number]["state"] == "cancelled":
                assert without_owner(tree(home_of(hub_process, one))) == before[number]
        if cancelled["state"] == "cancelled":
            seen: list[Any] = []
            hub.copies.retry(plan["id"], wait=False)
            done = hub.copies.wait(plan["id"], on_progress=seen.append)
            assert done["state"] == "done"
            assert {one["state"] for one in seen} <= {"planning", "running", "done"}
            assert seen[-1]["progress"]["targets_done"] <= STUDENTS
        part = without_owner(tree(home_of(hub_process, course) / "hw"))
        for one in ids:
            assert part.items() <= without_owner(tree(home_of(hub_process, one) / "hw")).items()


def test_a_target_that_moved_and_one_that_is_somebody_else_s(hub_process: HubProcess) -> None:
    _, key = hub_process.person("stranger")
    with hub_process.hub() as hub, hub_process.hub(key) as stranger:
        course, ids = make_course(hub_process, hub, 4)
        theirs = stranger.projects.create_project("Theirs")
        plan = hub.copies.plan({"project_id": course, "path": "hw"}, [*ids, theirs])
        hub.project(ids[0]).files.write_text("hw/task.md", "I was here")
        done = hub.copies.apply(plan["id"])
        assert [target["state"] for target in done["targets"]] == ["refused", *["done"] * 3, "refused"]
        assert [target.get("error_code") for target in done["targets"]] == [
            "conflict",
            *[None] * 3,
            "permission_denied",
        ]
        assert hub.project(ids[0]).files.read_text("hw/task.md") == "I was here"
        assert not (home_of(hub_process, theirs) / "hw").exists()
        with pytest.raises(NotFound, match="there is no copy operation"):
            stranger.copies.get(plan["id"])
        with pytest.raises(PermissionDenied):
            stranger.copies.plan({"project_id": course, "path": "hw"}, [theirs])
        with pytest.raises(Conflict):
            hub.copies.apply(plan["id"])
        again = hub.copies.apply(plan["id"], only="failed")
        assert [target["state"] for target in again["targets"]] == [*["done"] * 4, "refused"]
        metrics = httpx2.get(f"{hub_process.url}/metrics", headers={"authorization": f"Bearer {hub_process.admin_key}"})
        assert 'projecthub_copy_seconds_count{outcome="ok"}' in metrics.text


@pytest.mark.skipif(os.geteuid() != 0, reason="only root mounts a small file system")
def test_the_disk_is_full_in_the_middle(tmp_path: Path) -> None:
    """Each target is as it was or as it is to be; when there is room again, the rest is done."""
    disk = SmallDisk(tmp_path)
    process = HubProcess(disk.mount_point)
    try:
        with process.hub() as hub:
            course = hub.projects.create_project("Course")
            ids = [hub.projects.create_project(f"Student {n}") for n in range(40)]
            hub.project(course).files.write_bytes("hw/data", os.urandom(3_000_000))
            plan = hub.copies.plan({"project_id": course, "path": "hw"}, ids)
            done = hub.copies.apply(plan["id"])
            states = [target["state"] for target in done["targets"]]
            assert done["state"] == "failed"
            assert 0 < states.count("done") < 40
            told = {target["error"] for target in done["targets"] if target["state"] != "done"}
            assert all("disk is full" in text for text in told), told
            data = (home_of(process, course) / "hw/data").read_bytes()
            for one, state in zip(ids, states, strict=True):
                file = home_of(process, one) / "hw/data"
                assert (file.read_bytes() == data) if state == "done" else not file.exists()
            hub.copies.undo(done["id"], [n for n, state in enumerate(states) if state == "done"][5:])
            some = [n for n, state in enumerate(states) if state != "done"]
            again = hub.copies.retry(done["id"])
            assert sum(target["state"] == "done" for target in again["targets"]) > 5
            assert some
    finally:
        process.close()
        disk.unmount()


def test_a_class_of_250_in_which_20_have_changed_the_assignment(hub_process: HubProcess) -> None:
    """Nobody's change is lost, and everybody gets what is new."""
    with hub_process.hub() as hub:
        course = hub.projects.create_project("Course")
        ids = [hub.projects.create_project(f"Student {n}") for n in range(250)]
        source = {"project_id": course, "path": "hw"}
        files = hub.project(course).files
        for n in range(20):
            files.write_text(f"hw/q{n}.py", f"# question {n}\n" * 20)
        assert hub.projects.copy_paths(source, ids, policy="merge")["state"] == "done"
        changed = random.Random(7).sample(range(250), 20)
        for n in changed:
            own = home_of(hub_process, ids[n]) / "hw"
            (own / "q3.py").write_text(f"answer of {n}\n")
            (own / "q4.py").unlink()
            (own / f"notes {n}").write_text(f"notes of {n}\n")
        files.write_text("hw/q3.py", "# question 3, corrected\n")
        files.write_text("hw/q5.py", "# question 5, corrected\n")
        files.write_text("hw/q20.py", "# one more\n")
        plan = hub.copies.plan(source, ids, policy="merge")
        assert plan["totals"]["counts"]["conflict"] == 20
        assert plan["totals"]["counts"]["deleted_by_them"] == 20
        done = hub.copies.apply(plan["id"])
        assert done["state"] == "done"
        wanted = without_owner(tree(home_of(hub_process, course) / "hw"))
        for n, one in enumerate(ids):
            own = home_of(hub_process, one) / "hw"
            if n not in changed:
                assert without_owner(tree(own)) == wanted
                continue
            assert (own / "q3.py").read_text() == f"answer of {n}\n"
            assert (own / f"notes {n}").read_text() == f"notes of {n}\n"
            assert (own / "q3.new.py").read_text() == "# question 3, corrected\n"
            assert not (own / "q4.py").exists()
            assert (own / "q5.py").read_text() == "# question 5, corrected\n"
            assert (own / "q20.py").read_text() == "# one more\n"
        began = time.monotonic()
        again = hub.copies.plan(source, ids, policy="merge")
        print(f"a plan for 250 with nothing to do: {time.monotonic() - began:.2f} s")
        assert again["totals"]["files"] == 0
