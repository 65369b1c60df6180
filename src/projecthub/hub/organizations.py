"""Organizations: made by site admins, looked after by their own admins.

An organization's admins see its members, make accounts for new ones, and give out tokens that sign in as one of them.
To bring in an account that there is already, which makes all of the above possible, takes a site admin.

Source: Wire contract 5.4.
"""

from __future__ import annotations

import uuid
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import structlog

from projecthub.errors import Conflict, HubError, InvalidArgument, NotFound, PermissionDenied
from projecthub.hub.accounts import EMAIL, email_of
from projecthub.hub.permissions import all_scopes_only
from projecthub.hub.sign_in import SIGN_IN_PATH
from projecthub.hub.tables.accounts import USERNAME
from projecthub.hub.times import parse_time
from projecthub.store.records import Organization
from projecthub.wire import organizations as shapes
from projecthub.wire.ids import AccountId, is_uuid
from projecthub.wire.shapes import CreateProject
from projecthub.wire.units import to_iso

if TYPE_CHECKING:
    from projecthub.hub.accounts import Accounts
    from projecthub.hub.clock import Clock
    from projecthub.hub.creation import Creation
    from projecthub.hub.keys import Keys
    from projecthub.hub.messages import Messages
    from projecthub.hub.passwords import Passwords
    from projecthub.hub.principals import Principal
    from projecthub.hub.sign_in import SignIn
    from projecthub.hub.site import Site
    from projecthub.store import Store, Transaction
    from projecthub.store.records import Account

FIRST_PROJECT: Final = "My First Project"
_MAX_TITLE: Final = 1000
_MAX_DESCRIPTION: Final = 100_000
_SITE_ADMINS: Final = "must be a site admin"

_log = structlog.get_logger()


class Organizations:
    """The organizations of a hub, and the people in them."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        keys: Keys,
        accounts: Accounts,
        creation: Creation,
        passwords: Passwords,
        messages: Messages,
        sign_in: SignIn,
        site: Site,
    ) -> None:
        """Make the service.

        Args:
            store: Where organizations are kept.
            clock: Tells when somebody joined.
            keys: To tell them what ends.
            accounts: Makes accounts.
            creation: Makes the first project of a new account.
            passwords: Hashes the password of a new account.
            messages: Brings a message to all members.
            sign_in: Makes tokens.
            site: Tells where the hub is reached.
        """
        self._store = store
        self._clock = clock
        self._keys = keys
        self._accounts = accounts
        self._creation = creation
        self._passwords = passwords
        self._messages = messages
        self._sign_in = sign_in
        self._site = site

    # -- organizations -----------------------------------------------------------------------------

    async def all(self, caller: Principal) -> list[shapes.OrganizationRow]:
        """Every organization, by name.

        Raises:
            PermissionDenied: The caller is no site admin.
        """
        _site_admins_only(caller)
        async with self._store.read() as tx:
            admins = await tx.organizations.all_admins()
            return [
                {
                    "name": one.name,
                    "title": one.title,
                    "admin_account_ids": [*admins.get(one.organization_id, ())],
                }
                for one in await tx.organizations.all()
            ]

    async def create(self, caller: Principal, name: str) -> str:
        """Make an organization without members.

        Args:
            caller: Who asks.
            name: 1 to 39 letters, digits or single hyphens, for good.

        Returns:
            Its id, a uuid.

        Raises:
            PermissionDenied: The caller is no site admin.
            InvalidArgument: That is no name.
            Conflict: An account or an organization has it.
        """
        _site_admins_only(caller, "only admins may create organizations")
        if not USERNAME.fullmatch(name) or is_uuid(name):
            raise InvalidArgument(f"name '{name[:100]}' must have 1 to 39 letters, digits or single '-'")
        organization = Organization(
            organization_id=str(uuid.uuid4()),
            name=name,
            title=None,
            description=None,
            link=None,
            email_address=None,
            created_at=self._clock.now(),
        )
        async with self._store.write() as tx:
            await tx.organizations.lock_names()
            if await tx.accounts.by_name(name) is not None or await tx.organizations.get(name) is not None:
                raise Conflict(f"name {name} is already used by some account or organization")
            await tx.organizations.create(organization)
        return organization.organization_id

    async def get(self, caller: Principal, name: str) -> shapes.Organization:
        """An organization, for its admins and site admins.

        Raises:
            PermissionDenied: The caller is neither, or, told to others than site admins, there is none of that name.
            NotFound: There is none of that name.
        """
        async with self._store.read() as tx:
            found = await _managed(tx, caller, name)
            admins = await tx.organizations.admins(found.organization_id)
        return {
            "name": found.name,
            "title": found.title,
            "description": found.description,
            "link": found.link,
            "email_address": found.email_address,
            "admin_account_ids": [*admins],
        }

    async def set(self, caller: Principal, request: shapes.SetOrganization) -> None:
        """Change what is said of an organization; who may, as `get`.

        Raises:
            InvalidArgument: Nothing is given, or a value that is none.
        """
        changes = _changes(request)
        async with self._store.write() as tx:
            found = await _managed(tx, caller, request.name)
            await tx.organizations.update(found.organization_id, changes)

    # -- people ------------------------------------------------------------------------------------

    async def add_admin(self, caller: Principal, name: str, user: str) -> None:
        """Make an account an admin of an organization, and so a member of it.

        Raises:
            PermissionDenied: The caller is no site admin, or his key has not all scopes.
            NotFound: There is no such organization or account.
            Conflict: The account is disabled, or in another organization.
        """
        _site_admins_only(caller)
        all_scopes_only(caller, "make admins of organizations")
        async with self._store.write() as tx:
            found = await _managed(tx, caller, name)
            account = _enabled(await _account(tx, user, "no such account '{user}'"))
            if not await tx.organizations.appoint(found.organization_id, account.account_id, at=self._clock.now()):
                raise Conflict(f"User '{user[:100]}' is already member of another organization")

    async def add_user(self, caller: Principal, name: str, user: str) -> None:
        """Make an account a member of an organization, out of another one if it is in one.

        Raises:
            PermissionDenied: The caller is no site admin, or his key has not all scopes.
            NotFound: There is no such organization or account.
            Conflict: The account is disabled, or an admin of another organization.
        """
        _site_admins_only(caller)
        all_scopes_only(caller, "let the admins of an organization sign in as somebody")
        async with self._keys.changing() as tx:
            found = await _managed(tx, caller, name)
            account = await _account(tx, user, "no such account '{user}'")
            before = await tx.organizations.of_account(account.account_id)
            if before is not None and before.organization_id == found.organization_id:
                return
            _enabled(account)
            if before is not None:
                # What the admins it had before gave out is not for them any more.
                await tx.sign_in_tokens.end_of(account.account_id)
            await tx.organizations.join(found.organization_id, account.account_id, at=self._clock.now())
            after = await tx.organizations.of_account(account.account_id)
            if after is None or after.organization_id != found.organization_id:
                raise Conflict("admin cannot be removed from org; first remove them from being an admin")

    async def create_user(self, caller: Principal, request: shapes.CreateOrganizationUser) -> AccountId:
        """Make an account that is a member of an organization, with a project to begin with; who may, as `get`.

        Without a password nobody signs in by one: `create_token` lets its owner in.

        Returns:
            The new account's id.

        Raises:
            InvalidArgument: That is no e-mail address, or no password.
            Conflict: An account has it already.
        """
        email = email_of(request.email)
        account = self._accounts.new(
            email_address=email,
            first_name=request.firstName or email.partition("@")[0],
            last_name=request.lastName or "",
        )
        async with self._store.read() as tx:  # nobody else is to have passwords hashed
            await _managed(tx, caller, request.name)
        hashed = None if request.password is None else await self._passwords.hash(request.password)
        async with self._store.write() as tx:
            found = await _managed(tx, caller, request.name)
            await tx.accounts.create(account)
            if hashed is not None:
                await tx.accounts.update(account.account_id, {"password_hash": hashed})
            await tx.organizations.join(found.organization_id, account.account_id, at=self._clock.now())
        await self._create_first_project(replace(caller, account_id=account.account_id, is_admin=False))
        return account.account_id

    async def _create_first_project(self, owner: Principal) -> None:
        """The account is there, whatever becomes of this: its owner can make projects himself."""
        try:
            await self._creation.create(owner, CreateProject(title=FIRST_PROJECT))
        except HubError as error:
            _log.warning("organization.no_first_project", account_id=owner.account_id, error=error.message)

    async def users(self, caller: Principal, name: str) -> list[shapes.Member]:
        """The members of an organization, its admins included; who may, as `get`."""
        async with self._store.read() as tx:
            found = await _managed(tx, caller, name)
            rows = await tx.organizations.members(found.organization_id)
        return [
            {
                "account_id": row["account_id"],
                "first_name": row["first_name"],
                "last_name": row["last_name"],
                "email_address": row["email_address"],
                "last_active": to_iso(row["last_active_at"]) if row["last_active_at"] else None,
            }
            for row in rows
        ]

    async def remove_user(self, caller: Principal, name: str, user: str) -> None:
        """Take a member out of an organization; who may, as `get`. The account stays.

        Raises:
            NotFound: The organization has no such member.
            Conflict: The member is an admin.
        """
        async with self._keys.changing() as tx:
            found = await _managed(tx, caller, name)
            account_id = await _member(tx, found, user)
            if not await tx.organizations.remove(found.organization_id, account_id):
                raise Conflict("admin cannot be removed from org; first remove them from being an admin")
            await tx.sign_in_tokens.end_of(account_id)

    async def remove_admin(self, caller: Principal, name: str, user: str) -> None:
        """Make an admin a mere member; who may, as `get`. The tokens that he has made end.

        Raises:
            NotFound: The organization has no such member.
        """
        async with self._keys.changing() as tx:
            found = await _managed(tx, caller, name)
            account_id = await _member(tx, found, user)
            await tx.organizations.dismiss(found.organization_id, account_id)
            await tx.sign_in_tokens.end_made_by(account_id)

    # -- tokens and messages -----------------------------------------------------------------------

    async def create_token(self, caller: Principal, request: shapes.CreateToken) -> shapes.Token:
        """Make a token that signs in as a member of an organization, for its admins and site admins.

        Raises:
            NotFound: There is no such account, told to site admins.
            Conflict: The account is in no organization, told to site admins.
            PermissionDenied: It is not the caller's to sign in as: of another organization, or a site admin; or the
                caller's key has not all scopes.
            InvalidArgument: ``expire`` is no time, or over.
        """
        all_scopes_only(caller, "make tokens to sign in with")
        expires_at = parse_time(request.expire, "expire")
        async with self._store.write() as tx:
            account = await self._impersonated(tx, caller, request.user)
            token = await self._sign_in.create(tx, account.account_id, by=caller.account_id, expires_at=expires_at)
        return {"token": token, "url": f"{self._site.url}{SIGN_IN_PATH}?auth_token={token}"}

    async def _impersonated(self, tx: Transaction, caller: Principal, user: str) -> Account:
        account = await _find(tx, user)
        affiliation = None if account is None else await tx.organizations.of_account(account.account_id)
        if account is None or affiliation is None:
            # Whoever is no site admin learns nothing of people elsewhere.
            if not caller.is_admin:
                raise _not_an_admin()
            if account is None:
                raise NotFound(f"no such account '{user[:100]}'")
            raise Conflict("user is not in an org")
        if not caller.is_admin:
            await _managed(tx, caller, affiliation.name)
            if account.is_admin:
                # Or a site admin who joins an organization would make site admins of its admins.
                raise PermissionDenied("only site admins may sign in as a site admin")
        return account

    async def message(self, caller: Principal, request: shapes.OrganizationMessage) -> None:
        """Send one message to all members of an organization; who may, as `get`."""
        async with self._store.write() as tx:
            found = await _managed(tx, caller, request.name)
            await self._messages.send_to_organization(tx, caller, found, request.subject, request.body)


# -- rules -----------------------------------------------------------------------------------------


def _site_admins_only(caller: Principal, text: str = _SITE_ADMINS) -> None:
    if not caller.is_admin:
        raise PermissionDenied(text)


def _not_an_admin() -> PermissionDenied:
    return PermissionDenied("user must be an admin of the organization or site-admin")


async def _managed(tx: Transaction, caller: Principal, name: str) -> Organization:
    """The organization, for its admins and site admins."""
    found = await tx.organizations.get(name)
    if caller.is_admin:
        if found is None:
            raise NotFound(f"no org named '{name[:100]}'", name=name)
        return found
    own = await tx.organizations.of_account(caller.account_id)
    if found is None or own is None or not own.is_admin or own.organization_id != found.organization_id:
        raise _not_an_admin()
    return found


async def _find(tx: Transaction, user: str) -> Account | None:
    """An account that is not deleted, by its id or e-mail address."""
    if is_uuid(user):
        account = await tx.accounts.get(AccountId(user.lower()))
        return None if account is None or account.deleted_at is not None else account
    return await tx.accounts.by_email(user.strip())


async def _account(tx: Transaction, user: str, refusal: str) -> Account:
    account = await _find(tx, user)
    if account is None:
        raise NotFound(refusal.replace("{user}", user[:100]))
    return account


def _enabled(account: Account) -> Account:
    if account.banned:
        raise Conflict(f"account '{account.account_id}' is disabled, so that nothing was done; enable it first")
    return account


async def _member(tx: Transaction, organization: Organization, user: str) -> AccountId:
    """A member of the organization; people elsewhere are as good as unknown."""
    account = await _account(tx, user, "cannot find user '{user}'")
    affiliation = await tx.organizations.of_account(account.account_id)
    if affiliation is None or affiliation.organization_id != organization.organization_id:
        raise NotFound(f"cannot find user '{user[:100]}'")
    return account.account_id


def _changes(request: shapes.SetOrganization) -> dict[str, Any]:
    """Values by column names; an empty text becomes null."""
    given = {
        "title": request.title,
        "description": request.description,
        "email_address": request.email_address,
        "link": request.link,
    }
    changes: dict[str, Any] = {}
    for name, value in given.items():
        if value is None:
            continue
        most = _MAX_DESCRIPTION if name == "description" else _MAX_TITLE
        if len(value) > most:
            raise InvalidArgument(f"{name} has {len(value)} characters; give at most {most}")
        if name == "email_address" and value and not EMAIL.fullmatch(value):
            raise InvalidArgument(f"email_address '{value[:100]}' is no e-mail address")
        if name == "link" and value and not value.startswith(("https://", "http://")):
            raise InvalidArgument(f"link '{value[:100]}' is no web address; give one that begins with https://")
        changes[name] = value or None
    if not changes:
        raise InvalidArgument("there is nothing to set; give title, description, email_address or link")
    return changes
