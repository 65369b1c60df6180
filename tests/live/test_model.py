"""The twelve project operations against a small model of their rules, in random order, on a real hub.

The model knows who is on a project and as what, whether it is deleted and whether it runs, and what is in its home.
Every step is checked twice: its answer, or the class of its refusal; and then everything that every account can see.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from projecthub import Hub
from projecthub.errors import (
    ClientError,
    Conflict,
    HubError,
    InternalError,
    NotFound,
    OwnershipDenied,
    PermissionDenied,
    QueryRefused,
)
from tests.hubs import HubProcess

UNKNOWN = "00000000-0000-4000-8000-000000000000"
FILES = ("a", "b", "d/x", "d/y", "e/x")
DIRECTORIES = ("d", "e")
ROW_FIELDS = ["project_id", "title", "state", "deleted", "users", "manage_users_owner_only"]

_example_number = itertools.count()
_seconds = itertools.count(1_700_000_000)
"""Times for files: no two versions of a file have the same, so that equal times mean equal contents."""

Contents = dict[str, tuple[str, int]]
"""Files of a home: path to text and time of the last change in seconds."""


@dataclass
class Person:
    account_id: str
    is_admin: bool
    hub: Hub


@dataclass
class Project:
    """What the rules say of one project."""

    title: str
    users: dict[str, dict[str, Any]]
    deleted: bool | None = None
    running: bool = False
    owner_only: bool = False
    files: Contents = field(default_factory=dict)

    def role(self, person: Person) -> str | None:
        user = self.users.get(person.account_id)
        return None if user is None else user["group"]

    def row(self, project_id: str) -> dict[str, Any]:
        """As `projects.get` tells it, with the word of its state alone."""
        row: dict[str, Any] = {
            "project_id": project_id,
            "title": self.title,
            "state": "running" if self.running else "opened",
            "users": self.users,
        }
        if self.deleted is not None:
            row["deleted"] = self.deleted
        if self.owner_only:
            row["manage_users_owner_only"] = True
        return row

    def has(self, path: str) -> bool:
        return path in self.files or any(name.startswith(f"{path}/") for name in self.files)

    def found(self, path: str) -> Contents:
        """What a copy of ``path`` takes: names beneath it, or one file under its own path."""
        if path in self.files:
            return {"": self.files[path]}
        return {
            name.removeprefix(f"{path}/"): version
            for name, version in self.files.items()
            if name.startswith(f"{path}/")
        }


def refusal(call: Callable[[], Any]) -> tuple[Any, type[HubError] | None]:
    try:
        return call(), None
    except HubError as error:
        assert not isinstance(error, (InternalError, ClientError)), error.message
        assert "/projects/" not in error.message, error.message
        return None, type(error)


def contents_on_disk(home: Path) -> Contents:
    files: Contents = {}
    for path in home.rglob("*") if home.exists() else ():
        name = path.relative_to(home).as_posix()
        if path.is_file() and not name.startswith("."):
            files[name] = (path.read_text(), int(path.stat().st_mtime))
    return files


class ProjectRules(RuleBasedStateMachine):
    """Four people, one of them a site admin, and the projects they make."""

    projects = Bundle("projects")
    actors = st.integers(0, 3)

    def __init__(self, process: HubProcess) -> None:
        super().__init__()
        self.process = process
        self.people: list[Person] = []
        self.model: dict[str, Project] = {}
        self.shares: dict[str, tuple[str, str]] = {}

    @initialize(target=projects)
    def make_people(self) -> str:
        number = next(_example_number)
        with self.process.hub() as operator:
            for index, name in enumerate(("root", "ann", "bob", "cid")):
                email = f"{name}-{number}@example.org"
                account_id = operator.accounts.create(email, first_name=name, admin=index == 0)["account_id"]
                secret = operator.keys.create(account_id=account_id, name="model")["secret"]
                self.people.append(Person(account_id, index == 0, self.process.hub(secret)))
        return self.create(self.people[1], "first")

    def create(self, person: Person, title: str | None) -> str:
        project_id = person.hub.projects.create_project(title=title)
        users = {person.account_id: {"group": "owner"}}
        self.model[project_id] = Project("No Title" if title is None else title, users)
        return project_id

    def teardown(self) -> None:
        for project_id, project in self.model.items():
            if project.running:
                owner = next(p for p in self.people if project.role(p) == "owner")
                owner.hub.projects.stop(project_id)
        for person in self.people:
            person.hub.close()

    # -- projects ----------------------------------------------------------------------------------

    @rule(target=projects, actor=actors, title=st.sampled_from([None, "", "Soil", "Ünïcode 🧪"]))
    def create_project(self, actor: int, title: str | None) -> str:
        return self.create(self.people[actor], title)

    def _run(self, actor: int, project_id: str, operation: Literal["start", "touch"]) -> None:
        person, project = self.people[actor], self.model[project_id]
        reply, refused = refusal(lambda: getattr(person.hub.projects, operation)(project_id))
        if project.role(person) is None:
            assert refused is PermissionDenied
        elif project.deleted:
            assert refused is Conflict
        else:
            assert refused is None
            assert (reply["state"], reply["ip"]) == ("running", "127.0.0.1")
            project.running = True

    @rule(actor=actors, project_id=projects)
    def start(self, actor: int, project_id: str) -> None:
        self._run(actor, project_id, "start")

    @rule(actor=actors, project_id=projects)
    def touch(self, actor: int, project_id: str) -> None:
        self._run(actor, project_id, "touch")
        person, project = self.people[actor], self.model[project_id]
        if project.role(person) is not None and not project.deleted:
            assert person.hub.projects.get(all=True)[0]["project_id"] == project_id

    @rule(actor=actors, project_id=projects)
    def stop(self, actor: int, project_id: str) -> None:
        person, project = self.people[actor], self.model[project_id]
        reply, refused = refusal(lambda: person.hub.projects.stop(project_id))
        if project.role(person) is None:
            assert refused is PermissionDenied
        else:
            assert refused is None
            assert reply["state"] == "stopped"
            project.running = False

    @rule(actor=actors, project_id=projects)
    def delete(self, actor: int, project_id: str) -> None:
        person, project = self.people[actor], self.model[project_id]
        reply, refused = refusal(lambda: person.hub.projects.delete(project_id))
        if not self._may_delete(person, project):
            assert refused is PermissionDenied
        else:
            assert refused is None
            assert reply == {"project_id": project_id, "deleted": True}
            project.deleted, project.running = True, False

    def _may_delete(self, person: Person, project: Project) -> bool:
        role = project.role(person)
        return person.is_admin or role == "owner" or (role == "collaborator" and not project.owner_only)

    @rule(actor=actors, project_id=projects)
    def state_and_status(self, actor: int, project_id: str) -> None:
        person, project = self.people[actor], self.model[project_id]
        state, state_refused = refusal(lambda: person.hub.projects.state(project_id))
        status, status_refused = refusal(lambda: person.hub.projects.status(project_id))
        if project.role(person) is None:
            assert (state_refused, status_refused) == (PermissionDenied, PermissionDenied)
            return
        assert (state_refused, status_refused) == (None, None)
        assert state["state"] == ("running" if project.running else "stopped")
        assert ("ip" in state) == project.running
        assert "error" not in state
        assert ("project" in status) == project.running
        assert isinstance(status["disk_MB"], int)

    @rule(actor=actors, project_id=projects)
    def get_one(self, actor: int, project_id: str) -> None:
        person, project = self.people[actor], self.model[project_id]
        rows = person.hub.projects.get(project_id=project_id, fields=["title"])
        may_read = project.role(person) is not None or person.is_admin
        assert rows == ([{"project_id": project_id, "title": project.title}] if may_read else [])

    # -- people ------------------------------------------------------------------------------------

    @rule(actor=actors, project_id=projects, whom=st.integers(0, 4))
    def add_collaborator(self, actor: int, project_id: str, whom: int) -> None:
        self._add(actor, [(project_id, whom)])

    @rule(actor=actors, pairs=st.lists(st.tuples(projects, st.integers(0, 4)), min_size=2, max_size=3))
    def add_several(self, actor: int, pairs: list[tuple[str, int]]) -> None:
        self._add(actor, pairs)

    def _add(self, actor: int, pairs: list[tuple[str, int]]) -> None:
        person = self.people[actor]
        project_ids = [project_id for project_id, _ in pairs]
        targets = [self.people[whom].account_id if whom < 4 else UNKNOWN for _, whom in pairs]
        scalar = len(pairs) == 1
        reply, refused = refusal(
            lambda: person.hub.projects.add_collaborator(
                project_ids[0] if scalar else project_ids, targets[0] if scalar else targets
            )
        )
        expected = next((e for project_id in project_ids if (e := self._add_refused(person, project_id))), None)
        if expected is None and UNKNOWN in targets:
            expected = NotFound
        assert refused is expected
        if refused is None:
            assert reply == {"project_id": project_ids}
            for project_id, target in zip(project_ids, targets, strict=True):
                self.model[project_id].users.setdefault(target, {"group": "collaborator"})

    def _add_refused(self, person: Person, project_id: str) -> type[HubError] | None:
        project = self.model[project_id]
        if project.owner_only and project.role(person) != "owner":
            return OwnershipDenied
        if project.role(person) is None and not person.is_admin:
            return PermissionDenied
        return None

    @rule(actor=actors, project_id=projects, whom=st.integers(0, 4))
    def remove_collaborator(self, actor: int, project_id: str, whom: int) -> None:
        person, project = self.people[actor], self.model[project_id]
        target = self.people[whom].account_id if whom < 4 else UNKNOWN
        reply, refused = refusal(lambda: person.hub.projects.remove_collaborator(project_id, target))
        is_owner = project.users.get(target, {}).get("group") == "owner"
        if project.role(person) is None:
            assert refused is PermissionDenied
        elif is_owner or (target != person.account_id and project.owner_only and project.role(person) != "owner"):
            assert refused is OwnershipDenied
        else:
            assert refused is None
            assert reply == {"project_id": project_id, "account_id": target}
            project.users.pop(target, None)

    # -- set queries -------------------------------------------------------------------------------

    def _set(self, person: Person, project_id: str, **fields: Any) -> type[HubError] | None:
        query = {"projects": {"project_id": project_id, **fields}}
        reply, refused = refusal(lambda: person.hub.db.query(query))
        project = self.model[project_id]
        if project.role(person) is None and not person.is_admin:
            assert refused is not None
            assert issubclass(refused, (PermissionDenied, QueryRefused))
            return refused
        assert refused is not None or reply == {}
        return refused

    @rule(actor=actors, project_id=projects, title=st.sampled_from(["", "Renamed", "x" * 300]))
    def set_title(self, actor: int, project_id: str, title: str) -> None:
        if self._set(self.people[actor], project_id, title=title) is None:
            self.model[project_id].title = title

    @rule(actor=actors, project_id=projects, whom=actors, hide=st.booleans())
    def set_hide(self, actor: int, project_id: str, whom: int, hide: bool) -> None:
        account_id = self.people[whom].account_id
        refused = self._set(self.people[actor], project_id, title="Hidden?", users={account_id: {"hide": hide}})
        project = self.model[project_id]
        if refused is None:
            project.users[account_id]["hide"] = hide
            project.title = "Hidden?"
        elif project.role(self.people[actor]) is not None:
            assert refused is QueryRefused
            assert account_id not in project.users

    @rule(actor=actors, project_id=projects, value=st.booleans())
    def set_owner_only(self, actor: int, project_id: str, value: bool) -> None:
        person, project = self.people[actor], self.model[project_id]
        refused = self._set(person, project_id, manage_users_owner_only=value)
        if person.is_admin or project.role(person) == "owner":
            assert refused is None
            project.owner_only = value
        else:
            assert refused is not None

    @rule(actor=actors, project_id=projects)
    def delete_by_query(self, actor: int, project_id: str) -> None:
        person, project = self.people[actor], self.model[project_id]
        refused = self._set(person, project_id, title="Deleted", deleted=True)
        if not self._may_delete(person, project):
            assert refused is not None
        else:
            assert refused is None
            project.title, project.deleted, project.running = "Deleted", True, False

    @rule(actor=actors, project_id=projects)
    def undelete(self, actor: int, project_id: str) -> None:
        if self._set(self.people[actor], project_id, deleted=False) is None:
            self.model[project_id].deleted = False

    # -- files -------------------------------------------------------------------------------------

    @rule(actor=actors, project_id=projects, path=st.sampled_from(FILES), text=st.sampled_from(["", "1", "two"]))
    def write_file(self, actor: int, project_id: str, path: str, text: str) -> None:
        person, project = self.people[actor], self.model[project_id]
        at = next(_seconds)
        script = f"mkdir -p \"$(dirname {path})\" && printf %s '{text}' > {path} && touch -d @{at} {path}"
        reply, refused = refusal(lambda: person.hub.project(project_id).system.exec(script, bash=True))
        if project.role(person) is None:
            assert refused is PermissionDenied
        elif project.deleted:
            assert refused is Conflict
        else:
            assert refused is None
            assert reply["exit_code"] == 0
            project.files[path] = (text, at)
            project.running = True

    @rule(actor=actors, source_id=projects, target_id=projects, path=st.sampled_from(FILES), to=st.sampled_from(FILES))
    def copy_file(self, actor: int, source_id: str, target_id: str, path: str, to: str) -> None:
        self._copy(actor, (source_id, path), (target_id, to))

    @rule(
        actor=actors,
        source_id=projects,
        target_id=projects,
        path=st.sampled_from(DIRECTORIES),
        to=st.sampled_from(DIRECTORIES),
    )
    def copy_directory(self, actor: int, source_id: str, target_id: str, path: str, to: str) -> None:
        self._copy(actor, (source_id, path), (target_id, to))

    def _copy(self, actor: int, source: tuple[str, str], target: tuple[str, str]) -> None:
        person = self.people[actor]
        (source_id, path), (target_id, to) = source, target
        from_project, to_project = self.model[source_id], self.model[target_id]
        reply, refused = refusal(lambda: person.hub.projects.copy_path_between_projects(source_id, path, target_id, to))
        if from_project.role(person) is None or to_project.role(person) is None:
            assert refused is PermissionDenied
        elif to_project.deleted:
            assert refused is Conflict
        elif not from_project.has(path):
            assert refused is NotFound
        else:
            assert refused is None
            kept = self._merge(from_project.found(path), to_project, to)
            assert reply["kept_newer_paths"] == kept
            assert reply["kept_newer"] == len(kept)

    def _merge(self, found: Contents, project: Project, to: str) -> list[str]:
        """Put copied files into the model; tells which are kept because they are newer."""
        kept = []
        for name, version in found.items():
            path = f"{to}/{name}" if name else to
            if path in project.files and project.files[path][1] > version[1]:
                kept.append(path)
            else:
                project.files[path] = version
        return sorted(kept)

    @rule(target=projects, actor=actors, project_id=projects, path=st.sampled_from(["a", "d"]), disabled=st.booleans())
    def share_and_create_from_it(self, actor: int, project_id: str, path: str, disabled: bool) -> str:
        """Whoever is on a project shares a path of it; somebody who need not be makes a project of that."""
        owner = next(p for p in self.people if self.model[project_id].role(p) == "owner")
        owner.hub.db.query({"public_paths": {"project_id": project_id, "path": path, "disabled": disabled}})
        query = {"public_paths": [{"project_id": project_id, "path": path, "id": None}]}
        share_id = owner.hub.db.query(query)["public_paths"][0]["id"]
        person, shared = self.people[actor], self.model[project_id]
        made, refused = refusal(lambda: person.hub.projects.create_project(public_path_id=share_id))
        if disabled or not shared.has(path):
            assert refused is not None
            return project_id
        assert refused is None
        project = Project(shared.title, {person.account_id: {"group": "owner"}})
        self._merge(shared.found(path), project, path)
        self.model[made] = project
        return str(made)

    # -- after every step --------------------------------------------------------------------------

    @invariant()
    def everybody_sees_what_the_model_says(self) -> None:
        for person in self.people:
            rows = person.hub.projects.get(all=True, fields=ROW_FIELDS)
            seen = [{**row, "state": row["state"]["state"]} for row in rows]
            visible = {key: project for key, project in self.model.items() if project.role(person) is not None}
            assert len(seen) == len(visible)
            for row in seen:
                assert row == visible[row["project_id"]].row(row["project_id"])

    @invariant()
    def homes_hold_what_the_model_says(self) -> None:
        for project_id, project in self.model.items():
            home = self.process.data_dir / "projects" / project_id / "home"
            assert contents_on_disk(home) == project.files


def test_random_operations_follow_the_rules(hub_process: HubProcess) -> None:
    run_state_machine_as_test(
        lambda: ProjectRules(hub_process),
        settings=settings(
            max_examples=60,
            stateful_step_count=25,
            deadline=None,
            derandomize="CI" in os.environ,
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
        ),
    )
