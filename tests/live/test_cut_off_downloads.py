"""Downloads under way end with the right to them, and whoever has half of one knows it."""

from __future__ import annotations

import os
import time

import httpx2
import pytest

from tests.hubs import HubProcess

SIZE = 100_000_000
"""Bytes: more than what waits in the sockets between hub and reader."""


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
