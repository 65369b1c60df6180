"""Rosters as files: what spreadsheets and other programs write as CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from projecthub.errors import InvalidArgument

MAX_BYTES: Final = 5_000_000

_COLUMNS: Final[Mapping[str, str]] = {
    alias: name
    for name, aliases in {
        "email_address": ("email", "email address", "mail"),
        "first_name": ("first name", "first", "firstname", "given name"),
        "last_name": ("last name", "last", "lastname", "surname", "family name"),
        "role": ("role",),
        "disabled": ("disabled",),
    }.items()
    for alias in aliases
}
"""What the head of a column may be, in small letters, with ``-`` and ``_`` as spaces (but ``e-mail`` is ``email``)."""

_WORDS: Final = {"yes": True, "true": True, "1": True, "x": True, "no": False, "false": False, "0": False}
_SHOWN_PROBLEMS: Final = 20


def read_roster(content: bytes) -> tuple[list[dict[str, Any]], list[str]]:
    """The rows of a roster, and the heads of columns that mean nothing here.

    The first line names the columns; values are parted by commas or semicolons, whichever the first line has more of.
    Empty lines and empty values say nothing.

    Args:
        content: The file: UTF-8, with a byte order mark or without.

    Raises:
        InvalidArgument: It is no such file, or lines of it are wrong: each is named by its number.
    """
    if len(content) > MAX_BYTES:
        raise InvalidArgument(f"the roster has {len(content)} bytes; give at most {MAX_BYTES}")
    records = _records(_text(content))
    _, heads = next(records, (0, []))
    columns = [_COLUMNS.get(_plain_head(head)) for head in heads]
    if "email_address" not in columns:
        raise InvalidArgument(
            "line 1 has no column for the e-mail address; it has to name the columns: email, and perhaps first name, "
            "last name, role, disabled"
        )
    if doubled := [name for name in set(columns) if name is not None and columns.count(name) > 1]:
        raise InvalidArgument(f"line 1 has several columns for {doubled[0]}; leave one of them")
    rows = []
    problems = []
    for line, values in records:
        try:
            rows.append(_row(line, columns, values))
        except ValueError as error:
            problems.append(f"line {line}: {error}")
    if problems:
        more = f"; and {len(problems) - _SHOWN_PROBLEMS} more" if len(problems) > _SHOWN_PROBLEMS else ""
        raise InvalidArgument("; ".join(problems[:_SHOWN_PROBLEMS]) + more)
    return rows, [head for head, column in zip(heads, columns, strict=True) if column is None and head.strip()]


def _text(content: bytes) -> str:
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise InvalidArgument(f"line {line} is no UTF-8; save the roster as 'CSV UTF-8'") from error


def _records(text: str) -> Iterator[tuple[int, list[str]]]:
    """The records that are not empty, each with the number of its first line.

    Raises:
        InvalidArgument: A quote is not closed, or something stands behind one.
    """
    first_line = text.partition("\n")[0]
    delimiter = ";" if first_line.count(";") > first_line.count(",") else ","
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True, skipinitialspace=True)
    line = 1
    try:
        for values in reader:
            if any(value.strip() for value in values):
                yield line, values
            line = reader.line_num + 1
    except csv.Error as error:
        raise InvalidArgument(f"line {line} is no CSV: {error}") from error


def _plain_head(head: str) -> str:
    return " ".join(head.strip().lower().replace("e-mail", "email").replace("_", " ").replace("-", " ").split())


def _row(line: int, columns: Sequence[str | None], values: Sequence[str]) -> dict[str, Any]:
    """One row.

    Raises:
        ValueError: What is wrong with it.
    """
    if len(values) > len(columns) and any(value.strip() for value in values[len(columns) :]):
        raise ValueError(f"{len(values)} values in {len(columns)} columns")
    row: dict[str, Any] = {"line": line}
    for column, value in zip(columns, values, strict=False):
        if column is None or not value.strip():
            continue
        row[column] = value.strip()
        if column == "role":
            row[column] = value.strip().lower()
        if column == "disabled":
            if (word := value.strip().lower()) not in _WORDS:
                raise ValueError(f"disabled is {value.strip()[:50]!r}; give yes or no")
            row[column] = _WORDS[word]
    if "email_address" not in row:
        raise ValueError("there is no e-mail address")
    return row
