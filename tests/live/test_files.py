"""Files of projects over HTTP, by the native routes."""

from __future__ import annotations

import base64
import hashlib
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.hubs import HubProcess

TUS = {"tus-resumable": "1.0.0"}
PART = {**TUS, "content-type": "application/offset+octet-stream"}


class Remote:
    """The routes of one project, which has never been started."""

    def __init__(self, hub: HubProcess, key: str | None = None) -> None:
        self.process = hub
        with hub.hub() as client:
            self.project_id = client.projects.create_project()
        self.directory = hub.data_dir / "projects" / self.project_id
        self.home = self.directory / "home"
        self.key = key or hub.admin_key

    def __call__(self, method: str, path: str, *, key: str | None = None, **options: Any) -> httpx2.Response:
        headers = {"Authorization": f"Bearer {key or self.key}", **options.pop("headers", {})}
        url = f"{self.process.url}/api/v1/projects/{self.project_id}/{path}"
        return httpx2.request(method, url, headers=headers, timeout=60, **options)

    def put(self, path: str, content: Any, *, headers: dict[str, str] | None = None, **query: Any) -> httpx2.Response:
        return self("PUT", "files/content", params={"path": path, **query}, content=content, headers=headers or {})

    def get(self, path: str, **headers: str) -> httpx2.Response:
        return self("GET", "files/content", params={"path": path}, headers=headers)

    def delete(self, path: str, **query: Any) -> Any:
        return self("DELETE", "files", params={"path": path, **query}).json()

    def begin(self, path: str, length: int, **metadata: str) -> httpx2.Response:
        pairs = {"path": path, **metadata}
        text = ",".join(f"{name} {base64.b64encode(value.encode()).decode()}" for name, value in pairs.items())
        return self("POST", "uploads", headers={**TUS, "upload-length": str(length), "upload-metadata": text})

    def part(self, upload: str, offset: int, content: Any) -> httpx2.Response:
        return self("PATCH", f"uploads/{upload}", headers={**PART, "upload-offset": str(offset)}, content=content)

    def offset(self, upload: str) -> int:
        return int(self("HEAD", f"uploads/{upload}", headers=TUS).headers["upload-offset"])

    def left_over(self) -> list[str]:
        return [
            os.path.join(top, name)
            for where in ("staging", "uploads")
            for top, _, names in os.walk(self.directory / where)
            for name in names
        ]


@pytest.fixture(scope="module")
def remote(hub_process: HubProcess) -> Iterator[Remote]:
    yield Remote(hub_process)


def name_of(begun: httpx2.Response) -> str:
    assert begun.status_code == 201, begun.text
    return str(begun.headers["location"].rpartition("/")[2])


def test_a_file_goes_in_and_out_and_nothing_runs(remote: Remote) -> None:
    content = os.urandom(3_000_001)
    written = remote.put("a/b/file.bin", content, mode=0o640, mtime=1_000_000)
    assert (written.status_code, written.json()["bytes"]) == (201, len(content))
    read = remote.get("/home/user/a/b/file.bin", **{"want-repr-digest": "sha-256=1"})
    assert read.content == content
    assert read.headers["etag"] == written.headers["etag"]
    assert read.headers["repr-digest"] == f"sha-256=:{base64.b64encode(hashlib.sha256(content).digest()).decode()}:"
    status = (remote.home / "a/b/file.bin").stat()
    assert (status.st_mode & 0o777, status.st_mtime, status.st_uid) == (0o640, 1_000_000, remote.home.stat().st_uid)
    assert remote.put("a/b/file.bin", b"short").status_code == 200
    assert remote.home.joinpath("a/b/file.bin").stat().st_mode & 0o777 == 0o640
    with remote.process.hub() as hub:
        assert hub.projects.state(remote.project_id)["state"] == "stopped"
    assert remote.left_over() == []


@pytest.mark.parametrize(
    ("asked", "status", "content", "told"),
    [
        ("bytes=0-0", 206, b"0", "bytes 0-0/10"),
        ("bytes=3-", 206, b"3456789", "bytes 3-9/10"),
        ("bytes=-4", 206, b"6789", "bytes 6-9/10"),
        ("bytes=-40", 206, b"0123456789", "bytes 0-9/10"),
        ("bytes=8-20", 206, b"89", "bytes 8-9/10"),
        ("bytes=10-", 416, None, "bytes */10"),
        ("bytes=-0", 416, None, "bytes */10"),
        ("bytes=0-1,4-5", 200, b"0123456789", None),
        ("bytes=5-2", 200, b"0123456789", None),
        ("bytes=-", 200, b"0123456789", None),
        ("lines=1-2", 200, b"0123456789", None),
    ],
)
def test_ranges(remote: Remote, asked: str, status: int, content: bytes | None, told: str | None) -> None:
    remote.put("digits", b"0123456789")
    read = remote.get("digits", range=asked)
    assert (read.status_code, read.headers.get("content-range")) == (status, told)
    if content is not None:
        assert read.content == content


def test_conditions(remote: Remote) -> None:
    first = remote.put("state", b"one").headers["etag"]
    assert remote.get("state", **{"if-none-match": first}).status_code == 304
    assert remote.get("state", **{"if-range": first, "range": "bytes=1-"}).content == b"ne"
    assert remote.put("state", b"two", headers={"if-none-match": "*"}).status_code == 412
    second = remote.put("state", b"two", headers={"if-match": first}).headers["etag"]
    refused = remote.put("state", b"three", headers={"if-match": first})
    assert (refused.status_code, refused.json()["code"]) == (412, "conflict")
    assert remote.get("state", **{"if-range": first, "range": "bytes=1-"}).content == b"two"
    assert remote.put("state", b"three", headers={"if-match": f'"x", {second}'}).status_code == 200
    assert remote.put("nothing-there", b"", headers={"if-match": "*"}).status_code == 412
    head = remote("HEAD", "files/content", params={"path": "state"})
    assert (head.headers["content-length"], head.content) == ("5", b"")


def test_of_many_that_make_one_file_one_does(remote: Remote) -> None:
    statuses: list[int] = []

    def make(number: int) -> None:
        statuses.append(remote.put("once", b"%d" % number, headers={"if-none-match": "*"}).status_code)

    threads = [threading.Thread(target=make, args=(number,)) for number in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(statuses) == [201] + [412] * 11


def test_a_wrong_checksum_changes_nothing(remote: Remote) -> None:
    remote.put("checked", b"before")
    wrong = base64.b64encode(hashlib.sha256(b"other").digest()).decode()
    assert remote.put("checked", b"after", headers={"repr-digest": f"sha-256=:{wrong}:"}).status_code == 400
    right = base64.b64encode(hashlib.sha256(b"after").digest()).decode()
    assert remote.get("checked").content == b"before"
    assert remote.put("checked", b"after", headers={"repr-digest": f"sha-256=:{right}:"}).status_code == 200
    assert remote.put("checked", b"x", headers={"repr-digest": "sha-256=:nonsense:"}).status_code == 400


def test_what_breaks_off_leaves_nothing(remote: Remote) -> None:
    def half() -> Iterator[bytes]:
        yield b"x" * 2_000_000
        raise ConnectionError

    with pytest.raises(ConnectionError):
        remote.put("half", half())
    wait_until(lambda: remote.left_over() == [])
    assert remote.get("half").status_code == 404


def wait_until(holds: Callable[[], bool], seconds: float = 10) -> None:
    import time

    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.fixture(scope="module")
def small() -> Iterator[Remote]:
    """A project of 20 MB."""
    with HubProcess(PROJECTHUB_DISK_MB="20") as hub:
        yield Remote(hub)


def test_what_exceeds_the_quota_is_refused(small: Remote) -> None:
    remote = small

    def unannounced() -> Iterator[bytes]:
        for _ in range(30):
            yield b"x" * 1_000_000

    assert remote.put("large", b"x" * 30_000_000).status_code == 507
    assert remote.put("large", unannounced()).status_code == 507
    assert remote.begin("large", 30_000_000).status_code == 507
    assert remote.left_over() == []
    assert remote.put("fits", b"x" * 15_000_000).status_code == 201
    assert remote.put("fits", b"y" * 15_000_000).status_code == 200, "what is replaced makes room"
    assert remote.put("fits2", b"y" * 15_000_000).status_code == 507
    assert remote.delete("fits")["trash_id"] is None, "more than the trash may take goes at once"
    assert remote.put("fits2", b"y" * 15_000_000).status_code == 201
    assert remote.delete("fits2", permanent=True) == {"trash_id": None}


def test_a_full_project_gets_room_by_deleting(small: Remote) -> None:
    remote = small
    remote.put("small", b"x" * 1_000_000)
    over = remote.home / "grown"
    over.write_bytes(b"x" * 25_000_000)
    wait_until(lambda: remote.put("more", b"x" * 5_000_000).status_code == 507)
    assert remote.delete("small") == {"trash_id": None}
    assert remote.delete("grown") == {"trash_id": None}
    wait_until(lambda: remote.put("more", b"x" * 5_000_000).status_code in (200, 201))
    remote.delete("more", permanent=True)


def test_an_upload_goes_on_after_the_hub_was_killed(own_hub: HubProcess) -> None:
    remote = Remote(own_hub)
    content = os.urandom(5_000_000)
    begun = remote.begin("up/loaded", len(content), sha256=hashlib.sha256(content).hexdigest(), mode="600")
    upload = name_of(begun)
    assert remote.part(upload, 0, content[:2_000_000]).headers["upload-offset"] == "2000000"
    sent = threading.Event()

    def slowly() -> Iterator[bytes]:
        yield content[2_000_000:4_500_000]
        sent.set()
        threading.Event().wait(30)
        yield b""

    def send() -> None:
        try:
            remote.part(upload, 2_000_000, slowly())
        except httpx2.HTTPError:
            pass

    thread = threading.Thread(target=send, daemon=True)
    thread.start()
    assert sent.wait(10)
    data = remote.directory / "uploads" / upload / "data"
    wait_until(lambda: data.stat().st_size > 2_000_000)
    own_hub.kill()
    own_hub.restart()
    at = remote.offset(upload)
    assert at > 2_000_000
    assert remote.part(upload, 1, content).status_code == 409
    assert remote.part(upload, at, content[at:]).headers["upload-offset"] == str(len(content))
    assert remote.get("up/loaded").content == content
    assert (remote.home / "up/loaded").stat().st_mode & 0o777 == 0o600
    assert remote.left_over() == []
    assert remote("HEAD", f"uploads/{upload}", headers=TUS).status_code == 404


def test_a_put_that_the_hub_was_killed_in_leaves_nothing(own_hub: HubProcess) -> None:
    remote = Remote(own_hub)
    remote.put("kept", b"before")
    begun = threading.Event()

    def endless() -> Iterator[bytes]:
        while True:
            yield b"x" * 1_000_000
            begun.set()

    def send() -> None:
        try:
            remote.put("kept", endless())
        except httpx2.HTTPError:
            pass

    thread = threading.Thread(target=send, daemon=True)
    thread.start()
    assert begun.wait(10)
    own_hub.kill()
    thread.join(10)
    own_hub.restart()
    assert remote.get("kept").content == b"before"
    remote.put("other", b"")
    assert remote.left_over() == []


def test_uploads_that_are_wrong(remote: Remote) -> None:
    wrong = name_of(remote.begin("wrong", 3, sha256="0" * 64))
    assert remote.part(wrong, 0, b"abc").status_code == 400
    assert remote.get("wrong").status_code == 404
    more = name_of(remote.begin("more", 3))
    assert remote.part(more, 0, b"abcd").status_code == 400
    assert remote("DELETE", f"uploads/{more}", headers=TUS).status_code == 204
    assert remote.part(more, 0, b"abc").status_code == 404
    assert remote.begin("../out", 3).status_code == 400
    begin = {"upload-length": "3", "upload-metadata": "path YQ=="}
    assert remote("POST", "uploads", headers=begin).status_code == 422
    assert remote("POST", "uploads", headers={**begin, "tus-resumable": "0.2.2"}).status_code == 412
    assert remote.begin("empty", 0).status_code == 201
    assert remote.get("empty").content == b""
    once = name_of(remote.begin("empty", 1, exclusive="yes"))
    assert remote.part(once, 0, b"x").status_code == 412
    assert remote.left_over() == []


def test_the_trash(remote: Remote) -> None:
    remote.put("t/a", b"first")
    item = remote.delete("t/a")["trash_id"]
    (entry,) = [one for one in remote("GET", "trash").json()["items"] if one["id"] == item]
    assert (entry["path"], entry["is_directory"]) == ("t/a", False)
    remote.put("t/a", b"second")
    restore = f"trash/{item}/restore"
    assert remote("POST", restore, json={}).status_code == 409
    assert remote.get("t/a").content == b"second"
    assert remote("POST", restore, json={"path": "../x"}).status_code == 400
    assert remote("POST", restore, json={"path": "new/a"}).json() == {"path": "new/a"}
    assert remote.get("new/a").content == b"first"
    assert remote("POST", restore, json={}).status_code == 404
    directory = remote.delete("t")["trash_id"]
    assert remote("POST", f"trash/{directory}/restore", json={}).json() == {"path": "t"}
    assert remote.get("t/a").content == b"second"
    remote.delete("t")
    assert remote("DELETE", "trash").json()["items"] == 1
    assert remote("GET", "trash").json() == {"items": []}


def test_a_hostile_trash(remote: Remote) -> None:
    remote.put("x", b"x")
    item = remote.delete("x")["trash_id"]
    trash = remote.home / ".projecthub" / "trash"
    record = trash / item / "record.json"
    for text in ("", "[]", '{"path": "../../x", "deleted_by": "a", "bytes": 1}', "[" * 100_000, '{"path": 1}'):
        record.write_text(text)
        assert remote("GET", "trash").json() == {"items": []}
        assert remote("POST", f"trash/{item}/restore", json={}).status_code == 404
    record.unlink()
    os.mkfifo(record)
    assert remote("GET", "trash").json() == {"items": []}
    assert remote("DELETE", "trash").status_code == 200
    trash.rmdir()
    outside = remote.directory / "outside"
    outside.mkdir()
    trash.symlink_to(outside)
    remote.put("y", b"y")
    refused = remote("DELETE", "files", params={"path": "y"})
    assert refused.status_code in (400, 409), refused.text
    assert (remote.get("y").content, os.listdir(outside)) == (b"y", [])
    assert remote.delete("y", permanent=True) == {"trash_id": None}
    trash.unlink()
    outside.rmdir()


def test_directories_moves_and_pages(remote: Remote) -> None:
    assert remote("POST", "files/directories", json={"path": "p/q"}).status_code == 201
    assert remote("POST", "files/directories", json={"path": "p/q"}).status_code == 200
    for name in ("c", "a", "b", ".h"):
        remote.put(f"p/q/{name}", name)
    page = remote("GET", "files", params={"path": "p/q", "limit": 2}).json()
    assert ([entry["name"] for entry in page["entries"]], page["next"]) == (["a", "b"], "b")
    rest = remote("GET", "files", params={"path": "p/q", "limit": 2, "after": "b"}).json()
    assert ([entry["name"] for entry in rest["entries"]], rest["next"]) == (["c"], None)
    assert remote("POST", "files/move", json={"src": "p/q/a", "dest": "p/q/b"}).status_code == 409
    assert remote("POST", "files/move", json={"src": "p/q/a", "dest": "p/z"}).json() == {"path": "p/z"}
    assert remote("POST", "files/copy", json={"src": "p/q", "dest": "p2"}).json()["files"] == 3
    assert remote("GET", "files/stat", params={"path": "p2"}).json()["kind"] == "directory"
    assert remote("POST", "files/directories", json={"path": "p/z/x"}).status_code == 409


def test_who_may(remote: Remote, hub_process: HubProcess) -> None:
    _, stranger = hub_process.person("files-stranger")
    with hub_process.hub() as hub:
        own = hub.keys.create(project_id=remote.project_id, name="own")["secret"]
        other = hub.keys.create(project_id=hub.projects.create_project(), name="other")["secret"]
    remote.put("who", b"x")
    routes: list[tuple[str, str, dict[str, Any]]] = [
        ("GET", "files", {}),
        ("GET", "files/stat?path=who", {}),
        ("GET", "files/content?path=who", {}),
        ("PUT", "files/content?path=who2", {"content": b"x"}),
        ("POST", "files/move", {"json": {"src": "who2", "dest": "who3"}}),
        ("POST", "files/copy", {"json": {"src": "who3", "dest": "who4"}}),
        ("POST", "files/directories", {"json": {"path": "who5"}}),
        ("DELETE", "files?path=who3", {}),
        ("GET", "trash", {}),
        ("DELETE", "trash", {}),
    ]
    for method, path, options in routes:
        assert remote(method, path, key=own, **options).status_code in (200, 201), (method, path)
        for key in (stranger, other):
            assert remote(method, path, key=key, **options).status_code == 403, (method, path)
        assert remote(method, path, key="sk-nobody", **options).status_code == 401


@pytest.mark.parametrize("path", ["../x", "/etc/passwd", "a/../../x", "a\0b", "x" * 5000])
def test_hostile_paths(remote: Remote, path: str) -> None:
    for answer in (remote.get(path), remote.put(path, b"x"), remote("DELETE", "files", params={"path": path})):
        assert answer.status_code == 400, answer.text
        assert str(remote.directory.parent) not in answer.text


def test_links_are_followed_within_the_home_only(remote: Remote, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("secret")
    (remote.home / "in").mkdir()
    (remote.home / "in/f").write_text("inside")
    (remote.home / "to").symlink_to("in")
    (remote.home / "away").symlink_to(tmp_path)
    assert remote.get("to/f").content == b"inside"
    assert remote.put("to/g", b"new").status_code == 201
    assert (remote.home / "in/g").read_bytes() == b"new"
    for answer in (
        remote.get("away/secret"),
        remote.put("away/secret", b"x"),
        remote("DELETE", "files", params={"path": "away/secret", "permanent": True}),
        remote("POST", "files/move", json={"src": "in/f", "dest": "away/f"}),
        remote("POST", "files/directories", json={"path": "away/d"}),
    ):
        assert answer.status_code == 400, answer.text
    assert (os.listdir(tmp_path), secret.read_text()) == (["secret"], "secret")
    assert remote.delete("away", permanent=True) == {"trash_id": None}
    assert secret.exists()
