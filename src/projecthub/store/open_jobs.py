"""Jobs whose end is still to be noted in their project's log."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from sqlalchemy import bindparam, delete, select
from sqlalchemy.ext.asyncio import AsyncConnection

from projecthub.store.tables import open_jobs
from projecthub.wire.ids import AccountId, ProjectId

_ALL: Final = select(open_jobs.c.project_id, open_jobs.c.job_id).order_by(open_jobs.c.started_at)
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
        """Projects and ids of all of them, oldest first."""
        return [(ProjectId(row.project_id), row.job_id) for row in await self._connection.execute(_ALL)]

    async def end(self, project_id: ProjectId, job_id: str) -> AccountId | None:
        """A job has ended: who started it; None if that was noted already. In the transaction that notes the end."""
        row = (await self._connection.execute(_END, {"of_project": project_id, "of_job": job_id})).first()
        return None if row is None else AccountId(row.account_id)
