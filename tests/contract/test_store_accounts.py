from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from store_samples import HOSTILE, NOW, add_account, new_id, sample_account

from projecthub.errors import Conflict, InvalidArgument, NotFound
from projecthub.store import Store, name_parts
from projecthub.store import accounts as accounts_module
from projecthub.store.records import Account


async def test_an_account_comes_back_as_it_was_stored(store: Store) -> None:
    account = sample_account(
        email_address="Ada@Example.org",
        name="Ada-1",
        is_admin=True,
        unlisted=True,
        banned=True,
        profile={"color": "rgb(1,2,3)", "nested": {"list": [1, 2.5, None, True, "é🧪"]}},
        preferences={"font_size": 14},
        last_active_at=NOW + timedelta(milliseconds=1),
        deleted_at=NOW + timedelta(days=400_000),
    )
    async with store.write() as tx:
        await tx.accounts.create(account)
        assert await tx.accounts.get(account.account_id) == account
    async with store.read() as tx:
        assert await tx.accounts.get(account.account_id) == account
        assert await tx.accounts.get(new_id()) is None


@pytest.mark.parametrize("text", HOSTILE)
async def test_names_may_be_any_text(store: Store, text: str) -> None:
    account = sample_account(first_name=text, last_name=text, profile={text: text})
    async with store.write() as tx:
        await tx.accounts.create(account)
    async with store.read() as tx:
        assert await tx.accounts.get(account.account_id) == account


async def test_an_email_address_is_taken_whatever_its_case(store: Store) -> None:
    await add_account(store, email_address="ada@example.org")
    with pytest.raises(Conflict, match=r"e-mail address 'ADA@example\.ORG'"):
        await add_account(store, email_address="ADA@example.ORG")
    async with store.read() as tx:
        found = await tx.accounts.by_email("Ada@EXAMPLE.org")
        assert found is not None
        assert found.email_address == "ada@example.org"
        assert await tx.accounts.by_email("ad_@example.org") is None


async def test_a_name_and_an_id_are_taken(store: Store) -> None:
    account_id = await add_account(store, name="ada")
    with pytest.raises(Conflict, match="name 'ADA'"):
        await add_account(store, name="ADA")
    with pytest.raises(Conflict, match=account_id):
        await add_account(store, account_id=account_id)


async def test_a_conflict_leaves_the_transaction_usable(store: Store) -> None:
    await add_account(store, email_address="ada@example.org")
    grace = sample_account(email_address="grace@example.org")
    async with store.write() as tx:
        with pytest.raises(Conflict):
            await tx.accounts.create(sample_account(email_address="ada@example.org"))
        await tx.accounts.create(grace)
    async with store.read() as tx:
        assert await tx.accounts.get(grace.account_id) == grace


async def test_a_deleted_account_frees_its_address(store: Store) -> None:
    old = await add_account(store, email_address="ada@example.org")
    async with store.write() as tx:
        await tx.accounts.update(old, {"deleted_at": NOW})
        assert await tx.accounts.by_email("ada@example.org") is None
    new = await add_account(store, email_address="ada@example.org")
    async with store.write() as tx:
        found = await tx.accounts.by_email("ada@example.org")
        assert found is not None
        assert found.account_id == new
        assert await tx.accounts.existing([old, new]) == {new}
    with pytest.raises(Conflict, match=r"ada@example\.org|another account"):
        async with store.write() as tx:
            await tx.accounts.update(old, {"deleted_at": None})


async def test_update(store: Store) -> None:
    account = sample_account()
    async with store.write() as tx:
        await tx.accounts.create(account)
        await tx.accounts.update(account.account_id, {"first_name": "Grace", "is_admin": True, "profile": {"a": 1}})
        assert await tx.accounts.get(account.account_id) == replace(
            account, first_name="Grace", is_admin=True, profile={"a": 1}
        )
        with pytest.raises(NotFound):
            await tx.accounts.update(new_id(), {"first_name": "Grace"})
        for changes in ({"nonsense": 1}, {"account_id": new_id()}, {}):
            with pytest.raises(InvalidArgument):
                await tx.accounts.update(account.account_id, changes)


async def test_an_update_to_a_taken_name_is_a_conflict(store: Store) -> None:
    await add_account(store, name="ada")
    other = await add_account(store)
    with pytest.raises(Conflict, match="'Ada' is taken"):
        async with store.write() as tx:
            await tx.accounts.update(other, {"name": "Ada"})


async def test_the_password_hash_is_apart_from_the_record(store: Store) -> None:
    account_id = await add_account(store)
    async with store.write() as tx:
        assert await tx.accounts.password_hash(account_id) is None
        await tx.accounts.update(account_id, {"password_hash": "$argon2id$x"})
        assert await tx.accounts.password_hash(account_id) == "$argon2id$x"
        await tx.accounts.update(account_id, {"deleted_at": NOW})
        assert await tx.accounts.password_hash(account_id) is None


async def test_any_number_of_ids(store: Store) -> None:
    here = await add_account(store)
    deleted = await add_account(store, deleted_at=NOW)
    many = [new_id() for _ in range(25_000)]
    async with store.read() as tx:
        assert await tx.accounts.existing([*many, here, deleted, here]) == {here}
        assert {a.account_id for a in await tx.accounts.get_many([here, *many, deleted])} == {here, deleted}
        assert await tx.accounts.get_many([]) == []
        assert await tx.accounts.existing([]) == set()


async def test_pages_of_the_list_hold_every_account_once(store: Store) -> None:
    ids = [await add_account(store, created_at=NOW + timedelta(seconds=n // 3)) for n in range(10)]
    async with store.read() as tx:
        pages: list[str] = []
        after = None
        while page := await tx.accounts.list(limit=4, after=after):
            pages += [account.account_id for account in page]
            after = page[-1].account_id
        assert sorted(pages) == sorted(ids)
        created = [account.created_at for account in await tx.accounts.list(limit=100)]
        assert created == sorted(created, reverse=True)
        with pytest.raises(NotFound):
            await tx.accounts.list(limit=4, after=new_id())


async def test_the_list_filtered(store: Store) -> None:
    ada = await add_account(store, email_address="ada@lovelace.example")
    grace = await add_account(store, first_name="Grace", last_name="Hopper", name="amazing-grace")
    async with store.read() as tx:

        async def ids(query: str) -> set[str]:
            return {account.account_id for account in await tx.accounts.list(limit=10, query=query)}

        assert await ids("LOVELACE.ex") == {ada}
        assert await ids("hopper") == {grace}
        assert await ids("amazing") == {grace}
        assert await ids("%") == set()


async def test_search(store: Store) -> None:
    ada = await add_account(store, email_address="Ada@example.org", created_at=NOW)
    elan = await add_account(store, first_name="ÉLAN", last_name="Ωmegoe", created_at=NOW + timedelta(seconds=1))
    grace = await add_account(
        store, first_name="Grace", last_name="Hopper", name="Amazing", last_active_at=NOW + timedelta(days=1)
    )
    hidden = await add_account(store, first_name="Hidden", unlisted=True)
    await add_account(store, first_name="Hidden", deleted_at=NOW)
    async with store.read() as tx:

        async def ids(*terms: list[str], emails: list[str] | None = None, unlisted: bool = False) -> list[str]:
            found = await tx.accounts.search(terms, emails or [], limit=10, include_unlisted=unlisted)
            return [account.account_id for account in found]

        assert await ids(["lovelace", "ad"]) == [ada]
        assert await ids(["élan"]) == [elan]
        assert await ids(["ω"]) == [elan]
        assert await ids(["@amaz"]) == [grace]
        assert await ids(["grace", "ada"]) == []
        assert await ids(["o", "e"]) == [grace, elan, ada]
        assert await ids(["grace"], ["ada"]) == [grace, ada]
        assert await ids(emails=["aDA@EXAMPLE.org"]) == [ada]
        assert await ids(["hidden"]) == []
        assert await ids(["hidden"], unlisted=True) == [hidden]
        assert await ids([]) == []
        assert await ids([""]) == []
        for wildcard in ("%", "_", "a%a", "\\", "/"):
            assert await ids([wildcard]) == [], wildcard


async def test_search_is_bounded(store: Store) -> None:
    async with store.read() as tx:
        assert await tx.accounts.search([["x"] * 100], [], limit=10, include_unlisted=True) == []
        with pytest.raises(InvalidArgument, match="at most 100 words"):
            await tx.accounts.search([["x"] * 101], [], limit=10, include_unlisted=True)


async def test_any_admin_is_the_oldest(store: Store) -> None:
    async with store.read() as tx:
        assert await tx.accounts.any_admin() is None
    await add_account(store, is_admin=True, created_at=NOW - timedelta(days=2), deleted_at=NOW)
    await add_account(store, is_admin=True, created_at=NOW)
    oldest = await add_account(store, is_admin=True, created_at=NOW - timedelta(days=1))
    await add_account(store, created_at=NOW - timedelta(days=3))
    async with store.read() as tx:
        admin = await tx.accounts.any_admin()
        assert admin is not None
        assert admin.account_id == oldest


async def test_mark_active(store: Store) -> None:
    account_id = await add_account(store)
    async with store.write() as tx:
        await tx.accounts.mark_active({account_id: NOW})
        account = await tx.accounts.get(account_id)
        assert account is not None
        assert account.last_active_at == NOW


# -- parts of names --------------------------------------------------------------------------------

SYLLABLES = ["an", "ba", "ce", "do", "é", "ω", "日", " ", "-", "%", "_", "ß"]


NAMES = st.lists(st.sampled_from(SYLLABLES), max_size=4).map("".join)
WORDS = st.lists(st.sampled_from(SYLLABLES), min_size=1, max_size=3).map("".join).filter(str.strip)


@pytest.mark.parametrize("common", [1, 4, 2000])
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    people=st.lists(st.tuples(NAMES, NAMES), min_size=1, max_size=6),
    terms=st.lists(st.lists(WORDS, min_size=1, max_size=2), min_size=1, max_size=2),
)
async def test_a_search_finds_what_a_look_at_all_would_find(
    store: Store, common: int, people: list[tuple[str, str]], terms: list[list[str]]
) -> None:
    """However rare or common the words are. Every example adds to the people of those before."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(name_parts, "COMMON", common)
        patch.setattr(accounts_module, "RECENT", common)
        patch.setattr(accounts_module, "SAMPLED", common // 2)
        for number, (first, last) in enumerate(people):
            await add_account(store, first_name=first, last_name=last, last_active_at=NOW + timedelta(seconds=number))
        async with store.read() as tx:
            everybody = await tx.accounts.list(limit=1000)
            found = await tx.accounts.search(terms, [], limit=5, include_unlisted=True)

    def matches(account: Account, words: list[str]) -> bool:
        return all(word in account.first_name or word in account.last_name for word in words)

    matching = [account for account in everybody if any(matches(account, words) for words in terms)]
    matching.sort(key=lambda account: (account.last_active_at, account.account_id), reverse=True)
    assert [account.account_id for account in found] == [account.account_id for account in matching[:5]]


async def test_a_short_word_that_is_rare_is_looked_up_before_a_long_one_that_is_common(store: Store) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(name_parts, "COMMON", 5)
        for number in range(8):
            await add_account(store, first_name="Ada", last_name="Zq" if number == 3 else f"Byron {number}")
        async with store.read() as tx:
            query, few = await name_parts.candidates(tx.accounts._connection, ["ada", "zq"])
            assert few
            assert len((await tx.accounts._connection.execute(query)).all()) == 1
            query, few = await name_parts.candidates(tx.accounts._connection, ["ada", "by"])
            assert not few
            assert len((await tx.accounts._connection.execute(query)).all()) == 7


async def test_names_that_were_changed_are_found_by_what_they_are_now(store: Store) -> None:
    account_id = await add_account(store, first_name="Ada", last_name="Byron", name="ada")

    async def finds(word: str) -> bool:
        async with store.read() as tx:
            return bool(await tx.accounts.search([[word]], [], limit=10, include_unlisted=True))

    async with store.write() as tx:
        await tx.accounts.update(account_id, {"last_name": "Lovelace", "name": "countess"})
    for word, expected in (("ada", True), ("byron", False), ("love", True), ("@cou", True), ("@ada", False)):
        assert await finds(word) is expected, word
    async with store.write() as tx:
        await tx.accounts.update(account_id, {"first_name": "", "last_name": "", "name": None})
    assert not await finds("a")
