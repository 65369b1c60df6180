"""Shares made and changed by set queries on `public_paths`.

Source: Wire contract 7.4.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from projecthub.errors import InvalidArgument, QueryRefused
from projecthub.hub.permissions import is_able
from projecthub.hub.shares import normal_path, share_id
from projecthub.hub.values import boolean, refused, text
from projecthub.wire.ids import ProjectId, is_uuid
from projecthub.wire.methods import Ability

if TYPE_CHECKING:
    from projecthub.hub.clock import Clock
    from projecthub.hub.principals import Principal
    from projecthub.store import Store, Transaction

_TEXTS: Final = frozenset({"name", "description", "license", "compute_image", "url", "redirect", "image"})
_FLAGS: Final = frozenset({"disabled", "unlisted", "authenticated", "jupyter_api"})
_MAX_PATH: Final = 4096


class ShareFields:
    """Makes and changes rows of the table `public_paths`."""

    def __init__(self, store: Store, clock: Clock) -> None:
        """Make the service."""
        self._store = store
        self._clock = clock

    async def set(self, caller: Principal, shape: dict[str, Any]) -> None:
        """Share a path of a project, or change how; any owner or collaborator may. The id is computed here.

        Raises:
            QueryRefused: Not a field, not the caller's project, or not a value for it.
        """
        given = shape.get("project_id")
        if given is None or shape.get("path") is None:
            missing = "project_id" if given is None else "path"
            raise QueryRefused(f"FATAL: must specify public_paths.{missing}")
        if not is_uuid(given):
            raise QueryRefused(f"invalid project_id -- {str(given)[:100]}")
        project_id = ProjectId(given.lower())
        path = _path(shape["path"])
        changes = {
            name: _value(name, value) for name, value in shape.items() if name not in ("id", "project_id", "path")
        }
        async with self._store.write() as tx:
            if not is_able(await tx.collaborators.role(project_id, caller.account_id), Ability.MANAGE):
                raise QueryRefused("FATAL: user must be an admin")
            await self._check_license(tx, changes)
            now = self._clock.now()
            await tx.shares.upsert(share_id(project_id, path), project_id, path, changes, at=now)
            event = {"event": "path_shared", "path": path, "fields": sorted(changes)}
            await tx.log.append(project_id, caller.account_id, event, at=now)

    async def _check_license(self, tx: Transaction, changes: dict[str, Any]) -> None:
        license_id = changes.get("site_license_id")
        if license_id is not None and not await tx.licenses.existing([license_id]):
            raise refused("site_license_id", f"there is no license with id '{license_id[:100]}'")


def _path(value: Any) -> str:
    try:
        return normal_path(text("path", value, longest=_MAX_PATH))
    except InvalidArgument as error:
        raise refused("path", error.message) from error


def _value(name: str, value: Any) -> Any:
    if name in _FLAGS:
        return boolean(name, value)
    if name in _TEXTS or name == "site_license_id":
        return text(name, value, longest=10_000)
    raise QueryRefused(f"FATAL: changing public_paths.{name[:100]} not allowed")
