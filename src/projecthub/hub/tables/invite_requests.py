"""`project_invite_requests`: who is not on a project and knows its id asks to be let onto it, or no longer does.

Its people read what was asked in the field `invite_requests` of `projects`, and let in whom they want to. Whoever asks
is told nothing of the project, not even whether there is one.

Source: Wire contract 3.7, 3.10.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from projecthub.errors import LimitError
from projecthub.hub.tables.declaring import Change, Edit, Table, a_project_id, new_values, only_set, plain
from projecthub.hub.tables.project_changes import stored_value
from projecthub.hub.values import mapping, refused, text
from projecthub.wire.ids import is_uuid
from projecthub.wire.units import to_iso

MAX_REQUESTS: Final = 100
"""Requests of one project that its people have not answered."""
_MAX_MESSAGE: Final = 1000
_FIELDS: Final = {"timestamp", "message"}


async def _set_requests(edit: Edit, value: Any) -> Mapping[str, Any]:
    """The caller's own request, or null to withdraw it; nobody asks for others."""
    own = edit.caller.account_id
    asked: dict[str, Any] = dict(edit.row or {})
    for account_id, request in mapping("invite_requests", value).items():
        if not is_uuid(account_id):
            raise refused("invite_requests", f"invalid account_id '{account_id[:100]}'")
        if account_id.lower() != own:
            raise refused("invite_requests", f"'{account_id}' is not you; ask for yourself")
        asked.pop(own, None)
        if request is not None:
            asked[own] = {"timestamp": to_iso(edit.tools.clock.now()), "message": _message(request)}
    return {"invite_requests": asked}


def _message(request: Any) -> str:
    given = mapping("invite_requests", request)
    if unknown := given.keys() - _FIELDS:
        raise refused("invite_requests", f"unknown field '{min(unknown)[:100]}'; give a message")
    return text("message", given.get("message", ""), longest=_MAX_MESSAGE)


async def _ask(change: Change) -> None:
    project_id, caller = a_project_id(change.shape["project_id"]), change.caller
    async with change.tools.store.write() as tx:
        access = await tx.projects.access(project_id, caller.account_id, lock=True)
        before = {} if access is None else await stored_value(tx, project_id, "invite_requests") or {}
        asked = (await new_values(change, tx, before)).get("invite_requests", before)
        if access is None or access.project.deleted or access.role is not None or asked == before:
            return
        if len(asked) > MAX_REQUESTS:
            raise LimitError(
                f"{MAX_REQUESTS} people have asked to be let onto this project; ask its people another way"
            )
        await tx.projects.update(project_id, {"invite_requests": asked})
        event = {"event": "invite_requested" if caller.account_id in asked else "invite_request_withdrawn"}
        await tx.log.append(project_id, caller.account_id, event, at=change.tools.clock.now())


INVITE_REQUESTS: Final = Table(
    name="project_invite_requests",
    fields={"project_id": plain("project_id"), "invite_requests": only_set(_set_requests)},
    rows=None,
    keys=("project_id",),
    change=_ask,
)
