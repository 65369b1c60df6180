"""What SQLite and PostgreSQL say in different words.

`INSERT .. ON CONFLICT` needs no entry here: SQLite's compiler takes PostgreSQL's construct, so `upserting` serves both.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import JSON, ColumnElement, FromClause, Join, Text
from sqlalchemy.dialects.postgresql import insert as upserting
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.sql.selectable import NamedFromClause

__all__ = ["Bytewise", "Following", "JsonList", "UnicodeLower", "upserting"]


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


class JsonList(FunctionElement[str]):
    """The text of a JSON list of values."""

    name = "json_list"
    type = Text()
    inherit_cache = True


@compiles(JsonList, "postgresql")
def _json_list_postgresql(element: JsonList, compiler: SQLCompiler, **options: Any) -> str:
    return f"CAST(json_build_array({compiler.process(element.clauses, **options)}) AS TEXT)"


@compiles(JsonList, "sqlite")
def _json_list_sqlite(element: JsonList, compiler: SQLCompiler, **options: Any) -> str:
    # JSON is text in SQLite: without json() it would become a string within the list.
    items = [
        f"json({compiler.process(item, **options)})"
        if isinstance(item.type, JSON)
        else compiler.process(item, **options)
        for item in element.clauses
    ]
    return f"json_array({', '.join(items)})"


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


class Following(Join):
    """A join that looks up the rows of a table one by one for the rows before it, whatever a planner thinks of that.

    The rows before it are one account's; the table holds those of everybody. A planner that expects to meet enough
    rows of the account on its way through an index of all, or through the table, is often wrong by orders of
    magnitude, and even when it is right its cost grows with what others have.

    The right side keeps its name; what is not in ``onclause`` is looked at afterwards.
    """

    inherit_cache = True

    def __init__(self, left: FromClause, right: NamedFromClause, onclause: ColumnElement[bool]) -> None:
        super().__init__(left, right, onclause)


@compiles(Following, "sqlite")
def _following_sqlite(element: Following, compiler: SQLCompiler, **options: Any) -> str:
    # SQLite never reorders the tables of a CROSS JOIN.
    left, right, on = _parts(element, compiler, options)
    return f"{left} CROSS JOIN {right} ON {on}"


@compiles(Following, "postgresql")
def _following_postgresql(element: Following, compiler: SQLCompiler, **options: Any) -> str:
    # PostgreSQL neither pulls up a query with an OFFSET nor moves conditions into it.
    left, right, on = _parts(element, compiler, options)
    assert isinstance(element.right, NamedFromClause)
    name = compiler.preparer.quote(element.right.name)
    return f"{left} CROSS JOIN LATERAL (SELECT * FROM {right} WHERE {on} OFFSET 0) AS {name}"  # noqa: S608


def _parts(element: Following, compiler: SQLCompiler, options: dict[str, Any]) -> tuple[str, str, str]:
    options = {**options, "from_linter": None}
    sides = {**options, "asfrom": True}
    assert element.onclause is not None
    left, right = (compiler.process(side, **sides) for side in (element.left, element.right))
    return left, right, compiler.process(element.onclause, **options)
