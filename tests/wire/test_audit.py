"""The audit log over HTTP: the whole table of methods and all routes."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest

from projecthub.wire.methods import METHODS, Ability, Caller, Endpoint
from tests.hubs import HubProcess

EVERY_CALL = [(endpoint, name) for endpoint in Endpoint for name in METHODS[endpoint]]
MUTATING = [
    (endpoint, name)
    for endpoint, name in EVERY_CALL
    if METHODS[endpoint][name].is_mutating and name not in ("projects.stopAll",)
]


class Log:
    """Calls with names of their own, and what the log tells of them."""

    def __init__(self, process: HubProcess) -> None:
        self.process = process
        self.account_id, self.key = process.person(f"audited-{uuid.uuid4().hex[:8]}")
        _, self.stranger = process.person(f"stranger-{uuid.uuid4().hex[:8]}")
        with process.hub(self.key) as hub:
            self.project_id = hub.projects.create_project(title="Audited")

    def call(self, endpoint: Endpoint, name: str, key: str, args: Any = None) -> tuple[str, Any]:
        request_id = uuid.uuid4().hex
        body = {"name": name, "args": args if args is not None else [{"opts": {}}], "project_id": self.project_id}
        headers = {"Authorization": f"Bearer {key}", "x-request-id": request_id}
        return request_id, httpx2.post(f"{self.process.url}{endpoint}", json=body, headers=headers, timeout=60).json()

    def native(self, key: str, method: str, path: str, **options: Any) -> tuple[str, httpx2.Response]:
        request_id = uuid.uuid4().hex
        url = f"{self.process.url}/api/v1{path}"
        headers = {"Authorization": f"Bearer {key}", "x-request-id": request_id, **options.pop("headers", {})}
        return request_id, httpx2.request(method, url, headers=headers, timeout=60, **options)

    def of(self, request_id: str, **filters: Any) -> list[Any]:
        with self.process.hub() as admin:
            found = admin.audit.list(**{"limit": 50, **filters})["entries"]
        return [entry for entry in found if entry["request_id"] == request_id]


@pytest.fixture(scope="module")
def log() -> Iterator[Log]:
    process = HubProcess()  # of its own: what strangers call elsewhere is counted, and no longer told, in a shared one
    yield Log(process)
    process.close()


@pytest.mark.parametrize(("endpoint", "name"), MUTATING)
def test_every_call_that_may_change_something_is_told(log: Log, endpoint: Endpoint, name: str) -> None:
    request_id, reply = log.call(endpoint, name, log.key)
    entries = log.of(request_id)
    assert entries, reply
    has_failed = isinstance(reply, dict) and "error" in reply
    assert {entry["method"] for entry in entries} == {name}
    assert {entry["outcome"] == "ok" for entry in entries} == {not has_failed}
    is_anyone = METHODS[endpoint][name].caller is Caller.ANYONE
    assert {entry["account_id"] for entry in entries} == {None if is_anyone else log.account_id}


@pytest.mark.parametrize(("endpoint", "name"), EVERY_CALL)
def test_every_call_with_a_wrong_key_is_told(log: Log, endpoint: Endpoint, name: str) -> None:
    if METHODS[endpoint][name].caller is Caller.ANYONE:
        return
    request_id, _ = log.call(endpoint, name, f"sk-wrong-{name}")
    found = log.of(request_id)
    if (
        not found
    ):  # one of that name stands there already: `ping` and `test` are at both endpoints, and others ran before
        with log.process.hub() as admin:
            found = admin.audit.list(method=name, outcome="not_signed_in", limit=1)["entries"]
    (entry,) = found
    assert (entry["method"], entry["outcome"], entry["account_id"]) == (name, "not_signed_in", None)


@pytest.mark.parametrize("name", METHODS[Endpoint.PROJECT])
def test_every_call_of_a_stranger_into_a_project_is_told(log: Log, name: str) -> None:
    request_id, _ = log.call(Endpoint.PROJECT, name, log.stranger)
    (entry,) = log.of(request_id)
    assert (entry["outcome"], entry["project_id"]) == ("permission_denied", log.project_id)
    assert entry["message"] == "user must be a collaborator on the project"


@pytest.mark.parametrize(
    ("endpoint", "name", "args"),
    [
        (Endpoint.HUB, "system.ping", []),
        (Endpoint.HUB, "keys.list", [{}]),
        (Endpoint.HUB, "db.userQuery", [{"query": {"projects": [{"title": None}]}}]),
        (Endpoint.PROJECT, "system.listing", [{"path": ""}]),
        (Endpoint.PROJECT, "system.exec", [{"async_get": "00000000-0000-4000-8000-000000000000"}]),
    ],
)
def test_reads_are_not(log: Log, endpoint: Endpoint, name: str, args: Any) -> None:
    request_id, _ = log.call(endpoint, name, log.key, args)
    assert log.of(request_id) == []


def native_operations(process: HubProcess) -> list[tuple[str, str]]:
    document = httpx2.get(f"{process.url}/api/v1/openapi.json").json()
    return [
        (method.upper(), path)
        for path, operations in document["paths"].items()
        if path.startswith("/projects/{project_id}")  # others are told below
        for method in operations
        if method in ("get", "put", "post", "patch", "delete", "head", "options")
    ]


def test_every_route_tells_of_strangers_and_of_changes(log: Log) -> None:
    operations = native_operations(log.process)
    assert len(operations) > 35
    job, upload, item = uuid.uuid4(), uuid.uuid4().hex, "0000000000000-00000000"
    for method, path in operations:
        real = path.format(
            project_id=log.project_id, job_id=job, upload_id=upload, item_id=item, name="s", execution_id=job,
            snapshot_id=job,
        )  # fmt: skip
        for key, denied in ((log.stranger, True), (log.key, False), ("sk-wrong", True)):
            if key == log.key and method in ("GET", "HEAD", "OPTIONS"):
                continue
            headers = {"tus-resumable": "1.0.0", "upload-length": "1", "upload-metadata": "path YQ=="}
            request_id, reply = log.native(key, method, f"{real}?path=a", json={}, headers=headers)
            entries = [entry for entry in log.of(request_id) if entry["project_id"] in (None, log.project_id)]
            assert len(entries) == 1, (method, path, reply.text)
            assert entries[0]["method"] == f"{method} {path}"
            if key == log.key:
                assert (entries[0]["outcome"] == "ok") is reply.is_success
                assert (entries[0]["account_id"], entries[0]["project_id"]) == (log.account_id, log.project_id)
            else:
                code = "permission_denied" if key == log.stranger else "not_signed_in"
                assert (entries[0]["outcome"], reply.status_code in (401, 403)) == (code, denied)


@pytest.mark.parametrize(
    ("method", "path"), [("POST", "/projects"), ("POST", "/projects/import"), ("GET", "/shares"), ("GET", "/shares/x")]
)
def test_routes_that_are_of_no_project_tell_too(log: Log, method: str, path: str) -> None:
    label = path.replace("/x", "/{share_id}")
    for key in ("sk-wrong", log.key):
        request_id, reply = log.native(key, method, path, json={})
        entries = log.of(request_id)
        if method == "GET" and key == log.key:
            assert [entry["outcome"] for entry in entries] in ([], ["invalid_argument"])
            continue
        outcome = "ok" if reply.is_success else reply.headers["x-projecthub-error"]
        assert [(entry["method"], entry["outcome"]) for entry in entries] == [(f"{method} {label}", outcome)]


def test_other_places_tell_too(log: Log) -> None:
    url = log.process.url
    for method, path, told in (
        ("GET", "/auth/impersonate?auth_token=x", "GET /auth/impersonate"),
        ("POST", "/auth/password-reset/x", "POST /auth/password-reset/{token}"),
        ("GET", "/metrics", "GET /metrics"),
    ):
        headers = {"x-request-id": uuid.uuid4().hex, "x-forwarded-for": "192.0.2.9"}
        reply = httpx2.request(method, url + path, headers=headers, json={"password": "a long password"})
        assert not reply.is_success
        (entry,) = log.of(headers["x-request-id"])
        assert (entry["method"], entry["outcome"]) == (told, "not_signed_in")
    with log.process.hub() as admin:
        token = admin.system.generate_user_auth_token(log.account_id)
    headers = {"x-request-id": uuid.uuid4().hex}
    assert httpx2.get(f"{url}/auth/impersonate?auth_token={token}", headers=headers).is_success
    (entry,) = log.of(headers["x-request-id"])
    assert (entry["outcome"], entry["account_id"], entry["key_kind"]) == ("ok", log.account_id, None)
    assert token not in str(entry)


def test_a_key_that_may_not_tells_what_it_is(log: Log) -> None:
    with log.process.hub(log.key) as hub:
        key = hub.keys.create(scopes=[Ability.READ])
    request_id, _ = log.call(Endpoint.HUB, "projects.start", key["secret"], [{"project_id": log.project_id}])
    (entry,) = log.of(request_id)
    assert (entry["outcome"], entry["key_id"]) == ("permission_denied", key["id"])


def lines_of(reply: httpx2.Response) -> list[Any]:
    return [json.loads(line) for line in reply.text.splitlines()]


def test_projects_that_are_made_are_named(log: Log) -> None:
    request_id, reply = log.native(log.key, "POST", "/projects", json={"title": "Made"})
    made = lines_of(reply)[-1]["project_id"]
    (entry,) = log.of(request_id, project_id=made)
    assert (entry["method"], entry["outcome"]) == ("POST /projects", "ok")
    request_id, reply = log.native(log.key, "POST", f"/projects/{made}/clone", json={})
    (entry,) = log.of(request_id, project_id=lines_of(reply)[-1]["project_id"])
    assert entry["outcome"] == "ok"
    assert len(log.of(request_id, project_id=made)) == 1
    _, exported = log.native(log.key, "GET", f"/projects/{made}/export")
    request_id, reply = log.native(log.key, "POST", "/projects/import", content=exported.content)
    (entry,) = log.of(request_id, project_id=reply.json()["project_id"])
    assert (entry["method"], entry["outcome"]) == ("POST /projects/import", "ok")


def test_what_goes_on_after_it_was_answered_is_told_as_it_ends(log: Log) -> None:
    make = "import os; os.mkdir('m'); [open(f'm/{n}', 'w').close() for n in range(8000)]"
    with log.process.hub(log.key) as hub:
        source = hub.projects.create_project(title="Many files")
        hub.projects.start(source)
        hub.project(source).system.exec("python3", args=["-c", make], timeout=60)
    headers = {"Authorization": f"Bearer {log.key}", "x-request-id": uuid.uuid4().hex}
    url = f"{log.process.url}/api/v1/projects/{source}/clone"
    with httpx2.stream("POST", url, headers=headers, json={}, timeout=60) as reply:
        assert "project_id" not in json.loads(next(reply.iter_lines()))  # it has not ended; and nobody waits for it
    until = time.monotonic() + 30
    while not (entries := log.of(headers["x-request-id"])) and time.monotonic() < until:
        time.sleep(0.1)
    assert [entry["outcome"] for entry in entries] == ["left"]


def test_an_account_that_is_deleted_names_what_became_of_its_projects(log: Log) -> None:
    gone, key = log.process.person(f"gone-{uuid.uuid4().hex[:8]}")
    with log.process.hub(key) as hub:
        project_id = hub.projects.create_project(title="Handed over")
    with log.process.hub() as admin:
        admin.accounts.delete(gone, projects=log.account_id)
        (entry,) = admin.audit.list(project_id=project_id, method="accounts.delete")["entries"]
    assert (entry["outcome"], entry["target"]["account_id"]) == ("ok", gone)


def test_entries_say_what_was_set_and_who_was_meant(log: Log) -> None:
    unique = uuid.uuid4().hex[:8]
    address, password = f"roster-{unique}@example.org", f"secret of {unique}"
    with log.process.hub() as admin:

        def newest(method: str) -> Any:
            (entry,) = admin.audit.list(method=method, outcome="ok", limit=1)["entries"]
            assert password not in json.dumps(entry)
            return entry["target"]

        admin.projects.set_quotas(log.project_id, memory=1500, cores=0.5, network=0)
        assert newest("projects.setQuotas") == {"memory": 1500, "cores": 0.5, "network": 0}
        rows = [{"email_address": address, "first_name": "Rosa"}]
        admin.accounts.import_roster(rows, dry_run=True)
        counts = {"created": 1, "changed": 0, "unchanged": 0}
        assert newest("accounts.importRoster") == {"dry_run": True, **counts}
        admin.accounts.import_roster(rows)
        assert newest("accounts.importRoster") == counts
        account_id = admin.accounts.get(address)["account_id"]
        admin.accounts.set_password(password, address)
        assert newest("accounts.setPassword") == {"account_id": account_id}
        admin.accounts.update(address, disabled=True)
        assert newest("accounts.update") == {"account_id": account_id, "disabled": True}
        key = admin.keys.create(address, name="of another")
        assert newest("keys.create") == {"account_id": account_id, "id": key["id"], "name": "of another"}
        admin.accounts.delete(address)
        assert newest("accounts.delete") == {"account_id": account_id, "projects": "refuse"}


def test_who_asks_as_somebody_else_is_told_of(log: Log) -> None:
    opts = {"query": {"accounts": {"email_address": None}}, "options": [{"account_id": str(uuid.uuid4())}]}
    request_id, reply = log.call(Endpoint.HUB, "db.userQuery", log.stranger, [opts])
    assert "user must be admin to sudo" in reply["error"]
    (entry,) = log.of(request_id)
    assert (entry["outcome"], entry["target"]["as_account_id"]) == ("query_refused", opts["options"][0]["account_id"])


def test_only_site_admins_read_it(log: Log) -> None:
    _, reply = log.call(Endpoint.HUB, "audit.list", log.key, [{}])
    assert reply == {"error": "Error: only admins may read the audit log"}
    with log.process.hub(log.key) as hub:
        project_key = hub.keys.create(project_id=log.project_id)["secret"]
    _, reply = log.call(Endpoint.HUB, "audit.list", project_key, [{}])
    assert "must be signed in" in reply["error"]
