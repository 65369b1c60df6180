from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anyio
import pytest
from house import House

from projecthub.errors import CallTimeout, Conflict, LimitError, NotFound
from projecthub.files import uploads as kept
from projecthub.files.uploads import UploadPlan
from projecthub.hub.files import Files, gathered
from projecthub.hub.principals import Principal
from projecthub.hub.uploads import Uploads
from projecthub.hub.workplaces import Workplaces
from projecthub.store.records import Project

pytestmark = pytest.mark.anyio

MB = 1_000_000


class Place:
    """One project of Ann's, and what works on its files."""

    def __init__(self, workplaces: Workplaces, ann: Principal, project: Project, home: Path) -> None:
        self.uploads = Uploads(workplaces)
        self.files = Files(workplaces)
        self.workplaces = workplaces
        self.ann = ann
        self.project = project
        self.home = home

    async def killed_at_the_end(self, path: str, **plan: Any) -> str:
        """An upload of which all is there, by a hub that did not live to finish it."""
        upload = await self.uploads.begin(self.ann, self.project, UploadPlan(path=path, length=3, **plan))
        with kept.adding(await self.workplaces.home(self.ann, self.project), upload.id, 0) as (_, fd):
            os.write(fd, b"abc")
        return upload.id


@pytest.fixture
async def place(house: House, ann: Principal) -> Place:
    workplaces = Workplaces(house.store, house.homes, house.calls, house.clock)
    project = await house.row(await house.project(ann))
    return Place(workplaces, ann, project, (await workplaces.home(ann, project)).path)


async def parts(*pieces: bytes) -> AsyncIterator[bytes]:
    for piece in pieces:
        yield piece


async def test_to_ask_for_a_complete_upload_finishes_it(place: Place) -> None:
    upload_id = await place.killed_at_the_end("f")
    assert (await place.uploads.find(place.ann, place.project, upload_id)).offset == 3
    assert (place.home / "f").read_bytes() == b"abc"
    with pytest.raises(NotFound):
        await place.uploads.find(place.ann, place.project, upload_id)


async def test_to_ask_for_an_upload_that_is_being_finished_waits_for_nothing(place: Place) -> None:
    upload_id = await place.killed_at_the_end("f")
    with kept.adding(await place.workplaces.home(place.ann, place.project), upload_id, 3):
        assert (await place.uploads.find(place.ann, place.project, upload_id)).offset == 3
    assert not (place.home / "f").exists()


async def test_to_ask_for_an_upload_whose_place_is_taken_tells_so(place: Place) -> None:
    upload_id = await place.killed_at_the_end("f", exclusive=True)
    (place.home / "f").touch()
    with pytest.raises(Conflict):
        await place.uploads.find(place.ann, place.project, upload_id)


async def test_the_sweep_finishes_what_is_complete_and_one_odd_home_does_not_stop_it(
    house: House, place: Place, ann: Principal
) -> None:
    await place.killed_at_the_end("f")
    for name in ("00000000-0000-4000-8000-000000000000", "ffffffff-ffff-4fff-bfff-ffffffffffff"):
        odd = place.home.parent.with_name(name)
        odd.mkdir()
        (odd / "uploads").write_text("no directory")
        (odd / "home").write_text("no directory")
    await place.uploads.sweep()
    assert (place.home / "f").read_bytes() == b"abc"


async def test_a_sender_of_whom_nothing_comes_is_given_up() -> None:
    async def stuck() -> AsyncIterator[bytes]:
        yield b"first"
        await anyio.sleep_forever()

    with anyio.fail_after(10), pytest.raises(CallTimeout, match="nothing came for"):
        async for _ in gathered(stuck(), silence_s=0.01):
            pass


async def test_unfinished_uploads_take_of_the_quota(house: House, place: Place) -> None:
    ann, project = place.ann, place.project
    quota = house.homes.disk_quota_bytes(project.run_quota)
    upload = await place.uploads.begin(ann, project, UploadPlan(path="u", length=quota // 2))
    home = await place.workplaces.home(ann, project)
    os.truncate(home.path.parent / "uploads" / upload.id / "data", quota // 2 - MB)
    with pytest.raises(LimitError, match="of its disk quota"):
        await place.files.write(ann, project, "f", parts(b"x"), length=quota // 2 + 2 * MB)
    await place.uploads.cancel(ann, project, upload.id)
    allowance = await house.homes.reserve(project, quota // 2 + 2 * MB)
    allowance.close()


async def test_what_is_added_to_an_upload_counts_once(house: House, place: Place) -> None:
    ann, project = place.ann, place.project
    quota = house.homes.disk_quota_bytes(project.run_quota)
    upload = await place.uploads.begin(ann, project, UploadPlan(path="u", length=4 * MB))

    async def watched() -> AsyncIterator[bytes]:
        yield b"x" * (3 * MB)
        (await house.homes.reserve(project, quota - 5 * MB)).close()
        with pytest.raises(LimitError, match="takes 5 MB"):
            await house.homes.reserve(project, quota - 3 * MB)
        yield b"x" * MB

    await place.uploads.add(ann, project, upload.id, 0, watched())
    assert (place.home / "u").stat().st_size == 4 * MB
    with pytest.raises(LimitError, match="takes 5 MB"):
        await house.homes.reserve(project, quota - 3 * MB)


@pytest.mark.parametrize("names", [1, 2])
async def test_a_file_with_other_names_frees_nothing(house: House, place: Place, names: int) -> None:
    ann, project = place.ann, place.project
    quota = house.homes.disk_quota_bytes(project.run_quota)
    (place.home / "f").write_bytes(b"x" * (2 * MB))
    if names == 2:
        (place.home / "g").hardlink_to(place.home / "f")
    written = place.files.write(ann, project, "f", parts(b"x"), length=quota - MB)
    if names == 1:
        await written
    else:
        with pytest.raises(LimitError, match="of its disk quota"):
            await written
