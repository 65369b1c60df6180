"""Passwords and sessions: who gets in, how guessing is slowed, and that nobody is locked out for long."""

from __future__ import annotations

import asyncio
import threading
import time
from dataclasses import replace
from datetime import timedelta

import pytest
from house import House

from projecthub.errors import Conflict, InvalidArgument, NotSignedIn, PermissionDenied, RateLimited
from projecthub.hub import sessions
from projecthub.hub.passwords import Passwords
from projecthub.hub.principals import Principal
from projecthub.wire import shapes
from projecthub.wire.methods import Ability

PASSWORD = "correct horse"
HERE, THERE = "192.0.2.1", "198.51.100.2"


async def give_password(house: House, person: Principal, password: str = PASSWORD, **options: str) -> None:
    request = shapes.SetPassword(password=password, **options)
    assert (await house.sessions.set_password(person, request, None))["password_set"]


async def sign_in(
    house: House, password: str = PASSWORD, address: str | None = HERE, who: str = "ann@example.org"
) -> str:
    signed_in = await house.sessions.sign_in(shapes.SignIn(email_address=who, password=password), address)
    return signed_in["secret"]


async def guess(house: House, count: int, address: str | None = THERE, who: str = "ann@example.org") -> None:
    for _ in range(count):
        with pytest.raises(NotSignedIn):
            await sign_in(house, "wrong password", address, who)


# -- signing in and out ----------------------------------------------------------------------------


async def test_a_session(house: House, ann: Principal) -> None:
    await give_password(house, ann)
    told = await house.sessions.sign_in(shapes.SignIn(email_address=" ANN@example.org", password=PASSWORD), HERE)
    assert (told["account_id"], told["expire"]) == (ann.account_id, "2026-03-08T12:00:00.123Z")
    caller = await house.keys.check(told["secret"])
    assert caller is not None
    assert caller.is_session
    assert replace(caller, key_id=0, is_session=False) == ann
    assert await house.keys.all_of(ann, shapes.ListKeys()) == [], "a session is no key to be managed"
    assert await house.keys.get(ann, caller.key_id, None) is None
    house.clock.advance(days=7)
    assert await house.keys.check(told["secret"]) is None


async def test_signing_out(house: House, ann: Principal) -> None:
    await give_password(house, ann)
    key_id, key = await house.key(ann)
    secrets = [await sign_in(house) for _ in range(3)]
    callers = [await house.keys.check(secret) for secret in secrets]
    assert callers[0] is not None
    assert await house.sessions.sign_out(callers[0], everywhere=False) == {"signed_out": True}
    assert [await house.keys.check(secret) is None for secret in secrets] == [True, False, False]
    with pytest.raises(Conflict, match="API key and no session"):
        await house.sessions.sign_out(replace(ann, key_id=key_id), everywhere=False)
    await house.sessions.sign_out(replace(ann, key_id=key_id), everywhere=True)
    assert not any([await house.keys.check(secret) for secret in secrets])
    assert await house.keys.check(key) is not None


async def test_the_oldest_sessions_end(house: House, ann: Principal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sessions, "MAX_SESSIONS", 2)
    await give_password(house, ann)
    secrets = [await sign_in(house) for _ in range(3)]
    assert [await house.keys.check(secret) is None for secret in secrets] == [True, False, False]
    house.clock.advance(days=8)
    await sign_in(house)
    async with house.store.read() as tx:
        assert len(await tx.keys.sessions(ann.account_id)) == 1, "those that are over are forgotten"


@pytest.mark.parametrize(
    "who", ["ann@example.org", "bob@example.org", "eve@example.org", "nobody@example.org", "", "x" * 9999]
)
async def test_all_who_may_not_in_are_answered_alike(house: House, ann: Principal, bob: Principal, who: str) -> None:
    await give_password(house, ann, "another password")
    eve = await house.person("Eve")
    await give_password(house, eve)
    async with house.store.write() as tx:
        await tx.accounts.update(eve.account_id, {"banned": True})
    with pytest.raises(NotSignedIn) as refused:
        await sign_in(house, who=who)
    assert refused.value.message == "the e-mail address or the password is wrong"


async def test_an_unknown_address_takes_as_much_work(house: House, ann: Principal) -> None:
    passwords = Passwords(memory_kib=8 * 1024)
    try:
        stored = await passwords.hash(PASSWORD)
        seconds = {}
        for name, given in (("known", stored), ("unknown", None)):
            taken = []
            for _ in range(9):
                begin = time.process_time()
                assert not await passwords.matches("wrong password", given)
                taken.append(time.process_time() - begin)
            seconds[name] = min(taken)
    finally:
        passwords.close()
    assert 0.3 < seconds["unknown"] / seconds["known"] < 3, seconds


# -- guessing --------------------------------------------------------------------------------------


async def test_guessing_from_one_address_is_slowed(house: House, ann: Principal) -> None:
    await give_password(house, ann)
    await guess(house, sessions.BY_BOTH.burst)
    with pytest.raises(RateLimited, match="too many attempts") as refused:
        await sign_in(house, PASSWORD, THERE)
    assert refused.value.retry_after_s == sessions.BY_BOTH.every_s
    await sign_in(house, PASSWORD, HERE)
    house.clock.advance(seconds=sessions.BY_BOTH.every_s)
    await sign_in(house, PASSWORD, THERE)


async def test_many_guesses_at_once_count_too(house: House, ann: Principal) -> None:
    await give_password(house, ann)
    done = await asyncio.gather(*(sign_in(house, "wrong password", THERE) for _ in range(20)), return_exceptions=True)
    assert sum(isinstance(one, NotSignedIn) for one in done) == sessions.BY_BOTH.burst
    assert sum(isinstance(one, RateLimited) for one in done) == 20 - sessions.BY_BOTH.burst


async def test_guessing_one_account_from_many_addresses_locks_out_nobody_who_was_here_before(
    house: House, ann: Principal
) -> None:
    await give_password(house, ann)
    await sign_in(house, address=HERE)
    for number in range(sessions.BY_ACCOUNT.burst):
        await guess(house, 1, f"203.0.113.{number}")
    with pytest.raises(RateLimited) as refused:
        await sign_in(house, address=THERE)
    assert refused.value.retry_after_s <= sessions.BY_ACCOUNT.every_s
    await sign_in(house, address=HERE)


async def test_guessing_at_many_accounts_from_one_address_is_slowed(house: House, ann: Principal) -> None:
    await give_password(house, ann)
    for number in range(sessions.BY_ADDRESS.burst):
        await guess(house, 1, THERE, f"person{number}@example.org")
    with pytest.raises(RateLimited):
        await sign_in(house, address=THERE)
    await sign_in(house, address=HERE)


async def test_right_passwords_cost_nothing(house: House, ann: Principal) -> None:
    await give_password(house, ann)
    for _ in range(sessions.BY_BOTH.burst + 1):
        await sign_in(house)


async def test_too_many_at_once(house: House, ann: Principal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("projecthub.hub.passwords._WAITING", 2)
    done = await asyncio.gather(*(house.passwords.hash(PASSWORD) for _ in range(4)), return_exceptions=True)
    assert sum(isinstance(one, str) for one in done) == 2
    assert sum(isinstance(one, RateLimited) for one in done) == 2
    assert isinstance(await house.passwords.hash(PASSWORD), str)


# -- passwords -------------------------------------------------------------------------------------


async def test_a_new_password_takes_the_old_one_and_ends_sessions(house: House, ann: Principal) -> None:
    await give_password(house, ann)
    secrets = [await sign_in(house) for _ in range(2)]
    caller = await house.keys.check(secrets[0])
    assert caller is not None
    with pytest.raises(InvalidArgument, match="current_password"):
        await give_password(house, caller, "new password")
    with pytest.raises(PermissionDenied, match="current password is wrong"):
        await give_password(house, caller, "new password", current_password="wrong password")
    await give_password(house, caller, "new password", current_password=PASSWORD)
    assert [await house.keys.check(secret) is None for secret in secrets] == [False, True]
    with pytest.raises(NotSignedIn):
        await sign_in(house)
    await sign_in(house, "new password")


async def test_whoever_has_a_key_cannot_guess_its_password(house: House, ann: Principal) -> None:
    await give_password(house, ann)
    for _ in range(sessions.BY_BOTH.burst):
        with pytest.raises(PermissionDenied):
            await give_password(house, ann, "new password", current_password="wrong password")
    with pytest.raises(RateLimited):
        await give_password(house, ann, "new password", current_password=PASSWORD)


async def test_who_sets_passwords(house: House, ann: Principal, bob: Principal, admin: Principal) -> None:
    for person in (ann.account_id, "ann@example.org", "nobody@example.org"):
        with pytest.raises(PermissionDenied, match="only admins may set"):
            await give_password(house, bob, account_id=person)
    with pytest.raises(PermissionDenied, match="takes a key with all scopes"):
        await give_password(house, replace(admin, scopes=frozenset({Ability.MANAGE})), account_id=ann.account_id)
    await give_password(house, ann)
    secret = await sign_in(house)
    await give_password(house, admin, "set by an admin", account_id="ann@example.org")
    assert await house.keys.check(secret) is None
    await sign_in(house, "set by an admin")
    await give_password(house, admin)
    with pytest.raises(InvalidArgument, match="current_password"):
        await give_password(house, admin, "another one")


@pytest.mark.parametrize("password", ["", "seven c", "x" * 257])
async def test_passwords_that_are_none(house: House, ann: Principal, password: str) -> None:
    with pytest.raises(InvalidArgument, match=f"has {len(password)} characters"):
        await give_password(house, ann, password)


@pytest.mark.parametrize("password", ["x" * 256, "ÄÖÜ passwort", "\ud800 half a pair"])
async def test_passwords_of_all_kinds(house: House, ann: Principal, password: str) -> None:
    await give_password(house, ann, password)
    await sign_in(house, password)


async def test_characters_count_however_they_are_put_together(house: House, ann: Principal) -> None:
    await give_password(house, ann, "pa\u0308sswo\u0308rter")
    await sign_in(house, "p\u00e4ssw\u00f6rter")


async def test_a_password_is_not_in_the_store(house: House, ann: Principal) -> None:
    await give_password(house, ann)
    secret = await sign_in(house)
    content = b"".join(path.read_bytes() for path in house.directory.glob("store.sqlite3*"))
    assert PASSWORD.encode() not in content
    assert secret.encode() not in content
    assert b"$argon2id$" in content


async def test_a_hash_of_other_figures_is_made_anew(house: House, ann: Principal) -> None:
    older = Passwords(memory_kib=32)
    try:
        stored = await older.hash(PASSWORD)
    finally:
        older.close()
    async with house.store.write() as tx:
        await tx.accounts.update(ann.account_id, {"password_hash": stored})
    await sign_in(house)
    async with house.store.read() as tx:
        renewed = await tx.accounts.password_hash(ann.account_id)
    assert renewed is not None
    assert "m=64," in renewed
    await sign_in(house)


async def test_a_stored_hash_that_is_none_lets_nobody_in(house: House, ann: Principal) -> None:
    async with house.store.write() as tx:
        await tx.accounts.update(ann.account_id, {"password_hash": PASSWORD})
    await guess(house, 1)
    with pytest.raises(NotSignedIn):
        await sign_in(house)


async def test_an_account_that_is_disabled_meanwhile_gets_no_session(house: House, ann: Principal) -> None:
    await give_password(house, ann)
    gate = threading.Event()
    busy = [house.passwords._threads.submit(gate.wait, 30) for _ in range(2)]
    signing_in = asyncio.create_task(sign_in(house))
    async with asyncio.timeout(10):
        while not house.passwords._under_way:  # it has read the account, and waits for a thread
            await asyncio.sleep(0.001)
    async with house.keys.changing() as tx:
        await tx.accounts.update(ann.account_id, {"banned": True})
    gate.set()
    with pytest.raises(NotSignedIn):
        await signing_in
    assert all(one.result() for one in busy)
    async with house.store.read() as tx:
        assert await tx.keys.sessions(ann.account_id) == {}


def test_a_session_lasts_as_long_as_the_documents_say() -> None:
    assert timedelta(days=7) == sessions.LASTS
