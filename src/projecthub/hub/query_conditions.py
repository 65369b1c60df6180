"""From the shape of a get query to a selection for the store.

Source: Wire contract 3.3, 3.4.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Final

from projecthub.errors import InvalidArgument, QueryRefused
from projecthub.hub.query_forms import Options, shown
from projecthub.hub.tables.declaring import HARD_LIMIT, Field, Table
from projecthub.hub.times import parse_time
from projecthub.store.records import Condition, Selection

_OPERATORS: Final = frozenset(
    {"=", "==", "!=", "<>", "<", "<=", ">", ">=", "IS", "IS NOT", "LIKE", "NOT LIKE", "ILIKE", "NOT ILIKE", "ANY",
     "MINLEN", "MAXLEN"}
)  # fmt: skip
_SECONDS: Final = {"second": 1, "minute": 60, "hour": 3600, "day": 86_400, "month": 2_629_746, "year": 31_556_952}
_MAX_ORDERS: Final = 20


def selection_of(table: Table, wanted: Mapping[str, Any], options: Options, now: datetime) -> Selection:
    """What a query wants of the rows that its caller may see.

    Args:
        table: The table.
        wanted: Its fields that are asked for, with null or a condition each.
        options: The query's options.
        now: What times are relative to.

    Raises:
        QueryRefused: A condition or an order that is none.
    """
    fields = {name: table.fields[name] for name in wanted}
    columns = dict.fromkeys(column for field in fields.values() for column in field.columns)
    conditions = [
        condition
        for name, value in wanted.items()
        if value is not None and not compared_whole(table, name)
        for condition in _conditions(table, name, fields[name], value, now)
    ]
    limit = table.limit if options.limit is None else min(options.limit, HARD_LIMIT)
    if len(options.order_by) > _MAX_ORDERS:
        raise QueryRefused(f"FATAL: {len(options.order_by)} fields in order_by; give at most {_MAX_ORDERS}")
    order_by = tuple(_order(item, table.fields) for item in options.order_by) or table.order_by
    key = next(iter(table.fields.values()))
    return Selection(
        columns=tuple(columns) or key.columns, conditions=tuple(conditions), order_by=order_by, limit=limit
    )


def compared_whole(table: Table, name: str) -> bool:
    """Whether a condition on a field is looked at after the one row of its table was read."""
    field = table.fields[name]
    return table.one_row and field.compare is None and bool(field.columns)


def _conditions(table: Table, name: str, field: Field, value: Any, now: datetime) -> list[Condition]:
    if not field.columns:
        raise QueryRefused(f"FATAL: {table.name}.{name} has no value here and cannot be compared; leave it out")
    if field.compare is None:
        raise QueryRefused(
            f"FATAL: {table.name}.{name} is an object and cannot be compared; ask for it with null and choose"
        )
    if not isinstance(value, dict):
        return [Condition(field.compare, "=", _operand(name, field, "=", value, now))]
    conditions = []
    for operator, operand in value.items():
        if operator not in _OPERATORS:
            raise QueryRefused(f"FATAL: unknown operator '{operator[:50]}' for {table.name}.{name}")
        conditions.append(Condition(field.compare, operator, _operand(name, field, operator, operand, now)))
    return conditions


def _operand(name: str, field: Field, operator: str, value: Any, now: datetime) -> Any:
    """A condition's value as the store compares it."""
    if operator == "ANY" and isinstance(value, list):
        return [_operand(name, field, "=", item, now) for item in value]
    if operator in ("IS", "IS NOT") and value is None:
        return None
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if operator in ("MINLEN", "MAXLEN"):
        if isinstance(value, int) and is_number and 0 <= value < 2**31:
            return value
    elif field.kind == "time":
        return _time(name, value, now)
    elif (field.kind == "bool" and isinstance(value, bool)) or (field.kind == "text" and isinstance(value, str)):
        return value
    elif field.kind == "text" and is_number:
        return str(value)
    elif field.kind == "number" and is_number and abs(value) < 2**53 and value == int(value):
        return int(value)
    raise QueryRefused(f"FATAL: {name} is compared with {shown(value)}; give a value of its kind ({field.kind})")


def _time(name: str, value: Any, now: datetime) -> datetime:
    try:
        if isinstance(value, dict):
            seconds = _SECONDS[str(value.get("unit", "seconds")).removesuffix("s")] * float(value["relative_time"])
            return now + timedelta(seconds=seconds)
        at = parse_time(value, name)
    except (InvalidArgument, KeyError, TypeError, ValueError, OverflowError) as error:
        raise QueryRefused(f"FATAL: {name} is compared with {shown(value)}, which is no time") from error
    if at is None:
        raise QueryRefused(f"FATAL: {name} is compared with null, which is no time")
    return at


def _order(item: str, fields: Mapping[str, Field]) -> tuple[str, bool]:
    descending = item.startswith("-")
    name = item.removeprefix("-").strip()
    field = fields.get(name)
    if field is None or field.read is None or field.compare is None:
        raise QueryRefused(f"ERROR -- rows cannot be ordered by '{name[:100]}'; give a field that is no object")
    return field.compare, descending
