"""Copies that are planned, under way, or done, and what was copied to which place last."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta
from functools import cache
from typing import Any, Final

from sqlalchemy import Update, and_, bindparam, delete, exists, func, or_, select, text, update
from sqlalchemy.ext.asyncio import AsyncConnection

from projecthub.store.copy_records import CopyOperation, CopyState, CopyTarget, TargetState
from projecthub.store.expressions import upserting
from projecthub.store.selections import checked_changes, in_chunks
from projecthub.store.tables import copy_operations, copy_targets, handouts
from projecthub.wire.ids import AccountId, ProjectId

_operation: Final = copy_operations.c
_target: Final = copy_targets.c
_FIXED: Final = ("id", "account_id", "policy", "options", "created_at")
_CHUNK: Final = 200

_OPERATION: Final = [_operation[name] for name in CopyOperation.__dataclass_fields__]
_TARGET: Final = [_target[name] for name in CopyTarget.__dataclass_fields__]
_GET: Final = select(*_OPERATION).where(_operation.id == bindparam("of_operation"))
_OPEN: Final = (  # the condition of the index, word for word
    select(*_OPERATION).where(text("state IN ('planning', 'running')")).order_by(_operation.created_at)
)
_OF_OPERATION: Final = (
    select(*_TARGET).where(_target.operation_id == bindparam("of_operation")).order_by(_target.number)
)
_COUNT_PLANS: Final = (
    select(func.count())
    .select_from(copy_operations)
    .where(
        _operation.account_id == bindparam("of_account"),
        _operation.created_at > bindparam("since"),
        _operation.state.in_((CopyState.PLANNING, CopyState.PLANNED)),
    )
)
_OLDEST_PLAN: Final = (
    select(_operation.id)
    .where(
        _operation.account_id == bindparam("of_account"),
        _operation.created_at > bindparam("since"),
        _operation.state == CopyState.PLANNED,
    )
    .order_by(_operation.created_at, _operation.id)
    .limit(1)
    .with_for_update()
)
_INSERT: Final = copy_operations.insert()
_INSERT_TARGETS: Final = copy_targets.insert()
_EXPIRED: Final = (
    select(*_OPERATION)
    .where(_operation.expires_at <= bindparam("now"), _operation.state.not_in((CopyState.PLANNING, CopyState.RUNNING)))
    .limit(bindparam("n"))
)
_NOT_UNDOABLE: Final = (
    select(*_OPERATION)
    .where(_operation.undo_until.is_not(None), _operation.undo_until <= bindparam("now"))
    .limit(bindparam("n"))
)
_NEWEST_UNDO: Final = select(func.max(_operation.undo_until)).where(_operation.undo_until.is_not(None))
_UNDO_SINCE: Final = select(*_OPERATION).where(
    _operation.undo_until.is_not(None), _operation.undo_until >= bindparam("since")
)
_KEPT: Final = (
    select(*_TARGET)
    .join_from(copy_targets, copy_operations, _operation.id == _target.operation_id)
    .where(_target.target_project_id == bindparam("of_project"), _target.kept_bytes.is_not(None))
    .order_by(_operation.finished_at.desc().nulls_first(), _operation.id, _target.number)
)
_IS_KEPT: Final = (
    select(_target.number)
    .where(_target.operation_id == bindparam("of_operation"), _target.kept_bytes.is_not(None))
    .limit(1)
)
_KEPT_BYTES: Final = select(func.coalesce(func.sum(_target.kept_bytes), 0)).where(
    _target.target_project_id == bindparam("of_project"), _target.kept_bytes.is_not(None)
)
_HANDED_OUT: Final = select(
    handouts
).where(  # more than is asked for where neither project nor path is one and the same
    handouts.c.project_id.in_(bindparam("projects", expanding=True)),
    handouts.c.path.in_(bindparam("paths", expanding=True)),
)
_HAND_OUT: Final = upserting(handouts)
_HAND_OUT_AGAIN: Final = _HAND_OUT.on_conflict_do_update(
    index_elements=["project_id", "path"],
    set_={"manifest": _HAND_OUT.excluded.manifest, "handed_out_at": _HAND_OUT.excluded.handed_out_at},
)
_PLANNED_ON: Final = select(*_TARGET).where(
    _target.base.in_(bindparam("manifests", expanding=True)),
    _target.target_project_id.in_(bindparam("projects", expanding=True)),
    _target.state == TargetState.DONE,
)
_TAKE_BACK: Final = delete(handouts).where(
    handouts.c.project_id == bindparam("of_project"),
    handouts.c.path == bindparam("of_path"),
    handouts.c.manifest == bindparam("of_manifest"),
)
_PUT_BACK: Final = (
    update(handouts)
    .where(
        handouts.c.project_id == bindparam("of_project"),
        handouts.c.path == bindparam("of_path"),
        handouts.c.manifest == bindparam("of_manifest"),
    )
    .values(manifest=bindparam("to_manifest"))
)


@cache
def _updating(names: tuple[str, ...]) -> Update:
    """The statement that changes these columns of targets: made once, as it is a part of every copy."""
    return (
        update(copy_targets)
        .where(_target.operation_id == bindparam("of_operation"), _target.number == bindparam("of_number"))
        .values({name: bindparam(f"to_{name}", type_=_target[name].type) for name in names})
    )


@cache
def _updating_operation(names: tuple[str, ...]) -> Update:
    """The same for columns of an operation."""
    return (
        update(copy_operations)
        .where(_operation.id == bindparam("of_operation"))
        .values({name: bindparam(f"to_{name}", type_=_operation[name].type) for name in names})
    )


class Copies:
    """The copies, within a transaction."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def create(self, operation: CopyOperation, targets: Sequence[CopyTarget]) -> None:
        """Add an operation with all its targets.

        Raises:
            Conflict: A project or the account is not there. The transaction is lost.
        """
        await self._connection.execute(_INSERT, _row(operation))
        if targets:
            await self._connection.execute(_INSERT_TARGETS, [_row(target) for target in targets])

    async def get(self, id: str, *, lock: bool = False) -> CopyOperation | None:
        """An operation by its id; ``lock``: others who want to change it wait until this transaction ends."""
        statement = _GET.with_for_update() if lock else _GET
        row = (await self._connection.execute(statement, {"of_operation": id})).first()
        return None if row is None else _operation_of(row)

    async def open(self) -> list[CopyOperation]:
        """The operations that the hub is to be at work on, oldest first."""
        return [_operation_of(row) for row in await self._connection.execute(_OPEN)]

    async def targets(
        self,
        operation_id: str,
        *,
        states: Collection[TargetState] | None = None,
        after: int | None = None,
        numbers: Collection[int] | None = None,
        limit: int | None = None,
    ) -> list[CopyTarget]:
        """Targets of an operation, by their numbers.

        Args:
            operation_id: Of which operation.
            states: Only those in one of these states.
            after: Only those with a higher number.
            numbers: Only these.
            limit: How many at most.
        """
        statement = _OF_OPERATION
        if states is not None:
            statement = statement.where(_target.state.in_(states))
        if after is not None:
            statement = statement.where(_target.number > after)
        if limit is not None:
            statement = statement.limit(limit)
        chunks = [None] if numbers is None else [*in_chunks(sorted(numbers))]
        found: list[CopyTarget] = []
        for chunk in chunks:
            one = statement if chunk is None else statement.where(_target.number.in_(chunk))
            rows = await self._connection.execute(one, {"of_operation": operation_id})
            found.extend(_target_of(row) for row in rows)
        return found

    async def page(
        self,
        account_id: AccountId,
        *,
        limit: int,
        project_id: ProjectId | None = None,
        plans: bool = True,
        after: CopyOperation | None = None,
    ) -> list[CopyOperation]:
        """An account's operations, newest first.

        Args:
            account_id: Whose.
            limit: How many at most.
            project_id: Only those that copy from or to this project.
            plans: Whether also those that were never applied.
            after: The last one of the page before.
        """
        statement = (
            select(*_OPERATION)
            .where(_operation.account_id == account_id)
            .order_by(_operation.created_at.desc(), _operation.id.desc())
            .limit(limit)
        )
        if not plans:
            statement = statement.where(_operation.applies)
        if project_id is not None:
            either = [
                exists().where(_target.operation_id == _operation.id, column == project_id)
                for column in (_target.source_project_id, _target.target_project_id)
            ]
            statement = statement.where(or_(*either))
        if after is not None:
            same = and_(_operation.created_at == after.created_at, _operation.id < after.id)
            statement = statement.where(or_(_operation.created_at < after.created_at, same))
        return [_operation_of(row) for row in await self._connection.execute(statement)]

    async def count_plans(self, account_id: AccountId, *, since: datetime) -> int:
        """How many plans of an account, made later than this, are neither applied nor cancelled."""
        values = {"of_account": account_id, "since": since}
        return int((await self._connection.execute(_COUNT_PLANS, values)).scalar_one())

    async def oldest_plan(self, account_id: AccountId, *, since: datetime) -> str | None:
        """The oldest plan of an account, made later than this, that is there to be applied, and locked; None: none."""
        values = {"of_account": account_id, "since": since}
        found = (await self._connection.execute(_OLDEST_PLAN, values)).scalar_one_or_none()
        return None if found is None else str(found)

    async def update(self, id: str, changes: Mapping[str, Any], *, states: Collection[CopyState] | None = None) -> bool:
        """Change columns of an operation, by their names, if it is in one of these states; tells whether it is.

        Raises:
            InvalidArgument: A column is unknown or never changes.
        """
        values = checked_changes(copy_operations, changes, fixed=_FIXED)
        statement = _updating_operation(tuple(values))
        if states is not None:
            statement = statement.where(_operation.state.in_(states))
        named = {"of_operation": id, **{f"to_{name}": value for name, value in values.items()}}
        return (await self._connection.execute(statement, named)).rowcount > 0

    async def update_targets(self, operation_id: str, changes: Mapping[int, Mapping[str, Any]]) -> None:
        """Change columns of targets.

        Args:
            operation_id: Of which operation.
            changes: By number: values by the names of columns, the same names for all.
        """
        if not changes:
            return
        names = tuple(next(iter(changes.values())))
        rows = [
            {"of_operation": operation_id, "of_number": number, **{f"to_{name}": values[name] for name in names}}
            for number, values in changes.items()
        ]
        await self._connection.execute(_updating(names), rows)

    async def move_targets(
        self, operation_id: str, states: Collection[TargetState], to: TargetState, **values: Any
    ) -> int:
        """Bring all targets in some states to another; tells how many there are."""
        statement = update(copy_targets).where(_target.operation_id == operation_id, _target.state.in_(states))
        return (await self._connection.execute(statement.values(state=to, **values))).rowcount

    # -- what is kept ------------------------------------------------------------------------------

    async def expired(self, now: datetime, *, limit: int) -> list[CopyOperation]:
        """Operations that are to be forgotten."""
        return [_operation_of(row) for row in await self._connection.execute(_EXPIRED, {"now": now, "n": limit})]

    async def newest(self, *, within: timedelta) -> list[CopyOperation]:
        """Of the operations that can be undone, those that have ended last, and those up to so much before."""
        last = (await self._connection.execute(_NEWEST_UNDO)).scalar_one()
        if last is None:
            return []
        return [_operation_of(row) for row in await self._connection.execute(_UNDO_SINCE, {"since": last - within})]

    async def not_undoable(self, now: datetime, *, limit: int) -> list[CopyOperation]:
        """Operations whose time to be undone is over."""
        return [_operation_of(row) for row in await self._connection.execute(_NOT_UNDOABLE, {"now": now, "n": limit})]

    async def forget(self, id: str) -> None:
        """Forget an operation and its targets."""
        await self._connection.execute(delete(copy_targets).where(_target.operation_id == id))
        await self._connection.execute(delete(copy_operations).where(_operation.id == id))

    async def kept(self, project_id: ProjectId) -> list[CopyTarget]:
        """What can be undone in a project, newest first: what is under way, then what has ended last."""
        return [_target_of(row) for row in await self._connection.execute(_KEPT, {"of_project": project_id})]

    async def is_kept(self, operation_id: str) -> bool:
        """Whether anything of an operation can be undone."""
        return (await self._connection.execute(_IS_KEPT, {"of_operation": operation_id})).first() is not None

    async def kept_bytes(self, project_id: ProjectId) -> int:
        """What is kept in all to undo copies into a project."""
        return int((await self._connection.execute(_KEPT_BYTES, {"of_project": project_id})).scalar_one())

    # -- handouts ----------------------------------------------------------------------------------

    async def handed_out(self, places: Sequence[tuple[ProjectId, str]]) -> dict[tuple[ProjectId, str], str]:
        """The lists of what was copied to places last, by place; those without are left out."""
        found: dict[tuple[ProjectId, str], str] = {}
        unique = [*dict.fromkeys(places)]
        for start in range(0, len(unique), _CHUNK):
            chunk = unique[start : start + _CHUNK]
            values = {"projects": [*{project for project, _ in chunk}], "paths": [*{path for _, path in chunk}]}
            rows = await self._connection.execute(_HANDED_OUT, values)
            found.update(((ProjectId(row.project_id), row.path), row.manifest) for row in rows)
        return {place: found[place] for place in unique if place in found}

    async def hand_out(self, rows: Sequence[tuple[ProjectId, str, str]], *, at: datetime) -> None:
        """Note what was copied to places: project, path, name of the list."""
        if rows:
            values = [
                {"project_id": project_id, "path": path, "manifest": manifest, "handed_out_at": at}
                for project_id, path, manifest in rows
            ]
            await self._connection.execute(_HAND_OUT_AGAIN, values)

    async def take_back(self, rows: Sequence[tuple[ProjectId, str, str, str | None]]) -> None:
        """Note that copies were undone, unless there was one since: project, path, their list, the one before."""
        for project_id, path, manifest, before in rows:
            values = {"of_project": project_id, "of_path": path, "of_manifest": manifest}
            if before is None:
                await self._connection.execute(_TAKE_BACK, values)
            else:
                await self._connection.execute(_PUT_BACK, {**values, "to_manifest": before})

    async def planned_on(self, manifests: Collection[str], project_ids: Collection[ProjectId]) -> list[CopyTarget]:
        """Targets in projects that are done, and for whose plans one of these lists told what was copied before.

        It reads all targets of such plans, so that it is asked once for many projects. A few hundred of each at most.
        """
        values = {"manifests": [*manifests], "projects": [*project_ids]}
        return [_target_of(row) for row in await self._connection.execute(_PLANNED_ON, values)]

    async def in_use(self, manifests: Sequence[str]) -> set[str]:
        """Which of these lists tell what was copied to some place last, or before a copy that can be undone."""
        found: set[str] = set()
        for chunk in in_chunks(manifests):
            for column in (handouts.c.manifest, _target.base):
                rows = await self._connection.execute(select(column).where(column.in_(chunk)).distinct())
                found.update(rows.scalars())
        return found


def _row(record: CopyOperation | CopyTarget) -> dict[str, Any]:
    return {name: getattr(record, name) for name in record.__slots__}  # `asdict` would copy all that is in it


def _operation_of(row: Any) -> CopyOperation:
    values = dict(row._mapping)
    return CopyOperation(**{**values, "state": CopyState(values["state"])})


def _target_of(row: Any) -> CopyTarget:
    values = dict(row._mapping)
    return CopyTarget(**{**values, "state": TargetState(values["state"])})
