"""Who did what, over HTTP, on a hub of its own that is killed: nothing that happened is without its entry."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest

from projecthub import AsyncHub, Hub, errors
from tests.hubs import HubProcess


@pytest.fixture(scope="module")
def process() -> Iterator[HubProcess]:
    hub = HubProcess()
    yield hub
    hub.close()


def told(process: HubProcess, **filters: Any) -> list[Any]:
    with process.hub() as admin:
        return [*admin.audit.entries(**filters)]


def newest(process: HubProcess, **filters: Any) -> Any:
    with process.hub() as admin:
        (entry,) = admin.audit.list(limit=1, **filters)["entries"]
    return entry


def test_who_did_what(process: HubProcess) -> None:
    ada, key = process.person("ada")
    vic, viewer_key = process.person("vic")
    _, stranger_key = process.person("sam")
    with process.hub(key) as hub:
        project_id = hub.projects.create_project(title="Hidden title")
        hub.projects.add_collaborator(project_id, vic, group="viewer")
        hub.db.query({"projects": {"project_id": project_id, "title": "Another hidden title"}})
        hub.project(project_id).system.exec("echo hidden-command", bash=True)
        project_key = hub.keys.create(project_id=project_id, name="robot")
        files = hub.project(project_id).files
        files.write_bytes("notes/a.txt", b"hidden content")
        files.move("notes/a.txt", "notes/b.txt")
        files.delete("notes/b.txt")
    with process.hub(project_key["secret"]) as robot, contextlib.suppress(errors.HubError):
        robot.project(project_id).system.exec("true")
    with process.hub(viewer_key) as viewer:
        with pytest.raises(errors.PermissionDenied):
            viewer.project(project_id).system.exec("hidden-command")
        with pytest.raises(errors.HubError):
            viewer.db.query({"projects": {"project_id": project_id, "title": "x"}})
    with process.hub(stranger_key) as stranger, pytest.raises(errors.PermissionDenied):
        stranger.projects.start(project_id)
    with process.hub(stranger_key) as stranger, pytest.raises(errors.PermissionDenied):
        stranger.project(project_id).files.list("")
    entries = told(process, project_id=project_id)
    by_ada = [(entry["method"], entry["outcome"]) for entry in entries if entry["account_id"] == ada]
    assert by_ada == [
        ("projects.createProject", "ok"),
        ("projects.addCollaborator", "ok"),
        ("db.userQuery", "ok"),
        ("system.exec", "ok"),
        ("keys.create", "ok"),
        ("PUT /projects/{project_id}/files/content", "ok"),
        ("POST /projects/{project_id}/files/move", "ok"),
        ("DELETE /projects/{project_id}/files", "ok"),
        ("system.exec", "ok"),
    ]
    assert (entries[8]["key_kind"], entries[8]["key_id"]) == ("project", project_key["id"])
    assert [entry["target"]["path"] for entry in (entries[5], entries[7])] == ["notes/a.txt", "notes/b.txt"]
    assert entries[6]["target"] == {"src": "notes/a.txt", "dest": "notes/b.txt"}
    denied = [(entry["method"], entry["outcome"]) for entry in entries if entry["account_id"] == vic]
    assert denied == [("system.exec", "permission_denied"), ("db.userQuery", "query_refused")]
    assert [entry["method"] for entry in entries[11:]] == [
        "projects.start",
        "GET /projects/{project_id}/files",
    ]
    assert "hidden" not in json.dumps(entries).lower()
    assert project_key["secret"] not in json.dumps(told(process))


def test_what_can_be_undone_no_more_is_found_by_its_projects(process: HubProcess) -> None:
    with process.hub() as hub:
        source, *students = [hub.projects.create_project() for _ in range(3)]
        for project_id, content in ((source, b"ours"), (students[0], b"theirs"), (students[1], b"theirs")):
            hub.project(project_id).files.write_bytes("hw.txt", content)
        targets = [{"project_id": project_id, "path": "hw.txt"} for project_id in students]
        done = hub.projects.copy_paths({"project_id": source, "path": "hw.txt"}, targets=targets, policy="overwrite")
        assert hub.copies.forget(done["id"])["targets"] == 2
        hub.copies.forget(done["id"])
    for project_id in students:
        (entry,) = told(process, project_id=project_id, method="copies.forget")
        assert entry["target"]["id"] == done["id"]


def test_keys_that_are_not_good_any_more(process: HubProcess) -> None:
    dan, key = process.person("dan")
    wrong = process.post({"name": "projects.createProject"}, key="sk-wrong").json()
    assert "must be signed in" in wrong["error"]
    entry = newest(process, method="projects.createProject")
    assert (entry["outcome"], entry["account_id"], entry["key_id"]) == ("not_signed_in", None, None)
    with process.hub() as admin:
        admin.accounts.update(dan, disabled=True)
    assert "error" in process.post({"name": "projects.createProject"}, key=key).json()
    entry = newest(process, account_id=dan)
    assert (entry["outcome"], entry["key_kind"]) == ("not_signed_in", "account")
    assert entry["key_id"] is not None
    with process.hub() as admin:
        admin.accounts.update(dan, disabled=False)
        limited = admin.keys.create(account_id=dan, calls_per_minute=1)
    for _ in range(3):
        process.post({"name": "system.ping"}, key=limited["secret"])
    entry = newest(process, account_id=dan, outcome="denied")
    assert (entry["outcome"], entry["method"], entry["key_id"]) == ("rate_limited", "system.ping", limited["id"])


def test_sessions(process: HubProcess) -> None:
    eva, key = process.person("eva")
    with process.hub(key) as hub:
        hub.accounts.set_password("a long hidden password")
        session = hub.accounts.sign_in("eva@example.org", "a long hidden password")
    with process.hub(session["secret"]) as hub:
        hub.projects.create_project(title="of a session")
    with pytest.raises(errors.HubError), process.hub(key) as hub:
        hub.accounts.sign_in("eva@example.org", "hidden guess")
    entries = told(process, account_id=eva)
    assert [(entry["method"], entry["key_kind"]) for entry in entries] == [
        ("accounts.setPassword", "account"),
        ("accounts.signIn", None),
        ("projects.createProject", "session"),
    ]
    attempts = told(process, method="accounts.signIn")
    assert [(entry["outcome"], entry["target"]["email_address"]) for entry in attempts] == [
        ("ok", "eva@example.org"),
        ("not_signed_in", "eva@example.org"),
    ]
    assert attempts[0]["target"]["account_id"] == eva
    assert "hidden" not in json.dumps(told(process, method="accounts.")).lower()


async def test_the_async_client_reads_all_pages_too(process: HubProcess) -> None:
    async with AsyncHub(process.admin_key, process.url) as hub:
        for number in range(3):
            await hub.system.ping()
            await hub.projects.create_project(title=str(number))
        found = [entry["id"] async for entry in hub.audit.entries(method="projects.createProject", limit=2)]
        page = await hub.audit.list(method="projects.createProject", order="oldest", limit=2)
    assert found == [entry["id"] for entry in page["entries"]]


def test_what_was_under_way_when_the_hub_was_killed(process: HubProcess) -> None:
    with process.hub() as hub:
        project_id = hub.projects.create_project(title="killed")
        hub.projects.start(project_id)
    body = {"name": "system.exec", "args": [{"command": "sleep", "args": ["60"]}], "project_id": project_id}

    def run() -> None:
        with contextlib.suppress(httpx2.HTTPError):
            process.post(body, endpoint="project")

    caller = threading.Thread(target=run)
    caller.start()
    time.sleep(1.0)
    process.kill()
    caller.join()
    process.restart()
    entry = newest(process, project_id=project_id)
    assert (entry["method"], entry["outcome"], entry["key_kind"]) == ("system.exec", "unknown", "account")
    assert entry["began"] < entry["time"]


def test_no_project_is_made_without_an_entry(process: HubProcess) -> None:
    _, key = process.person("max")
    for turn in range(4):
        stop = threading.Event()

        def make(stop: threading.Event = stop) -> None:
            with Hub(key, process.url, retries=0) as hub:
                while not stop.is_set():
                    try:
                        hub.projects.create_project(title="one of many")
                    except errors.HubError:
                        return

        makers = [threading.Thread(target=make) for _ in range(6)]
        for maker in makers:
            maker.start()
        time.sleep(0.3 + 0.17 * turn)
        process.kill()
        stop.set()
        for maker in makers:
            maker.join()
        process.restart()
    with process.hub(key) as hub:
        made = {row["project_id"] for row in hub.projects.get(all=True)}
    account_id = newest(process, method="projects.createProject", outcome="ok")["account_id"]
    entries = told(process, account_id=account_id, method="projects.createProject")
    named = {entry["project_id"] for entry in entries if entry["outcome"] == "ok"}
    outcomes = Counter(entry["outcome"] for entry in entries)
    assert len(made) > 10
    assert named <= made
    assert len(made - named) <= outcomes["unknown"], outcomes
    assert set(outcomes) <= {"ok", "unknown"}


def test_a_hub_that_is_told_to_end_tells_how_calls_ended(process: HubProcess) -> None:
    with process.hub() as hub:
        project_id = hub.projects.create_project(title="ended")
        hub.projects.touch(project_id)
    process.terminate()
    process.restart()
    assert [entry["outcome"] for entry in told(process, project_id=project_id)] == ["ok", "ok"]
