"""`accounts`: one's own account.

Source: Wire contract 3.9.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from projecthub.errors import Conflict, QueryRefused
from projecthub.hub.tables.declaring import (
    Asked,
    Change,
    Edit,
    Field,
    Row,
    Table,
    Write,
    a_flag,
    absent,
    ignored,
    mapping_of,
    moment,
    new_values,
    only_set,
    plain,
    small,
)
from projecthub.hub.values import mapping, merged_within, refused, text
from projecthub.wire.ids import AccountId, is_uuid

if TYPE_CHECKING:
    from projecthub.store import Transaction

_MAX_NAME: Final = 254
_MAX_OBJECT: Final = 1_000_000
USERNAME: Final = re.compile(r"(?!.*--)[a-zA-Z0-9]([a-zA-Z0-9-]{0,37}[a-zA-Z0-9])?")

OBJECTS: Final[Mapping[str, Mapping[str, Any]]] = {
    "editor_settings": {
        "bindings": "standard",
        "theme": "default",
        "line_wrapping": True,
        "line_numbers": True,
        "match_brackets": True,
        "auto_close_brackets": True,
        "smart_indent": True,
        "tab_size": 4,
        "spaces_instead_of_tabs": True,
        "trim_trailing_whitespace": False,
    },
    "other_settings": {"katex": True, "dark_mode": False, "page_size": 500, "i18n": "en"},
    "terminal": {"font_size": 14, "color_scheme": "cocalc-light", "font": "monospace"},
    "ssh_keys": {},
}
"""Preferences that are objects, with what they hold unless it is set otherwise."""

VALUES: Final[Mapping[str, Any]] = {
    "autosave": 45,
    "evaluate_key": "Shift-Enter",
    "font_size": 14,
    "tags": None,
    "tours": None,
    "email_daily_statements": None,
    "auto_balance": None,
}
"""Preferences that are single values, with their defaults."""

_ABSENT: Final = (
    "lti_id", "stripe_checkout_session", "email_address_verified", "email_address_problem", "stripe_customer",
    "coupon_history", "customize", "ephemeral", "min_balance", "balance", "balance_alert", "purchase_closing_day",
    "stripe_usage_subscription",
)  # fmt: skip
"""Fields that may be read, and that no account of this hub has."""

_PROFILE: Final = {"color": "rgb(170,170,170)"}
PROFILE: Final = mapping_of("profile", _PROFILE)
"""How somebody is shown: his colour, his picture."""


# -- rules of fields -------------------------------------------------------------------------------


async def _set_first_name(edit: Edit, value: Any) -> Mapping[str, Any]:
    given = text("first_name", value)[:_MAX_NAME]
    if not given.strip():
        raise refused("first_name", "first_name must be nonempty")
    return {"first_name": given}


async def _set_last_name(edit: Edit, value: Any) -> Mapping[str, Any]:
    return {"last_name": text("last_name", value)[:_MAX_NAME]}


async def _set_username(edit: Edit, value: Any) -> Mapping[str, Any]:
    given = text("name", value)
    if not USERNAME.fullmatch(given) or is_uuid(given):
        raise refused("name", f"'{given[:100]}' must have 1 to 39 letters, digits or single '-'")
    await edit.tx.organizations.lock_names()
    if await edit.tx.organizations.get(given) is not None:
        raise _taken(given)
    return {"name": given}


def _taken(name: object) -> QueryRefused:
    return refused("name", f'name "{name}" is already taken by another organization or account')


async def _set_profile(edit: Edit, value: Any) -> Mapping[str, Any]:
    given = mapping("profile", value)
    return {"profile": merged_within("profile", edit.row.profile, given, most=_MAX_OBJECT)}


async def _set_object(edit: Edit, value: Any) -> Mapping[str, Any]:
    before = edit.row.preferences.get(edit.field)
    return {edit.field: merged_within(edit.field, before, mapping(edit.field, value), most=_MAX_OBJECT)}


async def _set_value(edit: Edit, value: Any) -> Mapping[str, Any]:
    return {edit.field: small(edit.field, value)}


# -- fields ----------------------------------------------------------------------------------------


def _preference(name: str, default: Any, write: Write) -> Field:
    def read(row: Row) -> Any:
        value = row["preferences"].get(name)
        if isinstance(default, Mapping):
            return {**default, **(value or {})}
        return default if value is None else value

    return Field(kind="object", read=read, columns=("preferences",), write=write)


FIELDS: Final[Mapping[str, Field]] = {
    "account_id": plain("account_id", write=ignored()),
    "email_address": plain("email_address"),
    "first_name": plain("first_name", default="", write=_set_first_name),
    "last_name": plain("last_name", default="", write=_set_last_name),
    "name": plain("name", write=_set_username),
    "groups": Field(kind="object", read=lambda row: ["admin"] if row["is_admin"] else [], columns=("is_admin",)),
    "profile": mapping_of("profile", _PROFILE, write=_set_profile),
    "unlisted": plain("unlisted", "bool", write=a_flag()),
    "created": moment("created_at"),
    "last_active": moment("last_active_at"),
    "org": Field(kind="object", read=lambda row: row["org"], columns=("org",)),
    "unread_message_count": Field(
        kind="object", read=lambda row: row["unread_message_count"], columns=("unread_message_count",)
    ),
    "passports": Field(kind="object", read=lambda row: {}),
    "sign_up_usage_intent": only_set(_set_value),
    **{name: _preference(name, default, _set_object) for name, default in OBJECTS.items()},
    **{name: _preference(name, default, _set_value) for name, default in VALUES.items()},
    **{name: absent() for name in _ABSENT},
}


async def _organization(tx: Transaction, account_id: AccountId) -> str | None:
    affiliation = await tx.organizations.of_account(account_id)
    return None if affiliation is None else affiliation.name


async def _unread(tx: Transaction, account_id: AccountId) -> int:
    return await tx.messages.count_unread(account_id)


_ELSEWHERE: Final[Mapping[str, Callable[[Transaction, AccountId], Awaitable[Any]]]] = {
    "org": _organization,
    "unread_message_count": _unread,
}
"""Fields that stand in other tables of the store."""


async def _own(tx: Transaction, asked: Asked) -> Sequence[Row]:
    account_id, wanted = asked.caller.account_id, asked.selection.columns
    columns = tuple(name for name in wanted if name not in _ELSEWHERE) or ("account_id",)
    rows = await tx.accounts.select(replace(asked.selection, columns=columns), account_id=account_id)
    return [
        {**row, **{name: await _ELSEWHERE[name](tx, account_id) for name in wanted if name in _ELSEWHERE}}
        for row in rows
    ]


async def _change(change: Change) -> None:
    """Change fields of the caller's own account, whatever account the query names."""
    account_id = change.caller.account_id
    async with change.tools.store.write() as tx:
        account = await tx.accounts.get(account_id, lock=True)
        if account is None:
            raise QueryRefused(f"FATAL: there is no account '{account_id}'")
        values = await new_values(change, tx, account)
        preferences = {name: values.pop(name) for name in _PREFERENCES & values.keys()}
        if preferences:
            values["preferences"] = {**account.preferences, **preferences}
        if not values:
            return
        try:
            await tx.accounts.update(account_id, values)
        except Conflict as error:
            raise _taken(change.shape.get("name")) from error


_PREFERENCES: Final = frozenset({*OBJECTS, *VALUES, "sign_up_usage_intent"})
"""Fields that are kept together in one column."""

ACCOUNTS: Final = Table(name="accounts", fields=FIELDS, rows=_own, one_row=True, change=_change)
