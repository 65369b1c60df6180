"""What breaks in the middle of an archive: hubs, clients, projects."""

from __future__ import annotations

import contextlib
import io
import os
import tarfile
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx2
import zstandard

from tests.hubs import HubProcess
from tests.live.test_files import Remote, wait_until


def many(count: int, *, size: int = 10) -> bytes:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for number in range(count):
            info = tarfile.TarInfo(f"d{number // 100}/{number}")
            info.size = size
            tar.addfile(info, io.BytesIO(b"x" * size))
    return zstandard.compress(made.getvalue())


def test_a_hub_that_is_killed_while_it_unpacks_leaves_nothing(tmp_path: Path) -> None:
    content = many(40_000)
    with HubProcess() as hub:
        remote = Remote(hub)
        remote.put("there/d0/0", b"before")
        params = {"path": "there", "format": "tar.zst"}

        def send() -> None:
            with contextlib.suppress(httpx2.RequestError):
                remote("PUT", "files/archive", params=params, content=content)

        sender = threading.Thread(target=send)
        sender.start()
        wait_until(lambda: len(remote.left_over()) > 2000)
        hub.kill()
        sender.join()
        assert len(remote.left_over()) > 2000
        assert sorted(str(path.relative_to(remote.home)) for path in (remote.home / "there").rglob("*")) == [
            "there/d0",
            "there/d0/0",
        ]
        assert (remote.home / "there/d0/0").read_bytes() == b"before"
        hub.restart()
        wait_until(lambda: remote.left_over() == [])  # by itself: nobody asks for the project
        assert os.listdir(remote.directory / "staging") == []
        done = remote("PUT", "files/archive", params=params, content=content)
        assert (done.status_code, done.json()["files"]) == (200, 40_000), done.text


def test_a_project_that_is_deleted_while_an_archive_comes(hub_process: HubProcess) -> None:
    remote = Remote(hub_process)
    remote.put("first", b"")
    content = many(100)

    def halves() -> Iterator[bytes]:
        yield content[: len(content) // 2]
        with hub_process.hub() as hub:
            hub.projects.delete(remote.project_id)
        yield content[len(content) // 2 :]

    answer = remote("PUT", "files/archive", params={"path": "x", "format": "tar.zst"}, content=halves())
    assert answer.status_code == 409, answer.text
    assert not (remote.home / "x").exists()
    assert remote.left_over() == []


def test_who_leaves_a_download_leaves_nothing_open(hub_process: HubProcess) -> None:
    remote = Remote(hub_process)
    remote.put("d/large", b"")
    os.truncate(remote.home / "d/large", 2**40)
    fds = Path(f"/proc/{hub_process.process.pid}/fd")

    def opened() -> int:
        count = 0
        for fd in fds.iterdir():
            with contextlib.suppress(OSError):
                count += remote.project_id in os.readlink(fd)
        return count

    url = f"{hub_process.url}/api/v1/projects/{remote.project_id}/files/archive"
    for form in ("tar", "tar.gz", "tar.zst", "zip"):
        with httpx2.stream(
            "GET", url, params={"path": "d", "format": form}, headers={"Authorization": f"Bearer {remote.key}"}
        ) as response:
            assert response.status_code == 200, response.read()
            stream = response.iter_raw()  # kept, for without it the connection would be closed at once
            assert next(stream)
            assert opened() >= 1, form
            stream.close()
        wait_until(lambda: opened() == 0)
