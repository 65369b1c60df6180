from __future__ import annotations

import errno
import json
import os
from pathlib import Path
from typing import Any

import pytest
from house import House

from projecthub.errors import LimitError
from projecthub.hub.principals import Principal
from projecthub.hub.trash import Trash
from projecthub.hub.workplaces import Workplaces
from projecthub.store.records import Project

pytestmark = pytest.mark.anyio

FORGED = {"path": "x", "deleted_by": "00000000-0000-4000-8000-00000000000a", "bytes": 0}


@pytest.fixture
def workplaces(house: House) -> Workplaces:
    return Workplaces(house.store, house.homes, house.calls, house.clock)


@pytest.mark.parametrize("code", [errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EROFS, errno.EIO])
async def test_what_cannot_go_to_the_trash_for_now_is_not_deleted_for_good(
    house: House, workplaces: Workplaces, ann: Principal, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    project, home = await made(house, workplaces, ann)
    (home / "f").write_text("kept")
    with monkeypatch.context() as patch, pytest.raises(LimitError):
        fail_records(patch, code)
        await Trash(workplaces).delete(ann, project, ["f"])
    assert (home / "f").read_text() == "kept"


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
async def test_on_a_full_disk_files_are_deleted_for_good(
    house: House, workplaces: Workplaces, ann: Principal, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    project, home = await made(house, workplaces, ann)
    (home / "f").write_text("gone")
    with monkeypatch.context() as patch:
        fail_records(patch, code)
        assert await Trash(workplaces).delete(ann, project, ["f"]) == []
    assert not (home / "f").exists()


async def made(house: House, workplaces: Workplaces, owner: Principal) -> tuple[Project, Path]:
    """A project and its home."""
    project_id = await house.project(owner)
    project = await house.row(project_id)
    return project, (await workplaces.home(owner, project)).path


def fail_records(patch: pytest.MonkeyPatch, code: int) -> None:
    """Let the disk refuse what is written into the trash."""

    real = os.write

    def failing(fd: int, data: bytes) -> int:
        if b"deleted_by" in bytes(data):
            raise OSError(code, os.strerror(code))
        return real(fd, data)

    patch.setattr("projecthub.files.changes.os.write", failing)


async def test_on_a_full_disk_the_trash_is_emptied(
    house: House, workplaces: Workplaces, ann: Principal, monkeypatch: pytest.MonkeyPatch
) -> None:
    project, home = await made(house, workplaces, ann)
    trash = Trash(workplaces)
    (home / "f").write_text("f")
    await trash.delete(ann, project, ["f"])

    def full() -> Any:
        raise LimitError("the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(house.store, "write", full)
        assert (await trash.empty(ann, project))[0] == 1
    assert await trash.items(ann, project) == []


async def test_one_odd_home_does_not_stop_the_sweep(house: House, workplaces: Workplaces, ann: Principal) -> None:
    project, home = await made(house, workplaces, ann)
    (home / "f").write_text("f")
    await Trash(workplaces).delete(ann, project, ["f"])
    odd = home.parent.with_name("00000000-0000-4000-8000-000000000000")
    odd.mkdir()
    (odd / "home" / ".projecthub" / "trash" / "0000000000000-00000000").mkdir(parents=True)
    (odd / "staging").write_text("no directory")
    for name, text in (("content", ""), ("record.json", json.dumps(FORGED))):
        (odd / "home" / ".projecthub" / "trash" / "0000000000000-00000000" / name).write_text(text)
    house.clock.advance(days=31)
    await Trash(workplaces).sweep()
    assert list((home / ".projecthub" / "trash").iterdir()) == []
