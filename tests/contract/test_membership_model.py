"""Who is on a project and as what, against a small model: random calls by everybody, on both databases.

After every call the people of the project are exactly those of the model, so that a call that was refused has changed
nothing; and there is always an owner.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from store_samples import add_account, add_project
from tests.postgresql import FakeClock

from projecthub.errors import CallerError
from projecthub.hub.collaborators import Collaborators
from projecthub.hub.keys import Keys
from projecthub.hub.principals import Principal
from projecthub.store import Store, open_store
from projecthub.store.records import Role
from projecthub.wire import shapes
from projecthub.wire.ids import ProjectId

PEOPLE = ("ann", "bob", "cid", "admin")
"""The first one owns the project in the beginning; the last one is a site admin."""

people = st.sampled_from(PEOPLE)
groups = st.sampled_from(["owner", "collaborator", "viewer", "admin"])
calls = st.one_of(
    st.tuples(st.just("add"), people, people, st.sampled_from([None, "collaborator", "viewer", "owner"])),
    st.tuples(st.just("remove"), people, people, st.none()),
    st.tuples(st.just("change"), people, people, groups),
    st.tuples(st.just("hand_over"), people, people, st.sampled_from(["collaborator", "viewer", "owner"])),
    st.tuples(st.just("restrict"), people, people, st.booleans()),
)
Step = tuple[str, str, str, Any]


@dataclass
class Model:
    """What the rules say."""

    roles: dict[str, str] = field(default_factory=lambda: {"ann": "owner"})
    owners_only: bool = False

    def owners(self) -> list[str]:
        return [person for person, role in self.roles.items() if role == "owner"]

    def _manages(self, who: str) -> bool:
        """Whether somebody on the project may let people in and take them off."""
        role = self.roles.get(who)
        return role == "owner" or (role == "collaborator" and not self.owners_only)

    def allows(self, step: Step) -> bool:
        """Whether a call succeeds."""
        kind, who, other, value = step
        match kind:
            case "add":
                return value != "owner" and (self._manages(who) or (who == "admin" and not self.owners_only))
            case "remove":
                return who in self.roles and other not in self.owners() and (who == other or self._manages(who))
            case "change":
                known = self.roles.get(who) == "owner" and other in self.roles and value != "admin"
                return known and (value == "owner" or self.owners() != [other])
            case "hand_over":
                return self.roles.get(who) == "owner" and other in self.roles and who != other and value != "owner"
        return True

    def follow(self, step: Step) -> None:
        """Do what an allowed call does."""
        kind, who, other, value = step
        match kind:
            case "add":
                self.roles.setdefault(other, value or "collaborator")
            case "remove":
                self.roles.pop(other, None)
            case "change":
                self.roles[other] = value
            case "hand_over":
                self.roles |= {other: "owner", who: value}
            case "restrict":
                self.owners_only = value


class House:
    """The real thing: one project, and the people of the model."""

    def __init__(self, store: Store, collaborators: Collaborators, names: dict[str, Principal], of: ProjectId) -> None:
        self.store, self.collaborators, self.names, self.project_id = store, collaborators, names, of

    async def do(self, step: Step) -> None:
        kind, who, other, value = step
        caller, target = self.names[who], self.names[other].account_id
        about: dict[str, Any] = {"project_id": self.project_id, "account_id": target}
        match kind:
            case "add":
                await self.collaborators.add(caller, shapes.AddCollaborator(**about, group=value))
            case "remove":
                await self.collaborators.remove(caller, shapes.RemoveCollaborator(**about))
            case "change":
                about = {"project_id": self.project_id, "target_account_id": target, "new_group": value}
                await self.collaborators.change_type(caller, shapes.ChangeUserType(**about))
            case "hand_over":
                await self.collaborators.hand_over(caller, shapes.HandOver(**about, new_group=value))
            case "restrict":
                async with self.store.write() as tx:
                    await tx.projects.update(self.project_id, {"manage_users_owner_only": value})

    async def seen(self) -> tuple[dict[str, str], int]:
        """The people of the project with their roles, and how long its log is."""
        by_id = {principal.account_id: name for name, principal in self.names.items()}
        async with self.store.read() as tx:
            roles = await tx.collaborators.roles(self.project_id)
            log = await tx.log.of_project(self.project_id, limit=1000)
        return {by_id[account_id]: role.value for account_id, role in roles.items()}, len(log)


async def follow(house: House, steps: list[Step]) -> None:
    model, entries = Model(), 0
    for step in steps:
        expected = model.allows(step)
        try:
            await house.do(step)
            done = True
        except CallerError:
            done = False
        assert done is expected, (step, model)
        if done:
            model.follow(step)
        roles, length = await house.seen()
        assert roles == model.roles, step
        assert Role.OWNER in roles.values()
        assert done or length == entries  # what was refused left no trace
        entries = length


@asynccontextmanager
async def opened(url: str, clock: FakeClock) -> AsyncIterator[Callable[[], Awaitable[House]]]:
    """A way to make new projects with people of their own, in one store."""
    store = await open_store(url, clock=clock)
    collaborators, numbers = Collaborators(clock, Keys(store, clock)), itertools.count()

    async def make() -> House:
        number, names = next(numbers), {}
        for name in PEOPLE:
            admin = name == "admin"
            account_id = await add_account(store, email_address=f"{name}{number}@example.org", is_admin=admin)
            names[name] = Principal(account_id, admin, 0)
        return House(store, collaborators, names, await add_project(store, names["ann"].account_id))

    try:
        yield make
    finally:
        await store.close()


async def test_rules_of_membership(store_url: str, clock: FakeClock) -> None:
    await asyncio.to_thread(check_rules, store_url, clock)  # its examples need an event loop of their own


def check_rules(store_url: str, clock: FakeClock) -> None:
    with asyncio.Runner() as runner:
        context = opened(store_url, clock)
        make = runner.run(context.__aenter__())
        try:

            @settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
            @given(st.lists(calls, max_size=25))
            def check(steps: list[Step]) -> None:
                async def example() -> None:
                    await follow(await make(), steps)

                runner.run(example())

            check()
        finally:
            runner.run(context.__aexit__(None, None, None))
