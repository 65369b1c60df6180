"""Who may do what to a project: each rule stands here, once.

A project that is not there and one of other people are answered alike, so that nobody learns which ids exist.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from projecthub.errors import Conflict, InvalidArgument, NotFound, OwnershipDenied, PermissionDenied
from projecthub.files.sharing import is_kept_back
from projecthub.store.records import Role
from projecthub.wire.ids import AccountId, ProjectId, is_uuid
from projecthub.wire.methods import ALL_ABILITIES, Ability

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from projecthub.hub.principals import Principal
    from projecthub.store import Transaction
    from projecthub.store.records import Access, Account, Project

_ABILITIES: Final = {
    Role.OWNER: frozenset(Ability),
    Role.COLLABORATOR: frozenset(Ability),
    Role.VIEWER: frozenset({Ability.READ}),
}
"""What each role may do on a project. Which people it may manage is told by `may_add` and `may_remove`."""

NOT_A_COLLABORATOR: Final = "user must be a collaborator"
BAD_UUID: Final = "invalid account_id or project_id -- all must be valid uuid's"


def project_id_of(value: object, message: str = BAD_UUID) -> ProjectId:
    """Check and normalise a project id that came from outside.

    Raises:
        InvalidArgument: It is no uuid; with ``message``, whose ``{value}`` is replaced by what was given.
    """
    if not is_uuid(value):
        raise InvalidArgument(message.replace("{value}", "null" if value is None else str(value)[:100]), value=value)
    return ProjectId(value.lower())


def account_id_of(value: object, message: str) -> AccountId:
    """Check and normalise an account id that came from outside; as `project_id_of`."""
    if not is_uuid(value):
        raise InvalidArgument(message.replace("{value}", "null" if value is None else str(value)[:100]), value=value)
    return AccountId(value.lower())


def is_able(role: Role | None, needs: Ability) -> bool:
    """Whether who has this role on a project may do what needs this ability."""
    return role is not None and needs in _ABILITIES[role]


async def member_access(
    tx: Transaction, caller: Principal, project_id: ProjectId, message: str, needs: Ability
) -> Access:
    """The project, for those of its people whose role allows this. Site admins get no bypass.

    Raises:
        PermissionDenied: The caller is none of them, or there is no such project; with ``message``.
    """
    access = await tx.projects.access(project_id, caller.account_id)
    if access is None or not is_able(access.role, needs):
        raise PermissionDenied(message)
    return access


def admins_only(caller: Principal, what: str) -> None:
    """Some things are for the operator.

    Args:
        caller: Who asks.
        what: What they want to do, as a part of the refusal: ``list accounts``.

    Raises:
        PermissionDenied: The caller is no site admin.
    """
    if not caller.is_admin:
        raise PermissionDenied(f"only admins may {what}")


def within_scopes(caller: Principal, needs: Ability, what: str) -> None:
    """May this be done with the caller's key? What his account may is another matter.

    Args:
        caller: Who asks.
        needs: What it takes.
        what: A name for what is asked for, for the refusal.

    Raises:
        PermissionDenied: It is not among the scopes of the key.
    """
    if needs not in caller.scopes:
        raise PermissionDenied(
            f"permission denied: {what[:200]} needs a key with the scope '{needs}', and this one has "
            f"{scopes_text(caller.scopes)}; use another key"
        )


def all_scopes_only(caller: Principal, what: str) -> None:
    """Some things lead to a new key or session without limits: they take a key without limits.

    Args:
        caller: Who asks.
        what: What they want to do, as a part of the refusal: ``set passwords``.

    Raises:
        PermissionDenied: The caller's key has not all scopes, or a limit on how often it is used.
    """
    if not caller.scopes >= ALL_ABILITIES or caller.calls_per_minute is not None:
        raise PermissionDenied(
            f"permission denied: to {what} takes a key with all scopes and without a limit on calls, since it leads to "
            "other ways to sign in; use another key"
        )


def scopes_text(scopes: frozenset[Ability]) -> str:
    """Scopes for people: ``read, run``."""
    return ", ".join(ability for ability in Ability if ability in scopes) or "none"


async def own_or_any(tx: Transaction, caller: Principal, account: str | None, what: str) -> Account:
    """The account that a call is about: the caller's own, or, for a site admin, that of an id or e-mail address.

    Args:
        tx: A transaction.
        caller: Who asks.
        account: An account's id or e-mail address; None: the caller's own.
        what: What they want to do, as a part of the refusal: ``manage the keys of other accounts``.

    Raises:
        PermissionDenied: It is another's, and the caller is no site admin.
        InvalidArgument: Neither an id nor an e-mail address.
        NotFound: There is no such account; told to site admins alone.
    """
    if account is None:
        found = await tx.accounts.get(caller.account_id)
    elif "@" in account:
        found = await tx.accounts.by_email(account.strip())
    else:
        found = await tx.accounts.get(
            account_id_of(account, "account_id '{value}' is neither a uuid nor an e-mail address")
        )
    if not caller.is_admin and (found is None or found.account_id != caller.account_id):
        raise PermissionDenied(f"only admins may {what}")
    if found is None or found.deleted_at is not None:
        raise NotFound(f"no account with id or e-mail address '{str(account)[:320]}'", account_id=account)
    return found


async def keeps_an_admin(
    tx: Transaction, without: Collection[AccountId], plus: Collection[AccountId] = frozenset()
) -> None:
    """Before a change of accounts, and in its transaction: will there be somebody who can administer the site?

    Args:
        tx: A transaction; nobody else changes site admins until it ends.
        without: Accounts that are to be deleted, disabled or demoted, whatever they are now.
        plus: Accounts that are to be enabled site admins.

    Raises:
        Conflict: There will be nobody.
    """
    admins = await tx.accounts.enabled_admins()
    if admins & {*without} and not (admins - {*without}) | {*plus}:
        raise Conflict(
            "this is the last site admin, who cannot be disabled, deleted or demoted; make another one first"
        )


def may_set_quotas(caller: Principal) -> None:
    """May the caller set quotas of projects? Site admins may, of every project.

    Raises:
        PermissionDenied: The caller is none; with the wire's text.

    Source: Wire contract 5.2, setQuotas.
    """
    if not caller.is_admin:
        raise PermissionDenied("Must be an admin to do admin search.")


def may_license(access: Access | None, caller: Principal, project_id: ProjectId) -> Project:
    """The project, for those who may attach licenses to it: its owners and collaborators, and site admins.

    Which license makes no difference: who knows its id may attach it.

    Raises:
        PermissionDenied: The caller may not, or there is no such project.
        NotFound: There is no such project, told to a site admin.

    Source: Wire contract 7.3.
    """
    if access is None and caller.is_admin:
        raise NotFound(f"unknown project_id '{project_id}'", project_id=project_id)
    if access is None or not (is_able(access.role, Ability.MANAGE) or caller.is_admin):
        raise PermissionDenied("must be collaborator on project to change its licenses")
    return access.project


def gives_upgrades(account: Account) -> bool:
    """Whether what an account on a project has put under ``upgrades`` counts.

    Everybody may write there, and nobody sells upgrades here: what counts is what a site admin gives, who may set the
    quotas as well.
    """
    return account.is_admin and not account.banned and account.deleted_at is None


def is_shown(share: Mapping[str, Any] | None) -> bool:
    """Whether others get a share: neither one that is disabled, nor of a host of its own, nor what a project keeps."""
    return share is not None and not (share["disabled"] or share["vhost"] or is_kept_back(share["path"]))


def not_deleted(project: Project) -> None:
    """A deleted project does nothing until it is undeleted.

    Raises:
        Conflict: It is deleted.
    """
    if project.deleted:
        raise Conflict(
            f"project '{project.project_id}' is deleted; undelete it first: set its field 'deleted' to false "
            "(hub.projects.undelete, or projecthub projects undelete)"
        )


async def may_add(
    tx: Transaction, caller: Principal, project_id: ProjectId, accounts: list[AccountId], *, alone: bool
) -> None:
    """May the caller add these accounts to a project?

    Args:
        tx: A transaction.
        caller: Who asks.
        project_id: The project.
        accounts: All accounts that this call adds to the project.
        alone: Whether the whole call adds only one account.

    Raises:
        NotFound: There is no such project.
        OwnershipDenied: Only owners manage the people of this project, and the caller, site admin or not, is none.
        PermissionDenied: The caller is not on the project, only views it, or wants to add himself to it.

    Source: Wire contract 2.4.
    """
    access = await tx.projects.access(project_id, caller.account_id)
    if access is None:
        raise NotFound("OwnershipError: Project not found", project_id=project_id)
    owners_only(access)
    if is_able(access.role, Ability.MANAGE) or caller.is_admin:
        return
    if alone and accounts == [caller.account_id]:
        if is_able(await tx.courses.staff_role(project_id, caller.account_id), Ability.MANAGE):
            return  # who teaches the course that it belongs to
        raise PermissionDenied(
            f'cannot add self to "{project_id}" -- must be owner or collaborator on course project'
            if await tx.courses.is_of_course(project_id)
            else f'cannot add self to "{project_id}" -- must be an admin'
        )
    raise PermissionDenied(f"user {caller.account_id} does not have write access to project {project_id}")


async def may_let_in(tx: Transaction, project_id: ProjectId, account_id: AccountId) -> bool:
    """Whether an account may add people to a project now, as somebody's invitation or token supposes.

    What somebody made who has left the project, or may no longer add people to it, lets nobody in.
    """
    access = await tx.projects.access(project_id, account_id)
    account = await tx.accounts.get(account_id)
    if access is None or account is None or account.banned or account.deleted_at is not None:
        return False
    if access.project.manage_users_owner_only and access.role is not Role.OWNER:
        return False
    return is_able(access.role, Ability.MANAGE) or account.is_admin


def may_change_roles(access: Access | None) -> Project:
    """The project, for those who may say what people are to it: its owners.

    Raises:
        OwnershipDenied: The caller is none, or there is no such project.

    Source: Wire contract 5.2, changeUserType.
    """
    if access is None or access.role is None:
        raise OwnershipDenied("Not a project member")
    if access.role is not Role.OWNER:
        raise OwnershipDenied("Only project owners can change user types")
    return access.project


def owners_only(access: Access) -> None:
    """If the project leaves its people to its owners, the caller must be one.

    Raises:
        OwnershipDenied: The caller is not an owner and the project is so set.
    """
    if access.project.manage_users_owner_only and access.role is not Role.OWNER:
        raise OwnershipDenied("Only owners can manage collaborators when this setting is enabled")


def may_remove(access: Access, caller: Principal, target: AccountId, owners: Collection[AccountId]) -> None:
    """May the caller, who is on the project, remove ``target`` from it? Everybody but an owner may leave.

    Args:
        access: The project, and what the caller is to it.
        caller: Who asks.
        target: Who is to be removed.
        owners: The project's owners.

    Raises:
        PermissionDenied: The caller only views the project, and may remove nobody else.
        OwnershipDenied: ``target`` is an owner, or only owners manage the people of this project.

    Source: Wire contract 2.5.
    """
    if target != caller.account_id and not is_able(access.role, Ability.MANAGE):
        raise PermissionDenied(NOT_A_COLLABORATOR)
    if target in owners:
        told = "Cannot remove an owner. Demote to collaborator first."
        if target == caller.account_id and len(owners) == 1:
            told += " You are the only one: hand the project over first (projects.handOver), or delete it."
        raise OwnershipDenied(told)
    if target != caller.account_id:
        owners_only(access)


def may_delete(access: Access | None, caller: Principal, project_id: ProjectId) -> Project:
    """The project, for those who may delete it: its owners and collaborators, and site admins.

    Where the project leaves its people to its owners, deleting is theirs alone too.

    Raises:
        PermissionDenied: The caller may not, or there is no such project.
        NotFound: There is no such project, told to a site admin.

    Source: Wire contract 0 (owner), 2.8.
    """
    if access is None and caller.is_admin:
        raise NotFound(f"FATAL: unknown project_id '{project_id}'", project_id=project_id)
    if access is None or not (is_able(access.role, Ability.MANAGE) or caller.is_admin):
        raise PermissionDenied("must be an owner to delete a project")
    if access.role is not Role.OWNER and access.project.manage_users_owner_only and not caller.is_admin:
        raise PermissionDenied("must be an owner to delete a project")
    return access.project
