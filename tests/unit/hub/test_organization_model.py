"""Organizations against a model: whoever calls whatever, membership, offices, tokens and mail are as it says."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import Awaitable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from house import FixedClock, House
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from projecthub.errors import Conflict, HubError, NotFound, NotSignedIn, PermissionDenied
from projecthub.hub.principals import Principal
from projecthub.store import open_store
from projecthub.store.records import SignInToken
from projecthub.wire.messages import GetMessages
from projecthub.wire.organizations import CreateToken, OrganizationMessage

NAMES = ("acme", "other")
PEOPLE = ("root", "ann", "bob", "cid", "dan")
AT_FIRST = {"ann": "acme", "bob": "acme", "cid": "other", "dan": "other"}
OFFICES = ("ann", "dan")
callers = st.sampled_from((*PEOPLE, "root", *OFFICES))  # those of whom something can come, more often
users = st.sampled_from(PEOPLE)
names = st.sampled_from(NAMES)


@dataclass
class Token:
    token: str
    user: str
    maker: str
    ended: bool = False


class Model(RuleBasedStateMachine):
    """Two organizations and five people, one of whom is a site admin from the beginning."""

    template: Path

    def __init__(self) -> None:
        super().__init__()
        self.directory = Path(tempfile.mkdtemp(prefix="projecthub-test-"))
        self.runner = asyncio.Runner()
        self.run = self.runner.run
        shutil.copy(self.template, self.directory / "store.sqlite3")
        self.run(self._open())
        self.org: dict[str, str | None] = {"root": None, **AT_FIRST}
        self.office: set[str] = set(OFFICES)
        self.site_admins = {"root"}
        self.tokens: list[Token] = []
        self.received = dict.fromkeys(PEOPLE, 0)

    async def _open(self) -> None:
        clock = FixedClock()
        self.store = await open_store(f"sqlite:///{self.directory}/store.sqlite3", clock=clock)
        self.house = House(self.store, clock, self.directory)
        self.ids = {name: (await self.house.person(name, admin=name == "root")).account_id for name in PEOPLE}
        for name in NAMES:
            await self.house.organizations.create(self.who("root", {"root"}), name)
        for person, name in AT_FIRST.items():
            async with self.store.write() as tx:
                organization = await tx.organizations.get(name)
                assert organization is not None
                join = tx.organizations.appoint if person in OFFICES else tx.organizations.join
                await join(organization.organization_id, self.ids[person], at=clock.now())

    def teardown(self) -> None:
        self.run(self.store.close())
        self.runner.close()
        shutil.rmtree(self.directory)

    def who(self, name: str, site_admins: set[str] | None = None) -> Principal:
        admins = self.site_admins if site_admins is None else site_admins
        return Principal(self.ids[name], name in admins, 0)

    def manages(self, caller: str, name: str) -> bool:
        return caller in self.site_admins or (caller in self.office and self.org[caller] == name)

    def is_good(self, token: Token) -> bool:
        return not token.ended and (token.user not in self.site_admins or token.maker in self.site_admins)

    def outcome(self, call: Awaitable[Any], expected: type[HubError] | None) -> Any:
        """Make a call, and see that it is refused as expected, or done."""
        try:
            reply = self.run(_awaited(call))
        except HubError as error:
            assert type(error) is expected, error
            return None
        assert expected is None, expected
        return reply

    # -- calls -------------------------------------------------------------------------------------

    @rule(caller=callers, name=names, user=users)
    def add_admin(self, caller: str, name: str, user: str) -> None:
        call = self.house.organizations.add_admin(self.who(caller), name, self.ids[user])
        if caller not in self.site_admins:
            return self.outcome(call, PermissionDenied)
        if self.org[user] not in (None, name):
            return self.outcome(call, Conflict)
        self.org[user] = name
        self.office.add(user)
        return self.outcome(call, None)

    @rule(caller=callers, name=names, user=users)
    def add_user(self, caller: str, name: str, user: str) -> None:
        call = self.house.organizations.add_user(self.who(caller), name, f"{user}@example.org")
        if caller not in self.site_admins:
            return self.outcome(call, PermissionDenied)
        if user in self.office and self.org[user] != name:
            return self.outcome(call, Conflict)
        if self.org[user] not in (None, name):
            self._end_tokens(user=user)
        self.org[user] = name
        return self.outcome(call, None)

    @rule(caller=callers, name=names, user=users)
    def remove_user(self, caller: str, name: str, user: str) -> None:
        call = self.house.organizations.remove_user(self.who(caller), name, self.ids[user])
        if not self.manages(caller, name):
            return self.outcome(call, PermissionDenied)
        if self.org[user] != name:
            return self.outcome(call, NotFound)
        if user in self.office:
            return self.outcome(call, Conflict)
        self.org[user] = None
        self._end_tokens(user=user)
        return self.outcome(call, None)

    @rule(caller=callers, name=names, user=users)
    def remove_admin(self, caller: str, name: str, user: str) -> None:
        call = self.house.organizations.remove_admin(self.who(caller), name, self.ids[user])
        if not self.manages(caller, name):
            return self.outcome(call, PermissionDenied)
        if self.org[user] != name:
            return self.outcome(call, NotFound)
        self.office.discard(user)
        self._end_tokens(maker=user)
        return self.outcome(call, None)

    @rule(caller=callers, user=users)
    def create_token(self, caller: str, user: str) -> None:
        call = self.house.organizations.create_token(self.who(caller), CreateToken(user=self.ids[user]))
        name = self.org[user]
        if name is None:
            return self.outcome(call, Conflict if caller in self.site_admins else PermissionDenied)
        if not self.manages(caller, name) or (user in self.site_admins and caller not in self.site_admins):
            return self.outcome(call, PermissionDenied)
        self.tokens.append(Token(self.outcome(call, None)["token"], user, caller))
        return None

    @rule(caller=callers, name=names)
    def message(self, caller: str, name: str) -> None:
        request = OrganizationMessage(name=name, subject="s", body="b")
        call = self.house.organizations.message(self.who(caller), request)
        if not self.manages(caller, name):
            return self.outcome(call, PermissionDenied)
        for member in self._members(name):
            self.received[member] += 1
        self.outcome(call, None)
        for person, count in self.received.items():
            assert len(self.run(self.house.messages.page(self.who(person), GetMessages()))) == count
        return None

    @rule(number=st.integers(0, 4))
    def expire_token(self, number: int) -> None:
        for token in self.tokens[number : number + 1]:
            self.run(self.house.sign_in.end(token.token))
            token.ended = True

    @rule(user=st.sampled_from(PEOPLE[1:]), is_admin=st.booleans())
    def make_site_admin(self, user: str, is_admin: bool) -> None:
        self.run(self._set_admin(user, is_admin))
        (self.site_admins.add if is_admin else self.site_admins.discard)(user)

    async def _set_admin(self, user: str, is_admin: bool) -> None:
        async with self.store.write() as tx:
            await tx.accounts.update(self.ids[user], {"is_admin": is_admin})

    def _end_tokens(self, *, user: str | None = None, maker: str | None = None) -> None:
        for token in self.tokens:
            token.ended = token.ended or token.user == user or token.maker == maker

    def _members(self, name: str) -> set[str]:
        return {person for person in PEOPLE if self.org[person] == name}

    # -- what holds --------------------------------------------------------------------------------

    @invariant()
    def everybody_is_where_he_should_be(self) -> None:
        for name in NAMES:
            members = self.run(self.house.organizations.users(self.who("root"), name))
            admins = self.run(self.house.organizations.get(self.who("root"), name))["admin_account_ids"]
            assert {row["account_id"] for row in members} == {self.ids[one] for one in self._members(name)}
            assert sorted(admins) == sorted(self.ids[one] for one in self._members(name) & self.office)

    @invariant()
    def tokens_are_good_or_not(self) -> None:
        for token in self.tokens:
            found = self.outcome(self._redeemed(token), None if self.is_good(token) else NotSignedIn)
            assert found is None or found.account_id == self.ids[token.user]

    async def _redeemed(self, token: Token) -> SignInToken:
        async with self.store.read() as tx:
            return await self.house.sign_in.redeem(tx, token.token)


async def _awaited(call: Awaitable[Any]) -> Any:
    return await call


def test_organizations_are_as_the_model_says(tmp_path: Path) -> None:
    async def make() -> None:
        await (await open_store(f"sqlite:///{tmp_path}/template.sqlite3", clock=FixedClock())).close()

    asyncio.run(make())
    Model.template = tmp_path / "template.sqlite3"
    run_state_machine_as_test(  # type: ignore[no-untyped-call]
        Model,
        settings=settings(
            max_examples=40,
            stateful_step_count=30,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
