"""Accounts, and how people sign in to them. See `projecthub.wire.shapes`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, TypedDict

# -- arguments -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateAccount:
    """`accounts.create`: beyond the existing wire, for the operator."""

    email_address: str
    first_name: str = ""
    last_name: str = ""
    admin: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountOnly:
    """`accounts.get`: an account's id or e-mail address; default: the caller."""

    account_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class UpdateAccount:
    """`accounts.update`: what is not given stays. `account_id` as of `AccountOnly`; others are for site admins."""

    account_id: str | None = None
    email_address: str | None = None
    first_name: str | None = None
    last_name: str | None = None
    admin: bool | None = None
    disabled: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DeleteAccount:
    """`accounts.delete`. `account_id` as of `AccountOnly`, but to be given.

    `projects` says what becomes of those that have no other owner: ``refuse``, ``delete``, or who gets them, as an
    account's id or e-mail address.
    """

    account_id: str
    projects: str = "refuse"


@dataclass(frozen=True, slots=True, kw_only=True)
class SetPassword:
    """`accounts.setPassword`. `account_id` as of `AccountOnly`; `current_password`: to change one's own."""

    password: str
    account_id: str | None = None
    current_password: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SignIn:
    """`accounts.signIn`."""

    email_address: str
    password: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SignOut:
    """`accounts.signOut`: ends this session, or all of the account."""

    everywhere: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportRoster:
    """`accounts.importRoster`. Each row holds `email_address`, and perhaps `line`, names, `role` and `disabled`."""

    rows: list[dict[str, Any]]
    dry_run: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ListAccounts:
    """`accounts.list`. `after`: the last account_id of the page before."""

    query: str | None = None
    limit: int = 100
    after: str | None = None


# -- replies ---------------------------------------------------------------------------------------


class Account(TypedDict):
    """One row of `accounts.list`, and the reply of `accounts.create`, `get` and `update`."""

    account_id: str
    email_address: str | None
    first_name: str
    last_name: str
    admin: bool
    disabled: bool
    deleted: bool
    created: str
    last_active: str | None


class DeletedAccount(TypedDict):
    """Reply of `accounts.delete`: what became of the account's own projects, by their ids."""

    account_id: str
    deleted: Literal[True]
    projects_deleted: list[str]
    projects_handed_over: list[str]


class PasswordSet(TypedDict):
    """Reply of `accounts.setPassword`."""

    account_id: str
    password_set: Literal[True]


class SignedIn(TypedDict):
    """Reply of `accounts.signIn`: `secret` is used like an API key until `expire`, an ISO time."""

    account_id: str
    secret: str
    expire: str


class SignedOut(TypedDict):
    """Reply of `accounts.signOut`."""

    signed_out: Literal[True]


class RosterRow(TypedDict):
    """What a roster does to one account: `changes` from a field to its value before and after."""

    line: int
    email_address: str
    action: Literal["create", "change"]
    changes: dict[str, list[Any]]


class RosterReport(TypedDict):
    """Reply of `accounts.importRoster`; of a dry run, what the run would do."""

    dry_run: bool
    created: int
    changed: int
    unchanged: int
    rows: list[RosterRow]
