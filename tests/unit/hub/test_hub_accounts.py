"""Accounts: who sees and changes which, and that there is always somebody who administers the site."""

from __future__ import annotations

from dataclasses import replace

import pytest
from house import House, nobody

from projecthub.errors import Conflict, InvalidArgument, NotFound, PermissionDenied
from projecthub.hub.principals import Principal
from projecthub.wire import shapes
from projecthub.wire.methods import Ability


def change(**fields: object) -> shapes.UpdateAccount:
    return shapes.UpdateAccount(**fields)  # type: ignore[arg-type]


async def test_ones_own_account(house: House, ann: Principal) -> None:
    told = await house.accounts.get(ann, None)
    assert told == {
        "account_id": ann.account_id,
        "email_address": "ann@example.org",
        "first_name": "Ann",
        "last_name": "",
        "admin": False,
        "disabled": False,
        "deleted": False,
        "created": "2026-03-01T12:00:00.123Z",
        "last_active": None,
    }
    for reference in (ann.account_id.upper(), " Ann@Example.org "):
        assert await house.accounts.get(ann, reference) == told
    wanted = change(email_address="ann.new@example.org", first_name=" Anne ", last_name="Other")
    changed = await house.accounts.update(ann, wanted)
    assert (changed["email_address"], changed["first_name"], changed["last_name"]) == (
        "ann.new@example.org",
        "Anne",
        "Other",
    )
    assert await house.accounts.get(ann, None) == changed
    assert await house.accounts.update(ann, change()) == changed


async def test_others_are_for_site_admins(house: House, ann: Principal, bob: Principal, admin: Principal) -> None:
    for reference in (bob.account_id, "bob@example.org", nobody(), "nobody@example.org"):
        with pytest.raises(PermissionDenied, match="only admins may see"):
            await house.accounts.get(ann, reference)
        with pytest.raises(PermissionDenied, match="only admins may change"):
            await house.accounts.update(ann, change(account_id=reference, first_name="x"))
    for field in ("admin", "disabled"):
        for value in (True, False):
            with pytest.raises(PermissionDenied, match="only admins"):
                await house.accounts.update(ann, change(**{field: value}))
    assert (await house.accounts.get(admin, "BOB@example.org"))["account_id"] == bob.account_id
    assert (await house.accounts.update(admin, change(account_id=bob.account_id, last_name="B")))["last_name"] == "B"
    for reference in (nobody(), "nobody@example.org"):
        with pytest.raises(NotFound, match="no account with id or e-mail"):
            await house.accounts.get(admin, reference)
    with pytest.raises(InvalidArgument, match="'bob'"):
        await house.accounts.get(admin, "bob")


@pytest.mark.parametrize(
    ("fields", "words"),
    [({"email_address": "none"}, "no e-mail address"), ({"first_name": " "}, "nonempty")],
)
async def test_values_that_are_none(house: House, ann: Principal, fields: dict[str, str], words: str) -> None:
    with pytest.raises(InvalidArgument, match=words):
        await house.accounts.update(ann, change(**fields))


async def test_an_address_is_one_account_in_whatever_case(house: House, ann: Principal, bob: Principal) -> None:
    with pytest.raises(Conflict, match="taken"):
        await house.accounts.update(bob, change(email_address="ANN@example.org"))
    assert (await house.accounts.update(ann, change(email_address="ANN@example.org")))[
        "email_address"
    ] == "ANN@example.org"


async def test_a_disabled_account_is_shut_out_at_once_and_comes_back(
    house: House, ann: Principal, admin: Principal
) -> None:
    project_id = await house.project(ann)
    secrets = [(await house.key(ann))[1], (await house.key(ann, project_id))[1]]
    for disabled in (True, False):
        assert all([await house.keys.check(secret) for secret in secrets]) == disabled
        told = await house.accounts.update(admin, change(account_id=ann.account_id, disabled=disabled))
        assert told["disabled"] == disabled
    assert all([await house.keys.check(secret) for secret in secrets])


async def test_a_key_knows_at_once_who_is_a_site_admin(house: House, ann: Principal, admin: Principal) -> None:
    _, secret = await house.key(ann)
    for wanted in (True, False):
        await house.keys.check(secret)
        await house.accounts.update(admin, change(account_id=ann.account_id, admin=wanted))
        caller = await house.keys.check(secret)
        assert caller is not None
        assert caller.is_admin == wanted


@pytest.mark.parametrize("fields", [{"admin": False}, {"disabled": True}])
async def test_the_last_site_admin_stays(
    house: House, ann: Principal, admin: Principal, fields: dict[str, bool]
) -> None:
    with pytest.raises(Conflict, match="last site admin"):
        await house.accounts.update(admin, change(**fields))
    await house.accounts.update(admin, change(account_id=ann.account_id, admin=True, disabled=True))
    with pytest.raises(Conflict, match="last site admin"):  # one who is disabled is none
        await house.accounts.update(admin, change(**fields))
    await house.accounts.update(admin, change(account_id=ann.account_id, disabled=False))
    await house.accounts.update(admin, change(**fields))
    async with house.store.read() as tx:
        assert await tx.accounts.enabled_admins() == {ann.account_id}


async def test_what_leads_to_more_takes_a_key_without_limits(house: House, ann: Principal, admin: Principal) -> None:
    limited = replace(admin, scopes=frozenset({Ability.READ, Ability.MANAGE}))
    for refused in (
        house.accounts.update(replace(ann, calls_per_minute=1), change(email_address="x@example.org")),
        house.accounts.update(limited, change(account_id=ann.account_id, admin=True)),
        house.accounts.update(limited, change(account_id=ann.account_id, email_address="x@example.org")),
        house.accounts.create(limited, shapes.CreateAccount(email_address="y@example.org", admin=True)),
    ):
        with pytest.raises(PermissionDenied, match="takes a key with all scopes"):
            await refused
    assert (await house.accounts.update(limited, change(account_id=ann.account_id, disabled=True)))["disabled"]
