"""A directory of 100,000 entries is listed, by the wire and by the routes, while others go on calling."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator

import psutil
import pytest

from projecthub import Project
from tests.hubs import HubProcess
from tests.live.test_files import Remote

ENTRIES = 100_000
SLOWEST_S = 2.0
"""Of a call of others meanwhile, on a machine with much else to do."""
MOST_BYTES = 200_000_000


@pytest.fixture(scope="module")
def large(hub_process: HubProcess) -> Iterator[Project]:
    remote = Remote(hub_process)
    remote.put("large/first", b"")
    fd = os.open(remote.home / "large", os.O_RDONLY)
    for number in range(ENTRIES - 1):
        os.close(os.open(f"file-{number:06}", os.O_CREAT | os.O_WRONLY, dir_fd=fd))
    os.close(fd)
    with Project(remote.key, hub_process.url, remote.project_id) as project:
        yield project
        project.files.delete("large", permanent=True)


@pytest.mark.parametrize("way", ["wire", "routes"])
def test_others_go_on(hub_process: HubProcess, large: Project, way: str) -> None:
    other, process = Remote(hub_process), psutil.Process(hub_process.process.pid)
    other.put("x", b"x")
    before = process.memory_info().rss
    found: list[str] = []

    def list_all() -> None:
        entries = large.system.listing("large") if way == "wire" else large.files.list("large")
        found.extend(entry["name"] for entry in entries)

    thread = threading.Thread(target=list_all)
    thread.start()
    slowest_s, calls, most = 0.0, 0, 0
    while thread.is_alive():
        begin = time.monotonic()
        assert other.get("x").content == b"x"
        slowest_s = max(slowest_s, time.monotonic() - begin)
        calls += 1
        most = max(most, process.memory_info().rss)
    thread.join()
    assert found == sorted(["first", *(f"file-{number:06}" for number in range(ENTRIES - 1))])
    assert calls >= 3
    assert slowest_s < SLOWEST_S
    assert most - before < MOST_BYTES
