"""Tables in files: what spreadsheets and other programs write as CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

from projecthub.errors import InvalidArgument

MAX_BYTES: Final = 5_000_000

_SHOWN_PROBLEMS: Final = 20


def read_rows(
    content: bytes,
    heads: Mapping[str, Sequence[str]],
    value_of: Callable[[str, str], Any] = lambda _, text: text,
) -> tuple[list[dict[str, Any]], list[str]]:
    """The rows of people of a CSV file, and the heads of columns that mean nothing here.

    The first line names the columns; values are parted by commas or semicolons, whichever the first line has more of.
    Empty lines and empty values say nothing. Each row has an `email_address`, and its `line`.

    Args:
        content: The file: UTF-8, with a byte order mark or without.
        heads: From the name of a column to what its head may be: in small letters, with ``-`` and ``_`` as spaces (but
            ``e-mail`` is ``email``). The first is what it is called in errors.
        value_of: Makes a column's value of its text; raises ValueError with what is wrong.

    Raises:
        InvalidArgument: It is no such file, or lines of it are wrong: each is named by its number.
    """
    if len(content) > MAX_BYTES:
        raise InvalidArgument(f"the roster has {len(content)} bytes; give at most {MAX_BYTES}")
    names = {alias: name for name, aliases in heads.items() for alias in aliases}
    records = _records(_text(content))
    _, given = next(records, (0, []))
    columns = [names.get(_plain_head(head)) for head in given]
    if "email_address" not in columns:
        others = ", ".join(aliases[0] for name, aliases in heads.items() if name != "email_address")
        raise InvalidArgument(
            "line 1 has no column for the e-mail address; it has to name the columns: "
            f"{heads['email_address'][0]}, and perhaps {others}"
        )
    if doubled := [name for name in set(columns) if name is not None and columns.count(name) > 1]:
        raise InvalidArgument(f"line 1 has several columns for {doubled[0]}; leave one of them")
    rows = []
    problems = []
    for line, values in records:
        try:
            rows.append(_row(line, columns, values, value_of))
        except ValueError as error:
            problems.append(f"line {line}: {error}")
    if problems:
        more = f"; and {len(problems) - _SHOWN_PROBLEMS} more" if len(problems) > _SHOWN_PROBLEMS else ""
        raise InvalidArgument("; ".join(problems[:_SHOWN_PROBLEMS]) + more)
    return rows, [head for head, column in zip(given, columns, strict=True) if column is None and head.strip()]


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


def _row(
    line: int, columns: Sequence[str | None], values: Sequence[str], value_of: Callable[[str, str], Any]
) -> dict[str, Any]:
    """One row.

    Raises:
        ValueError: What is wrong with it.
    """
    if len(values) > len(columns) and any(value.strip() for value in values[len(columns) :]):
        raise ValueError(f"{len(values)} values in {len(columns)} columns")
    row: dict[str, Any] = {"line": line}
    for column, value in zip(columns, values, strict=False):
        if column is not None and value.strip():
            row[column] = value_of(column, value.strip())
    if "email_address" not in row:
        raise ValueError("there is no e-mail address")
    return row
