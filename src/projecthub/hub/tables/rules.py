"""Who may read and who may change what belongs to a project, in the words of user queries.

Source: Wire contract 3.5.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from projecthub.errors import QueryRefused
from projecthub.hub.permissions import is_able
from projecthub.wire.methods import Ability

if TYPE_CHECKING:
    from projecthub.hub.principals import Principal
    from projecthub.store import Transaction
    from projecthub.wire.ids import ProjectId


async def may_read(tx: Transaction, caller: Principal, project_id: ProjectId) -> None:
    """Only who is on a project reads what belongs to it, and site admins.

    Raises:
        QueryRefused: The caller is neither; told in the same way if there is no such project.
    """
    if not caller.is_admin and not is_able(await tx.collaborators.role(project_id, caller.account_id), Ability.READ):
        raise QueryRefused(
            "FATAL: you do not have read access to this project -- "
            f"account_id={caller.account_id}, project_id_=undefined"
        )


async def may_change(tx: Transaction, caller: Principal, project_id: ProjectId, needs: Ability) -> None:
    """Only who is on a project, in a role that allows it, changes what belongs to it; site admins need to be on it too.

    Raises:
        QueryRefused: The caller is not, or there is no such project.
    """
    if not is_able(await tx.collaborators.role(project_id, caller.account_id), needs):
        raise QueryRefused("FATAL: user must be an admin")
