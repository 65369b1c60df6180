"""Organizations: who may do what in them, and what their tokens open."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import pytest
from house import House

from projecthub.errors import Conflict, InvalidArgument, NotFound, NotSignedIn, PermissionDenied
from projecthub.hub.principals import Principal
from projecthub.hub.sign_in import SIGN_IN_PATH
from projecthub.wire import messages, organizations, shapes
from projecthub.wire.methods import Ability
from projecthub.wire.organizations import CreateOrganizationUser, CreateToken, OrganizationMessage, SetOrganization

NOT_ALLOWED = "^user must be an admin of the organization or site-admin$"


@pytest.fixture
async def acme(house: House, admin: Principal, ann: Principal, bob: Principal) -> str:
    """An organization whose admin is Ann, and Bob a member."""
    await house.organizations.create(admin, "acme")
    await house.organizations.add_admin(admin, "acme", ann.account_id)
    await house.organizations.add_user(admin, "acme", "BOB@example.org")
    return "acme"


async def members(house: House, admin: Principal, name: str) -> set[str]:
    return {row["account_id"] for row in await house.organizations.users(admin, name)}


async def admins(house: House, admin: Principal, name: str) -> list[str]:
    return (await house.organizations.get(admin, name))["admin_account_ids"]


async def token_for(house: House, caller: Principal, user: Principal, **options: Any) -> str:
    made = await house.organizations.create_token(caller, CreateToken(user=user.account_id, **options))
    assert made["url"] == f"https://hub.example.org{SIGN_IN_PATH}?auth_token={made['token']}"
    return made["token"]


# -- organizations ---------------------------------------------------------------------------------


async def test_a_new_organization(house: House, admin: Principal) -> None:
    organization_id = await house.organizations.create(admin, "Acme-1")
    assert len(organization_id) == 36
    assert await house.organizations.get(admin, "acme-1") == {
        "name": "Acme-1",
        "title": None,
        "description": None,
        "link": None,
        "email_address": None,
        "admin_account_ids": [],
    }
    assert await house.organizations.users(admin, "Acme-1") == []
    assert await house.organizations.all(admin) == [{"name": "Acme-1", "title": None, "admin_account_ids": []}]


@pytest.mark.parametrize(
    "name", ["", "-a", "a-", "a--b", "a b", "a" * 40, "ä", "a\n", "a_b", "00000000-0000-4000-8000-000000000000"]
)
async def test_what_is_no_name(house: House, admin: Principal, name: str) -> None:
    with pytest.raises(InvalidArgument, match="1 to 39 letters"):
        await house.organizations.create(admin, name)


async def test_accounts_and_organizations_share_their_names(house: House, admin: Principal, ann: Principal) -> None:
    await house.ask(ann, {"accounts": {"name": "ann"}})
    await house.organizations.create(admin, "acme")
    for taken in ("acme", "ACME", "Ann"):
        with pytest.raises(Conflict, match=f"^name {taken} is already used by some account or organization$"):
            await house.organizations.create(admin, taken)
    with pytest.raises(Exception, match='name "Acme" is already taken by another organization or account'):
        await house.ask(ann, {"accounts": {"name": "Acme"}})
    await house.ask(ann, {"accounts": {"name": "Ann"}})  # her own, in another case
    assert (await house.ask(ann, {"accounts": {"name": None}}))["accounts"]["name"] == "Ann"


async def test_what_is_said_of_an_organization(house: House, acme: str, ann: Principal) -> None:
    said = {"title": "Acme", "description": "# Us", "link": "https://acme.example", "email_address": "us@acme.example"}
    await house.organizations.set(ann, SetOrganization(name=acme, **said))
    await house.organizations.set(ann, SetOrganization(name=acme, title="Acme Inc.", link=""))
    assert await house.organizations.get(ann, acme) == {
        **said,
        "name": acme,
        "title": "Acme Inc.",
        "link": None,
        "admin_account_ids": [ann.account_id],
    }


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("title", "x" * 1001),
        ("description", "x" * 100_001),
        ("email_address", "nobody"),
        ("link", "javascript:alert(1)"),
        ("link", "acme.example"),
    ],
)
async def test_what_may_not_be_said(house: House, acme: str, ann: Principal, field: str, value: str) -> None:
    before = await house.organizations.get(ann, acme)
    with pytest.raises(InvalidArgument, match=f"^{field} "):
        await house.organizations.set(ann, SetOrganization(name=acme, **{field: value}))
    with pytest.raises(InvalidArgument, match="nothing to set"):
        await house.organizations.set(ann, SetOrganization(name=acme))
    assert await house.organizations.get(ann, acme) == before


# -- who may ---------------------------------------------------------------------------------------

Method = Callable[[House, Principal, str], Awaitable[Any]]

FOR_SITE_ADMINS: dict[str, tuple[Method, str]] = {
    "all": (lambda house, who, name: house.organizations.all(who), "^must be a site admin$"),
    "create": (
        lambda house, who, name: house.organizations.create(who, "new"),
        "^only admins may create organizations$",
    ),
    "add_admin": (lambda house, who, name: house.organizations.add_admin(who, name, "cid@example.org"), "^must be a"),
    "add_user": (lambda house, who, name: house.organizations.add_user(who, name, "cid@example.org"), "^must be a"),
}
FOR_ITS_ADMINS: dict[str, Method] = {
    "get": lambda house, who, name: house.organizations.get(who, name),
    "set": lambda house, who, name: house.organizations.set(who, SetOrganization(name=name, title="x")),
    "create_user": lambda house, who, name: house.organizations.create_user(
        who, CreateOrganizationUser(name=name, email="new@example.org")
    ),
    "users": lambda house, who, name: house.organizations.users(who, name),
    "message": lambda house, who, name: house.organizations.message(
        who, OrganizationMessage(name=name, subject="s", body="b")
    ),
    "create_token": lambda house, who, name: house.organizations.create_token(who, CreateToken(user="bob@example.org")),
    "remove_user": lambda house, who, name: house.organizations.remove_user(who, name, "bob@example.org"),
    "remove_admin": lambda house, who, name: house.organizations.remove_admin(who, name, "ann@example.org"),
}


@pytest.mark.parametrize("method", FOR_SITE_ADMINS)
async def test_for_site_admins_alone(
    house: House, acme: str, admin: Principal, ann: Principal, bob: Principal, cid: Principal, method: str
) -> None:
    call, text = FOR_SITE_ADMINS[method]
    for refused in (ann, bob, cid):
        for name in (acme, "unknown"):
            with pytest.raises(PermissionDenied, match=text):
                await call(house, refused, name)
    await call(house, admin, acme)


@pytest.mark.parametrize("method", FOR_ITS_ADMINS)
async def test_for_its_admins_and_site_admins(
    house: House, acme: str, admin: Principal, ann: Principal, bob: Principal, cid: Principal, method: str
) -> None:
    await house.organizations.create(admin, "other")
    dan = await house.person("Dan")
    await house.organizations.add_admin(admin, "other", dan.account_id)
    call = FOR_ITS_ADMINS[method]
    for refused in (bob, cid, dan):
        with pytest.raises(PermissionDenied, match=NOT_ALLOWED):
            await call(house, refused, acme)
    if method != "create_token":
        with pytest.raises(PermissionDenied, match=NOT_ALLOWED):
            await call(house, ann, "unknown")
        with pytest.raises(NotFound, match=r"^no org named 'unknown'$"):
            await call(house, admin, "unknown")
    await call(house, ann, acme)


@pytest.mark.parametrize("method", FOR_ITS_ADMINS)
async def test_a_site_admin_needs_no_membership(house: House, acme: str, admin: Principal, method: str) -> None:
    await FOR_ITS_ADMINS[method](house, admin, acme)


# -- people ----------------------------------------------------------------------------------------


async def test_admins_are_members(house: House, acme: str, admin: Principal, ann: Principal, bob: Principal) -> None:
    assert await members(house, admin, acme) == {ann.account_id, bob.account_id}
    assert await admins(house, admin, acme) == [ann.account_id]
    await house.organizations.add_admin(admin, acme, bob.account_id)
    assert set(await admins(house, admin, acme)) == {ann.account_id, bob.account_id}
    await house.organizations.remove_admin(bob, acme, ann.account_id)
    await house.organizations.remove_admin(bob, acme, ann.account_id)  # once more is as good
    assert await admins(house, admin, acme) == [bob.account_id]
    assert await members(house, admin, acme) == {ann.account_id, bob.account_id}


async def test_whoever_is_disabled_is_taken_into_no_organization(
    house: House, acme: str, admin: Principal, bob: Principal, cid: Principal
) -> None:
    await house.organizations.create(admin, "other")
    before = await members(house, admin, acme), await admins(house, admin, acme)
    for person in (bob, cid):
        await house.accounts.update(admin, shapes.UpdateAccount(account_id=person.account_id, disabled=True))
    for call, name, person in (
        (house.organizations.add_user, acme, cid),
        (house.organizations.add_user, "other", bob),
        (house.organizations.add_admin, acme, cid),
        (house.organizations.add_admin, acme, bob),
    ):
        with pytest.raises(Conflict, match=f"account '{person.account_id}' is disabled"):
            await call(admin, name, person.account_id)
    assert (await members(house, admin, acme), await admins(house, admin, acme)) == before
    await house.organizations.add_user(admin, acme, bob.account_id)  # who is in it already, which changes nothing


async def test_rows_of_members(house: House, acme: str, ann: Principal, bob: Principal) -> None:
    async with house.store.write() as tx:
        await tx.accounts.mark_active({bob.account_id: house.clock.now()})
    [row] = [row for row in await house.organizations.users(ann, acme) if row["account_id"] == bob.account_id]
    assert row == {
        "account_id": bob.account_id,
        "first_name": "Bob",
        "last_name": "",
        "email_address": "bob@example.org",
        "last_active": "2026-03-01T12:00:00.123Z",
    }


async def test_an_account_is_in_one_organization(
    house: House, acme: str, admin: Principal, ann: Principal, bob: Principal
) -> None:
    await house.organizations.create(admin, "other")
    with pytest.raises(Conflict, match=r"^User 'bob@example.org' is already member of another organization$"):
        await house.organizations.add_admin(admin, "other", "bob@example.org")
    await house.organizations.add_user(admin, "other", bob.account_id)
    assert await members(house, admin, acme) == {ann.account_id}
    assert await members(house, admin, "other") == {bob.account_id}
    with pytest.raises(Conflict, match=r"^admin cannot be removed from org"):
        await house.organizations.add_user(admin, "other", ann.account_id)
    assert await members(house, admin, "other") == {bob.account_id}
    await house.organizations.add_user(admin, acme, ann.account_id)  # where she is already, and an admin still
    assert await admins(house, admin, acme) == [ann.account_id]


async def test_removing_people(house: House, acme: str, admin: Principal, ann: Principal, cid: Principal) -> None:
    with pytest.raises(Conflict, match=r"^admin cannot be removed from org; first remove them from being an admin$"):
        await house.organizations.remove_user(ann, acme, ann.account_id)
    for unknown in ("nobody@example.org", "", "x", "00000000-0000-4000-8000-000000000000", cid.account_id):
        with pytest.raises(NotFound, match=f"^cannot find user '{unknown}'$"):
            await house.organizations.remove_user(ann, acme, unknown)
        with pytest.raises(NotFound, match=f"^cannot find user '{unknown}'$"):
            await house.organizations.remove_admin(ann, acme, unknown)
    await house.organizations.remove_user(ann, acme, "bob@example.org")
    assert await members(house, admin, acme) == {ann.account_id}


@pytest.mark.parametrize("call", ["add_admin", "add_user"])
async def test_whom_nobody_knows(house: House, acme: str, admin: Principal, call: str) -> None:
    gone = await house.person("Gone", deleted_at=house.clock.now())
    for unknown in ("nobody@example.org", "x", gone.account_id, "gone@example.org"):
        with pytest.raises(NotFound, match=f"^no such account '{unknown}'$"):
            await getattr(house.organizations, call)(admin, acme, unknown)


async def test_deleted_accounts_are_no_members(
    house: House, acme: str, admin: Principal, ann: Principal, bob: Principal
) -> None:
    async with house.store.write() as tx:
        for person in (ann, bob):
            await tx.accounts.update(person.account_id, {"deleted_at": house.clock.now()})
    assert await members(house, admin, acme) == set()
    assert await house.organizations.all(admin) == [{"name": acme, "title": None, "admin_account_ids": []}]


async def test_a_new_user(house: House, acme: str, admin: Principal, ann: Principal) -> None:
    request = CreateOrganizationUser(name=acme, email=" Eve@Example.org ", firstName="Eve", lastName="E.")
    account_id = await house.organizations.create_user(ann, request)
    assert account_id in await members(house, admin, acme)
    assert account_id not in await admins(house, admin, acme)
    eve = Principal(account_id, False, 0)
    [project] = (await house.ask(eve, {"projects": [{"title": None, "users": None, "state": None}]}))["projects"]
    assert project["title"] == "My First Project"
    assert project["users"] == {account_id: {"group": "owner"}}
    assert project["state"]["state"] == "opened"
    account = await house.ask(eve, {"accounts": {"first_name": None, "last_name": None, "email_address": None}})
    assert account["accounts"] == {"first_name": "Eve", "last_name": "E.", "email_address": "Eve@Example.org"}
    with pytest.raises(Conflict, match="eve@example"):
        await house.organizations.create_user(ann, CreateOrganizationUser(name=acme, email="eve@example.org"))
    with pytest.raises(InvalidArgument, match="no e-mail address"):
        await house.organizations.create_user(ann, CreateOrganizationUser(name=acme, email="eve"))
    second = await house.organizations.create_user(ann, CreateOrganizationUser(name=acme, email="fay@example.org"))
    names = await house.accounts.names([second])
    assert names[second]["first_name"] == "fay"


async def test_a_user_of_nothing_is_not_made(house: House, admin: Principal) -> None:
    with pytest.raises(NotFound, match="no org named 'none'"):
        await house.organizations.create_user(admin, CreateOrganizationUser(name="none", email="eve@example.org"))
    assert await house.accounts.search(admin, shapes.UserSearch(query="eve@example.org")) == []


# -- tokens ----------------------------------------------------------------------------------------


async def test_a_token_signs_in_until_its_time_is_over(house: House, acme: str, ann: Principal, bob: Principal) -> None:
    token = await token_for(house, ann, bob)
    assert await house.keys.check(token) is None, "it is no API key"
    for _ in range(2):
        signed_in = await house.sign_in.sign_in(token)
        assert signed_in["account_id"] == bob.account_id
        caller = await house.keys.check(signed_in["api_key"])
        assert caller is not None
        assert (caller.account_id, caller.is_admin, caller.project_id) == (bob.account_id, False, None)
    assert signed_in["expire"] == "2026-03-02T00:00:00.123Z"
    house.clock.advance(hours=13)
    assert await house.keys.check(signed_in["api_key"]) is None
    assert (await house.sign_in.sign_in(token))["expire"] == "2026-03-02T12:00:00.123Z", "not longer than the token"
    house.clock.advance(hours=11)
    with pytest.raises(NotSignedIn):
        await house.sign_in.sign_in(token)


async def test_a_token_may_end_earlier_or_later(house: House, acme: str, ann: Principal, bob: Principal) -> None:
    token = await token_for(house, ann, bob, expire="2026-03-01T12:01:00Z")
    assert (await house.sign_in.sign_in(token))["expire"] == "2026-03-01T12:01:00.000Z"
    late = await token_for(house, ann, bob, expire="2026-04-01")
    house.clock.advance(days=30)
    assert (await house.sign_in.sign_in(late))["account_id"] == bob.account_id
    for over in ("2026-03-01", 0):
        with pytest.raises(InvalidArgument, match="is over"):
            await token_for(house, ann, bob, expire=over)


async def test_an_expired_token_takes_its_keys_with_it(
    house: House, acme: str, ann: Principal, bob: Principal, cid: Principal
) -> None:
    token, other = await token_for(house, ann, bob), await token_for(house, ann, bob)
    keys = [(await house.sign_in.sign_in(token))["api_key"], (await house.sign_in.sign_in(other))["api_key"]]
    for secret in keys:
        assert await house.keys.check(secret) is not None
    await house.sign_in.end(token)
    await house.sign_in.end(token)
    with pytest.raises(NotSignedIn):
        await house.sign_in.sign_in(token)
    assert await house.keys.check(keys[0]) is None
    assert await house.keys.check(keys[1]) is not None


@pytest.mark.parametrize(
    "how", ["remove_user", "add_user elsewhere", "remove_admin", "disable maker", "delete maker", "make site admin"]
)
async def test_tokens_end_with_the_office(
    house: House, acme: str, admin: Principal, ann: Principal, bob: Principal, how: str
) -> None:
    token = await token_for(house, ann, bob)
    secret = (await house.sign_in.sign_in(token))["api_key"]
    assert await house.keys.check(secret) is not None
    if how == "remove_user":
        await house.organizations.remove_user(admin, acme, bob.account_id)
    elif how == "remove_admin":
        await house.organizations.remove_admin(admin, acme, ann.account_id)
    elif how == "disable maker":
        await house.accounts.update(admin, shapes.UpdateAccount(account_id=ann.account_id, disabled=True))
    elif how == "delete maker":
        await house.account_deletions.delete(admin, shapes.DeleteAccount(account_id=ann.account_id))
        assert await members(house, admin, acme) == {bob.account_id}
    elif how == "make site admin":
        await house.accounts.update(admin, shapes.UpdateAccount(account_id=bob.account_id, admin=True))
    else:
        await house.organizations.create(admin, "other")
        await house.organizations.add_user(admin, "other", bob.account_id)
    assert await house.keys.check(secret) is None
    with pytest.raises(NotSignedIn):
        await house.sign_in.sign_in(token)


async def test_nobody_becomes_a_site_admin(house: House, acme: str, admin: Principal, ann: Principal) -> None:
    root = await house.person("Second", admin=True)
    await house.organizations.add_user(admin, acme, root.account_id)
    with pytest.raises(PermissionDenied, match="only site admins"):
        await token_for(house, ann, root)
    assert (await house.sign_in.sign_in(await token_for(house, admin, root)))["account_id"] == root.account_id


async def test_a_token_of_one_who_was_made_a_site_admin_is_void(
    house: House, acme: str, ann: Principal, bob: Principal
) -> None:
    token = await token_for(house, ann, bob)
    async with house.store.write() as tx:
        await tx.accounts.update(bob.account_id, {"is_admin": True})
    with pytest.raises(NotSignedIn):
        await house.sign_in.sign_in(token)


async def test_tokens_are_for_people_of_organizations(
    house: House, acme: str, admin: Principal, cid: Principal
) -> None:
    with pytest.raises(Conflict, match=r"^user is not in an org$"):
        await token_for(house, admin, cid)
    with pytest.raises(NotFound, match=r"^no such account 'x@example.org'$"):
        await house.organizations.create_token(admin, CreateToken(user="x@example.org"))
    for user in (cid.account_id, "x@example.org"):
        with pytest.raises(PermissionDenied, match=NOT_ALLOWED):
            await house.organizations.create_token(cid, CreateToken(user=user))


async def test_one_token_gives_a_hundred_keys(house: House, acme: str, ann: Principal, bob: Principal) -> None:
    token = await token_for(house, ann, bob)
    for _ in range(100):
        await house.sign_in.sign_in(token)
    with pytest.raises(Exception, match="use one of the keys"):
        await house.sign_in.sign_in(token)
    house.clock.advance(hours=12)
    await house.sign_in.sign_in(token)


async def test_what_is_over_is_swept(house: House, acme: str, ann: Principal, bob: Principal) -> None:
    token = await token_for(house, ann, bob)
    await house.sign_in.sign_in(token)
    await house.sign_in.sweep()

    async def sessions() -> int:
        async with house.store.read() as tx:
            return len(await tx.keys.sessions(bob.account_id))

    assert await sessions() == 1
    house.clock.advance(hours=24)
    await house.sign_in.sweep()
    assert await sessions() == 0


async def test_what_is_stored_of_a_token_is_no_token(house: House, acme: str, ann: Principal, bob: Principal) -> None:
    token = await token_for(house, ann, bob)
    assert len(token) == 43
    for file in house.directory.glob("store.sqlite3*"):
        assert token.encode() not in file.read_bytes()


# -- messages --------------------------------------------------------------------------------------


async def test_a_message_to_all_members(
    house: House, acme: str, admin: Principal, ann: Principal, bob: Principal, cid: Principal
) -> None:
    request = organizations.OrganizationMessage(name=acme, subject="Hello", body="all")
    await house.organizations.message(ann, request)
    [of_bob] = await house.messages.page(bob, messages.GetMessages())
    assert (of_bob["from_id"], of_bob["to_ids"], of_bob["organization"]) == (ann.account_id, [bob.account_id], acme)
    [of_ann] = await house.messages.page(ann, messages.GetMessages())
    assert of_ann["id"] == of_bob["id"]
    assert [row["id"] for row in await house.messages.page(ann, messages.GetMessages(type="sent"))] == [of_ann["id"]]
    assert await house.messages.page(cid, messages.GetMessages()) == []
    await house.organizations.message(admin, request)
    [sent] = await house.messages.page(admin, messages.GetMessages(type="sent"))
    assert sent["to_ids"] == []
    assert await house.messages.page(admin, messages.GetMessages()) == []
    assert len(await house.messages.page(bob, messages.GetMessages())) == 2
    with pytest.raises(InvalidArgument, match="subject has 1001 characters"):
        await house.organizations.message(ann, OrganizationMessage(name=acme, subject="s" * 1001, body=""))


# -- keys and passwords ----------------------------------------------------------------------------


@pytest.mark.parametrize("limit", [{"scopes": frozenset({Ability.MANAGE})}, {"calls_per_minute": 10}])
async def test_a_limited_key_leads_to_no_key_without_limits(
    house: House, acme: str, admin: Principal, ann: Principal, bob: Principal, limit: dict[str, Any]
) -> None:
    for call in (
        house.organizations.create_token(replace(ann, **limit), CreateToken(user=bob.account_id)),
        house.organizations.add_admin(replace(admin, **limit), acme, bob.account_id),
        house.organizations.add_user(replace(admin, **limit), acme, bob.account_id),
    ):
        with pytest.raises(PermissionDenied, match="takes a key with all scopes"):
            await call


async def test_a_new_user_with_a_password(house: House, acme: str, ann: Principal, cid: Principal) -> None:
    request = CreateOrganizationUser(name=acme, email="eve@example.org", password="correct horse")
    account_id = await house.organizations.create_user(ann, request)
    wanted = shapes.SignIn(email_address="eve@example.org", password="correct horse")
    assert (await house.sessions.sign_in(wanted, None))["account_id"] == account_id
    with pytest.raises(InvalidArgument, match="password has 5 characters"):
        await house.organizations.create_user(ann, replace(request, email="fay@example.org", password="short"))
    with pytest.raises(PermissionDenied):
        await house.organizations.create_user(cid, replace(request, email="fay@example.org", password="short"))
