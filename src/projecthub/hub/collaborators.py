"""The people of a project: added, removed, and what each is to it.

What could leave a project without an owner holds its row: of two owners who demote each other at once, one is refused.

Source: Wire contract 0, 2.4, 2.5, 5.2.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from projecthub.errors import InvalidArgument, NotFound, OwnershipDenied
from projecthub.hub.joining import invited_event, none_disabled, redeem_all
from projecthub.hub.permissions import (
    NOT_A_COLLABORATOR,
    account_id_of,
    may_add,
    may_change_roles,
    may_remove,
    member_access,
    project_id_of,
)
from projecthub.hub.project_names import require_free
from projecthub.store.records import Role, Selection
from projecthub.wire import shapes
from projecthub.wire.ids import ProjectId, is_uuid
from projecthub.wire.methods import Ability

if TYPE_CHECKING:
    from collections.abc import Sequence

    from projecthub.hub.clock import Clock
    from projecthub.hub.keys import Keys
    from projecthub.hub.principals import Principal
    from projecthub.store import Transaction
    from projecthub.wire.ids import AccountId

_GROUPS: Final = frozenset(role.value for role in Role)

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
            PermissionDenied, OwnershipDenied: See `permissions.may_add` and `joining.redeem`.
            Conflict: An account that would be added is disabled.
        """
        if request.token_id is not None:
            return await self._add_by_tokens(caller, request)
        pairs, role = _pairs(request), group_of(request.group)
        by_project: dict[ProjectId, list[AccountId]] = {}
        for project_id, account_id in pairs:
            by_project.setdefault(project_id, []).append(account_id)
        async with self._keys.changing() as tx:
            for project_id, account_ids in by_project.items():
                await may_add(tx, caller, project_id, account_ids, alone=len(pairs) == 1)
            await _require_accounts(tx, [account_id for _, account_id in pairs])
            now = self._clock.now()
            added = await tx.collaborators.add(pairs, at=now, role=role)
            await none_disabled(tx, {account_id for _, account_id in added})
            for project_id, account_id in added:
                await tx.log.append(project_id, caller.account_id, invited_event(account_id, role), at=now)
        return {"project_id": [project_id for project_id, _ in pairs]}

    async def _add_by_tokens(self, caller: Principal, request: shapes.AddCollaborator) -> shapes.AddedCollaborators:
        """Add whoever is named, or else the caller, to the projects of tokens."""
        given = request.token_id if isinstance(request.token_id, list) else [request.token_id]
        tokens = [token for token in given if token]
        if len(tokens) < len(given):
            raise InvalidArgument("If tokens are specified, they must all be non-null.")
        accounts = [caller.account_id] * len(tokens) if request.account_id is None else _accounts(request.account_id)
        _check_lengths(tokens, accounts)
        async with self._keys.changing() as tx:
            await _require_accounts(tx, accounts)
            pairs = list(zip(tokens, accounts, strict=True))
            redeemed = await redeem_all(tx, pairs, by=caller.account_id, at=self._clock.now())
        projects = [token.project_id for token in redeemed]
        return {"project_id": [*projects] if isinstance(request.token_id, list) else projects[0]}

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
            for project_id in sorted({project.lower() for project in projects if is_uuid(project)}):
                # Nobody is to become an owner while he is being removed.
                await tx.projects.get(ProjectId(project_id), lock=True)
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
        name = await _name_of(tx, target)
        event = {"event": "remove_collaborator", "removed_name": name, "removed_account_id": target}
        await tx.log.append(project_id, caller.account_id, event, at=self._clock.now())
        return project_id, target

    async def change_type(self, caller: Principal, request: shapes.ChangeUserType) -> None:
        """Say what somebody on a project is to it: owner, collaborator or viewer.

        Raises:
            OwnershipDenied: The caller is no owner, the other is not on the project, there is no such group, or the
                project would be left without an owner.
            Conflict: Somebody who is disabled would become an owner.
        """
        project_id = project_id_of(request.project_id, "Invalid project_id: {value}")
        target = account_id_of(request.target_account_id, "Invalid target_account_id: {value}")
        async with self._keys.changing() as tx:
            may_change_roles(await tx.projects.access(project_id, caller.account_id, lock=True))
            await self._change(tx, caller, project_id, target, request.new_group)

    async def hand_over(self, caller: Principal, request: shapes.HandOver) -> shapes.HandedOver:
        """Make somebody on the project its owner, and the caller something else: both, or neither.

        Raises:
            OwnershipDenied: As of `change_type`.
            InvalidArgument: To oneself.
            Conflict: To somebody who is disabled: nobody would be left who could do anything about it.
        """
        project_id = project_id_of(request.project_id, "Invalid project_id: {value}")
        target = account_id_of(request.account_id, "Invalid account_id: {value}")
        if target == caller.account_id:
            raise InvalidArgument("account_id is your own; name the person who is to have the project")
        group = group_of(request.new_group)
        async with self._keys.changing() as tx:
            may_change_roles(await tx.projects.access(project_id, caller.account_id, lock=True))
            await self._change(tx, caller, project_id, target, Role.OWNER.value)
            await none_disabled(tx, {target})  # an owner already, perhaps
            await self._change(tx, caller, project_id, caller.account_id, group.value)
        return {"project_id": project_id, "owner": target, "group": group.value}

    async def _change(
        self, tx: Transaction, caller: Principal, project_id: ProjectId, target: AccountId, group: str | None
    ) -> None:
        """Change what somebody is, in a transaction that has locked the project."""
        before = await tx.collaborators.role(project_id, target)
        if before is None:
            raise OwnershipDenied("Target user is not a member of this project")
        if group not in _GROUPS:
            raise OwnershipDenied("New group must be either 'owner' or 'collaborator', or here also 'viewer'")
        after = Role(group)
        if after is before:
            return
        if before is Role.OWNER and len(await tx.collaborators.owners(project_id)) == 1:
            raise OwnershipDenied(
                f"Cannot change the last owner to {after.value}. At least one owner is required. "
                "Hand the project over (projects.handOver), or make somebody else an owner first"
            )
        if after is Role.OWNER:
            await none_disabled(tx, {target})
            wanted = Selection(columns=("name",))
            name = (await tx.projects.select(wanted, member=None, project_id=project_id))[0]["name"]
            if name is not None:
                await require_free(tx, project_id, name, [target])
        await tx.collaborators.update(project_id, target, {"role": after})
        event = {
            "event": "change_collaborator_type",
            "target_account_id": target,
            "target_name": await _name_of(tx, target),
            "old_group": before.value,
            "new_group": after.value,
        }
        await tx.log.append(project_id, caller.account_id, event, at=self._clock.now())


def group_of(value: str | None) -> Role:
    """What people who are let onto a project become: collaborators, unless a call says that they only view it.

    Raises:
        InvalidArgument: There is no such group, or nobody becomes that so.
    """
    if value not in (None, Role.COLLABORATOR, Role.VIEWER):
        raise InvalidArgument(
            f"group is {value[:100]!r}; give 'collaborator' or 'viewer' (projects.changeUserType makes owners)"
        )
    return Role(value or Role.COLLABORATOR)


async def _require_accounts(tx: Transaction, account_ids: Sequence[AccountId]) -> None:
    wanted = sorted(set(account_ids))
    existing = await tx.accounts.existing(wanted)
    if missing := [account_id for account_id in wanted if account_id not in existing]:
        raise NotFound(
            f"no account with id '{missing[0]}'; nothing was added. Find people with user_search", ids=missing
        )


async def _name_of(tx: Transaction, account_id: AccountId) -> str:
    known = await tx.accounts.get(account_id)
    return f"{known.first_name} {known.last_name}".strip() if known else "Unknown User"


def _pairs(request: shapes.AddCollaborator) -> list[tuple[ProjectId, AccountId]]:
    projects = _list(request.project_id, "project_id")
    accounts = _list(request.account_id, "account_id")
    _check_lengths(projects, accounts)
    return [
        (project_id_of(p, "Invalid project_id: {value}"), account_id)
        for p, account_id in zip(projects, _accounts(accounts), strict=True)
    ]


def _accounts(given: str | list[str]) -> list[AccountId]:
    message = "all account id's must be valid uuid's, but \"{value}\" is not"
    return [account_id_of(account, message) for account in ([given] if isinstance(given, str) else given)]


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
