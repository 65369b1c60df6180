"""`projecthub files history` and its like."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from named_replies import ADA, ANALYSIS, NamedReplies, Outcome

Run = Callable[..., Outcome]


def entry(seq: int, patch: str, user_id: int, event: str = "written\x1b[31m") -> dict[str, Any]:
    return {
        "seq": seq,
        "time": 1_763_736_921_253,
        "mesg": {
            "time": 1_763_736_921_253,
            "wall": 1_763_736_921_253,
            "patch": patch,
            "user_id": user_id,
            "parents": [],
            "version": seq,
            "event": event,
        },
    }


HISTORY: dict[str, Any] = {
    "patches": [
        entry(1, '[[[[1,"one\\n"]],0,0,0,4]]', 0, "found"),
        entry(2, '[[[[-1,"one"],[1,"two"],[0,"\\n"]],0,0,4,4]]', 1),
    ],
    "info": {"users": [ANALYSIS, ADA], "first_seq": 1, "last_seq": 2},
}


def up_to(args: Any) -> Any:
    last = args.get("end_seq", 2)
    return HISTORY | {"patches": [each for each in HISTORY["patches"] if each["seq"] <= last]}


def test_versions_are_listed(run: Run, hub: NamedReplies) -> None:
    hub.by_name["sync.history"] = HISTORY
    hub.by_name["system.getNames"] = {ADA: {"first_name": "Ada", "last_name": "L\x1b[2J"}}
    lines = run("files", "history", "Analysis", "a.txt").out.splitlines()
    assert lines[1].split()[0] == "1" and lines[1].split()[-1] == "found"
    assert "Ada L" in lines[2] and "\x1b" not in lines[2]
    told = run("files", "history", "Analysis", "a.txt", "--json").json
    assert [(version["seq"], version["account_id"]) for version in told] == [(1, None), (2, ADA)]
    assert hub.named("sync.history")[-1] == {"project_id": ANALYSIS, "path": "a.txt"}


def test_help_tells_how_a_version_is_shown(run: Run) -> None:
    assert "projecthub files show-version" in run("files", "history", "--help").out


def test_a_version_is_shown(run: Run, hub: NamedReplies) -> None:
    hub.by_name["sync.history"] = up_to
    assert run("files", "show-version", "Analysis", "a.txt", "1").out == "one\n"
    assert run("files", "show-version", "Analysis", "a.txt", "2").out == "two\n"
    outcome = run("files", "show-version", "Analysis", "a.txt", "3")
    assert (outcome.code, outcome.out) == (3, "")
    assert "there is no version 3 of 'a.txt'" in outcome.err


def test_checkpoints_and_uses(run: Run, hub: NamedReplies) -> None:
    hub.by_name["sync.checkpoint"] = {"seq": 3, "time": 5, "created": True}
    assert run("files", "checkpoint", "Analysis", "a.txt").out.split() == ["version", "3", "new", "yes"]
    assert run("files", "checkpoint", "Analysis", "a.txt", "--json").json["seq"] == 3
    hub.by_name["db.fileUseTimes"] = {"target_account_id": ADA, "access_times": [1_763_736_921_253], "edit_times": []}
    assert "used" in run("files", "use-times", "Analysis", "a.txt", "--account", ADA).out
    assert run("files", "use-times", "Analysis", "a.txt", "--json").json["edit_times"] == []
    assert hub.named("db.fileUseTimes")[0]["target_account_id"] == ADA
