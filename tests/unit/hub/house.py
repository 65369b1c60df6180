"""The hub's rules over a real store, with a clock that stands still and an engine without processes."""

from __future__ import annotations

import asyncio
import json
import sqlite3
import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from memory_engine import MemoryEngine

from projecthub.files import Homes
from projecthub.hub.account_deletions import AccountDeletions
from projecthub.hub.accounts import Accounts
from projecthub.hub.admission import Admission
from projecthub.hub.calls import ProjectCalls
from projecthub.hub.cell_log import CellLog
from projecthub.hub.clones import Clones
from projecthub.hub.collaborators import Collaborators
from projecthub.hub.command_log import CommandLog
from projecthub.hub.copies import Copies
from projecthub.hub.courses import Courses
from projecthub.hub.creation import Creation
from projecthub.hub.exports import Exports
from projecthub.hub.homes import ProjectHomes
from projecthub.hub.housekeeping import Housekeeping
from projecthub.hub.idle import Idle
from projecthub.hub.invitations import Invitations
from projecthub.hub.jobs import Jobs
from projecthub.hub.keys import Keys
from projecthub.hub.licenses import Licenses
from projecthub.hub.lifecycle import Lifecycle
from projecthub.hub.mail import Mail
from projecthub.hub.messages import Messages
from projecthub.hub.organizations import Organizations
from projecthub.hub.passwords import Passwords
from projecthub.hub.principals import Principal
from projecthub.hub.project_quotas import ProjectQuotas
from projecthub.hub.projects import Projects
from projecthub.hub.queries import Queries
from projecthub.hub.quotas import QuotaDefaults, Quotas
from projecthub.hub.rosters import Rosters
from projecthub.hub.sessions import Sessions
from projecthub.hub.shares import Shares
from projecthub.hub.sign_in import SignIn
from projecthub.hub.site import Site
from projecthub.hub.smtp import SmtpServer
from projecthub.hub.sync import Sync
from projecthub.hub.tables import Tools
from projecthub.hub.templates import Templates
from projecthub.hub.workplaces import Workplaces
from projecthub.store import Store
from projecthub.store.records import Project, Role
from projecthub.wire import shapes
from projecthub.wire.ids import AccountId, ProjectId

NOW = datetime(2026, 3, 1, 12, 0, 0, 123_000, tzinfo=UTC)


class FixedClock:
    """A clock that stands still until it is set."""

    def __init__(self) -> None:
        self.at = NOW

    def now(self) -> datetime:
        return self.at

    def advance(self, **duration: float) -> None:
        self.at += timedelta(**duration)


class House:
    """All services, joined as `projecthub.app` joins them."""

    def __init__(self, store: Store, clock: FixedClock, directory: Path) -> None:
        self.directory = directory
        self.store = store
        self.clock = clock
        self.engine = MemoryEngine()
        self.quotas = Quotas(QuotaDefaults(), clock)
        self.homes = ProjectHomes(Homes(directory / "projects"), None, self.quotas.disk_quota_bytes)
        self.keys = Keys(store, clock)
        self.accounts = Accounts(store, clock, self.keys)
        self.admission = Admission(self.keys, clock)
        self.passwords = Passwords(memory_kib=64)
        self.sessions = Sessions(store, clock, self.keys, self.passwords)
        self.rosters = Rosters(self.accounts, self.keys)
        self.licenses = Licenses(store, clock)
        self.smtp: SmtpServer | None = None
        self.mails_a_day = 100
        self.messages = Messages(store, clock)
        self.sign_in = SignIn(store, clock, self.keys, self.sessions, self.passwords)
        self.site = Site(name="hub", url="https://hub.example.org", help_email=None, version="1")
        self.killed: list[asyncio.Future[Any]] = []
        self.join()

    def join(self) -> None:
        """Make the services that know projects; again, for a hub that was killed and is there once more."""
        if hasattr(self, "lifecycle"):
            self._kill(self.lifecycle)
        self.lifecycle = Lifecycle(self.store, self.engine, self.homes, self.quotas, self.clock)
        self.calls = ProjectCalls(self.store, self.clock, self.lifecycle, self.engine)
        self.idle = Idle(self.store, self.engine, self.lifecycle, self.calls, self.quotas, self.clock)
        self.projects = Projects(
            self.store, self.clock, self.lifecycle, self.engine, self.homes, self.quotas, self.idle
        )
        self.account_deletions = AccountDeletions(self.store, self.clock, self.keys, self.projects)
        self.commands = CommandLog(self.store, self.clock)
        self.workplaces = Workplaces(self.store, self.homes, self.calls, self.clock)
        self.histories = self.workplaces.histories
        self.sync = Sync(self.store, self.workplaces)
        self.cells = CellLog(self.store, self.clock, self.calls, self.commands)
        self.jobs = Jobs(self.calls, self.lifecycle, self.homes, self.commands, self.histories)
        self.housekeeping = Housekeeping(
            self.store,
            self.clock,
            self.keys,
            self.projects,
            self.lifecycle,
            self.idle,
            self.jobs,
            self.commands,
            self.cells,
        )
        self.templates = Templates(self.store, self.clock)
        self.copies = Copies(self.store, self.homes, self.clock, self.histories)
        self.shares = Shares(self.store, self.workplaces, self.copies)
        self.creation = Creation(
            self.store, self.clock, self.lifecycle, self.homes, self.shares, self.templates, self.histories
        )
        self.clones = Clones(self.store, self.homes, self.creation)
        self.exports = Exports(self.store, self.workplaces, self.creation)
        self.organizations = Organizations(
            self.store,
            self.clock,
            self.keys,
            self.accounts,
            self.creation,
            self.passwords,
            self.messages,
            self.sign_in,
            self.site,
        )
        self.collaborators = Collaborators(self.clock, self.keys)
        self.mail = Mail(self.store, self.clock, self.smtp, most_a_day=self.mails_a_day)
        self.invitations = Invitations(self.clock, self.keys, self.mail, lambda: "https://hub.example.org")
        self.courses = Courses(self.store)
        self.project_quotas = ProjectQuotas(self.store, self.clock, self.quotas, self.lifecycle)
        self.queries = Queries(
            Tools(store=self.store, clock=self.clock, projects=self.projects, licenses=self.licenses)
        )

    def _kill(self, lifecycle: Lifecycle) -> None:
        """Have it do nothing more: it would see the ends of projects that another stops, and write of them."""
        turns = [actor.turn for actor in lifecycle._actors.values() if actor.turn]
        ticking = [lifecycle._ticking] if lifecycle._ticking else []
        self.killed += [*lifecycle._promised, *lifecycle._watches, *turns, *ticking]
        for task in self.killed:
            task.cancel()

    async def person(self, first_name: str, *, admin: bool = False, **fields: Any) -> Principal:
        account = self.accounts.new(email_address=f"{first_name.lower()}@example.org", first_name=first_name)
        async with self.store.write() as tx:
            await tx.accounts.create(account)
            changes = {**({"is_admin": True} if admin else {}), **fields}
            if changes:
                await tx.accounts.update(account.account_id, changes)
        return Principal(account.account_id, admin, 0)

    async def project(self, owner: Principal, *collaborators: Principal, **fields: Any) -> ProjectId:
        project_id = await self.creation.create(owner, shapes.CreateProject(title="A project"))
        async with self.store.write() as tx:
            pairs = [(project_id, person.account_id) for person in collaborators]
            await tx.collaborators.add(pairs, at=self.clock.now())
            if fields:
                await tx.projects.update(project_id, fields)
        return project_id

    async def viewer(self, project_id: ProjectId, person: Principal) -> None:
        async with self.store.write() as tx:
            pairs = [(project_id, person.account_id)]
            await tx.collaborators.add(pairs, at=self.clock.now(), role=Role.VIEWER)

    async def row(self, project_id: ProjectId) -> Project:
        async with self.store.read() as tx:
            project = await tx.projects.get(project_id)
        assert project is not None
        return project

    async def license(self, **fields: Any) -> str:
        license_id = str(uuid.uuid4())
        values: dict[str, Any] = {"title": "License", "quota": {}, "created_at": self.clock.now(), **fields}
        async with self.store.write() as tx:
            await tx.licenses.create(id=license_id, **values)
        return license_id

    async def log(self, project_id: ProjectId) -> list[tuple[AccountId, dict[str, Any]]]:
        """What happened in a project since it was made, and who did it, oldest first."""
        async with self.store.read() as tx:
            rows = await tx.log.of_project(project_id, limit=100)
        return [(row["account_id"], row["event"]) for row in rows if row["event"]["event"] != "project_created"][::-1]

    async def key(self, person: Principal, project_id: ProjectId | None = None, **fields: Any) -> tuple[int, str]:
        """A key's number and its secret."""
        made = await self.keys.create(person, shapes.CreateKey(project_id=project_id, name="test", **fields))
        return made["id"], made["secret"]

    async def ask(self, caller: Principal, query: Any, *options: dict[str, Any]) -> Any:
        return json.loads(await self.queries.run(caller, query, list(options) or None))

    async def field(self, caller: Principal, project_id: ProjectId, name: str) -> Any:
        reply = await self.ask(caller, {"projects": {"project_id": project_id, name: None}})
        return reply["projects"][name]

    async def change(self, caller: Principal, project_id: ProjectId, **fields: Any) -> None:
        assert await self.ask(caller, {"projects": {"project_id": project_id, **fields}}, {"set": True}) == {}

    def sql(self, statement: str) -> None:
        """Change the database behind the store's back."""
        connection = sqlite3.connect(self.directory / "store.sqlite3")
        with connection:
            connection.execute(statement)
        connection.close()


def nobody() -> AccountId:
    return AccountId(str(uuid.uuid4()))
