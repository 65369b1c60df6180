"""`project_invite_tokens`: what lets its holders onto a project, of those who may let people in.

Whoever may add people may read the tokens, change them and take them away; nobody else may know them.

Source: Wire contract 2.4, 3.10.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from projecthub.errors import InvalidArgument, LimitError, OwnershipDenied, QueryRefused
from projecthub.hub.collaborators import group_of
from projecthub.hub.joining import FORGOTTEN_AFTER, MAX_TOKENS
from projecthub.hub.permissions import is_able, owners_only
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
from projecthub.hub.tables.rules import may_read
from projecthub.hub.times import parse_time
from projecthub.hub.values import refused, text
from projecthub.store.records import InviteToken, Role
from projecthub.wire.ids import ProjectId
from projecthub.wire.methods import Ability

if TYPE_CHECKING:
    from projecthub.hub.principals import Principal
    from projecthub.store import Transaction

_TOKEN: Final = re.compile(r"[A-Za-z0-9_-]{16,128}")
_MOST_USES: Final = 1_000_000


async def _may_let_in(tx: Transaction, caller: Principal, project_id: ProjectId) -> None:
    access = await tx.projects.access(project_id, caller.account_id)
    if access is None or not (caller.is_admin or is_able(access.role, Ability.MANAGE)):
        raise QueryRefused("FATAL: user must be an admin")
    try:
        owners_only(access)
    except OwnershipDenied as error:
        raise QueryRefused(f"FATAL: {error.message}") from error


async def _of_project(tx: Transaction, asked: Asked) -> Sequence[Row]:
    project_id = ProjectId(asked.scope or "")
    await may_read(tx, asked.caller, project_id)
    await _may_let_in(tx, asked.caller, project_id)
    return await tx.invite_tokens.select(asked.selection, project_id=project_id)


# -- rules of fields -------------------------------------------------------------------------------


async def _set_expires(edit: Edit, value: Any) -> Mapping[str, Any]:
    try:
        return {"expires_at": parse_time(value, "expires")}
    except InvalidArgument as error:
        raise refused("expires", error.message) from error


async def _set_limit(edit: Edit, value: Any) -> Mapping[str, Any]:
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= _MOST_USES:
        raise refused("usage_limit", f"{str(value)[:100]} is no whole number from 1 to {_MOST_USES}")
    return {"usage_limit": value}


async def _set_counter(edit: Edit, value: Any) -> Mapping[str, Any]:
    """Other clients send 0 along with a new token; else nobody but the hub counts."""
    if value != (edit.row.counter if edit.row else 0) or isinstance(value, bool):
        raise QueryRefused("FATAL: changing project_invite_tokens.counter not allowed")
    return {}


async def _set_group(edit: Edit, value: Any) -> Mapping[str, Any]:
    try:
        return {"role": group_of(text("group", value, longest=100))}
    except InvalidArgument as error:
        raise refused("group", error.message) from error


# -- changes ---------------------------------------------------------------------------------------


def _named(change: Change) -> tuple[ProjectId, str]:
    token = text("token", change.shape["token"])
    if not _TOKEN.fullmatch(token):
        raise refused("token", "a token has 16 to 128 letters, digits, '-' or '_', drawn at random")
    return a_project_id(change.shape["project_id"]), token


async def _set(change: Change) -> None:
    """Make a token, or change one of the project."""
    project_id, token = _named(change)
    async with change.tools.store.write() as tx:
        await _may_let_in(tx, change.caller, project_id)
        known = (await tx.invite_tokens.locked([token])).get(token)
        if known is not None and known.project_id != project_id:
            raise refused("token", "choose another token")
        values = await new_values(change, tx, known)
        if known is None:
            await _create(tx, change, project_id, token, values)
        elif values:
            await tx.invite_tokens.update(token, values)
        kind = "invite_token_created" if known is None else "invite_token_changed"
        await _note(tx, change, project_id, {"event": kind, "fields": sorted(change.shape.keys() - {"token"})})


async def _create(
    tx: Transaction, change: Change, project_id: ProjectId, token: str, values: Mapping[str, Any]
) -> None:
    if await tx.invite_tokens.count(project_id) >= MAX_TOKENS:
        raise LimitError(
            f"project '{project_id}' has {MAX_TOKENS} invite tokens, which is all that it may have; delete some. "
            f"Those that ended are forgotten after {FORGOTTEN_AFTER.days} days"
        )
    new = InviteToken(
        token=token,
        project_id=project_id,
        account_id=change.caller.account_id,
        role=values.get("role", Role.COLLABORATOR),
        email_address=None,
        created_at=change.tools.clock.now(),
        expires_at=values.get("expires_at"),
        usage_limit=values.get("usage_limit"),
    )
    if not await tx.invite_tokens.create(new):
        raise refused("token", "choose another token")


async def _delete(change: Change) -> None:
    """Take a token away; it need not be there."""
    project_id, token = _named(change)
    async with change.tools.store.write() as tx:
        await _may_let_in(tx, change.caller, project_id)
        if await tx.invite_tokens.delete(token, project_id):
            await _note(tx, change, project_id, {"event": "invite_token_deleted"})


async def _note(tx: Transaction, change: Change, project_id: ProjectId, event: Mapping[str, Any]) -> None:
    await tx.log.append(project_id, change.caller.account_id, event, at=change.tools.clock.now())


FIELDS: Final[Mapping[str, Field]] = {
    "token": plain("token"),
    "project_id": plain("project_id"),
    "created": moment("created_at", write=ignored()),
    "expires": moment("expires_at", write=_set_expires),
    "usage_limit": plain("usage_limit", "number", write=_set_limit),
    "counter": plain("counter", "number", write=_set_counter),
    "account_id": plain("account_id"),
    "group": plain("role", write=_set_group),
    "email_address": plain("email_address"),
}
INVITE_TOKENS: Final = Table(
    name="project_invite_tokens",
    fields=FIELDS,
    rows=_of_project,
    scope=Scope(field="project_id", check=a_project_id),
    order_by=(("created_at", True),),
    keys=("token", "project_id"),
    change=_set,
    delete=_delete,
)
