"""Keys that are good for less, sessions and limits on calls, over HTTP."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx2
import pytest

from projecthub import Hub, errors
from projecthub.wire.errors import CODE_HEADER, RETRY_HEADER
from projecthub.wire.methods import METHODS, Ability, Caller, Endpoint
from tests.hubs import HubProcess

SCOPE_TEXT = "needs a key with the scope"
EVERY_CALL = [(endpoint, name) for endpoint in Endpoint for name in METHODS[endpoint]]


MAKING = {("post", "/projects"), ("post", "/projects/import"), ("post", "/projects/{project_id}/clone")}
"""Routes that take a key that manages: they make projects."""


class Ada:
    """Somebody with a project, and a key for each single scope."""

    def __init__(self, process: HubProcess) -> None:
        self.process = process
        self.account_id, self.key = process.person("ada-of-scopes")
        with process.hub(self.key) as hub:
            self.project_id = hub.projects.create_project(title="Scopes")
            self.keys = {scope: hub.keys.create(scopes=[scope])["secret"] for scope in Ability}

    def native(self, key: str, method: str, path: str, **options: Any) -> httpx2.Response:
        url = f"{self.process.url}/api/v1/projects/{self.project_id}/{path}"
        return httpx2.request(method, url, headers={"authorization": f"Bearer {key}"}, timeout=60, **options)


@pytest.fixture(scope="module")
def ada(hub_process: HubProcess) -> Iterator[Ada]:
    ada = Ada(hub_process)
    yield ada
    with hub_process.hub(ada.key) as hub:
        hub.projects.delete(ada.project_id)


@pytest.mark.parametrize(("endpoint", "name"), EVERY_CALL)
def test_every_call_needs_its_scope(hub_process: HubProcess, ada: Ada, endpoint: Endpoint, name: str) -> None:
    method = METHODS[endpoint][name]
    for scope, key in ada.keys.items():
        if scope is method.needs:
            continue  # what is allowed may take long, and is tried elsewhere
        body = {"name": name, "args": [{"opts": {}}], "project_id": ada.project_id}
        reply = hub_process.post(body, key=key, endpoint=endpoint.rpartition("/")[2])
        text = str(reply.json())
        if method.caller is Caller.ANYONE:
            assert SCOPE_TEXT not in text
        else:
            assert f"permission denied: {name} {SCOPE_TEXT} '{method.needs}', and this one has {scope}" in text
            assert reply.headers[CODE_HEADER] == "permission_denied"


def test_no_native_route_is_open_to_a_key_that_only_manages(hub_process: HubProcess, ada: Ada) -> None:
    document = httpx2.get(f"{hub_process.url}/api/v1/openapi.json").json()
    routes = [
        (method, path)
        for path, operations in document["paths"].items()
        for method in operations
        if method in ("get", "head", "post", "put", "patch", "delete")
    ]
    assert len(routes) > 30
    assert set(routes) > MAKING
    for method, path in routes:
        key = ada.keys[Ability.WRITE if (method, path) in MAKING else Ability.MANAGE]
        place = path.replace("{project_id}", ada.project_id).replace("{share_id}", "f" * 40)
        url = f"{hub_process.url}/api/v1{place.replace('{', '').replace('}', '')}"
        reply = httpx2.request(method.upper(), url, headers={"authorization": f"Bearer {key}"}, timeout=60)
        assert reply.status_code == 403, (method, path, reply.text)
        assert reply.headers[CODE_HEADER] == "permission_denied"


def test_a_key_of_a_project_makes_no_projects(hub_process: HubProcess, ada: Ada) -> None:
    with hub_process.hub(ada.key) as hub:
        secret = hub.keys.create(project_id=ada.project_id)["secret"]
    for _, path in MAKING:
        url = f"{hub_process.url}/api/v1{path.replace('{project_id}', ada.project_id)}"
        reply = httpx2.post(url, json={}, headers={"authorization": f"Bearer {secret}"})
        assert (reply.status_code, "own key makes no projects" in reply.text) == (403, True)


def test_native_routes_take_the_keys_that_are_good_for_them(ada: Ada) -> None:
    reader, writer, runner = (ada.keys[scope] for scope in (Ability.READ, Ability.WRITE, Ability.RUN))
    assert ada.native(writer, "PUT", "files/content?path=a", content=b"kept").status_code in (200, 201)
    for key, status in ((reader, 200), (writer, 403), (runner, 403)):
        assert ada.native(key, "GET", "files/content?path=a").status_code == status
    for key in (reader, runner):
        reply = ada.native(key, "PUT", "files/content?path=a", content=b"other")
        assert reply.status_code == 403
        assert SCOPE_TEXT in reply.json()["detail"]
    for key in (reader, writer):
        assert ada.native(key, "POST", "jobs", json={"command": "true"}).status_code == 403
    assert ada.native(reader, "GET", "files/content?path=a").text == "kept"


def test_a_key_without_run_starts_nothing(hub_process: HubProcess, ada: Ada) -> None:
    with hub_process.hub(ada.key) as hub:
        hub.projects.stop(ada.project_id)
        assert hub.projects.state(ada.project_id)["state"] == "stopped"
    with hub_process.hub(ada.keys[Ability.READ]) as hub:
        inside = hub.project(ada.project_id)
        body = {"name": "system.listing", "args": [{"path": ""}], "project_id": ada.project_id}
        assert isinstance(hub_process.post(body, key=ada.keys[Ability.READ], endpoint="project").json(), list)
        with pytest.raises(errors.PermissionDenied, match="to start the project needs"):
            inside.system.ping()
        assert hub.projects.state(ada.project_id)["state"] == "stopped"
    with hub_process.hub(ada.key) as hub:
        hub.projects.start(ada.project_id)
    with hub_process.hub(ada.keys[Ability.READ]) as hub:
        assert hub.project(ada.project_id).system.ping()["now"] > 0


def test_a_limit_on_calls(hub_process: HubProcess, ada: Ada) -> None:
    with hub_process.hub(ada.key) as hub:
        secret = hub.keys.create(calls_per_minute=2)["secret"]
    with hub_process.hub(secret) as limited:
        for _ in range(2):
            limited.system.ping()
        with pytest.raises(errors.RateLimited, match="2 times a minute") as refused:
            limited.system.ping()
    assert 1 <= refused.value.retry_after_s <= 30
    reply = ada.native(secret, "GET", "files?path=")
    assert (reply.status_code, reply.headers[CODE_HEADER]) == (429, "rate_limited")
    assert 1 <= int(reply.headers[RETRY_HEADER]) <= 30
    called = hub_process.post({"name": "system.ping"}, key=secret)
    assert (called.status_code, called.headers[CODE_HEADER]) == (200, "rate_limited")
    assert 1 <= int(called.headers[RETRY_HEADER]) <= 30


def test_wrong_keys_from_an_address_that_a_proxy_tells(hub_process: HubProcess) -> None:
    def call(address: str) -> str:
        headers = {"authorization": "Bearer sk-wrong", "x-forwarded-for": address}
        url = f"{hub_process.url}{Endpoint.HUB}"
        return client.post(url, json={"name": "system.ping"}, headers=headers).headers[CODE_HEADER]

    with httpx2.Client() as client:
        codes = [call("192.0.2.99") for _ in range(150)]
        assert codes[:100] == ["not_signed_in"] * 100
        assert "rate_limited" in codes[100:]
        assert call("192.0.2.98") == "not_signed_in"


def test_people_sign_in_without_a_key(hub_process: HubProcess) -> None:
    account_id, _ = hub_process.person("signer")
    with hub_process.hub() as admin:
        admin.accounts.set_password("correct horse", "signer@example.org")
    url = f"{hub_process.url}{Endpoint.HUB}"

    def sign_in(password: Any) -> httpx2.Response:
        args = [{"email_address": "Signer@example.org", "password": password}]
        return httpx2.post(url, json={"name": "accounts.signIn", "args": args})

    refused = sign_in("wrong password")
    assert refused.json() == {"error": "the e-mail address or the password is wrong"}
    assert refused.headers[CODE_HEADER] == "not_signed_in"
    told = sign_in("correct horse").json()
    assert told["account_id"] == account_id
    with Hub(api_key=told["secret"], host=hub_process.url) as hub:
        assert hub.system.test()["account_id"] == account_id
        assert hub.keys.list()[0]["name"] == "test"
        assert hub.accounts.sign_out() == {"signed_out": True}
        with pytest.raises(errors.NotSignedIn):
            hub.system.ping()
    for log in (hub_process.errors(), hub_process.output):
        assert "correct horse" not in log
        assert told["secret"] not in log


def test_an_account_from_roster_to_deletion(hub_process: HubProcess) -> None:
    with hub_process.hub() as admin:
        row = {"email_address": "rosa@example.org", "first_name": "Rosa"}
        assert admin.accounts.import_roster([row], dry_run=True)["created"] == 1
        assert admin.accounts.import_roster([row])["created"] == 1
        assert admin.accounts.import_roster([row])["unchanged"] == 1
        rosa = hub_process.hub(admin.keys.create("rosa@example.org")["secret"])
        heir, _ = hub_process.person("heir")
        with rosa:
            project_id = rosa.projects.create_project(title="Rosa's")
            with pytest.raises(errors.Conflict, match=project_id):
                rosa.accounts.delete("rosa@example.org")
            admin.accounts.update("rosa@example.org", disabled=True)
            with pytest.raises(errors.NotSignedIn):
                rosa.system.ping()
            admin.accounts.update("rosa@example.org", disabled=False)
            assert rosa.accounts.get()["first_name"] == "Rosa"
            done = rosa.accounts.delete("rosa@example.org", projects=heir)
            assert done["projects_handed_over"] == [project_id]
            with pytest.raises(errors.NotSignedIn):
                rosa.system.ping()


def test_a_key_that_only_reads_makes_no_plans(hub_process: HubProcess, ada: Ada) -> None:
    """A plan more may be one too many, and the oldest gives way: which is for keys that copy."""
    source, target = {"project_id": ada.project_id, "path": "."}, {"project_id": ada.project_id, "path": "x"}
    with hub_process.hub(ada.keys[Ability.READ]) as hub:
        with pytest.raises(errors.PermissionDenied, match=r"copies\.plan needs a key with the scope 'write'"):
            hub.copies.plan(source, [target])
        assert hub.copies.list(plans=True) == []
