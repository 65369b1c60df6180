"""Values that a set query gives to fields: checked one by one."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from projecthub.errors import QueryRefused


def refused(field: str, why: str) -> QueryRefused:
    """The refusal of a value.

    Source: Wire contract 3.5.
    """
    return QueryRefused(f"FATAL: error setting '{field}' -- Error: {why}", field=field)


def text(field: str, value: Any, *, longest: int = 1_000_000) -> str:
    """A text; numbers are taken as their text.

    Args:
        field: Named in a refusal.
        value: What was given.
        longest: Characters at most.
    """
    if isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)
    if not isinstance(value, str):
        raise refused(field, f"{json.dumps(value)[:100]} is no text")
    if len(value) > longest:
        raise refused(field, f"{len(value)} characters are too many; give at most {longest}")
    return value


def boolean(field: str, value: Any) -> bool:
    """True or false."""
    if not isinstance(value, bool):
        raise refused(field, f"{json.dumps(value)[:100]} is neither true nor false")
    return value


def mapping(field: str, value: Any) -> dict[str, Any]:
    """An object."""
    if not isinstance(value, dict):
        raise refused(field, f"{json.dumps(value)[:100]} is no object")
    return value


def merged(stored: Mapping[str, Any] | None, given: Mapping[str, Any]) -> dict[str, Any]:
    """``given`` merged deeply into ``stored``; a null takes its key away.

    Source: Wire contract 3.8.
    """
    result = dict(stored or {})
    for name, value in given.items():
        before = result.get(name)
        if value is None:
            result.pop(name, None)
        elif isinstance(value, dict):
            result[name] = merged(before if isinstance(before, dict) else None, value)
        else:
            result[name] = value
    return result


def merged_within(
    field: str, stored: Mapping[str, Any] | None, given: Mapping[str, Any], *, most: int
) -> dict[str, Any]:
    """As `merged`, of at most so many characters as JSON: merge upon merge would make a row of any size.

    Args:
        field: Named in a refusal.
        stored: What is there.
        given: What is to be changed.
        most: Characters at most.
    """
    result = merged(stored, given)
    if (length := len(json.dumps(result))) > most:
        raise refused(field, f"{length} characters are too many; give at most {most}, or take away what is not needed")
    return result
