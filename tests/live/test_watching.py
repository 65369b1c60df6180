"""What whoever watches a hub sees: health, readiness, figures, and the log."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from projecthub.errors import HubError
from tests.hubs import HubProcess


@pytest.fixture
def logging_hub() -> Iterator[HubProcess]:
    process = HubProcess(PROJECTHUB_LOG_FORMAT="json", PROJECTHUB_LOG_LEVEL="debug")
    yield process
    process.close()


def ask(process: HubProcess, path: str, **headers: str) -> httpx2.Response:
    return httpx2.get(process.url + path, headers=headers, timeout=20)


@pytest.mark.parametrize("path", ["/alive", "/healthcheck", "/healthz"])
def test_alive(hub_process: HubProcess, path: str) -> None:
    answer = ask(hub_process, path)
    assert (answer.status_code, answer.text) == (200, "alive: YES\n")
    assert re.fullmatch("[0-9a-f]{16}", answer.headers["x-request-id"])


def test_ready_until_a_part_fails(own_hub: HubProcess) -> None:
    answer = ask(own_hub, "/readyz")
    assert (answer.status_code, answer.json()) == (
        200,
        {"ready": True, "checks": {"hub": "ok", "store": "ok", "engine": "ok"}},
    )
    # A launcher that was killed is replaced when somebody asks.
    hub = own_hub.process.pid
    children = Path(f"/proc/{hub}/task/{hub}/children").read_text().split()
    (launcher,) = [pid for pid in children if b"launcher" in Path(f"/proc/{pid}/cmdline").read_bytes()]
    os.kill(int(launcher), signal.SIGKILL)
    assert ask(own_hub, "/readyz").status_code == 200
    connection = sqlite3.connect(own_hub.data_dir / "hub.sqlite3")
    connection.execute("ALTER TABLE alembic_version RENAME TO gone")
    connection.commit()
    try:
        answer = ask(own_hub, "/readyz")
        assert answer.status_code == 503
        assert answer.json()["checks"] == {"hub": "ok", "store": "it fails; the hub's log says why", "engine": "ok"}
        assert ask(own_hub, "/healthz").status_code == 200
    finally:
        connection.execute("ALTER TABLE gone RENAME TO alembic_version")
        connection.commit()
        connection.close()
    assert ask(own_hub, "/readyz").status_code == 200


def test_figures_are_for_this_machine_and_for_admins(hub_process: HubProcess) -> None:
    _, key = hub_process.person("watcher")
    answer = ask(hub_process, "/metrics")
    assert answer.status_code == 200
    assert 'projecthub_projects{state="running"}' in answer.text
    assert "projecthub_background_calls 0.0" in answer.text
    assert "projecthub_wishes_waiting 0.0" in answer.text
    assert not re.search("[0-9a-f]{8}-[0-9a-f]{4}-", answer.text)  # no ids
    for passed_on in ({"x-forwarded-for": "127.0.0.1"}, {"forwarded": "for=127.0.0.1"}, {"x-real-ip": "::1"}):
        refused = ask(hub_process, "/metrics", **passed_on)
        assert refused.status_code == 403
        assert "PROJECTHUB_METRICS" in refused.text
        assert ask(hub_process, "/metrics", **passed_on, authorization=f"Bearer {key}").status_code == 403
        allowed = ask(hub_process, "/metrics", **passed_on, authorization=f"Bearer {hub_process.admin_key}")
        assert allowed.status_code == 200


@pytest.mark.parametrize(("setting", "status"), [("admins", 403), ("everybody", 200)])
def test_figures_for_others(setting: str, status: int) -> None:
    process = HubProcess(PROJECTHUB_METRICS=setting)
    try:
        assert ask(process, "/metrics").status_code == status
        assert ask(process, "/metrics", **{"x-forwarded-for": "1.2.3.4"}).status_code == status
        assert ask(process, "/metrics", authorization=f"Bearer {process.admin_key}").status_code == 200
    finally:
        process.close()


def test_copies_are_counted(hub_process: HubProcess) -> None:
    with hub_process.hub() as hub:
        project_id = hub.projects.create_project()
        hub.projects.copy_path_between_projects(project_id, ".bashrc", target_path="copied")
        with pytest.raises(HubError):
            hub.projects.copy_path_between_projects(project_id, "nothing", target_path="copied")
    text = ask(hub_process, "/metrics").text
    assert re.search(r'projecthub_copy_seconds_count\{outcome="ok"\} [1-9]', text)
    assert re.search(r'projecthub_copy_seconds_count\{outcome="not_found"\} [1-9]', text)
    assert re.search(r"projecthub_copied_bytes_total [1-9]", text)


def lines(process: HubProcess) -> list[dict[str, Any]]:
    return [json.loads(line) for line in process.errors().splitlines()]


def test_a_call_leaves_a_line_and_no_secret(logging_hub: HubProcess) -> None:
    body = {"name": "projects.createProject", "args": [{"title": "A secret title"}]}
    answer = logging_hub.post(body)
    (line,) = [line for line in lines(logging_hub) if line.get("method") == "projects.createProject"]
    assert line["event"] == "call.answered"
    assert (line["outcome"], line["level"]) == ("ok", "debug")
    assert line["request_id"] == answer.headers["x-request-id"]
    assert line["ms"] > 0
    assert re.fullmatch("[0-9a-f-]{36}", line["account_id"])
    logging_hub.post({"name": "system.ping"}, key="sk-wrong-key-of-somebody")
    assert lines(logging_hub)[-1]["outcome"] == "not_signed_in"
    assert lines(logging_hub)[-1]["account_id"] is None
    with socket.create_connection(("127.0.0.1", int(logging_hub.url.rpartition(":")[2]))) as rough:
        rough.sendall(b"\x00\x01 no HTTP at all\r\n\r\n")
        assert b"400" in rough.recv(1000)
    text = logging_hub.errors()
    lines(logging_hub)
    assert "A secret title" not in text
    assert "sk-wrong" not in text
    assert logging_hub.admin_key not in text
    logging_hub.interrupt()
    assert "hub.stopping_projects" in [line["event"] for line in lines(logging_hub)]


def test_a_mistake_of_the_hub_is_found_by_the_id_of_its_request(logging_hub: HubProcess) -> None:
    connection = sqlite3.connect(logging_hub.data_dir / "hub.sqlite3")
    connection.execute("ALTER TABLE projects RENAME TO gone")
    connection.commit()
    try:
        headers = {"Authorization": f"Bearer {logging_hub.admin_key}", "x-request-id": "call-4711-of-mine"}
        body = {"name": "projects.createProject", "args": [{}]}
        answer = httpx2.post(f"{logging_hub.url}/api/conat/hub", json=body, headers=headers, timeout=20)
    finally:
        connection.execute("ALTER TABLE gone RENAME TO projects")
        connection.commit()
        connection.close()
    assert answer.headers["x-request-id"] == "call-4711-of-mine"
    assert "request_id call-4711-of-mine" in answer.json()["error"]
    assert "gone" not in answer.json()["error"]
    (line,) = [line for line in lines(logging_hub) if line["event"] == "call.failed"]
    assert line["request_id"] == "call-4711-of-mine"
    assert line["exception"].startswith("Traceback")


def test_what_goes_wrong_after_the_answer_names_its_request(logging_hub: HubProcess) -> None:
    body = {"name": "projects.createProject", "args": [{"start": True}]}
    connection = sqlite3.connect(logging_hub.data_dir / "hub.sqlite3")
    connection.execute("CREATE TRIGGER broken BEFORE UPDATE ON projects BEGIN SELECT RAISE(ABORT, 'broken'); END")
    connection.commit()
    connection.close()
    answer = logging_hub.post(body)
    deadline = time.monotonic() + 20
    while not (found := [line for line in lines(logging_hub) if line["event"] == "project.start_failed"]):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert found[0]["request_id"] == answer.headers["x-request-id"]
    connection = sqlite3.connect(logging_hub.data_dir / "hub.sqlite3")
    connection.execute("DROP TRIGGER broken")
    connection.commit()
    connection.close()
