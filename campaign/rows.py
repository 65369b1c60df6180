"""The rows of the store, read without the hub's help."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sqlite3
from typing import Any, Final

import asyncpg

_PROJECTS: Final = (
    "SELECT project_id, title, deleted, desired, state, state_at, state_error, epoch, instance, retry_at FROM projects"
)
_EVENTS: Final = "SELECT project_id, logged_at, event FROM project_log ORDER BY id"


def project_rows(store_url: str) -> list[dict[str, Any]]:
    """All projects; ``instance`` is parsed."""
    return [{**row, "instance": _parsed(row["instance"])} for row in _read(store_url, _PROJECTS)]


def events(store_url: str) -> dict[str, list[tuple[int, str]]]:
    """For each project the times in ms and the names of its events, in the order they were written."""
    found: dict[str, list[tuple[int, str]]] = {}
    for row in _read(store_url, _EVENTS):
        found.setdefault(row["project_id"], []).append((row["logged_at"], _parsed(row["event"])["event"]))
    return found


def _read(store_url: str, statement: str) -> list[dict[str, Any]]:
    if store_url.startswith("sqlite"):
        path = store_url.removeprefix("sqlite:///")
        with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=10)) as connection:
            connection.row_factory = sqlite3.Row
            return [dict(row) for row in connection.execute(statement)]
    return asyncio.run(_read_postgresql(store_url, statement))


async def _read_postgresql(store_url: str, statement: str) -> list[dict[str, Any]]:
    connection = await asyncpg.connect(store_url)
    try:
        return [dict(row) for row in await connection.fetch(statement)]
    finally:
        await connection.close()


def _parsed(value: str | None) -> Any:
    return None if value is None else json.loads(value)
