"""What holds for every command: options, exit codes, errors, output."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from importlib import metadata
from typing import Any

import httpx2
import pytest
import typer
from hypothesis import given
from hypothesis import strategies as st
from named_replies import ADA, ANALYSIS, ROWS, NamedReplies, Outcome

import projecthub
from projecthub import errors
from projecthub.cli import output
from projecthub.cli.commands import app, exit_code

Run = Callable[..., Outcome]


def test_version(run: Run) -> None:
    assert run("--version") == Outcome(0, f"projecthub {projecthub.__version__}\n", "")


def commands(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """All commands of the tree, each with its words."""
    if not hasattr(command, "commands"):
        yield path, command
        return
    for name, inner in command.commands.items():
        yield from commands(inner, (*path, name))


def test_what_says_when_something_ends_is_called_the_same_everywhere(run: Run) -> None:
    named = {
        path: option
        for path, command in commands(typer.main.get_command(app))
        for parameter in command.params
        for option in parameter.opts
        if "expir" in option
    }
    assert set(named.values()) == {"--expire"}
    assert set(named) >= {
        ("projects", "create-invite-token"),
        ("licenses", "create"),
        ("licenses", "update"),
        ("org", "token"),
        ("keys", "create"),
        ("keys", "edit"),
        ("snapshots", "create"),
    }
    for path in named:
        assert "--expires" not in run(*path, "--help").out


def test_an_option_by_its_former_name(run: Run, hub: NamedReplies) -> None:
    hub.by_name["org.createToken"] = {"token": "t", "url": "https://hub.example/auth/impersonate?auth_token=t"}
    for words in (("--expires", "2100-01-01T00:00Z"), ("--expires=2100-01-01T00:00Z",)):
        assert run("org", "token", "a@x", *words).code == 0
        assert hub.named("org.createToken")[-1]["expire"] == "2100-01-01T00:00:00+00:00"
    assert run("org", "token", "a@x", "--expiry", "2h").code == 2


def test_help_says_what_exit_codes_mean(run: Run) -> None:
    done = run("--help")
    assert done.code == 0
    assert "130 interrupted" in " ".join(done.out.split())


def test_no_command_is_wrong_usage_with_help(run: Run) -> None:
    done = run()
    assert done.code == 2
    assert "Usage: projecthub" in done.out
    assert done.err == ""


@pytest.mark.parametrize(
    "arguments",
    [("nosuch",), ("projects", "nosuch"), ("projects", "state"), ("--nosuch",), ("keys", "revoke", "x"),
     ("projects", "list", "-n", "-1")],
)  # fmt: skip
def test_wrong_usage(run: Run, hub: NamedReplies, arguments: tuple[str, ...]) -> None:
    done = run(*arguments)
    assert done.code == 2
    assert done.out == ""
    error, hint = done.err.splitlines()
    assert error.startswith("error: ")
    assert hint.endswith("--help")
    assert hub.calls == []


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        (errors.InvalidArgument, 1),
        (errors.Conflict, 1),
        (errors.LimitError, 1),
        (errors.CallTimeout, 1),
        (errors.InternalError, 1),
        (errors.NotFound, 3),
        (errors.PermissionDenied, 4),
        (errors.OwnershipDenied, 4),
        (errors.NotSignedIn, 4),
    ],
)
def test_exit_codes_of_refusals(run: Run, hub: NamedReplies, kind: type[errors.HubError], code: int) -> None:
    hub.by_name["projects.state"] = kind("that is how it is")
    done = run("projects", "state", ANALYSIS)
    assert done.code == code
    assert done.out == ""
    assert done.err.splitlines()[0] == "error: that is how it is"


@pytest.mark.parametrize(
    "words", [("--json", "projects", "state", ANALYSIS), ("projects", "state", ANALYSIS, "--json")]
)
def test_with_json_a_refusal_is_a_line_of_json(run: Run, hub: NamedReplies, words: tuple[str, ...]) -> None:
    hub.by_name["projects.state"] = errors.PermissionDenied("that is\nhow it is")
    done = run(*words)
    assert (done.code, done.out) == (4, "")
    (line,) = done.err.splitlines()
    error = json.loads(line)["error"]
    assert (error["code"], error["message"]) == ("permission_denied", "that is\nhow it is")
    assert "system test" in error["hint"]


def test_with_json_wrong_usage_and_interrupts_are_json_too(run: Run, hub: NamedReplies) -> None:
    for words in (("projects", "state", "--json"), ("--json", "nothing"), ("projects", "list", "--json", "--what")):
        done = run(*words)
        assert (done.code, done.out) == (2, "")
        error = json.loads(done.err)["error"]
        assert error["code"] == "usage" and error["message"] and "--help" in error["hint"]
    hub.by_name["projects.state"] = KeyboardInterrupt()
    done = run("projects", "state", ANALYSIS, "--json")
    assert (done.code, json.loads(done.err)["error"]["code"]) == (130, "interrupted")


def test_the_json_of_a_command_in_a_project_is_not_ours(run: Run) -> None:
    done = run("exec", "--", "curl", "--json")
    assert done.code != 0
    assert done.err.startswith("error: ")


def test_every_error_has_an_exit_code() -> None:
    def each(kind: type[errors.HubError]) -> list[type[errors.HubError]]:
        return [kind, *(below for child in kind.__subclasses__() for below in each(child))]

    assert {exit_code(kind()) for kind in each(errors.HubError)} == {1, 3, 4, 5}


def test_no_answer(run: Run, hub: NamedReplies, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("projecthub.client._sync.connection.time.sleep", lambda pause_s: None)
    hub.by_name["projects.state"] = httpx2.ConnectError("refused")
    done = run("--url", "http://hub.test:1", "projects", "state", ANALYSIS)
    assert done.code == 5
    assert "http://hub.test:1" in done.err
    assert "projecthub serve" in done.err


def test_interrupted(run: Run, hub: NamedReplies) -> None:
    hub.by_name["projects.state"] = KeyboardInterrupt()
    done = run("projects", "state", ANALYSIS)
    assert done.code == 130
    assert "interrupted" in done.err


def test_no_key(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PROJECTHUB_API_KEY")
    done = run("--url", "https://hub.test", "projects", "list")
    assert done.code == 4
    assert done.err.count("\n") == 1
    assert "PROJECTHUB_API_KEY" in done.err


def test_options_win_over_the_environment(run: Run, hub: NamedReplies) -> None:
    run("projects", "list")
    run("--api-key", "sk-other", "projects", "list")
    assert hub.keys == {"Bearer sk-test", "Bearer sk-other"}


def test_on_a_terminal_there_are_rules_and_colours(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "70")
    out = run("projects", "list").out
    assert "\x1b[32mrunning" in out
    assert all(row["project_id"] in out for row in ROWS if not row["deleted"])


def test_no_color_is_heeded(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setenv("NO_COLOR", "1")
    done = run("projects", "list")
    assert "\x1b[3" not in done.out
    assert done.err == ""
    assert run("projects", "state", "no such").err.startswith("error: ")


def test_titles_cannot_steer_the_terminal(run: Run, hub: NamedReplies, monkeypatch: pytest.MonkeyPatch) -> None:
    title = "\x1b]0;owned\x07[red]x\u202e\n"
    hub.by_name["db.userQuery"] = {"projects": [{"project_id": ANALYSIS, "title": title}]}
    piped = run("projects", "list").out
    assert piped.count("\n") == 2
    assert "[red]x" in piped
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    watched = run("projects", "list").out
    for out in (piped, watched):
        assert not {"\x07", "\u202e", "\x1b]"} & {out[i : i + n] for i in range(len(out)) for n in (1, 2)}
    assert run("projects", "list", "--json").json[0]["title"] == title


@given(st.text())
def test_plain_text_is_one_printable_line(text: str) -> None:
    assert output.plain(text).isprintable()
    assert len(output.plain(text)) == len(text)


@given(st.text(st.characters(categories=("L", "N", "P", "S"))))
def test_plain_text_keeps_what_is_harmless(text: str) -> None:
    assert output.plain(text) == text


@pytest.mark.parametrize("value", [None, "", "soon", 10**20, -(10**20), [], True])
def test_times_that_are_none(value: object) -> None:
    assert output.local_time(value) is None or value is True


def test_keys(run: Run, hub: NamedReplies) -> None:
    key = {"id": 7, "account_id": ADA, "trunc": "sk-...00007", "name": "laptop", "created": "2025-11-21T14:55:21.253Z"}
    hub.by_name |= {"keys.create": key | {"secret": "sk-secret"}, "keys.list": [key], "keys.revoke": {"id": 7}}
    made = run("keys", "create", "--account", "ada@example.org", "--project", "Analysis", "--name", "laptop")
    assert made.out == "sk-secret\n"
    assert "once" in made.err
    assert hub.named("keys.create") == [{"account_id": "ada@example.org", "project_id": ANALYSIS, "name": "laptop"}]
    assert run("keys", "list").out.splitlines()[1].split() == ["7", "sk-...00007", "laptop", "2025-11-21", "14:55"]
    assert run("keys", "revoke", "7").out.split() == ["revoked", "7"]


def test_accounts(run: Run, hub: NamedReplies) -> None:
    account = {
        "account_id": ADA, "email_address": "ada@example.org", "first_name": "Ada", "last_name": "Lovelace",
        "admin": True, "created": "2025-11-21T14:55:21.253Z",
    }  # fmt: skip
    hub.by_name |= {"accounts.create": account, "accounts.list": [account]}
    line = [ADA, "ada@example.org", "Ada", "Lovelace", "yes", "2025-11-21", "14:55"]
    assert run("accounts", "create", "ada@example.org", "--first-name", "Ada", "--admin").out.split()[-7:] == line
    assert run("accounts", "list", "ada", "-n", "5").out.splitlines()[1].split() == line
    assert hub.named("accounts.list") == [{"query": "ada", "limit": 5}]
    assert run("accounts", "list", "--json").json == [account]


def test_doctor_says_which_packages_are_missing(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    installed = metadata.version

    def version(name: str) -> str:
        if name == "uvicorn":
            raise metadata.PackageNotFoundError(name)
        return installed(name)

    monkeypatch.setattr(metadata, "version", version)
    done = run("doctor")
    assert done.code == 1
    assert "uvicorn" in done.err
    assert "projecthub[server]" in done.err
