"""API keys. See `projecthub.wire.shapes`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NotRequired, TypedDict

# -- arguments -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class ManageApiKeys:
    """`system.manageApiKeys`. `expire`: ISO string or milliseconds since the epoch."""

    action: str = "get"
    project_id: str | None = None
    name: str | None = None
    expire: str | int | None = None
    id: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateKey:
    """`keys.create`. `account_id` (site admins) may be an account's id or e-mail address; default: the caller.

    `scopes` is some of read, run, write and manage; default: those of the key that calls.
    """

    account_id: str | None = None
    project_id: str | None = None
    name: str = ""
    expire: str | int | None = None
    scopes: list[str] | None = None
    calls_per_minute: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class UpdateKey:
    """`keys.update`: what is not given stays. `expire` may be ``never``, `calls_per_minute` 0 for any number."""

    id: int
    name: str | None = None
    expire: str | int | None = None
    scopes: list[str] | None = None
    calls_per_minute: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ListKeys:
    """`keys.list`: those of an account (default: the caller's), or of a project."""

    account_id: str | None = None
    project_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RevokeKey:
    """`keys.revoke`."""

    id: int


# -- replies ---------------------------------------------------------------------------------------


class ApiKey(TypedDict):
    """One row of `system.manageApiKeys` and `keys.list`; `secret` only in the answer that made it."""

    id: int
    account_id: str
    project_id: NotRequired[str | None]
    expire: str | None
    created: str
    name: str
    trunc: str
    last_active: str | None
    scopes: list[str]
    calls_per_minute: int | None
    secret: NotRequired[str]


class Revoked(TypedDict):
    """Reply of `keys.revoke`."""

    id: int
    revoked: Literal[True]
