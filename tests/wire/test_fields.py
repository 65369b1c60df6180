"""Each field of projects and of accounts, as the wire contract lists them: read, set, and refused.

Source: Wire contract 3.7 to 3.9.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from projecthub.client import Hub
from projecthub.errors import QueryRefused
from projecthub.hub.tables import TABLES
from tests.hubs import HubProcess

NOT_SET = object()
"""In place of a value: the field cannot be set."""

PROJECT: dict[str, Any] = {
    "name": "soil-2026",
    "title": "Soil",
    "description": "Samples",
    "users": {"{account_id}": {"hide": True}},
    "invite": NOT_SET,
    "invite_requests": {"00000000-0000-4000-8000-000000000000": {"message": "let me in"}},
    "deleted": False,
    "host": NOT_SET,
    "settings": NOT_SET,
    "run_quota": NOT_SET,
    "site_license": {},
    "status": NOT_SET,
    "state": NOT_SET,
    "manage_users_owner_only": True,
    "last_edited": NOT_SET,
    "last_active": NOT_SET,
    "action_request": {"action": "stop", "time": "2026-01-01T00:00:00.000Z"},
    "course": NOT_SET,
    "compute_image": "default",
    "created": NOT_SET,
    "ephemeral": NOT_SET,
    "env": {"NAME": "value"},
    "sandbox": True,
    "avatar_image_tiny": "data:image/png;base64,xx",
    "color": "#aabbcc",
    "pay_as_you_go_quotas": NOT_SET,
}
"""What can be read of a project, with a value that it can be set to."""
PROJECT_DEFAULTS = {"title": "Fields", "description": "", "compute_image": "default"}
KEPT_TO_THE_HUB = (
    "last_started", "storage", "last_backup", "disk_size", "resources", "preemptible", "idle_timeout", "addons",
    "lti_id", "lti_data", "notes", "license", "instance", "epoch", "desired", "unix_slot",
    "secret_token",
)  # fmt: skip

ACCOUNT: dict[str, Any] = {
    "email_address": NOT_SET,
    "org": NOT_SET,
    "lti_id": NOT_SET,
    "stripe_checkout_session": NOT_SET,
    "email_address_verified": NOT_SET,
    "email_address_problem": NOT_SET,
    "editor_settings": {"theme": "dark"},
    "other_settings": {"katex": False},
    "name": "fields-person",
    "first_name": "Fay",
    "last_name": "Field",
    "terminal": {"font_size": 9},
    "autosave": 30,
    "evaluate_key": "Enter",
    "font_size": 20,
    "passports": NOT_SET,
    "groups": NOT_SET,
    "last_active": NOT_SET,
    "stripe_customer": NOT_SET,
    "coupon_history": NOT_SET,
    "profile": {"color": "red"},
    "customize": NOT_SET,
    "ssh_keys": {"fingerprint": {"title": "laptop", "value": "ssh-ed25519 x"}},
    "created": NOT_SET,
    "ephemeral": NOT_SET,
    "unlisted": True,
    "tags": ["science"],
    "tours": ["all"],
    "min_balance": NOT_SET,
    "balance": NOT_SET,
    "balance_alert": NOT_SET,
    "auto_balance": {"amount": 1},
    "purchase_closing_day": NOT_SET,
    "stripe_usage_subscription": NOT_SET,
    "email_daily_statements": True,
    "unread_message_count": NOT_SET,
}
"""What can be read of one's account, with a value that it can be set to."""
ACCOUNT_DEFAULTS = {
    "last_name": "",
    "groups": [],
    "autosave": 45,
    "font_size": 14,
    "evaluate_key": "Shift-Enter",
    "ssh_keys": {},
    "passports": {},
    "unlisted": False,
    "terminal": {"font_size": 14, "color_scheme": "cocalc-light", "font": "monospace"},
    "profile": {"color": "rgb(170,170,170)"},
    "unread_message_count": 0,
}
SECRETS = ("password_hash", "api_key", "is_admin", "banned", "preferences", "deleted")


class Person:
    """Somebody with a project that nobody has changed."""

    def __init__(self, process: HubProcess, name: str) -> None:
        self.account_id, key = process.person(name)
        self.hub: Hub = process.hub(key)
        self.project_id = self.hub.projects.create_project("Fields")

    def ask(self, table: str, **fields: Any) -> Any:
        shape = {"project_id": self.project_id, **fields} if table == "projects" else fields
        return self.hub.db.query({table: shape}).get(table)

    def read(self, table: str, name: str) -> Any:
        return self.ask(table, **{name: None})[name]


@pytest.fixture(scope="module")
def fay(hub_process: HubProcess) -> Iterator[Person]:
    person = Person(hub_process, "fields")
    yield person
    person.hub.close()


def test_the_fields_are_those_of_the_contract() -> None:
    for table, fields, more in (
        ("projects", PROJECT, {"project_id"}),
        ("accounts", ACCOUNT, {"account_id"}),
    ):
        declared = TABLES[table].fields
        assert {name for name, field in declared.items() if field.read} == {*fields, *more}
        written = {name for name, field in declared.items() if field.write and field.read} - more
        assert written == {name for name, value in fields.items() if value is not NOT_SET}
    assert {name for name, field in TABLES["projects"].fields.items() if not field.read} == {"avatar_image_full"}
    assert {name for name, field in TABLES["accounts"].fields.items() if not field.read} == {"sign_up_usage_intent"}


def test_what_fields_are_before_they_are_set(hub_process: HubProcess) -> None:
    person = Person(hub_process, "fields-new")
    for table, fields, defaults in (
        ("projects", PROJECT, PROJECT_DEFAULTS),
        ("accounts", ACCOUNT, ACCOUNT_DEFAULTS),
    ):
        row = person.ask(table, **dict.fromkeys(fields))
        assert row.keys() >= fields.keys()
        assert {name: row[name] for name in defaults} == defaults
    person.hub.close()


SETTABLE = [
    (table, name, value)
    for table, fields in (("projects", PROJECT), ("accounts", ACCOUNT))
    for name, value in fields.items()
    if value is not NOT_SET
]


@pytest.mark.parametrize(("table", "name", "value"), SETTABLE)
def test_what_is_set_is_read(fay: Person, table: str, name: str, value: Any) -> None:
    fay.hub.db.query({table: {"project_id": fay.project_id, name: value} if table == "projects" else {name: value}})
    read = fay.read(table, name)
    if isinstance(value, dict):
        value = {fay.account_id if key == "{account_id}" else key: inner for key, inner in value.items()}
        assert all(inner.items() <= read[key].items() if isinstance(inner, dict) else read[key] == inner
                   for key, inner in value.items())  # fmt: skip
    else:
        assert read == value


@pytest.mark.parametrize("table", ["projects", "accounts"])
def test_what_cannot_be_set(fay: Person, table: str) -> None:
    fields = {"projects": PROJECT, "accounts": ACCOUNT}[table]
    hidden = {"projects": KEPT_TO_THE_HUB, "accounts": SECRETS}[table]
    for name in [*(name for name, value in fields.items() if value is NOT_SET), *hidden]:
        with pytest.raises(QueryRefused, match=rf"^FATAL: changing {table}\.{name} not allowed$"):
            fay.ask(table, **{name: "x"})


@pytest.mark.parametrize("table", ["projects", "accounts"])
def test_what_is_kept_to_the_hub(fay: Person, table: str) -> None:
    for name in {"projects": KEPT_TO_THE_HUB, "accounts": SECRETS}[table]:
        with pytest.raises(QueryRefused, match=rf"^FATAL: user get query not allowed for {table}\.{name}$"):
            fay.ask(table, **{name: None})


def test_an_avatar_is_set_in_one_table_and_read_in_another(fay: Person) -> None:
    fay.ask("projects", avatar_image_full="data:image/png;base64,large")
    shape = {"project_id": fay.project_id, "avatar_image_full": None}
    reply = fay.hub.db.query({"project_avatar_images": shape})
    assert reply["project_avatar_images"]["avatar_image_full"] == "data:image/png;base64,large"


def test_the_key_alone_says_who_asks(hub_process: HubProcess, fay: Person) -> None:
    """Whatever else a call names beside its query counts for nothing."""
    other = Person(hub_process, "fields-other")
    query = {"projects": {"project_id": fay.project_id, "title": "Taken"}}
    for more in ({"project_id": fay.project_id}, {"account_id": fay.account_id}):
        with pytest.raises(QueryRefused, match="FATAL: user must be an admin"):
            other.hub.call("db.userQuery", [{"query": query, **more}])
    mine = other.hub.call("db.userQuery", [{"query": {"accounts": {"account_id": None}}, "account_id": fay.account_id}])
    assert mine == {"accounts": {"account_id": other.account_id}}
    other.hub.close()
