"""Commands about accounts and keys."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from named_replies import ADA, ANALYSIS, NamedReplies, Outcome

from projecthub.errors import Conflict, InvalidArgument

Run = Callable[..., Outcome]

ACCOUNT: dict[str, Any] = {
    "account_id": ADA,
    "email_address": "ada@example.org",
    "first_name": "Ada",
    "last_name": "Lovelace",
    "admin": True,
    "disabled": True,
    "deleted": False,
    "created": "2025-11-01T09:00:00.000Z",
    "last_active": None,
}
KEY: dict[str, Any] = {
    "id": 7,
    "account_id": ADA,
    "name": "laptop",
    "trunc": "sk-...000007",
    "created": "2025-11-01T09:00:00.000Z",
    "expire": None,
    "last_active": None,
    "scopes": ["read", "run"],
    "calls_per_minute": 60,
}


def test_show(run: Run, hub: NamedReplies) -> None:
    hub.by_name["accounts.get"] = ACCOUNT
    done = run("accounts", "show", "ada@example.org")
    assert done.out.splitlines() == [
        f"account     {ADA}",
        "e-mail      ada@example.org",
        "first name  Ada",
        "last name   Lovelace",
        "site admin  yes",
        "disabled    yes",
        "created     2025-11-01 09:00",
    ]
    assert run("accounts", "show", "--json").json == ACCOUNT
    assert hub.named("accounts.get") == [{"account_id": "ada@example.org"}, {}]


def test_edit(run: Run, hub: NamedReplies) -> None:
    hub.by_name["accounts.update"] = ACCOUNT
    assert run("accounts", "edit", ADA, "--email", "a@x", "--no-admin", "--enabled").code == 0
    assert run("accounts", "edit", ADA, "--disabled", "--last-name", "L").code == 0
    assert hub.named("accounts.update") == [
        {"account_id": ADA, "email_address": "a@x", "admin": False, "disabled": False},
        {"account_id": ADA, "disabled": True, "last_name": "L"},
    ]
    assert run("accounts", "edit", ADA).code == 2


def test_delete(run: Run, hub: NamedReplies, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.by_name["accounts.delete"] = {
        "account_id": ADA,
        "deleted": True,
        "projects_deleted": [],
        "projects_handed_over": [ANALYSIS],
    }
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    assert run("accounts", "delete", ADA).code == 2, "nobody is there to be asked"
    assert hub.named("accounts.delete") == []
    done = run("accounts", "delete", ADA, "--yes", "--projects", "bob@x")
    assert done.out.splitlines() == [f"deleted              {ADA}", f"project handed over  {ANALYSIS}"]
    assert hub.named("accounts.delete") == [{"account_id": ADA, "projects": "bob@x"}]
    hub.by_name["accounts.delete"] = Conflict("this account is the last owner of 1 projects")
    assert run("accounts", "delete", ADA, "-y").code == 1


@pytest.mark.parametrize(
    ("typed", "sent"),
    [("new password\n", {}), ("new password\r\nold one\n", {"current_password": "old one"})],
)
def test_set_password_from_the_input(
    run: Run, hub: NamedReplies, monkeypatch: pytest.MonkeyPatch, typed: str, sent: dict[str, str]
) -> None:
    hub.by_name["accounts.setPassword"] = {"account_id": ADA, "password_set": True}
    monkeypatch.setattr(sys, "stdin", io.StringIO(typed))
    done = run("accounts", "set-password")
    assert done.out == f"password set  {ADA}\n"
    assert hub.named("accounts.setPassword") == [{"password": "new password", **sent}]


def test_import(run: Run, hub: NamedReplies, tmp_path: Path) -> None:
    roster = tmp_path / "roster.csv"
    roster.write_text("email;first name;group\nada@example.org;Ada;1\nnew@example.org;;2\n")
    report = {
        "dry_run": True,
        "created": 1,
        "changed": 1,
        "unchanged": 0,
        "rows": [
            {
                "line": 2,
                "email_address": "ada@example.org",
                "action": "change",
                "changes": {"first_name": ["A", "Ada"]},
            },
            {
                "line": 3,
                "email_address": "new@example.org",
                "action": "create",
                "changes": {"first_name": [None, "new"], "last_name": [None, ""], "admin": [None, False]},
            },
        ],
    }
    hub.by_name["accounts.importRoster"] = report
    done = run("accounts", "import", str(roster), "--dry-run")
    assert done.code == 0
    assert done.out.splitlines() == [
        "LINE  E-MAIL           ACTION  DETAILS",
        "2     ada@example.org  change  first_name 'A' -> 'Ada'",
        "3     new@example.org  create  first_name 'new'",
    ]
    assert done.err.splitlines() == [
        "columns that are not used: group",
        "1 would be created, 1 would be changed, 0 as they were",
    ]
    assert json.loads(run("accounts", "import", str(roster), "--json").out) == report
    rows = [
        {"line": 2, "email_address": "ada@example.org", "first_name": "Ada"},
        {"line": 3, "email_address": "new@example.org"},
    ]
    assert hub.named("accounts.importRoster") == [{"rows": rows, "dry_run": True}, {"rows": rows, "dry_run": False}]


def test_import_of_what_is_no_roster(run: Run, hub: NamedReplies, tmp_path: Path) -> None:
    roster = tmp_path / "roster.csv"
    roster.write_text("email\nada@example.org,Ada\n")
    done = run("accounts", "import", str(roster))
    assert (done.code, done.err) == (1, "error: line 2: 2 values in 1 columns\n")
    assert hub.calls == []
    assert run("accounts", "import", str(tmp_path / "missing.csv")).code == 2
    roster.write_text("email\nada\n")
    hub.by_name["accounts.importRoster"] = InvalidArgument("nothing was changed: line 2: 'ada' is no e-mail address")
    assert "line 2" in run("accounts", "import", str(roster)).err


def test_keys(run: Run, hub: NamedReplies) -> None:
    hub.by_name |= {"keys.create": {**KEY, "secret": "sk-secret"}, "keys.list": [KEY], "keys.update": KEY}
    assert run("keys", "create", "--scope", "read", "--scope", "run", "--calls-per-minute", "60").out == "sk-secret\n"
    assert "read, run; 60 calls a minute" in run("keys", "list").out
    done = run("keys", "edit", "7", "--expire", "never", "--calls-per-minute", "0", "--scope", "read")
    assert done.out.splitlines() == ["changed  7", "name     laptop", "scopes   read, run; 60 calls a minute"]
    assert run("keys", "edit", "7").code == 2
    assert run("keys", "create", "--expire", "soon").code == 2
    assert hub.named("keys.create") == [{"name": "", "scopes": ["read", "run"], "calls_per_minute": 60}]
    assert hub.named("keys.update") == [{"id": 7, "expire": "never", "scopes": ["read"], "calls_per_minute": 0}]


def test_keys_end_at_a_date_or_after_a_while(run: Run, hub: NamedReplies) -> None:
    hub.by_name |= {"keys.create": {**KEY, "secret": "sk-1", "expire": "2027-01-31T00:00:00.000Z"}, "keys.update": KEY}
    assert "and good until 2027-01-31 00:00" in run("keys", "create", "--expire", "2027-01-31").err
    run("keys", "edit", "7", "--expire", "30d")
    ends = datetime.fromisoformat(hub.named("keys.update")[0]["expire"])
    assert timedelta(days=29) < ends - datetime.now(UTC) <= timedelta(days=30)
    assert hub.named("keys.create")[0]["expire"] == "2027-01-31T00:00:00+00:00"
