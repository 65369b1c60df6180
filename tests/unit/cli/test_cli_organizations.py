"""`projecthub org` and `projecthub messages`."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from named_replies import ADA, NamedReplies, Outcome

from projecthub.errors import Conflict, PermissionDenied, QueryRefused

Run = Callable[..., Outcome]
BOB = "b0b00000-0000-4000-8000-000000000007"
MESSAGE: dict[str, Any] = {
    "id": 7, "subject": "Hello\x1b[31m", "body": "b", "from_id": BOB, "to_ids": [ADA], "thread_id": None,
    "sent": "2025-11-21T14:55:21.253Z", "read": True, "saved": False, "starred": True, "liked": False, "deleted": False,
}  # fmt: skip


@pytest.mark.parametrize(
    ("command", "name", "args"),
    [
        (("create", "acme"), "org.create", {"name": "acme"}),
        (("set", "acme", "-t", "Acme", "--link", ""), "org.set", {"name": "acme", "title": "Acme", "link": ""}),
        (("add-admin", "acme", "a@x"), "org.addAdmin", {"name": "acme", "user": "a@x"}),
        (("remove-admin", "acme", "a@x"), "org.removeAdmin", {"name": "acme", "user": "a@x"}),
        (("add-user", "acme", ADA), "org.addUser", {"name": "acme", "user": ADA}),
        (("remove-user", "acme", ADA), "org.removeUser", {"name": "acme", "user": ADA}),
        (
            ("create-user", "acme", "a@x", "--first-name", "Ada"),
            "org.createUser",
            {"name": "acme", "email": "a@x", "firstName": "Ada"},
        ),
        (("expire-token", "t"), "org.expireToken", {"token": "t"}),
        (("message", "acme", "S", "B"), "org.message", {"name": "acme", "subject": "S", "body": "B"}),
    ],
)
def test_what_is_asked_of_the_hub(
    run: Run, hub: NamedReplies, command: tuple[str, ...], name: str, args: dict[str, Any]
) -> None:
    hub.by_name[name] = ADA if "create" in name else None
    for options in ((), ("--json",)):
        outcome = run("org", *command, *options)
        assert (outcome.code, outcome.err) == (0, "")
        assert hub.named(name)[-1] == args
    assert isinstance(outcome.json, dict)


def test_organizations_are_listed_and_shown(run: Run, hub: NamedReplies) -> None:
    row = {"name": "acme", "title": None, "admin_account_ids": [ADA, BOB]}
    hub.by_name |= {"org.getAll": [row], "org.get": {**row, "link": "https://acme.example"}}
    assert run("org", "list").out.splitlines()[1].split() == ["acme", f"{ADA},", BOB]
    assert run("org", "list", "--json").json == [row]
    shown = run("org", "show", "acme").out
    assert "https://acme.example" in shown
    assert "title" not in shown
    assert run("org", "show", "acme", "--json").json["admin_account_ids"] == [ADA, BOB]


def test_members(run: Run, hub: NamedReplies) -> None:
    row = {"account_id": ADA, "first_name": "Ada", "last_name": "L", "email_address": "a@x", "last_active": None}
    hub.by_name["org.getUsers"] = [row]
    assert run("org", "users", "acme").out.splitlines()[1].split() == [ADA, "a@x", "Ada", "L"]
    assert run("org", "users", "acme", "--json").json == [row]


def test_a_token(run: Run, hub: NamedReplies) -> None:
    hub.by_name["org.createToken"] = {"token": "t", "url": "https://hub.example/auth/impersonate?auth_token=t"}
    assert run("org", "token", "a@x").out == "https://hub.example/auth/impersonate?auth_token=t\n"
    assert hub.named("org.createToken") == [{"user": "a@x"}]
    assert run("org", "token", "a@x", "--expire", "2h", "--json").json["token"] == "t"
    expire = datetime.fromisoformat(hub.named("org.createToken")[1]["expire"])
    assert timedelta(minutes=119) < expire - datetime.now(UTC) <= timedelta(hours=2)


@pytest.mark.parametrize(("error", "code"), [(PermissionDenied("must be a site admin"), 4), (Conflict("taken"), 1)])
def test_refusals(run: Run, hub: NamedReplies, error: Exception, code: int) -> None:
    hub.by_name["org.create"] = error
    outcome = run("org", "create", "acme")
    assert outcome.code == code
    assert str(error) in outcome.err


def test_messages_are_listed(run: Run, hub: NamedReplies) -> None:
    hub.by_name |= {
        "messages.get": [MESSAGE],
        "system.getNames": {BOB: {"first_name": "Bob", "last_name": ""}},
    }
    outcome = run("messages", "list", "--type", "starred", "-n", "5", "--offset", "2")
    assert hub.named("messages.get") == [{"limit": 5, "offset": 2, "type": "starred"}]
    assert "\x1b" not in outcome.out
    assert outcome.out.splitlines()[1].split()[:4] == ["7", "2025-11-21", "14:55", "Bob"]
    assert outcome.out.rstrip().endswith("read starred")
    assert run("messages", "list", "--json").json == [MESSAGE]
    assert run("messages", "list", "--type", "drafts").code == 2


def test_a_message_is_sent(run: Run, hub: NamedReplies) -> None:
    hub.by_name["messages.send"] = 8
    assert run("messages", "send", "S", "B", "a@x", BOB, "--reply", "7", "--json").json == {"id": 8}
    assert hub.named("messages.send") == [{"to_ids": ["a@x", BOB], "subject": "S", "body": "B", "reply_id": 7}]
    hub.by_name["messages.send"] = None
    outcome = run("messages", "send", "S", "B", "a@x")
    assert outcome.code == 3
    assert "nobody has the address a@x" in outcome.err


def test_messages_are_marked(run: Run, hub: NamedReplies) -> None:
    hub.by_name["db.userQuery"] = {}
    assert run("messages", "mark", "7", "8", "--read", "--no-starred").code == 0
    assert hub.named("db.userQuery") == [
        {"query": {"messages": {"id": number, "read": True, "starred": False}}} for number in (7, 8)
    ]
    hub.by_name["db.userQuery"] = QueryRefused("FATAL: you have no message with id 9")
    assert "no message with id 9" in run("messages", "mark", "9", "--read").err
