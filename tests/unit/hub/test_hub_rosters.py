"""Rosters: what they change, all of it or nothing, and that a second time they change nothing."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from house import FixedClock, House
from hypothesis import given, settings
from hypothesis import strategies as st

from projecthub.errors import Conflict, InvalidArgument, PermissionDenied
from projecthub.hub.principals import Principal
from projecthub.hub.rosters import MAX_ROWS
from projecthub.store import open_store
from projecthub.wire import shapes
from projecthub.wire.methods import Ability


async def bring_in(
    house: House, caller: Principal, *rows: Mapping[str, Any], dry_run: bool = False
) -> shapes.RosterReport:
    return await house.rosters.bring_in(caller, shapes.ImportRoster(rows=[*map(dict, rows)], dry_run=dry_run))


async def accounts(house: House) -> dict[str, tuple[Any, ...]]:
    """All accounts by address: their names, whether they are site admins, and whether they are disabled."""
    async with house.store.read() as tx:
        found = await tx.accounts.list(limit=1000)
    return {(a.email_address or "").lower(): (a.first_name, a.last_name, a.is_admin, a.banned) for a in found}


async def test_accounts_are_made_and_changed(house: House, ann: Principal, bob: Principal, admin: Principal) -> None:
    rows = [
        {"line": 2, "email_address": "ANN@example.org", "last_name": " Lee "},
        {"line": 3, "email_address": "Cid@example.org", "first_name": "Cid", "role": "user"},
        {"line": 4, "email_address": "dora@example.org", "role": "admin", "disabled": True},
        {"line": 6, "email_address": "bob@example.org", "first_name": "", "last_name": None},
    ]
    report: dict[str, Any] = {
        "created": 2,
        "changed": 1,
        "unchanged": 1,
        "rows": [
            {"line": 2, "email_address": "ann@example.org", "action": "change", "changes": {"last_name": ["", "Lee"]}},
            {
                "line": 3,
                "email_address": "Cid@example.org",
                "action": "create",
                "changes": {
                    "first_name": [None, "Cid"],
                    "last_name": [None, ""],
                    "admin": [None, False],
                    "disabled": [None, False],
                },
            },
            {
                "line": 4,
                "email_address": "dora@example.org",
                "action": "create",
                "changes": {
                    "first_name": [None, "dora"],
                    "last_name": [None, ""],
                    "admin": [None, True],
                    "disabled": [None, True],
                },
            },
        ],
    }
    before = await accounts(house)
    assert await bring_in(house, admin, *rows, dry_run=True) == {"dry_run": True, **report}
    assert await accounts(house) == before
    assert await bring_in(house, admin, *rows) == {"dry_run": False, **report}
    assert await accounts(house) == {
        **before,
        "ann@example.org": ("Ann", "Lee", False, False),
        "cid@example.org": ("Cid", "", False, False),
        "dora@example.org": ("dora", "", True, True),
    }
    again = await bring_in(house, admin, *rows)
    assert (again["created"], again["changed"], again["unchanged"], again["rows"]) == (0, 0, 4, [])


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ({}, "line 7: 'None' is no e-mail address"),
        ({"email_address": "nobody"}, "line 7: 'nobody' is no e-mail address"),
        ({"email_address": 5}, "no e-mail address"),
        ({"email_address": "a@x", "first_name": ["A"]}, "first_name is "),
        ({"email_address": "a@x", "role": "owner"}, "role is 'owner'; give user or admin"),
        ({"email_address": "a@x", "role": []}, "role is"),
        ({"email_address": "a@x", "disabled": "yes"}, "disabled is 'yes'; give true or false"),
        ({"email_address": "a@x", "password": "x"}, "'password' is unknown"),
        ({"line": 1, "email_address": "good@example.org"}, "good@example.org stands in line 1 already"),
        ({"email_address": "GOOD@example.org"}, "GOOD@example.org stands in line 1 already"),
    ],
)
async def test_wrong_rows_are_named_and_nothing_is_changed(
    house: House, admin: Principal, row: dict[str, Any], words: str
) -> None:
    before = await accounts(house)
    for dry_run in (True, False):
        with pytest.raises(InvalidArgument) as refused:
            await bring_in(house, admin, {"email_address": "good@example.org"}, {"line": 7, **row}, dry_run=dry_run)
        assert refused.value.message.startswith(f"nothing was changed: line {row.get('line', 7)}: ")
        assert words in refused.value.message
    assert await accounts(house) == before


async def test_many_wrong_rows(house: House, admin: Principal) -> None:
    with pytest.raises(InvalidArgument, match=r"line 20: .*; and 5 more$"):
        await bring_in(house, admin, *[{"email_address": f"x{number}"} for number in range(25)])
    with pytest.raises(InvalidArgument, match=f"at most {MAX_ROWS}"):
        await bring_in(house, admin, *[{"email_address": f"x{number}@x"} for number in range(MAX_ROWS + 1)])


async def test_who_brings_rosters_in(house: House, ann: Principal, admin: Principal) -> None:
    with pytest.raises(PermissionDenied, match="only admins"):
        await bring_in(house, ann, dry_run=True)
    with pytest.raises(PermissionDenied, match="takes a key with all scopes"):
        await bring_in(house, replace(admin, scopes=frozenset({Ability.MANAGE})))
    assert (await bring_in(house, admin))["rows"] == []


async def test_disabling_by_a_roster_counts_at_once(house: House, ann: Principal, admin: Principal) -> None:
    _, secret = await house.key(ann)
    assert await house.keys.check(secret) is not None
    await bring_in(house, admin, {"email_address": "ann@example.org", "disabled": True})
    assert await house.keys.check(secret) is None


@pytest.mark.parametrize("row", [{"role": "user"}, {"disabled": True}])
async def test_the_last_site_admin_stays(house: House, ann: Principal, admin: Principal, row: dict[str, Any]) -> None:
    gone = {"email_address": "root@example.org", **row}
    before = await accounts(house)
    for others in ([], [{"email_address": "ann@example.org", "role": "admin", "disabled": True}]):
        with pytest.raises(Conflict, match="last site admin"):
            await bring_in(house, admin, *others, gone)
    assert await accounts(house) == before
    await bring_in(house, admin, gone, {"email_address": "ann@example.org", "role": "admin"})
    async with house.store.read() as tx:
        assert await tx.accounts.enabled_admins() == {ann.account_id}


PEOPLE = [f"{name}@example.org" for name in ("ann", "bob", "cid", "root", "new", "other")]
row = st.fixed_dictionaries(
    {"email_address": st.sampled_from([*PEOPLE, *(person.title() for person in PEOPLE)])},
    optional={
        "first_name": st.sampled_from([None, "", " ", "Ann", "Ünal"]),
        "last_name": st.sampled_from([None, "", "Lee"]),
        "role": st.sampled_from([None, "user", "admin"]),
        "disabled": st.sampled_from([None, True, False]),
    },
)


def expected(before: Mapping[str, tuple[Any, ...]], rows: Sequence[Mapping[str, Any]]) -> dict[str, tuple[Any, ...]]:
    """A simple model of what a roster makes of the accounts."""
    after = dict(before)
    for one in rows:
        email = one["email_address"].lower()
        first, last, admin, disabled = after.get(email, (one["email_address"].partition("@")[0], "", False, False))
        after[email] = (
            (one.get("first_name") or "").strip() or first,
            one.get("last_name") or last,
            {"admin": True, "user": False}.get(one.get("role") or "", admin),
            disabled if one.get("disabled") is None else one["disabled"],
        )
    return after


@settings(max_examples=40, deadline=None)
@given(st.lists(st.lists(row, max_size=6), min_size=1, max_size=4))
def test_rosters_do_what_they_say(rosters: list[list[dict[str, Any]]]) -> None:
    async def model() -> None:
        with tempfile.TemporaryDirectory() as name:
            clock = FixedClock()
            store = await open_store(f"sqlite:///{name}/store.sqlite3", clock=clock)
            house = House(store, clock, Path(name))
            try:
                await play(house, await house.person("Root", admin=True), rosters)
            finally:
                house.passwords.close()
                await store.close()

    asyncio.run(model())


async def play(house: House, admin: Principal, rosters: Sequence[Sequence[dict[str, Any]]]) -> None:
    for rows in rosters:
        before = await accounts(house)
        after = expected(before, rows)
        emails = [one["email_address"].lower() for one in rows]
        is_wrong = len(set(emails)) < len(emails)
        leaves_nobody = not any(is_admin and not banned for _, _, is_admin, banned in after.values())
        try:
            told = await bring_in(house, admin, *rows, dry_run=True)
        except (InvalidArgument, Conflict):
            assert is_wrong or leaves_nobody
            with pytest.raises((InvalidArgument, Conflict)):
                await bring_in(house, admin, *rows)
            assert await accounts(house) == before
            continue
        assert not is_wrong
        assert not leaves_nobody
        assert await accounts(house) == before
        assert await bring_in(house, admin, *rows) == {**told, "dry_run": False}
        assert await accounts(house) == after
        assert (told["created"], told["changed"]) == (
            len(after.keys() - before.keys()),
            sum(before[email] != after[email] for email in before),
        )
        assert (await bring_in(house, admin, *rows))["unchanged"] == len(rows)
