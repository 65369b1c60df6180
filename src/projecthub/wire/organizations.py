"""Shapes of organizations and of sign-in tokens, as `shapes` for all else.

Source: Wire contract 5.1, 5.4.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypedDict

# -- arguments -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class OrganizationOnly:
    """A method about one organization, by its name."""

    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SetOrganization:
    """`org.set`: what is given changes; an empty text takes it away."""

    name: str
    title: str | None = None
    description: str | None = None
    email_address: str | None = None
    link: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class OrganizationUser:
    """A method about one person of an organization. `user`: an account's id or e-mail address."""

    name: str
    user: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateOrganizationUser:
    """`org.createUser`."""

    name: str
    email: str
    firstName: str | None = None
    lastName: str | None = None
    password: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateToken:
    """`org.createToken`. `user`: an account's id or e-mail address; `expire`: ISO string or milliseconds."""

    user: str
    expire: str | int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpireToken:
    """`org.expireToken`."""

    token: str


@dataclass(frozen=True, slots=True, kw_only=True)
class OrganizationMessage:
    """`org.message`."""

    name: str
    subject: str
    body: str


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerateUserAuthToken:
    """`system.generateUserAuthToken`. `password`: of the account; site admins need none."""

    user_account_id: str
    password: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AdminResetPasswordLink:
    """`system.adminResetPasswordLink`."""

    user_account_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RevokeUserAuthToken:
    """`system.revokeUserAuthToken`: the one argument is the token itself."""

    token: str


# -- replies ---------------------------------------------------------------------------------------


class OrganizationRow(TypedDict):
    """One row of `org.getAll`."""

    name: str
    title: str | None
    admin_account_ids: list[str]


class Organization(TypedDict):
    """Reply of `org.get`."""

    name: str
    title: str | None
    description: str | None
    link: str | None
    email_address: str | None
    admin_account_ids: list[str]


class Member(TypedDict):
    """One row of `org.getUsers`; `last_active` is an ISO time."""

    account_id: str
    first_name: str
    last_name: str
    email_address: str | None
    last_active: str | None


class Token(TypedDict):
    """Reply of `org.createToken`: the token, and where whoever has it signs in."""

    token: str
    url: str


class SignedIn(TypedDict):
    """What a sign-in token is turned into: an API key of the account, good until `expire`, an ISO time."""

    account_id: str
    api_key: str
    expire: str
