"""`projecthub shares`, and projects that begin as others."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

import pytest
from named_replies import ANALYSIS, NamedReplies, Outcome, answer_query

from projecthub.errors import NotFound, QueryRefused

Run = Callable[..., Outcome]
ID = hashlib.sha1(f"{ANALYSIS}data".encode(), usedforsecurity=False).hexdigest()
SHARE: dict[str, Any] = {
    "id": ID, "project_id": ANALYSIS, "project_title": "Analysis", "path": "data", "name": None,
    "description": "soil", "license": None, "disabled": False, "unlisted": False, "authenticated": False,
    "compute_image": None, "url": None, "image": None, "counter": 3, "created": "2025-11-21T14:55:21.253Z",
    "last_edited": "2025-11-21T14:55:21.253Z", "last_saved": None,
}  # fmt: skip
NEW = "f66f0000-0000-4000-8000-000000000007"


@pytest.fixture(autouse=True)
def _shares(hub: NamedReplies) -> None:
    def query(args: Any) -> Any:
        return {} if "public_paths" in args["query"] else answer_query(args)

    hub.by_name |= {"db.userQuery": query, "shares.get": SHARE, "shares.list": [SHARE]}


@pytest.mark.parametrize(
    ("options", "fields"),
    [
        ((), {}),
        (("--unlisted", "--signed-in", "-d", "soil"), {"unlisted": True, "authenticated": True, "description": "soil"}),
        (("--listed", "--anybody"), {"unlisted": False, "authenticated": False}),
    ],
)
@pytest.mark.parametrize("path", ["data", "./data/", "/x/../data"])
def test_create(run: Run, hub: NamedReplies, path: str, options: tuple[str, ...], fields: dict[str, Any]) -> None:
    assert run("shares", "create", ANALYSIS, path, *options).out == f"{ID}\n"
    assert hub.named("shares.get") == [{"id": ID}]
    asked = hub.named("db.userQuery")[-1]
    assert asked["query"] == {"public_paths": {"project_id": ANALYSIS, "path": path, "disabled": False, **fields}}


def test_lists_and_details(run: Run, hub: NamedReplies) -> None:
    line = [ID, "Analysis", "data", "anybody", "soil"]
    assert run("shares", "list").out.splitlines()[1].split() == line
    assert run("shares", "list", "Analysis", "-n", "5").out.splitlines()[1].split() == line
    assert hub.named("shares.list")[-1] == {"project_id": ANALYSIS, "limit": 5}
    assert run("shares", "show", ID, "--json").json == SHARE
    hub.by_name["shares.get"] = SHARE | {"unlisted": True, "authenticated": True}
    assert "who is signed in, by its id" in run("shares", "show", ID).out
    hub.by_name["shares.get"] = SHARE | {"disabled": True}
    assert "nobody" in run("shares", "update", ID, "--disable").out
    assert hub.named("db.userQuery")[-1]["query"] == {
        "public_paths": {"project_id": ANALYSIS, "path": "data", "disabled": True}
    }
    hub.by_name["shares.get"] = NotFound("there is no share")
    assert run("shares", "show", ID).code == 3


def test_delete(run: Run, hub: NamedReplies) -> None:
    assert run("shares", "delete", ID) == Outcome(0, "", "")
    asked = hub.named("db.userQuery")[-1]
    assert asked == {
        "query": {"public_paths": {"project_id": ANALYSIS, "path": "data"}}, "options": [{"delete": True}],
    }  # fmt: skip


def test_copy(run: Run, hub: NamedReplies) -> None:
    hub.by_name["shares.copy"] = {"files": 2, "bytes": 9, "deleted": 0, "kept_newer_paths": ["data/x"]}
    done = run("shares", "copy", ID, "Analysis", "here", "--path", "sub", "--overwrite-newer")
    assert (done.code, done.out.split()) == (0, ["files", "2", "bytes", "9"])
    assert "kept, because newer in the target: data/x" in done.err
    wanted = {"id": ID, "target_project_id": ANALYSIS, "path": "sub", "target_path": "here", "overwrite_newer": True}
    assert wanted.items() <= hub.named("shares.copy")[0].items()


def test_copy_as_other_copies_do(run: Run, hub: NamedReplies) -> None:
    operation_id = "e55e0000-0000-4000-8000-000000000006"
    hub.by_name["shares.copy"] = {"files": 0, "bytes": 0, "operation_id": operation_id}
    done = run("shares", "copy", ID, "Analysis", "--delete-missing", "--backup", "--exclude", "*.o", "--exclude", "x")
    wanted = {"delete_missing": True, "backup": True, "exclude": ["*.o", "x"], "overwrite_newer": False}
    assert wanted.items() <= hub.named("shares.copy")[0].items()
    assert f"copies undo {operation_id}" in done.err


def test_a_share_of_which_others_get_nothing_is_told_so(run: Run, hub: NamedReplies) -> None:
    hub.by_name["shares.get"] = SHARE | {"problem": "others get nothing of it: it is not there"}
    done = run("shares", "create", "Analysis", "course/week1")
    assert (done.code, done.out) == (0, f"{ID}\n")
    assert "it is not there" in done.err
    assert "others get nothing of it" in run("shares", "show", ID).out


def test_who_is_not_on_the_project_shares_nothing_of_it(run: Run, hub: NamedReplies) -> None:
    hub.by_name["shares.get"] = SHARE
    hub.by_name["db.userQuery"] = QueryRefused("FATAL: user must be an admin")
    for arguments in (("create", ANALYSIS, "x"), ("update", ID, "--disable"), ("delete", ID)):
        done = run("shares", *arguments)
        assert (done.code, "admin" in done.err) == (1, False)
        assert f"no owner or collaborator of project '{ANALYSIS}'" in done.err
    hub.by_name["db.userQuery"] = QueryRefused("FATAL: path is too long")
    assert "path is too long" in run("shares", "delete", ID).err


def test_clones_and_templates(run: Run, hub: NamedReplies) -> None:
    template = {"project_id": ANALYSIS, "title": "Analysis", "description": "", "everybody": True, "member": False}
    hub.by_name |= {
        "projects.clone": NEW,
        "projects.createProject": NEW,
        "projects.templates": [template],
        "projects.setTemplate": {"project_id": ANALYSIS, "template": True, "everybody": False},
    }
    assert run("projects", "clone", "Analysis", "Mine", "--exclude", "*.log", "--with-collaborators").out == f"{NEW}\n"
    wanted = {"project_id": ANALYSIS, "title": "Mine", "exclude": ["*.log"], "with_collaborators": True}
    assert wanted.items() <= hub.named("projects.clone")[0].items()
    assert run("projects", "clone", "Analysis", "--json").json == {"project_id": NEW}
    assert run("projects", "create", "--template", ANALYSIS).out == f"{NEW}\n"
    assert hub.named("projects.createProject")[0]["template_id"] == ANALYSIS
    assert run("projects", "templates").out.splitlines()[1].split() == [ANALYSIS, "Analysis", "everybody"]
    assert run("projects", "templates", "--json").json == [template]
    assert run("projects", "set-template", "Analysis", "--members").out.split()[-2:] == ["everybody", "no"]
    assert hub.named("projects.setTemplate")[0] == {"project_id": ANALYSIS, "template": True, "everybody": False}
    run("projects", "set-template", "Analysis", "--off", "--json")
    assert hub.named("projects.setTemplate")[1] == {"project_id": ANALYSIS, "template": False}


def test_a_file_that_is_not_there(run: Run, hub: NamedReplies) -> None:
    done = run("projects", "import", "/no/such/file")
    assert (done.code, hub.calls) == (1, [])
    assert "there is no file '/no/such/file' on this machine" in done.err
