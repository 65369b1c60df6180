"""Changes to fields of projects by set queries.

Source: Wire contract 3.5, 3.7, 3.8, 7.5.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Final

from projecthub.errors import NotFound, QueryRefused
from projecthub.hub.permissions import is_able, may_delete
from projecthub.hub.values import boolean, mapping, merged_within, refused, text
from projecthub.store.records import Condition, Role, Selection
from projecthub.wire.ids import AccountId, ProjectId, is_uuid
from projecthub.wire.methods import Ability

if TYPE_CHECKING:
    from collections.abc import Mapping

    from projecthub.hub.clock import Clock
    from projecthub.hub.licenses import Licenses
    from projecthub.hub.principals import Principal
    from projecthub.hub.projects import Projects
    from projecthub.store import Store, Transaction
    from projecthub.store.records import Access, Project

_NAME: Final = re.compile(r"[a-zA-Z0-9.-]{1,100}")
_ENV_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_TEXTS: Final[Mapping[str, int]] = {
    "title": 1_000_000,
    "description": 1_000_000,
    "compute_image": 200,
    "color": 100,
    "avatar_image_tiny": 20_000,
    "avatar_image_full": 1_000_000,
}
_MAX_ENV: Final = 96_000
"""Characters of `env` at most, as JSON: what a start hands to the project server."""
_MAX_INVITE_REQUESTS: Final = 1_000_000
_FIELDS: Final = frozenset(
    {*_TEXTS, "action_request", "invite_requests", "project_id", "name", "deleted", "sandbox",
     "manage_users_owner_only", "env", "site_license", "users"}
)  # fmt: skip

_NOTED_ELSEWHERE: Final = frozenset({"project_id", "deleted", "action_request", "site_license"})
"""Fields whose change is written into the project's log by whoever carries it out."""

_Setter = Callable[["Transaction", "Principal", "Access", Any], Awaitable[dict[str, Any]]]


class ProjectFields:
    """Changes rows of the table `projects`."""

    def __init__(self, store: Store, projects: Projects, licenses: Licenses, clock: Clock) -> None:
        """Make the service; ``projects`` deletes and carries out action requests, ``licenses`` attaches licenses."""
        self._store = store
        self._clock = clock
        self._projects = projects
        self._licenses = licenses
        self._setters: dict[str, _Setter] = {
            "name": _set_name,
            "env": _set_env,
            "invite_requests": _set_invite_requests,
            "site_license": self._set_licenses,
            "users": _set_users,
            "manage_users_owner_only": _set_owner_only,
            "sandbox": _set_sandbox,
        }

    async def set(self, caller: Principal, shape: dict[str, Any]) -> None:
        """Change fields of one project: all that are given, or none.

        Raises:
            QueryRefused: Not a field, not the caller's to change, or not a value for it.
        """
        for name in shape:
            if name not in _FIELDS:
                raise QueryRefused(f"FATAL: changing projects.{name[:100]} not allowed")
        if shape.get("project_id") is None:
            raise QueryRefused("FATAL: must specify projects.project_id")
        if not is_uuid(shape["project_id"]):
            raise QueryRefused(f"invalid project_id -- {str(shape['project_id'])[:100]}")
        project_id = ProjectId(shape["project_id"].lower())
        action = _action(shape)
        async with self._store.write() as tx:
            # What is merged is merged into what was read: nobody may change it in between.
            access = await tx.projects.access(project_id, caller.account_id, lock=True)
            if access is None:
                raise QueryRefused(f"FATAL: unknown project_id '{project_id}'")
            if not (is_able(access.role, Ability.MANAGE) or caller.is_admin):
                raise QueryRefused("FATAL: user must be an admin")
            # What is done after this transaction is refused before it, so that nothing of the query is applied.
            if shape.get("deleted") is True:
                may_delete(access, caller, project_id)
            if action is not None and not is_able(access.role, Ability.RUN):
                raise QueryRefused("FATAL: user must be an admin")
            changes = await self._changes(tx, caller, access, shape)
            if changes:
                await tx.projects.update(project_id, changes)
            await self._note(tx, caller, access.project, shape)
        if shape.get("deleted") is True:
            await self._projects.delete(caller, project_id)
        if action is not None:
            await self._act(caller, project_id, action)

    async def _note(self, tx: Transaction, caller: Principal, project: Project, shape: dict[str, Any]) -> None:
        """Write what was changed into the project's log."""
        events: list[dict[str, Any]] = []
        if fields := sorted(shape.keys() - _NOTED_ELSEWHERE):
            events.append({"event": "project_edited", "fields": fields})
        if shape.get("deleted") is False and project.deleted:
            events.append({"event": "project_undeleted"})
        for event in events:
            await tx.log.append(project.project_id, caller.account_id, event, at=self._clock.now())

    async def _changes(
        self, tx: Transaction, caller: Principal, access: Access, shape: dict[str, Any]
    ) -> dict[str, Any]:
        changes: dict[str, Any] = {}
        for name, value in shape.items():
            if name in _TEXTS:
                changes[name] = text(name, value, longest=_TEXTS[name])
            elif name == "action_request":
                changes[name] = mapping(name, value)
            elif name in self._setters:
                changes |= await self._setters[name](tx, caller, access, value)
            elif name == "deleted" and not boolean(name, value):
                # To delete is more than to mark, and is done after this.
                changes["deleted"] = False
        return changes

    async def _set_licenses(self, tx: Transaction, caller: Principal, access: Access, value: Any) -> dict[str, Any]:
        given = mapping("site_license", value)
        wanted = {license_id.lower(): content is not None for license_id, content in given.items()}
        try:
            changed = await self._licenses.change_attached(tx, caller, access.project, wanted)
        except NotFound as error:
            raise refused("site_license", error.message) from error
        return {} if changed is None else {"site_license": changed}

    async def _act(self, caller: Principal, project_id: ProjectId, action: str) -> None:
        match action:
            case "start":
                await self._projects.start(caller, project_id)
            case "stop":
                await self._projects.stop(caller, project_id)
            case "restart":
                await self._projects.restart(caller, project_id)


def _action(shape: dict[str, Any]) -> str | None:
    if "action_request" not in shape:
        return None
    action = mapping("action_request", shape["action_request"]).get("action")
    if action not in ("start", "stop", "restart"):
        raise refused("action_request", f"the action is {str(action)[:100]!r}; give start, stop or restart")
    return str(action)


async def _set_name(tx: Transaction, caller: Principal, access: Access, value: Any) -> dict[str, Any]:
    if access.role is not Role.OWNER and not caller.is_admin:
        raise refused("name", "Only the owner of the project can currently change the project name.")
    name = text("name", value)
    if not _NAME.fullmatch(name):
        raise refused("name", f"'{name[:100]}' must have 1 to 100 letters, digits, '.' or '-'")
    owners = [a for a, role in (await tx.collaborators.roles(access.project.project_id)).items() if role is Role.OWNER]
    same = Selection(columns=("project_id", "name"), conditions=(Condition("name", "IS NOT", None),))
    for owner in owners:
        for row in await tx.projects.select(same, member=owner):
            other = ProjectId(row["project_id"])
            if other != access.project.project_id and row["name"].lower() == name.lower():
                roles = await tx.collaborators.roles(other)
                if roles.get(owner) is Role.OWNER:
                    raise refused(
                        "name",
                        f"There is already a project with the same owner as this project and name='{name}'.   "
                        "Names are not case sensitive.",
                    )
    return {"name": name}


async def _set_env(tx: Transaction, caller: Principal, access: Access, value: Any) -> dict[str, Any]:
    for name, content in mapping("env", value).items():
        if not _ENV_NAME.fullmatch(name):
            raise refused("env", f"'{name[:100]}' is no name of a variable; give letters, digits and '_'")
        if content is not None and not isinstance(content, str):
            raise refused("env", f"the value of {name[:100]} is no text")
    return {"env": merged_within("env", access.project.env, value, most=_MAX_ENV)}


async def _set_invite_requests(tx: Transaction, caller: Principal, access: Access, value: Any) -> dict[str, Any]:
    wanted = Selection(columns=("invite_requests",))
    stored = await tx.projects.select(wanted, member=None, project_id=access.project.project_id)
    given = mapping("invite_requests", value)
    before = stored[0]["invite_requests"]
    return {"invite_requests": merged_within("invite_requests", before, given, most=_MAX_INVITE_REQUESTS)}


async def _set_owner_only(tx: Transaction, caller: Principal, access: Access, value: Any) -> dict[str, Any]:
    if access.role is not Role.OWNER and not caller.is_admin:
        why = "Only project owners can change collaborator management settings"
        raise refused("manage_users_owner_only", why)
    return {"manage_users_owner_only": boolean("manage_users_owner_only", value)}


async def _set_sandbox(tx: Transaction, caller: Principal, access: Access, value: Any) -> dict[str, Any]:
    if access.role is not Role.OWNER and not caller.is_admin:
        raise refused("sandbox", "Only the owner of the project can make it a sandbox")
    return {"sandbox": boolean("sandbox", value)}


async def _set_users(tx: Transaction, caller: Principal, access: Access, value: Any) -> dict[str, Any]:
    """Whether a project is hidden, for anybody; upgrades and SSH keys, for oneself; never who is what."""
    project_id = access.project.project_id
    for account, fields in mapping("users", value).items():
        if not is_uuid(account):
            raise refused("users", f"invalid account_id '{account[:100]}'")
        account_id = AccountId(account.lower())
        changes = {
            name: _user_value(caller, account_id, name, given) for name, given in mapping("users", fields).items()
        }
        if changes and not await tx.collaborators.update(project_id, account_id, changes):
            raise refused("users", f"account '{account_id}' is not on this project; add it with add_collaborator")
    return {}


def _user_value(caller: Principal, account_id: AccountId, name: str, value: Any) -> Any:
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
    return mapping(name, value)
