"""What an account leaves behind when it is deleted: its projects, its places in those of others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import bindparam, delete, exists, select
from sqlalchemy.ext.asyncio import AsyncConnection

from projecthub.store.expressions import upserting
from projecthub.store.records import Role
from projecthub.store.tables import memberships, projects
from projecthub.wire.ids import AccountId, ProjectId

_others: Final = memberships.alias("others")
_is_owner: Final = (memberships.c.account_id == bindparam("of_account")) & (memberships.c.role == Role.OWNER)
_has_another: Final = exists().where(
    _others.c.project_id == memberships.c.project_id,
    _others.c.role == Role.OWNER,
    _others.c.account_id != memberships.c.account_id,
)
_OF_OWNER: Final = projects.join(memberships, memberships.c.project_id == projects.c.project_id)
_LOCK: Final = (
    select(projects.c.project_id)
    .select_from(_OF_OWNER)
    .where(_is_owner)
    .order_by(projects.c.project_id)
    .with_for_update(of=projects)
)
_OWNED_ALONE: Final = (
    select(projects.c.project_id, projects.c.title, projects.c.deleted)
    .select_from(_OF_OWNER)
    .where(_is_owner, ~_has_another)
    .order_by(projects.c.project_id)
)
_PROMOTE: Final = upserting(memberships).on_conflict_do_update(
    index_elements=["project_id", "account_id"], set_={"role": Role.OWNER}
)
_LEAVE_ALL: Final = (
    delete(memberships).where(memberships.c.account_id == bindparam("of_account")).returning(memberships.c.project_id)
)


@dataclass(frozen=True, slots=True)
class OwnedAlone:
    """A project with no other owner."""

    project_id: ProjectId
    title: str
    deleted: bool


class Departures:
    """What concerns accounts that leave, within a transaction."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def owned_alone(self, account_id: AccountId, *, lock: bool = False) -> list[OwnedAlone]:
        """The projects of which an account is the only owner, deleted ones included.

        Args:
            account_id: Whose.
            lock: Whether nobody else may change who owns them until the transaction ends.
        """
        if lock:
            await self._connection.execute(_LOCK, {"of_account": account_id})
        rows = await self._connection.execute(_OWNED_ALONE, {"of_account": account_id})
        return [OwnedAlone(row.project_id, row.title, bool(row.deleted)) for row in rows]

    async def make_owner(self, account_id: AccountId, project_ids: Sequence[ProjectId], *, at: datetime) -> None:
        """Make an account an owner of projects, whatever it was to them."""
        rows = [
            {"project_id": project_id, "account_id": account_id, "role": Role.OWNER, "added_at": at}
            for project_id in project_ids
        ]
        if rows:
            await self._connection.execute(_PROMOTE, rows)

    async def leave_all(self, account_id: AccountId) -> list[ProjectId]:
        """Take an account off every project; tells which those were."""
        return sorted((await self._connection.execute(_LEAVE_ALL, {"of_account": account_id})).scalars())
