"""User queries (`db.userQuery`): read and change rows by showing their shape.

A query names one table and shows an object; a null in it asks for that field, any other value is a condition, and an
object without a null is a change.

Source: Wire contract 3.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from projecthub.errors import InvalidArgument, QueryRefused
from projecthub.hub import tables
from projecthub.hub.account_fields import AccountFields
from projecthub.hub.permissions import project_id_of, within_scopes
from projecthub.hub.project_fields import ProjectFields
from projecthub.hub.share_fields import ShareFields
from projecthub.hub.times import parse_time
from projecthub.store.records import Condition, Selection
from projecthub.wire.ids import AccountId, ProjectId, is_uuid
from projecthub.wire.methods import Ability
from projecthub.wire.units import to_iso

if TYPE_CHECKING:
    from collections.abc import Mapping

    from projecthub.hub.clock import Clock
    from projecthub.hub.principals import Principal
    from projecthub.store import Store, Transaction

_OPERATORS: Final = frozenset(
    {"=", "==", "!=", "<>", "<", "<=", ">", ">=", "IS", "IS NOT", "LIKE", "NOT LIKE", "ILIKE", "NOT ILIKE", "ANY",
     "MINLEN", "MAXLEN"}
)  # fmt: skip
_ORDER_BY: Final = re.compile(r'[a-zA-Z0-9_.,\s"-]*')
_SECONDS: Final = {"second": 1, "minute": 60, "hour": 3600, "day": 86_400, "month": 2_629_746, "year": 31_556_952}
_MAX_QUERIES: Final = 100


@dataclass(frozen=True, slots=True)
class _Options:
    limit: int | None = None
    order_by: tuple[str, ...] = ()
    set: bool | None = None
    delete: bool = False
    only_changes: bool = False
    account_id: AccountId | None = None


class Queries:
    """Answers user queries."""

    def __init__(
        self, store: Store, clock: Clock, projects: ProjectFields, accounts: AccountFields, shares: ShareFields
    ) -> None:
        """Make the service; the last three change rows."""
        self._store = store
        self._clock = clock
        self._projects = projects
        self._accounts = accounts
        self._shares = shares

    async def run(self, caller: Principal, query: Any, options: Any) -> dict[str, Any] | list[Any]:
        """Answer one query, or a list of them in turn; the first error ends the list.

        Raises:
            QueryRefused: The query breaks a rule of its table.
        """
        if isinstance(query, list):
            if len(query) > _MAX_QUERIES:
                raise QueryRefused(f"FATAL: {len(query)} queries in one call; give at most {_MAX_QUERIES}")
            return [await self._run_one(caller, one, options) for one in query]
        return await self._run_one(caller, query, options)

    async def _run_one(self, caller: Principal, query: Any, options: Any) -> dict[str, Any]:
        parsed = _parse_options(options)
        table, shape, many = _parse_query(query)
        if parsed.account_id is not None:
            if not caller.is_admin:
                raise QueryRefused("user must be admin to sudo")
            caller = replace(caller, account_id=parsed.account_id, is_admin=False)
        shape = self._substituted(shape, caller)
        if parsed.delete:
            raise QueryRefused(f"FATAL: delete from {table[:100]} not allowed")  # noqa: S608
        is_set = parsed.set if parsed.set is not None else not _has_null(shape)
        if is_set:
            within_scopes(caller, Ability.MANAGE, f"to change {table}")
            await self._set(caller, table, _without_nulls(shape) if parsed.set else shape)
            return {}
        rows = await self._get(caller, table, shape, parsed)
        if parsed.only_changes:
            rows = []
        if many:
            return {table: [{name: value for name, value in row.items() if value is not None} for row in rows]}
        return {table: rows[0]} if rows else {}

    def _substituted(self, value: Any, caller: Principal) -> Any:
        """Put in the values of placeholders."""
        if isinstance(value, dict):
            return {self._substituted(k, caller): self._substituted(v, caller) for k, v in value.items()}
        if isinstance(value, list):
            return [self._substituted(v, caller) for v in value]
        if value == "{account_id}":
            return caller.account_id
        if value == "{now}":
            return to_iso(self._clock.now())
        return value

    # -- get ---------------------------------------------------------------------------------------

    async def _get(
        self, caller: Principal, table: str, shape: dict[str, Any], options: _Options
    ) -> list[dict[str, Any]]:
        if table in ("projects", "projects_all"):
            return await self._get_projects(caller, table, shape, options)
        if table == "accounts":
            return await self._get_account(caller, shape)
        if table == "public_paths":
            return await self._get_shares(caller, shape, options)
        if table in tables.LOG_LIMITS:
            return await self._get_log(caller, table, shape, options)
        raise QueryRefused(f"FATAL: get queries not allowed for table '{table[:100]}'")

    async def _get_projects(
        self, caller: Principal, table: str, shape: dict[str, Any], options: _Options
    ) -> list[dict[str, Any]]:
        fields = _readable(table, shape, tables.PROJECT_FIELDS)
        wanted = dict(shape)
        project_id: ProjectId | None = None
        if wanted.get("project_id") is not None and not isinstance(wanted["project_id"], dict):
            given = wanted.pop("project_id")
            if not is_uuid(given):
                raise QueryRefused(f"invalid project_id -- {str(given)[:100]}")
            project_id = ProjectId(given.lower())
        recent = table == "projects" and project_id is None
        default_limit = tables.PROJECTS_LIMIT if table == "projects" else tables.HARD_LIMIT
        selection = self._selection(table, fields, wanted, options, default_limit)
        if recent and not selection.order_by:
            selection = replace(selection, order_by=(("last_edited_at", True),))
        async with self._store.read() as tx:
            member: AccountId | None = caller.account_id
            if project_id is not None:
                access = await tx.projects.access(project_id, caller.account_id)
                if access is None or (access.role is None and not caller.is_admin):
                    raise QueryRefused(
                        "FATAL: you do not have read access to this project -- "
                        f"account_id={caller.account_id}, project_id_=undefined"
                    )
                member = None
            rows = await tx.projects.select(
                selection,
                member=member,
                project_id=project_id,
                edited_after=self._clock.now() - tables.PROJECTS_WINDOW if recent else None,
            )
        return _read_rows(rows, fields)

    async def _get_account(self, caller: Principal, shape: dict[str, Any]) -> list[dict[str, Any]]:
        for name in shape:
            if name not in tables.ACCOUNT_FIELDS:
                raise QueryRefused(f"FATAL: user get query not allowed for accounts.{name[:100]}")
        async with self._store.read() as tx:
            account = await tx.accounts.get(caller.account_id)
        if account is None:
            return []
        row = {name: tables.ACCOUNT_FIELDS[name](account) for name in shape}
        if any(wanted is not None and wanted != row[name] for name, wanted in shape.items()):
            return []
        return [row]

    async def _get_shares(self, caller: Principal, shape: dict[str, Any], options: _Options) -> list[dict[str, Any]]:
        fields = _readable("public_paths", shape, tables.SHARE_FIELDS)
        wanted = dict(shape)
        given = wanted.pop("project_id", None)
        if given is None:
            raise QueryRefused("FATAL: must specify public_paths.project_id")
        project_id = project_id_of(given, "invalid project_id -- {value}")
        selection = self._selection("public_paths", fields, wanted, options, tables.HARD_LIMIT)
        async with self._store.read() as tx:
            await _may_read(tx, caller, project_id)
            rows = await tx.shares.select(selection, project_id=project_id)
        return _read_rows(rows, fields)

    async def _get_log(
        self, caller: Principal, table: str, shape: dict[str, Any], options: _Options
    ) -> list[dict[str, Any]]:
        """The log of one project, or of all that the caller is on."""
        fields = _readable(table, shape, tables.LOG_FIELDS)
        wanted = dict(shape)
        project_id: ProjectId | None = None
        if wanted.get("project_id") is not None and not isinstance(wanted["project_id"], dict):
            project_id = project_id_of(wanted.pop("project_id"), "invalid project_id -- {value}")
        selection = self._selection(table, fields, wanted, options, tables.LOG_LIMITS[table])
        async with self._store.read() as tx:
            if project_id is not None:
                await _may_read(tx, caller, project_id)
            rows = await tx.log.select(
                selection,
                project_id=project_id,
                member=caller.account_id if project_id is None else None,
                after=self._clock.now() - tables.LOG_WINDOW if table == "project_log" else None,
            )
        return _read_rows(rows, fields)

    def _selection(
        self,
        table: str,
        fields: Mapping[str, tables.Field],
        wanted: dict[str, Any],
        options: _Options,
        default_limit: int,
    ) -> Selection:
        columns = dict.fromkeys(column for field in fields.values() for column in field.columns)
        for name, value in wanted.items():
            if value is not None and name not in fields:  # one that is read as absent
                raise QueryRefused(f"FATAL: {table}.{name} has no value here and cannot be compared; leave it out")
        conditions = [
            condition
            for name, value in wanted.items()
            if value is not None
            for condition in self._conditions(table, name, fields[name], value)
        ]
        limit = default_limit if options.limit is None else min(options.limit, tables.HARD_LIMIT)
        return Selection(
            columns=tuple(columns) or ("project_id",),
            conditions=tuple(conditions),
            order_by=tuple(_order(item, tables.FIELDS[table]) for item in options.order_by),
            limit=limit,
        )

    def _conditions(self, table: str, name: str, field: tables.Field, value: Any) -> list[Condition]:
        if field.compare is None:
            raise QueryRefused(
                f"FATAL: {table}.{name} is an object and cannot be compared; ask for it with null and choose"
            )
        if not isinstance(value, dict):
            return [Condition(field.compare, "=", self._operand(name, field, "=", value))]
        conditions = []
        for operator, operand in value.items():
            if operator not in _OPERATORS:
                raise QueryRefused(f"FATAL: unknown operator '{operator[:50]}' for {table}.{name}")
            conditions.append(Condition(field.compare, operator, self._operand(name, field, operator, operand)))
        return conditions

    def _operand(self, name: str, field: tables.Field, operator: str, value: Any) -> Any:
        """A condition's value as the store compares it."""
        if operator == "ANY" and isinstance(value, list):
            return [self._operand(name, field, "=", item) for item in value]
        if operator in ("IS", "IS NOT") and value is None:
            return None
        if operator in ("MINLEN", "MAXLEN"):
            if isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**31:
                return value
        elif field.kind == "time":
            return self._time_operand(name, value)
        elif (field.kind == "bool" and isinstance(value, bool)) or (field.kind == "text" and isinstance(value, str)):
            return value
        elif field.kind in ("number", "text") and isinstance(value, int | float) and not isinstance(value, bool):
            if field.kind == "text":
                return str(value)
            if abs(value) < 2**53:
                return value
        raise QueryRefused(
            f"FATAL: {name} is compared with {json.dumps(value)[:100]}; give a value of its kind ({field.kind})"
        )

    def _time_operand(self, name: str, value: Any) -> datetime:
        try:
            if isinstance(value, dict):
                seconds = _SECONDS[str(value.get("unit", "seconds")).removesuffix("s")] * float(value["relative_time"])
                return self._clock.now() + timedelta(seconds=seconds)
            at = parse_time(value, name)
        except (InvalidArgument, KeyError, TypeError, ValueError, OverflowError) as error:
            raise QueryRefused(f"FATAL: {name} is compared with {json.dumps(value)[:100]}, which is no time") from error
        if at is None:
            raise QueryRefused(f"FATAL: {name} is compared with null, which is no time")
        return at

    # -- set ---------------------------------------------------------------------------------------

    async def _set(self, caller: Principal, table: str, shape: dict[str, Any]) -> None:
        if table == "projects":
            await self._projects.set(caller, shape)
        elif table == "accounts":
            await self._accounts.set(caller, shape)
        elif table == "public_paths":
            await self._shares.set(caller, shape)
        elif table in tables.FIELDS:
            raise QueryRefused(f"FATAL: user set queries not allowed for table '{table}'")
        else:
            raise QueryRefused(f"FATAL: table '{table[:100]}' does not exist")


async def _may_read(tx: Transaction, caller: Principal, project_id: ProjectId) -> None:
    if await tx.collaborators.role(project_id, caller.account_id) is None and not caller.is_admin:
        raise QueryRefused(
            "FATAL: you do not have read access to this project -- "
            f"account_id={caller.account_id}, project_id_=undefined"
        )


# -- reading the query itself ----------------------------------------------------------------------


def _parse_query(query: Any) -> tuple[str, dict[str, Any], bool]:
    """The table, the shape, and whether many rows are asked for."""
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
    return table, shape, many


def _parse_options(options: Any) -> _Options:
    if options is None:
        return _Options()
    if not isinstance(options, list):
        text = json.dumps(options, separators=(",", ":"))[:200]
        raise QueryRefused(f"FATAL: options (={text}) must be an array")
    parsed = _Options()
    for option in options:
        if not isinstance(option, dict):
            raise QueryRefused(f'FATAL: option {json.dumps(option)[:100]} must be an object such as {{"limit": 10}}')
        for name, value in option.items():
            parsed = _with_option(parsed, name, value)
    return parsed


def _with_option(options: _Options, name: str, value: Any) -> _Options:
    match name:
        case "limit":
            if not isinstance(value, int) or isinstance(value, bool) or value < 0:
                raise QueryRefused(f"FATAL: limit is {json.dumps(value)[:100]}; give a whole number from 0")
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
                raise QueryRefused(f"option account_id is {json.dumps(value)[:100]}, which is no uuid")
            return replace(options, account_id=AccountId(value.lower()))
        case "heartbeat":
            return options
        case "slice":
            raise QueryRefused("slice not implemented")
        case _:
            raise QueryRefused(f"unknown option '{name[:100]}'")


def _order(item: str, fields: Mapping[str, tables.Field]) -> tuple[str, bool]:
    descending = item.startswith("-")
    name = item.removeprefix("-").strip()
    field = fields.get(name)
    if field is None or field.compare is None:
        raise QueryRefused(f"ERROR -- rows cannot be ordered by '{name[:100]}'; give a field that is no object")
    return field.compare, descending


def _readable(table: str, shape: dict[str, Any], fields: Mapping[str, tables.Field]) -> dict[str, tables.Field]:
    for name in shape:
        # A session's secret was readable upstream; here it is no field, and is answered as one that is null.
        if name not in fields and not (name == "secret_token" and table.startswith("projects")):
            raise QueryRefused(f"FATAL: user get query not allowed for {table}.{name[:100]}")
    return {name: fields[name] for name in shape if name in fields}


def _read_rows(rows: list[dict[str, Any]], fields: Mapping[str, tables.Field]) -> list[dict[str, Any]]:
    readers = [(name, field.read) for name, field in fields.items()]
    return [{name: read(row) for name, read in readers} for row in rows]


def _has_null(value: Any) -> bool:
    if isinstance(value, dict):
        return any(_has_null(item) for item in value.values())
    if isinstance(value, list):
        return any(_has_null(item) for item in value)
    return value is None


def _without_nulls(shape: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in shape.items() if value is not None}
