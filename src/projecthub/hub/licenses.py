"""Licenses: made, changed and ended by site admins; attached to projects by those who are on them.

Source: Wire contract 7.3; docs/wire-extensions.md.
"""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any, Final

from projecthub.errors import InvalidArgument, NotFound
from projecthub.hub.license_judgement import status_at
from projecthub.hub.license_quotas import checked_quota
from projecthub.hub.permissions import admins_only, may_license, not_deleted, project_id_of
from projecthub.hub.times import parse_time
from projecthub.store.records import License
from projecthub.wire import shapes
from projecthub.wire.ids import is_uuid
from projecthub.wire.units import to_iso

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from projecthub.hub.clock import Clock
    from projecthub.hub.principals import Principal
    from projecthub.store import Store, Transaction
    from projecthub.store.records import Project
    from projecthub.wire.ids import ProjectId

NO_START: Final = "now"
"""What `activates` says of a license that is in force from the beginning."""
NO_END: Final = "never"
"""What `expires` says of a license that does not end."""

_MAX_TITLE: Final = 254
_MAX_DESCRIPTION: Final = 10_000
_MAX_RUN_LIMIT: Final = 1_000_000_000
_MAX_PAGE: Final = 1000
_MAX_PROJECTS: Final = 1000


class Licenses:
    """The licenses of this hub."""

    def __init__(self, store: Store, clock: Clock) -> None:
        """Make the service."""
        self._store = store
        self._clock = clock

    # -- for site admins ---------------------------------------------------------------------------

    async def create(self, caller: Principal, request: shapes.CreateLicense) -> shapes.License:
        """Make a license.

        Raises:
            PermissionDenied: The caller is no site admin.
            InvalidArgument: The quota is none, or a value is out of range.
        """
        admins_only(caller, "create licenses")
        license = License(
            id=str(uuid.uuid4()),
            title=_text("title", request.title, _MAX_TITLE),
            description=_text("description", request.description, _MAX_DESCRIPTION),
            quota=checked_quota(request.quota),
            run_limit=_run_limit(request.run_limit),
            activates_at=_time(request.activates, "activates", NO_START),
            expires_at=_time(request.expires, "expires", NO_END),
            created_at=self._clock.now(),
        )
        _check_order(license.activates_at, license.expires_at)
        async with self._store.write() as tx:
            await tx.licenses.create(
                id=license.id,
                title=license.title,
                description=license.description,
                quota=license.quota,
                run_limit=license.run_limit,
                activates_at=license.activates_at,
                expires_at=license.expires_at,
                created_at=license.created_at,
            )
        return self._shape(license, 0)

    async def page(self, caller: Principal, request: shapes.ListLicenses) -> list[shapes.License]:
        """A page of licenses, newest first.

        Raises:
            PermissionDenied: The caller is no site admin.
            InvalidArgument: ``limit`` is not from 1 to 1000, or ``after`` no license id.
            NotFound: There is no license ``after``.
        """
        admins_only(caller, "list licenses")
        if not 1 <= request.limit <= _MAX_PAGE:
            raise InvalidArgument(f"limit is {request.limit}; give a number from 1 to {_MAX_PAGE}")
        after = None if request.after is None else license_id_of(request.after)
        async with self._store.read() as tx:
            found = await tx.licenses.list(limit=request.limit, after=after)
            used = await tx.licenses.used([license.id for license in found])
        return [self._shape(license, used.get(license.id, 0)) for license in found]

    async def get(self, caller: Principal, request: shapes.LicenseOnly) -> shapes.License:
        """A license, with the projects that run with it now: the first 1000 of them.

        Raises:
            PermissionDenied: The caller is no site admin.
            NotFound: There is no such license.
        """
        admins_only(caller, "see licenses")
        license_id = license_id_of(request.id)
        async with self._store.read() as tx:
            shape = await self._read(tx, license_id)
            shape["projects"] = [*await tx.licenses.users(license_id, limit=_MAX_PROJECTS)]
        return shape

    async def update(self, caller: Principal, request: shapes.UpdateLicense) -> shapes.License:
        """Change a license; what is not given stays. Projects see it at their next start.

        Raises:
            PermissionDenied: The caller is no site admin.
            NotFound: There is no such license.
            InvalidArgument: The quota would be none, or a value is out of range.
        """
        admins_only(caller, "change licenses")
        license_id = license_id_of(request.id)
        async with self._store.write() as tx:
            license = (await tx.licenses.locked([license_id])).get(license_id)
            if license is None:
                raise _unknown(license_id)
            if changes := _changes(license, request):
                await tx.licenses.update(license_id, changes)
            return await self._read(tx, license_id)

    async def end(self, caller: Principal, request: shapes.LicenseOnly) -> shapes.License:
        """Have a license expire now; one that has expired stays as it is. Projects that run with it run on.

        Raises:
            PermissionDenied: The caller is no site admin.
            NotFound: There is no such license.
        """
        admins_only(caller, "end licenses")
        license_id = license_id_of(request.id)
        async with self._store.write() as tx:
            await tx.licenses.end(license_id, self._clock.now())
            return await self._read(tx, license_id)

    async def _read(self, tx: Transaction, license_id: str) -> shapes.License:
        license = await tx.licenses.get(license_id)
        if license is None:
            raise _unknown(license_id)
        return self._shape(license, (await tx.licenses.used([license_id])).get(license_id, 0))

    def _shape(self, license: License, used: int) -> shapes.License:
        return {
            "id": license.id,
            "title": license.title,
            "description": license.description,
            "quota": dict(license.quota),
            "run_limit": license.run_limit,
            "activates": to_iso(license.activates_at) if license.activates_at else None,
            "expires": to_iso(license.expires_at) if license.expires_at else None,
            "created": to_iso(license.created_at),
            "status": status_at(license, self._clock.now()).value,
            "running": used,
        }

    # -- for everybody -----------------------------------------------------------------------------

    async def attach(self, caller: Principal, request: shapes.ProjectLicense) -> shapes.LicenseChange:
        """Attach a license to a project; it counts from the project's next start on. Idempotent.

        Raises:
            PermissionDenied: The caller may not change the project's licenses.
            Conflict: The project is deleted.
            InvalidArgument: An id is none.
            NotFound: There is no such license.
        """
        return await self._change_attached(caller, request, wanted=True)

    async def detach(self, caller: Principal, request: shapes.ProjectLicense) -> shapes.LicenseChange:
        """Take a license off a project; it counts until the project's next start. Idempotent. Raises as `attach`."""
        return await self._change_attached(caller, request, wanted=False)

    async def _change_attached(
        self, caller: Principal, request: shapes.ProjectLicense, *, wanted: bool
    ) -> shapes.LicenseChange:
        project_id = project_id_of(request.project_id)
        license_id = license_id_of(request.license_id)
        async with self._store.write() as tx:
            project = may_license(
                await tx.projects.access(project_id, caller.account_id, lock=True), caller, project_id
            )
            not_deleted(project)
            known = license_id in (project.site_license or {}) or await tx.licenses.existing([license_id])
            if not known:
                raise _unknown(license_id)
            changed = await self.change_attached(tx, caller, project, {license_id: wanted})
            if changed is not None:
                await tx.projects.update(project_id, {"site_license": changed})
        return {
            "project_id": project_id,
            "license_id": license_id,
            "attached": wanted,
            "changed": changed is not None,
            "needs_restart": changed is not None and project.desired == "running",
        }

    async def change_attached(
        self, tx: Transaction, caller: Principal, project: Project, wanted: dict[str, bool]
    ) -> dict[str, Any] | None:
        """The project's ``site_license`` with licenses attached and detached, and the log of that.

        What stands under an id is the hub's to write, at a start: it says what the license gives.

        Args:
            tx: A transaction that writes.
            caller: Who does it, and may.
            project: The project, read in this transaction with ``lock``.
            wanted: For each id whether it is to be attached.

        Returns:
            The new value of the column; None if it stays.

        Raises:
            NotFound: An id that is to be attached is of no license, and is not attached already.
        """
        before = dict(project.site_license or {})
        added = [license_id for license_id, attach in wanted.items() if attach and license_id not in before]
        removed = [license_id for license_id, attach in wanted.items() if not attach and license_id in before]
        existing = await tx.licenses.existing(added) if added else set()
        for license_id in added:
            if license_id not in existing:
                raise _unknown(license_id)
        if not added and not removed:
            return None
        await self._log(tx, caller, project.project_id, "license_added", added)
        await self._log(tx, caller, project.project_id, "license_removed", removed)
        kept = {license_id: content for license_id, content in before.items() if license_id not in removed}
        return kept | {license_id: {} for license_id in added}

    async def _log(
        self, tx: Transaction, caller: Principal, project_id: ProjectId, event: str, license_ids: Iterable[str]
    ) -> None:
        for license_id in license_ids:
            noted = {"event": event, "license_id": license_id}
            await tx.log.append(project_id, caller.account_id, noted, at=self._clock.now())


def license_id_of(value: object) -> str:
    """Check and normalise the id of a license that came from outside.

    Raises:
        InvalidArgument: It is no uuid.
    """
    if not is_uuid(value):
        shown = "null" if value is None else str(value)[:100]
        raise InvalidArgument(f"license '{shown}' is no license id; give a uuid", value=value)
    return value.lower()


def _unknown(license_id: str) -> NotFound:
    return NotFound(f"there is no license with id '{license_id[:100]}'", id=license_id)


def _changes(license: License, request: shapes.UpdateLicense) -> dict[str, Any]:
    """The columns that a request changes, with their new values."""
    changes: dict[str, Any] = {}
    if request.title is not None:
        changes["title"] = _text("title", request.title, _MAX_TITLE)
    if request.description is not None:
        changes["description"] = _text("description", request.description, _MAX_DESCRIPTION)
    if request.quota is not None:
        changes["quota"] = checked_quota(request.quota, stored=license.quota)
    if request.run_limit is not None:
        changes["run_limit"] = _run_limit(request.run_limit)
    if request.activates is not None:
        changes["activates_at"] = _time(request.activates, "activates", NO_START)
    if request.expires is not None:
        changes["expires_at"] = _time(request.expires, "expires", NO_END)
    if "activates_at" in changes or "expires_at" in changes:
        _check_order(changes.get("activates_at", license.activates_at), changes.get("expires_at", license.expires_at))
    return changes


def _text(name: str, value: str, longest: int) -> str:
    if len(value) > longest:
        raise InvalidArgument(f"{name} has {len(value)} characters; give at most {longest}")
    return value


def _run_limit(value: int | None) -> int | None:
    if value is not None and not 0 <= value <= _MAX_RUN_LIMIT:
        raise InvalidArgument(f"run_limit is {value}; give a number of projects from 1 to {_MAX_RUN_LIMIT}, 0 for any")
    return value or None


def _time(value: str | int | None, name: str, open_end: str) -> datetime | None:
    return None if value == open_end else parse_time(value, name)


def _check_order(activates_at: datetime | None, expires_at: datetime | None) -> None:
    if activates_at is not None and expires_at is not None and expires_at <= activates_at:
        raise InvalidArgument(
            f"expires is {to_iso(expires_at)}, not later than activates, {to_iso(activates_at)}; give a later time"
        )
