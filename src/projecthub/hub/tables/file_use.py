"""`file_use`: who used which file of a project last, and how.

It holds what editors and scripts note of themselves, and is no record of what the hub saw.

Source: Wire contract 3.10.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from projecthub.errors import InvalidArgument, QueryRefused
from projecthub.hub.file_ids import file_id
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
    moment,
    new_values,
    plain,
)
from projecthub.hub.tables.rules import may_change, may_read
from projecthub.hub.times import parse_time
from projecthub.hub.values import mapping, refused, text
from projecthub.wire.ids import ProjectId, is_uuid
from projecthub.wire.methods import Ability
from projecthub.wire.units import from_ms, to_iso, to_ms

if TYPE_CHECKING:
    from projecthub.store import Transaction

WINDOW: Final = timedelta(days=21)
MAX_PATH: Final = 4096
ACTION: Final = re.compile(r"[a-z_]{1,20}")
MAX_ACTIONS: Final = 20
"""Kinds of use of one file by one person: `open`, `edit`, `chat`."""


def _users(row: Row) -> dict[str, dict[str, str]]:
    users = row["users"]
    return {account_id: {word: to_iso(from_ms(at)) for word, at in used.items()} for account_id, used in users.items()}


async def _set_users(edit: Edit, value: Any) -> Mapping[str, Any]:
    """What the caller did with the file and when; nobody speaks for others."""
    own = edit.caller.account_id
    before: dict[str, dict[str, int]] = dict(edit.row or {})
    for account_id, actions in mapping("users", value).items():
        if not is_uuid(account_id):
            raise refused("users", f"invalid account_id '{account_id[:100]}'")
        if account_id.lower() != own:
            raise refused("users", f"'{account_id}' is not you; note what you did yourself")
        before[own] = {**before.get(own, {}), **_times(mapping("users", actions))}
        if len(before[own]) > MAX_ACTIONS:
            raise refused("users", f"{len(before[own])} kinds of use are too many; give at most {MAX_ACTIONS}")
    return {"users": before}


def _times(actions: Mapping[str, Any]) -> dict[str, int]:
    times = {}
    for word, given in actions.items():
        if not ACTION.fullmatch(word):
            raise refused("users", f"'{word[:100]}' is no kind of use; give a word such as open, edit or chat")
        try:
            at = parse_time(given, word)
        except InvalidArgument as error:
            raise refused("users", error.message) from error
        if at is None:
            raise refused("users", f"the time of '{word}' is null; give a time")
        times[word] = to_ms(at)
    return times


async def _recent(tx: Transaction, asked: Asked) -> Sequence[Row]:
    after = asked.now - WINDOW
    if asked.scope is None:
        return await tx.file_use.select(asked.selection, member=asked.caller.account_id, after=after)
    project_id = ProjectId(asked.scope)
    await may_read(tx, asked.caller, project_id)
    return await tx.file_use.select(asked.selection, project_id=project_id, after=after)


async def _note(change: Change) -> None:
    project_id = a_project_id(change.shape["project_id"])
    path = text("path", change.shape["path"], longest=MAX_PATH)
    if not path:
        raise QueryRefused("FATAL: must specify file_use.path")
    row_id = file_id(project_id, path)
    async with change.tools.store.write() as tx:
        await may_change(tx, change.caller, project_id, Ability.READ)
        users = await tx.file_use.lock(row_id, project_id, path, at=change.tools.clock.now())
        values = await new_values(change, tx, users)
        await tx.file_use.update(row_id, values.get("users", users), at=change.tools.clock.now())


FIELDS: Final[Mapping[str, Field]] = {
    "id": plain("id", write=ignored()),
    "project_id": plain("project_id"),
    "path": plain("path"),
    "users": Field(kind="object", read=_users, columns=("users",), write=_set_users),
    "last_edited": moment("last_edited_at", write=ignored()),
}
FILE_USE: Final = Table(
    name="file_use",
    fields=FIELDS,
    rows=_recent,
    scope=Scope(field="project_id", check=a_project_id, required=False),
    order_by=(("last_edited_at", True),),
    limit=200,
    keys=("project_id", "path"),
    change=_note,
)
