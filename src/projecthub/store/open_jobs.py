"""Jobs, and executions in sessions, whose end is still to be noted in their project's log.

The latter stand in the same table by the name of their session and their id, ``<session>/<execution>``; no job's id has
a slash in it.
"""

from __future__ import annotations

from datetime import datetime
from typing import Final

from sqlalchemy import bindparam, delete, select
from sqlalchemy.ext.asyncio import AsyncConnection

from projecthub.store.tables import open_jobs
from projecthub.wire.ids import AccountId, ProjectId

_ALL: Final = select(open_jobs.c.project_id, open_jobs.c.job_id).order_by(open_jobs.c.started_at)
_SLASH: Final = "/"
_ONE: Final = select(open_jobs.c.job_id).where(
    open_jobs.c.project_id == bindparam("of_project"), open_jobs.c.job_id == bindparam("of_job")
)
_END: Final = (
    delete(open_jobs)
    .where(open_jobs.c.project_id == bindparam("of_project"), open_jobs.c.job_id == bindparam("of_job"))
    .returning(open_jobs.c.account_id)
)


class OpenJobs:
    """The jobs that have begun and of whose end no log tells, within a transaction."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def add(self, project_id: ProjectId, job_id: str, account_id: AccountId, *, at: datetime) -> None:
        """A job has begun; in the transaction that notes this in the log."""
        row = {"project_id": project_id, "job_id": job_id, "account_id": account_id, "started_at": at}
        await self._connection.execute(open_jobs.insert(), row)

    async def all(self) -> list[tuple[ProjectId, str]]:
        """Projects and ids of all jobs, oldest first."""
        rows = await self._connection.execute(_ALL)
        return [(ProjectId(row.project_id), row.job_id) for row in rows if _SLASH not in row.job_id]

    async def cells(self) -> list[tuple[ProjectId, str, str]]:
        """Projects, sessions and ids of all executions, oldest first."""
        rows = await self._connection.execute(_ALL)
        parts = [(row.project_id, *row.job_id.partition(_SLASH)) for row in rows]
        return [(ProjectId(project_id), session, id) for project_id, session, slash, id in parts if slash]

    async def add_cell(
        self, project_id: ProjectId, session: str, id: str, account_id: AccountId, *, at: datetime
    ) -> bool:
        """An execution runs for longer, in the transaction that notes its begin; False if that was noted already."""
        known = {"of_project": project_id, "of_job": f"{session}{_SLASH}{id}"}
        if (await self._connection.execute(_ONE, known)).first() is not None:
            return False
        await self.add(project_id, f"{session}{_SLASH}{id}", account_id, at=at)
        return True

    async def end_cell(self, project_id: ProjectId, session: str, id: str) -> AccountId | None:
        """An execution has ended: who began it; None if that was noted already. As `end`."""
        return await self.end(project_id, f"{session}{_SLASH}{id}")

    async def end(self, project_id: ProjectId, job_id: str) -> AccountId | None:
        """A job has ended: who started it; None if that was noted already. In the transaction that notes the end."""
        row = (await self._connection.execute(_END, {"of_project": project_id, "of_job": job_id})).first()
        return None if row is None else AccountId(row.account_id)
