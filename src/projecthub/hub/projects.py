"""Projects: started, stopped, touched, looked at, deleted.

Source: Wire contract 0, 2.6 to 2.11, 4.
"""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING, Any, Final

import structlog

from projecthub.errors import Conflict, HubError, InvalidArgument
from projecthub.hub.permissions import admins_only, may_delete, member_access, not_deleted, project_id_of
from projecthub.hub.tables.projects import FIELDS
from projecthub.store.records import Project, State
from projecthub.wire import shapes
from projecthub.wire.ids import AccountId, ProjectId
from projecthub.wire.methods import Ability
from projecthub.wire.project_system import VERSION
from projecthub.wire.units import MEGABYTE, from_ms, to_iso, to_mb, to_ms

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from projecthub.engines.port import Engine, Limits, Means, Usage
    from projecthub.hub.clock import Clock
    from projecthub.hub.homes import ProjectHomes
    from projecthub.hub.idle import Idle
    from projecthub.hub.lifecycle import Lifecycle
    from projecthub.hub.principals import Principal
    from projecthub.hub.quotas import Quotas
    from projecthub.store import Store

_LISTED: Final = ("project_id", "title", "last_edited", "created", "state", "deleted", "users")
"""Fields that a list of everybody's projects tells, as user queries do."""
_MAX_PAGE: Final = 1000
_PLACE: Final = re.compile(r"([0-9]{1,14})\.([0-9a-f-]{36})")

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
        quotas: Quotas,
        idle: Idle,
    ) -> None:
        """Make the service."""
        self._quotas = quotas
        self._idle = idle
        self._store = store
        self._clock = clock
        self._lifecycle = lifecycle
        self._engine = engine
        self._homes = homes

    # -- all of them -------------------------------------------------------------------------------

    async def page(self, caller: Principal, request: shapes.ListAllProjects) -> shapes.ProjectPage:
        """A page of everybody's projects, deleted ones included, those edited last first.

        One that is used while pages are read comes to the front, and may be missed by whoever is past that.

        Raises:
            PermissionDenied: The caller is no site admin.
            InvalidArgument: ``limit`` is out of range, or ``after`` no `next` of a page.
        """
        admins_only(caller, "list the projects of others")
        if not 1 <= request.limit <= _MAX_PAGE:
            raise InvalidArgument(f"limit is {request.limit}; give a number from 1 to {_MAX_PAGE}")
        columns = [column for name in _LISTED for column in FIELDS[name].columns]
        async with self._store.read() as tx:
            rows = await tx.projects.newest(columns, limit=request.limit + 1, after=_place(request.after))
        told: list[Any] = [_told(row) for row in rows[: request.limit]]
        last = rows[request.limit - 1] if len(rows) > request.limit else None
        place = None if last is None else f"{to_ms(last['last_edited_at'])}.{last['project_id']}"
        return {"projects": told, "next": place}

    # -- running -----------------------------------------------------------------------------------

    async def start(self, caller: Principal, project_id: object) -> shapes.ProjectState:
        """Have a project running. See `Lifecycle.start` for the errors."""
        project = await self._of_member(caller, project_id, "must be collaborator on project to start it", Ability.RUN)
        return state_of(await self._lifecycle.start(project, by=caller.account_id))

    async def stop(self, caller: Principal, project_id: object) -> shapes.ProjectState:
        """Have a project stopped."""
        project = await self._of_member(caller, project_id, "must be collaborator on project to stop it", Ability.RUN)
        if project.state is State.STOPPED and project.desired == "stopped":
            return state_of(project)
        return state_of(await self._lifecycle.stop(project.project_id, by=caller.account_id))

    async def restart(self, caller: Principal, project_id: object) -> shapes.ProjectState:
        """Stop a project if it runs, and have it running again."""
        project = await self._of_member(caller, project_id, "must be collaborator on project to start it", Ability.RUN)
        return state_of(await self._lifecycle.restart(project, by=caller.account_id))

    async def stop_all(self, caller: Principal) -> shapes.StoppedAll:
        """Stop every project of the hub; for site admins."""
        admins_only(caller, "stop all projects")
        stopped, failed = await self._lifecycle.stop_all(by=caller.account_id, reason="all projects were stopped")
        return {"stopped": stopped, "failed": {str(each): why for each, why in failed.items()}}

    async def touch(self, caller: Principal, project_id: object) -> shapes.ProjectState:
        """Mark a project as used now, and have it running."""
        checked = project_id_of(project_id)
        async with self._store.jot() as tx:
            access = await member_access(
                tx, caller, checked, "must be collaborator on project to touch it", Ability.RUN
            )
            not_deleted(access.project)
            await tx.projects.touch(checked, caller.account_id, self._clock.now())
        return state_of(await self._lifecycle.start(access.project, by=caller.account_id))

    async def state(self, caller: Principal, project_id: object) -> shapes.ProjectState:
        """Whether a project runs, and since when."""
        return state_of(
            await self._of_member(caller, project_id, "must be collaborator on project to get state", Ability.READ)
        )

    async def idle(self, caller: Principal, project_id: object) -> shapes.Idle:
        """Since when a project is not used, and when it would be stopped for that.

        Raises:
            Conflict: It does not run; with how it was stopped.
        """
        project = await self._of_member(
            caller, project_id, "must be collaborator on project to get status", Ability.READ
        )
        instance = self._lifecycle.instance(project.project_id)
        if instance is None:
            raise Conflict(f"project '{project.project_id}' does not run{await self._last_stop(project)}")
        await self._idle.look_at(instance)
        return self._idle.report(project)

    async def _last_stop(self, project: Project) -> str:
        async with self._store.read() as tx:
            entries = await tx.log.of_project(project.project_id, limit=20)
        for entry in entries:
            if entry["event"].get("event") == "project_stopped":
                why = entry["event"].get("reason", "somebody stopped it")
                return f"; it was stopped at {to_iso(entry['time'])}: {why}"
        return ""

    async def status(self, caller: Principal, project_id: object) -> shapes.ProjectStatus:
        """What a project uses. Of one that does not run only what concerns its home."""
        checked = project_id_of(project_id)
        async with self._store.glance() as tx:
            access = await member_access(
                tx, caller, checked, "must be collaborator on project to get status", Ability.READ
            )
            kept = await tx.snapshots.used_bytes(checked), await tx.copies.kept_bytes(checked)
        project = access.project
        instance = self._lifecycle.instance(checked)
        if instance is None:
            return await self._disk_status(project, kept)
        usage, disk = await asyncio.gather(self._engine.usage(instance), self._disk_status(project, kept))
        limits = self._quotas.limits(project.run_quota)
        status: shapes.ProjectStatus = {
            "project.pid": instance.pid,
            "project": {"pid": instance.pid},
            "start_ts": to_ms(instance.started_at),
            "session_id": instance.session_id,
            "version": VERSION,
            **disk,
            "memory": _memory(usage, limits.memory_bytes),
            "cpu": {"usage": round(usage.cpu_s, 3)},
            "oom_kills": usage.oom_kills,
            "isolation": self._engine.isolation.value,
            "network": self._quotas.network(project.run_quota, project.settings, self._engine.networks).value,
            "limits": _limits(limits, self._engine.means, disk_is_held=await self._homes.is_held(checked)),
        }
        idle = status["idle"] = self._idle.report(project)
        if idle["idle_timeout_s"] is not None:
            status["idle_timeout_s"] = idle["idle_timeout_s"]
        if idle["would_stop_at"] is not None:
            status["would_stop_at"] = idle["would_stop_at"]
        return status

    async def _disk_status(self, project: Project, kept: tuple[int, int]) -> shapes.ProjectStatus:
        use = await self._homes.disk_use(project.project_id)
        quota_bytes = self._homes.disk_quota_bytes(project.run_quota)
        status: shapes.ProjectStatus = {
            "disk_MB": to_mb(use.used_bytes),
            "disk_quota_MB": to_mb(quota_bytes),
            "disk_age_s": round(use.age_s),
        }
        if use.used_bytes >= quota_bytes:
            status["disk_full"] = True
        snapshots_bytes, undo_bytes = kept
        if snapshots_bytes:
            status["snapshots_MB"] = to_mb(snapshots_bytes)
        if undo_bytes:
            status["undo_MB"] = to_mb(undo_bytes)
        return status

    async def _of_member(self, caller: Principal, project_id: object, message: str, needs: Ability) -> Project:
        checked = project_id_of(project_id)
        async with self._store.glance() as tx:
            return (await member_access(tx, caller, checked, message, needs)).project

    # -- deleting ----------------------------------------------------------------------------------

    async def delete(self, caller: Principal, project_id: object) -> shapes.Deleted:
        """Stop a project and mark it as deleted; its files stay. Licenses are let go. Idempotent."""
        checked = project_id_of(project_id, "project_id must be a valid UUID")
        async with self._store.read() as tx:
            project = may_delete(await tx.projects.access(checked, caller.account_id), caller, checked)
        await self.mark_deleted(project.project_id, by=caller.account_id)
        if not project.deleted:
            await self._note_deleted(project.project_id, {"event": "project_deleted"}, caller.account_id)
        return {"project_id": project.project_id, "deleted": True}

    async def delete_with_owner(self, project_id: ProjectId, *, by: AccountId) -> None:
        """Stop and mark a project whose last owner goes; who asks for it may do so, and is named in the log."""
        await self.mark_deleted(project_id, by=by)
        await self._note_deleted(
            project_id, {"event": "project_deleted", "because": "its owner's account is deleted"}, by
        )

    async def mark_deleted(self, project_id: ProjectId, *, by: AccountId | None = None) -> None:
        """Stop and mark, whoever asks; the mark is written with the wish to stop, so that no start can slip in."""
        await self._lifecycle.stop(project_id, {"deleted": True, "site_license": None}, by=by)

    async def _note_deleted(
        self, project_id: ProjectId, event: Mapping[str, str], account_id: AccountId | None = None
    ) -> None:
        async with self._store.jot() as tx:
            await tx.log.append(project_id, account_id, event, at=self._clock.now())

    async def delete_expired(self) -> int:
        """Delete the projects whose lifetime is over; tells how many."""
        async with self._store.read() as tx:
            expired = await tx.projects.expired(self._clock.now())
        for project_id in expired:
            try:
                await self.mark_deleted(project_id)
                await self._note_deleted(project_id, {"event": "project_deleted", "because": "its lifetime is over"})
            except HubError as error:
                # One that cannot be stopped must not keep the others; the next sweep tries again.
                _log.warning("project.not_expired", project_id=project_id, error=error.message)
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


def _limits(limits: Limits, means: Means, *, disk_is_held: bool) -> shapes.ProjectLimits:
    return {
        "memory_MB": None if limits.memory_bytes is None else to_mb(limits.memory_bytes),
        "cpu": limits.cpu_cores,
        "processes": limits.processes,
        "enforced_by": {
            "memory": means.memory,
            "cpu": means.cpu,
            "processes": means.processes,
            "disk": "project quotas" if disk_is_held else None,
        },
    }


def _memory(usage: Usage, limit: int | None) -> shapes.Memory:
    def mb(size: int) -> float:
        return round(size / MEGABYTE, 3)

    memory: shapes.Memory = {
        "count": usage.processes,
        "pss": mb(usage.pss),
        "rss": mb(usage.rss),
        "swap": mb(usage.swap),
        "uss": mb(usage.uss),
    }
    if limit is not None:
        memory["limit"] = mb(limit)
    return memory


def _told(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row as user queries tell it; what is null is left out."""
    read = {name: reading(row) for name in _LISTED if (reading := FIELDS[name].read) is not None}
    return {name: value for name, value in read.items() if value is not None}


def _place(after: str | None) -> tuple[datetime, ProjectId] | None:
    """Where a page ended.

    Raises:
        InvalidArgument: No page did there.
    """
    if after is None:
        return None
    found = _PLACE.fullmatch(after)
    if found is None:
        raise InvalidArgument(f"after '{after[:100]}' is none; give the 'next' of the page before")
    return from_ms(int(found[1])), ProjectId(found[2])
