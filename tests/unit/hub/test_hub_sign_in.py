"""Tokens that site admins make, and passwords: who gets which, and what it is good for."""

from __future__ import annotations

from dataclasses import replace

import pytest
from house import House, nobody

from projecthub.errors import InvalidArgument, NotFound, NotSignedIn, PermissionDenied, RateLimited
from projecthub.hub.principals import Principal
from projecthub.hub.sign_in import RESET_PATH
from projecthub.wire import shapes
from projecthub.wire.methods import Ability
from projecthub.wire.organizations import GenerateUserAuthToken

OLD, NEW = "correct horse", "battery staple"


@pytest.fixture
async def eve(house: House) -> Principal:
    """Somebody with a password."""
    return await house.person("Eve", password_hash=await house.passwords.hash(OLD))


async def token_of(house: House, caller: Principal, user: str, password: str | None = None) -> str:
    request = GenerateUserAuthToken(user_account_id=user, password=password)
    return await house.sign_in.create_for(caller, request, "192.0.2.1")


async def test_a_site_admin_signs_in_as_anybody(house: House, admin: Principal, ann: Principal) -> None:
    for user in (ann, admin):
        token = await token_of(house, admin, user.account_id)
        assert (await house.sign_in.sign_in(token))["account_id"] == user.account_id
    with pytest.raises(NotFound):
        await token_of(house, admin, nobody())
    with pytest.raises(InvalidArgument, match="'x' is no account id"):
        await token_of(house, admin, "x")
    with pytest.raises(PermissionDenied, match="all scopes"):
        await token_of(house, replace(admin, scopes=frozenset({Ability.MANAGE})), ann.account_id)


async def test_whoever_knows_the_password(house: House, ann: Principal, eve: Principal) -> None:
    token = await token_of(house, ann, eve.account_id, OLD)
    assert (await house.sign_in.sign_in(token))["account_id"] == eve.account_id
    for user, password in ((eve.account_id, NEW), (eve.account_id, None), (ann.account_id, OLD), (nobody(), OLD)):
        with pytest.raises(PermissionDenied, match=r"^incorrect password$"):
            await token_of(house, ann, user, password)


async def test_a_disabled_account_has_no_password(
    house: House, admin: Principal, ann: Principal, eve: Principal
) -> None:
    await house.accounts.update(admin, shapes.UpdateAccount(account_id=eve.account_id, disabled=True))
    with pytest.raises(PermissionDenied, match="incorrect password"):
        await token_of(house, ann, eve.account_id, OLD)


async def test_guessing_is_slowed(house: House, ann: Principal, eve: Principal) -> None:
    for _ in range(5):
        with pytest.raises(PermissionDenied):
            await token_of(house, ann, eve.account_id, NEW)
    with pytest.raises(RateLimited):
        await token_of(house, ann, eve.account_id, OLD)
    house.clock.advance(seconds=30)
    await token_of(house, ann, eve.account_id, OLD)


async def test_a_link_sets_a_password_once(house: House, admin: Principal, eve: Principal) -> None:
    session = (await house.sign_in.sign_in(await token_of(house, admin, eve.account_id)))["api_key"]
    link = await house.sign_in.reset_link(admin, eve.account_id)
    token = link.removeprefix(f"{RESET_PATH}/")
    with pytest.raises(NotSignedIn):
        await house.sign_in.sign_in(token)  # it is for a password, and for nothing else
    with pytest.raises(InvalidArgument, match="password has 5 characters"):
        await house.sign_in.set_password(token, "short")
    assert await house.keys.check(session) is not None
    assert await house.sign_in.set_password(token, NEW) == eve.account_id
    assert await house.keys.check(session) is None
    assert await house.sessions.is_password(eve.account_id, NEW, None)
    assert not await house.sessions.is_password(eve.account_id, OLD, None)
    with pytest.raises(NotSignedIn):
        await house.sign_in.set_password(token, OLD)


async def test_who_gets_no_link(house: House, admin: Principal, ann: Principal, eve: Principal) -> None:
    for user in (ann.account_id, eve.account_id):
        with pytest.raises(PermissionDenied, match=r"^must be an admin$"):
            await house.sign_in.reset_link(ann, user)
    with pytest.raises(NotFound):
        await house.sign_in.reset_link(admin, nobody())
    token = await token_of(house, admin, eve.account_id)
    with pytest.raises(NotSignedIn):
        await house.sign_in.set_password(token, NEW)
    house.clock.advance(hours=24)
    late = (await house.sign_in.reset_link(admin, eve.account_id)).rpartition("/")[2]
    house.clock.advance(hours=24)
    with pytest.raises(NotSignedIn):
        await house.sign_in.set_password(late, NEW)
