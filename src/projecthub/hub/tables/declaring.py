"""What a table of user queries is, and what a field of one. The tables themselves stand beside this file.

Source: Wire contract 3.
"""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from json.encoder import encode_basestring
from typing import TYPE_CHECKING, Any, Final, Literal

from pydantic_core import to_json

from projecthub.errors import QueryRefused
from projecthub.hub.values import boolean, refused, text
from projecthub.wire.ids import AccountId, ProjectId, is_uuid
from projecthub.wire.units import ms_to_iso, to_iso

if TYPE_CHECKING:
    from datetime import datetime

    from projecthub.hub.clock import Clock
    from projecthub.hub.licenses import Licenses
    from projecthub.hub.principals import Principal
    from projecthub.hub.projects import Projects
    from projecthub.store import Store, Transaction
    from projecthub.store.records import Selection

HARD_LIMIT: Final = 100_000
"""Rows that any query gives at most."""

Kind = Literal["text", "time", "bool", "number", "object"]
"""What a condition's value must be. An object can be compared as a whole, and in tables of one row only."""
Row = Mapping[str, Any]
Texts = Callable[[Sequence[Row]], Iterable[str]]
"""Makes the JSON of the wire's value of each of some rows as `Projects.pages` has them."""
Shape = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tools:
    """What rows are changed with."""

    store: Store
    clock: Clock
    projects: Projects
    licenses: Licenses


@dataclass(frozen=True, slots=True, kw_only=True)
class Edit:
    """A change of one field under way.

    Attributes:
        tools: See `Tools`.
        tx: The transaction that changes the row.
        caller: Who changes it, and may.
        field: The field's name.
        row: What is there now, as a record of the store; None: a row that is new or is not looked at.
    """

    tools: Tools
    tx: Transaction
    caller: Principal
    field: str
    row: Any = None


Write = Callable[[Edit, Any], Awaitable[Mapping[str, Any]]]
"""The rule of a field: from the value given to new values of columns; or a refusal."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """One field of a table.

    Attributes:
        kind: What it holds.
        read: Makes the wire's value of a row of the store, None is null; None: the field cannot be read.
        columns: What has to be selected to read it; none: it never has a value here.
        compare: The column that conditions and orders use; None: neither is possible.
        write: Its rule in set queries; None: it cannot be set.
        texts: Tells of many rows what ``read`` tells of one; None: they are read one by one.
    """

    kind: Kind
    read: Callable[[Row], Any] | None = None
    columns: tuple[str, ...] = ()
    compare: str | None = None
    write: Write | None = None
    texts: Texts | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """A field whose value, given as it is, says which rows are meant, instead of being one condition of many.

    Attributes:
        field: The field's name.
        check: Makes the store's value of what was given; refuses what is none.
        required: Whether a query must give it.
    """

    field: str
    check: Callable[[object], str]
    required: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A get query on its way to the store.

    Attributes:
        caller: Who asks.
        now: When.
        scope: The value of the table's `Scope`; None: not given.
        selection: Columns, conditions, order and limit.
    """

    caller: Principal
    now: datetime
    scope: str | None
    selection: Selection


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """One table: what may be read of it and by whom, and what may be set.

    Attributes:
        name: Its name on the wire.
        fields: Its fields, the key first.
        rows: Gives those rows that the caller may see, and no other, as the selection wants them; None: no get queries.
        scope: See `Scope`.
        one_row: Whether it has but one row for everybody who asks.
        order_by: Fields' columns, with whether descending, for queries without an order.
        limit: Rows, for queries without a limit.
        admins_only: Whether it is for site admins alone.
        pages: Gives the same rows as ``rows`` where no scope is given, some at a time and as `Field.texts` takes them;
            None: answers are never so long that it matters.
        keys: Fields that a set or delete must give: they name the row.
        change: Carries out a set query: all that is given, or a refusal and nothing; None: no set queries. The keys are
            given, and all other fields can be set, when it is called.
        delete: Deletes the row that the keys name; None: rows cannot be deleted.
    """

    name: str
    fields: Mapping[str, Field]
    rows: Callable[[Transaction, Asked], Awaitable[Sequence[Row]]] | None
    scope: Scope | None = None
    one_row: bool = False
    order_by: tuple[tuple[str, bool], ...] = ()
    limit: int = HARD_LIMIT
    admins_only: bool = False
    pages: Callable[[Transaction, Asked], AsyncGenerator[Sequence[Row]]] | None = None
    keys: tuple[str, ...] = ()
    change: Callable[[Change], Awaitable[None]] | None = None
    delete: Callable[[Change], Awaitable[None]] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A set or delete query.

    Attributes:
        table: Of which table.
        tools: What it is carried out with.
        caller: Who asks.
        shape: The fields given: the table's keys, and others that can be set.
    """

    table: Table
    tools: Tools
    caller: Principal
    shape: Shape


# -- fields ----------------------------------------------------------------------------------------


def plain(column: str, kind: Kind = "text", *, default: Any = None, write: Write | None = None) -> Field:
    """A field that is a column; ``default`` is read where that is null."""

    def read(row: Row) -> Any:
        value = row[column]
        return default if value is None else value

    def texts(rows: Sequence[Row]) -> Iterable[str]:
        of_null, of_value = _json(default), encode_basestring if kind == "text" else _json
        return [of_null if (value := row[column]) is None else of_value(value) for row in rows]

    return Field(kind=kind, read=read, columns=(column,), compare=column, write=write, texts=texts)


def moment(column: str, *, write: Write | None = None) -> Field:
    """A time."""

    def read(row: Row) -> str | None:
        value = row[column]
        return None if value is None else to_iso(value)

    def texts(rows: Sequence[Row]) -> Iterable[str]:
        return ["null" if (ms := row[column]) is None else f'"{ms_to_iso(ms)}"' for row in rows]

    return Field(kind="time", read=read, columns=(column,), compare=column, write=write, texts=texts)


def mapping_of(column: str, default: Mapping[str, Any] | None = None, *, write: Write | None = None) -> Field:
    """An object; what it lacks is filled in from ``default``."""

    def read(row: Row) -> Any:
        value = row[column]
        return value if default is None else {**default, **(value or {})}

    def texts(rows: Sequence[Row]) -> Iterable[str]:
        return ["null" if (value := read(row)) is None else _json(value) for row in rows]

    return Field(kind="object", read=read, columns=(column,), write=write, texts=texts)


def made_of(*columns: str, read: Callable[[Row], Any], texts: Texts | None = None) -> Field:
    """An object that is made of columns as it is read."""
    return Field(kind="object", read=read, columns=columns, texts=texts)


def absent() -> Field:
    """A field that scripts may ask for, and that is always null here."""
    return Field(kind="object", read=lambda row: None, texts=lambda rows: ["null"] * len(rows))


def _json(value: Any) -> str:
    return to_json(value).decode()


def only_set(write: Write) -> Field:
    """A field that is set and never read in this table."""
    return Field(kind="object", write=write)


# -- rules of fields -------------------------------------------------------------------------------


def a_text(longest: int) -> Write:
    """Any text of at most so many characters."""

    async def write(edit: Edit, value: Any) -> Mapping[str, Any]:
        return {edit.field: text(edit.field, value, longest=longest)}

    return write


def a_flag() -> Write:
    """True or false."""

    async def write(edit: Edit, value: Any) -> Mapping[str, Any]:
        return {edit.field: boolean(edit.field, value)}

    return write


def ignored() -> Write:
    """What scripts send along, and the hub knows by itself."""

    async def write(edit: Edit, value: Any) -> Mapping[str, Any]:
        return {}

    return write


def small(field: str, value: Any, *, most: int = 10_000) -> Any:
    """A JSON value of at most so many characters."""
    if len(json.dumps(value)) > most:
        raise refused(field, f"the value has more than {most} characters")
    return value


async def new_values(change: Change, tx: Transaction, row: Any = None) -> dict[str, Any]:
    """New values of columns, by the rules of the fields that a set query gives beside the keys.

    Args:
        change: The query.
        tx: The transaction that changes the row.
        row: What the rules are told of it.

    Raises:
        QueryRefused: A field cannot be set to that.
    """
    changes: dict[str, Any] = {}
    for name, value in change.shape.items():
        rule = change.table.fields[name].write
        if rule is not None and name not in change.table.keys:
            edit = Edit(tools=change.tools, tx=tx, caller=change.caller, field=name, row=row)
            changes |= await rule(edit, value)
    return changes


# -- who and which ---------------------------------------------------------------------------------


def a_project_id(value: object) -> ProjectId:
    """A project's id, from outside.

    Raises:
        QueryRefused: It is none.

    Source: Wire contract 3.5.
    """
    if not is_uuid(value):
        raise QueryRefused(f"invalid project_id -- {_shown(value)}")
    return ProjectId(value.lower())


def an_account_id(value: object) -> AccountId:
    """An account's id, from outside.

    Raises:
        QueryRefused: It is none.
    """
    if not is_uuid(value):
        raise QueryRefused(f"invalid account_id -- {_shown(value)}")
    return AccountId(value.lower())


def _shown(value: object) -> str:
    return value[:100] if isinstance(value, str) else json.dumps(value)[:100]
