"""`projecthub copies`, and `projecthub projects copy` to several targets."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from named_replies import ANALYSIS, BACKUP, BACKUP_TOO, NamedReplies, Outcome

from projecthub.errors import Conflict

Run = Callable[..., Outcome]
ID = "e55e0000-0000-4000-8000-000000000006"
OPTIONS = {
    "policy": "update",
    "overwrite_newer": False,
    "delete_missing": False,
    "backup": False,
    "skip_missing": False,
}


def operation(state: str = "done", *states: str, **fields: Any) -> dict[str, Any]:
    targets = [
        {
            "number": n,
            "source_project_id": ANALYSIS,
            "source_path": "hw",
            "target_project_id": BACKUP,
            "target_path": f"hw{n}",
            "state": one,
            "counts": {"new": 2, "conflict": 0, "same": 5},
            "files": 2,
            "bytes": 1500,
            **({"error": "somebody was here"} if one == "refused" else {}),
        }
        for n, one in enumerate(states or ("done",))
    ]
    by_state: dict[str, int] = {}
    for target in targets:
        by_state[target["state"]] = by_state.get(target["state"], 0) + 1
    return {
        "id": ID,
        "state": state,
        "policy": "update",
        "created": "2025-11-21T14:55:21.253Z",
        "totals": {"counts": {"new": 2}, "files": 2, "bytes": 1500, "targets": len(targets), "states": by_state},
        "progress": {"files": 2, "bytes": 1500, "targets_done": 1, "targets": len(targets), "bytes_per_s": 100},
        "targets": targets,
        **fields,
    }


@pytest.fixture
def started(hub: NamedReplies) -> NamedReplies:
    for name in ("plan", "apply", "retry", "undo"):
        hub.by_name[f"copies.{name}"] = operation("running")
    hub.by_name["projects.copyPaths"] = operation("running")
    hub.by_name["copies.get"] = operation("done", "done", "done")
    return hub


def test_a_plan(run: Run, started: NamedReplies) -> None:
    started.by_name["copies.get"] = operation("planned", "planned")
    done = run(
        "copies", "plan", "Analysis:hw", "b22b0000", f"{BACKUP_TOO}:other", "--policy", "merge", "--exclude", "x"
    )
    assert done.code == 0
    assert started.named("copies.plan") == [
        {
            "source": {"project_id": ANALYSIS, "path": "hw"},
            "targets": [{"project_id": BACKUP}, {"project_id": BACKUP_TOO, "path": "other"}],
            **OPTIONS,
            "policy": "merge",
            "exclude": ["x"],
            "wait": False,
        }
    ]
    lines = [line.split() for line in done.out.splitlines()]
    assert ["id", ID] in lines
    assert ["bytes", "1.5", "kB"] in lines
    assert ["NUMBER", "PROJECT", "TITLE", "PATH", "STATE", "NEW", "SAME", "FILES", "SIZE", "DETAILS"] in lines
    assert ["0", BACKUP, "Copies", "hw0", "planned", "2", "5", "2", "1.5", "kB"] in lines


def test_collecting(run: Run, started: NamedReplies, tmp_path: Path) -> None:
    named = tmp_path / "sources"
    named.write_text(f"# the rest\n\n{BACKUP_TOO}:hw\n")
    done = run(
        "projects",
        "copy",
        f"{BACKUP}:hw",
        "--into",
        "Analysis:in",
        "--targets-from",
        str(named),
        "--skip-missing",
        "--json",
    )
    assert done.code == 0
    assert done.json["id"] == ID
    assert started.named("projects.copyPaths") == [
        {
            "sources": [{"project_id": BACKUP, "path": "hw"}, {"project_id": BACKUP_TOO, "path": "hw"}],
            "target": {"project_id": ANALYSIS, "path": "in"},
            **OPTIONS,
            "skip_missing": True,
            "dry_run": False,
            "wait": False,
        }
    ]


def test_from_a_share(run: Run, started: NamedReplies) -> None:
    share = "f" * 40
    assert run("projects", "copy", f"{share}:week1", "Analysis", f"{BACKUP}:x").code == 0
    assert run("projects", "copy", f"{share}:", "Analysis").code == 0
    several, one = started.named("projects.copyPaths")
    assert several["source"] == {"public_path_id": share, "path": "week1"}
    assert several["targets"] == [{"project_id": ANALYSIS}, {"project_id": BACKUP, "path": "x"}]
    assert (one["source"], one["targets"]) == ({"public_path_id": share, "path": ""}, [{"project_id": ANALYSIS}])


def test_several_targets_from_a_file(run: Run, started: NamedReplies, tmp_path: Path) -> None:
    named = tmp_path / "targets"
    named.write_text(f"{BACKUP}\n{BACKUP_TOO}:x\n")
    assert run("projects", "copy", "Analysis:hw", "--targets-from", str(named), "--dry-run").code == 0
    [sent] = started.named("projects.copyPaths")
    assert sent["targets"] == [{"project_id": BACKUP}, {"project_id": BACKUP_TOO, "path": "x"}]
    assert sent["dry_run"] is True
    missing = run("projects", "copy", "Analysis:hw", "--targets-from", str(tmp_path / "none"))
    assert (missing.code, "cannot be read" in missing.err) == (1, True)


@pytest.mark.parametrize(
    "arguments",
    [
        ("projects", "copy", "Analysis:hw"),
        ("projects", "copy", "Analysis:hw", "a:b", "c:d", "--timeout", "3"),
        ("copies", "plan", "Analysis:hw"),
        ("copies", "plan", "Analysis", "b:c"),
        ("copies", "plan", "Analysis:hw", "--into", "b"),
        ("copies", "plan", f"{'f' * 40}:hw", ":elsewhere"),
        ("copies", "forget"),
    ],
)
def test_what_is_not_enough(run: Run, started: NamedReplies, arguments: tuple[str, ...]) -> None:
    assert run(*arguments).code == 2
    assert {name for name, _ in started.calls} <= {"db.userQuery"}


@pytest.mark.parametrize("command", ["apply", "retry", "undo"])
def test_what_is_waited_for(run: Run, started: NamedReplies, command: str) -> None:
    assert run("copies", command, ID).code == 0
    assert started.named(f"copies.{command}") == [{"id": ID, "wait": False}]
    assert [args["targets"] for args in started.named("copies.get")] == [False, True]


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("copies", "apply", ID), 1),
        (("copies", "apply", ID, "--json"), 1),
        (("projects", "copy", "Analysis:hw", "b22b0000:", "b22b1111:"), 1),
        (("copies", "show", ID), 0),
        (("copies", "show", ID, "--wait"), 1),
    ],
)
def test_the_exit_code_when_a_target_was_refused(
    run: Run, started: NamedReplies, arguments: tuple[str, ...], code: int
) -> None:
    started.by_name["copies.get"] = operation("failed", "done", "refused")
    done = run(*arguments)
    assert done.code == code
    assert "somebody was here" in done.out


def test_several_places_in_one_project(run: Run, started: NamedReplies) -> None:
    told = run("copies", "show", ID).out.splitlines()
    assert [line.split()[:4] for line in told[-2:]] == [["0", BACKUP, "Copies", "hw0"], ["1", BACKUP, "Copies", "hw1"]]


def test_undo_of_some(run: Run, started: NamedReplies) -> None:
    undone = operation("done", "undone")
    undone["targets"][0]["undone"] = {"restored": 1, "removed": 2, "kept": 3, "kept_paths": ["x"]}
    started.by_name["copies.get"] = undone
    done = run("copies", "undo", ID, "--target", "0", "--target", "4")
    assert started.named("copies.undo") == [{"id": ID, "targets": [0, 4], "wait": False}]
    assert "1 put back, 2 taken away, 3 kept" in done.out


def test_forget(run: Run, hub: NamedReplies) -> None:
    hub.by_name["copies.forget"] = freed = {"targets": 2, "freed_bytes": 8192, "project_ids": [ANALYSIS]}
    assert run("copies", "forget", ID).out.split() == ["targets", "2", "freed_bytes", "8192"]
    assert run("copies", "forget", "--project", "Analysis", "--json").json == freed
    assert hub.named("copies.forget") == [{"id": ID}, {"project_id": ANALYSIS}]


def test_not_waited_for(run: Run, started: NamedReplies) -> None:
    assert run("copies", "apply", ID, "--no-wait").code == 0
    assert [args["targets"] for args in started.named("copies.get")] == [True]


def test_list_and_cancel(run: Run, hub: NamedReplies) -> None:
    hub.by_name["copies.list"] = [operation("planned")]
    done = run("copies", "list", "Analysis", "-n", "5")
    assert hub.named("copies.list") == [{"project_id": ANALYSIS, "plans": False, "limit": 5}]
    assert ID in done.out
    assert run("copies", "list", "--json").json[0]["state"] == "planned"
    hub.by_name["copies.cancel"] = operation("cancelled", "cancelled")
    assert run("copies", "cancel", ID[:6]).code == 0
    assert hub.named("copies.cancel") == [{"id": ID}]
    assert run("copies", "cancel", "ffff").code == 3
    hub.by_name["copies.cancel"] = Conflict("is done already")
    assert run("copies", "cancel", ID).code == 1


def test_the_list_tells_from_where_to_where(run: Run, hub: NamedReplies) -> None:
    ends = {"source": {"projects": 1, "project_id": ANALYSIS, "path": "hw"}, "target": {"projects": 31, "path": "hw"}}
    many = operation(**ends)
    unknown = "f" * 8 + ANALYSIS[8:]
    share = operation(
        source={"projects": 1, "project_id": unknown, "path": "x", "public_path_id": "f" * 40},
        target={"projects": 1, "project_id": unknown},
    )
    hub.by_name["copies.list"] = [many, share, operation()]
    lines = [line.split("  ") for line in run("copies", "list", "--all").out.splitlines()]
    assert hub.named("copies.list") == [{"plans": True, "limit": 100}]
    told = [[cell.strip() for cell in line if cell] for line in lines]
    assert told[0] == ["ID", "MADE", "STATE", "POLICY", "FROM", "TO", "FILES", "SIZE"]
    assert told[1][3:6] == ["update", "Analysis:hw", "31 projects:hw"]
    assert told[2][3:6] == ["update", f"share {'f' * 40}:x", f"{unknown}, several paths"]
    assert told[3][3:5] == ["update", "1 targets"]  # of an older hub
    assert run("copies", "list", "--json").json[0]["source"] == ends["source"]
    hub.by_name["copies.get"] = many
    facts = [line.split("  ") for line in run("copies", "show", ID).out.splitlines()]
    assert ["from", "Analysis:hw"] in [[cell.strip() for cell in line if cell] for line in facts]


def test_what_can_be_done_with_an_operation(run: Run, hub: NamedReplies) -> None:
    hub.by_name["copies.get"] = operation("planned", "planned")
    assert f"copies apply {ID}" in run("copies", "show", ID).err
    hub.by_name["copies.get"] = operation("failed", "failed", applied=False)
    assert "nothing can be applied" in run("copies", "show", ID).err
    done = operation("done", "done")
    done["targets"][0]["can_undo"] = True
    hub.by_name["copies.get"] = done
    assert f"copies undo {ID}" in run("copies", "show", ID).err
    assert run("copies", "show", ID, "--json").err == ""


def test_a_single_copy_tells_how_to_undo_it(run: Run, hub: NamedReplies) -> None:
    reply = {"files": 1, "bytes": 5, "skipped": 2, "kept_newer_paths": [], "seconds": 0.1, "operation_id": ID}
    hub.by_name["projects.copyPathBetweenProjects"] = reply
    done = run("projects", "copy", "Analysis:hw", f"{BACKUP}:")
    assert ["skipped", "2"] in [line.split() for line in done.out.splitlines()]
    assert (ID in done.out, f"copies undo {ID}" in done.err) == (True, True)
    hub.by_name["projects.copyPathBetweenProjects"] = {"files": 0, "bytes": 0, "seconds": 0.1}
    assert "undo" not in run("projects", "copy", "Analysis:hw", f"{BACKUP}:").err


@pytest.mark.parametrize("more", [(), ("--dry-run",), ("--no-wait",), ("--policy", "merge")])
def test_a_target_without_a_path_means_the_same_path(
    run: Run, started: NamedReplies, tmp_path: Path, more: tuple[str, ...]
) -> None:
    started.by_name["projects.copyPathBetweenProjects"] = {"files": 0, "bytes": 0, "seconds": 0.1}
    for target in (BACKUP, f"{BACKUP}:"):
        assert run("projects", "copy", "Analysis:hw", target, *more).code == 0
    if more:
        sent = [each["targets"] for each in started.named("projects.copyPaths")]
        assert sent == [[{"project_id": BACKUP}]] * 2
    else:
        [one, other] = started.named("projects.copyPathBetweenProjects")
        assert (one["target_project_id"], one.get("target_path")) == (BACKUP, None)
        assert one == other


def test_a_timeout_tells_what_it_is_for(run: Run, started: NamedReplies) -> None:
    done = run("projects", "copy", "Analysis:hw", f"{BACKUP}:", "--policy", "merge", "--timeout", "5")
    assert (done.code, started.named("projects.copyPaths")) == (2, [])
    assert "policy update" in " ".join(done.err.replace("│", " ").split())


def test_what_was_not_copied_is_told(run: Run, hub: NamedReplies) -> None:
    told = operation("done", "done")
    told["targets"][0] |= {"skipped": 2, "vanished": 1}
    hub.by_name["copies.get"] = told
    out = run("copies", "show", ID).out
    assert "1 not copied: gone from the source since the plan; 2 skipped (pipes, sockets, devices)" in out


def test_newlines_in_names(run: Run, hub: NamedReplies) -> None:
    file = {"number": 1, "path": "a\nb\tc", "status": "new", "action": "write", "size": 1, "mtime": 0}
    hub.by_name["copies.files"] = {"files": [file], "next": None}
    assert run("copies", "files", ID).out.splitlines()[1].split()[-1] == r"a\nb\tc"


def test_files(run: Run, hub: NamedReplies) -> None:
    file = {"number": 1, "path": "hw/a\x1b[31m", "status": "conflict", "action": "beside", "size": 10, "mtime": 0,
            "beside": "hw/a.new"}  # fmt: skip
    hub.by_name["copies.files"] = {"files": [file], "next": 1}
    done = run("copies", "files", ID, "3", "--status", "conflict")
    assert hub.named("copies.files") == [{"id": ID, "number": 3, "statuses": ["conflict"], "after": 0, "limit": 1000}]
    assert done.out.splitlines()[1].split() == [
        "conflict",
        "beside",
        "10",
        "B",
        "hw/a\N{REPLACEMENT CHARACTER}[31m",
        "hw/a.new",
    ]
    assert "--limit" in done.err
    assert run("copies", "files", ID, "--json").json["next"] == 1
