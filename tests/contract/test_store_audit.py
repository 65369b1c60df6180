"""The audit log in the store: appended to, paged by any filter, cut off at its old end, never changed."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from typing import Any

import asyncpg
import pytest
from sqlalchemy import event, text
from sqlalchemy.engine import Engine
from store_samples import NOW

from projecthub.errors import HubError
from projecthub.store import Store, audit
from projecthub.store.records import AuditFilter

ADA, BOB = "ada00000-0000-4000-8000-000000000001", "b0b00000-0000-4000-8000-000000000002"
ONE, TWO = "a11a0000-0000-4000-8000-000000000001", "b22b0000-0000-4000-8000-000000000002"


def row(number: int, **values: Any) -> dict[str, Any]:
    return {
        "at": NOW + timedelta(seconds=number), "began_at": NOW, "account_id": ADA, "key_id": 1, "key_kind": "account",
        "request_id": "r" * 16, "address": "192.0.2.1", "method": "projects.start", "project_id": ONE, "target": None,
        "outcome": "ok", "message": None, "times": 1, **values,
    }  # fmt: skip


MIXED = [
    row(
        number,
        account_id=(ADA, BOB, None)[number % 3],
        project_id=(ONE, TWO, None, ONE)[number % 4],
        method=("projects.start", "projects.stop", "keys.create", "DELETE /x", "projectsX")[number % 5],
        outcome=("ok", "permission_denied", "ok", "ok", "ok", "ok", "not_signed_in")[number % 7],
        target={"number": number},
    )
    for number in range(210)
]

FILTERS = {
    "nothing": AuditFilter(),
    "account": AuditFilter(account_id=ADA),
    "project": AuditFilter(project_id=ONE),
    "method": AuditFilter(method="keys.create"),
    "beginning of methods": AuditFilter(method="projects."),
    "no such method": AuditFilter(method="x"),
    "pattern": AuditFilter(method="%"),
    "outcome": AuditFilter(outcomes=("ok",)),
    "outcomes": AuditFilter(outcomes=("permission_denied", "not_signed_in")),
    "time": AuditFilter(since=NOW + timedelta(seconds=20), until=NOW + timedelta(seconds=50)),
    "account and time": AuditFilter(account_id=BOB, since=NOW + timedelta(seconds=20)),
    "all": AuditFilter(account_id=ADA, project_id=ONE, method="projects.", outcomes=("ok",), since=NOW),
    "method and outcomes": AuditFilter(method="projects", outcomes=("permission_denied", "not_signed_in")),
}


def fits(wanted: AuditFilter, one: dict[str, Any]) -> bool:
    return (
        wanted.account_id in (None, one["account_id"])
        and wanted.project_id in (None, one["project_id"])
        and one["method"].startswith(wanted.method or "")
        and (wanted.outcomes is None or one["outcome"] in wanted.outcomes)
        and (wanted.since is None or one["at"] >= wanted.since)
        and (wanted.until is None or one["at"] < wanted.until)
    )


async def all_pages(store: Store, wanted: AuditFilter, *, newest_first: bool, limit: int) -> list[int]:
    numbers: list[int] = []
    after: int | None = None
    for _ in range(1000):
        async with store.read() as tx:
            rows, after = await tx.audit.page(wanted, after=after, newest_first=newest_first, limit=limit)
        assert len(rows) <= limit
        numbers += [one["target"]["number"] for one in rows]
        if after is None:
            return numbers
    raise AssertionError("the pages have no end")


@pytest.mark.parametrize("newest_first", [True, False])
@pytest.mark.parametrize("name", FILTERS)
async def test_pages_hold_what_fits_in_order(
    store: Store, name: str, newest_first: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with store.write() as tx:
        await tx.audit.append(MIXED)
    fitting = [one["target"]["number"] for one in MIXED if fits(FILTERS[name], one)]
    wanted = fitting[::-1] if newest_first else fitting
    for limit, window in ((1000, 20_000), (7, 20_000), (7, 10), (1, 3)):
        monkeypatch.setattr(audit, "WINDOW", window)
        assert await all_pages(store, FILTERS[name], newest_first=newest_first, limit=limit) == wanted


async def test_entries_of_one_moment_are_told_once_each(store: Store) -> None:
    async with store.write() as tx:
        await tx.audit.append([row(0, target={"number": number}) for number in range(20)])
    assert await all_pages(store, AuditFilter(account_id=ADA), newest_first=False, limit=3) == list(range(20))
    assert await all_pages(store, AuditFilter(), newest_first=True, limit=3) == list(range(20))[::-1]


async def test_all_columns_come_back(store: Store) -> None:
    told = row(1, target={"project_id": [ONE, TWO], "path": "é"}, message="no", times=3, key_kind="session")
    async with store.write() as tx:
        await tx.audit.append([told])
        ((found,), after) = await tx.audit.page(AuditFilter(), after=None, newest_first=True, limit=10)
    assert {name: found[name] for name in told} == told
    assert after is None


async def test_calls_under_way_are_put_down_and_taken_away(store: Store) -> None:
    calls = [
        (number, NOW + timedelta(seconds=number), {"method": "x", "target": {"n": number}}) for number in (1, 2, 3)
    ]
    async with store.write() as tx:
        assert await tx.audit.last_begun() == 0
        await tx.audit.begin(calls)
    async with store.write() as tx:
        await tx.audit.append([row(1)], ended=[2])
    async with store.read() as tx:
        assert await tx.audit.left(up_to=9, limit=10) == [calls[0], calls[2]]
        assert await tx.audit.left(up_to=9, limit=1) == [calls[0]]
        assert await tx.audit.left(up_to=2, limit=10) == [calls[0]]
        assert await tx.audit.last_begun() == 3


async def test_no_entry_can_be_changed(store: Store) -> None:
    async with store.write() as tx:
        await tx.audit.append([row(1)])
    with pytest.raises(HubError) as caught:
        async with store.write() as tx:
            await tx.audit._connection.execute(text("UPDATE audit_log SET outcome = 'left'"))
    assert "append-only" in str(caught.value.__cause__)
    async with store.read() as tx:
        ((found,), _) = await tx.audit.page(AuditFilter(), after=None, newest_first=True, limit=10)
    assert found["outcome"] == "ok"


async def test_only_the_old_end_is_cut_off(store: Store) -> None:
    async with store.write() as tx:
        await tx.audit.append([row(number, target={"number": number}) for number in range(10)])
    counts = []
    for _ in range(3):
        async with store.write() as tx:
            counts.append(await tx.audit.prune(NOW + timedelta(seconds=6), limit=4))
    assert counts == [4, 2, 0]
    assert await all_pages(store, AuditFilter(), newest_first=False, limit=10) == [6, 7, 8, 9]


async def test_to_go_on_after_what_is_gone(store: Store) -> None:
    async with store.write() as tx:
        await tx.audit.append([row(number) for number in range(3)])
        rows, _ = await tx.audit.page(AuditFilter(), after=None, newest_first=False, limit=10)
        first, *others = (one["id"] for one in rows)
        await tx.audit.prune(NOW + timedelta(seconds=1), limit=10)
        newer, _ = await tx.audit.page(AuditFilter(), after=first, newest_first=False, limit=10)
        older = await tx.audit.page(AuditFilter(), after=first, newest_first=True, limit=10)
    assert [one["id"] for one in newer] == others
    assert older == ([], None)


# -- plans -------------------------------------------------------------------------------------------


@pytest.fixture
def statements() -> Iterator[list[tuple[str, Any]]]:
    seen: list[tuple[str, Any]] = []

    def listen(connection: Any, cursor: Any, statement: str, parameters: Any, context: Any, executemany: bool) -> None:
        seen.append((statement, parameters))

    event.listen(Engine, "before_cursor_execute", listen)
    yield seen
    event.remove(Engine, "before_cursor_execute", listen)


@pytest.mark.parametrize("newest_first", [True, False])
@pytest.mark.parametrize("name", [name for name in FILTERS if name != "nothing"])
async def test_no_page_scans_or_sorts_the_log(
    store: Store, store_url: str, name: str, newest_first: bool, statements: list[tuple[str, Any]]
) -> None:
    async with store.write() as tx:
        await tx.audit.append(MIXED)
        first = (await tx.audit.page(AuditFilter(), after=None, newest_first=not newest_first, limit=1))[0][0]["id"]
    statements.clear()
    async with store.read() as tx:
        await tx.audit.page(FILTERS[name], after=first, newest_first=newest_first, limit=1000)
    asked = [one for one in statements if "audit_log" in one[0]]
    assert asked
    for statement, parameters in asked:
        if store.shared:
            await _check_postgresql(store_url, statement, parameters)
        else:
            _check_sqlite(store_url, statement, parameters, has_one_filter=FILTERS_ALONE[name])


FILTERS_ALONE = {
    name: sum(one is not None for one in (f.account_id, f.project_id, f.method, f.outcomes)) <= 1
    for name, f in FILTERS.items()
}


def _check_sqlite(store_url: str, statement: str, parameters: Any, *, has_one_filter: bool) -> None:
    with closing(sqlite3.connect(store_url.removeprefix("sqlite:///"))) as connection:
        plan = [step[3] for step in connection.execute(f"EXPLAIN QUERY PLAN {statement}", parameters)]
    assert plan
    assert not [step for step in plan if step.startswith("SCAN audit_log")], plan
    if has_one_filter:  # of several the window is sorted once more, which is bounded
        assert not [step for step in plan if "TEMP B-TREE" in step], plan


async def _check_postgresql(store_url: str, statement: str, parameters: Any) -> None:
    connection = await asyncpg.connect(store_url)
    try:
        await connection.execute("SET enable_seqscan = off; SET enable_bitmapscan = off; SET enable_sort = off")
        rows = await connection.fetch(f"EXPLAIN (FORMAT JSON) {statement}", *parameters)
    finally:
        await connection.close()
    nodes = list(_nodes(json.loads(rows[0][0])[0]["Plan"]))
    read = [node for node in nodes if node.get("Relation Name") == "audit_log"]
    assert read
    for node in read:
        assert node["Node Type"] in ("Index Scan", "Index Only Scan"), nodes
        assert "Index Cond" in node, nodes


def _nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for inner in plan.get("Plans", []):
        yield from _nodes(inner)
