"""What it costs to find out who calls: in this process, without HTTP, on a store with many keys."""

from __future__ import annotations

import asyncio
import random
import secrets
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

from tests.hubs import HubProcess

from benchmarks.hub import Wire
from benchmarks.table import Table
from projecthub.hub.accounts import Accounts
from projecthub.hub.admission import Admission
from projecthub.hub.clock import SystemClock
from projecthub.hub.keys import Keys
from projecthub.hub.passwords import Passwords
from projecthub.hub.principals import Principal
from projecthub.hub.rosters import MAX_ROWS, Rosters
from projecthub.store import Store, open_store
from projecthub.wire import shapes

_KEYS = 20_000
_RUNS = 400
_PLACES = (0, 3, 10, 25, 40, 51)
"""Places of a wrong character in a key of 52: of its prefix, its random characters and its number."""
_DRAWS = 500
_ELSEWHERE = None
"""No address: wrong keys are to be looked up, not refused."""


async def _median_ms(work: Callable[[], Awaitable[object]], runs: int = _RUNS) -> float:
    await work()
    taken = []
    for _ in range(runs):
        begin = time.perf_counter()
        await work()
        taken.append(time.perf_counter() - begin)
    return statistics.median(taken) * 1000


async def _by_place(admission: Admission, secret: str) -> tuple[float, float, float]:
    """Whether the time that a wrong key takes tells where it is wrong: an attacker would learn a key from that.

    Wrong keys that are right but for one character, at `_PLACES` of it, are checked in turn, in an order drawn anew
    each time. Then the places are exchanged at random: if they meant nothing, what differed before differs as much
    after.

    Returns:
        The medians' difference from the fastest place to the slowest, in microseconds; the same with places that were
        drawn; and the share of draws that differed at least as much: 0.05 or less would show that places matter.
    """
    wrong = {place: secret[:place] + "_" + secret[place + 1 :] for place in _PLACES}
    taken: list[tuple[int, float]] = []
    for _ in range(_RUNS):
        for place in random.sample(_PLACES, len(_PLACES)):
            begin = time.perf_counter()
            assert await admission.admit(wrong[place], _ELSEWHERE) is None
            taken.append((place, time.perf_counter() - begin))
    places, times = [place for place, _ in taken], [time_s for _, time_s in taken]
    seen = _difference_us(places, times)
    drawn = [_difference_us(random.sample(places, len(places)), times) for _ in range(_DRAWS)]
    return seen, statistics.median(drawn), sum(each >= seen for each in drawn) / _DRAWS


def _difference_us(places: list[int], times: list[float]) -> float:
    of_place: dict[int, list[float]] = {place: [] for place in _PLACES}
    for place, time_s in zip(places, times, strict=True):
        of_place[place].append(time_s)
    medians = [statistics.median(each) for each in of_place.values()]
    return (max(medians) - min(medians)) * 1_000_000


async def _measure(table: Table, store: Store, clock: SystemClock) -> None:
    keys = Keys(store, clock)
    accounts, admission = Accounts(store, clock, keys), Admission(keys, clock)
    account = accounts.new(email_address=None, first_name="Bench", is_admin=True)
    caller = Principal(account.account_id, True, 0)
    async with store.write() as tx:
        await tx.accounts.create(account)
        for _ in range(_KEYS):
            values = {"name": "", "expires_at": None, "created_at": datetime.now(UTC)}
            number = await tx.keys.create(account_id=account.account_id, project_id=None, **values)
            await tx.keys.set_secret(number, hash=secrets.token_hex(32), trunc="")
    secret = (await keys.create(caller, shapes.CreateKey()))["secret"]

    async def unknown_yet() -> None:
        keys.forget()
        assert await admission.admit(secret, _ELSEWHERE) is not None

    known = await _median_ms(lambda: admission.admit(secret, _ELSEWHERE))
    first = await _median_ms(unknown_yet)
    random = await _median_ms(lambda: admission.admit("sk-" + secrets.token_hex(25)[:49], _ELSEWHERE))
    nearly = await _median_ms(lambda: admission.admit(secret[:-1] + "_", _ELSEWHERE))
    among = f"among {_KEYS} keys of a SQLite store"
    table.add("check of a key that was seen before", f"{known * 1000:.1f} µs", "1 ms", "")
    table.add(f"check of a key, {among}", f"{first:.3f} ms", "1 ms", "")
    table.add(
        "the same, of a wrong key", f"{random:.3f} ms", "1 ms", f"{nearly:.3f} ms: all but its last character right"
    )
    seen, drawn, share = await _by_place(admission, secret)
    table.add(
        "the same, from the fastest place of a wrong character to the slowest",
        f"{seen:.1f} µs",
        "",
        f"{drawn:.1f} µs: places drawn at random, of which {share:.0%} differ as much",
    )
    passwords = Passwords()
    stored = await passwords.hash("correct horse")
    right = await _median_ms(lambda: passwords.matches("correct horse", stored), 10)
    nobody = await _median_ms(lambda: passwords.matches("correct horse", None), 10)
    passwords.close()
    table.add("check of a password", f"{right:.0f} ms", "", f"{nobody:.0f} ms: of an account that there is not")
    await _roster(table, Rosters(accounts, keys), caller)


async def _roster(table: Table, rosters: Rosters, caller: Principal) -> None:
    rows = [{"email_address": f"person{number}@example.org", "first_name": "P"} for number in range(MAX_ROWS)]
    seconds = []
    for _ in range(2):
        begin = time.perf_counter()
        await rosters.bring_in(caller, shapes.ImportRoster(rows=rows))
        seconds.append(time.perf_counter() - begin)
    table.add(f"a roster of {MAX_ROWS} new accounts", f"{seconds[0]:.2f} s", "", f"{seconds[1]:.2f} s: a second time")


def checks(table: Table, process: HubProcess, wire: Wire, projects: int) -> None:
    async def measure() -> None:
        clock = SystemClock()
        with tempfile.TemporaryDirectory() as directory:
            store = await open_store(f"sqlite:///{directory}/store.sqlite3", clock=clock)
            try:
                await _measure(table, store, clock)
            finally:
                await store.close()

    asyncio.run(measure())
