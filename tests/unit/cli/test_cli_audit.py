"""`projecthub audit`: what is asked, and what is printed."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from named_replies import ADA, ANALYSIS, NamedReplies, Outcome

from projecthub.errors import PermissionDenied

Run = Callable[..., Outcome]


def entry(number: int, **values: Any) -> dict[str, Any]:
    return {
        "id": number, "time": "2026-01-02T03:04:05.006Z", "began": "2026-01-02T03:04:05.000Z", "account_id": ADA,
        "key_id": 7, "key_kind": "account", "request_id": "r" * 16, "address": "192.0.2.1", "method": "projects.start",
        "project_id": ANALYSIS, "target": None, "outcome": "ok", "message": None, "times": 1, **values,
    }  # fmt: skip


def pages(count: int) -> Callable[[Any], Any]:
    """A log of so many entries, newest first."""

    def answer(args: Any) -> Any:
        first = (args["after"] if args.get("after") is not None else count + 1) - 1
        found = [entry(number) for number in range(first, max(0, first - args["limit"]), -1)]
        return {"entries": found, "next": found[-1]["id"] if found and found[-1]["id"] > 1 else None}

    return answer


def test_filters_are_asked_of_the_hub(run: Run, hub: NamedReplies) -> None:
    hub.by_name["audit.list"] = {"entries": [], "next": None}
    filters = ("--account", "ada@example.org", "--project", ANALYSIS, "--method", "keys.", "--denied")
    assert run("audit", *filters, "--until", "2026-01-02T00:00:00+00:00", "--since", "2h", "-n", "5").code == 0
    (asked,) = hub.named("audit.list")
    since = datetime.fromisoformat(asked.pop("since"))
    assert abs(datetime.now(UTC) - timedelta(hours=2) - since) < timedelta(minutes=1)
    assert asked == {
        "account_id": "ada@example.org", "project_id": ANALYSIS, "method": "keys.", "outcome": "denied",
        "until": "2026-01-02T00:00:00+00:00", "order": "newest", "limit": 5,
    }  # fmt: skip


def test_a_table_shows_the_newest_hundred(run: Run, hub: NamedReplies) -> None:
    hub.by_name["audit.list"] = pages(250)
    lines = run("audit").out.splitlines()
    assert len(lines) == 101
    assert lines[1].split() == ["2026-01-02", "03:04", ADA, "projects.start", ANALYSIS, "ok"]


def test_what_others_wrote_steers_no_terminal(run: Run, hub: NamedReplies) -> None:
    odd = entry(1, target={"name": "\x1b[31m"}, message="=cmd()\x1b", outcome="permission_denied", times=4)
    hub.by_name["audit.list"] = {"entries": [odd], "next": None}
    for options in ((), ("--csv",), ("--json",), ("--jsonl",)):
        assert "\x1b" not in run("audit", *options).out
    assert "4 times" in run("audit").out


@pytest.mark.parametrize("count", [0, 1, 2500])
def test_exports_hold_all_entries_of_all_pages(run: Run, hub: NamedReplies, count: int) -> None:
    hub.by_name["audit.list"] = pages(count)
    numbers = list(range(count, 0, -1))
    assert [one["id"] for one in run("audit", "--json").json] == numbers
    assert [json.loads(line)["id"] for line in run("audit", "--jsonl").out.splitlines()] == numbers
    rows = list(csv.DictReader(io.StringIO(run("audit", "--csv").out)))
    assert [int(row["id"]) for row in rows] == numbers
    assert [one["id"] for one in run("audit", "--json", "--limit", "1500").json] == numbers[:1500]


def test_a_cell_is_no_formula(run: Run, hub: NamedReplies) -> None:
    hub.by_name["audit.list"] = {"entries": [entry(1, message="=1+1", target={"a": 1})], "next": None}
    (row,) = csv.DictReader(io.StringIO(run("audit", "--csv").out))
    assert (row["message"], row["target"], row["account_id"]) == ("'=1+1", '{"a": 1}', ADA)


def test_empty_pages_are_not_the_end(run: Run, hub: NamedReplies) -> None:
    replies = [{"entries": [], "next": 9}, {"entries": [entry(5)], "next": 4}, {"entries": [], "next": None}]
    hub.by_name["audit.list"] = lambda args: replies.pop(0)
    assert [one["id"] for one in run("audit", "--json").json] == [5]
    assert [args.get("after") for args in hub.named("audit.list")] == [None, 9, 4]


def test_following_goes_on_after_the_newest(run: Run, hub: NamedReplies, monkeypatch: pytest.MonkeyPatch) -> None:
    replies = [
        {"entries": [entry(7)], "next": 7},
        {"entries": [entry(8)], "next": None},
        {"entries": [], "next": None},
        {"entries": [entry(9)], "next": None},
    ]
    hub.by_name["audit.list"] = lambda args: replies.pop(0) if replies else KeyboardInterrupt()
    monkeypatch.setattr("projecthub.cli.audit._EVERY_S", 0.0)
    outcome = run("audit", "--follow", "--jsonl", "--denied")
    assert [json.loads(line)["id"] for line in outcome.out.splitlines()] == [8, 9]
    asked = hub.named("audit.list")[1:]
    assert [args["after"] for args in asked] == [7, 8, 8, 9]
    assert {(args["order"], args["outcome"]) for args in asked} == {("oldest", "denied")}


@pytest.mark.parametrize(
    "options",
    [("--csv", "--jsonl"), ("--denied", "--outcome", "ok"), ("--follow", "--json"), ("--follow", "-n", "3"),
     ("--since", "yesterday"), ("--limit", "0")],
)  # fmt: skip
def test_what_does_not_fit_is_refused(run: Run, hub: NamedReplies, options: tuple[str, ...]) -> None:
    outcome = run("audit", *options)
    assert outcome.code == 2
    assert hub.calls == []


def test_others_are_told(run: Run, hub: NamedReplies) -> None:
    hub.by_name["audit.list"] = PermissionDenied("only admins may read the audit log")
    outcome = run("audit", "--csv")
    assert outcome.code == 4
    assert "only admins" in outcome.err
