"""The wire's methods for files."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest

from tests.hubs import HubProcess


class Inside:
    """A project with its calls and its home."""

    def __init__(self, hub: HubProcess, key: str | None = None) -> None:
        self.hub = hub
        self.key = key
        self.project_id = str(hub.post({"name": "projects.createProject", "args": []}).json())
        self.home = hub.data_dir / "projects" / self.project_id / "home"
        self("ping", {})

    def __call__(self, name: str, first: Any) -> Any:
        call = {"name": f"system.{name}", "args": [first], "project_id": self.project_id}
        return self.hub.post(call, endpoint="project", key=self.key).json()

    def bash(self, script: str) -> str:
        return str(self("exec", {"command": script, "bash": True})["stdout"])


@pytest.fixture(scope="module")
def inside(hub_process: HubProcess) -> Iterator[Inside]:
    yield Inside(hub_process)


def test_text_goes_in_and_out(inside: Inside) -> None:
    assert inside("writeTextFileToProject", {"path": "new/deep/a.txt", "content": "grün\n"}) is None
    assert inside("readTextFileFromProject", {"path": "/home/user/new/deep/a.txt"}) == "grün\n"
    assert inside.bash("cat new/deep/a.txt") == "grün\n"
    assert (
        inside.bash("test -O new && test -O new/deep && test -O new/deep/a.txt && stat -c %a new/deep/a.txt") == "644\n"
    )


def test_a_listing(inside: Inside) -> None:
    inside.bash(
        "mkdir -p l/dir/.x l/dir/y; printf abc > l/f; touch -d @1000000.5 l/f l/.h; ln -s f l/to; ln -s dir l/d2"
    )
    inside.bash("ln -s /etc l/out; ln -s nowhere l/gone")
    entries = {entry["name"]: entry for entry in inside("listing", {"path": "l"})}
    assert entries.keys() == {"dir", "f", "to", "d2", "out", "gone"}
    assert entries["f"] == {"name": "f", "size": 3, "mtime": 1000000.5}
    assert (entries["dir"]["isdir"], entries["dir"]["size"]) == (True, 2)
    assert (entries["to"]["issymlink"], entries["to"]["link_target"], "isdir" in entries["to"]) == (True, "f", False)
    assert (entries["d2"]["issymlink"], entries["d2"]["isdir"]) == (True, True)
    assert "isdir" not in entries["out"] and entries["out"]["link_target"] == "/etc"
    assert ".h" in {entry["name"] for entry in inside("listing", {"path": "l", "hidden": True})}
    assert inside("listing", {"path": "l/nothing"})["error"].startswith("Error: ENOENT")


@pytest.mark.parametrize("path", ["../x", "/etc/passwd", "/home/user/../other", "a/../../b"])
def test_nothing_outside_of_the_home(inside: Inside, path: str) -> None:
    for name, arguments in (
        ("readTextFileFromProject", {"path": path}),
        ("writeTextFileToProject", {"path": path, "content": "x"}),
        ("deleteFiles", {"paths": [path]}),
        ("listing", {"path": path}),
        ("renameFile", {"src": path, "dest": "x"}),
        ("moveFiles", {"paths": ["x"], "dest": path}),
    ):
        assert "outside of the project's home" in inside(name, arguments)["error"], name


def test_links_out_of_the_home_lead_nowhere(inside: Inside) -> None:
    inside.bash("ln -sfn /etc etc; ln -sfn ../../../.. up; ln -sf /etc/hostname host")
    for path in ("etc/hostname", "up/etc/hostname", "host"):
        assert "outside of the project's home" in inside("readTextFileFromProject", {"path": path})["error"]
    assert "outside" in inside("writeTextFileToProject", {"path": "etc/x", "content": ""})["error"]


def test_what_is_no_file_is_refused_at_once(inside: Inside) -> None:
    inside.bash("mkfifo pipe; mkdir -p adir")
    assert "is a pipe" in inside("readTextFileFromProject", {"path": "pipe"})["error"]
    assert "is a directory" in inside("readTextFileFromProject", {"path": "adir"})["error"]
    assert "is a directory" in inside("writeTextFileToProject", {"path": "adir", "content": ""})["error"]


def test_a_text_that_is_too_large_names_the_other_way(inside: Inside) -> None:
    inside.bash("truncate -s 9M large")
    assert "files/content" in inside("readTextFileFromProject", {"path": "large"})["error"]


def test_moves_never_overwrite(inside: Inside) -> None:
    inside.bash("mkdir -p m/to; echo 1 > m/a; echo 2 > m/to/a; echo 3 > m/b")
    assert inside("moveFiles", {"paths": ["m/a"], "dest": "m/to"}) == {"error": "Error: dest already exists."}
    assert inside("renameFile", {"src": "m/a", "dest": "m/b"}) == {"error": "Error: dest already exists."}
    assert inside("renameFile", {"src": "m/a", "dest": "m/a"}) is None
    assert inside("moveFiles", {"paths": ["m/b"], "dest": "m/to"}) is None
    assert inside("moveFiles", {"paths": ["m/to/b"], "dest": ""}) is None
    assert inside.bash("cat m/a m/to/a b") == "1\n2\n3\n"
    assert "into itself" in inside("renameFile", {"src": "m", "dest": "m/to/m"})["error"]


def test_what_is_deleted_is_gone_with_its_companions(inside: Inside) -> None:
    inside.bash("mkdir -p d/e; touch d/e/f d/n.ipynb d/.n.ipynb.sage-jupyter2 d/.other; chmod 500 d/e")
    assert inside("deleteFiles", {"paths": ["d/e", "d/n.ipynb", "d/never"]}) is None
    assert inside.bash("ls -A d") == ".other\n"
    assert "home itself" in inside("deleteFiles", {"paths": [""]})["error"]


def test_real_and_canonical_paths(inside: Inside) -> None:
    inside.bash("mkdir -p r/s; touch r/s/f; ln -sfn r/s short; ln -sfn /etc away")
    assert inside("realpath", "short/f") == "r/s/f"
    assert inside("realpath", "/home/user/short") == "r/s"
    assert inside("realpath", "away/passwd") == "away/passwd"
    assert inside("realpath", "/etc/passwd") == "/etc/passwd"
    assert inside("realpath", "r/none")["error"].startswith("Error: ENOENT")
    found = inside("canonicalPaths", ["short/f", "short/new/x", "/home/user/r", "/etc/passwd", ""])
    assert found == ["r/s/f", "r/s/new/x", "r", "/home/user/.smc/root/etc/passwd", ""]


def test_strangers_are_refused(inside: Inside, hub_process: HubProcess) -> None:
    _, key = hub_process.person("stranger")
    for name in ("listing", "readTextFileFromProject", "writeTextFileToProject", "deleteFiles", "moveFiles"):
        call = {"name": f"system.{name}", "args": [{"path": "a"}], "project_id": inside.project_id}
        reply = hub_process.post(call, endpoint="project", key=key).json()
        assert "must be a collaborator" in reply["error"]


def test_changes_stand_in_the_log(inside: Inside, hub_process: HubProcess) -> None:
    inside("writeTextFileToProject", {"path": "logged", "content": "12345"})
    inside("deleteFiles", {"paths": ["logged"]})
    with hub_process.hub() as hub:
        events = [entry["event"] for entry in hub.projects.log(inside.project_id, limit=2)]
    assert events[1] == {"event": "file_written", "path": "logged", "bytes": 5}
    assert (events[0]["event"], events[0]["paths"], events[0]["in_trash"]) == ("files_deleted", ["logged"], 1)


def test_a_large_listing(inside: Inside) -> None:
    directory = inside.home / "many"
    directory.mkdir()
    for number in range(20_000):
        os.close(os.open(directory / f"{number}", os.O_CREAT | os.O_WRONLY))
    assert len(inside("listing", {"path": "many"})) == 20_000
