"""The command line on a real hub, as somebody would use it."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from projecthub.cli.commands import run as run_command
from tests.hubs import HubProcess

Run = Callable[..., Any]


@pytest.fixture
def run(hub_process: HubProcess, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    monkeypatch.setenv("PROJECTHUB_URL", hub_process.url)
    monkeypatch.setenv("PROJECTHUB_API_KEY", hub_process.admin_key)

    def command(*arguments: str, code: int = 0) -> Any:
        ended = run_command([*arguments, "--json"])
        captured = capsys.readouterr()
        assert ended == code, captured.err
        return json.loads(captured.out) if captured.out else captured.err

    return command


def test_the_life_of_two_projects(run: Run) -> None:
    first = run("projects", "create", "Command line one")["project_id"]
    second = run("projects", "create", "Command line two")["project_id"]
    assert [reply["state"] for reply in run("projects", "start", "Command line one", second)] == ["running", "running"]
    assert run("projects", "state", first[:13])["state"] == "running"
    assert run("projects", "status", first)["project.pid"] > 0
    assert {row["project_id"] for row in run("projects", "list", "--state", "running")} >= {first, second}
    summary = run("projects", "copy", f"{first}:.bashrc", f"{second}:copied/bashrc")
    assert summary["files"] == 1
    assert [reply["state"] for reply in run("projects", "stop", first, second)] == ["stopped", "stopped"]
    assert run("projects", "delete", first, "--yes") == [{"project_id": first, "deleted": True}]
    assert "deleted" in run("projects", "touch", second, first, code=1)[1]["error"]
    run("projects", "undelete", "Command line one")
    assert run("projects", "touch", first)[0]["state"] == "running"
    run("projects", "delete", first, second, "-y")


def test_people_and_keys(run: Run, hub_process: HubProcess) -> None:
    account = run("accounts", "create", "grace@example.org", "--first-name", "Grace")
    secret = run("keys", "create", "--account", "grace@example.org", "--name", "cli")["secret"]
    project_id = run("projects", "create", "Shared by the command line")["project_id"]
    run("--api-key", secret, "projects", "state", project_id, code=4)
    run("projects", "add-collaborator", project_id, "grace@example.org")
    assert run("--api-key", secret, "projects", "state", "Shared by the command line")["state"] == "stopped"
    run("projects", "remove-collaborator", project_id, account["account_id"])
    run("--api-key", secret, "projects", "get", project_id, code=3)
    (key,) = run("keys", "list", "--account", "grace@example.org")
    assert run("keys", "revoke", str(key["id"]))["revoked"]
    run("--api-key", secret, "projects", "list", code=4)
    assert account["account_id"] in {one["account_id"] for one in run("accounts", "list", "grace")}


def test_signing_in_without_a_key(
    run: Run, hub_process: HubProcess, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    account_id, _ = hub_process.person("lise")
    with hub_process.hub() as admin:
        admin.accounts.set_password("correct horse", "lise@example.org")
    monkeypatch.delenv("PROJECTHUB_API_KEY", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    for password, code in (("wrong horse", 4), ("correct horse", 0)):
        monkeypatch.setattr(sys, "stdin", io.StringIO(f"{password}\n"))
        signed_in = run("accounts", "sign-in", "lise@example.org", code=code)
    monkeypatch.setenv("PROJECTHUB_API_KEY", signed_in["secret"])
    assert run("system", "test")["account_id"] == account_id
    assert run("query", '{"accounts": {"first_name": null}}') == {"accounts": {"first_name": "Lise"}}
    assert run("accounts", "sign-out") == {"signed_out": True}
    run("system", "ping", code=4)


def test_the_key_of_a_hub_on_this_machine_is_found(hub_process: HubProcess) -> None:
    environment = {"PROJECTHUB_DATA_DIR": str(hub_process.data_dir), "PROJECTHUB_URL": hub_process.url}
    listed = subprocess.run(
        [sys.executable, "-m", "projecthub", "projects", "list"], env=environment, capture_output=True, text=True
    )
    assert (listed.returncode, listed.stderr) == (0, "")


def test_a_reader_that_leaves_early_is_no_trouble(hub_process: HubProcess) -> None:
    environment = {"PROJECTHUB_DATA_DIR": str(hub_process.data_dir), "PROJECTHUB_URL": hub_process.url}
    lister = subprocess.Popen(
        [sys.executable, "-m", "projecthub", "projects", "list", "--all", "--json"],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert lister.stdout is not None
    lister.stdout.close()
    assert lister.stderr is not None
    assert lister.stderr.read() == ""
    lister.stderr.close()
    assert lister.wait(timeout=30) == 1


def test_an_embedded_hub_ends_with_the_interpreter() -> None:
    """Nobody closes it: the program just ends, with a project running."""
    program = (
        "from projecthub import Hub\n"
        "hub = Hub.embedded()\n"
        "project_id = hub.projects.create_project('Left behind')\n"
        "hub.projects.start(project_id)\n"
        "print(hub.projects.status(project_id)['project.pid'])\n"
    )
    ended = subprocess.run([sys.executable, "-W", "error", "-c", program], capture_output=True, text=True, timeout=60)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert int(ended.stdout) > 0
    with pytest.raises(ProcessLookupError):
        os.kill(int(ended.stdout), 0)
