"""The form of a user query and of its options, before any table is looked at.

Source: Wire contract 3.1, 3.4, 3.5.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, replace
from typing import Any, Final

from projecthub.errors import QueryRefused
from projecthub.wire.ids import AccountId, is_uuid

_ORDER_BY: Final = re.compile(r'[a-zA-Z0-9_.,\s"-]*')
MAX_QUERIES: Final = 100
"""Queries in one call."""
_MAX_OPTIONS: Final = 100
_MAX_DEPTH: Final = 50
"""How deep a query may nest: what it says is walked, and kept, by functions that call themselves."""


@dataclass(frozen=True, slots=True)
class Options:
    """What the options of a query say together.

    Attributes:
        limit: Rows at most; None: the table's own limit.
        order_by: Names of fields, each with ``-`` before it for descending.
        set: Whether it is a set query; None: its nulls tell.
        delete: Whether the row that it names is to be deleted.
        only_changes: Whether no rows are wanted.
        account_id: As whom a site admin asks.
    """

    limit: int | None = None
    order_by: tuple[str, ...] = ()
    set: bool | None = None
    delete: bool = False
    only_changes: bool = False
    account_id: AccountId | None = None


def parse_query(query: Any) -> tuple[str, dict[str, Any], bool]:
    """The table's name, the shape, and whether many rows are asked for.

    Raises:
        QueryRefused: It has not the form of a query.
    """
    if query is None:
        raise QueryRefused("FATAL: argument 'query' of db.userQuery is missing; give an object with one table")
    if not isinstance(query, dict) or len(query) > 1:
        raise QueryRefused("FATAL: must specify exactly one key in the query")
    if not query:
        raise QueryRefused("FATAL: invalid user_query of 'undefined' -- query must be an object")
    table, shape = next(iter(query.items()))
    many = isinstance(shape, list)
    if isinstance(shape, list):
        if len(shape) > 1:
            raise QueryRefused("FATAL: array of length > 1 not yet implemented")
        shape = shape[0] if shape else None
    if not isinstance(shape, dict):
        raise QueryRefused(f"FATAL: invalid user_query of '{table[:100]}' -- query must be an object")
    if _is_deeper(shape, _MAX_DEPTH):
        raise QueryRefused(f"FATAL: the query nests deeper than {_MAX_DEPTH} levels; give a flatter one")
    return table, shape, many


def _is_deeper(value: Any, levels: int) -> bool:
    layer = [value]
    for _ in range(levels):
        layer = [
            inner
            for item in layer
            if isinstance(item, dict | list)
            for inner in (item.values() if isinstance(item, dict) else item)
        ]
    return bool(layer)


def parse_options(options: Any) -> Options:
    """All options as one.

    Raises:
        QueryRefused: They have not the form of options, or one is unknown.
    """
    if options is None:
        return Options()
    if not isinstance(options, list):
        raise QueryRefused(f"FATAL: options (={shown(options)}) must be an array")
    if len(options) > _MAX_OPTIONS:
        raise QueryRefused(f"FATAL: {len(options)} options; give at most {_MAX_OPTIONS}")
    parsed = Options()
    for option in options:
        if not isinstance(option, dict):
            raise QueryRefused(f'FATAL: option {shown(option)} must be an object such as {{"limit": 10}}')
        for name, value in option.items():
            parsed = _with_option(parsed, name, value)
    return parsed


def _with_option(options: Options, name: str, value: Any) -> Options:
    match name:
        case "limit":
            if not isinstance(value, int) or isinstance(value, bool) or value < 0:
                raise QueryRefused(f"FATAL: limit is {shown(value)}; give a whole number from 0")
            return replace(options, limit=value)
        case "order_by":
            if not isinstance(value, str) or not _ORDER_BY.fullmatch(value):
                raise QueryRefused(f"ERROR -- invalid characters in order_by='{str(value)[:100]}'")
            items = tuple(item.strip().replace('"', "") for item in value.split(",") if item.strip())
            return replace(options, order_by=options.order_by + items)
        case "set":
            return replace(options, set=bool(value))
        case "delete":
            return replace(options, delete=bool(value))
        case "only_changes":
            return replace(options, only_changes=bool(value))
        case "account_id":
            if not is_uuid(value):
                raise QueryRefused(f"option account_id is {shown(value)}, which is no uuid")
            return replace(options, account_id=AccountId(value.lower()))
        case "heartbeat":
            return options
        case "slice":
            raise QueryRefused("slice not implemented")
        case _:
            raise QueryRefused(f"unknown option '{name[:100]}'")


def has_null(value: Any) -> bool:
    """Whether there is a null anywhere in a shape: then it asks."""
    if isinstance(value, dict):
        return any(has_null(item) for item in value.values())
    if isinstance(value, list):
        return any(has_null(item) for item in value)
    return value is None


def is_change(shape: dict[str, Any], options: Options) -> bool:
    """Whether a query sets or deletes something."""
    return options.delete or (options.set if options.set is not None else not has_null(shape))


def changes_something(query: Any, options: Any) -> bool:
    """Whether what came as the arguments of `db.userQuery` would change something; what is no query does not."""
    queries = query if isinstance(query, list) else [query]
    try:
        parsed = parse_options(options)
        return any(is_change(parse_query(one)[1], parsed) for one in queries[:MAX_QUERIES])
    except QueryRefused:
        return False


def shown(value: Any) -> str:
    """The beginning of a value as JSON, for a refusal."""
    try:
        return json.dumps(value, separators=(",", ":"))[:100]
    except RecursionError:
        return "(too deep to be shown)"
