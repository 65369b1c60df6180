"""Disk quotas: shown by `status`, and kept by what the hub itself writes into homes."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from house import House

from projecthub.errors import LimitError
from projecthub.files import Homes
from projecthub.hub.homes import ProjectHomes
from projecthub.hub.principals import Principal
from projecthub.hub.quotas import QuotaDefaults, Quotas
from projecthub.wire.ids import ProjectId
from projecthub.wire.shapes import CopyPath, CreateProject

MB = 1_000_000
DISK_MB = 30


@pytest.fixture
async def house(house: House) -> House:
    """A hub whose projects have little room."""
    await house.lifecycle.close(stop_projects=False)
    house.quotas = Quotas(QuotaDefaults(disk_mb=DISK_MB), house.clock)
    house.homes = ProjectHomes(Homes(house.directory / "projects"), None, house.quotas.disk_quota_bytes)
    house.join()
    await house.lifecycle.open()
    return house


async def with_data(house: House, owner: Principal, size_mb: int, **fields: Any) -> tuple[ProjectId, Path]:
    project_id = await house.project(owner, **fields)
    home = await house.homes.ensure(project_id, (await house.row(project_id)).unix_slot)
    (home / "data").mkdir()
    (home / "data" / "large").write_bytes(os.urandom(size_mb * MB))
    return project_id, home


def copy(source: ProjectId, target: ProjectId, **options: Any) -> CopyPath:
    return CopyPath(src_project_id=source, src_path="data", target_project_id=target, **options)


async def test_status_tells_use_and_quota(house: House, ann: Principal) -> None:
    project_id, _ = await with_data(house, ann, 2)
    stopped = await house.projects.status(ann, project_id)
    assert stopped == {"disk_MB": 3, "disk_quota_MB": DISK_MB, "disk_age_s": 0}
    await house.projects.start(ann, project_id)
    running = await house.projects.status(ann, project_id)
    assert {name: running[name] for name in stopped} == stopped  # type: ignore[literal-required]
    licensed = await house.project(ann, run_quota={"disk_quota": 7000})
    assert (await house.projects.status(ann, licensed))["disk_quota_MB"] == 7000


async def test_a_project_over_its_quota_is_used_like_any_other(house: House, ann: Principal) -> None:
    """Its processes can write more than the quota; only what the hub writes for others is refused."""
    project_id, home = await with_data(house, ann, 2)
    (home / "filler").write_bytes(os.urandom(DISK_MB * MB))
    source, _ = await with_data(house, ann, 1)
    assert (await house.projects.status(ann, project_id))["disk_full"] is True
    assert (await house.projects.start(ann, project_id))["state"] == "running"
    with pytest.raises(
        LimitError, match=f"project '{project_id}' takes {DISK_MB + 3} MB of its disk quota of {DISK_MB} MB"
    ):
        await house.copies.copy(ann, copy(source, project_id, target_path="more"))
    assert not (home / "more").exists()
    assert (await house.copies.copy(ann, copy(project_id, source, target_path="rescued")))["files"] == 1
    (home / "filler").unlink()
    await house.copies.copy(ann, CopyPath(src_project_id=source, src_path="data", target_project_id=project_id,
                                          exclude=["large"]))  # fmt: skip
    assert (await house.projects.stop(ann, project_id))["state"] == "stopped"
    assert (await house.projects.delete(ann, project_id))["deleted"] is True


async def test_a_copy_within_a_project_counts(house: House, ann: Principal) -> None:
    project_id, home = await with_data(house, ann, 2, run_quota={"disk_quota": 5})
    await house.copies.copy(ann, copy(project_id, project_id, target_path="once"))
    with pytest.raises(LimitError, match="takes 5 MB of its disk quota of 5 MB, and this would add 3 MB"):
        await house.copies.copy(ann, copy(project_id, project_id, target_path="twice"))
    assert not (home / "twice").exists()


async def test_no_project_begins_with_more_than_it_may_have(house: House, ann: Principal, bob: Principal) -> None:
    project_id, _ = await with_data(house, ann, DISK_MB + 1, run_quota={"disk_quota": 1000})
    await house.ask(ann, {"public_paths": {"project_id": project_id, "path": "data"}})
    rows = await house.ask(ann, {"public_paths": [{"project_id": project_id, "id": None, "path": "data"}]})
    with pytest.raises(LimitError, match=f"disk quota of {DISK_MB} MB.*no project was made"):
        await house.creation.create(bob, CreateProject(public_path_id=rows["public_paths"][0]["id"]))
    async with house.store.read() as tx:
        assert await tx.projects.count() == 1
    assert sorted(os.listdir(house.directory / "projects")) == sorted([".unfinished", project_id])
    assert os.listdir(house.directory / "projects/.unfinished") == []
