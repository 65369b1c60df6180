from __future__ import annotations

import asyncio
import io
import sys
from collections.abc import Callable
from typing import Any

import pytest
from named_replies import ADA, ANALYSIS, BACKUP, BACKUP_TOO, OLD, NamedReplies, Outcome, answer_query

from projecthub.errors import Conflict, NotFound, PermissionDenied, StartFailed

Run = Callable[..., Outcome]
RUNNING = {"state": "running", "time": "2025-11-21T14:55:21.253Z", "ip": "127.0.0.1"}


@pytest.fixture
def somebody(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Somebody at a terminal, who types."""

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    return lambda typed: monkeypatch.setattr(sys, "stdin", Terminal(typed))


def test_list_shows_live_projects_latest_first(run: Run) -> None:
    done = run("projects", "list")
    assert (done.code, done.err) == (0, "")
    heading, *lines = done.out.splitlines()
    assert heading.split() == ["ID", "TITLE", "STATE", "LAST", "USED"]
    assert [line.split()[0] for line in lines] == [ANALYSIS, BACKUP, BACKUP_TOO]
    assert lines[0].split()[1:] == ["Analysis", "running", "2025-11-23", "13:35"]
    assert lines[1].split()[2] == "stopped"


@pytest.mark.parametrize("arguments", [("--json", "projects", "list"), ("projects", "list", "--json")])
def test_list_for_programs(run: Run, arguments: tuple[str, ...]) -> None:
    rows = run(*arguments).json
    assert [row["project_id"] for row in rows] == [ANALYSIS, BACKUP, BACKUP_TOO]
    assert rows[1]["state"] == {"state": "opened"}


def test_list_s_options(run: Run, hub: NamedReplies) -> None:
    assert [row["project_id"] for row in run("projects", "list", "--deleted", "--json").json] == [OLD]
    assert [row["project_id"] for row in run("projects", "list", "--state", "stopped", "-n", "1", "--json").json] == [
        BACKUP
    ]
    run("projects", "list", "--all")
    assert [list(args["query"]) for args in hub.named("db.userQuery")] == [["projects"], ["projects"], ["projects_all"]]


def test_list_leaves_out_what_one_has_hidden(run: Run, hub: NamedReplies) -> None:
    rows = [{"project_id": id_, "users": {who: {"hide": True}}} for id_, who in ((ANALYSIS, ADA), (BACKUP, BACKUP))]
    hub.by_name["db.userQuery"] = {"projects": rows}
    assert [row["project_id"] for row in run("projects", "list", "--json").json] == [BACKUP]
    assert [row["project_id"] for row in run("projects", "list", "--hidden", "--json").json] == [ANALYSIS]


def page_of(count: int, next_: str | None = None) -> dict[str, Any]:
    users = {ADA: {"group": "owner"}, BACKUP: {"group": "owner"}, OLD: {"group": "viewer"}}
    row = {"project_id": ANALYSIS, "title": "Soil \x1b[2J", "state": {"state": "opened"}, "users": users}
    return {"projects": [row, *[row | {"deleted": True, "users": {}}] * (count - 1)], "next": next_}


def test_list_of_everybody_s(run: Run, hub: NamedReplies) -> None:
    hub.by_name["system.getNames"] = {ADA: {"first_name": "Ada", "last_name": "L"}, BACKUP: {"first_name": "Bob"}}
    hub.by_name["projects.listAll"] = page_of(2, f"5.{OLD}")
    done = run("projects", "list", "--all-accounts", "-n", "2", "--after", f"7.{OLD}")
    heading, *lines = done.out.splitlines()
    assert heading.split() == ["ID", "TITLE", "STATE", "LAST", "USED", "OWNERS"]
    assert lines[0].split()[3:] == ["stopped", "Ada", "L,", "Bob"] and "\x1b" not in done.out
    assert lines[1].split()[-1] == "deleted"
    assert f"there are more: --after 5.{OLD}" in done.err
    assert hub.named("projects.listAll") == [{"limit": 2, "after": f"7.{OLD}"}]
    hub.by_name["projects.listAll"] = lambda args: page_of(args["limit"], None if "after" in args else "1")
    told = run("projects", "list", "--all-accounts", "--limit", "1500", "--json").json
    assert (len(told["projects"]), told["next"]) == (1500, None)
    assert hub.named("projects.listAll")[1:] == [{"limit": 1000}, {"limit": 500, "after": "1"}]
    run("projects", "list", "--all-accounts")
    assert hub.named("projects.listAll")[3] == {"limit": 100}


@pytest.mark.parametrize(
    ("words", "code"),
    [(("--all-accounts", "--deleted"), 2), (("--all-accounts", "--all"), 2), (("--after", "x"), 2)],
)
def test_what_does_not_go_together(run: Run, hub: NamedReplies, words: tuple[str, ...], code: int) -> None:
    assert run("projects", "list", *words).code == code
    assert hub.named("projects.listAll") == []


def test_everybody_s_are_for_site_admins(run: Run, hub: NamedReplies) -> None:
    hub.by_name["projects.listAll"] = PermissionDenied("only admins may list the projects of others")
    assert run("projects", "list", "--all-accounts").code == 4


def test_get_names_the_people(run: Run, hub: NamedReplies) -> None:
    hub.by_name["system.getNames"] = {ADA: {"first_name": "Ada", "last_name": "Lovelace"}}
    out = run("projects", "get", "Analysis").out
    assert f"owner      Ada Lovelace ({ADA})" in out
    assert "state      running" in out


def test_get_some_fields(run: Run, hub: NamedReplies) -> None:
    assert run("projects", "get", ANALYSIS, "-f", "title").out == "title  Analysis\n"
    assert run("projects", "get", ANALYSIS, "-f", "title", "--json").json == {
        "project_id": ANALYSIS,
        "title": "Analysis",
    }


def test_get_a_project_of_others(run: Run) -> None:
    done = run("projects", "get", ADA)
    assert done.code == 3
    assert ADA in done.err


def test_create_prints_the_id_alone(run: Run, hub: NamedReplies) -> None:
    hub.by_name["projects.createProject"] = ANALYSIS
    assert run("projects", "create", "Soil", "-d", "Samples", "--start").out == f"{ANALYSIS}\n"
    assert hub.named("projects.createProject") == [{"title": "Soil", "description": "Samples", "start": True}]
    assert run("projects", "create", "--json").json == {"project_id": ANALYSIS}
    run("projects", "create", "Trial", "--ephemeral", "2h")
    assert hub.named("projects.createProject")[-1] == {
        "title": "Trial",
        "start": False,
        "ephemeral": 7_200_000,
    }
    assert run("projects", "create", "Trial", "--ephemeral", "soon").code == 2


@pytest.mark.parametrize("text", [ANALYSIS, ANALYSIS.upper(), "a11a", "A11A0000-0000", "Analysis"])
def test_ways_to_name_a_project(run: Run, hub: NamedReplies, text: str) -> None:
    hub.by_name["projects.state"] = RUNNING
    assert run("projects", "state", text).out.split() == [
        "state", "running", "ip", "127.0.0.1", "since", "2025-11-21", "14:55",
    ]  # fmt: skip
    assert hub.named("projects.state") == [{"project_id": ANALYSIS}]


def test_a_whole_id_is_not_looked_up(run: Run, hub: NamedReplies) -> None:
    hub.by_name["projects.state"] = RUNNING
    run("projects", "state", ADA)
    assert hub.named("db.userQuery") == []


@pytest.mark.parametrize("text", ["b22b", "Copies"])
def test_several_fitting_projects_are_listed(run: Run, text: str) -> None:
    done = run("projects", "state", text)
    assert done.code == 1
    assert BACKUP in done.err
    assert BACKUP_TOO in done.err
    assert done.err.count("\n") == 1


@pytest.mark.parametrize("text", ["a11", "analysis", "a11a0000x", "%", ""])
def test_what_fits_no_project(run: Run, text: str) -> None:
    done = run("projects", "state", text)
    assert done.code == 3
    assert repr(text) in done.err


def test_deleted_projects_are_found_last(run: Run, hub: NamedReplies) -> None:
    hub.by_name["projects.state"] = RUNNING
    run("projects", "state", "Old")
    assert hub.named("projects.state") == [{"project_id": OLD}]


def test_status_flattens(run: Run, hub: NamedReplies) -> None:
    hub.by_name["projects.status"] = {
        "project.pid": 7, "project": {"pid": 7}, "start_ts": 1763736921000, "memory": {"rss": 1.5},
    }  # fmt: skip
    out = run("projects", "status", "Analysis").out
    assert [line.split() for line in out.splitlines()] == [
        ["project.pid", "7"],
        ["start_ts", "2025-11-21", "14:55"],
        ["memory.rss", "1.5"],
    ]


def test_several_projects_at_a_time(run: Run, hub: NamedReplies) -> None:
    hub.by_name["projects.start"] = RUNNING
    done = run("projects", "start", "Analysis", BACKUP, "a11a")
    assert done.code == 0
    assert sorted(args["project_id"] for args in hub.named("projects.start")) == [ANALYSIS, BACKUP]
    assert [line.split() for line in done.out.splitlines()[1:]] == [
        [ANALYSIS, "Analysis", "running"],
        [BACKUP, BACKUP, "running"],
    ]
    assert len(hub.named("db.userQuery")) == 1


async def test_they_are_done_at_the_same_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither is answered before both are asked for: one after the other would never end."""
    import httpx2

    from projecthub.cli import lifecycle
    from projecthub.cli.session import Session

    both = asyncio.Barrier(2)

    async def answer(request: httpx2.Request) -> httpx2.Response:
        await both.wait()
        return httpx2.Response(200, json=RUNNING)

    session = Session("sk-test", "http://hub.test", async_transport=httpx2.MockTransport(answer))
    found = {ANALYSIS: "Analysis", BACKUP: "Backup"}
    async with asyncio.timeout(10):
        outcomes = await lifecycle._all_of(session, found, "Starting", lambda hub, id_: hub.projects.start(id_))
    assert [outcome.reply for outcome in outcomes] == [RUNNING, RUNNING]


def test_one_failure_leaves_the_others_alone(run: Run, hub: NamedReplies) -> None:
    def start(args: Any) -> Any:
        return StartFailed("no memory left") if args["project_id"] == BACKUP else RUNNING

    hub.by_name["projects.start"] = start
    done = run("projects", "start", BACKUP, ANALYSIS)
    assert done.code == 1
    assert done.err == "error: no memory left\n"
    assert ANALYSIS in done.out
    assert BACKUP not in done.out
    assert run("projects", "start", BACKUP, ANALYSIS, "--json").json == [
        {"project_id": BACKUP, "error": "no memory left", "code": "start_failed"},
        {"project_id": ANALYSIS, **RUNNING},
    ]


@pytest.mark.parametrize(
    ("second", "code"), [(PermissionDenied("not on it"), 4), (Conflict("it is deleted"), 1)], ids=["same", "different"]
)
def test_several_failures(run: Run, hub: NamedReplies, second: Exception, code: int) -> None:
    hub.by_name["projects.stop"] = lambda args: (
        PermissionDenied("not on it") if args["project_id"] == ANALYSIS else second
    )
    done = run("projects", "stop", ANALYSIS, BACKUP)
    assert done.code == code
    assert done.err.splitlines()[:2] == [f"error: {ANALYSIS}: not on it", f"error: {BACKUP}: {second}"]
    assert done.err.splitlines()[2] == "error: 2 of 2 projects failed"


def test_delete_asks_nobody_but_wants_to_be_told(run: Run, hub: NamedReplies) -> None:
    done = run("projects", "delete", "Analysis")
    assert done.code == 2
    assert "--yes" in done.err
    assert hub.calls == []


def test_delete_with_yes(run: Run, hub: NamedReplies) -> None:
    hub.by_name["projects.deleteProject"] = {"project_id": ANALYSIS, "deleted": True}
    assert run("projects", "delete", "Analysis", "--yes").out.split()[-3:] == [ANALYSIS, "Analysis", "deleted"]


@pytest.mark.parametrize(("typed", "code", "calls"), [("y\n", 0, 1), ("YES\n", 0, 1), ("n\n", 1, 0), ("", 1, 0)])
def test_delete_asks_whoever_is_there(
    run: Run, hub: NamedReplies, somebody: Callable[[str], None], typed: str, code: int, calls: int
) -> None:
    hub.by_name["projects.deleteProject"] = {"project_id": ANALYSIS, "deleted": True}
    somebody(typed)
    done = run("projects", "delete", "Analysis")
    assert done.code == code
    assert "Delete Analysis? [y/N]" in done.err
    assert len(hub.named("projects.deleteProject")) == calls


def test_undelete_prefers_deleted_ones(run: Run, hub: NamedReplies) -> None:
    queries = hub.by_name["db.userQuery"]
    hub.by_name["db.userQuery"] = lambda args: {} if isinstance(args["query"]["projects"], dict) else queries(args)
    hub.by_name["db.userQuery"] = lambda args: {} if "projects" in args["query"] else queries(args)
    assert run("projects", "undelete", "Old", "--json").json == {"project_id": OLD, "deleted": False}
    assert hub.named("db.userQuery")[-1] == {"query": {"projects": {"project_id": OLD, "deleted": False}}}


@pytest.mark.parametrize(
    ("target", "sent"),
    [
        (f"{BACKUP}:b/c", {"target_project_id": BACKUP, "target_path": "b/c"}),
        (f"{BACKUP}:", {"target_project_id": BACKUP}),
        (":b:c", {"target_path": "b:c"}),
    ],
)
def test_copy(run: Run, hub: NamedReplies, target: str, sent: dict[str, str]) -> None:
    summary = {"files": 0, "bytes": 0, "skipped": 0, "kept_newer": 1, "kept_newer_paths": ["a/x"], "seconds": 0.1}
    hub.by_name["projects.copyPathBetweenProjects"] = summary
    done = run(
        "projects", "copy", "Analysis:a", target, "--backup", "--exclude", "*.o", "--exclude", "tmp", "--timeout", "9"
    )
    assert done.code == 0
    assert hub.named("projects.copyPathBetweenProjects") == [
        {
            "src_project_id": ANALYSIS,
            "src_path": "a",
            **sent,
            "overwrite_newer": False,
            "delete_missing": False,
            "backup": True,
            "exclude": ["*.o", "tmp"],
            "timeout": 9,
        }
    ]
    assert done.out.split() == ["files", "0", "bytes", "0", "kept_newer", "1", "seconds", "0.1"]
    assert "a/x" in done.err


@pytest.mark.parametrize(("source", "target"), [("a", "b:c"), (":b", "c:d"), ("a:", "c:d")])
def test_the_source_of_a_copy_has_both_project_and_path(run: Run, hub: NamedReplies, source: str, target: str) -> None:
    assert run("projects", "copy", source, target).code == 2
    assert hub.calls == []


def test_add_collaborators_by_address_and_by_id(run: Run, hub: NamedReplies) -> None:
    hub.by_name["system.userSearch"] = [
        {"account_id": OLD, "email_address": "someone@example.org"},
        {"account_id": ADA, "email_address": "Ada@Example.org"},
    ]
    hub.by_name["projects.addCollaborator"] = {"project_id": [ANALYSIS, ANALYSIS]}
    assert run("projects", "add-collaborator", "Analysis", "ada@example.org", BACKUP).code == 0
    assert hub.named("projects.addCollaborator") == [
        {"opts": {"project_id": [ANALYSIS, ANALYSIS], "account_id": [ADA, BACKUP]}}
    ]


@pytest.mark.parametrize(("person", "code"), [("nobody@example.org", 3), ("Ada", 1)])
def test_whom_nobody_knows(run: Run, hub: NamedReplies, person: str, code: int) -> None:
    hub.by_name["system.userSearch"] = [{"account_id": ADA}]
    done = run("projects", "add-collaborator", ANALYSIS, person)
    assert done.code == code
    assert repr(person) in done.err


def test_remove_a_collaborator(run: Run, hub: NamedReplies) -> None:
    hub.by_name["projects.removeCollaborator"] = {"project_id": ANALYSIS, "account_id": ADA}
    assert run("projects", "remove-collaborator", "a11a", ADA, "--json").json["account_id"] == ADA
    assert hub.named("projects.removeCollaborator") == [{"opts": {"project_id": ANALYSIS, "account_id": ADA}}]


def test_a_refusal_is_one_line_and_perhaps_a_hint(run: Run, hub: NamedReplies) -> None:
    hub.by_name["projects.state"] = NotFound("no such\nproject")
    assert run("projects", "state", ANALYSIS).err == "error: no such project\n"


def test_the_log_of_a_project(run: Run, hub: NamedReplies) -> None:
    written = [
        {"id": 3, "project_id": ANALYSIS, "time": "2025-11-21T14:55:21.253Z", "event": {"event": "start", "n": 1}},
        {"id": 2, "project_id": ANALYSIS, "time": "2025-11-21T14:54:21.253Z", "account_id": ADA,
         "event": {"event": "project_edited", "fields": ["env", "\x1b[31mtitle"]}},
    ]  # fmt: skip
    rows = answer_query
    hub.by_name["db.userQuery"] = lambda args: (
        {"project_log_all": written} if "project_log_all" in args["query"] else rows(args)
    )
    hub.by_name["system.getNames"] = {ADA: {"first_name": "Ada", "last_name": "Lovelace"}}
    heading, first, second = run("projects", "log", "Analysis", "-n", "2").out.splitlines()
    assert heading.split() == ["TIME", "PERSON", "WHAT", "DETAILS"]
    assert first.split() == ["2025-11-21", "14:55", "(the", "hub)", "start", "n=1"]
    assert second.split() == [
        "2025-11-21",
        "14:54",
        "Ada",
        "Lovelace",
        "project",
        "edited",
        "fields=env,\ufffd[31mtitle",
    ]
    assert hub.named("db.userQuery")[-1]["options"] == [{"limit": 2}]
    assert run("projects", "log", ANALYSIS, "--json").json == written


def test_the_log_of_a_project_names_whom_it_is_about(run: Run, hub: NamedReplies) -> None:
    events: list[Any] = [
        {"event": "invite_user", "invitee_account_id": ADA, "group": "viewer"},
        {"event": "remove_collaborator", "removed_name": "Ada L", "removed_account_id": ADA},
        {"event": "odd", "target_account_id": "no uuid", "other_account_id": 5},
    ]
    written = [{"time": "2025-11-21T14:55:21.253Z", "event": event} for event in events]
    hub.by_name["db.userQuery"] = {"project_log_all": written}
    hub.by_name["system.getNames"] = {ADA: {"first_name": "Ada", "last_name": "Lovelace"}}
    _, first, second, third = run("projects", "log", ANALYSIS).out.splitlines()
    assert first.endswith("invitee_name=Ada Lovelace group=viewer")
    assert second.endswith("  removed_name=Ada L")
    assert third.endswith("target_name=no uuid other_account_id=5")
