"""Everybody who may be calling, and what there is that they could be after."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from itertools import count
from pathlib import Path
from typing import Any

import httpx2

from projecthub import Hub
from projecthub.wire.errors import CODE_HEADER
from projecthub.wire.methods import Endpoint
from tests.hubs import HubProcess

PASSWORD = "correct horse battery staple"


class Who(StrEnum):
    """The kinds of caller."""

    ANONYMOUS = "without a key"
    BAD_KEY = "with a key that nobody has"
    DISABLED = "whose account is disabled, though an owner of the project"
    PROJECT_KEY = "with the project's own key"
    STRANGER = "with an account, and not on the project"
    VIEWER = "who views the project"
    COLLABORATOR = "on the project"
    OWNER = "an owner of the project"
    ORGANIZER = "an admin of the organization, and not on the project"
    SITE_ADMIN = "a site admin, and not on the project"


@dataclass(frozen=True)
class Person:
    """An account with a key; what nobody knows is empty."""

    account_id: str
    key: str


class Cast:
    """People of each kind, on a hub of their own."""

    def __init__(self, process: HubProcess) -> None:
        self.process = process
        self.root = process.hub()
        self._http = httpx2.Client(base_url=process.url, timeout=60)
        self._numbers = count()
        self.people = {who: self.person(who.name.lower()) for who in Who}
        self.root.accounts.update(self[Who.SITE_ADMIN].account_id, admin=True)
        self.owner = self.root.with_key(self[Who.OWNER].key)
        self.organization = "matrix"
        self.root.org.create(self.organization)
        self.root.org.add_admin(self.organization, self[Who.ORGANIZER].account_id)
        self.target = Target(self)
        assert self.target.project_key
        disabled = self[Who.DISABLED].account_id
        self.owner.projects.add_collaborator(self.target.project_id, disabled)
        self.owner.projects.change_user_type(self.target.project_id, disabled, "owner")
        self.root.accounts.update(self[Who.DISABLED].account_id, disabled=True)

    def __getitem__(self, who: Who) -> Person:
        return self.people[who]

    def unique(self, word: str) -> str:
        """A word that is nowhere else on the hub."""
        return f"{word}-{next(self._numbers)}"

    def person(self, word: str) -> Person:
        """A new account with a key."""
        address = f"{self.unique(word)}@example.org"
        account_id = self.root.accounts.create(address, first_name=word.capitalize())["account_id"]
        return Person(account_id, self.root.keys.create(account_id)["secret"])

    def send(self, who: Who, target: Target, method: str, url: str, **options: Any) -> httpx2.Response:
        """One request as somebody of this kind."""
        keys = {Who.ANONYMOUS: "", Who.BAD_KEY: f"sk-{'0' * 49}", Who.PROJECT_KEY: target.project_key}
        key = keys.get(who, self[who].key)
        headers = {"tus-resumable": "1.0.0", **({"authorization": f"Bearer {key}"} if key else {})}
        return self._http.request(method, url, headers=headers, **options)

    def call(self, who: Who, target: Target, endpoint: Endpoint, name: str, args: list[Any]) -> tuple[str, Any]:
        """The code of a call's refusal, or ``ok``, and its reply."""
        body = {"name": name, "args": args, "project_id": target.project_id}
        reply = self.send(who, target, "POST", endpoint, json=body)
        return reply.headers.get(CODE_HEADER, "ok"), reply.json()

    def stored(self, target: Target) -> dict[str, set[str]]:
        """All that the hub's store holds, but for when somebody or something was seen last; and a project's files."""
        home = self.process.data_dir / "projects" / target.project_id / "home"
        files = {f"{path} {_mtime_ns(path)}" for path in [*home.rglob("*")] if ".projecthub" not in path.parts}
        with closing(sqlite3.connect(f"file:{self.process.data_dir}/hub.sqlite3?mode=ro", uri=True)) as store:
            names = [name for (name,) in store.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
            lasting = [name for name in names if not name.startswith(_FOLLOWING)]
            return {"files": files, **{name: _rows(store, name) for name in lasting}}

    def close(self) -> None:
        self.root.close()
        self._http.close()


_FOLLOWING = ("audit_", "histor", "sqlite_")
"""Beginnings of the names of tables that tell of calls, denied ones too, or later of files; and of SQLite's own."""
_SEEN = {"last_active_at", "active_at"}
_LATER = ('"commands":', '"cells":')
"""What stands in entries of logs that tell of many commands or cells at once, some time after them."""


def _mtime_ns(path: Path) -> int | None:
    try:
        return path.lstat().st_mtime_ns
    except FileNotFoundError:
        return None


def _rows(store: sqlite3.Connection, table: str) -> set[str]:
    found = store.execute(f'SELECT * FROM "{table}"')
    kept = [at for at, (name, *_) in enumerate(found.description) if name not in _SEEN]
    texts = (str([row[at] for at in kept]) for row in found)
    return {text for text in texts if not any(word in text for word in _LATER)}


def differences(before: dict[str, set[str]], after: dict[str, set[str]]) -> list[tuple[str, str]]:
    """The rows that are in one of two states of the store, with the names of their tables."""
    return [(name, row) for name in before for row in before[name] ^ after[name]]


class Target:
    """What calls are about. Each thing is made when it is first asked for."""

    def __init__(self, cast: Cast) -> None:
        self.cast = cast

    @property
    def root(self) -> Hub:
        return self.cast.root

    @cached_property
    def project_id(self) -> str:
        """A project with people of each kind that can be on one."""
        owner, people = self.cast.owner, self.cast.people
        project_id = owner.projects.create_project("Matrix")
        owner.projects.add_collaborator(project_id, people[Who.COLLABORATOR].account_id)
        owner.projects.add_collaborator(project_id, people[Who.VIEWER].account_id, group="viewer")
        return project_id

    @cached_property
    def project_key(self) -> str:
        return self.cast.owner.keys.create(project_id=self.project_id, name="of the project")["secret"]

    def file(self, directory: str = "") -> str:
        """The path of a new file of the project."""
        path = f"{directory}{self.cast.unique('file')}.txt"
        self.cast.owner.project(self.project_id).files.write_text(path, "text")
        return path

    def copy(self) -> dict[str, Any]:
        """From where to where a new file of the project could be copied."""
        place = {"project_id": self.project_id, "path": self.file()}
        return {"source": place, "targets": [{**place, "path": self.cast.unique("copy")}]}

    def planned(self) -> str:
        """The id of a plan of the owner's."""
        return str(self.cast.owner.copies.plan(**self.copy())["id"])

    def cancelled(self) -> str:
        """The id of a plan of the owner's that is cancelled."""
        return str(self.cast.owner.copies.cancel(self.planned())["id"])

    def copied(self) -> str:
        """The id of an operation of the owner's that is done."""
        return str(self.cast.owner.copies.apply(self.planned())["id"])

    def running(self) -> str:
        """The project, which runs."""
        self.cast.owner.projects.start(self.project_id)
        return self.project_id

    @cached_property
    def sleeper(self) -> int:
        """The id of a process of the project."""
        job = self.cast.owner.project(self.project_id).jobs.start("sleep 600")
        assert job.info["pid"]
        return job.info["pid"]

    @cached_property
    def spare_id(self) -> str:
        """An account with nothing."""
        return self.cast.person("spare").account_id

    @cached_property
    def with_password(self) -> str:
        """The address of an account that has `PASSWORD`."""
        account = self.root.accounts.get(self.cast.person("known").account_id)
        self.root.accounts.set_password(PASSWORD, account["account_id"])
        return str(account["email_address"])

    @cached_property
    def joined_id(self) -> str:
        """An account that is on the project."""
        account_id = self.cast.person("joined").account_id
        self.cast.owner.projects.add_collaborator(self.project_id, account_id)
        return account_id

    @cached_property
    def key_id(self) -> int:
        """A key of the project."""
        return self.cast.owner.keys.create(project_id=self.project_id, name="to be revoked")["id"]

    @cached_property
    def license_id(self) -> str:
        return self.root.licenses.create({"cpu": 2})["id"]

    @cached_property
    def licensed(self) -> str:
        """A license that the project has."""
        self.cast.owner.projects.add_license(self.project_id, self.license_id)
        return self.license_id

    @cached_property
    def member_id(self) -> str:
        """An account of the organization."""
        account_id = self.cast.person("member").account_id
        self.root.org.add_user(self.cast.organization, account_id)
        return account_id

    @cached_property
    def share_id(self) -> str:
        query = {"project_id": self.project_id, "path": "shared"}
        self.cast.owner.db.query({"public_paths": query})
        reply = self.cast.owner.db.query({"public_paths": {**query, "id": None}})
        return str(reply["public_paths"]["id"])

    @cached_property
    def invite_token(self) -> str:
        return self.cast.owner.projects.create_invite_token(self.project_id, usage_limit=None)

    @cached_property
    def snapshot_id(self) -> str:
        self.file()
        return self.cast.owner.project(self.project_id).snapshots.create()["id"]

    def own_key_id(self, who: Who) -> int:
        """A key of the caller's; of one who cannot call, another's."""
        return int(self.root.keys.create(self.cast[who].account_id, name="own")["id"])

    def own_message_id(self, who: Who) -> int:
        """A message that the caller has."""
        return int(self.root.messages.send("Hello", "", [self.cast[who].account_id]) or 0)
