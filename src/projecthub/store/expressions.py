"""What SQLite and PostgreSQL say in different words.

`INSERT .. ON CONFLICT` needs no entry here: SQLite's compiler takes PostgreSQL's construct, so `upserting` serves both.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import JSON, ColumnElement, Text
from sqlalchemy.dialects.postgresql import insert as upserting
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement

__all__ = ["Bytewise", "JsonRows", "UnicodeLower", "upserting"]


class UnicodeLower(FunctionElement[str]):
    """A text in lower case, in every script. SQLite's own ``lower`` knows ASCII only; its connections define this."""

    name = "unicode_lower"
    type = Text()
    inherit_cache = True


@compiles(UnicodeLower, "sqlite")
def _unicode_lower_sqlite(element: UnicodeLower, compiler: SQLCompiler, **options: Any) -> str:
    return f"unicode_lower({compiler.process(element.clauses, **options)})"


@compiles(UnicodeLower, "postgresql")
def _unicode_lower_postgresql(element: UnicodeLower, compiler: SQLCompiler, **options: Any) -> str:
    return f"lower({compiler.process(element.clauses, **options)})"


class JsonRows(FunctionElement[str]):
    """Aggregates rows to the text of a JSON list of lists, in no given order."""

    name = "json_rows"
    type = Text()
    inherit_cache = True


@compiles(JsonRows, "postgresql")
def _json_rows_postgresql(element: JsonRows, compiler: SQLCompiler, **options: Any) -> str:
    rows = f"json_agg(json_build_array({compiler.process(element.clauses, **options)}))"
    return f"coalesce(CAST({rows} AS TEXT), '[]')"


@compiles(JsonRows, "sqlite")
def _json_rows_sqlite(element: JsonRows, compiler: SQLCompiler, **options: Any) -> str:
    # JSON is text in SQLite: without json() it would become a string within the list.
    items = [
        f"json({compiler.process(item, **options)})"
        if isinstance(item.type, JSON)
        else compiler.process(item, **options)
        for item in element.clauses
    ]
    return f"json_group_array(json_array({', '.join(items)}))"


class Bytewise(FunctionElement[str]):
    """A text that compares byte by byte, that is by code points, whatever the locale of the database."""

    name = "bytewise"
    type = Text()
    inherit_cache = True

    def __init__(self, column: ColumnElement[str]) -> None:
        super().__init__(column)


@compiles(Bytewise, "postgresql")
def _bytewise_postgresql(element: Bytewise, compiler: SQLCompiler, **options: Any) -> str:
    return f'({compiler.process(element.clauses, **options)} COLLATE "C")'


@compiles(Bytewise, "sqlite")
def _bytewise_sqlite(element: Bytewise, compiler: SQLCompiler, **options: Any) -> str:
    return compiler.process(element.clauses, **options)
