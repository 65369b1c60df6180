"""`public_paths`, the shares of one project, and `public_paths_by_id`, what everybody sees of one.

Source: Wire contract 3.10, 7.4.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from projecthub.errors import InvalidArgument, QueryRefused
from projecthub.files.sharing import is_kept_back
from projecthub.hub.shares import normal_path, share_id
from projecthub.hub.tables.declaring import (
    Asked,
    Change,
    Edit,
    Field,
    Row,
    Scope,
    Table,
    a_flag,
    a_project_id,
    a_text,
    ignored,
    moment,
    new_values,
    plain,
)
from projecthub.hub.tables.rules import may_change, may_read
from projecthub.hub.values import refused, text
from projecthub.wire.ids import ProjectId, is_share_id
from projecthub.wire.methods import Ability

if TYPE_CHECKING:
    from projecthub.store import Transaction

_MAX_PATH: Final = 4096
_MAX_TEXT: Final = 10_000


async def _set_license(edit: Edit, value: Any) -> Mapping[str, Any]:
    license_id = text("site_license_id", value, longest=_MAX_TEXT)
    if not await edit.tx.licenses.existing([license_id]):
        raise refused("site_license_id", f"there is no license with id '{license_id[:100]}'")
    return {"site_license_id": license_id}


def _text(column: str) -> Field:
    return plain(column, write=a_text(_MAX_TEXT))


def _flag(column: str) -> Field:
    return plain(column, "bool", write=a_flag())


_SHOWN: Final[Mapping[str, Field]] = {
    "id": plain("id", write=ignored()),  # follows from the two below
    "project_id": plain("project_id"),
    "path": plain("path"),
    **{name: _text(name) for name in ("name", "description", "license", "compute_image", "url", "redirect", "image")},
    **{name: _flag(name) for name in ("disabled", "unlisted", "authenticated", "jupyter_api")},
    "counter": plain("counter", "number"),
    "created": moment("created_at"),
    "last_edited": moment("last_edited_at"),
    "last_saved": moment("last_saved_at"),
}
FIELDS: Final[Mapping[str, Field]] = {
    **_SHOWN,
    "vhost": plain("vhost"),
    # Who knows the id of a license may use it: only who is on the project is told.
    "site_license_id": plain("site_license_id", write=_set_license),
}


def _a_share_id(value: object) -> str:
    if not is_share_id(value):
        raise QueryRefused("FATAL: id of public_paths_by_id is no share's id; give one, of 40 hex digits")
    return value


async def _of_project(tx: Transaction, asked: Asked) -> Sequence[Row]:
    project_id = ProjectId(asked.scope or "")
    await may_read(tx, asked.caller, project_id)
    return await tx.shares.select(asked.selection, project_id=project_id)


async def _shown(tx: Transaction, asked: Asked) -> Sequence[Row]:
    return await tx.shares.select_shown(asked.selection, asked.scope or "")


def _row(change: Change) -> tuple[ProjectId, str]:
    """Whose path a query names, and which."""
    project_id = a_project_id(change.shape["project_id"])
    try:
        path = normal_path(text("path", change.shape["path"], longest=_MAX_PATH))
    except InvalidArgument as error:
        raise refused("path", error.message) from error
    if is_kept_back(path):
        raise refused("path", f"'{path[:200]}' is what the hub keeps there for the project alone; share another path")
    return project_id, path


async def _share(change: Change) -> None:
    """Share a path of a project, or change how."""
    project_id, path = _row(change)
    async with change.tools.store.write() as tx:
        await may_change(tx, change.caller, project_id, Ability.MANAGE)
        values = await new_values(change, tx)
        now = change.tools.clock.now()
        await tx.shares.upsert(share_id(project_id, path), project_id, path, values, at=now)
        event = {"event": "path_shared", "path": path, "fields": sorted(values)}
        await tx.log.append(project_id, change.caller.account_id, event, at=now)


async def _unshare(change: Change) -> None:
    """Share a path no longer; it need not be shared."""
    project_id, path = _row(change)
    async with change.tools.store.write() as tx:
        await may_change(tx, change.caller, project_id, Ability.MANAGE)
        if await tx.shares.delete(share_id(project_id, path)):
            event = {"event": "path_unshared", "path": path}
            await tx.log.append(project_id, change.caller.account_id, event, at=change.tools.clock.now())


PUBLIC_PATHS: Final = Table(
    name="public_paths",
    fields=FIELDS,
    rows=_of_project,
    scope=Scope(field="project_id", check=a_project_id),
    keys=("project_id", "path"),
    change=_share,
    delete=_unshare,
)
PUBLIC_PATHS_BY_ID: Final = Table(
    name="public_paths_by_id",
    fields=_SHOWN,
    rows=_shown,
    scope=Scope(field="id", check=_a_share_id),
    one_row=True,
)
