"""What somebody may do who only views a project: every method and every route, on a real hub.

The tables here name each method and each route; one that is added without a rule for viewers fails.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import httpx
import httpx2
import pytest
from cocalc_api import Hub

from projecthub import Project
from projecthub.errors import HubError
from projecthub.wire.errors import CODE_HEADER
from projecthub.wire.methods import METHODS, Ability, Caller, Endpoint
from tests.hubs import HubProcess

LICENSE = "00000000-0000-4000-8000-00000000000a"
DENIED = {"permission_denied", "ownership_denied"}

# Of the caller's own account, or of the whole hub.
NOT_OF_A_PROJECT = {
    "system.ping",
    "system.test",
    "system.getNames",
    "system.userSearch",
    "projects.createProject",
}


class Viewed:
    """A project with a file, its owner, and somebody who views it."""

    def __init__(self, hub: HubProcess) -> None:
        self.process = hub
        self.owner_id, owner_key = hub.person("vowner")
        self.viewer_id, self.key = hub.person("viewer")
        self.other_id, _ = hub.person("vother")
        self.owner, self.viewer = hub.hub(owner_key), hub.hub(self.key)
        self.project_id = self.owner.projects.create_project("Viewed")
        self.inside = self.owner.project(self.project_id)
        self.inside.files.write_text("data/a.txt", "read me")
        self.snapshot_id = self.inside.snapshots.create()["id"]
        self.owner.projects.add_collaborator(self.project_id, self.viewer_id, group="viewer")
        self.own_id = self.viewer.projects.create_project("The viewer's own")
        self.key_id = self.owner.keys.create(project_id=self.project_id, name="of the project")["id"]

    def close(self) -> None:
        for client in (self.owner, self.viewer, self.inside):
            client.close()

    def call(self, endpoint: str, name: str, args: list[Any]) -> tuple[str, Any]:
        """The code of a call's refusal, or ``ok``, and its reply."""
        body = {"name": name, "args": args, "project_id": self.project_id}
        reply = self.process.post(body, key=self.key, endpoint=endpoint)
        return reply.headers.get(CODE_HEADER, "ok"), reply.json()

    def seen(self) -> dict[str, Any]:
        """All of the project that a viewer could have changed."""
        with self.process.hub() as admin:
            fields = ["title", "users", "state", "deleted", "last_edited", "site_license", "manage_users_owner_only"]
            [row] = admin.projects.get(fields=["project_id", *fields, "invite"], project_id=self.project_id)
        home = self.process.data_dir / "projects" / self.project_id / "home"
        return {
            "row": row,
            "keys": [key["id"] for key in self.owner.keys.list(project_id=self.project_id)],
            "files": sorted((str(path), path.stat().st_mtime_ns) for path in home.rglob("*")),
            "tokens": self.owner.projects.invite_tokens(self.project_id),
            "snapshots": [row["id"] for row in self.inside.snapshots.list()],
            "log": len(self.owner.projects.log(self.project_id)),
        }


@pytest.fixture(scope="module")
def viewed(hub_process: HubProcess) -> Iterator[Viewed]:
    project = Viewed(hub_process)
    yield project
    project.close()


def about(viewed: Viewed) -> dict[str, list[dict[str, Any]]]:
    """Calls about the project for every method of the hub that knows projects; those of `OPTS` methods under it."""
    project, other = {"project_id": viewed.project_id}, {"account_id": viewed.other_id}
    mail = {"to": "somebody@example.org", "email": "Come"}
    return {
        "db.userQuery": [
            {"query": {"projects": {**project, "title": "Mine"}}},
            {"query": {"projects": {**project, "deleted": True}}},
            {"query": {"projects": {**project, "users": {viewed.viewer_id: {"group": "owner"}}}}},
            {"query": {"projects": {**project, "manage_users_owner_only": True}}},
            {"query": {"projects": {**project, "site_license": {LICENSE: {}}}}},
            {"query": {"projects": {**project, "env": {"A": "1"}}}},
            {"query": {"projects": {**project, "action_request": {"action": "start"}}}},
            {"query": {"public_paths": {**project, "path": "data"}}},
            {"query": {"project_log": {**project, "event": {"event": "x"}}}},
            {"query": {"project_invite_tokens": {**project, "token": "v" * 32}}},
            {"query": {"project_invite_tokens": [{**project, "token": None}]}},
        ],
        "system.manageApiKeys": [
            {**project, "action": action, "id": viewed.key_id, "name": "mine"}
            for action in ("get", "create", "edit", "delete")
        ],
        "keys.create": [project],
        "keys.list": [project],
        "projects.copyPathBetweenProjects": [
            {"src_project_id": viewed.own_id, "src_path": ".", "target_project_id": viewed.project_id},
            {"src_project_id": viewed.project_id, "src_path": "data", "target_path": "copy"},
        ],
        "projects.addCollaborator": [project | other, project | {"account_id": viewed.viewer_id}],
        "projects.removeCollaborator": [project | other, project | {"account_id": viewed.owner_id}],
        "projects.changeUserType": [
            project | {"target_account_id": viewed.viewer_id, "new_group": group} for group in ("owner", "collaborator")
        ],
        "projects.handOver": [project | other],
        "projects.inviteCollaborator": [project | other],
        "projects.inviteCollaboratorWithoutAccount": [project | mail],
        "projects.addLicense": [{**project, "license_id": LICENSE}],
        "projects.removeLicense": [{**project, "license_id": LICENSE}],
        "projects.setQuotas": [{**project, "cores": 2}],
        "snapshots.create": [project],
        "snapshots.list": [project],
        "snapshots.diff": [{**project, "id": viewed.snapshot_id}],
        "snapshots.restore": [{**project, "id": viewed.snapshot_id}, {**project, "id": viewed.snapshot_id, "to": "x"}],
        "snapshots.delete": [{**project, "id": viewed.snapshot_id}],
        "jupyter.kernels": [project],
        "jupyter.execute": [{**project, "input": "1", "kernel": "python3"}],
        **{
            f"projects.{name}": [project]
            for name in ("start", "stop", "restart", "touch", "deleteProject", "state", "status", "idle")
        },
    }


@pytest.mark.parametrize("name", METHODS[Endpoint.HUB])
def test_methods_of_the_hub(viewed: Viewed, name: str) -> None:
    row = METHODS[Endpoint.HUB][name]
    calls = about(viewed).get(name)
    if calls is None:
        knows_projects = "project_id" in row.arguments.__dataclass_fields__
        assert name in NOT_OF_A_PROJECT or row.caller is Caller.ADMIN or not knows_projects, "a rule for viewers is due"
        return
    before = viewed.seen()
    for call in calls:
        args = [{"opts": call}] if row.form.name == "OPTS" else [call]
        code, reply = viewed.call("hub", name, args)
        if name == "db.userQuery":
            assert code == "query_refused", (call, reply)
        elif name == "keys.list" or row.needs is not Ability.READ:
            assert code in DENIED, (call, reply)
        else:
            assert code in ("ok", "conflict"), (call, reply)  # one that does not run is not idle
    assert viewed.seen() == before


def test_keys_of_the_project_are_not_the_viewers_to_revoke(viewed: Viewed) -> None:
    assert viewed.call("hub", "keys.revoke", [{"id": viewed.key_id}])[0] == "not_found"


@pytest.mark.parametrize("name", METHODS[Endpoint.PROJECT])
def test_methods_of_the_project(viewed: Viewed, name: str) -> None:
    """What reads is answered without a start, if the hub can; nothing else is done."""
    row = METHODS[Endpoint.PROJECT][name]
    path: dict[str, Any] = {"path": "data/a.txt" if name.startswith("system.read") else "data"}
    lists = {"system.realpath": "data", "system.canonicalPaths": ["data"]}
    before = viewed.seen()
    code, reply = viewed.call("project", name, [lists.get(name, path)])
    if row.needs is not Ability.READ:
        assert code == "permission_denied", reply
    elif name in ("system.ping", "system.test"):
        assert (code, "may not start it" in reply["error"]) == ("conflict", True)
    else:
        assert code == "ok"
        assert reply
    assert viewed.seen() == before


def test_what_runs_already_answers_viewers(viewed: Viewed) -> None:
    project_id = viewed.owner.projects.create_project("Running")
    viewed.owner.projects.add_collaborator(project_id, viewed.viewer_id, group="viewer")
    viewed.owner.projects.start(project_id)
    with Project(api_key=viewed.key, host=viewed.process.url, project_id=project_id) as project:
        assert project.system.test()["project_id"] == project_id
        with pytest.raises(HubError, match="must be a collaborator"):
            project.system.exec("true")
    viewed.owner.projects.delete(project_id)


# Routes that look, and nothing else. All others are refused.
READING = {
    ("GET", "/files"),
    ("GET", "/files/stat"),
    ("GET", "/files/content"),
    ("GET", "/files/archive"),
    ("GET", "/jobs"),
    ("GET", "/jobs/{job_id}"),
    ("GET", "/jobs/{job_id}/output"),
    ("GET", "/jobs/{job_id}/events"),
    ("GET", "/jupyter/sessions"),
    ("GET", "/trash"),
    ("GET", "/snapshots/{snapshot_id}/content"),
}


def test_routes(viewed: Viewed) -> None:
    prefix = "/projects/{project_id}"
    document = httpx2.get(f"{viewed.process.url}/api/v1/openapi.json").json()
    routes = {
        (method.upper(), path.removeprefix(prefix))
        for path, methods in document["paths"].items()
        for method in methods
        if path.startswith(prefix) and method != "parameters"
    }
    assert routes > READING
    before = viewed.seen()
    headers = {"Authorization": f"Bearer {viewed.key}", "Tus-Resumable": "1.0.0"}
    parameters = {"path": "data/a.txt"}
    for method, path in sorted(routes):
        place = re.sub(r"\{[^}]+\}", "00000000-0000-4000-8000-000000000001", path)
        url = f"{viewed.process.url}/api/v1/projects/{viewed.project_id}{place}"
        reply = httpx2.request(method, url, headers=headers, params=parameters)
        if (method, path) in READING:
            assert reply.status_code in (200, 404, 409), (method, path, reply.text)
        else:
            code = reply.headers.get(CODE_HEADER)
            assert (reply.status_code, code) == (403, "permission_denied"), (method, path, reply.text)
    assert viewed.seen() == before


def test_an_unmodified_client_sees_viewers(viewed: Viewed) -> None:
    """Its lists show the group; what it may not do is a refusal that it knows."""
    with pytest.MonkeyPatch.context() as patch:
        made: list[httpx.Client] = []

        class Closed(httpx.Client):
            def __init__(self, **options: Any) -> None:
                super().__init__(**options)
                made.append(self)

        patch.setattr(httpx, "Client", Closed)
        hub = Hub(api_key=viewed.key, host=viewed.process.url)
        [row] = hub.projects.get(project_id=viewed.project_id)
        assert row["users"][viewed.viewer_id] == {"group": "viewer"}
        assert viewed.project_id in [each["project_id"] for each in hub.projects.get()]
        assert hub.projects.state(viewed.project_id)["state"] == "stopped"
        with pytest.raises(RuntimeError, match="must be collaborator on project to start it"):
            hub.projects.start(viewed.project_id)
        for client in made:
            client.close()


def test_viewers_copy_from_it_and_leave(hub_process: HubProcess) -> None:
    _, owner_key = hub_process.person("leaver-owner")
    account_id, key = hub_process.person("leaver")
    with hub_process.hub(owner_key) as owner, hub_process.hub(key) as viewer:
        project_id = owner.projects.create_project("Left")
        with owner.project(project_id) as inside:
            inside.files.write_text("a.txt", "read me")
        owner.projects.add_collaborator(project_id, account_id, group="viewer")
        own = viewer.projects.create_project("Own")
        assert viewer.projects.copy_path_between_projects(project_id, "a.txt", own)["files"] == 1
        viewer.projects.leave(project_id)
        assert viewer.projects.get(project_id=project_id) == []
