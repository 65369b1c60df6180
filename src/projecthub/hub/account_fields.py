"""Changes to one's own account by set queries.

Source: Wire contract 3.9.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, Final

from projecthub.errors import Conflict, QueryRefused
from projecthub.hub.tables import ACCOUNT_OBJECTS, ACCOUNT_PLAIN
from projecthub.hub.values import boolean, mapping, merged_within, refused, text
from projecthub.wire.ids import is_uuid

if TYPE_CHECKING:
    from projecthub.hub.principals import Principal
    from projecthub.store import Store

_MAX_NAME: Final = 254
_MAX_VALUE: Final = 10_000
_MAX_OBJECT: Final = 1_000_000
USERNAME: Final = re.compile(r"(?!.*--)[a-zA-Z0-9]([a-zA-Z0-9-]{0,37}[a-zA-Z0-9])?")
_OBJECTS: Final = frozenset(ACCOUNT_OBJECTS) - {"passports"}


class AccountFields:
    """Changes rows of the table `accounts`: only ever the caller's own."""

    def __init__(self, store: Store) -> None:
        """Make the service."""
        self._store = store

    async def set(self, caller: Principal, shape: dict[str, Any]) -> None:
        """Change fields of the caller's account; an ``account_id`` in the query is replaced by his.

        Raises:
            QueryRefused: Not a field to change, or not a value for it.
        """
        async with self._store.write() as tx:
            account = await tx.accounts.get(caller.account_id)
            if account is None:
                raise QueryRefused(f"FATAL: there is no account '{caller.account_id}'")
            changes: dict[str, Any] = {}
            preferences = dict(account.preferences)
            for name, value in shape.items():
                if name in _OBJECTS:
                    preferences[name] = merged_within(
                        name, preferences.get(name), mapping(name, value), most=_MAX_OBJECT
                    )
                elif name in ACCOUNT_PLAIN:
                    preferences[name] = _small(name, value)
                elif name == "profile":
                    changes[name] = merged_within(name, account.profile, mapping(name, value), most=_MAX_OBJECT)
                elif name != "account_id":
                    changes[name] = _column(name, value)
            if preferences != account.preferences:
                changes["preferences"] = preferences
            if "name" in changes:
                await tx.organizations.lock_names()
                if await tx.organizations.get(changes["name"]) is not None:
                    raise _taken(changes["name"])
            if changes:
                try:
                    await tx.accounts.update(caller.account_id, changes)
                except Conflict as error:
                    raise _taken(shape.get("name")) from error


def _taken(name: object) -> QueryRefused:
    return refused("name", f'name "{name}" is already taken by another organization or account')


def _column(name: str, value: Any) -> Any:
    match name:
        case "first_name" | "last_name":
            given = text(name, value)[:_MAX_NAME]
            if name == "first_name" and not given.strip():
                raise refused(name, "first_name must be nonempty")
            return given
        case "name":
            given = text(name, value)
            if not USERNAME.fullmatch(given) or is_uuid(given):
                raise refused(name, f"'{given[:100]}' must have 1 to 39 letters, digits or single '-'")
            return given
        case "unlisted":
            return boolean(name, value)
        case _:
            raise QueryRefused(f"FATAL: changing accounts.{name[:100]} not allowed")


def _small(name: str, value: Any) -> Any:
    if len(json.dumps(value)) > _MAX_VALUE:
        raise refused(name, f"the value has more than {_MAX_VALUE} characters")
    return value
