"""Commands about the hub itself, about people and ways to sign in; and that all of the client has its command."""

from __future__ import annotations

import ast
import inspect
import io
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx2
import pytest
from named_replies import ADA, NamedReplies, Outcome

import projecthub.cli
from projecthub import Hub
from projecthub.cli.commands import run as run_command
from projecthub.errors import Conflict, InvalidArgument, NotSignedIn, PermissionDenied

Run = Callable[..., Outcome]
NOW = 1_763_736_921_253

OTHERWISE = {
    "system.manage_api_keys": "keys.*",
    "projects.invite_collaborator": "projects invite, which takes addresses",
    "jupyter.execute": "jupyter exec",
    "db.touch": "query, with the table file_use",
    "purchases.get_balance": "nothing: it is 0",
    "purchases.get_min_balance": "nothing: it is 0",
    "jupyter.kernels": "jupyter kernels",
    "projects.of_course": "class status",
    "classes.read": "class diff, which tells what is wrong",
}
"""Methods without a command of their own, and what does the same."""


def test_every_method_of_the_hub_has_a_command() -> None:
    used: set[str] = set()
    for path in Path(projecthub.cli.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Attribute):
                used.add(f"{node.value.attr}.{node.attr}")
    with Hub(api_key="sk-none", host="http://127.0.0.1:1") as hub:
        methods = {
            f"{name}.{method}"
            for name, group in vars(hub).items()
            if not name.startswith("_")
            for method, _ in inspect.getmembers(group, inspect.ismethod)
            if not method.startswith("_")
        }
    assert len(methods) > 70
    assert methods - used == OTHERWISE.keys()


def test_the_hub(run: Run, hub: NamedReplies) -> None:
    hub.by_name |= {
        "system.ping": {"now": NOW},
        "system.test": {"account_id": ADA, "server_time": NOW},
        "system.getCustomize": {"siteName": "Ours", "helpEmail": None},
    }
    assert run("system", "ping").out == "now  2025-11-21 14:55\n"
    assert run("system", "ping", "--json").json == {"now": NOW}
    assert run("system", "test").out.splitlines()[0] == f"account  {ADA}"
    assert run("system", "test", "--json").json["account_id"] == ADA
    assert run("system", "customize").out == "siteName  Ours\n"
    assert run("system", "customize", "siteName", "--json").json["siteName"] == "Ours"
    assert hub.named("system.getCustomize")[-1] == ["siteName"]
    hub.by_name["system.ping"] = NotSignedIn("must be signed in")
    assert run("system", "ping").code == 4


def test_people(run: Run, hub: NamedReplies) -> None:
    person = {
        "account_id": ADA,
        "first_name": "Ada\x1b[31m",
        "last_name": "L",
        "email_address": None,
        "last_active": NOW,
    }
    hub.by_name |= {
        "system.userSearch": [person],
        "system.getNames": {ADA: {"first_name": "Ada", "last_name": "L"}},
    }
    shown = run("system", "search", "ada", "--admin", "-n", "5")
    assert "\x1b" not in shown.out
    assert shown.out.splitlines()[1].split()[0] == ADA
    assert hub.named("system.userSearch") == [{"query": "ada", "limit": 5, "admin": True, "only_email": False}]
    assert run("system", "search", "ada", "--json").json == [person]
    assert run("system", "names", ADA).out.splitlines()[1].split() == [ADA, "Ada", "L"]
    assert run("system", "names", ADA, "--json").json[ADA]["first_name"] == "Ada"
    assert hub.named("system.getNames") == [[ADA], [ADA]]


def test_queries(run: Run, hub: NamedReplies) -> None:
    hub.by_name["db.userQuery"] = {"accounts": {"first_name": "Ada"}}
    done = run("query", '{"accounts": {"first_name": null}}', "--options", '[{"limit": 1}]')
    assert done.json == {"accounts": {"first_name": "Ada"}}
    asked = {"query": {"accounts": {"first_name": None}}, "options": [{"limit": 1}]}
    assert hub.named("db.userQuery") == [asked]
    for words in (("{accounts",), ("{}", "--options", "[")):
        refused = run("query", *words)
        assert refused.code == 2
        assert "is no JSON" in refused.err
    assert len(hub.calls) == 1


def test_sign_in(run: Run, hub: NamedReplies, monkeypatch: pytest.MonkeyPatch) -> None:
    reply = {"account_id": ADA, "secret": "sk-session", "expire": "2025-12-21T14:55:21.253Z"}
    hub.by_name["accounts.signIn"] = reply
    monkeypatch.setattr(sys, "stdin", io.StringIO("correct horse\n"))
    done = run("accounts", "sign-in", "ada@example.org")
    assert done.out == "sk-session\n"
    assert "good until 2025-12-21 14:55" in done.err
    assert hub.named("accounts.signIn") == [{"email_address": "ada@example.org", "password": "correct horse"}]
    assert "Bearer sk-test" not in hub.keys
    monkeypatch.setattr(sys, "stdin", io.StringIO("correct horse"))
    assert run("accounts", "sign-in", "ada@example.org", "--json").json == reply
    hub.by_name["accounts.signIn"] = NotSignedIn("the e-mail address or the password is wrong")
    monkeypatch.setattr(sys, "stdin", io.StringIO("wrong"))
    done = run("accounts", "sign-in", "ada@example.org")
    assert done.code == 4
    assert "API_KEY" not in done.err and "password is wrong; a site admin" in done.err


def test_sign_out(run: Run, hub: NamedReplies) -> None:
    hub.by_name["accounts.signOut"] = {"signed_out": True}
    assert run("accounts", "sign-out").out == "signed out  of this session\n"
    assert run("accounts", "sign-out", "--everywhere", "--json").json == {"signed_out": True}
    assert hub.named("accounts.signOut") == [{"everywhere": False}, {"everywhere": True}]
    hub.by_name["accounts.signOut"] = Conflict("that is an API key")
    assert run("accounts", "sign-out").code == 1


@pytest.mark.parametrize(
    ("command", "name", "reply", "shown"),
    [
        ("password-link", "system.adminResetPasswordLink", "/auth/password-reset/t", "/auth/password-reset/t"),
        ("sign-in-token", "system.generateUserAuthToken", "token", "token"),
    ],
)
def test_ways_in_for_others(run: Run, hub: NamedReplies, command: str, name: str, reply: str, shown: str) -> None:
    person: dict[str, Any] = {"account_id": ADA, "email_address": "ada@example.org"}
    hub.by_name |= {"system.userSearch": [person], name: reply, "system.getCustomize": {}}
    assert run("accounts", command, "ADA@example.org").out.endswith(f"{shown}\n")
    assert hub.named(name) == [{"user_account_id": ADA}]
    (value,) = run("accounts", command, ADA, "--json").json.values()
    assert value.endswith(shown)
    hub.by_name[name] = PermissionDenied("must be an admin")
    assert run("accounts", command, ADA).code == 4
    assert run("accounts", command, "somebody").code == 1
    hub.by_name["system.userSearch"] = InvalidArgument("no")
    assert run("accounts", command, "a@x").code == 1


@pytest.mark.parametrize(
    ("site_url", "begins"),
    [
        ("https://hub.example.org/base", "https://hub.example.org/base/auth"),
        ("http://127.0.0.1:8000", "https://called.test/auth"),
        ("http://0.0.0.0:8000", "https://called.test/auth"),
    ],
)
def test_a_password_link_begins_where_people_reach_the_hub(
    run: Run, hub: NamedReplies, site_url: str, begins: str
) -> None:
    person: dict[str, Any] = {"account_id": ADA, "email_address": "ada@example.org"}
    hub.by_name |= {
        "system.userSearch": [person],
        "system.adminResetPasswordLink": "/auth/password-reset/t",
        "system.getCustomize": {"siteURL": site_url},
    }
    printed = run("--url", "https://called.test", "accounts", "password-link", "ada@example.org").out
    assert printed == f"{begins}/password-reset/t\n"


def refusal(status: int, code: str, text: str) -> httpx2.Response:
    return httpx2.Response(status, headers={"x-projecthub-error": code}, json={"code": code, "detail": text})


@pytest.mark.parametrize("link", ["https://hub.example.org/base/auth/password-reset/t%2F", "/auth/password-reset/t%2F"])
def test_a_password_is_set_by_a_link(link: str, capsys: pytest.CaptureFixture[str], monkeypatch: Any) -> None:
    asked: list[httpx2.Request] = []
    answers = [
        httpx2.Response(200, json={"account_id": ADA, "password_set": True}),
        refusal(401, "not_signed_in", "this sign-in token is unknown"),
        refusal(400, "invalid_argument", "the password is too short"),
        httpx2.Response(405, text="no"),
    ]

    def answer(request: httpx2.Request) -> httpx2.Response:
        asked.append(request)
        return answers.pop(0)

    monkeypatch.setenv("PROJECTHUB_URL", "https://other.example.org")
    codes = []
    for _ in range(4):
        monkeypatch.setattr(sys, "stdin", io.StringIO("correct horse\n"))
        codes.append(run_command(["accounts", "reset-password", link], transport=httpx2.MockTransport(answer)))
    told = capsys.readouterr()
    assert (codes, told.out) == ([0, 4, 1, 5], f"password set  {ADA}\n")
    assert "token is unknown" in told.err and "too short" in told.err and "API_KEY" not in told.err
    host = "https://hub.example.org/base" if link.startswith("https") else "https://other.example.org"
    assert str(asked[0].url) == f"{host}/auth/password-reset/t%252F"
    assert json.loads(asked[0].content) == {"password": "correct horse"}
    assert "authorization" not in asked[0].headers and "sk-" not in str(asked[0].headers)


def test_a_token_is_revoked(run: Run, hub: NamedReplies) -> None:
    hub.by_name["system.revokeUserAuthToken"] = None
    assert run("accounts", "revoke-sign-in-token", "t").out == "revoked  the token\n"
    assert run("accounts", "revoke-sign-in-token", "t", "--json").json == {"revoked": True}
    assert hub.named("system.revokeUserAuthToken") == ["t", "t"]
