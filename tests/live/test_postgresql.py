"""A whole hub on PostgreSQL."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from projecthub.errors import NotSignedIn, PermissionDenied
from tests.hubs import HubProcess
from tests.postgresql import PostgresqlServer

pytestmark = pytest.mark.anyio


@pytest.fixture
async def hub_on_postgresql(postgresql_server: PostgresqlServer) -> AsyncIterator[HubProcess]:
    name = await postgresql_server.create()
    process = HubProcess(PROJECTHUB_STORE_URL=postgresql_server.url(name))
    yield process
    process.close()
    await postgresql_server.drop(name)


async def test_the_operations(hub_on_postgresql: HubProcess) -> None:
    ada_id, ada_key = hub_on_postgresql.person("ada")
    with hub_on_postgresql.hub() as hub, hub_on_postgresql.hub(ada_key) as ada:
        one, two = (hub.projects.create_project(title=title) for title in ("One", "Two"))
        with pytest.raises(PermissionDenied):
            ada.projects.start(one)
        assert hub.projects.add_collaborator([one, two], [ada_id, ada_id]) == {"project_id": [one, two]}
        assert ada.projects.start(one)["state"] == "running"
        ada.project(one).system.exec("echo hello > file", bash=True)
        assert ada.projects.copy_path_between_projects(one, "file", two)["files"] == 1
        assert ada.project(two).system.exec("cat file", bash=True)["stdout"] == "hello\n"
        rows = {row["project_id"]: row for row in ada.projects.get(all=True)}
        assert rows.keys() == {one, two}
        assert rows[one]["users"][ada_id] == {"group": "collaborator"}
        hub.projects.remove_collaborator(one, ada_id)
        with pytest.raises(PermissionDenied):
            ada.projects.state(one)
        hub.projects.delete(two)
        assert hub.projects.get(project_id=two)[0]["deleted"] is True


async def test_keys_end_at_once_and_projects_survive(hub_on_postgresql: HubProcess) -> None:
    with hub_on_postgresql.hub() as hub:
        project_id = hub.projects.create_project(start=True)
        key = hub.keys.create(name="short-lived")
        with hub_on_postgresql.hub(key["secret"]) as other:
            assert other.system.ping()["now"] > 0
            hub.keys.revoke(key["id"])
            with pytest.raises(NotSignedIn):
                other.system.ping()
        hub.projects.start(project_id)
        pid = hub.projects.status(project_id)["project"]["pid"]
    hub_on_postgresql.kill()
    hub_on_postgresql.restart()
    with hub_on_postgresql.hub() as hub:
        assert hub.projects.state(project_id)["state"] == "running"
        assert hub.projects.status(project_id)["project"]["pid"] == pid


async def test_a_second_hub_on_the_same_store_is_refused(postgresql_server: PostgresqlServer, tmp_path: Path) -> None:
    name = await postgresql_server.create()
    url = postgresql_server.url(name)
    first = HubProcess(PROJECTHUB_STORE_URL=url)
    try:
        with first.hub() as hub:
            project_id = hub.projects.create_project(start=True)
            hub.projects.start(project_id)
            with pytest.raises(AssertionError, match="another hub uses this store"):
                HubProcess(tmp_path, PROJECTHUB_STORE_URL=url)
            assert hub.projects.state(project_id)["state"] == "running"
    finally:
        first.close()
        await postgresql_server.drop(name)
