"""API keys: whose they are, what ends them, and that every end counts at once."""

from __future__ import annotations

import asyncio
import string

import pytest
from house import House

from projecthub.errors import InvalidArgument, NotFound, PermissionDenied
from projecthub.hub.keys import digest, truncated
from projecthub.hub.principals import Principal
from projecthub.wire import shapes


async def test_a_key_is_its_accounts(house: House, ann: Principal, admin: Principal) -> None:
    for person in (ann, admin):
        key_id, secret = await house.key(person)
        for _ in range(2):  # read from the store, then known
            assert await house.keys.check(secret) == Principal(person.account_id, person.is_admin, key_id)


async def test_the_shape_of_a_key(house: House, ann: Principal) -> None:
    key_id, secret = await house.key(ann)
    alphabet = string.digits + string.ascii_uppercase + string.ascii_lowercase
    assert secret.startswith("sk-")
    assert len(secret) == 3 + 43 + 6
    assert set(secret[3:]) <= set(alphabet)
    number = 0
    for letter in secret[-6:]:
        number = number * 62 + alphabet.index(letter)
    assert number == key_id
    async with house.store.read() as tx:
        key = await tx.keys.get(key_id)
    assert key is not None
    assert key.trunc == truncated(secret) == f"sk-...{secret[-6:]}"
    assert secret.encode() not in (house.directory / "store.sqlite3").read_bytes()
    assert digest(secret) != secret


@pytest.mark.parametrize("secret", ["", "sk-", "sk-" + "0" * 49, "\ud800", "x" * 100_000])
async def test_what_is_no_key(house: House, secret: str) -> None:
    assert await house.keys.check(secret) is None


async def test_an_expired_key(house: House, ann: Principal) -> None:
    _, secret = await house.key(ann, expire="2026-03-01T12:00:10Z")
    assert await house.keys.check(secret) is not None
    house.clock.advance(seconds=9, milliseconds=877)
    assert await house.keys.check(secret) is None


async def test_a_new_expiry_counts_at_once(house: House, ann: Principal) -> None:
    key_id, secret = await house.key(ann)
    assert await house.keys.check(secret) is not None
    await house.keys.edit(ann, shapes.ManageApiKeys(action="edit", id=key_id, expire=0))
    assert await house.keys.check(secret) is None
    await house.keys.edit(ann, shapes.ManageApiKeys(action="edit", id=key_id, expire="2100-01-01"))
    assert await house.keys.check(secret) is not None


@pytest.mark.parametrize("how", ["delete", "revoke"])
async def test_a_deleted_key_ends_at_once(house: House, ann: Principal, how: str) -> None:
    key_id, secret = await house.key(ann)
    assert await house.keys.check(secret) is not None
    await (house.keys.delete(ann, key_id, None) if how == "delete" else house.keys.revoke(ann, key_id))
    assert await house.keys.check(secret) is None
    with pytest.raises(NotFound):
        await house.keys.revoke(ann, key_id)


@pytest.mark.parametrize("change", [{"banned": True}, {"deleted_at": True}])
async def test_keys_of_disabled_accounts(house: House, change: dict[str, object]) -> None:
    eve = await house.person("Eve")
    _, secret = await house.key(eve)
    async with house.store.write() as tx:
        values = {name: house.clock.now() if name == "deleted_at" else value for name, value in change.items()}
        await tx.accounts.update(eve.account_id, values)
    assert await house.keys.check(secret) is None


async def test_a_project_key_lasts_as_long_as_the_membership(house: House, ann: Principal, bob: Principal) -> None:
    project_id = await house.project(ann, bob)
    key_id, secret = await house.key(bob, project_id)
    assert await house.keys.check(secret) == Principal(bob.account_id, False, key_id, project_id)
    request = shapes.RemoveCollaborator(project_id=project_id, account_id=bob.account_id)
    await house.collaborators.remove(ann, request)
    assert await house.keys.check(secret) is None
    await house.collaborators.add(ann, shapes.AddCollaborator(project_id=project_id, account_id=bob.account_id))
    assert await house.keys.check(secret) is None, "a key that has ended must not come back with its maker"


@pytest.mark.parametrize("ticks", range(0, 16, 2))
async def test_a_removal_that_is_cancelled_is_whole_or_not_at_all(
    house: House, ann: Principal, bob: Principal, ticks: int
) -> None:
    project_id = await house.project(ann, bob)
    _, secret = await house.key(bob, project_id)
    assert await house.keys.check(secret) is not None
    request = shapes.RemoveCollaborator(project_id=project_id, account_id=bob.account_id)
    removal = asyncio.create_task(house.collaborators.remove(ann, request))
    for _ in range(ticks):
        await asyncio.sleep(0.0002)  # the store has a thread of its own: the moment of its answer is not ours to choose
    removal.cancel()
    await asyncio.gather(removal, return_exceptions=True)
    async with house.store.read() as tx:
        role = await tx.collaborators.role(project_id, bob.account_id)
    assert (await house.keys.check(secret) is None) == (role is None)


async def test_a_check_that_began_before_a_change_is_not_remembered_after_it(house: House, ann: Principal) -> None:
    key_id, secret = await house.key(ann)
    house.keys.forget()
    checks = [asyncio.create_task(house.keys.check(secret)) for _ in range(4)]
    await asyncio.sleep(0)
    await house.keys.revoke(ann, key_id)
    await asyncio.gather(*checks)
    assert await house.keys.check(secret) is None


async def test_how_many_answers_are_remembered(house: House, ann: Principal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("projecthub.hub.keys._CACHE_SIZE", 2)
    secrets = [(await house.key(ann))[1] for _ in range(4)]
    for secret in secrets * 2:
        assert await house.keys.check(secret) is not None
    assert len(house.keys._known) == 2


async def test_the_last_use_is_written_when_keys_are_listed(house: House, ann: Principal) -> None:
    key_id, secret = await house.key(ann)
    assert await house.keys.all_of(ann, shapes.ListKeys()) == [
        {
            "id": key_id,
            "account_id": ann.account_id,
            "expire": None,
            "created": "2026-03-01T12:00:00.123Z",
            "name": "test",
            "trunc": truncated(secret),
            "last_active": None,
            "scopes": ["read", "run", "write", "manage"],
            "calls_per_minute": None,
        }
    ]
    house.clock.advance(seconds=1)
    await house.keys.check(secret)
    key = await house.keys.get(ann, key_id, None)
    assert key is not None
    assert key["last_active"] == "2026-03-01T12:00:01.123Z"


# -- who manages which -----------------------------------------------------------------------------


async def test_keys_of_other_accounts_are_for_site_admins(house: House, ann: Principal, admin: Principal) -> None:
    key_id, _ = await house.key(ann)
    bob = await house.person("Bob")
    for account in (ann.account_id, "ann@example.org"):
        with pytest.raises(PermissionDenied):
            await house.keys.all_of(bob, shapes.ListKeys(account_id=account))
        with pytest.raises(PermissionDenied):
            await house.keys.create(bob, shapes.CreateKey(account_id=account))
        assert len(await house.keys.all_of(admin, shapes.ListKeys(account_id=account))) == 1
    assert await house.keys.get(bob, key_id, None) is None
    for refused in (house.keys.delete(bob, key_id, None), house.keys.revoke(bob, key_id)):
        with pytest.raises(NotFound):
            await refused
    with pytest.raises(NotFound):
        await house.keys.create(admin, shapes.CreateKey(account_id="00000000-0000-4000-8000-000000000000"))
    with pytest.raises(NotFound):
        await house.keys.create(admin, shapes.CreateKey(account_id="nobody@example.org"))
    with pytest.raises(InvalidArgument):
        await house.keys.create(admin, shapes.CreateKey(account_id="nobody"))
    assert await house.keys.revoke(admin, key_id) == {"id": key_id, "revoked": True}


async def test_keys_of_a_project_are_for_whoever_is_on_it(
    house: House, ann: Principal, bob: Principal, cid: Principal, admin: Principal
) -> None:
    project_id = await house.project(ann, bob)
    key_id, _ = await house.key(ann, project_id)
    assert [key["id"] for key in await house.keys.all_of(bob, shapes.ListKeys(project_id=project_id))] == [key_id]
    assert await house.keys.all_of(ann, shapes.ListKeys()) == []
    for stranger in (cid, admin):
        with pytest.raises(PermissionDenied, match="manage project_id api keys"):
            await house.keys.all_of(stranger, shapes.ListKeys(project_id=project_id))
        with pytest.raises(PermissionDenied):
            await house.keys.create(stranger, shapes.CreateKey(project_id=project_id))
        with pytest.raises(PermissionDenied):
            await house.keys.delete(stranger, key_id, project_id)
    with pytest.raises(NotFound):
        await house.keys.delete(ann, key_id, None)  # not one of her account
    await house.keys.delete(bob, key_id, project_id)
    with pytest.raises(InvalidArgument, match="'id'"):
        await house.keys.delete(bob, None, project_id)


async def test_too_long_a_name_is_refused_and_nothing_changed(house: House, ann: Principal) -> None:
    made = await house.keys.create(ann, shapes.CreateKey(name="n" * 128))
    assert made["name"] == "n" * 128
    for call in (
        house.keys.create(ann, shapes.CreateKey(name="n" * 129)),
        house.keys.update(ann, shapes.UpdateKey(id=made["id"], name="m" * 129, expire="2030-01-31")),
        house.keys.edit(ann, shapes.ManageApiKeys(id=made["id"], name="m" * 129)),
    ):
        with pytest.raises(InvalidArgument, match="has 129 characters; give at most 128"):
            await call
    (key,) = await house.keys.all_of(ann, shapes.ListKeys())
    assert (key["name"], key["expire"]) == ("n" * 128, None)
