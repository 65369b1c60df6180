"""Projects, and the choice of them.

Source: Wire contract 3.3 to 3.8.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from contextlib import aclosing
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Final, Literal

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Label,
    Select,
    Text,
    Update,
    bindparam,
    case,
    cast,
    func,
    select,
    text,
    true,
    type_coerce,
    update,
)
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.sql.dml import ReturningUpdate

from projecthub.errors import Conflict
from projecthub.store.expressions import Following, JsonList, upserting
from projecthub.store.records import Access, Project, Role, Selection, State
from projecthub.store.selections import checked_changes, checked_limit, clauses_of, column_of, in_chunks, order_of
from projecthub.store.tables import Moment, accounts, counters, memberships, projects
from projecthub.wire.ids import AccountId, ProjectId
from projecthub.wire.units import from_ms, to_ms

COMPUTED: Final = ("users", "last_active")
"""Columns of a selection that are made of the memberships."""
_AT_ONCE: Final = 500
"""Rows that become objects in one go: the event loop waits for that."""

_FIXED: Final = ("project_id", "unix_slot", "created_at")
_FIELDS: Final = tuple(Project.__dataclass_fields__)
_RECORD: Final = [projects.c[name] for name in _FIELDS]

_GET: Final = select(*_RECORD).where(projects.c.project_id == bindparam("of_project"))
_WITH_ROLE: Final = select(*_RECORD, memberships.c.role).outerjoin_from(
    projects,
    memberships,
    (memberships.c.project_id == projects.c.project_id) & (memberships.c.account_id == bindparam("of_account")),
)
_ACCESS: Final = _WITH_ROLE.where(projects.c.project_id == bindparam("of_project"))
_ACCESSES: Final = _WITH_ROLE.where(projects.c.project_id.in_(bindparam("ids", expanding=True)))
_IN_STATES: Final = select(*_RECORD).where(projects.c.state.in_(bindparam("states", expanding=True)))
# The condition of the index, word for word.
_WISHED_RUNNING: Final = select(*_RECORD).where(projects.c.desired == text("'running'"))
_EXPIRED: Final = select(projects.c.project_id).where(
    projects.c.ephemeral_ms.is_not(None),  # the condition of the index
    # A sum could be too large for a number of the database.
    projects.c.ephemeral_ms <= bindparam("now_ms", type_=BigInteger) - type_coerce(projects.c.created_at, BigInteger),
    projects.c.deleted.is_not(true()),
)
_COUNT: Final = select(func.count()).select_from(projects)
_COUNT_BY_STATE: Final = select(projects.c.state, func.count()).group_by(projects.c.state)
_NEXT_SLOT: Final = (
    update(counters)
    .where(counters.c.name == "unix_slot")
    .values(value=counters.c.value + 1)
    .returning(counters.c.value)
)
_INSERT: Final = (
    upserting(projects).on_conflict_do_nothing(index_elements=["project_id"]).returning(projects.c.project_id)
)
_INSERT_OWNER: Final = memberships.insert()
_TOUCH: Final = (
    update(projects).where(projects.c.project_id == bindparam("of_project")).values(last_edited_at=bindparam("at"))
)
_MARK_ACTIVE: Final = (
    update(projects)
    .where(projects.c.project_id.in_(bindparam("ids", expanding=True)))
    .values(active_at=bindparam("at"))
)
_TOUCH_MEMBER: Final = (
    update(memberships)
    .where(memberships.c.project_id == bindparam("of_project"), memberships.c.account_id == bindparam("of_account"))
    .values(last_active_at=bindparam("at"))
)
_TOUCH_ACCOUNT: Final = (
    update(accounts).where(accounts.c.account_id == bindparam("of_account")).values(last_active_at=bindparam("at"))
)
_EXTRA: Final = "!"
"""Under this name stand, in the JSON of somebody who is more than a member, the role and what else is kept."""
_IS_PLAIN: Final = memberships.c.hide.is_(None) & memberships.c.upgrades.is_(None) & memberships.c.ssh_keys.is_(None)
_PLAIN: Final = memberships.c.account_id + '":{"group":"' + memberships.c.role
_WITH_EXTRA: Final = (
    memberships.c.account_id
    + f'":{{"{_EXTRA}":'
    + JsonList(memberships.c.role, memberships.c.hide, memberships.c.upgrades, memberships.c.ssh_keys)
    + ',"group":"'
    + memberships.c.role
)


def _joined(one: ColumnElement[str], separator: str, name: str) -> Label[str]:
    """Texts of a project's people, in their order; null if there are none.

    Who came first is first; of those who came in the same millisecond, owners.
    """
    people = memberships.c
    mine = (
        select(one.label("one"))
        .where(people.project_id == projects.c.project_id)
        .order_by(people.added_at, people.role != Role.OWNER, people.account_id)
        .correlate(projects)
        .subquery("people")
    )
    # An ORDER BY within the aggregate is the standard's way, which SQLite knows since 3.44 only.
    return select(func.aggregate_strings(mine.c.one, separator)).scalar_subquery().label(name)


_USERS: Final = _joined(case((_IS_PLAIN, _PLAIN), else_=_WITH_EXTRA), '"},"', "users")
"""The inside of a JSON object: of texts that the database joins, reading and writing each person costs most."""
_LAST_ACTIVE: Final = _joined(
    memberships.c.account_id + '":' + cast(type_coerce(memberships.c.last_active_at, BigInteger), Text),
    ',"',
    "last_active",
)


class Projects:
    """The projects, within a transaction."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def create(
        self,
        *,
        project_id: ProjectId,
        owner: AccountId | None,
        title: str,
        description: str,
        created_at: datetime,
        compute_image: str | None,
        ephemeral_ms: int | None,
        site_license: Mapping[str, Any] | None,
        settings: Mapping[str, Any] | None,
        env: Mapping[str, str] | None = None,
        unix_slot: int | None = None,
        desired: Literal["running", "stopped"] = "stopped",
    ) -> int:
        """Add a project, and its owner if it has one. Returns its ``unix_slot``.

        The values are those of the columns. ``created_at`` is also when it was last edited and its owner joined;
        ``unix_slot`` comes from `reserve_slot`, or is a new one.

        Raises:
            Conflict: A project has that id already.
        """
        slot = await self.reserve_slot() if unix_slot is None else unix_slot
        row = {
            "project_id": project_id,
            "unix_slot": slot,
            "title": title,
            "description": description,
            "desired": desired,
            "state": State.STARTING if desired == "running" else State.STOPPED,
            "state_at": created_at,
            "created_at": created_at,
            "last_edited_at": created_at,
            "compute_image": compute_image,
            "ephemeral_ms": ephemeral_ms,
            "site_license": site_license,
            "settings": settings,
            "env": env,
        }
        if (await self._connection.execute(_INSERT, row)).first() is None:
            raise Conflict(f"Project '{project_id}' exists already; choose another id", project_id=project_id)
        if owner is not None:
            await self._connection.execute(
                _INSERT_OWNER,
                {"project_id": project_id, "account_id": owner, "role": Role.OWNER, "added_at": created_at},
            )
        return slot

    async def reserve_slot(self) -> int:
        """A slot that no project has or had: from 1 on. One that is not used in the end is no loss."""
        return int((await self._connection.execute(_NEXT_SLOT)).scalar_one())

    async def get(self, project_id: ProjectId, *, lock: bool = False) -> Project | None:
        """A project by its id.

        Args:
            project_id: Which project.
            lock: Whether others who want to change it wait until this transaction ends: for a value that is made of
                the one that was read. Rows that refer to it may come meanwhile, so that whoever has added one may lock
                it afterwards.
        """
        statement = _GET.with_for_update(key_share=True) if lock else _GET
        row = (await self._connection.execute(statement, {"of_project": project_id})).first()
        return None if row is None else _project(row)

    async def access(self, project_id: ProjectId, account_id: AccountId, *, lock: bool = False) -> Access | None:
        """A project and what an account is to it; None if there is no such project. ``lock`` as in `get`."""
        statement = _ACCESS.with_for_update(of=projects, key_share=True) if lock else _ACCESS
        row = (await self._connection.execute(statement, {"of_project": project_id, "of_account": account_id})).first()
        return None if row is None else Access(project=_project(row), role=None if row.role is None else Role(row.role))

    async def accesses(self, project_ids: Sequence[ProjectId], account_id: AccountId) -> dict[ProjectId, Access]:
        """Projects and what an account is to them, by their ids; those that are not there are left out."""
        found: dict[ProjectId, Access] = {}
        for chunk in in_chunks(project_ids):
            rows = await self._connection.execute(_ACCESSES, {"ids": chunk, "of_account": account_id})
            for row in rows:
                role = None if row.role is None else Role(row.role)
                found[ProjectId(row.project_id)] = Access(project=_project(row), role=role)
        return found

    async def select(
        self,
        selection: Selection,
        *,
        member: AccountId | None,
        project_id: ProjectId | None = None,
        edited_after: datetime | None = None,
    ) -> list[dict[str, Any]]:
        """Rows of projects, each from column name to value: times as datetimes, JSON parsed.

        Beside the table's own columns there are ``users``, ``{account_id: {"group": role, "hide", "upgrades",
        "ssh_keys"}}`` in order of joining and without nulls, and ``last_active``, ``{account_id: datetime}``.

        Args:
            selection: Columns, conditions, order and limit.
            member: Only projects that this account is on, in whatever role.
            project_id: Only this project.
            edited_after: Only projects edited later than this.

        Raises:
            InvalidArgument: See `selections`; the computed columns have neither conditions nor an order.
        """
        names = tuple(dict.fromkeys(selection.columns))
        statement = _selecting(names, selection, member, raw=False)
        if project_id is not None:
            statement = statement.where(projects.c.project_id == project_id)
        if edited_after is not None:
            statement = statement.where(projects.c.last_edited_at > edited_after)
        return [row async for rows in self._parts(statement, names, raw=False) for row in rows]

    async def newest(
        self, columns: Sequence[str], *, limit: int, after: tuple[datetime, ProjectId] | None = None
    ) -> list[dict[str, Any]]:
        """Rows of whosesoever projects, as `select` has them; those edited last first, and of one time by their ids.

        Args:
            columns: Names of columns.
            limit: Rows at most.
            after: When the last one of the page before was edited, and its id.
        """
        names = tuple(dict.fromkeys(columns))
        selection = Selection(columns=names, order_by=(("last_edited_at", True),), limit=limit)
        at, project_id = after or (datetime.max.replace(tzinfo=UTC), "")
        edited_at = projects.c.last_edited_at
        statement = _selecting(names, selection, None, raw=False).where(
            edited_at <= at,  # what the index is looked up by
            (edited_at < at) | (projects.c.project_id > project_id),
        )
        return [row async for rows in self._parts(statement, names, raw=False) for row in rows]

    async def pages(
        self, selection: Selection, *, member: AccountId, edited_after: datetime | None = None
    ) -> AsyncGenerator[list[dict[str, Any]]]:
        """As `select`, for answers of thousands of rows: some at a time, and as the database has them.

        Times are whole milliseconds, and `users` are JSON where nobody is more than a member.

        Args:
            selection: Columns, conditions, order and limit.
            member: Only projects that this account is on, in whatever role.
            edited_after: Only projects edited later than this.

        Raises:
            InvalidArgument: As `select`.
        """
        names = tuple(dict.fromkeys(selection.columns))
        statement = _selecting(names, selection, member, raw=True)
        if edited_after is not None:
            statement = statement.where(projects.c.last_edited_at > edited_after)
        async with aclosing(self._parts(statement, names, raw=True)) as parts:
            async for rows in parts:
                yield rows

    async def _parts(
        self, statement: Select[Any], names: Sequence[str], *, raw: bool
    ) -> AsyncGenerator[list[dict[str, Any]]]:
        for rows in (await self._connection.execute(statement)).partitions(_AT_ONCE):
            part = [dict(zip(names, row, strict=True)) for row in rows]
            _complete(part, names, raw=raw)
            yield part
            if len(part) == _AT_ONCE:
                await asyncio.sleep(0)

    async def update(
        self,
        project_id: ProjectId,
        changes: Mapping[str, Any],
        *,
        epoch: int | None = None,
        state: Sequence[State] | None = None,
    ) -> bool:
        """Change columns of a project, by their names.

        Args:
            project_id: Which project.
            changes: New values; None is the database's null.
            epoch: Only if the project's epoch still is this one.
            state: Only if its state still is among these.

        Returns:
            Whether there was such a row, and it is changed.

        Raises:
            InvalidArgument: A column is unknown or never changes, or there are no changes.
        """
        values = _changed(project_id, changes)
        if epoch is not None:
            values["of_epoch"] = epoch
        if state is not None:
            values["of_states"] = list(state)
        statement = _update_of(tuple(sorted(changes)), of_epoch=epoch is not None, of_states=state is not None)
        return (await self._connection.execute(statement, values)).rowcount > 0

    async def updated(self, project_id: ProjectId, changes: Mapping[str, Any], *, epoch: int) -> Project | None:
        """The same as `update`, with the project as it is then; None if it was not changed."""
        values = _changed(project_id, changes) | {"of_epoch": epoch}
        statement = _update_of(tuple(sorted(changes)), of_epoch=True, returning=True)
        row = (await self._connection.execute(statement, values)).first()
        return None if row is None else _project(row)

    async def touch(
        self, project_id: ProjectId, account_id: AccountId | None, at: datetime, *, only_viewed: bool = False
    ) -> None:
        """Note that a project was used, by an account if one is given; or that an account has only looked at it."""
        values = {"of_project": project_id, "of_account": account_id, "at": at}
        if not only_viewed:
            await self._connection.execute(_TOUCH, values)
        if account_id is not None:
            await self._connection.execute(_TOUCH_MEMBER, values)
            await self._connection.execute(_TOUCH_ACCOUNT, values)

    async def mark_active(self, project_ids: Sequence[ProjectId], *, at: datetime) -> None:
        """Note that processes of projects showed that somebody uses them."""
        for chunk in in_chunks(project_ids):
            await self._connection.execute(_MARK_ACTIVE, {"ids": chunk, "at": at})

    async def in_states(self, states: Sequence[State]) -> list[Project]:
        """The projects whose observed state is one of these, in no given order."""
        return [_project(row) for row in await self._connection.execute(_IN_STATES, {"states": list(states)})]

    async def wished_running(self) -> list[Project]:
        """The projects that are to run, whatever they do, in no given order."""
        return [_project(row) for row in await self._connection.execute(_WISHED_RUNNING)]

    async def expired(self, now: datetime) -> list[ProjectId]:
        """The projects that are not deleted and whose lifetime is over."""
        return [ProjectId(row[0]) for row in await self._connection.execute(_EXPIRED, {"now_ms": to_ms(now)})]

    async def count_by_state(self) -> dict[State, int]:
        """How many projects are in each state, deleted ones included; read from an index alone."""
        return {State(row[0]): int(row[1]) for row in await self._connection.execute(_COUNT_BY_STATE)}

    async def count(self) -> int:
        """How many projects there are, deleted ones included."""
        return int((await self._connection.execute(_COUNT)).scalar_one())


@lru_cache(maxsize=256)
def _update_of(
    names: tuple[str, ...], *, of_epoch: bool, of_states: bool = False, returning: bool = False
) -> Update | ReturningUpdate[Any]:
    """The statement that changes some columns. Each is made once: to make one takes longer than to carry it out."""
    statement = update(projects).where(projects.c.project_id == bindparam("of_project"))
    if of_epoch:
        statement = statement.where(projects.c.epoch == bindparam("of_epoch"))
    if of_states:
        statement = statement.where(projects.c.state.in_(bindparam("of_states", expanding=True)))
    statement = statement.values({name: bindparam(f"new_{name}") for name in names})
    return statement.returning(*_RECORD) if returning else statement


def _changed(project_id: ProjectId, changes: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters of `_update_of`."""
    checked = checked_changes(projects, changes, fixed=_FIXED)
    return {"of_project": project_id, **{f"new_{name}": value for name, value in checked.items()}}


def _project(row: Sequence[Any]) -> Project:
    values = dict(zip(_FIELDS, row, strict=False))  # a role may follow
    values["state"] = State(values["state"])
    return Project(**values)


def _selecting(names: Sequence[str], selection: Selection, member: AccountId | None, *, raw: bool) -> Select[Any]:
    """A query for rows, of an account's projects or of any."""
    statement = select(*(_column(name, raw=raw) for name in names))
    if member is not None:
        mine = projects.c.project_id == memberships.c.project_id
        statement = statement.select_from(Following(memberships, projects, mine))
        statement = statement.where(memberships.c.account_id == member)
    else:
        statement = statement.select_from(projects)
    return (
        statement.where(true(), *clauses_of(projects, selection.conditions))
        .order_by(*order_of(projects, selection.order_by))
        .limit(checked_limit(selection.limit))
    )


def _column(name: str, *, raw: bool) -> ColumnElement[Any]:
    """What is selected for a column of a selection."""
    if name in COMPUTED:
        return _USERS if name == "users" else _LAST_ACTIVE
    column = column_of(projects, name)
    return type_coerce(column, BigInteger) if raw and isinstance(column.type, Moment) else column


def _complete(rows: Sequence[dict[str, Any]], names: Sequence[str], *, raw: bool) -> None:
    """Make of the texts that stand for computed columns what they tell."""
    for name in COMPUTED:
        if name in names:
            end = "}" if name == "last_active" else '"}}'
            for row in rows:
                row[name] = "{}" if row[name] is None else f'{{"{row[name]}{end}'
    if "last_active" in names:
        for row, times in _parsed(rows, "last_active"):
            row["last_active"] = {account_id: from_ms(ms) for account_id, ms in times.items()}
    if "users" in names:
        for row, users in _parsed([row for row in rows if not raw or _EXTRA in row["users"]], "users"):
            row["users"] = {account_id: _user(user) for account_id, user in users.items()}


def _parsed(rows: Sequence[dict[str, Any]], name: str) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """Rows, each with what the JSON of a column tells."""
    # One parse of all: for many short texts, calling the parser is most of the cost.
    return zip(rows, json.loads(f"[{','.join([row[name] for row in rows])}]"), strict=True)


def _user(user: dict[str, Any]) -> dict[str, Any]:
    if _EXTRA not in user:
        return user
    role, hide, upgrades, ssh_keys = user[_EXTRA]
    told: dict[str, Any] = {"group": role}
    if hide is not None:
        told["hide"] = bool(hide)
    if upgrades is not None:
        told["upgrades"] = upgrades
    if ssh_keys is not None:
        told["ssh_keys"] = ssh_keys
    return told
