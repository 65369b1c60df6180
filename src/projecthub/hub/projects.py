"""Projects: created, started, stopped, touched, looked at, deleted.

Source: Wire contract 0, 2.2, 2.6 to 2.11, 4.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import uuid
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final

import structlog

from projecthub.errors import Conflict, HubError, InvalidArgument, PermissionDenied
from projecthub.files import CopyOptions
from projecthub.hub.permissions import may_delete, member_access, not_deleted, project_id_of
from projecthub.store.records import Project, State
from projecthub.wire import shapes
from projecthub.wire.ids import ProjectId, is_uuid
from projecthub.wire.units import MEGABYTE, to_iso, to_mb, to_ms

if TYPE_CHECKING:
    from projecthub.engines.port import Engine, Usage
    from projecthub.hub.clock import Clock
    from projecthub.hub.homes import ProjectHomes
    from projecthub.hub.lifecycle import Lifecycle
    from projecthub.hub.principals import Principal
    from projecthub.hub.shares import SharedContent, Shares
    from projecthub.store import Store, Transaction

VERSION: Final = 1
"""Version of the project server's contract with its users, as `status` tells it."""

DEFAULT_TITLE: Final = "No Title"
_MAX_IDEMPOTENCY_KEY: Final = 200
_MAX_EPHEMERAL_MS: Final = 10 * 365 * 86_400_000

_log = structlog.get_logger()


class Projects:
    """What can be done with whole projects."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        lifecycle: Lifecycle,
        engine: Engine,
        homes: ProjectHomes,
        shares: Shares,
    ) -> None:
        """Make the service."""
        self._store = store
        self._clock = clock
        self._lifecycle = lifecycle
        self._engine = engine
        self._homes = homes
        self._shares = shares
        self._background: set[asyncio.Task[None]] = set()

    async def close(self) -> None:
        """Wait for the starts that nobody waits for."""
        await asyncio.gather(*self._background, return_exceptions=True)

    # -- creating ----------------------------------------------------------------------------------

    async def create(
        self, caller: Principal, request: shapes.CreateProject, *, idempotency_key: str | None = None
    ) -> ProjectId:
        """Make a project that belongs to the caller. It is there whole or not at all.

        Args:
            caller: Becomes its owner.
            request: What it is to be like.
            idempotency_key: A name for this very call, up to 200 characters; the same call again within 24 hours
                answers the same project.

        Raises:
            InvalidArgument: A license or share that is none; a bad id; a key that was used for another request.
            PermissionDenied: ``project_id`` is given by somebody who is no site admin.
            Conflict: There is a project of that id.
        """
        if idempotency_key is not None and not 0 < len(idempotency_key) <= _MAX_IDEMPOTENCY_KEY:
            raise InvalidArgument(f"the Idempotency-Key has {len(idempotency_key)} characters; give 1 to 200")
        if request.ephemeral is not None and not 0 < request.ephemeral <= _MAX_EPHEMERAL_MS:
            raise InvalidArgument(f"ephemeral is {request.ephemeral}; give a lifetime in milliseconds, up to ten years")
        fingerprint = hashlib.sha256(json.dumps(asdict(request), sort_keys=True).encode()).hexdigest()
        project_id = _new_id(caller, request)
        content = None if request.public_path_id is None else await self._shares.content(request.public_path_id)
        slot = None if content is None else await self._populate(caller, request, project_id, content)
        try:
            async with self._store.write() as tx:
                earlier = await _earlier(tx, caller, idempotency_key, fingerprint)
                if earlier is None:
                    await self._insert(tx, caller, request, project_id, slot, content)
                    if idempotency_key is not None:
                        await tx.idempotency.put(
                            caller.account_id,
                            idempotency_key,
                            fingerprint=fingerprint,
                            result=project_id,
                            at=self._clock.now(),
                        )
        except BaseException:
            if slot is not None:
                await self._homes.remove(project_id)
            raise
        if earlier is not None:
            if slot is not None:
                await self._homes.remove(project_id)
            return earlier
        if request.start:
            self._start_soon(project_id)
        return project_id

    async def _populate(
        self, caller: Principal, request: shapes.CreateProject, project_id: ProjectId, content: SharedContent
    ) -> int:
        """Copy what is shared into a home that no project has yet; tells its slot.

        The files come before the row, for a copy may take long and a transaction must not. What would be refused is
        checked first. If the hub is killed meanwhile, a home without a project is left, which the next start removes.
        """
        async with self._store.write() as tx:
            await self._licenses(tx, request.license, None)
            if await tx.projects.get(project_id) is not None:
                raise Conflict(f"there is a project with id '{project_id}' already")
            slot = await tx.projects.reserve_slot()
        try:
            await self._homes.copy(
                (content.project_id, content.unix_slot, content.path), (project_id, slot, content.path), CopyOptions()
            )
        except BaseException:
            await self._homes.remove(project_id)
            raise
        return slot

    async def _insert(
        self,
        tx: Transaction,
        caller: Principal,
        request: shapes.CreateProject,
        project_id: ProjectId,
        slot: int | None,
        content: SharedContent | None,
    ) -> None:
        licenses = await self._licenses(tx, request.license, content.license_id if content else None)
        settings = {"disableInternet": True} if (request.customize or {}).get("disableInternet") else None
        title = request.title if request.title is not None else content.title if content else DEFAULT_TITLE
        created_slot = await tx.projects.create(
            project_id=project_id,
            owner=caller.account_id,
            title=title,
            description=request.description or "",
            created_at=self._clock.now(),
            compute_image=request.image or (content.compute_image if content else None),
            ephemeral_ms=request.ephemeral,
            site_license=licenses,
            settings=settings,
            unix_slot=slot,
            desired="running" if request.start else "stopped",
        )
        self._homes.uid(created_slot)  # no project beyond the range of user ids

    async def _licenses(self, tx: Transaction, given: str | None, inherited: str | None) -> dict[str, Any] | None:
        ids = [part.strip() for part in (given or "").split(",") if part.strip()]
        for license_id in ids:
            if not is_uuid(license_id):
                raise InvalidArgument(f"license '{license_id[:100]}' is no license id; give uuids separated by commas")
        ids = [license_id.lower() for license_id in ids]
        existing = await tx.licenses.existing(ids) if ids else set()
        for license_id in ids:
            if license_id not in existing:
                raise InvalidArgument(f"there is no license with id '{license_id}'; no project was made")
        if inherited is not None and inherited not in ids:
            ids.append(inherited)
        return {license_id: {} for license_id in ids} or None

    def _start_soon(self, project_id: ProjectId) -> None:
        task = asyncio.create_task(self._start_in_background(project_id))
        self._background.add(task)
        task.add_done_callback(self._background.discard)

    async def _start_in_background(self, project_id: ProjectId) -> None:
        async with self._store.read() as tx:
            project = await tx.projects.get(project_id)
        try:
            if project is not None:
                await self._lifecycle.start(project)
        except HubError as error:
            _log.warning("project.start_failed", project_id=project_id, error=error.message)

    # -- running -----------------------------------------------------------------------------------

    async def start(self, caller: Principal, project_id: object) -> shapes.ProjectState:
        """Have a project running. See `Lifecycle.start` for the errors."""
        project = await self._of_member(caller, project_id, "must be collaborator on project to start it")
        return state_of(await self._lifecycle.start(project))

    async def stop(self, caller: Principal, project_id: object) -> shapes.ProjectState:
        """Have a project stopped."""
        project = await self._of_member(caller, project_id, "must be collaborator on project to stop it")
        if project.state is State.STOPPED and project.desired == "stopped":
            return state_of(project)
        return state_of(await self._lifecycle.stop(project.project_id))

    async def restart(self, caller: Principal, project_id: object) -> shapes.ProjectState:
        """Stop a project if it runs, and start it."""
        project = await self._of_member(caller, project_id, "must be collaborator on project to start it")
        not_deleted(project)
        return state_of(await self._lifecycle.start(await self._lifecycle.stop(project.project_id)))

    async def touch(self, caller: Principal, project_id: object) -> shapes.ProjectState:
        """Mark a project as used now, and have it running."""
        checked = project_id_of(project_id)
        async with self._store.write() as tx:
            access = await member_access(tx, caller, checked, "must be collaborator on project to touch it")
            not_deleted(access.project)
            await tx.projects.touch(checked, caller.account_id, self._clock.now())
        return state_of(await self._lifecycle.start(access.project))

    async def state(self, caller: Principal, project_id: object) -> shapes.ProjectState:
        """Whether a project runs, and since when."""
        return state_of(await self._of_member(caller, project_id, "must be collaborator on project to get state"))

    async def status(self, caller: Principal, project_id: object) -> shapes.ProjectStatus:
        """What a project uses. Of one that does not run only the disk use of its home."""
        project = await self._of_member(caller, project_id, "must be collaborator on project to get status")
        instance = self._lifecycle.instance(project.project_id)
        if instance is None:
            return {"disk_MB": to_mb(await self._homes.disk_bytes(project.project_id))}
        usage, disk_bytes = await asyncio.gather(
            self._engine.usage(instance), self._homes.disk_bytes(project.project_id)
        )
        status: shapes.ProjectStatus = {
            "project.pid": instance.pid,
            "project": {"pid": instance.pid},
            "start_ts": to_ms(instance.started_at),
            "session_id": instance.session_id,
            "version": VERSION,
            "disk_MB": to_mb(disk_bytes),
            "memory": _memory(usage),
            "cpu": {"usage": round(usage.cpu_s, 3)},
            "oom_kills": 0,
            "isolation": self._engine.isolation.value,
        }
        return status

    async def _of_member(self, caller: Principal, project_id: object, message: str) -> Project:
        checked = project_id_of(project_id)
        async with self._store.read() as tx:
            return (await member_access(tx, caller, checked, message)).project

    # -- deleting ----------------------------------------------------------------------------------

    async def delete(self, caller: Principal, project_id: object) -> shapes.Deleted:
        """Stop a project and mark it as deleted; its files stay. Licenses are let go. Idempotent."""
        checked = project_id_of(project_id, "project_id must be a valid UUID")
        async with self._store.read() as tx:
            project = may_delete(await tx.projects.access(checked, caller.account_id), caller)
        await self.mark_deleted(project.project_id)
        return {"project_id": project.project_id, "deleted": True}

    async def mark_deleted(self, project_id: ProjectId) -> None:
        """Stop and mark, whoever asks; the mark is written with the wish to stop, so that no start can slip in."""
        await self._lifecycle.stop(project_id, {"deleted": True, "site_license": None})

    async def delete_expired(self) -> int:
        """Delete the projects whose lifetime is over; tells how many."""
        async with self._store.read() as tx:
            expired = await tx.projects.expired(self._clock.now())
        for project_id in expired:
            await self.mark_deleted(project_id)
        return len(expired)


def state_of(project: Project) -> shapes.ProjectState:
    """A project's state as the wire tells it."""
    state: shapes.ProjectState = {
        "state": project.state.value,
        "time": to_iso(project.state_at),
    }
    if project.state is State.RUNNING:
        state["ip"] = "127.0.0.1"
    if project.state is State.ERROR:
        state["error"] = project.state_error or "the project failed; start it again"
    return state


def _memory(usage: Usage) -> shapes.Memory:
    def mb(size: int) -> float:
        return round(size / MEGABYTE, 3)

    return {
        "count": usage.processes,
        "pss": mb(usage.pss),
        "rss": mb(usage.rss),
        "swap": mb(usage.swap),
        "uss": mb(usage.uss),
    }


def _new_id(caller: Principal, request: shapes.CreateProject) -> ProjectId:
    if request.project_id is None:
        return ProjectId(str(uuid.uuid4()))
    if not caller.is_admin:
        raise PermissionDenied("only admins can specify the project_id")
    return project_id_of(request.project_id, "project_id '{value}' is no uuid")


async def _earlier(tx: Transaction, caller: Principal, key: str | None, fingerprint: str) -> ProjectId | None:
    if key is None:
        return None
    known = await tx.idempotency.get(caller.account_id, key)
    if known is None:
        return None
    if known[0] != fingerprint:
        raise InvalidArgument(f"Idempotency-Key '{key}' was used for another request; use a new one for each")
    return ProjectId(known[1])
