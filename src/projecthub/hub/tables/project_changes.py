"""Set queries on `projects`: the rules of single fields, and the whole.

Source: Wire contract 3.5, 3.7, 3.8, 7.5.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from projecthub.errors import Conflict, HubError, NotFound, QueryRefused
from projecthub.hub.permissions import is_able, may_delete, not_deleted, within_scopes
from projecthub.hub.project_names import require_free
from projecthub.hub.tables.declaring import Change, Edit, Shape, Write, a_project_id, new_values, small
from projecthub.hub.values import boolean, mapping, merged_within, refused, text
from projecthub.store.records import Role, Selection
from projecthub.wire.ids import AccountId, ProjectId, is_uuid
from projecthub.wire.methods import Ability
from projecthub.wire.units import to_iso

if TYPE_CHECKING:
    from projecthub.hub.principals import Principal
    from projecthub.store import Transaction
    from projecthub.store.records import Access, Project

_NAME: Final = re.compile(r"[a-zA-Z0-9.-]{1,100}")
_ENV_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_MAX_ENV: Final = 96_000
"""Characters of `env` at most, as JSON: what a start hands to the project server."""
_MAX_INVITE_REQUESTS: Final = 1_000_000
_MAX_USER_OBJECT: Final = 100_000
"""Characters of `upgrades` and of `ssh_keys` of one person at most, as JSON."""

_TOLD_BY_THE_HUB: Final = frozenset({"started", "finished", "err"})
"""What the hub says in an `action_request` itself."""
_NOTED_ELSEWHERE: Final = frozenset({"project_id", "deleted", "action_request", "site_license"})
"""Fields whose change is written into the project's log by whoever carries it out."""


async def change_project(change: Change) -> None:
    """Change fields of one project: all that are given, or none.

    Raises:
        QueryRefused: No such project, not the caller's to change, or not a value for a field.
    """
    caller, shape = change.caller, change.shape
    project_id = a_project_id(shape["project_id"])
    action = _action(shape)
    async with change.tools.store.write() as tx:
        # What is merged is merged into what was read: nobody may change it in between.
        access = await tx.projects.access(project_id, caller.account_id, lock=True)
        if access is None:
            raise QueryRefused(f"FATAL: unknown project_id '{project_id}'")
        is_own = access.role is not None and _is_for_oneself(caller, shape)
        if not (caller.is_admin or is_own or is_able(access.role, Ability.MANAGE)):
            raise QueryRefused("FATAL: user must be an admin")
        # What is done after this transaction is refused before it, so that nothing of the query is applied.
        if shape.get("deleted") is True:
            may_delete(access, caller, project_id)
        if action is not None:
            _may_act(caller, access, action, shape)
        if changes := await new_values(change, tx, access):
            await tx.projects.update(project_id, changes)
        if not is_own:
            await _note(change, tx, access.project)
    if shape.get("deleted") is True:
        await change.tools.projects.delete(caller, project_id)
    if action is not None and "action_request" in changes:
        await _act(change, project_id, action, changes["action_request"])


def _is_for_oneself(caller: Principal, shape: Shape) -> bool:
    """Whether all that is changed is if the caller's own list has the project: that is nobody else's matter."""
    users = shape.get("users")
    if shape.keys() != {"project_id", "users"} or not isinstance(users, dict) or not users:
        return False
    return all(
        account.lower() == caller.account_id and isinstance(fields, dict) and fields.keys() == {"hide"}
        for account, fields in users.items()
    )


async def _note(change: Change, tx: Transaction, project: Project) -> None:
    """Write what was changed into the project's log."""
    events: list[dict[str, Any]] = []
    if fields := sorted(change.shape.keys() - _NOTED_ELSEWHERE):
        events.append({"event": "project_edited", "fields": fields})
    if change.shape.get("deleted") is False and project.deleted:
        events.append({"event": "project_undeleted"})
    for event in events:
        await tx.log.append(project.project_id, change.caller.account_id, event, at=change.tools.clock.now())


def _action(shape: Shape) -> str | None:
    if "action_request" not in shape:
        return None
    action = mapping("action_request", shape["action_request"]).get("action")
    if action not in ("start", "stop", "restart"):
        raise refused("action_request", f"the action is {str(action)[:100]!r}; give start, stop or restart")
    return str(action)


def _may_act(caller: Principal, access: Access, action: str, shape: Shape) -> None:
    """Refuse an action before anything is changed."""
    within_scopes(caller, Ability.RUN, f"to {action} a project")
    if not is_able(access.role, Ability.RUN):
        raise QueryRefused("FATAL: user must be an admin")
    if action == "stop":
        return
    if shape.get("deleted") is True:
        raise refused("action_request", f"a project that is to be deleted does not {action}; give one of both")
    if shape.get("deleted") is not False:
        not_deleted(access.project)


async def _act(change: Change, project_id: ProjectId, action: str, request: dict[str, Any]) -> None:
    """Do what was asked for, and say in the request that it is done, or why it could not be."""
    projects = change.tools.projects
    act = {"start": projects.start, "stop": projects.stop, "restart": projects.restart}[action]
    try:
        await act(change.caller, project_id)
    except HubError as error:
        await _finish(change, project_id, request, {"err": error.message})
        raise
    await _finish(change, project_id, request, {})


async def _finish(change: Change, project_id: ProjectId, request: dict[str, Any], outcome: dict[str, Any]) -> None:
    finished = {**request, "finished": to_iso(change.tools.clock.now()), **outcome}
    async with change.tools.store.write() as tx:
        await tx.projects.access(project_id, change.caller.account_id, lock=True)
        if await stored_value(tx, project_id, "action_request") == request:  # nobody has asked for something else since
            await tx.projects.update(project_id, {"action_request": finished})


async def stored_value(tx: Transaction, project_id: ProjectId, field: str) -> Any:
    """What a project that there is has in one column."""
    rows = await tx.projects.select(Selection(columns=(field,)), member=None, project_id=project_id)
    return rows[0][field]


# -- rules of fields -------------------------------------------------------------------------------


async def set_action(edit: Edit, value: Any) -> dict[str, Any]:
    """Keep what was asked for; it is carried out after the change. Asked again with the same `time` it is not."""
    given = small("action_request", mapping("action_request", value))
    request = {name: content for name, content in given.items() if name not in _TOLD_BY_THE_HUB}
    before = await stored_value(edit.tx, edit.row.project.project_id, "action_request") or {}
    if request.get("time") is not None and all(before.get(name) == request.get(name) for name in ("action", "time")):
        return {}
    return {"action_request": {**request, "started": to_iso(edit.tools.clock.now())}}


async def set_deleted(edit: Edit, value: Any) -> dict[str, Any]:
    """Undelete. To delete is more than to mark, and is done after the change."""
    return {} if boolean("deleted", value) else {"deleted": False}


def set_by_owner(denial: str) -> Write:
    """True or false, for owners and site admins; others are told ``denial``."""

    async def write(edit: Edit, value: Any) -> dict[str, Any]:
        if edit.row.role is not Role.OWNER and not edit.caller.is_admin:
            raise refused(edit.field, denial)
        return {edit.field: boolean(edit.field, value)}

    return write


async def set_name(edit: Edit, value: Any) -> dict[str, Any]:
    """A name for URLs, unique among the projects of each owner; for owners and site admins."""
    tx, access = edit.tx, edit.row
    if access.role is not Role.OWNER and not edit.caller.is_admin:
        raise refused("name", "Only the owner of the project can currently change the project name.")
    name = text("name", value)
    if not _NAME.fullmatch(name):
        raise refused("name", f"'{name[:100]}' must have 1 to 100 letters, digits, '.' or '-'")
    try:
        await require_free(
            tx, access.project.project_id, name, await tx.collaborators.owners(access.project.project_id)
        )
    except Conflict as error:
        raise refused("name", error.message) from error
    return {"name": name}


async def set_env(edit: Edit, value: Any) -> dict[str, Any]:
    """Variables of the project's environment, merged into those that there are."""
    for name, content in mapping("env", value).items():
        if not _ENV_NAME.fullmatch(name):
            raise refused("env", f"'{name[:100]}' is no name of a variable; give letters, digits and '_'")
        if content is not None and not isinstance(content, str):
            raise refused("env", f"the value of {name[:100]} is no text")
    return {"env": merged_within("env", edit.row.project.env, value, most=_MAX_ENV)}


async def set_invite_requests(edit: Edit, value: Any) -> dict[str, Any]:
    """Who asks to be let in, merged into those that did."""
    given = mapping("invite_requests", value)
    before = await stored_value(edit.tx, edit.row.project.project_id, "invite_requests")
    return {"invite_requests": merged_within("invite_requests", before, given, most=_MAX_INVITE_REQUESTS)}


async def set_licenses(edit: Edit, value: Any) -> dict[str, Any]:
    """Attach licenses, and detach those that are null."""
    given = mapping("site_license", value)
    wanted = {license_id.lower(): content is not None for license_id, content in given.items()}
    try:
        changed = await edit.tools.licenses.change_attached(edit.tx, edit.caller, edit.row.project, wanted)
    except NotFound as error:
        raise refused("site_license", error.message) from error
    return {} if changed is None else {"site_license": changed}


async def set_users(edit: Edit, value: Any) -> dict[str, Any]:
    """Whether a project is hidden, for anybody; upgrades and SSH keys, for oneself; never who is what."""
    given = mapping("users", value)
    if not given:
        return {}
    project_id = edit.row.project.project_id
    people = await stored_value(edit.tx, project_id, "users")
    for account, fields in given.items():
        if not is_uuid(account):
            raise refused("users", f"invalid account_id '{account[:100]}'")
        account_id = AccountId(account.lower())
        stored = people.get(account_id, {})
        changes = {
            name: _user_value(edit.caller, account_id, name, new, stored.get(name))
            for name, new in mapping("users", fields).items()
        }
        if changes and not await edit.tx.collaborators.update(project_id, account_id, changes):
            raise refused("users", f"account '{account_id}' is not on this project; add it with add_collaborator")
    return {}


def _user_value(caller: Principal, account_id: AccountId, name: str, value: Any, stored: Any) -> Any:
    if name == "group":
        raise refused("users", "changing collaborator group via user_set_query is not allowed")
    if name == "hide":
        if not isinstance(value, bool):
            raise refused("users", "invalid type for field 'hide'")
        return value
    if name not in ("upgrades", "ssh_keys"):
        raise refused("users", f"unknown field '{name[:100]}'")
    if account_id != caller.account_id:
        raise QueryRefused(
            f"FATAL: user '{caller.account_id}' tried to change user '{account_id}' allocation toward a project"
        )
    return merged_within(name, stored, mapping(name, value), most=_MAX_USER_OBJECT)
