"""Accounts that go: with all their keys and memberships, at once, and no project without an owner.

Source: docs/wire-extensions.md.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from projecthub.errors import Conflict, InvalidArgument, NotFound
from projecthub.hub.permissions import all_scopes_only, keeps_an_admin, own_or_any
from projecthub.store.records import Role
from projecthub.wire import shapes
from projecthub.wire.ids import AccountId, is_uuid

if TYPE_CHECKING:
    from collections.abc import Sequence

    from projecthub.hub.clock import Clock
    from projecthub.hub.keys import Keys
    from projecthub.hub.principals import Principal
    from projecthub.hub.projects import Projects
    from projecthub.store import Store, Transaction
    from projecthub.store.departures import OwnedAlone
    from projecthub.store.records import Account
    from projecthub.wire.ids import ProjectId

REFUSE: Final = "refuse"
DELETE: Final = "delete"
_NAMED: Final = 10
_NOT_YOURS: Final = "delete other accounts"


class AccountDeletions:
    """Deletes accounts."""

    def __init__(self, store: Store, clock: Clock, keys: Keys, projects: Projects) -> None:
        """Make the service; ``keys`` gives its transactions, because keys end with their account."""
        self._store = store
        self._clock = clock
        self._keys = keys
        self._projects = projects

    async def delete(self, caller: Principal, request: shapes.DeleteAccount) -> shapes.DeletedAccount:
        """Delete an account: one's own, or, for site admins, anybody's.

        Its keys, sessions and memberships end with it. Its e-mail address can be used for another account; its names
        stay for those who look at what it did. A project that it is the last owner of is handed over, or deleted, or
        keeps it from being deleted, as ``request.projects`` says.

        Raises:
            PermissionDenied: The account is another's, or the key has not all scopes.
            Conflict: There are such projects, and nothing is said of them; or it is the last site admin's.
            NotFound: There is no such account, or nobody to hand projects over to.
            InvalidArgument: ``projects`` is none of these.
        """
        all_scopes_only(caller, "delete accounts")
        deleted = await self._delete_projects(caller, request) if request.projects == DELETE else []
        async with self._keys.changing() as tx:
            account = await own_or_any(tx, caller, request.account_id, _NOT_YOURS)
            handed_over = await self._delete(tx, caller, account, request.projects)
        return {
            "account_id": account.account_id,
            "deleted": True,
            "projects_deleted": [*deleted],
            "projects_handed_over": [*handed_over],
        }

    async def _delete_projects(self, caller: Principal, request: shapes.DeleteAccount) -> list[ProjectId]:
        """Delete what would have no owner, one after the other, before the account is gone.

        Not in one transaction: their processes are waited for. What is cut short here is done by the next attempt.
        """
        async with self._store.write() as tx:
            account = await own_or_any(tx, caller, request.account_id, _NOT_YOURS)
            await keeps_an_admin(tx, {account.account_id})
            alone = await tx.departures.owned_alone(account.account_id)
        deleted = [project.project_id for project in alone if not project.deleted]
        for project_id in deleted:
            await self._projects.delete_with_owner(project_id, by=caller.account_id)
        return deleted

    async def _delete(self, tx: Transaction, caller: Principal, account: Account, wanted: str) -> list[ProjectId]:
        heir = await _heir(tx, wanted)
        there = await tx.accounts.lock([account.account_id, *([heir.account_id] if heir else [])])
        if heir is not None and (heir.account_id not in there - {account.account_id} or heir.banned):
            raise Conflict(f"projects cannot be handed over to '{wanted}', who is deleted or disabled; name another")
        await keeps_an_admin(tx, {account.account_id})
        alone = await tx.departures.owned_alone(account.account_id, lock=True)
        handed_over = [project.project_id for project in alone] if heir is not None else []
        if heir is not None:
            await self._hand_over(tx, caller, heir, handed_over)
        elif kept := [project for project in alone if not project.deleted]:
            raise _still_owns(kept)
        await self._leave(tx, caller, account)
        return handed_over

    async def _hand_over(
        self, tx: Transaction, caller: Principal, heir: Account, project_ids: Sequence[ProjectId]
    ) -> None:
        now = self._clock.now()
        await tx.departures.make_owner(heir.account_id, project_ids, at=now)
        event = {
            "event": "change_collaborator_type",
            "target_account_id": heir.account_id,
            "target_name": f"{heir.first_name} {heir.last_name}".strip(),
            "new_group": Role.OWNER,
        }
        for project_id in project_ids:
            await tx.log.append(project_id, caller.account_id, event, at=now)

    async def _leave(self, tx: Transaction, caller: Principal, account: Account) -> None:
        """End memberships, keys, and the account itself."""
        now = self._clock.now()
        event = {
            "event": "remove_collaborator",
            "removed_name": f"{account.first_name} {account.last_name}".strip(),
            "removed_account_id": account.account_id,
        }
        for project_id in await tx.departures.leave_all(account.account_id):
            await tx.log.append(project_id, caller.account_id, event, at=now)
        await tx.organizations.leave(account.account_id)
        await tx.sign_in_tokens.end_of(account.account_id)
        await tx.sign_in_tokens.end_made_by(account.account_id)
        await tx.keys.delete_all_of(account.account_id)
        gone = {"deleted_at": now, "name": None, "password_hash": None, "is_admin": False}
        await tx.accounts.update(account.account_id, gone)


async def _heir(tx: Transaction, wanted: str) -> Account | None:
    """Who gets the projects; None if nobody is named.

    Raises:
        NotFound: There is no such account.
        InvalidArgument: Not a choice there is.
    """
    if wanted in (REFUSE, DELETE):
        return None
    if "@" not in wanted and not is_uuid(wanted):
        raise InvalidArgument(
            f"projects is '{wanted[:100]}'; give refuse, delete, or whom they are handed over to: an account's id or "
            "e-mail address"
        )
    heir = await (tx.accounts.by_email(wanted) if "@" in wanted else tx.accounts.get(AccountId(wanted.lower())))
    if heir is None:
        raise NotFound(f"no account with id or e-mail address '{wanted[:320]}' to hand projects over to; name another")
    return heir


def _still_owns(projects: Sequence[OwnedAlone]) -> Conflict:
    named = ", ".join(f"{project.project_id} ({project.title[:50]})" for project in projects[:_NAMED])
    more = f" and {len(projects) - _NAMED} more" if len(projects) > _NAMED else ""
    return Conflict(
        f"this account is the last owner of {len(projects)} projects: {named}{more}; hand them over first, or say what "
        "shall become of them: projects='delete', or who gets them",
        project_ids=[project.project_id for project in projects],
    )
