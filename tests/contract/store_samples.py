"""Rows for the tests of the store, with everything that a test does not care about filled in."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime
from typing import Any

from projecthub.store import Store, Transaction
from projecthub.store.records import Account
from projecthub.wire.ids import AccountId, ProjectId

NOW = datetime(2026, 3, 1, 12, 0, 0, 123_000, tzinfo=UTC)

HOSTILE = [
    "'; DROP TABLE projects; --",
    "\"double\" and 'single'",
    "100% _under_ \\back\\ /slash/",
    "🧪 Ünïcödé ﷽ العربية 日本語",
    "line\nbreak\ttab\r\x01\x7f",
    "",
    " ",
    ":name ?1 $1 %s {0} \\u0041",
    "x" * 200_000,
]


def new_id() -> str:
    return str(uuid.uuid4())


def sample_account(**fields: Any) -> Account:
    values: dict[str, Any] = {
        "account_id": AccountId(new_id()),
        "email_address": None,
        "first_name": "Ada",
        "last_name": "Lovelace",
        "name": None,
        "is_admin": False,
        "unlisted": False,
        "banned": False,
        "profile": None,
        "preferences": {},
        "created_at": NOW,
        "last_active_at": None,
        "deleted_at": None,
    }
    return Account(**(values | fields))


async def add_account(store: Store, **fields: Any) -> AccountId:
    account = sample_account(**fields)
    async with store.write() as tx:
        await tx.accounts.create(account)
    return account.account_id


async def create_project(tx: Transaction, owner: AccountId | None, **fields: Any) -> tuple[ProjectId, int]:
    values: dict[str, Any] = {
        "project_id": ProjectId(new_id()),
        "owner": owner,
        "title": "A project",
        "description": "",
        "created_at": NOW,
        "compute_image": None,
        "ephemeral_ms": None,
        "site_license": None,
        "settings": None,
    }
    values |= fields
    return values["project_id"], await tx.projects.create(**values)


async def add_project(store: Store, owner: AccountId | None, **fields: Any) -> ProjectId:
    async with store.write() as tx:
        project_id, _ = await create_project(tx, owner, **fields)
    return project_id
