from __future__ import annotations

import os
import threading
from typing import cast

import anyio
import pytest
from house import House
from starlette.requests import Request

from projecthub.api.native import downloads
from projecthub.api.native.callers import Visitor
from projecthub.api.services import Services
from projecthub.errors import InvalidArgument
from projecthub.hub.files import MAX_SUMMED_BYTES, Files
from projecthub.hub.principals import Principal
from projecthub.hub.trash import Trash
from projecthub.hub.workplaces import Workplaces

pytestmark = pytest.mark.anyio


@pytest.fixture
def workplaces(house: House) -> Workplaces:
    return Workplaces(house.store, house.homes, house.calls, house.clock)


async def test_one_project_does_not_hold_the_threads_of_all(
    house: House, workplaces: Workplaces, ann: Principal
) -> None:
    one, other = [await workplaces.home(ann, await house.row(await house.project(ann))) for _ in range(2)]
    end, running, most = threading.Event(), 0, 0
    lock = threading.Lock()

    def long() -> None:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        end.wait(20)
        with lock:
            running -= 1

    async with anyio.create_task_group() as group:
        for _ in range(12):
            group.start_soon(workplaces.run, one, long)
        try:
            with anyio.fail_after(10):
                while most < 2:
                    await anyio.sleep(0.005)
                assert await workplaces.run(other, lambda: "done") == "done"
        finally:
            end.set()
    assert most == 2


async def test_one_call_names_at_most_a_thousand_paths(house: House, workplaces: Workplaces, ann: Principal) -> None:
    project = await house.row(await house.project(ann))
    files, trash = Files(workplaces), Trash(workplaces)
    paths = ["nothing"] * 1001
    with pytest.raises(InvalidArgument, match="1001 paths are too many for one call; name at most 1000"):
        await files.canonical_paths(ann, project, paths)
    with pytest.raises(InvalidArgument, match="too many"):
        await files.move(ann, project, paths, "")
    with pytest.raises(InvalidArgument, match="too many"):
        await trash.delete(ann, project, paths)
    assert await files.canonical_paths(ann, project, paths[1:]) == paths[1:]


async def test_a_checksum_is_of_what_was_opened_and_of_nothing_too_large(
    house: House, workplaces: Workplaces, ann: Principal
) -> None:
    project = await house.row(await house.project(ann))
    files = Files(workplaces)
    path = (await workplaces.home(ann, project)).path / "f"
    path.write_bytes(b"abc")
    file = await files.open(ann, project, "f")
    before = await files.sha256(file)
    with path.open("ab") as more:
        more.write(b"def")
    assert await files.sha256(file) == before
    os.close(file.fd)
    os.truncate(path, MAX_SUMMED_BYTES + 1)
    file = await files.open(ann, project, "f")
    assert await files.sha256(file) is None
    os.close(file.fd)


async def test_a_file_whose_answer_fails_is_closed_once(house: House, workplaces: Workplaces, ann: Principal) -> None:
    project = await house.row(await house.project(ann))
    files = Files(workplaces)
    ((await workplaces.home(ann, project)).path / "f").write_bytes(b"abc")
    file = await files.open(ann, project, "f")
    file.etag = '"no header takes this: \u20ac"'
    request = Request({"type": "http", "method": "HEAD", "headers": []})
    with pytest.raises(UnicodeEncodeError):
        await downloads.answer(request, files, file, "f", Visitor(None, cast("Services", house)))
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(file.fd)
