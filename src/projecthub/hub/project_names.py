"""Names of projects: an owner has each only once.

Source: Wire contract 3.7, `name`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from projecthub.errors import Conflict
from projecthub.store.records import Condition, Role, Selection
from projecthub.wire.ids import ProjectId

if TYPE_CHECKING:
    from collections.abc import Iterable

    from projecthub.store import Transaction
    from projecthub.wire.ids import AccountId


async def require_free(tx: Transaction, project_id: ProjectId, name: str, owners: Iterable[AccountId]) -> None:
    """None of these people owns another project of this name.

    Raises:
        Conflict: One does.
    """
    named = Selection(columns=("project_id", "name"), conditions=(Condition("name", "IS NOT", None),))
    for owner in owners:
        for row in await tx.projects.select(named, member=owner):
            other = ProjectId(row["project_id"])
            if other == project_id or row["name"].lower() != name.lower():
                continue
            if await tx.collaborators.role(other, owner) is Role.OWNER:
                raise Conflict(
                    f"There is already a project with the same owner as this project and name='{name}'.   "
                    "Names are not case sensitive."
                )
