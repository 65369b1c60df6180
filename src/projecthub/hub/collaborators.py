"""The people of a project: added and removed.

Source: Wire contract 0, 2.4, 2.5.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from projecthub.errors import InvalidArgument, NotFound
from projecthub.hub.permissions import (
    NOT_A_COLLABORATOR,
    account_id_of,
    may_add,
    may_remove,
    member_access,
    project_id_of,
)
from projecthub.wire import shapes
from projecthub.wire.methods import Ability

if TYPE_CHECKING:
    from collections.abc import Sequence

    from projecthub.hub.clock import Clock
    from projecthub.hub.keys import Keys
    from projecthub.hub.principals import Principal
    from projecthub.store import Transaction
    from projecthub.wire.ids import AccountId, ProjectId

MAX_PAIRS: Final = 1000
"""Collaborators that one call adds at most: nobody else can write meanwhile."""


class Collaborators:
    """Who is on which project."""

    def __init__(self, clock: Clock, keys: Keys) -> None:
        """Make the service; ``keys`` gives its transactions, because project keys depend on memberships."""
        self._clock = clock
        self._keys = keys

    async def add(self, caller: Principal, request: shapes.AddCollaborator) -> shapes.AddedCollaborators:
        """Add accounts to projects, pair by pair: all of them, or none. Those who are there already stay as they are.

        Raises:
            InvalidArgument: Lists of different length, or an id that is none.
            NotFound: No such project, account or token.
            PermissionDenied, OwnershipDenied: See `permissions.may_add`.
        """
        if request.token_id is not None:
            raise NotFound("Project invite token is not valid - no such token", token_id=request.token_id)
        pairs = _pairs(request)
        by_project: dict[ProjectId, list[AccountId]] = {}
        for project_id, account_id in pairs:
            by_project.setdefault(project_id, []).append(account_id)
        async with self._keys.changing() as tx:
            for project_id, account_ids in by_project.items():
                await may_add(tx, caller, project_id, account_ids, alone=len(pairs) == 1)
            wanted = sorted({account_id for _, account_id in pairs})
            existing = await tx.accounts.existing(wanted)
            if missing := [account_id for account_id in wanted if account_id not in existing]:
                raise NotFound(
                    f"no account with id '{missing[0]}'; nothing was added. Find people with user_search", ids=missing
                )
            await self._insert(tx, caller, pairs)
        return {"project_id": [project_id for project_id, _ in pairs]}

    async def _insert(self, tx: Transaction, caller: Principal, pairs: list[tuple[ProjectId, AccountId]]) -> None:
        now = self._clock.now()
        for project_id, account_id in await tx.collaborators.add(pairs, at=now):
            event = {"event": "invite_user", "invitee_account_id": account_id}
            await tx.log.append(project_id, caller.account_id, event, at=now)

    async def remove(self, caller: Principal, request: shapes.RemoveCollaborator) -> shapes.RemovedCollaborator:
        """Take accounts off projects, pair by pair, with the project keys they made there: all of them, or none.

        Removing somebody who is not there succeeds. The reply has lists if lists were given.

        Raises:
            PermissionDenied, OwnershipDenied: See `permissions.may_remove`.
            InvalidArgument: Lists of different length, or an id that is none.
        """
        is_list = isinstance(request.project_id, list) or isinstance(request.account_id, list)
        # Scalars are passed on as they are: the wire has texts of its own for one that is missing.
        projects: list[object] = [*request.project_id] if isinstance(request.project_id, list) else [request.project_id]
        accounts: list[object] = [*request.account_id] if isinstance(request.account_id, list) else [request.account_id]
        _check_lengths(projects, accounts)
        removed = []
        async with self._keys.changing() as tx:
            for project, account in zip(projects, accounts, strict=True):
                removed.append(await self._remove_one(tx, caller, project, account))
        if is_list:
            return {"project_id": [one for one, _ in removed], "account_id": [other for _, other in removed]}
        return {"project_id": removed[0][0], "account_id": removed[0][1]}

    async def _remove_one(
        self, tx: Transaction, caller: Principal, project: object, account: object
    ) -> tuple[ProjectId, AccountId]:
        project_id = project_id_of(project, "Invalid project_id: {value}")
        access = await member_access(tx, caller, project_id, NOT_A_COLLABORATOR, Ability.READ)  # everybody may leave
        target = account_id_of(account, "Invalid account_id: {value}")
        may_remove(access, caller, target, await tx.collaborators.owners(project_id))
        await tx.collaborators.remove(project_id, target)
        for key in await tx.keys.of_project(project_id):
            if key.account_id == target:
                await tx.keys.delete(key.id)
        known = await tx.accounts.get(target)
        name = f"{known.first_name} {known.last_name}".strip() if known else "Unknown User"
        event = {"event": "remove_collaborator", "removed_name": name, "removed_account_id": target}
        await tx.log.append(project_id, caller.account_id, event, at=self._clock.now())
        return project_id, target


def _pairs(request: shapes.AddCollaborator) -> list[tuple[ProjectId, AccountId]]:
    projects = _list(request.project_id, "project_id")
    accounts = _list(request.account_id, "account_id")
    _check_lengths(projects, accounts)
    account_ids = [account_id_of(a, "all account id's must be valid uuid's, but \"{value}\" is not") for a in accounts]
    return [
        (project_id_of(p, "Invalid project_id: {value}"), account_id)
        for p, account_id in zip(projects, account_ids, strict=True)
    ]


def _check_lengths(projects: Sequence[object], accounts: Sequence[object]) -> None:
    if len(projects) != len(accounts):
        raise InvalidArgument(
            f"accounts (of length {len(accounts)}) and projects (of length {len(projects)}) "
            "must be arrays of the same length"
        )
    if len(projects) > MAX_PAIRS:
        raise InvalidArgument(f"{len(projects)} collaborators in one call; give at most {MAX_PAIRS}")


def _list(value: str | list[str] | None, name: str) -> list[str]:
    if value is None:
        raise InvalidArgument(
            f"argument '{name}' of projects.addCollaborator is missing: give a uuid or a list of them"
        )
    return [value] if isinstance(value, str) else value
