"""The official client of the public service, unmodified, against our hub."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from cocalc_api import Hub, Project
from diff_match_patch import diff_match_patch
from diff_match_patch.diff_match_patch import patch_obj

from tests.hubs import HubProcess
from tests.wire.official import Person

UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
pytestmark = pytest.mark.usefixtures("closed_connections")
NOT_AN_ACCOUNT = "must be signed in and MUST provide an api key (cookies are not allowed)"


@pytest.fixture(scope="module")
def ada(hub_process: HubProcess) -> Person:
    return Person(hub_process, "ada")


@pytest.fixture(scope="module")
def grace(hub_process: HubProcess) -> Person:
    return Person(hub_process, "grace")


@pytest.fixture
def project_id(ada: Person) -> Iterator[str]:
    project_id = ada.hub.projects.create_project(title="Test")
    yield project_id
    ada.hub.projects.delete(project_id)


@pytest.fixture
def project(ada: Person, project_id: str) -> Project:
    return ada.project(project_id)


@pytest.fixture
def project_key(ada: Person, project_id: str) -> str:
    return ada.project_key(project_id)


# -- system and db ---------------------------------------------------------------------------------


def test_ping(ada: Person) -> None:
    assert ada.hub.system.ping()["now"] > 1_700_000_000_000


def test_test(ada: Person) -> None:
    assert ada.hub.system.test()["account_id"] == ada.account_id


def test_get_names(ada: Person, grace: Person) -> None:
    names = ada.hub.system.get_names([ada.account_id, grace.account_id])
    assert {account_id: name["first_name"] for account_id, name in names.items()} == {
        ada.account_id: "Ada",
        grace.account_id: "Grace",
    }


def test_user_search(ada: Person, grace: Person) -> None:
    assert grace.account_id in [user["account_id"] for user in ada.hub.system.user_search("grace")]
    [found] = ada.hub.system.user_search("grace@example.org")
    assert (found["account_id"], found["email_address"]) == (grace.account_id, "grace@example.org")
    assert ada.hub.system.user_search("nobody-of-that-name") == []


def test_query_reads_and_changes_ones_name(hub_process: HubProcess) -> None:
    hub = Person(hub_process, "linus").hub
    assert hub.db.query({"accounts": {"first_name": None}}) == {"accounts": {"first_name": "Linus"}}
    assert hub.db.query({"accounts": {"first_name": "L"}}) == {}
    assert hub.db.query({"accounts": {"first_name": None}}) == {"accounts": {"first_name": "L"}}


def test_a_bad_key(hub_process: HubProcess) -> None:
    hub = Hub(api_key="sk-nothing", host=hub_process.url)
    with pytest.raises(RuntimeError, match=re.escape(NOT_AN_ACCOUNT)):
        hub.system.ping()


def test_history_of_a_file(ada: Person, grace: Person, project: Project, project_id: str) -> None:
    assert ada.hub.sync.history(project_id, "notes.md") == {"patches": [], "info": {}}
    texts = ["# Notes\n", "# Notes\n\n* one 😀\n", ""]
    for text in texts:
        project.call("system.writeTextFileToProject", [{"path": "notes.md", "content": text}])
    project.system.exec("echo inside > notes.md", bash=True)
    project.call("system.writeTextFileToProject", [{"path": "notes.md", "content": "last\n"}])
    history: Any = ada.hub.sync.history(project_id, path="notes.md")
    text = ""
    for entry, expected in zip(history["patches"], [*texts, "inside\n", "last\n"], strict=True):
        text = patched(text, json.loads(entry["mesg"]["patch"]))
        assert text == expected
    users = history["info"]["users"]
    assert [users[entry["mesg"]["user_id"]] for entry in history["patches"]] == [
        *[ada.account_id] * 3,
        project_id,
        ada.account_id,
    ]
    assert [entry["mesg"]["time"] for entry in history["patches"]] == sorted(
        {entry["time"] for entry in history["patches"]}
    )
    with pytest.raises(RuntimeError, match=r"^Error: user must be collaborator on source project$"):
        grace.hub.sync.history(project_id, "notes.md")


def patched(text: str, patch: list[Any]) -> str:
    """What the library of the wire's patches makes of them."""
    hunks = []
    for diffs, start1, start2, length1, length2 in patch:
        hunk = patch_obj()
        hunk.diffs = [tuple(diff) for diff in diffs]
        hunk.start1, hunk.start2, hunk.length1, hunk.length2 = start1, start2, length1, length2
        hunks.append(hunk)
    made, applied = diff_match_patch().patch_apply(hunks, text)
    assert all(applied)
    return str(made)


# -- messages and organizations --------------------------------------------------------------------


def test_messages(ada: Person, grace: Person) -> None:
    message_id = ada.hub.messages.send("Results", "*in*", [grace.account_id])
    reply_id = grace.hub.messages.send("Thanks", "!", ["ada@example.org"], reply_id=message_id)
    assert isinstance(message_id, int)
    [received] = [message for message in grace.hub.messages.get() if message["id"] == message_id]
    assert (received["from_id"], received["to_ids"]) == (ada.account_id, [grace.account_id])
    assert (received["subject"], received["body"], received["thread_id"]) == ("Results", "*in*", None)
    [answer] = ada.hub.messages.get(limit=1, offset=0, type="new")
    assert (answer["id"], answer["thread_id"], answer["read"]) == (reply_id, message_id, False)
    assert ada.hub.db.query({"messages": {"id": reply_id, "read": True, "starred": True}}) == {}
    assert ada.hub.messages.get(type="new") == []
    assert [message["id"] for message in ada.hub.messages.get(type="starred")] == [reply_id]
    assert [message["id"] for message in ada.hub.messages.get(type="sent")] == [message_id]
    assert ada.hub.messages.send("Nobody", "", ["nobody-has-this@example.org"]) is None
    with pytest.raises(RuntimeError, match="Error: invalid account_id -- x"):
        ada.hub.messages.send("Nobody", "", ["x"])
    with pytest.raises(RuntimeError, match="Error: limit must be at most 500"):
        ada.hub.messages.get(limit=501)


def test_organizations(hub_process: HubProcess, ada: Person) -> None:
    root, lise = Hub(api_key=hub_process.admin_key, host=hub_process.url).org, Person(hub_process, "lise")
    name = "physics"
    assert UUID.fullmatch(str(root.create(name)))
    for taken in (name, "PHYSICS"):
        with pytest.raises(RuntimeError, match=f"Error: name {taken} is already used by some account or organization"):
            root.create(taken)
    root.add_admin(name, "lise@example.org")
    lise.hub.org.set(name, title="Physics", link="https://physics.example")
    assert lise.hub.org.get(name) == {
        "name": name,
        "title": "Physics",
        "description": None,
        "link": "https://physics.example",
        "email_address": None,
        "admin_account_ids": [lise.account_id],
    }
    assert {"name": name, "title": "Physics", "admin_account_ids": [lise.account_id]} in root.get_all()
    otto = lise.hub.org.create_user(name, "otto@example.org", firstName="Otto", lastName="H")
    root.add_user(name, ada.account_id)
    assert {user["account_id"] for user in lise.hub.org.get_users(name)} == {lise.account_id, ada.account_id, otto}
    lise.hub.org.message(name, "Seminar", "Today.")
    assert [message["subject"] for message in ada.hub.messages.get(type="new")] == ["Seminar"]
    assert lise.hub.org.remove_user(name, "ada@example.org") is None
    with pytest.raises(RuntimeError, match="Error: admin cannot be removed from org"):
        lise.hub.org.remove_user(name, lise.account_id)
    root.remove_admin(name, lise.account_id)
    for refused in (lise.hub.org, ada.hub.org):
        with pytest.raises(RuntimeError, match="Error: user must be an admin of the organization or site-admin"):
            refused.get_users(name)
        with pytest.raises(RuntimeError, match="Error: must be a site admin"):
            refused.get_all()
        with pytest.raises(RuntimeError, match="Error: only admins may create organizations"):
            refused.create("chemistry")


def test_a_token_signs_in(hub_process: HubProcess) -> None:
    root = Hub(api_key=hub_process.admin_key, host=hub_process.url).org
    root.create("chemistry")
    account_id = root.create_user("chemistry", "marie@example.org")
    made = root.create_token("marie@example.org")
    assert made["url"] == f"{hub_process.url}/auth/impersonate?auth_token={made['token']}"
    with pytest.raises(RuntimeError, match=re.escape(NOT_AN_ACCOUNT)):
        Hub(api_key=made["token"], host=hub_process.url).system.test()
    assert httpx.head(made["url"]).status_code == 200
    for answer in (httpx.get(made["url"]), httpx.post(made["url"])):
        assert answer.status_code == 200
        assert answer.headers["cache-control"] == "no-store"
        signed_in = answer.json()
        assert signed_in["account_id"] == account_id
        marie = Hub(api_key=signed_in["api_key"], host=hub_process.url)
        assert marie.system.test()["account_id"] == account_id
        assert [row["title"] for row in marie.projects.get(fields=["title"])] == ["My First Project"]
    root.expire_token(made["token"])
    path = f"{hub_process.url}/auth/impersonate"
    for url in (made["url"], path, f"{path}?auth_token=%00"):
        refused = httpx.get(url)
        assert refused.status_code == 401
        assert refused.json()["code"] == "not_signed_in"
    with pytest.raises(RuntimeError, match=re.escape(NOT_AN_ACCOUNT)):
        marie.system.test()


def test_a_link_sets_a_password(hub_process: HubProcess, grace: Person) -> None:
    root = Hub(api_key=hub_process.admin_key, host=hub_process.url)
    link = hub_process.url + root.call("system.adminResetPasswordLink", [{"user_account_id": grace.account_id}])
    for url in (link, link + "x"):  # a page that tells nobody which links there are, and changes nothing
        page = httpx.get(url)
        assert (page.status_code, page.headers["content-type"]) == (200, "text/plain; charset=utf-8")
        assert "projecthub accounts reset-password" in page.text and "POST" in page.text
        assert link.rpartition("/")[2] not in page.text
        assert (page.headers["cache-control"], page.headers["referrer-policy"]) == ("no-store", "no-referrer")
        assert httpx.head(url).status_code == 200
        assert httpx.put(url, json={"password": "correct horse"}).status_code == 405
    assert httpx.post(link, json={}).status_code == 400
    assert httpx.post(link, content=b"{", headers={"content-type": "application/json"}).status_code == 400
    answer = httpx.post(link, json={"password": "correct horse"})
    assert (answer.status_code, answer.json()["account_id"]) == (200, grace.account_id)
    assert httpx.post(link, json={"password": "battery staple"}).status_code == 401
    token = grace.hub.call(
        "system.generateUserAuthToken", [{"user_account_id": grace.account_id, "password": "correct horse"}]
    )
    assert httpx.get(f"{hub_process.url}/auth/impersonate", params={"auth_token": token}).status_code == 200
    with pytest.raises(RuntimeError, match="Error: incorrect password"):
        grace.hub.call("system.generateUserAuthToken", [{"user_account_id": grace.account_id, "password": "x"}])


def test_customize(ada: Person) -> None:
    assert ada.hub.call("system.getCustomize", [["siteName", "x"]]) == {"siteName": "projecthub"}
    assert ada.hub.call("system.getCustomize", [])["siteURL"] == ada.host
    assert ada.hub.call("system.revokeUserAuthToken", ["unknown"]) is None


# -- projects --------------------------------------------------------------------------------------


def test_create_project(ada: Person) -> None:
    project_id = ada.hub.projects.create_project(title="New", description="About")
    assert UUID.fullmatch(project_id)
    [row] = ada.hub.projects.get(fields=["project_id", "title", "description"], project_id=project_id)
    assert row == {"project_id": project_id, "title": "New", "description": "About"}
    assert ada.hub.projects.delete(project_id) == {"project_id": project_id, "deleted": True}


def test_create_project_refuses_what_is_not_there(ada: Person) -> None:
    with pytest.raises(RuntimeError, match="license"):
        ada.hub.projects.create_project(title="L", license="00000000-0000-4000-8000-000000000000")
    with pytest.raises(RuntimeError, match="public_path_id"):
        ada.hub.projects.create_project(title="L", public_path_id="0" * 40)


def test_create_project_from_a_share(ada: Person, grace: Person, project: Project, project_id: str) -> None:
    project.system.exec("mkdir hw && echo task > hw/a", bash=True)
    ada.hub.db.query({"public_paths": {"project_id": project_id, "path": "hw"}})
    share = ada.hub.db.query({"public_paths": {"project_id": project_id, "path": "hw", "id": None}})["public_paths"][
        "id"
    ]
    mine = grace.hub.projects.create_project(title="Mine", public_path_id=share)
    copy = grace.project(mine)
    assert copy.system.exec("cat hw/a")["stdout"] == "task\n"
    grace.hub.projects.delete(mine)


def test_get(ada: Person) -> None:
    first, second = (ada.hub.projects.create_project(title=title) for title in ("First", "Second"))
    mine = {first, second}

    def ids(**options: Any) -> list[str]:
        return [row["project_id"] for row in ada.hub.projects.get(**options) if row["project_id"] in mine]

    assert ids() == [second, first]
    assert ids(all=True) == [second, first]
    assert ids(project_id=first) == [first]
    assert len(ada.hub.projects.get(limit=1)) == 1
    assert ids(state="opened") == [second, first]
    assert ids(state="running") == []
    ada.hub.projects.start(first)
    assert ids(state="RUNNING") == [first]
    ada.hub.projects.delete(first)
    assert ids(deleted=True) == [first]
    assert ids(deleted=False) == [second]
    ada.hub.db.query({"projects": {"project_id": second, "users": {ada.account_id: {"hide": True}}}})
    assert ids(hidden=True, account_id_for_hidden=ada.account_id) == [second]
    assert ids(hidden=False, account_id_for_hidden=ada.account_id) == [first]
    ada.hub.projects.delete(second)


def test_get_of_the_default_fields(ada: Person, project_id: str) -> None:
    [row] = ada.hub.projects.get(project_id=project_id)
    assert row.keys() == {"project_id", "title", "last_edited", "created", "state", "users"}
    assert row["state"]["state"] == "opened"
    assert row["users"] == {ada.account_id: {"group": "owner"}}


def test_get_of_somebody_elses_project(grace: Person, project_id: str) -> None:
    with pytest.raises(RuntimeError, match="you do not have read access to this project"):
        grace.hub.projects.get(project_id=project_id)


def test_copy_path_between_projects(ada: Person, project: Project, project_id: str) -> None:
    project.system.exec("mkdir -p src/deep && echo one > src/a && echo two > src/deep/b", bash=True)
    target_id = ada.hub.projects.create_project(title="Target")
    assert ada.hub.projects.copy_path_between_projects(project_id, "src", target_id, "dst")["files"] == 2
    assert ada.hub.projects.copy_path_between_projects(project_id, "src/a", target_project_id=target_id)["files"] == 1
    assert ada.hub.projects.copy_path_between_projects(project_id, "src/a", target_path="b")["files"] == 1
    target = ada.project(target_id)
    assert target.system.exec("cat dst/a dst/deep/b src/a")["stdout"] == "one\ntwo\none\n"
    with pytest.raises(RuntimeError, match="source path must be contained in project home dir"):
        ada.hub.projects.copy_path_between_projects(project_id, "../../etc/passwd", target_id)
    ada.hub.projects.delete(target_id)


def test_collaborators(ada: Person, grace: Person, project_id: str) -> None:
    with pytest.raises(RuntimeError, match="must be collaborator on project to get state"):
        grace.hub.projects.state(project_id)
    assert ada.hub.projects.add_collaborator(project_id, grace.account_id) == {"project_id": [project_id]}
    assert ada.hub.projects.add_collaborator([project_id], [grace.account_id]) == {"project_id": [project_id]}
    assert grace.hub.projects.state(project_id)["state"] == "stopped"
    [row] = grace.hub.projects.get(project_id=project_id)
    assert row["users"][grace.account_id] == {"group": "collaborator"}
    removed = ada.hub.projects.remove_collaborator(project_id, grace.account_id)
    assert removed == {"project_id": project_id, "account_id": grace.account_id}
    with pytest.raises(RuntimeError, match="must be collaborator on project to get state"):
        grace.hub.projects.state(project_id)
    with pytest.raises(RuntimeError, match="Cannot remove an owner"):
        ada.hub.projects.remove_collaborator(project_id, ada.account_id)


def test_start_state_status_touch_stop(ada: Person, project_id: str) -> None:
    assert ada.hub.projects.state(project_id)["state"] == "stopped"
    assert ada.hub.projects.start(project_id)["state"] == "running"
    state = ada.hub.projects.state(project_id)
    assert (state["state"], state["ip"]) == ("running", "127.0.0.1")
    status = ada.hub.projects.status(project_id)
    assert status["project"]["pid"] == status["project.pid"] > 0
    assert status["start_ts"] > 1_700_000_000_000
    assert isinstance(status["disk_MB"], int)
    assert isinstance(status["memory"], dict)
    assert ada.hub.projects.stop(project_id)["state"] == "stopped"
    assert ada.hub.projects.touch(project_id)["state"] == "running"
    assert ada.hub.projects.stop(project_id)["state"] == "stopped"


def test_delete(ada: Person) -> None:
    project_id = ada.hub.projects.create_project()
    ada.hub.projects.start(project_id)
    assert ada.hub.projects.delete(project_id) == {"project_id": project_id, "deleted": True}
    [row] = ada.hub.projects.get(project_id=project_id)
    assert (row["deleted"], row["state"]["state"]) == (True, "opened")
    with pytest.raises(RuntimeError, match="deleted"):
        ada.hub.projects.start(project_id)


# -- the project's own calls -----------------------------------------------------------------------


def test_project_ping_and_test(project: Project, project_id: str) -> None:
    assert project.system.ping()["now"] > 1_700_000_000_000
    assert project.system.test()["project_id"] == project_id


def test_exec(project: Project) -> None:
    assert project.system.exec(command="echo 'hello there'") == {
        "type": "blocking",
        "stdout": "hello there\n",
        "stderr": "",
        "exit_code": 0,
    }
    assert project.system.exec("echo", args=["a b"])["stdout"] == "a b\n"
    assert project.system.exec("echo $X | tr a-z A-Z", bash=True, env={"X": "up"})["stdout"] == "UP\n"
    assert project.system.exec("pwd", cwd="/tmp")["stdout"] == "/tmp\n"
    project.system.exec("mkdir -p a/b")
    assert project.system.exec("basename $PWD", bash=True, path="a/b")["stdout"] == "b\n"
    assert project.system.exec("seq 100", max_output=4)["stdout"] == "1\n2\n (truncated at 4 characters)"
    assert project.system.exec("uname -s", timeout=30)["stdout"] == "Linux\n"


def test_exec_that_is_not_waited_for(project: Project) -> None:
    begun: Any = project.system.exec("echo first; sleep 0.2; echo last", bash=True, async_call=True)
    assert (begun["type"], begun["status"], begun["exit_code"]) == ("async", "running", 0)
    ask = {"async_get": begun["job_id"], "async_await": True, "async_stats": True}
    ended: Any = project.call("system.exec", [ask])
    assert (ended["status"], ended["stdout"], ended["stderr"]) == ("completed", "first\nlast\n", "")
    assert ended["start"] == begun["start"] and ended["elapsed_s"] >= 0.2 and ended["stats"] == []
    with pytest.raises(RuntimeError, match=r"^Error: Async operation 'nope' does not exist\.$"):
        project.call("system.exec", [{"async_get": "nope"}])


def test_exec_failures(project: Project) -> None:
    with pytest.raises(RuntimeError, match=r"^command 'exit 42' exited with nonzero code 42 -- stderr=''$"):
        project.system.exec("exit 42", bash=True)
    with pytest.raises(RuntimeError, match="ENOENT"):
        project.system.exec("no-such-program", args=[])
    with pytest.raises(RuntimeError, match=r"killed command|timeout"):
        project.system.exec("sleep 30", timeout=1)


def test_project_key(hub_process: HubProcess, project_id: str, project_key: str) -> None:
    hub = Hub(api_key=project_key, host=hub_process.url)
    with pytest.raises(RuntimeError, match=re.escape(NOT_AN_ACCOUNT)):
        hub.system.test()
    project = Project(api_key=project_key, host=hub_process.url)
    assert project.system.test()["project_id"] == project_id
    assert project.system.ping()["now"] > 1_700_000_000_000
    assert project.system.exec("echo $COCALC_PROJECT_ID", bash=True)["stdout"] == f"{project_id}\n"


def test_project_key_of_another_project(ada: Person, hub_process: HubProcess, project_key: str) -> None:
    other_id = ada.hub.projects.create_project()
    other = Project(api_key=project_key, host=hub_process.url, project_id=other_id)
    with pytest.raises(RuntimeError, match=r"^project specific api key must match requested project$"):
        other.system.ping()
    ada.hub.projects.delete(other_id)
