"""Who is on which project.

Source: Wire contract 2.4, 2.5.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from sqlalchemy import bindparam, delete, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from projecthub.store.expressions import upserting
from projecthub.store.records import Role
from projecthub.store.selections import checked_changes
from projecthub.store.tables import memberships
from projecthub.wire.ids import AccountId, ProjectId

_FIXED: Final = ("project_id", "account_id", "added_at")
_mine: Final = memberships.alias("mine")

_ROLES: Final = (
    select(memberships.c.account_id, memberships.c.role)
    .where(memberships.c.project_id == bindparam("of_project"))
    .order_by(memberships.c.added_at, memberships.c.role != Role.OWNER, memberships.c.account_id)
)
_UPGRADES: Final = select(memberships.c.account_id, memberships.c.upgrades).where(
    memberships.c.project_id == bindparam("of_project"), memberships.c.upgrades.is_not(None)
)
_ROLE: Final = select(memberships.c.role).where(
    memberships.c.project_id == bindparam("of_project"), memberships.c.account_id == bindparam("of_account")
)
_OWNERS: Final = (
    select(memberships.c.account_id)
    .where(memberships.c.project_id == bindparam("of_project"), memberships.c.role == Role.OWNER)
    .order_by(memberships.c.account_id)
)
_ADD: Final = (
    upserting(memberships)
    .on_conflict_do_nothing(index_elements=["project_id", "account_id"])
    .returning(memberships.c.project_id, memberships.c.account_id)
)
_REMOVE: Final = delete(memberships).where(
    memberships.c.project_id == bindparam("of_project"), memberships.c.account_id == bindparam("of_account")
)
_SHARED_WITH: Final = (
    select(memberships.c.account_id)
    .distinct()
    .join_from(_mine, memberships, memberships.c.project_id == _mine.c.project_id)
    .where(_mine.c.account_id == bindparam("of_account"), memberships.c.account_id != bindparam("of_account"))
)


class Collaborators:
    """The memberships, within a transaction."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def roles(self, project_id: ProjectId) -> dict[AccountId, Role]:
        """The people of a project, in order of joining."""
        rows = await self._connection.execute(_ROLES, {"of_project": project_id})
        return {account_id: Role(role) for account_id, role in rows}

    async def role(self, project_id: ProjectId, account_id: AccountId) -> Role | None:
        """What an account is to a project; None if nothing."""
        row = (await self._connection.execute(_ROLE, {"of_project": project_id, "of_account": account_id})).first()
        return None if row is None else Role(row.role)

    async def owners(self, project_id: ProjectId) -> list[AccountId]:
        """The owners of a project, in order of their ids."""
        rows = await self._connection.execute(_OWNERS, {"of_project": project_id})
        return [AccountId(account_id) for account_id in rows.scalars()]

    async def upgrades(self, project_id: ProjectId) -> dict[AccountId, Mapping[str, Any]]:
        """What people of a project have put under ``upgrades``; whether it counts is not the store's to say."""
        rows = await self._connection.execute(_UPGRADES, {"of_project": project_id})
        return {row.account_id: row.upgrades for row in rows}

    async def add(
        self, pairs: Sequence[tuple[ProjectId, AccountId]], *, at: datetime, role: Role = Role.COLLABORATOR
    ) -> list[tuple[ProjectId, AccountId]]:
        """Add people in a role. Who is on a project already, in whatever role, stays as he is.

        Returns:
            The pairs that were really added, each once, in the order given.
        """
        wanted = list(dict.fromkeys(pairs))
        if not wanted:
            return []
        rows = [
            {"project_id": project_id, "account_id": account_id, "role": role, "added_at": at}
            for project_id, account_id in wanted
        ]
        added = {(project_id, account_id) for project_id, account_id in await self._connection.execute(_ADD, rows)}
        return [pair for pair in wanted if pair in added]

    async def remove(self, project_id: ProjectId, account_id: AccountId) -> bool:
        """Take an account off a project.

        Returns:
            Whether it was on it.
        """
        gone = await self._connection.execute(_REMOVE, {"of_project": project_id, "of_account": account_id})
        return gone.rowcount > 0

    async def update(self, project_id: ProjectId, account_id: AccountId, changes: Mapping[str, Any]) -> bool:
        """Change ``role``, ``hide``, ``upgrades``, ``ssh_keys`` or ``last_active_at`` of a membership.

        Returns:
            Whether there is such a membership.

        Raises:
            InvalidArgument: Another column, or no changes.
        """
        statement = (
            update(memberships)
            .where(memberships.c.project_id == project_id, memberships.c.account_id == account_id)
            .values(checked_changes(memberships, changes, fixed=_FIXED))
        )
        return (await self._connection.execute(statement)).rowcount > 0

    async def shared_with(self, account_id: AccountId) -> set[AccountId]:
        """The other accounts on the projects that an account is on."""
        return set((await self._connection.execute(_SHARED_WITH, {"of_account": account_id})).scalars())
