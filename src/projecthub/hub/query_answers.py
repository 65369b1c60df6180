"""From rows of the store to the JSON of an answer to a get query, in slices: a long one holds up no other call.

Source: Wire contract 3.2.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, Final

from pydantic_core import to_json

from projecthub.hub.query_conditions import compared_whole
from projecthub.hub.tables.declaring import Asked, Row, Table

if TYPE_CHECKING:
    from projecthub.store import Transaction

_AT_ONCE: Final = 500
"""Rows that become JSON in one go: the event loop waits for that."""


def pages_of(
    table: Table, wanted: Mapping[str, Any], tx: Transaction, asked: Asked
) -> AsyncGenerator[Sequence[Row]] | None:
    """The rows of a long answer, if JSON can be made of many of them at a time."""
    if table.pages is None or asked.scope is not None or not wanted:
        return None
    return table.pages(tx, asked) if all(table.fields[name].texts for name in wanted) else None


async def in_pages(
    table: Table, pages: AsyncGenerator[Sequence[Row]], wanted: Mapping[str, Any], *, told: bool
) -> bytes:
    """As `many_rows`, of rows as they come; ``told``: whether any are wanted."""
    async with aclosing(pages):
        return _listed(table, [_of_page(table, rows, wanted) async for rows in pages if told])


async def many_rows(table: Table, rows: Sequence[Row], wanted: Mapping[str, Any], scope: str | None) -> bytes:
    """The answer to whoever asked for many rows. What is null is left out."""
    parts = []
    for start in range(0, len(rows), _AT_ONCE):
        if start:
            await asyncio.sleep(0)
        parts.append(_of_values(table, rows[start : start + _AT_ONCE], wanted, scope))
    return _listed(table, parts)


async def one_row(table: Table, rows: Sequence[Row], wanted: Mapping[str, Any], scope: str | None) -> bytes:
    """The answer to whoever asked for one row: the first, with its nulls, or nothing."""
    values = _values(table, rows, wanted, scope)
    return to_json({table.name: values[0]} if values else {})


def _listed(table: Table, parts: Sequence[bytes]) -> bytes:
    return b'{"%s":[%s]}' % (table.name.encode(), b",".join(filter(None, parts)))


def _of_page(table: Table, rows: Sequence[Row], wanted: Mapping[str, Any]) -> bytes:
    """The JSON of rows. Field by field: what is called once for each row and field costs more than all the rest."""
    template, fields = "", []
    for name in wanted:
        make = table.fields[name].texts
        assert make is not None
        texts = [*make(rows)]
        nulls = texts.count("null")
        if not nulls:
            template += f',"{name}":%s'
            fields.append(texts)
        elif nulls < len(texts):
            template += "%s"
            fields.append(["" if text == "null" else f',"{name}":{text}' for text in texts])
    objects = [(template % row)[1:] for row in zip(*fields, strict=True)] if fields else [""] * len(rows)
    return f"{{{'},{'.join(objects)}}}".encode()


def _of_values(table: Table, rows: Sequence[Row], wanted: Mapping[str, Any], scope: str | None) -> bytes:
    values = _values(table, rows, wanted, scope)
    for row in values:
        if None in row.values():
            for field in [field for field, value in row.items() if value is None]:
                del row[field]
    return to_json(values)[1:-1]


def _values(
    table: Table, rows: Sequence[Row], wanted: Mapping[str, Any], scope: str | None
) -> Sequence[dict[str, Any]]:
    """Rows as the wire has them."""
    readers = [(name, read) for name in wanted if (read := table.fields[name].read) is not None]
    answered = [{name: read(row) for name, read in readers} for row in rows]
    if table.scope is not None and scope is not None and table.scope.field in wanted:
        for row in answered:
            row[table.scope.field] = scope
    whole = {name: value for name, value in wanted.items() if value is not None and compared_whole(table, name)}
    return [row for row in answered if all(row[name] == value for name, value in whole.items())] if whole else answered
