"""Histories of files on a real hub: notebooks, kills, large copies, the command line."""

from __future__ import annotations

import contextlib
import os
import random
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import nbformat
import pytest

from projecthub import Hub, Project
from projecthub.errors import HubError, TransportError
from tests.hubs import HubProcess


@pytest.fixture(scope="module")
def process() -> Iterator[HubProcess]:
    with HubProcess() as process:
        yield process


@pytest.fixture
def hub(process: HubProcess) -> Iterator[Hub]:
    with process.hub() as hub:
        yield hub


def changes_of(process: HubProcess, project_id: str) -> Path:
    return process.data_dir / "projects" / project_id / "changes"


def texts(hub: Hub, project_id: str, path: str) -> list[str]:
    return [hub.sync.text(project_id, path, version["seq"]) for version in hub.sync.history(project_id, path)]


def until(condition: Any) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_what_a_notebook_writes(process: HubProcess, hub: Hub) -> None:
    project_id = hub.projects.create_project("Notebooks")
    project = hub.project(project_id)
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("6 * 7")])
    project.files.mkdir("below")
    home = process.data_dir / "projects" / project_id / "home"
    (home / "below/a.ipynb").write_text(nbformat.writes(notebook))  # the hub has not seen it
    os.chown(home / "below/a.ipynb", home.stat().st_uid, home.stat().st_gid)
    job = project.jupyter.run_notebook("below/a.ipynb")
    assert job.wait()["exit_code"] == 0
    versions = hub.sync.history(project_id, "below/a.ipynb")
    assert [version["event"] for version in versions] in (["found", "run"], ["found", "run", "run"])
    assert versions[0]["account_id"] is None
    assert versions[-1]["account_id"] == hub.system.test()["account_id"]
    assert hub.sync.text(project_id, "below/a.ipynb") == (home / "below/a.ipynb").read_text()
    assert '"42"' in hub.sync.text(project_id, "below/a.ipynb")
    until(lambda: not os.listdir(changes_of(process, project_id)))  # its end was noted


def test_a_killed_hub_leaves_histories_that_can_be_read() -> None:
    """Whenever it is killed: what is kept fits together, and what was answered is there."""
    with HubProcess() as process:
        with process.hub() as hub:
            project_id, other = hub.projects.create_project("A"), hub.projects.create_project("B")
            for number in range(300):
                hub.project(other).files.write_text(f"many/{number % 7}/{number}", f"{number}\n")
        for round in range(4):
            written: list[str] = []

            def write(round: int = round, written: list[str] = written) -> None:
                with contextlib.suppress(HubError, httpx2.HTTPError), process.hub(retries=0) as hub:
                    while True:
                        text = f"{round} {len(written)}\n{'x' * random.randrange(2000)}\n"
                        hub.project(project_id).files.write_text("a", text)
                        written.append(text)

            def copy() -> None:
                with contextlib.suppress(TransportError, HubError), process.hub(retries=0) as hub:
                    while True:
                        hub.projects.copy_path_between_projects(other, "many", project_id, "to", overwrite_newer=True)
                        hub.sync.history(project_id, "a")

            threads = [threading.Thread(target=work) for work in (write, copy)]
            for thread in threads:
                thread.start()
            time.sleep(0.3 + random.random())
            process.kill()
            for thread in threads:
                thread.join()
            process.restart()
            with process.hub() as hub:
                found = texts(hub, project_id, "a")
                text = hub.project(project_id).files.read_text("a")
                assert text == found[-1] or text not in written  # it was killed before it answered
                kept = [text for text in found if text in set(written)]
                assert kept == written[-len(kept) :]
                assert len(kept) == min(len(written), len(kept)) and (kept or not written)
                for path in ("to/0/0", "to/6/6"):
                    for version in hub.sync.history(project_id, path):
                        assert hub.sync.text(project_id, path, version["seq"]) == f"{path.rpartition('/')[2]}\n"


def test_many_files_are_taken_in_the_background(process: HubProcess, hub: Hub) -> None:
    one, other = hub.projects.create_project("One"), hub.projects.create_project("Other")
    hub.project(one).files.mkdir("d")
    source = process.data_dir / "projects" / one / "home" / "d"
    for number in range(3000):
        (source / str(number)).write_text(f"text {number}\n")
    assert hub.projects.copy_path_between_projects(one, "d", other, "d")["files"] == 3000
    until(lambda: not os.listdir(changes_of(process, other)))
    for number in (0, 1234, 2999):
        assert texts(hub, other, f"d/{number}") == [f"text {number}\n"]


def test_the_project_sees_nothing_of_it(process: HubProcess, hub: Hub) -> None:
    project_id = hub.projects.create_project("Inside")
    project = hub.project(project_id)
    project.files.write_text("a", "secret of the history")
    result = project.system.exec("grep -rs 'secret of the history' / --include=1 -l; ls ..; true", bash=True)
    assert "changes" not in result["stdout"]


def test_signals(hub: Hub) -> None:
    project = hub.project(hub.projects.create_project("Signals"))
    job = project.jobs.start("trap 'echo got it; exit 3' USR1; echo $$; while true; do sleep 0.1; done", bash=True)
    until(lambda: job.read().strip().isdigit())
    project.system.signal("SIGUSR1", int(job.read()))
    assert (job.wait()["exit_code"], job.read().split()[-2:]) == (3, [b"got", b"it"])
    server = int(project.system.exec("echo $PPID", bash=True)["stdout"])
    with pytest.raises(HubError, match="the project's own server"):
        project.system.signal(9, pids=[server])
    assert project.system.pong() == "pong"


def test_the_command_line(process: HubProcess, hub: Hub, tmp_path: Path) -> None:
    project_id = hub.projects.create_project("Command line")
    hub.project(project_id).files.write_text("a", "one\n")
    hub.project(project_id).files.write_text("a", "two\n")

    def run(*arguments: str) -> str:
        command = [sys.executable, "-m", "projecthub", "--url", process.url, "--api-key", process.admin_key, *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout

    assert run("files", "show-version", project_id, "a", "1") == "one\n"
    run("files", "restore-version", project_id, "a", "1")
    assert run("files", "cat", project_id, "a") == "one\n"
    assert [line.split()[0] for line in run("files", "history", project_id, "a").splitlines()] == [
        *("VERSION", "1", "2", "3"),
    ]
    assert "new" in run("files", "checkpoint", project_id, "a")


def test_a_project_key_tells_no_history(process: HubProcess, hub: Hub) -> None:
    project_id = hub.projects.create_project("Key")
    secret = hub.keys.create(project_id=project_id)["secret"]
    reply = process.post({"name": "sync.history", "args": [{"project_id": project_id, "path": "a"}]}, key=secret)
    assert "must be signed in" in reply.json()["error"]
    with Project(secret, process.url, project_id) as project:
        project.files.write_text("a", "by the key")
    assert texts(hub, project_id, "a") == ["by the key"]
