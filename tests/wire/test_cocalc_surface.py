"""Each method of the official client is called, and answered as its documentation and its type say.

The methods are looked up in the client itself: one that a later release adds and nobody calls here fails. What each
does in particular is told by `test_cocalc_api`.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from cocalc_api import Hub, Project

from tests.hubs import HubProcess
from tests.wire.official import Person

pytestmark = pytest.mark.usefixtures("closed_connections")


class Scene:
    """A site admin, a project with a file, somebody else, and an organization with a member."""

    def __init__(self, process: HubProcess) -> None:
        admin, self.other = Person(process, "surface"), Person(process, "surface-other")
        with process.hub() as root:
            root.accounts.update(admin.account_id, admin=True)
        self.hub = admin.hub
        self.project_id = self.hub.projects.create_project(title="Surface")
        self.project = admin.project(self.project_id)
        self.project.system.exec("echo text > a.txt", bash=True)
        self.name = "surface-org"
        self.hub.org.create(self.name)
        self.member = self.hub.org.create_user(self.name, "surface-member@example.org")

    def on_project(self) -> str:
        """The other one, who is on the project."""
        self.hub.projects.add_collaborator(self.project_id, self.other.account_id)
        return self.other.account_id


@pytest.fixture(scope="module")
def scene(hub_process: HubProcess) -> Iterator[Scene]:
    scene = Scene(hub_process)
    yield scene
    scene.hub.projects.delete(scene.project_id)


def is_null(reply: Any) -> bool:
    return reply is None


def has(*keys: str) -> Callable[[Any], bool]:
    return lambda reply: isinstance(reply, dict) and reply.keys() >= set(keys)


def many(check: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda reply: isinstance(reply, list) and len(reply) > 0 and all(check(each) for each in reply)


def is_text(reply: Any) -> bool:
    return isinstance(reply, str) and reply != ""


STATE = has("state", "time")
CALLS: dict[str, tuple[Callable[[Scene], Any], Callable[[Any], bool]]] = {
    "Hub.db.query": (lambda s: s.hub.db.query({"accounts": {"first_name": None}}), has("accounts")),
    "Hub.jupyter.execute": (
        lambda s: s.hub.jupyter.execute("print(6 * 7)", "python3", project_id=s.project_id),
        lambda reply: reply["output"] == [{"name": "stdout", "text": "42\n"}] and is_text(reply["created"]),
    ),
    "Hub.jupyter.kernels": (lambda s: s.hub.jupyter.kernels(s.project_id), many(has("name", "display_name"))),
    "Hub.messages.get": (lambda s: s.hub.messages.get(type="sent"), lambda reply: isinstance(reply, list)),
    "Hub.messages.send": (
        lambda s: s.hub.messages.send("Hello", "there", [s.other.account_id]),
        lambda reply: isinstance(reply, int),
    ),
    "Hub.org.add_admin": (lambda s: s.hub.org.add_admin(s.name, s.member), is_null),
    "Hub.org.add_user": (lambda s: s.hub.org.add_user(s.name, s.other.account_id), is_null),
    "Hub.org.create": (lambda s: s.hub.org.create("surface-new"), is_text),
    "Hub.org.create_token": (lambda s: s.hub.org.create_token(s.member), has("token", "url")),
    "Hub.org.create_user": (lambda s: s.hub.org.create_user(s.name, "surface-new@example.org", "New"), is_text),
    "Hub.org.expire_token": (lambda s: s.hub.org.expire_token(s.hub.org.create_token(s.member)["token"]), is_null),
    "Hub.org.get": (lambda s: s.hub.org.get(s.name), has("name", "title", "admin_account_ids")),
    "Hub.org.get_all": (lambda s: s.hub.org.get_all(), many(has("name", "title", "admin_account_ids"))),
    "Hub.org.get_users": (lambda s: s.hub.org.get_users(s.name), many(has("account_id", "email_address"))),
    "Hub.org.message": (lambda s: s.hub.org.message(s.name, "Hello", "all"), is_null),
    "Hub.org.remove_admin": (lambda s: s.hub.org.remove_admin(s.name, s.member), is_null),
    "Hub.org.remove_user": (lambda s: s.hub.org.remove_user(s.name, s.member), is_null),
    "Hub.org.set": (lambda s: s.hub.org.set(s.name, title="Surface"), is_null),
    "Hub.projects.add_collaborator": (
        lambda s: s.hub.projects.add_collaborator(s.project_id, s.other.account_id),
        has("project_id"),
    ),
    "Hub.projects.copy_path_between_projects": (
        lambda s: s.hub.projects.copy_path_between_projects(s.project_id, "a.txt", target_path="b.txt"),
        has("files", "bytes"),
    ),
    "Hub.projects.create_project": (lambda s: s.hub.projects.create_project("New"), is_text),
    "Hub.projects.delete": (lambda s: s.hub.projects.delete(s.hub.projects.create_project()), has("deleted")),
    "Hub.projects.get": (lambda s: s.hub.projects.get(), many(has("project_id", "title", "users"))),
    "Hub.projects.remove_collaborator": (
        lambda s: s.hub.projects.remove_collaborator(s.project_id, s.on_project()),
        has("project_id", "account_id"),
    ),
    "Hub.projects.start": (lambda s: s.hub.projects.start(s.project_id), STATE),
    "Hub.projects.state": (lambda s: s.hub.projects.state(s.project_id), STATE),
    "Hub.projects.status": (lambda s: s.hub.projects.status(s.project_id), has("disk_MB")),
    "Hub.projects.stop": (lambda s: s.hub.projects.stop(s.project_id), STATE),
    "Hub.projects.touch": (lambda s: s.hub.projects.touch(s.project_id), STATE),
    "Hub.sync.history": (lambda s: s.hub.sync.history(s.project_id, "a.txt"), has("patches", "info")),
    "Hub.system.get_names": (
        lambda s: s.hub.system.get_names([s.member]),
        lambda reply: has("first_name")(*reply.values()),
    ),
    "Hub.system.ping": (lambda s: s.hub.system.ping(), has("now")),
    "Hub.system.test": (lambda s: s.hub.system.test(), has("account_id", "server_time")),
    "Hub.system.user_search": (
        lambda s: s.hub.system.user_search("surface@example.org"),
        many(has("account_id", "email_address")),
    ),
    "Project.system.exec": (lambda s: s.project.system.exec("true"), has("stdout", "stderr", "exit_code")),
    "Project.system.jupyter_execute": (
        lambda s: s.project.system.jupyter_execute("6 * 7", "python3"),
        lambda reply: reply == [{"data": {"text/plain": "42"}}],
    ),
    "Project.system.list_jupyter_kernels": (
        lambda s: s.project.system.list_jupyter_kernels(),
        lambda reply: isinstance(reply, list),
    ),
    "Project.system.ping": (lambda s: s.project.system.ping(), has("now")),
    "Project.system.stop_jupyter_kernel": (lambda s: s.project.system.stop_jupyter_kernel(1), has("success")),
    "Project.system.test": (lambda s: s.project.system.test(), has("project_id", "server_time")),
}
"""A call of each method, and what is to be said of its reply."""


def methods_of(client: Any) -> list[str]:
    groups = {
        name: group
        for name, group in inspect.getmembers(client)
        if not name.startswith("_") and type(group).__module__.startswith("cocalc_api")
    }
    return [
        f"{type(client).__name__}.{name}.{method}"
        for name, group in groups.items()
        for method, _ in inspect.getmembers(group, inspect.ismethod)
        if not method.startswith("_")
    ]


def every_method() -> list[str]:
    where = {"api_key": "sk-none", "host": "http://127.0.0.1:1"}
    hub, project = Hub(**where), Project(**where)
    for client in (hub, project):
        client.client.close()
    return methods_of(hub) + methods_of(project)


EVERY_METHOD = every_method()


def test_the_methods_are_those_that_are_called_here() -> None:
    assert len(EVERY_METHOD) > 35
    assert {*EVERY_METHOD} == CALLS.keys()


@pytest.mark.parametrize("name", EVERY_METHOD)
def test_every_method(scene: Scene, name: str) -> None:
    call, check = CALLS[name]
    reply = call(scene)
    assert check(reply), reply
