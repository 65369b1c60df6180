"""What somebody may do who only views a project: where it does not run, with other clients, and to leave it.

What each method and route allows them is told by `test_who_may_do_what`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from cocalc_api import Hub

from projecthub import Project
from projecthub.errors import HubError
from projecthub.wire.errors import CODE_HEADER
from projecthub.wire.methods import METHODS, Ability, Endpoint
from tests.hubs import HubProcess


class Viewed:
    """A project with a file, its owner, and somebody who views it."""

    def __init__(self, hub: HubProcess) -> None:
        self.process = hub
        self.owner_id, owner_key = hub.person("vowner")
        self.viewer_id, self.key = hub.person("viewer")
        self.owner, self.viewer = hub.hub(owner_key), hub.hub(self.key)
        self.project_id = self.owner.projects.create_project("Viewed")
        self.inside = self.owner.project(self.project_id)
        self.inside.files.write_text("data/a.txt", "read me")
        self.owner.projects.add_collaborator(self.project_id, self.viewer_id, group="viewer")

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
            "log": len(self.owner.projects.log(self.project_id)),
        }


@pytest.fixture(scope="module")
def viewed(hub_process: HubProcess) -> Iterator[Viewed]:
    project = Viewed(hub_process)
    yield project
    project.close()


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
    elif name in ("system.ping", "system.test", "system.version", "ping"):
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


@pytest.mark.usefixtures("closed_connections")
def test_an_unmodified_client_sees_viewers(viewed: Viewed) -> None:
    """Its lists show the group; what it may not do is a refusal that it knows."""
    hub = Hub(api_key=viewed.key, host=viewed.process.url)
    [row] = hub.projects.get(project_id=viewed.project_id)
    assert row["users"][viewed.viewer_id] == {"group": "viewer"}
    assert viewed.project_id in [each["project_id"] for each in hub.projects.get()]
    assert hub.projects.state(viewed.project_id)["state"] == "stopped"
    with pytest.raises(RuntimeError, match="must be collaborator on project to start it"):
        hub.projects.start(viewed.project_id)


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
