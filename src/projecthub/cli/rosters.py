"""Rosters of accounts as files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from projecthub.client.csv_rows import MAX_BYTES, read_rows

__all__ = ["MAX_BYTES", "read_roster"]

_HEADS: Final[Mapping[str, Sequence[str]]] = {
    "email_address": ("email", "email address", "mail"),
    "first_name": ("first name", "first", "firstname", "given name"),
    "last_name": ("last name", "last", "lastname", "surname", "family name"),
    "role": ("role",),
    "disabled": ("disabled",),
}
_WORDS: Final = {"yes": True, "true": True, "1": True, "x": True, "no": False, "false": False, "0": False}


def read_roster(content: bytes) -> tuple[list[dict[str, Any]], list[str]]:
    """The rows of a roster, and the heads of columns that mean nothing here. As `read_rows`."""
    return read_rows(content, _HEADS, _value_of)


def _value_of(column: str, text: str) -> Any:
    if column == "role":
        return text.lower()
    if column != "disabled":
        return text
    if text.lower() not in _WORDS:
        raise ValueError(f"disabled is {text[:50]!r}; give yes or no")
    return _WORDS[text.lower()]
