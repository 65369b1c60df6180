"""`projects`, `projects_all`, `projects_admin`, and `project_avatar_images`, which are rows of the same.

Source: Wire contract 3.6 to 3.8, 3.10.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from pydantic_core import to_json

from projecthub.hub.tables import project_changes as changes
from projecthub.hub.tables.declaring import (
    Asked,
    Field,
    Row,
    Scope,
    Table,
    a_project_id,
    a_text,
    made_of,
    mapping_of,
    moment,
    only_set,
    plain,
)
from projecthub.hub.tables.rules import may_read
from projecthub.store.records import State
from projecthub.wire.ids import ProjectId
from projecthub.wire.units import from_ms, ms_to_iso, to_iso

if TYPE_CHECKING:
    from projecthub.store import Transaction

WINDOW: Final = timedelta(weeks=6)
"""The table `projects` holds what was edited within this time, unless one project is asked for."""


def _state(row: Row) -> dict[str, Any]:
    word = row["state"]
    state = {"state": "opened" if word == State.STOPPED else str(word), "time": to_iso(row["state_at"])}
    if word == State.RUNNING:
        state["ip"] = "127.0.0.1"
    elif word == State.ERROR:
        state["error"] = row["state_error"] or ""
    return state


def _states(rows: Sequence[Row]) -> Iterator[str]:
    for row in rows:
        if row["state"] == State.STOPPED:
            yield f'{{"state":"opened","time":"{ms_to_iso(row["state_at"])}"}}'
        else:
            yield to_json(_state({**row, "state_at": from_ms(row["state_at"])})).decode()


def _users(rows: Sequence[Row]) -> Iterator[str]:
    for row in rows:
        users = row["users"]
        yield users if isinstance(users, str) else to_json(users).decode()


def _status(row: Row) -> dict[str, Any]:
    seen = row["instance"]
    if not seen:
        return {}
    return {"project.pid": seen["pid"], "start_ts": seen["start_ts"], "session_id": seen["session_id"]}


def _last_active(row: Row) -> dict[str, str] | None:
    value = row["last_active"]
    return {account_id: to_iso(at) for account_id, at in value.items()} if value else None


SETTINGS_DEFAULTS: Final[Mapping[str, Any]] = {
    "disk_quota": 3000,
    "cores": 1,
    "cpu_shares": 0,
    "memory": 1000,
    "memory_request": 0,
    "mintime": 1800,
    "network": 0,
    "member_host": 0,
    "ephemeral_state": 0,
    "ephemeral_disk": 0,
    "always_running": 0,
}
"""A project's free base quotas: MB, cores, seconds, counts.

Source: Wire contract 3.7, `settings`.
"""

FIELDS: Final[Mapping[str, Field]] = {
    "project_id": plain("project_id"),
    "name": plain("name", write=changes.set_name),
    "title": plain("title", default="", write=a_text(1_000_000)),
    "description": plain("description", default="", write=a_text(1_000_000)),
    "users": replace(mapping_of("users", {}, write=changes.set_users), texts=_users),
    "invite": mapping_of("invite"),
    "invite_requests": mapping_of("invite_requests", write=changes.set_invite_requests),
    "deleted": plain("deleted", "bool", write=changes.set_deleted),
    "host": mapping_of("host"),
    "settings": mapping_of("settings", SETTINGS_DEFAULTS),
    "run_quota": mapping_of("run_quota"),
    "site_license": mapping_of("site_license", write=changes.set_licenses),
    "status": made_of("instance", read=_status),
    "state": made_of("state", "state_at", "state_error", read=_state, texts=_states),
    "manage_users_owner_only": Field(
        kind="bool",
        read=lambda row: row["manage_users_owner_only"] or None,
        columns=("manage_users_owner_only",),
        compare="manage_users_owner_only",
        write=changes.set_by_owner("Only project owners can change collaborator management settings"),
    ),
    "last_edited": moment("last_edited_at"),
    "last_active": made_of("last_active", read=_last_active),
    "action_request": mapping_of("action_request", write=changes.set_action),
    "course": mapping_of("course"),
    "compute_image": plain("compute_image", default="default", write=a_text(200)),
    "created": moment("created_at"),
    "ephemeral": plain("ephemeral_ms", "number"),
    "env": mapping_of("env", write=changes.set_env),
    "sandbox": plain(
        "sandbox", "bool", write=changes.set_by_owner("Only the owner of the project can make it a sandbox")
    ),
    "avatar_image_tiny": plain("avatar_image_tiny", write=a_text(20_000)),
    "avatar_image_full": only_set(a_text(1_000_000)),
    "color": plain("color", write=a_text(100)),
    "pay_as_you_go_quotas": mapping_of("pay_as_you_go_quotas"),
}

_OWNERS: Final = ("name", "manage_users_owner_only", "sandbox")
"""Fields that owners set, and site admins."""


async def _one(tx: Transaction, asked: Asked) -> Sequence[Row]:
    """The project that is asked for, for who is on it and for site admins."""
    project_id = ProjectId(asked.scope or "")
    await may_read(tx, asked.caller, project_id)
    return await tx.projects.select(asked.selection, member=None, project_id=project_id)


async def _all(tx: Transaction, asked: Asked) -> Sequence[Row]:
    if asked.scope is not None:
        return await _one(tx, asked)
    return await tx.projects.select(asked.selection, member=asked.caller.account_id)


async def _recent(tx: Transaction, asked: Asked) -> Sequence[Row]:
    if asked.scope is not None:
        return await _one(tx, asked)
    return await tx.projects.select(asked.selection, member=asked.caller.account_id, edited_after=asked.now - WINDOW)


def _all_pages(tx: Transaction, asked: Asked) -> AsyncGenerator[Sequence[Row]]:
    return tx.projects.pages(asked.selection, member=asked.caller.account_id)


def _recent_pages(tx: Transaction, asked: Asked) -> AsyncGenerator[Sequence[Row]]:
    return tx.projects.pages(asked.selection, member=asked.caller.account_id, edited_after=asked.now - WINDOW)


_ANY: Final = Scope(field="project_id", check=a_project_id, required=False)
_ONE: Final = Scope(field="project_id", check=a_project_id)

PROJECTS: Final = Table(
    name="projects",
    fields=FIELDS,
    rows=_recent,
    scope=_ANY,
    pages=_recent_pages,
    order_by=(("last_edited_at", True),),
    limit=300,
    keys=("project_id",),
    change=changes.change_project,
)
PROJECTS_ALL: Final = Table(name="projects_all", fields=FIELDS, rows=_all, scope=_ANY, pages=_all_pages)
PROJECTS_ADMIN: Final = Table(name="projects_admin", fields=FIELDS, rows=_one, scope=_ONE, admins_only=True)
PROJECTS_OWNER: Final = Table(
    name="projects_owner",
    fields={"project_id": FIELDS["project_id"], **{name: FIELDS[name] for name in _OWNERS}},
    rows=None,
    keys=("project_id",),
    change=changes.change_project,
)
"""What only owners set, under a name that other clients use for it."""
AVATARS: Final = Table(
    name="project_avatar_images",
    fields={"project_id": plain("project_id"), "avatar_image_full": plain("avatar_image_full")},
    rows=_one,
    scope=_ONE,
    one_row=True,
)
