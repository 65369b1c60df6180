"""Accounts: made, changed and listed by site admins, named and searched by everybody.

Source: Wire contract 5.1; docs/wire-extensions.md.
"""

from __future__ import annotations

import re
import uuid
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from projecthub.errors import InvalidArgument, PermissionDenied
from projecthub.hub.joining import welcome
from projecthub.hub.permissions import account_id_of, admins_only, all_scopes_only, keeps_an_admin, own_or_any
from projecthub.store.records import Account
from projecthub.wire import shapes
from projecthub.wire.ids import AccountId, is_uuid
from projecthub.wire.units import to_iso, to_ms

if TYPE_CHECKING:
    from projecthub.hub.clock import Clock
    from projecthub.hub.keys import Keys
    from projecthub.hub.principals import Principal
    from projecthub.store import Store

EMAIL: Final = re.compile(r"[^\s@,;<>]{1,64}@[^\s@,;<>]{1,255}")
MAX_NAME: Final = 254
_MAX_SEARCH: Final = 50
_MAX_ADMIN_SEARCH: Final = 2500
_MAX_PAGE: Final = 1000


class Accounts:
    """The people and programs that may sign in."""

    def __init__(self, store: Store, clock: Clock, keys: Keys) -> None:
        """Make the service; ``keys`` gives transactions that change what a key is good for."""
        self._store = store
        self._clock = clock
        self._keys = keys

    def new(
        self, *, email_address: str | None, first_name: str, last_name: str = "", is_admin: bool = False
    ) -> Account:
        """A record for a new account, not stored yet."""
        return Account(
            account_id=AccountId(str(uuid.uuid4())),
            email_address=email_address,
            first_name=first_name[:MAX_NAME],
            last_name=last_name[:MAX_NAME],
            name=None,
            is_admin=is_admin,
            unlisted=False,
            banned=False,
            profile=None,
            preferences={},
            created_at=self._clock.now(),
            last_active_at=None,
            deleted_at=None,
        )

    async def create(self, caller: Principal, request: shapes.CreateAccount) -> shapes.Account:
        """Make an account; it gets no key by itself (`keys.create`).

        Raises:
            PermissionDenied: The caller is no site admin.
            InvalidArgument: That is no e-mail address.
            Conflict: An account has that e-mail address already.
        """
        admins_only(caller, "create accounts")
        if request.admin:
            all_scopes_only(caller, "make site admins")
        email = email_of(request.email_address)
        account = self.new(
            email_address=email,
            first_name=request.first_name or email.partition("@")[0],
            last_name=request.last_name,
            is_admin=request.admin,
        )
        async with self._store.write() as tx:
            await tx.accounts.create(account)
            await welcome(tx, account, at=account.created_at)
        return _shape(account)

    async def get(self, caller: Principal, account: str | None) -> shapes.Account:
        """An account: the caller's own, or, for site admins, anybody's.

        Raises:
            PermissionDenied, NotFound, InvalidArgument: See `permissions.own_or_any`.
        """
        async with self._store.read() as tx:
            return _shape(await own_or_any(tx, caller, account, "see the details of other accounts"))

    async def update(self, caller: Principal, request: shapes.UpdateAccount) -> shapes.Account:
        """Change an account; what is not given stays. People change their own names and e-mail address.

        Disabling one ends the power of its keys and sessions at once; they come back with it.

        Raises:
            PermissionDenied: The account is another's, or the change is for site admins.
            InvalidArgument: That is no e-mail address, or there is no name left.
            Conflict: The e-mail address is taken, or no site admin would be left.
        """
        changes = _changes(request)
        if {"is_admin", "banned"} & changes.keys():
            admins_only(caller, "enable and disable accounts, or make site admins")
        if {"is_admin", "email_address"} & changes.keys():
            all_scopes_only(caller, "change e-mail addresses and site admins")
        async with self._keys.changing() as tx:
            account = await own_or_any(tx, caller, request.account_id, "change other accounts")
            changed = {name: value for name, value in changes.items() if getattr(account, name) != value}
            if changed.get("is_admin") is False or changed.get("banned"):
                await keeps_an_admin(tx, {account.account_id})
            if {"is_admin", "banned"} & changed.keys():
                # A token says who may be whom, and these change that.
                await tx.sign_in_tokens.end_of(account.account_id)
                await tx.sign_in_tokens.end_made_by(account.account_id)
            if changed:
                await tx.accounts.update(account.account_id, changed)
        return _shape(replace(account, **changed))

    async def page(self, caller: Principal, request: shapes.ListAccounts) -> list[shapes.Account]:
        """A page of accounts, newest first.

        Raises:
            PermissionDenied: The caller is no site admin.
            InvalidArgument: ``limit`` is not from 1 to 1000, or ``after`` no account id.
        """
        admins_only(caller, "list accounts")
        if not 1 <= request.limit <= _MAX_PAGE:
            raise InvalidArgument(f"limit is {request.limit}; give a number from 1 to {_MAX_PAGE}")
        after = (
            None
            if request.after is None
            else account_id_of(request.after, "after '{value}' is no account id; give the last one of a page")
        )
        async with self._store.read() as tx:
            return [_shape(a) for a in await tx.accounts.list(limit=request.limit, after=after, query=request.query)]

    async def names(self, account_ids: list[str]) -> dict[str, shapes.UserName]:
        """Names by account id; whoever is not there or deleted is called Deleted User.

        Raises:
            InvalidArgument: One of the ids is no uuid.
        """
        for value in account_ids:
            account_id_of(value, "account id '{value}' is not a valid uuid")
        async with self._store.read() as tx:
            found = {a.account_id: a for a in await tx.accounts.get_many([AccountId(i.lower()) for i in account_ids])}
        return {value: _name(found.get(AccountId(value.lower()))) for value in account_ids}

    async def search(self, caller: Principal, request: shapes.UserSearch) -> list[shapes.User]:
        """Find accounts by id, e-mail address, or parts of names; site admins, by parts of e-mail addresses too.

        Raises:
            PermissionDenied: ``admin`` is asked for by somebody who is none.

        Source: Wire contract 5.1, userSearch.
        """
        if request.admin and not caller.is_admin:
            raise PermissionDenied("Must be an admin to do admin search.")
        query = request.query.strip()
        if not query:
            return []
        limit = max(0, min(request.limit, _MAX_ADMIN_SEARCH if request.admin else _MAX_SEARCH))
        async with self._store.read() as tx:
            if is_uuid(query):
                account = await tx.accounts.get(AccountId(query.lower()))
                return [] if account is None or account.deleted_at else [_user(account, with_email=request.admin)]
            parts = [part.strip().lower() for part in re.split(r"[,;\n]", query)]
            emails = [part for part in parts if EMAIL.fullmatch(part)]
            terms = [] if request.only_email else [p.split() for p in parts if p and p not in emails]
            found = await tx.accounts.search(
                [[word.lstrip("@") if word != "@" else word for word in term] for term in terms],
                emails,
                limit=limit,
                include_unlisted=request.admin,
            )
            if request.admin:
                known = {a.account_id for a in found}
                by_part = await tx.accounts.list(limit=limit, query=query)
                found = [*found, *(a for a in by_part if a.account_id not in known and a.deleted_at is None)][:limit]
        return [_user(a, with_email=request.admin or (a.email_address or "").lower() in emails) for a in found]


def email_of(given: str) -> str:
    """Check an e-mail address that came from outside.

    Raises:
        InvalidArgument: It is none.
    """
    email = given.strip()
    if not EMAIL.fullmatch(email):
        raise InvalidArgument(f"email_address {email[:100]!r} is no e-mail address; give one such as 'ada@example.org'")
    return email


def _changes(request: shapes.UpdateAccount) -> dict[str, Any]:
    """Columns that a request changes."""
    changes: dict[str, Any] = {}
    if request.email_address is not None:
        changes["email_address"] = email_of(request.email_address)
    if request.first_name is not None:
        changes["first_name"] = request.first_name.strip()[:MAX_NAME]
        if not changes["first_name"]:
            raise InvalidArgument("first_name must be nonempty")
    if request.last_name is not None:
        changes["last_name"] = request.last_name.strip()[:MAX_NAME]
    if request.admin is not None:
        changes["is_admin"] = request.admin
    if request.disabled is not None:
        changes["banned"] = request.disabled
    return changes


def _name(account: Account | None) -> shapes.UserName:
    if account is None or account.deleted_at is not None:
        return {"first_name": "Deleted", "last_name": "User"}
    if not account.first_name and not account.last_name:
        return {"first_name": "No", "last_name": "Name", "profile": _profile(account)}
    return {"first_name": account.first_name, "last_name": account.last_name, "profile": _profile(account)}


def _profile(account: Account) -> dict[str, object] | None:
    return None if account.profile is None else dict(account.profile)


def _user(account: Account, *, with_email: bool) -> shapes.User:
    user: shapes.User = {
        "account_id": account.account_id,
        "first_name": account.first_name,
        "last_name": account.last_name,
        "name": account.name,
        "last_active": to_ms(account.last_active_at) if account.last_active_at else None,
        "created": to_ms(account.created_at),
        "email_address_verified": None,
    }
    if with_email:
        user["email_address"] = account.email_address
    return user


def _shape(account: Account) -> shapes.Account:
    return {
        "account_id": account.account_id,
        "email_address": account.email_address,
        "first_name": account.first_name,
        "last_name": account.last_name,
        "admin": account.is_admin,
        "disabled": account.banned,
        "deleted": account.deleted_at is not None,
        "created": to_iso(account.created_at),
        "last_active": to_iso(account.last_active_at) if account.last_active_at else None,
    }
