"""`project_log` and `project_log_all`: what happened in projects.

Whoever is on a project may add to its log, and nobody changes what stands there.

Source: Wire contract 3.10.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from projecthub.hub.tables.declaring import (
    Asked,
    Change,
    Edit,
    Field,
    Row,
    Scope,
    Table,
    a_project_id,
    ignored,
    mapping_of,
    moment,
    new_values,
    plain,
    small,
)
from projecthub.hub.tables.rules import may_change, may_read
from projecthub.hub.values import mapping, refused
from projecthub.wire.ids import ProjectId
from projecthub.wire.methods import Ability

if TYPE_CHECKING:
    from projecthub.store import Transaction

WINDOW: Final = timedelta(days=61)
"""The table `project_log` holds what happened within this time, two months."""

BY_HAND: Final = "by_hand"
"""True in events that people have written; the hub's own are without it."""


async def _set_event(edit: Edit, value: Any) -> Mapping[str, Any]:
    event = mapping("event", value)
    if not isinstance(event.get("event"), str):
        raise refused("event", 'an event has a word for what happened, such as {"event": "note", "text": "..."}')
    return {"event": {**small("event", event), BY_HAND: True}}


FIELDS: Final[Mapping[str, Field]] = {
    # The hub numbers what it is told, and knows who says it and when.
    "id": plain("id", "number", write=ignored()),
    "project_id": plain("project_id"),
    "account_id": plain("account_id", write=ignored()),
    "time": moment("logged_at", write=ignored()),
    "event": mapping_of("event", write=_set_event),
}


async def _all(tx: Transaction, asked: Asked) -> Sequence[Row]:
    return await _entries(tx, asked, None)


async def _recent(tx: Transaction, asked: Asked) -> Sequence[Row]:
    return await _entries(tx, asked, WINDOW)


async def _entries(tx: Transaction, asked: Asked, window: timedelta | None) -> Sequence[Row]:
    """The log of one project, or of all that the caller is on."""
    after = None if window is None else asked.now - window
    if asked.scope is None:
        return await tx.log.select(asked.selection, member=asked.caller.account_id, after=after)
    project_id = ProjectId(asked.scope)
    await may_read(tx, asked.caller, project_id)
    return await tx.log.select(asked.selection, project_id=project_id, after=after)


async def _append(change: Change) -> None:
    project_id = a_project_id(change.shape["project_id"])
    if "event" not in change.shape:
        raise refused("event", "an entry of a log tells of an event; give one")
    async with change.tools.store.write() as tx:
        await may_change(tx, change.caller, project_id, Ability.WRITE)
        values = await new_values(change, tx)
        now = change.tools.clock.now()
        await tx.log.append(project_id, change.caller.account_id, values["event"], at=now)


_SCOPE: Final = Scope(field="project_id", check=a_project_id, required=False)
PROJECT_LOG: Final = Table(
    name="project_log",
    fields=FIELDS,
    rows=_recent,
    scope=_SCOPE,
    limit=750,
    keys=("project_id",),
    change=_append,
)
PROJECT_LOG_ALL: Final = Table(name="project_log_all", fields=FIELDS, rows=_all, scope=_SCOPE, limit=7500)
