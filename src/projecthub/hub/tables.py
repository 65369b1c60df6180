"""The tables that user queries may read: which fields, from which columns, with which defaults.

One declared table of tables; nothing here asks or changes the store.

Source: Wire contract 3.6, 3.7, 3.9, 7.4.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final, Literal

from projecthub.store.records import Account, State
from projecthub.wire.units import to_iso

Kind = Literal["text", "time", "bool", "number", "object"]
Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Field:
    """One field that may be read.

    Attributes:
        columns: What has to be selected for it.
        read: Makes the wire's value of a row; None is null.
        compare: The column that conditions and ordering use; None: neither is possible.
        kind: What a condition's value must be.
    """

    columns: tuple[str, ...]
    read: Callable[[Row], Any]
    compare: str | None
    kind: Kind


def _plain(column: str, kind: Kind = "text", default: Any = None) -> Field:
    def read(row: Row) -> Any:
        value = row[column]
        return default if value is None else value

    return Field((column,), read, column, kind)


def _time(column: str) -> Field:
    def read(row: Row) -> str | None:
        value = row[column]
        return None if value is None else to_iso(value)

    return Field((column,), read, column, "time")


def _object(column: str, default: Mapping[str, Any] | None = None) -> Field:
    def read(row: Row) -> Any:
        value = row[column]
        if default is None:
            return value
        return {**default, **(value or {})}

    return Field((column,), read, None, "object")


def _state(row: Row) -> dict[str, Any]:
    word = row["state"]
    state = {"state": "opened" if word == State.STOPPED else str(word), "time": to_iso(row["state_at"])}
    if word == State.RUNNING:
        state["ip"] = "127.0.0.1"
    elif word == State.ERROR:
        state["error"] = row["state_error"] or ""
    return state


def _status(row: Row) -> dict[str, Any]:
    seen = row["instance"]
    if not seen:
        return {}
    return {"project.pid": seen["pid"], "start_ts": seen["start_ts"], "session_id": seen["session_id"]}


def _last_active(row: Row) -> dict[str, str] | None:
    value = row["last_active"]
    return {account_id: to_iso(at) for account_id, at in value.items()} if value else None


SETTINGS_DEFAULTS: Final[Mapping[str, Any]] = {
    "disk_quota": 3000,
    "cores": 1,
    "cpu_shares": 0,
    "memory": 1000,
    "memory_request": 0,
    "mintime": 1800,
    "network": 0,
    "member_host": 0,
    "ephemeral_state": 0,
    "ephemeral_disk": 0,
    "always_running": 0,
}
"""A project's free base quotas: MB, cores, seconds, counts.

Source: Wire contract 3.7, `settings`.
"""

PROJECT_FIELDS: Final[Mapping[str, Field]] = {
    "project_id": _plain("project_id"),
    "name": _plain("name"),
    "title": _plain("title", default=""),
    "description": _plain("description", default=""),
    "users": _object("users", {}),
    "invite": _object("invite"),
    "invite_requests": _object("invite_requests"),
    "deleted": _plain("deleted", "bool"),
    "host": _object("host"),
    "settings": _object("settings", SETTINGS_DEFAULTS),
    "run_quota": _object("run_quota"),
    "site_license": _object("site_license"),
    "status": Field(("instance",), _status, None, "object"),
    "state": Field(("state", "state_at", "state_error"), _state, None, "object"),
    "manage_users_owner_only": Field(
        ("manage_users_owner_only",),
        lambda row: row["manage_users_owner_only"] or None,
        "manage_users_owner_only",
        "bool",
    ),
    "last_edited": _time("last_edited_at"),
    "last_active": Field(("last_active",), _last_active, None, "object"),
    "action_request": _object("action_request"),
    "course": _object("course"),
    "compute_image": _plain("compute_image", default="default"),
    "created": _time("created_at"),
    "ephemeral": _plain("ephemeral_ms", "number"),
    "env": _object("env"),
    "sandbox": _plain("sandbox", "bool"),
    "avatar_image_tiny": _plain("avatar_image_tiny"),
    "color": _plain("color"),
    "pay_as_you_go_quotas": _object("pay_as_you_go_quotas"),
}

ACCOUNT_OBJECTS: Final[Mapping[str, Mapping[str, Any]]] = {
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
    "passports": {},
}
"""Fields of an account that are objects, with what they hold unless it is set otherwise."""

ACCOUNT_PLAIN: Final[Mapping[str, Any]] = {
    "autosave": 45,
    "evaluate_key": "Shift-Enter",
    "font_size": 14,
    "sign_up_usage_intent": None,
    "tags": None,
    "tours": None,
    "email_daily_statements": None,
    "auto_balance": None,
}
"""Fields of an account that are single values, with their defaults."""

_ACCOUNT_ABSENT: Final = (
    "org", "lti_id", "stripe_checkout_session", "email_address_verified", "email_address_problem", "stripe_customer",
    "coupon_history", "customize", "ephemeral", "min_balance", "balance", "balance_alert", "purchase_closing_day",
    "stripe_usage_subscription", "unread_message_count",
)  # fmt: skip
"""Fields that may be read, and that no account of this hub has."""


def _preference(name: str, default: Any) -> Callable[[Account], Any]:
    if isinstance(default, Mapping):
        return lambda account: {**default, **(account.preferences.get(name) or {})}
    return lambda account: account.preferences.get(name, default)


ACCOUNT_FIELDS: Final[Mapping[str, Callable[[Account], Any]]] = {
    "account_id": lambda a: a.account_id,
    "email_address": lambda a: a.email_address,
    "first_name": lambda a: a.first_name,
    "last_name": lambda a: a.last_name,
    "name": lambda a: a.name,
    "groups": lambda a: ["admin"] if a.is_admin else [],
    "profile": lambda a: {"color": "rgb(170,170,170)", **(a.profile or {})},
    "unlisted": lambda a: a.unlisted,
    "created": lambda a: to_iso(a.created_at),
    "last_active": lambda a: to_iso(a.last_active_at) if a.last_active_at else None,
    **{name: _preference(name, default) for name, default in {**ACCOUNT_OBJECTS, **ACCOUNT_PLAIN}.items()},
    **{name: (lambda a: None) for name in _ACCOUNT_ABSENT},
}
"""How each field of an account is read."""

SHARE_FIELDS: Final[Mapping[str, Field]] = {
    **{name: _plain(name) for name in ("id", "project_id", "path", "name", "description", "vhost", "license",
                                       "compute_image", "site_license_id", "url", "redirect", "image")},
    **{name: _plain(name, "bool") for name in ("disabled", "unlisted", "authenticated", "jupyter_api")},
    "counter": _plain("counter", "number"),
    "created": _time("created_at"),
    "last_edited": _time("last_edited_at"),
    "last_saved": _time("last_saved_at"),
}  # fmt: skip

LOG_FIELDS: Final[Mapping[str, Field]] = {
    "id": _plain("id", "number"),
    "project_id": _plain("project_id"),
    "account_id": _plain("account_id"),
    "time": _time("logged_at"),
    "event": _object("event"),
}
"""A project's log: who did what, when; no ``account_id``: the hub did it."""

LOG_WINDOW: Final = timedelta(days=61)
"""The table `project_log` holds what happened within this time, two months."""

LOG_LIMITS: Final = {"project_log": 750, "project_log_all": 7500}
"""Rows that a query of each table gives unless it says otherwise."""

FIELDS: Final[Mapping[str, Mapping[str, Field]]] = {
    "projects": PROJECT_FIELDS,
    "projects_all": PROJECT_FIELDS,
    "public_paths": SHARE_FIELDS,
    "project_log": LOG_FIELDS,
    "project_log_all": LOG_FIELDS,
}
"""The tables whose rows the store selects, with their fields."""

PROJECTS_WINDOW: Final = timedelta(weeks=6)
"""The table `projects` holds what was edited within this time, the newest `PROJECTS_LIMIT` of it."""

PROJECTS_LIMIT: Final = 300
HARD_LIMIT: Final = 100_000
"""Rows that any query gives at most."""
