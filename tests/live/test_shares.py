"""Shares over HTTP: what anybody sees, what those who are signed in see, and what nobody does."""

from __future__ import annotations

import io
import json
import os
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
import zstandard

from projecthub import errors
from tests.hubs import HubProcess
from tests.live.test_exports import command, home_of


class Sharing:
    """A project that shares a directory, its owner, and somebody else."""

    def __init__(self, process: HubProcess) -> None:
        self.process = process
        _, owner_key = process.person("sharer")
        _, other_key = process.person("taker")
        self.owner, self.other = process.hub(owner_key), process.hub(other_key)
        self.other_key = other_key
        self.project_id = self.owner.projects.create_project("Sharing")
        with self.owner.project(self.project_id) as inside:
            for path, text in (("hw/a", "one"), ("hw/d/b", "two"), ("hw2/x", "no"), ("secret", "no")):
                inside.files.write_text(path, text)
        home = home_of(process, self.project_id)
        (home / "hw" / "inside").symlink_to("d/b")
        (home / "hw" / "out").symlink_to("../secret")
        (home / "hw" / "up").symlink_to("..")
        (home / "hw" / "away").symlink_to("/etc/passwd")
        with open(os.fsencode(home) + b"/hw/\xff", "wb") as file:
            file.write(b"odd")
        self.share = self.owner.shares.create(self.project_id, "hw", description="homework")
        self.id = self.share["id"]

    def __call__(self, place: str, *, key: str | None = None, method: str = "GET", **params: Any) -> httpx2.Response:
        headers = {} if key is None else {"Authorization": f"Bearer {key}"}
        url = f"{self.process.url}/api/v1/shares{place}"
        return httpx2.request(method, url, params=params, headers=headers, timeout=60)


@pytest.fixture(scope="module")
def sharing(hub_process: HubProcess) -> Iterator[Sharing]:
    made = Sharing(hub_process)
    yield made
    made.owner.close()
    made.other.close()


def test_anybody_looks_and_downloads(sharing: Sharing) -> None:
    assert sharing(f"/{sharing.id}").json()["description"] == "homework"
    assert sharing.id in [share["id"] for share in sharing("").json()["shares"]]
    listed = sharing(f"/{sharing.id}/files").json()["entries"]
    assert [entry["name"] for entry in listed] == ["a", "away", "d", "inside", "out", "up", "\\xff"]
    assert {entry["name"]: entry["is_directory"] for entry in listed}["up"] is False, "it leads out of the share"
    for path, text in (("a", "one"), ("d/b", "two"), ("inside", "two"), ("./d/../a", "one")):
        reply = sharing(f"/{sharing.id}/files/content", path=path)
        assert (reply.status_code, reply.text) == (200, text)
    odd = httpx2.get(f"{sharing.process.url}/api/v1/shares/{sharing.id}/files/content?path=%FF")
    assert odd.text == "odd"
    part = httpx2.get(
        f"{sharing.process.url}/api/v1/shares/{sharing.id}/files/content?path=a", headers={"range": "bytes=1-"}
    )
    assert (part.status_code, part.text) == (206, "ne")
    head = sharing(f"/{sharing.id}/files/content", method="HEAD", path="a")
    assert (head.status_code, head.headers["content-length"]) == (200, "3")
    packed = zstandard.ZstdDecompressor().stream_reader(sharing(f"/{sharing.id}/files/archive").content).read()
    with tarfile.open(fileobj=io.BytesIO(packed)) as tar:
        assert {"a", "d", "d/b", "inside", "out"} <= set(tar.getnames())
        assert not [member for member in tar if member.isreg() and member.size not in (3,)]


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("../secret", 400),
        ("../hw2/x", 400),
        ("/../secret", 400),
        ("d/../../secret", 400),
        ("out", 400),
        ("up/secret", 400),
        ("away", 400),
        ("a\0b", 400),
        ("2/x", 404),
        ("none", 404),
        ("d", 409),
    ],
)
def test_nobody_gets_out_of_a_share(sharing: Sharing, path: str, status: int) -> None:
    for key in (None, sharing.other_key):
        reply = sharing(f"/{sharing.id}/files/content", key=key, path=path)
        assert reply.status_code == status, reply.text
        assert str(sharing.process.data_dir) not in reply.text
        if path != "d":
            assert sharing(f"/{sharing.id}/files", key=key, path=path).status_code in (400, 404, 409)
            assert sharing(f"/{sharing.id}/files/archive", key=key, path=path).status_code in (400, 404, 409)


def test_a_share_for_people_who_are_signed_in(sharing: Sharing) -> None:
    id = sharing.owner.shares.create(sharing.project_id, "hw/d", authenticated=True)["id"]
    places = ("", "/files", "/files/archive")
    for place in places:
        reply = sharing(f"/{id}{place}")
        assert (reply.status_code, reply.json()["code"]) == (401, "not_signed_in")
        assert sharing(f"/{id}{place}", key=sharing.other_key).status_code == 200
        assert sharing(f"/{id}{place}", key="sk-wrong").status_code == 401
    assert id not in [share["id"] for share in sharing("").json()["shares"]]
    assert id in [share["id"] for share in sharing.other.shares.list()]
    manager = sharing.other.keys.create(scopes=["manage"])["secret"]
    for place in places:
        reply = sharing(f"/{id}{place}", key=manager)
        assert (reply.status_code, reply.json()["code"]) == (403, "permission_denied")
    sharing.owner.shares.delete(id)
    assert sharing(f"/{id}", key=sharing.other_key).status_code == 404


def test_a_share_that_is_unlisted_or_disabled(sharing: Sharing) -> None:
    id = sharing.owner.shares.create(sharing.project_id, "hw/d/b", unlisted=True)["id"]
    assert id not in [share["id"] for share in sharing("").json()["shares"]]
    assert id not in [share["id"] for share in sharing.other.shares.list()]
    assert sharing(f"/{id}/files/content").text == "two", "who knows its id has it"
    assert sharing(f"/{id}/files").status_code == 409
    assert sharing(f"/{id}/files/content", path="../a").status_code == 400
    assert sharing.owner.shares.update(id, disabled=True)["disabled"]
    target = sharing.other.projects.create_project("Target")
    for place in ("", "/files/content"):
        assert sharing(f"/{id}{place}").status_code == 404
        assert sharing(f"/{id}{place}", key=sharing.other_key).status_code == 404
    with pytest.raises(errors.NotFound):
        sharing.other.shares.copy(id, target)
    with pytest.raises(errors.HubError):
        sharing.other.projects.create_project(public_path_id=id)
    with pytest.raises(errors.NotFound):
        sharing.other.shares.update(id, disabled=False)
    with pytest.raises(errors.QueryRefused):
        sharing.other.shares.update(sharing.id, disabled=True)
    with pytest.raises(errors.QueryRefused):
        sharing.other.shares.delete(sharing.id)
    with pytest.raises(errors.QueryRefused):
        sharing.other.shares.create(sharing.project_id, "secret")
    assert not sharing.owner.shares.update(id, disabled=False)["disabled"]
    assert sharing(f"/{id}/files/content").text == "two"


def test_to_look_at_a_share_is_no_use_of_its_project(sharing: Sharing) -> None:
    [before] = sharing.owner.projects.get(fields=["last_edited", "state"], project_id=sharing.project_id)
    sharing(f"/{sharing.id}/files/content", key=sharing.other_key, path="a")
    sharing.other.shares.files(sharing.id)
    assert sharing.owner.projects.get(fields=["last_edited", "state"], project_id=sharing.project_id) == [before]


def test_the_client_and_the_command_line(sharing: Sharing, tmp_path: Path) -> None:
    file = tmp_path / "b"
    assert sharing.other.shares.download(sharing.id, file, "d/b") == 3
    assert (file.read_text(), os.listdir(tmp_path)) == ("two", ["b"])
    with pytest.raises(errors.NotFound):
        sharing.other.shares.download(sharing.id, file, "none")
    assert (file.read_text(), os.listdir(tmp_path)) == ("two", ["b"])
    assert "\udcff" in [entry["name"] for entry in sharing.other.shares.files(sharing.id)]
    process = sharing.process
    with process.hub() as admin:
        mine = admin.projects.create_project("Of the admin")
        with admin.project(mine) as inside:
            inside.files.write_text("notes/n", "note")
    id = command(process, "shares", "create", mine, "notes", "--unlisted", "-d", "my notes").stdout.decode().strip()
    told = json.loads(command(process, "shares", "list", mine, "--json").stdout)
    assert [(share["id"], share["unlisted"], share["description"]) for share in told] == [(id, True, "my notes")]
    assert b"anybody, by its id" in command(process, "shares", "show", id).stdout
    assert b"homework" in command(process, "shares", "list").stdout
    assert b"n" in command(process, "shares", "files", id).stdout
    assert command(process, "shares", "get", id, "-", "--path", "n").stdout == b"note"
    command(process, "shares", "get", id, str(tmp_path / "all.tar.zst"), "--archive")
    assert (tmp_path / "all.tar.zst").stat().st_size > 10
    assert b"files" in command(process, "shares", "copy", sharing.id, mine, "from", "--path", "d").stdout
    with process.hub() as admin, admin.project(mine) as inside:
        assert inside.files.read_text("from/b") == "two"
    made = command(process, "projects", "create", "Begun", "--share", sharing.id).stdout.decode().strip()
    assert (home_of(process, made) / "hw" / "a").read_text() == "one"
    assert b"nobody" in command(process, "shares", "update", id, "--disable").stdout
    command(process, "shares", "delete", id)
    assert b"no share" in command(process, "shares", "show", id, code=3).stderr
    assert b"yes" in command(process, "projects", "set-template", mine, "--everybody").stdout
    assert mine in command(process, "projects", "templates").stdout.decode()
    begun = command(process, "projects", "create", "--template", mine).stdout.decode().strip()
    assert (home_of(process, begun) / "notes" / "n").read_text() == "note"
    assert mine in [template["project_id"] for template in sharing.other.projects.templates()]
    command(process, "projects", "set-template", mine, "--off")
    assert mine not in [template["project_id"] for template in sharing.other.projects.templates()]


def test_a_project_that_begins_with_a_share_tells_how_far_it_is(sharing: Sharing) -> None:
    home = home_of(sharing.process, sharing.project_id)
    (home / "big").mkdir()
    for number in range(5000):
        (home / "big" / str(number)).write_bytes(b"x" * 3000)
    id = sharing.owner.shares.create(sharing.project_id, "big")["id"]
    steps: list[tuple[int, int | None]] = []
    made = sharing.other.projects.create_project(public_path_id=id, progress=lambda *step: steps.append(step))
    assert len(os.listdir(home_of(sharing.process, made) / "big")) == 5000
    assert [done for done, _ in steps] == sorted(done for done, _ in steps)
    assert {expected for _, expected in steps} <= {None, 5000 * 3000}
    with pytest.raises(errors.InvalidArgument, match="no project was made"):
        sharing.other.projects.create_project(public_path_id="f" * 40, progress=lambda *step: None)
    sharing.owner.shares.delete(id)
    (home / "big").rename(home / "gone")


def test_guests_come_only_so_often(sharing: Sharing) -> None:
    url = f"{sharing.process.url}/api/v1/shares/{sharing.id}"
    with httpx2.Client(headers={"x-forwarded-for": "192.0.2.77"}) as client:
        codes = [client.get(url).status_code for _ in range(330)]
    assert codes[:300] == [200] * 300
    assert 429 in codes[300:]
    assert httpx2.get(url, headers={"x-forwarded-for": "192.0.2.78"}).status_code == 200
