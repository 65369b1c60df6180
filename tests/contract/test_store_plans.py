"""No hot call reads a whole table: SQLite's plan of each is looked at."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import closing
from datetime import timedelta
from typing import Any

import asyncpg
import pytest
from sqlalchemy import event
from sqlalchemy.engine import Engine
from store_samples import NOW, add_account, add_project, create_project, sample_account

from projecthub.store import Store, Transaction
from projecthub.store.records import Condition, Selection, State

ID = "00000000-0000-4000-8000-000000000000"
COLUMNS = ("project_id", "title", "last_edited_at", "state", "users", "last_active")
LOG = Selection(columns=("id", "logged_at", "event"), limit=750)
MESSAGES = Selection(columns=("id", "subject", "read"), order_by=(("id", True),), limit=500)
RECENT = Selection(columns=COLUMNS, order_by=(("last_edited_at", True),), limit=300)


async def all_of(pages: AsyncIterator[Any]) -> list[Any]:
    return [page async for page in pages]


HOT: dict[str, Callable[[Transaction], Awaitable[Any]]] = {
    "keys.find": lambda tx: tx.keys.find("f" * 64),
    "keys.count": lambda tx: tx.keys.count(ID),
    "keys.of_project": lambda tx: tx.keys.of_project(ID),
    "projects.get": lambda tx: tx.projects.get(ID),
    "projects.access": lambda tx: tx.projects.access(ID, ID),
    "projects.accesses": lambda tx: tx.projects.accesses([ID, ID], ID),
    "copies.get": lambda tx: tx.copies.get(ID, lock=True),
    "copies.open": lambda tx: tx.copies.open(),
    "copies.targets": lambda tx: tx.copies.targets(ID, after=5, limit=32),
    "copies.page": lambda tx: tx.copies.page(ID, limit=50),
    "copies.page without plans": lambda tx: tx.copies.page(ID, limit=50, plans=False),
    "copies.page of a project": lambda tx: tx.copies.page(ID, limit=50, project_id=ID),
    "copies.count_plans": lambda tx: tx.copies.count_plans(ID, since=NOW),
    "copies.oldest_plan": lambda tx: tx.copies.oldest_plan(ID, since=NOW),
    "copies.update": lambda tx: tx.copies.update(ID, {"applies": True}),
    "copies.update_targets": lambda tx: tx.copies.update_targets(ID, {0: {"error": "x"}}),
    "copies.expired": lambda tx: tx.copies.expired(NOW, limit=20),
    "copies.not_undoable": lambda tx: tx.copies.not_undoable(NOW, limit=20),
    "copies.newest": lambda tx: tx.copies.newest(within=timedelta(minutes=2)),
    "copies.kept": lambda tx: tx.copies.kept(ID),
    "copies.kept_bytes": lambda tx: tx.copies.kept_bytes(ID),
    "copies.planned_on": lambda tx: tx.copies.planned_on(["m"], [ID]),
    "copies.is_kept": lambda tx: tx.copies.is_kept(ID),
    "copies.handed_out": lambda tx: tx.copies.handed_out([(ID, "hw")]),
    "copies.take_back": lambda tx: tx.copies.take_back([(ID, "hw", "m", None), (ID, "hw", "m", "b")]),
    "copies.in_use": lambda tx: tx.copies.in_use(["m"]),
    "copies.forget": lambda tx: tx.copies.forget(ID),
    "projects.access to change": lambda tx: tx.projects.access(ID, ID, lock=True),
    "projects.select by member": lambda tx: tx.projects.select(RECENT, member=ID),
    "projects.pages by member": lambda tx: all_of(tx.projects.pages(RECENT, member=ID)),
    "projects.select recent by member": lambda tx: tx.projects.select(RECENT, member=ID, edited_after=NOW),
    "projects.select one": lambda tx: tx.projects.select(RECENT, member=None, project_id=ID),
    "projects.newest": lambda tx: tx.projects.newest(COLUMNS, limit=101),
    "projects.newest after": lambda tx: tx.projects.newest(COLUMNS, limit=101, after=(NOW, ID)),
    "projects.in_states": lambda tx: tx.projects.in_states([State.RUNNING, State.STARTING]),
    "projects.wished_running": lambda tx: tx.projects.wished_running(),
    "projects.mark_active": lambda tx: tx.projects.mark_active([ID, ID], at=NOW),
    "projects.expired": lambda tx: tx.projects.expired(NOW),
    "projects.touch": lambda tx: tx.projects.touch(ID, ID, NOW),
    "projects.update": lambda tx: tx.projects.update(ID, {"title": "x"}, epoch=1, state=[State.RUNNING]),
    "collaborators.role": lambda tx: tx.collaborators.role(ID, ID),
    "collaborators.roles": lambda tx: tx.collaborators.roles(ID),
    "collaborators.shared_with": lambda tx: tx.collaborators.shared_with(ID),
    "accounts.by_email": lambda tx: tx.accounts.by_email("ada@example.org"),
    "accounts.by_emails": lambda tx: tx.accounts.by_emails(["ada@example.org", "bob@example.org"]),
    "accounts.enabled_admins": lambda tx: tx.accounts.enabled_admins(),
    "accounts.any_admin": lambda tx: tx.accounts.any_admin(),
    "accounts.lock": lambda tx: tx.accounts.lock([ID, ID]),
    "keys.sessions": lambda tx: tx.keys.sessions(ID),
    "keys.delete_sessions": lambda tx: tx.keys.delete_sessions(ID, besides=1),
    "keys.delete_all_of": lambda tx: tx.keys.delete_all_of(ID),
    "courses.projects_of": lambda tx: tx.courses.projects_of(ID),
    "courses.staff_role": lambda tx: tx.courses.staff_role(ID, ID),
    "courses.is_of_course": lambda tx: tx.courses.is_of_course(ID),
    "departures.owned_alone": lambda tx: tx.departures.owned_alone(ID, lock=True),
    "departures.leave_all": lambda tx: tx.departures.leave_all(ID),
    "accounts.disabled": lambda tx: tx.accounts.disabled([ID, ID]),
    "accounts.existing": lambda tx: tx.accounts.existing([ID, ID]),
    "accounts.mark_active": lambda tx: tx.accounts.mark_active({ID: NOW}),
    "collaborators.upgrades": lambda tx: tx.collaborators.upgrades(ID),
    "snapshots.of_project": lambda tx: tx.snapshots.of_project(ID),
    "snapshots.used_bytes": lambda tx: tx.snapshots.used_bytes(ID),
    "snapshots.remove": lambda tx: tx.snapshots.remove([ID, ID]),
    "snapshots.expired": lambda tx: tx.snapshots.expired(NOW, limit=10),
    "snapshots.seen": lambda tx: tx.snapshots.seen(),
    "snapshots.edited": lambda tx: tx.snapshots.edited(NOW, limit=10),
    "snapshots.looked_at": lambda tx: tx.snapshots.looked_at([ID, ID]),
    "snapshots.due": lambda tx: tx.snapshots.due(NOW, limit=10),
    "snapshots.looked": lambda tx: tx.snapshots.looked(ID, at=NOW),
    "licenses.get": lambda tx: tx.licenses.get(ID),
    "licenses.existing": lambda tx: tx.licenses.existing([ID, ID]),
    "licenses.locked": lambda tx: tx.licenses.locked([ID, ID]),
    "licenses.used": lambda tx: tx.licenses.used([ID, ID]),
    "licenses.used by others": lambda tx: tx.licenses.used([ID, ID], besides=ID),
    "licenses.users": lambda tx: tx.licenses.users(ID, limit=10),
    "licenses.note_uses": lambda tx: tx.licenses.note_uses(ID, []),
    "log.of_project": lambda tx: tx.log.of_project(ID, limit=10),
    "log.prune": lambda tx: tx.log.prune(NOW, at_most=10),
    "log.select of a project": lambda tx: tx.log.select(LOG, project_id=ID, after=NOW),
    "log.select of a member": lambda tx: tx.log.select(LOG, member=ID, after=NOW),
    "file_use.select of a project": lambda tx: tx.file_use.select(
        Selection(columns=("id",), order_by=(("last_edited_at", True),), limit=200), project_id=ID, after=NOW
    ),
    "file_use.users": lambda tx: tx.file_use.users("f" * 40),
    "histories.get": lambda tx: tx.histories.get(["f" * 40, "e" * 40]),
    "histories.versions": lambda tx: tx.histories.versions("f" * 40, 3),
    "histories.oldest": lambda tx: tx.histories.oldest(ID),
    "histories.taken": lambda tx: tx.histories.taken(ID),
    "histories.stored_bytes": lambda tx: tx.histories.stored_bytes(ID),
    "file_use.update": lambda tx: tx.file_use.update("f" * 40, {}, at=NOW),
    "shares.select_shown": lambda tx: tx.shares.select_shown(Selection(columns=("id",)), "f" * 40),
    "shares.delete": lambda tx: tx.shares.delete("f" * 40),
    "shares.told": lambda tx: tx.shares.told("f" * 40),
    "shares.of_project": lambda tx: tx.shares.of_project(ID),
    "shares.listed": lambda tx: tx.shares.listed(limit=10, after=None, anybody=True),
    "shares.count": lambda tx: tx.shares.count("f" * 40),
    "templates.offered": lambda tx: tx.templates.offered(ID),
    "templates.list": lambda tx: tx.templates.list(ID),
    "templates.delete": lambda tx: tx.templates.delete(ID),
    "accounts.select": lambda tx: tx.accounts.select(Selection(columns=("account_id",)), account_id=ID),
    "shares.select": lambda tx: tx.shares.select(Selection(columns=("id",)), project_id=ID),
    "collaborators.owners": lambda tx: tx.collaborators.owners(ID),
    "invite_tokens.locked": lambda tx: tx.invite_tokens.locked(["t" * 16, "u" * 16]),
    "invite_tokens.use": lambda tx: tx.invite_tokens.use("t" * 16),
    "invite_tokens.delete": lambda tx: tx.invite_tokens.delete("t" * 16, ID),
    "invite_tokens.addressed_to": lambda tx: tx.invite_tokens.addressed_to("a@b.de", now=NOW),
    "invite_tokens.addressed_to of a project": lambda tx: tx.invite_tokens.addressed_to(
        "a@b.de", now=NOW, project_id=ID
    ),
    "invite_tokens.count": lambda tx: tx.invite_tokens.count(ID),
    "invite_tokens.select": lambda tx: tx.invite_tokens.select(
        Selection(columns=("token",), order_by=(("created_at", True),)), project_id=ID
    ),
    "invite_tokens.prune": lambda tx: tx.invite_tokens.prune(NOW),
    "mails.count_by": lambda tx: tx.mails.count_by(ID, since=NOW),
    "mails.count_to": lambda tx: tx.mails.count_to("a@b.de", since=NOW),
    "mails.last_about": lambda tx: tx.mails.last_about(ID, "a@b.de"),
    "mails.due": lambda tx: tx.mails.due(NOW, limit=20),
    "mails.later": lambda tx: tx.mails.later(1, at=NOW, error="later"),
    "mails.done": lambda tx: tx.mails.done(1),
    "mails.prune": lambda tx: tx.mails.prune(NOW),
    "accounts.by_name": lambda tx: tx.accounts.by_name("ada"),
    "messages.list received": lambda tx: tx.messages.list(ID, "received", limit=100),
    "messages.list new": lambda tx: tx.messages.list(ID, "new", limit=100),
    "messages.list starred": lambda tx: tx.messages.list(ID, "starred", limit=100, offset=100, since=NOW),
    "messages.select": lambda tx: tx.messages.select(MESSAGES, ID),
    "messages.count_unread": lambda tx: tx.messages.count_unread(ID),
    "messages.thread_of": lambda tx: tx.messages.thread_of(ID, 1),
    "messages.mark": lambda tx: tx.messages.mark(ID, 1, {"read": True}),
    "organizations.get": lambda tx: tx.organizations.get("acme"),
    "organizations.of_account": lambda tx: tx.organizations.of_account(ID),
    "organizations.admins": lambda tx: tx.organizations.admins(ID),
    "organizations.members": lambda tx: tx.organizations.members(ID),
    "organizations.remove": lambda tx: tx.organizations.remove(ID, ID),
    "sign_in_tokens.find": lambda tx: tx.sign_in_tokens.find("f" * 64),
    "sign_in_tokens.count_keys": lambda tx: tx.sign_in_tokens.count_keys("f" * 64, NOW),
    "sign_in_tokens.end": lambda tx: tx.sign_in_tokens.end("f" * 64),
    "sign_in_tokens.end_of": lambda tx: tx.sign_in_tokens.end_of(ID),
    "sign_in_tokens.end_made_by": lambda tx: tx.sign_in_tokens.end_made_by(ID),
    "sign_in_tokens.end_expired": lambda tx: tx.sign_in_tokens.end_expired(NOW),
    "idempotency.get": lambda tx: tx.idempotency.get(ID, "key"),
    "idempotency.prune": lambda tx: tx.idempotency.prune(NOW),
}


MEMBER: dict[str, Callable[[Transaction], Awaitable[Any]]] = {
    "projects.select by member": HOT["projects.select by member"],
    "projects.pages by member": HOT["projects.pages by member"],
    "projects.select recent by member": HOT["projects.select recent by member"],
    "projects.select with a condition": lambda tx: tx.projects.select(
        Selection(columns=COLUMNS, conditions=(Condition("project_id", ">", "0"),), order_by=(("project_id", False),)),
        member=ID,
    ),
    "log.select of a member": HOT["log.select of a member"],
    "file_use.select of a member": lambda tx: tx.file_use.select(Selection(columns=("id",)), member=ID, after=NOW),
    "accounts.select_sharing": lambda tx: tx.accounts.select_sharing(Selection(columns=("account_id",)), ID),
    "accounts.select_on_project": lambda tx: tx.accounts.select_on_project(Selection(columns=("account_id",)), ID),
}
"""Calls whose rows are found by way of somebody's memberships."""


@pytest.fixture
def statements() -> Iterator[list[tuple[str, Any]]]:
    """What the store has asked its database, as it is asked."""
    seen: list[tuple[str, Any]] = []

    def listen(connection: Any, cursor: Any, statement: str, parameters: Any, context: Any, executemany: bool) -> None:
        seen.append((statement, parameters))

    event.listen(Engine, "before_cursor_execute", listen)
    yield seen
    event.remove(Engine, "before_cursor_execute", listen)


@pytest.fixture
async def used_store(store: Store) -> AsyncIterator[Store]:
    """A store with a few rows, so that plans are not those of empty tables."""
    owner = await add_account(store)
    for day in range(20):
        await add_project(store, owner, created_at=NOW + timedelta(days=day))
    yield store


@pytest.mark.parametrize("database", ["sqlite"])
@pytest.mark.parametrize("name", HOT)
async def test_no_hot_call_scans_a_table(
    used_store: Store, store_url: str, name: str, statements: list[tuple[str, Any]]
) -> None:
    statements.clear()
    async with used_store.write() as tx:
        await HOT[name](tx)
    connection = sqlite3.connect(store_url.removeprefix("sqlite:///"))
    plans = [
        [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {statement}", parameters)]
        for statement, parameters in statements
    ]
    connection.close()
    assert plans
    assert all(plans)
    # What is called `people` was looked up before.
    assert not [step for plan in plans for step in plan if step.startswith("SCAN") and step != "SCAN people"], plans


@pytest.mark.parametrize("database", ["sqlite"])
@pytest.mark.parametrize(
    ("name", "count"),
    [("projects.access", 1), ("keys.find", 1), ("projects.select by member", 1), ("projects.update", 1)],
)
async def test_one_query_is_enough(used_store: Store, name: str, count: int, statements: list[tuple[str, Any]]) -> None:
    statements.clear()
    async with used_store.write() as tx:
        await HOT[name](tx)
    assert len(statements) == count


@pytest.mark.parametrize("database", ["sqlite"])
async def test_projects_are_counted_in_an_index_alone(store: Store, store_url: str, statements: list[Any]) -> None:
    statements.clear()
    async with store.read() as tx:
        await tx.projects.count_by_state()
    ((statement, parameters),) = statements
    connection = sqlite3.connect(store_url.removeprefix("sqlite:///"))
    plan = [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {statement}", parameters)]
    connection.close()
    assert plan == ["SCAN projects USING COVERING INDEX ix_projects_state"]


# -- plans that hold whatever the database believes of its tables -----------------------------------


@pytest.fixture
async def crowded_store(store: Store, store_url: str) -> AsyncIterator[Store]:
    """Many projects of others, and one account on half of them, so that a planner would like to read them all."""
    owner, everywhere = await add_account(store), await add_account(store)
    async with store.write() as tx:
        for _ in range(300):
            await tx.accounts.create(sample_account())
        for number in range(600):
            project_id, _ = await create_project(tx, owner, created_at=NOW + timedelta(minutes=number))
            if number % 2:
                await tx.collaborators.add([(project_id, everywhere)], at=NOW)
    if store.shared:
        connection = await asyncpg.connect(store_url)
        await connection.execute("ANALYZE")
        await connection.close()
    else:
        with closing(sqlite3.connect(store_url.removeprefix("sqlite:///"))) as connection:
            connection.execute("ANALYZE")
    yield store


@pytest.mark.parametrize("name", MEMBER)
async def test_rows_of_a_member_are_looked_up_from_his_memberships(
    crowded_store: Store, store_url: str, name: str, statements: list[tuple[str, Any]]
) -> None:
    """In both databases, after ANALYZE: no plan walks through a table, or an index, of everybody's rows."""
    statements.clear()
    async with crowded_store.read() as tx:
        await MEMBER[name](tx)
    ((statement, parameters),) = statements
    if not crowded_store.shared:
        with closing(sqlite3.connect(store_url.removeprefix("sqlite:///"))) as connection:
            plan = [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {statement}", parameters)]
        assert plan
        assert not [step for step in plan if step.startswith("SCAN") and "people" not in step], plan
        return
    connection = await asyncpg.connect(store_url)
    try:
        # What a small table costs is nothing to go by: every scan of a whole one is made dear.
        await connection.execute("SET enable_seqscan = off")
        rows = await connection.fetch(f"EXPLAIN (FORMAT JSON) {statement}", *parameters)
    finally:
        await connection.close()
    unbound = [node for node in nodes(json.loads(rows[0][0])[0]["Plan"]) if reads_all(node)]
    assert not unbound


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for inner in plan.get("Plans", []):
        yield from nodes(inner)


def reads_all(node: dict[str, Any]) -> bool:
    """Whether a step of PostgreSQL's plan reads a table, or an index, without anything to look up in it."""
    if node["Node Type"] == "Seq Scan":
        return True
    return node["Node Type"] in ("Index Scan", "Index Only Scan", "Bitmap Index Scan") and "Index Cond" not in node
