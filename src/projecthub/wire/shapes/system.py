"""What is asked of the hub itself, and of its database. See `projecthub.wire.shapes`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NotRequired, TypedDict

# -- arguments -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class NoArguments:
    """A method without arguments; whatever is sent is ignored."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Names:
    """`system.getNames`: the one argument is the list itself."""

    account_ids: list[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Customize:
    """`system.getCustomize`: the one argument is the list of fields; None: all."""

    fields: list[str] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class UserSearch:
    """`system.userSearch`."""

    query: str = ""
    limit: int = 20
    admin: bool = False
    only_email: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class UserQuery:
    """`db.userQuery`; section 3 of the contract says what the two may hold."""

    query: Any = None
    options: Any = None


# -- replies ---------------------------------------------------------------------------------------


class Ping(TypedDict):
    """Reply of `system.ping`."""

    now: int


class Test(TypedDict):
    """Reply of `system.test`: whose key it is."""

    account_id: NotRequired[str]
    project_id: NotRequired[str]
    server_time: int


class UserName(TypedDict):
    """One value of `system.getNames`."""

    first_name: str
    last_name: str
    profile: NotRequired[dict[str, Any] | None]


class User(TypedDict):
    """One row of `system.userSearch`; times in milliseconds since the epoch."""

    account_id: str
    first_name: str
    last_name: str
    name: str | None
    email_address: NotRequired[str | None]
    last_active: int | None
    created: int | None
    email_address_verified: bool | None
