"""The life of projects as the store tells it: every step, in one transaction with its entry in the project's log.

Every write is for the epoch that it is about: if another start has come between, it changes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import structlog

from projecthub.engines.port import Exit, Instance
from projecthub.errors import Conflict, HubError, NotFound, StoppedMeanwhile
from projecthub.hub import figures
from projecthub.hub.deaths import after_death, last_words
from projecthub.hub.permissions import not_deleted
from projecthub.store.records import Project, State
from projecthub.wire.units import from_ms, to_ms

if TYPE_CHECKING:
    from projecthub.hub.clock import Clock
    from projecthub.hub.quotas import Quotas
    from projecthub.hub.wishes import Wish
    from projecthub.store import Store, Transaction
    from projecthub.wire.ids import AccountId, ProjectId

_log = structlog.get_logger()


class Chronicle:
    """Reads and writes what the lifecycle knows of projects."""

    def __init__(self, store: Store, quotas: Quotas, clock: Clock) -> None:
        """Make the service."""
        self._store = store
        self._quotas = quotas
        self._clock = clock

    async def read(self, project_id: ProjectId) -> Project:
        """The project.

        Raises:
            NotFound: There is none.
        """
        async with self._store.read() as tx:
            return await _get(tx, project_id)

    async def starting(self, project_id: ProjectId, wish: Wish, *, again: bool) -> Project:
        """Write the wish, the state, the quota and the new epoch.

        Raises:
            NotFound, Conflict: There is no such project; it is deleted, started elsewhere, or not to run any more.
        """
        now = self._clock.now()
        async with self._store.jot() as tx:
            # Locked: a license that is attached at this moment must not be lost.
            project = await _get(tx, project_id, lock=True)
            not_deleted(project)
            if wish.if_wished and project.desired != "running":
                raise StoppedMeanwhile(f"project '{project_id}' was stopped meanwhile; start it again")
            changes = {
                "desired": "running",
                "state": State.RESTARTING if again else State.STARTING,
                "state_at": now,
                "state_error": None,
                "retry_at": None,
                "epoch": project.epoch + 1,
                **({"crashes": 0, "last_edited_at": now} if wish.by is not None else {}),
                **await self._quotas.at_start(tx, project),
            }
            written = await tx.projects.updated(project_id, changes, epoch=project.epoch)
            if written is None:
                raise Conflict(f"project '{project_id}' is being started elsewhere; ask for its state")
            return written

    async def running(self, project: Project, instance: Instance, wish: Wish, *, again: bool) -> Project:
        """Write that it runs, and as what."""
        seen = {
            "pid": instance.pid,
            "session_id": instance.session_id,
            "start_ts": to_ms(instance.started_at),
            "epoch": instance.epoch,
        }
        event = wish.event("project_restarted" if again else "project_started")
        changes = {"state": State.RUNNING, "state_error": None, "instance": seen}
        return await self._write(project, changes, wish.by, event)

    async def interrupted(self, project: Project) -> Project:
        """Write that what ran is gone, and is to be started."""
        return await self._write(project, {"state": State.STARTING})

    async def cancelled(self, project: Project, stop: Wish) -> Project:
        """Write that a start was cancelled by a stop."""
        stopped = {"desired": "stopped", "state": State.STOPPED, "instance": None}
        return await self._write(project, stopped, stop.by, stop.event("project_stopped"))

    async def failed(self, project: Project, error: Exception) -> datetime | None:
        """Write why a start failed; tells when it is tried again."""
        why = error.message if isinstance(error, HubError) else "the hub made a mistake, which its log holds"
        columns = after_death(
            project,
            why,
            lived=timedelta(0),
            comes_back=self._quotas.always_running(project.run_quota, project.settings),
            now=self._clock.now(),
        )
        written = await self._write(project, columns, None, {"event": "project_start_failed", "error": why})
        return written.retry_at

    async def stopping(self, project_id: ProjectId, changes: Mapping[str, Any], *, runs: bool) -> Project:
        """Write the wish to stop, and what else comes with it; if nothing of it ``runs`` and it is stopped, only that.

        Raises:
            NotFound, Conflict: There is no such project; or it was started elsewhere.
        """
        now = self._clock.now()
        stopping = {"desired": "stopped", "state": State.STOPPING, "state_error": None, "retry_at": None, "crashes": 0}
        async with self._store.jot() as tx:
            project = await _get(tx, project_id)
            if runs or project.state is not State.STOPPED:
                changes = {"state_at": now, **stopping, **changes}
            elif project.desired != "stopped":  # a start that has not begun yet is not to come
                changes = {"desired": "stopped", **changes}
            if not changes:
                return project
            return await _updated(tx, project, changes)

    async def stopped(self, project: Project, wish: Wish) -> Project:
        """Write that nothing of it runs."""
        stopped = {"state": State.STOPPED, "instance": None}
        return await self._write(project, stopped, wish.by, wish.event("project_stopped"))

    async def died(self, instance: Instance, ended: Exit, why: str) -> datetime | None:
        """Write how an instance ended; tells when the project is started again."""
        now = self._clock.now()
        async with self._store.jot() as tx:
            project = await _get(tx, instance.project_id)
            columns = after_death(
                project,
                why,
                remedy="; start it again",
                last_words=last_words(ended),
                lived=now - instance.started_at,
                comes_back=self._quotas.always_running(project.run_quota, project.settings),
                now=now,
            )
            if not await tx.projects.update(instance.project_id, columns, epoch=instance.epoch, state=[State.RUNNING]):
                return None
            await tx.log.append(instance.project_id, None, {"event": "project_died", "error": why}, at=now)
        figures.crashed()
        figures.oom_killed(ended.oom_kills)  # those that no look at its activity has seen
        _log.warning("project.died", project_id=instance.project_id, code=ended.code, signal=ended.signal)
        retry_at: datetime | None = columns["retry_at"]
        return retry_at

    async def _write(
        self,
        project: Project,
        changes: Mapping[str, Any],
        by: AccountId | None = None,
        event: Mapping[str, Any] | None = None,
    ) -> Project:
        """Change the row, and note an event; tells what is there now.

        Raises:
            Conflict: The project was started anew meanwhile.
        """
        now = self._clock.now()
        async with self._store.jot() as tx:
            written = await _updated(tx, project, {"state_at": now, **changes})
            if event is not None:
                await tx.log.append(project.project_id, by, event, at=now)
            return written


async def _get(tx: Transaction, project_id: ProjectId, *, lock: bool = False) -> Project:
    project = await tx.projects.get(project_id, lock=lock)
    if project is None:
        raise NotFound(f"unknown project_id '{project_id}'", project_id=project_id)
    return project


async def _updated(tx: Transaction, project: Project, changes: Mapping[str, Any]) -> Project:
    written = await tx.projects.updated(project.project_id, changes, epoch=project.epoch)
    if written is None:
        raise Conflict(f"project '{project.project_id}' was started elsewhere meanwhile; ask for its state")
    return written


def last_seen(project: Project) -> Instance | None:
    """The instance that the store was told of last, if it is still said to be there."""
    if project.instance is None:
        return None
    return Instance(
        project_id=project.project_id,
        epoch=project.instance["epoch"],
        pid=project.instance["pid"],
        session_id=project.instance["session_id"],
        started_at=from_ms(project.instance["start_ts"]),
    )
