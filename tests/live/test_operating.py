"""What an operator does with a hub that runs: backs it up, restores it, watches it."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import socket
import stat
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from projecthub import Hub
from projecthub.errors import Conflict, HubError
from tests.hubs import HubProcess
from tests.postgresql import PostgresqlServer


@pytest.fixture
def place() -> Iterator[Path]:
    """A directory that the homes of projects can lie in, whoever owns them."""
    directory = Path(tempfile.mkdtemp(prefix="projecthub-test-"))
    yield directory
    shutil.rmtree(directory, ignore_errors=True)


def command(*arguments: str | Path, code: int = 0, **environment: str) -> Any:
    """Run the command line; its JSON, or its error."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("PROJECTHUB_", "COCALC_"))}
    ran = subprocess.run(
        [sys.executable, "-m", "projecthub", *map(str, arguments), "--json"],
        env={**kept, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == code, ran.stderr
    return json.loads(ran.stdout) if code == 0 else ran.stderr


def run(hub: Hub, project_id: str, script: str) -> str:
    return str(hub.project(project_id).system.exec(script, bash=True)["stdout"])


@pytest.mark.parametrize("name", ["socket", "@projecthub-test-{pid}"])
def test_a_service_manager_is_told_when_the_hub_serves(place: Path, name: str) -> None:
    address = name.format(pid=os.getpid()) if name.startswith("@") else str(place / name)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(address.replace("@", "\0"))
        manager.settimeout(30)
        hub = HubProcess(NOTIFY_SOCKET=address)
        try:
            assert manager.recv(100) == b"READY=1"
            assert (hub.data_dir / "admin-key").exists()
        finally:
            hub.close()


FILL = """
mkdir -p work/'a b' && cd work
echo hello > file && chmod 640 file && ln file linked && ln -s file link && ln -s /etc/passwd outside
echo '#!/bin/sh' > tool && chmod 755 tool && touch -d '2001-02-03 04:05:06.789' tool
truncate -s 100M sparse && printf 'new\\nline' > "$(printf 'odd\\nname')" && mkfifo pipe
"""

TELL = "cd work && stat -c '%A %s %Y %N %h' file linked link outside tool sparse pipe && cat file link && ls -b | sort"


def test_a_backup_of_a_busy_hub_restored_elsewhere(own_hub: HubProcess, place: Path) -> None:
    with own_hub.hub() as hub:
        steady, busy, target = (hub.projects.create_project(title) for title in ("Steady", "Busy", "Target"))
        never = hub.projects.create_project("Never used")
        hub.db.query({"projects": {"project_id": steady, "description": "d", "env": {"NAME": "value"}}})
        run(hub, steady, FILL)
        told = run(hub, steady, TELL)
        run(hub, busy, "mkdir -p many; for i in $(seq 300); do echo $i > many/$i; done")
        hub.projects.start(target)
        ended = threading.Event()
        made: list[str] = []
        failed: list[Exception] = []

        def write() -> None:
            with own_hub.hub() as other:
                while not ended.is_set():
                    try:
                        run(other, busy, "for i in $(seq 50); do echo $RANDOM > many/r$i; rm -f many/r$RANDOM; done")
                        other.projects.copy_path_between_projects(busy, "many", target, delete_missing=True)
                        made.append(other.projects.create_project(f"Made {len(made)}"))
                        other.projects.copy_path_between_projects(steady, "work/file", made[-1], "file")
                    except HubError as error:
                        failed.append(error)

        thread = threading.Thread(target=write)
        thread.start()
        try:
            while len(made) < 3:
                assert not failed, failed
            before = list(made)
            summaries = [
                command("backup", place / f"backup-{n}", "--data-dir", own_hub.data_dir, *extra)
                for n, extra in enumerate(([], ["--no-compress"]))
            ]
        finally:
            ended.set()
            thread.join()
        assert failed == []
    assert summaries[0]["projects"] >= 4 + len(before)
    for name in ("backup-0", "backup-1"):
        check_restored(own_hub, place, name, before, steady=steady, busy=busy, never=never, told=told)


def check_restored(own_hub: HubProcess, place: Path, name: str, before: list[str], **known: str) -> None:
    backup, data_dir = place / name, place / f"data-{name}"
    assert {stat.S_IMODE(path.stat().st_mode) for path in (backup, *backup.rglob("*"))} == {0o700, 0o600}
    base = str(1_800_000_000)
    command("restore", backup, "--data-dir", data_dir, PROJECTHUB_UID_BASE=base)
    restored = HubProcess(data_dir, PROJECTHUB_UID_BASE=base)
    try:
        assert restored.admin_key == own_hub.admin_key
        with restored.hub() as hub:
            rows = {row["project_id"]: row for row in hub.projects.get(all=True)}
            assert {row["state"]["state"] for row in rows.values()} == {"opened"}
            assert {*before, known["steady"], known["busy"], known["never"]} <= rows.keys()
            row = hub.projects.get(fields=["title", "description", "env"], project_id=known["steady"])[0]
            assert (row["title"], row["description"], row["env"]) == ("Steady", "d", {"NAME": "value"})
            assert run(hub, known["steady"], TELL) == known["told"]
            assert run(hub, known["steady"], "du -k work/sparse | cut -f1; touch work/file; id -u") >= "0\n"
            assert run(hub, known["busy"], "cd many && cat $(seq 300) | sort -n | md5sum") == run(
                hub, known["busy"], "seq 300 | md5sum"
            )
            # Every project that the store knows has its files, also those made while the backup was taken.
            for project_id in before[:-1]:
                assert run(hub, project_id, "cat file") == "hello\n"
            assert run(hub, known["never"], "pwd") == "/home/user\n"
        if os.geteuid() == 0:
            owner = (data_dir / "projects" / known["steady"] / "home" / "work" / "file").stat().st_uid
            assert owner >= int(base)
            assert owner < int(base) + 100
    finally:
        restored.close()


def test_what_is_refused(own_hub: HubProcess, place: Path) -> None:
    with own_hub.hub() as hub:
        project_id = hub.projects.create_project("One")
        run(hub, project_id, "echo x > file")
    backup = place / "backup"
    command("backup", backup, "--data-dir", own_hub.data_dir)
    assert "exists already" in command("backup", backup, "--data-dir", own_hub.data_dir, code=1)
    nowhere = command("backup", place / "no" / "b", "--data-dir", own_hub.data_dir, code=3)
    assert "the directory that 'b' is to be made in does not exist" in nowhere
    assert "no store yet" in command("backup", place / "b", "--data-dir", place / "nothing", code=3)
    assert "another hub" in command("restore", backup, "--data-dir", own_hub.data_dir, code=1)
    occupied = place / "occupied"
    occupied.mkdir()
    (occupied / "file").write_text("mine")
    assert "not empty" in command("restore", backup, "--data-dir", occupied, code=1)
    assert sorted(path.name for path in place.iterdir()) == ["backup", "occupied"]

    def damaged(name: str, part: str, change: bytes) -> None:
        copy = place / name
        shutil.copytree(backup, copy)
        (file,) = copy.glob(part)
        file.write_bytes(change + file.read_bytes()[len(change) :])
        assert "damaged" in command("restore", copy, "--data-dir", place / f"new-{name}", code=1)
        assert [path.name for path in (place / f"new-{name}").iterdir()] == ["hub.lock"]

    damaged("home", "homes/*", b"?")
    damaged("store", "store.sqlite3", b"?")
    damaged("manifest", "manifest.json", b"?")
    (next((backup / "homes").iterdir())).unlink()
    assert "is missing" in command("restore", backup, "--data-dir", place / "new", code=1)
    assert "no backup" in command("restore", occupied, "--data-dir", place / "new", code=1)
    # What a killed restore has left is no obstacle.
    (place / "new" / ".restoring" / "projects").mkdir(parents=True)
    command("backup", place / "again", "--data-dir", own_hub.data_dir)
    assert command("restore", place / "again", "--data-dir", place / "new")["homes"] == 1
    assert not (place / "new" / ".restoring").exists()


def test_a_restored_hub_knows_whose_a_change_is(own_hub: HubProcess, place: Path) -> None:
    """What was handed out is in the backup: untouched files are mended after it, and work stays."""
    with own_hub.hub() as hub:
        course, student = hub.projects.create_project("Course"), hub.projects.create_project("Student")
        for name in ("untouched", "touched"):
            hub.project(course).files.write_text(f"hw/{name}", "task")
        source = {"project_id": course, "path": "hw"}
        done = hub.projects.copy_paths(source, [student], policy="merge")
        hub.project(student).files.write_text("hw/touched", "work")
        hub.project(student).snapshots.create()
    told = command("backup", place / "backup", "--data-dir", own_hub.data_dir)
    assert told["left_out"] == ["snapshots of projects", "what is kept to undo copies"]
    command("restore", place / "backup", "--data-dir", place / "new", PROJECTHUB_UID_BASE="3000000")
    with HubProcess(place / "new", PROJECTHUB_UID_BASE="3000000") as new, new.hub() as hub:
        assert "undo_MB" not in hub.projects.status(student)
        with pytest.raises(Conflict, match="restored from a backup"):
            hub.copies.undo(done["id"])
        for name in ("untouched", "touched"):
            hub.project(course).files.write_text(f"hw/{name}", "mended")
        plan = hub.copies.plan(source, [student], policy="merge")
        assert {status: n for status, n in plan["totals"]["counts"].items() if n} == {"changed_by_us": 1, "conflict": 1}
        assert hub.copies.apply(plan["id"])["state"] == "done"
        files = hub.project(student).files
        texts = {entry["name"]: files.read_text(f"hw/{entry['name']}") for entry in files.list("hw")}
        assert texts == {"untouched": "mended", "touched": "work", "touched.new": "mended"}


def test_a_full_disk_leaves_no_backup(own_hub: HubProcess, place: Path) -> None:
    with own_hub.hub() as hub:
        run(hub, hub.projects.create_project(), "head -c 5000000 /dev/urandom > file")

    kept = {k: v for k, v in os.environ.items() if not k.startswith("PROJECTHUB_")}
    ran = subprocess.run(
        ["sh", "-c", 'ulimit -f 2000; exec "$0" "$@"', sys.executable, "-m", "projecthub", "backup", place / "backup"],
        env={**kept, "PROJECTHUB_DATA_DIR": str(own_hub.data_dir)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 1
    assert ran.stderr.startswith("error: ")
    assert list(place.iterdir()) == []


@pytest.mark.skipif(not shutil.which("pg_dump"), reason="pg_dump is not installed")
def test_a_backup_of_a_hub_on_postgresql(postgresql_server: PostgresqlServer, place: Path) -> None:
    one, other = (postgresql_server.url(asyncio.run(postgresql_server.create())) for _ in range(2))
    process = HubProcess(PROJECTHUB_STORE_URL=one)
    try:
        with process.hub() as hub:
            project_id = hub.projects.create_project("On PostgreSQL")
            run(hub, project_id, FILL)
            told = run(hub, project_id, TELL)
        summary = command("backup", place / "backup", "--data-dir", process.data_dir, PROJECTHUB_STORE_URL=one)
        assert (summary["projects"], summary["homes"], summary["troubles"]) == (1, 1, 0)
        refused = command("restore", place / "backup", "--data-dir", place / "new", code=1)
        assert "store URL of postgresql" in refused
        refused = command("restore", place / "backup", "--data-dir", place / "new", "--store-url", one, code=1)
        assert "holds tables already" in refused
        command("restore", place / "backup", "--data-dir", place / "new", "--store-url", other)
        restored = HubProcess(place / "new", PROJECTHUB_STORE_URL=other)
        try:
            with restored.hub(process.admin_key) as hub:
                assert [row["title"] for row in hub.projects.get()] == ["On PostgreSQL"]
                assert run(hub, project_id, TELL) == told
        finally:
            restored.close()
    finally:
        process.close()
