"""From a `Selection` to SQL. Names come from the tables, values are bound: nothing of a caller's is spliced into SQL.

Source: Wire contract 3.3.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, TypeVar

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    ColumnElement,
    FromClause,
    Table,
    Text,
    UnaryExpression,
    func,
    literal,
    select,
)
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.types import TypeEngine

from projecthub.errors import InvalidArgument
from projecthub.store.expressions import Bytewise, UnicodeLower
from projecthub.store.records import Condition, Selection
from projecthub.store.tables import KEY, Moment

_Value = TypeVar("_Value")

MAX_CONDITIONS: Final = 100
MAX_VALUES: Final = 10_000
"""Values in the list of one ANY."""
MAX_PATTERN: Final = 1000
"""Characters of a LIKE pattern."""

_COMPARISONS: Final[dict[str, Callable[[Any, Any], ColumnElement[bool]]]] = {
    "=": operator.eq,
    "==": operator.eq,
    "!=": operator.ne,
    "<>": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_IDENTITIES: Final = {"IS": False, "IS NOT": True}
_PATTERNS: Final = ("LIKE", "NOT LIKE", "ILIKE", "NOT ILIKE")
_LENGTHS: Final[dict[str, Callable[[Any, Any], ColumnElement[bool]]]] = {"MINLEN": operator.ge, "MAXLEN": operator.le}
OPERATORS: Final = (*_COMPARISONS, *_IDENTITIES, *_PATTERNS, "ANY", *_LENGTHS)

_KINDS: Final[tuple[tuple[type[TypeEngine[Any]], type, str], ...]] = (
    (Text, str, "a text"),
    (Boolean, bool, "true or false"),
    (Moment, datetime, "a time"),
    (BigInteger, int, "a whole number"),
)


@dataclass(frozen=True, slots=True)
class Columns:
    """Columns of several tables, to be asked for like those of one.

    Attributes:
        name: For refusals.
        columns: By names that no other of them has.
        key: Names of those that break ties.
        source: The tables, joined.
    """

    name: str
    columns: Mapping[str, Column[Any]]
    key: tuple[str, ...]
    source: FromClause


def column_of(table: Table | Columns, name: str) -> Column[Any]:
    """A column by its name.

    Raises:
        InvalidArgument: The table has none of that name.
    """
    column = table.columns.get(name)
    if column is None:
        raise InvalidArgument(
            f"There is no column '{name[:100]}' in {table.name}; it has {', '.join(table.columns.keys())}"
        )
    return column


def checked_changes(table: Table, changes: Mapping[str, Any], *, fixed: Sequence[str]) -> dict[str, Any]:
    """Values by column names, for an UPDATE.

    Raises:
        InvalidArgument: A column is not there, or is among ``fixed``, which never change; or there are no changes.
    """
    if not changes:
        raise InvalidArgument(f"There is nothing to change in {table.name}; name at least one column")
    for name in changes:
        column_of(table, name)
        if name in fixed:
            raise InvalidArgument(f"Column '{name}' of {table.name} never changes; leave it out")
    return dict(changes)


def clauses_of(table: Table | Columns, conditions: Sequence[Condition]) -> list[ColumnElement[bool]]:
    """SQL of conditions that must all hold. As in SQL, a null fulfils ``IS`` and ``IS NOT`` only.

    Raises:
        InvalidArgument: An unknown column or operator, a value of the wrong kind, or too many of them.
    """
    if len(conditions) > MAX_CONDITIONS:
        raise InvalidArgument(f"{len(conditions)} conditions are too many; give at most {MAX_CONDITIONS}")
    return [_clause(column_of(table, condition.column), condition.op, condition.value) for condition in conditions]


def order_of(table: Table | Columns, order_by: Sequence[tuple[str, bool]]) -> list[UnaryExpression[Any]]:
    """SQL of an order: texts by code points, nulls last, or, descending, first. The primary key breaks ties.

    Raises:
        InvalidArgument: An unknown column, or one that has no order.
    """
    if not order_by:
        return []
    key = table.key if isinstance(table, Columns) else [column.name for column in table.primary_key]
    order: dict[str, UnaryExpression[Any]] = {}
    for name, descending in (*order_by, *((name, False) for name in key)):
        column = column_of(table, name)
        if isinstance(column.type, JSON):
            raise InvalidArgument(f"Rows cannot be ordered by column '{name}', which holds objects")
        comparable = _comparable(column)
        term = comparable.desc() if descending else comparable.asc()
        if column.nullable:
            term = term.nulls_first() if descending else term.nulls_last()
        order.setdefault(name, term)
    return list(order.values())


async def rows_of(
    connection: AsyncConnection,
    table: Table | Columns,
    selection: Selection,
    *where: ColumnElement[bool],
    source: FromClause | None = None,
    order_by: Sequence[tuple[str, bool]] = (),
) -> list[dict[str, Any]]:
    """Rows of a table, each from column name to value.

    Args:
        connection: Where to ask.
        table: Whose columns are meant.
        selection: Columns, conditions, order and limit.
        *where: What must hold beside the conditions.
        source: A join that the table is part of; None: the table alone, or what its columns come from.
        order_by: The order, if the selection has none.

    Raises:
        InvalidArgument: The selection names what is not there, or compares what cannot be compared.
    """
    names = tuple(dict.fromkeys(selection.columns))
    if source is None:
        source = table.source if isinstance(table, Columns) else table
    statement = (
        select(*(column_of(table, name) for name in names))
        .select_from(source)
        .where(*where, *clauses_of(table, selection.conditions))
        .order_by(*order_of(table, selection.order_by or order_by))
        .limit(checked_limit(selection.limit))
    )
    return [dict(zip(names, row, strict=True)) for row in await connection.execute(statement)]


def in_chunks(values: Sequence[_Value]) -> Iterator[list[_Value]]:
    """The values, each once, in lists that fit into one statement."""
    unique = list(dict.fromkeys(values))
    for start in range(0, len(unique), MAX_VALUES):
        yield unique[start : start + MAX_VALUES]


def checked_limit(limit: int | None) -> int | None:
    """A limit on rows.

    Raises:
        InvalidArgument: It is negative.
    """
    if limit is not None and limit < 0:
        raise InvalidArgument(f"limit is {limit}; give 0 or more")
    return limit


def _clause(column: Column[Any], op: str, value: Any) -> ColumnElement[bool]:
    if op in _IDENTITIES:
        same: ColumnElement[bool]
        if value is None:
            same = column.is_(None)
        else:
            same = column.is_not_distinct_from(literal(_checked(column, value), column.type))
        return ~same if _IDENTITIES[op] else same
    if op in _COMPARISONS:
        return _COMPARISONS[op](_comparable(column), literal(_checked(column, value), column.type))
    if op in _PATTERNS:
        return _match(column, op, value)
    if op == "ANY":
        return _comparable(column).in_(_checked_list(column, value))
    if op in _LENGTHS:
        _require_text(column, op)
        if type(value) is not int or not 0 <= value < 2**31:
            raise InvalidArgument(f"{op} of column '{column.name}' is {value!r:.100}; give a number of characters")
        return _LENGTHS[op](func.length(column), value)
    raise InvalidArgument(f"There is no operator '{op[:100]}'; use one of {', '.join(OPERATORS)}")


def _comparable(column: Column[Any]) -> ColumnElement[Any]:
    """A column as it is to be compared and ordered: the same way in every database."""
    # Columns of ids are declared so that they are bytewise already, and keep their indexes.
    return Bytewise(column) if isinstance(column.type, Text) and column.type is not KEY else column


def _match(column: Column[Any], op: str, pattern: Any) -> ColumnElement[bool]:
    _require_text(column, op)
    text = _checked(column, pattern)
    if len(text) > MAX_PATTERN:
        raise InvalidArgument(
            f"The pattern for column '{column.name}' is too long; give at most {MAX_PATTERN} characters"
        )
    if (len(text) - len(text.rstrip("\\"))) % 2:
        raise InvalidArgument(
            f"The pattern for column '{column.name}' ends within an escape; write \\\\ for a backslash"
        )
    if op.endswith("ILIKE"):
        matches = UnicodeLower(column).like(UnicodeLower(text), escape="\\")
    else:
        matches = column.like(text, escape="\\")
    return ~matches if op.startswith("NOT") else matches


def _require_text(column: Column[Any], op: str) -> None:
    if not isinstance(column.type, Text):
        raise InvalidArgument(f"{op} works on texts, and column '{column.name}' holds none")


def _checked_list(column: Column[Any], values: Any) -> list[Any]:
    if not isinstance(values, (list, tuple)) or len(values) > MAX_VALUES:
        raise InvalidArgument(f"ANY of column '{column.name}' needs a list of at most {MAX_VALUES} values")
    return [_checked(column, value) for value in values if value is not None]


def _checked(column: Column[Any], value: Any) -> Any:
    """A value that the column can be compared with."""
    for kind, expected, words in _KINDS:
        if isinstance(column.type, kind):
            fits = isinstance(value, expected) and not (expected is int and isinstance(value, bool))
            if isinstance(value, datetime) and value.tzinfo is None:
                fits = False
            if isinstance(value, int) and not -(2**63) <= value < 2**63:
                fits = False
            if not fits:
                raise InvalidArgument(f"Column '{column.name}' is compared with {words}, not with {value!r:.100}")
            return value
    raise InvalidArgument(f"Column '{column.name}' holds objects: compare it with null, by IS or IS NOT")
