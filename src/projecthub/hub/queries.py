"""User queries (`db.userQuery`): read and change rows by showing their shape.

A query names one table and shows an object; a null in it asks for that field, any other value is a condition, and an
object without a null is a change. What tables there are, and what may be done with them: `hub.tables`.

Source: Wire contract 3.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from projecthub.errors import InvalidArgument, QueryRefused
from projecthub.hub.permissions import within_scopes
from projecthub.hub.query_answers import in_pages, many_rows, one_row, pages_of
from projecthub.hub.query_conditions import selection_of
from projecthub.hub.query_forms import MAX_QUERIES, Options, is_change, parse_options, parse_query
from projecthub.hub.tables import TABLES
from projecthub.hub.tables.declaring import Asked, Change, Table, Tools
from projecthub.wire.methods import Ability
from projecthub.wire.units import to_iso

if TYPE_CHECKING:
    from projecthub.hub.principals import Principal


class Queries:
    """Answers user queries."""

    def __init__(self, tools: Tools) -> None:
        """Make the service; ``tools`` are what rows are read and changed with."""
        self._tools = tools

    async def run(self, caller: Principal, query: Any, options: Any) -> bytes:
        """The JSON of the answer to one query, or of those to a list of them in turn; the first error ends the list.

        Raises:
            QueryRefused: The query breaks a rule of its table.
            PermissionDenied: It changes something, and the caller's key has not the scope for that.
        """
        if not isinstance(query, list):
            return await self._run_one(caller, query, options)
        if len(query) > MAX_QUERIES:
            raise QueryRefused(f"FATAL: {len(query)} queries in one call; give at most {MAX_QUERIES}")
        return b"[%s]" % b",".join([await self._run_one(caller, one, options) for one in query])

    async def _run_one(self, caller: Principal, query: Any, options: Any) -> bytes:
        parsed = parse_options(options)
        name, shape, many = parse_query(query)
        if parsed.account_id is not None:
            if not caller.is_admin:
                raise QueryRefused("user must be admin to sudo")
            caller = replace(caller, account_id=parsed.account_id, is_admin=False)
        shape = self._substituted(shape, caller)
        try:
            if is_change(shape, parsed):
                within_scopes(caller, Ability.MANAGE, f"to change {name}")
                await self._change(caller, name, shape, parsed)
                return b"{}"
            return await self._get(caller, name, shape, parsed, many=many)
        except InvalidArgument as error:  # what only the store can tell, such as a text that no database holds
            raise QueryRefused(f"FATAL: {error.message}") from error

    def _substituted(self, value: Any, caller: Principal) -> Any:
        """Put in the values of placeholders."""
        if isinstance(value, dict):
            return {self._substituted(k, caller): self._substituted(v, caller) for k, v in value.items()}
        if isinstance(value, list):
            return [self._substituted(v, caller) for v in value]
        if value == "{account_id}":
            return caller.account_id
        if value == "{project_id}" and caller.project_id is not None:
            return caller.project_id
        if value == "{now}":
            return to_iso(self._tools.clock.now())
        return value

    # -- get ---------------------------------------------------------------------------------------

    async def _get(self, caller: Principal, name: str, shape: dict[str, Any], options: Options, *, many: bool) -> bytes:
        table = TABLES.get(name)
        if table is None or table.rows is None:
            raise QueryRefused(f"FATAL: get queries not allowed for table '{name[:100]}'")
        _check_admin(table, caller)
        for field in shape:
            if field not in table.fields or table.fields[field].read is None:
                raise QueryRefused(f"FATAL: user get query not allowed for {name}.{field[:100]}")
        scope, wanted = _scope_of(table, shape)
        now = self._tools.clock.now()
        selection = selection_of(table, wanted, options, now)
        asked = Asked(caller=caller, now=now, scope=scope, selection=selection)
        async with self._tools.store.read() as tx:
            if many and (pages := pages_of(table, wanted, tx, asked)) is not None:
                return await in_pages(table, pages, wanted, told=not options.only_changes)
            rows = await table.rows(tx, asked)
        if options.only_changes:
            rows = []
        return await (many_rows if many else one_row)(table, rows, wanted, scope)

    # -- set and delete ----------------------------------------------------------------------------

    async def _change(self, caller: Principal, name: str, shape: dict[str, Any], options: Options) -> None:
        table = TABLES.get(name)
        if options.delete:
            if table is None or table.delete is None:
                raise QueryRefused(f"FATAL: delete from {name[:100]} not allowed")  # noqa: S608
        elif table is None:
            raise QueryRefused(f"FATAL: table '{name[:100]}' does not exist")
        carry_out = table.delete if options.delete else table.change
        if carry_out is None:
            raise QueryRefused(f"FATAL: user set queries not allowed for table '{name}'")
        _check_admin(table, caller)
        given = {field: value for field, value in shape.items() if value is not None}
        for field in given:
            if field not in table.keys and (field not in table.fields or table.fields[field].write is None):
                raise QueryRefused(f"FATAL: changing {name}.{field[:100]} not allowed")
        for key in table.keys:
            if key not in given:
                raise QueryRefused(f"FATAL: must specify {name}.{key}")
        await carry_out(Change(table=table, tools=self._tools, caller=caller, shape=given))


def _check_admin(table: Table, caller: Principal) -> None:
    if table.admins_only and not caller.is_admin:
        raise QueryRefused("FATAL: user must be an admin")


def _scope_of(table: Table, shape: dict[str, Any]) -> tuple[str | None, dict[str, Any]]:
    """The value that says which rows are meant, if one is given, and the shape without that as a condition."""
    if table.scope is None:
        return None, shape
    name = table.scope.field
    given = shape.get(name)
    if given is not None and not isinstance(given, dict):
        return table.scope.check(given), {**shape, name: None}
    if table.scope.required:
        raise QueryRefused(f"FATAL: must specify {table.name}.{name}")
    return None, shape
