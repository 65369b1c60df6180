"""Downloads under way end with the right to them, and whoever has half of one knows it."""

from __future__ import annotations

import os
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx2
import pytest

from tests.hubs import HubProcess

SIZE = 100_000_000
"""Bytes: more than what waits in the sockets between hub and reader."""


@pytest.mark.parametrize(
    ("route", "ends"),
    [
        ("files/content?path=big", {"disabled": True}),
        ("files/archive?path=&format=tar", {"disabled": True}),
        ("files/content?path=big", {"unlisted": True, "authenticated": True}),
        ("files/content?path=big", "revoked"),
        ("files/archive?path=&format=tar", "revoked"),
    ],
)
def test_what_is_shared_no_more_is_told_half_of(own_hub: HubProcess, route: str, ends: Any) -> None:
    _, key = own_hub.person("bob")
    with own_hub.hub(key) as bob, own_hub.hub() as admin:
        project_id = admin.projects.create_project()
        admin.project(project_id).files.write_text("shared/small", "x")
        (own_hub.data_dir / "projects" / project_id / "home" / "shared" / "big").write_bytes(os.urandom(SIZE))
        share_id = admin.shares.create(project_id, "shared")["id"]
        url = f"{own_hub.url}/api/v1/shares/{share_id}/{route}"
        headers = {"Authorization": f"Bearer {key}"} if ends == "revoked" else {}
        told = 0
        with httpx2.stream("GET", url, headers=headers) as answer:
            assert answer.status_code == 200
            with pytest.raises(httpx2.TransportError):
                for part in answer.iter_raw():
                    if told == 0 and ends == "revoked":
                        bob.keys.revoke(bob.keys.list()[0]["id"])
                    elif told == 0:
                        share = {"project_id": project_id, "path": "shared"}
                        admin.db.query({"public_paths": {**share, **ends}})
                    if told == 0:
                        time.sleep(1.2)
                    told += len(part)
    assert 0 < told < SIZE
    assert "Traceback" not in own_hub.errors()


def test_whoever_waits_for_a_job_or_writes_to_one_is_gone_a_second_after_the_key(own_hub: HubProcess) -> None:
    bob, key = own_hub.person("bob")
    with own_hub.hub(key) as hub, own_hub.hub() as admin:
        project_id = hub.projects.create_project()
        job = hub.project(project_id).jobs.start("sleep", ["600"], stdin=True)
        url = f"{own_hub.url}/api/v1/projects/{project_id}/jobs/{job.id}"
        headers = {"Authorization": f"Bearer {key}"}
        calls = [
            lambda: httpx2.get(url, params={"wait": True}, headers=headers, timeout=60),
            # More than the pipe holds, which nobody reads.
            lambda: httpx2.post(f"{url}/stdin", content=b"x" * 1_000_000, headers=headers, timeout=60),
        ]
        with ThreadPoolExecutor() as threads:
            answers = [threads.submit(call) for call in calls]
            time.sleep(0.5)
            assert not any(answer.done() for answer in answers)
            admin.accounts.update(bob, disabled=True)
            began = time.monotonic()
            assert [answer.result().status_code for answer in answers] == [403, 403]
            assert time.monotonic() - began < 8  # a second, and what a busy machine adds
    assert "Traceback" not in own_hub.errors()


@pytest.mark.parametrize("route", ["files/content?path=big", "files/archive?path=&format=tar", "export"])
def test_who_is_disabled_gets_half_of_it(own_hub: HubProcess, route: str) -> None:
    bob, key = own_hub.person("bob")
    with own_hub.hub(key) as hub:
        project_id = hub.projects.create_project()
        hub.project(project_id).system.exec("true")
    (own_hub.data_dir / "projects" / project_id / "home" / "big").write_bytes(os.urandom(SIZE))
    url = f"{own_hub.url}/api/v1/projects/{project_id}/{route}"
    told = 0
    with own_hub.hub() as admin, httpx2.stream("GET", url, headers={"Authorization": f"Bearer {key}"}) as answer:
        assert answer.status_code == 200
        with pytest.raises(httpx2.TransportError):
            for part in answer.iter_raw():
                if told == 0:
                    admin.accounts.update(bob, disabled=True)
                    time.sleep(1.2)
                told += len(part)
    assert 0 < told < SIZE
    assert "Traceback" not in own_hub.errors()
