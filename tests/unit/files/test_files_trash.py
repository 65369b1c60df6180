from __future__ import annotations

import errno
import json
import os
from datetime import UTC, datetime
from pathlib import Path

import pytest

from projecthub.errors import HubError, InvalidArgument
from projecthub.files import SEEN_HOME, Home, trash

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
ANN = "00000000-0000-4000-8000-00000000000a"


@pytest.fixture
def home(tmp_path: Path) -> Home:
    path = tmp_path / "project" / "home"
    path.mkdir(parents=True)
    return Home(path, None, (SEEN_HOME,))


def thrown_away(home: Home, path: str) -> trash.TrashItem:
    item = trash.throw_away(home, path, by=ANN, at=NOW)
    assert item is not None
    return item


@pytest.mark.parametrize("failing_sync", [1, 2])
def test_what_fails_after_the_move_into_the_trash_loses_nothing(
    home: Home, monkeypatch: pytest.MonkeyPatch, failing_sync: int
) -> None:
    (home.path / "d").mkdir()
    (home.path / "d" / "f").write_text("kept")
    syncs = 0

    def failing(fd: int) -> None:
        nonlocal syncs
        syncs += 1
        if syncs == failing_sync:
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", failing)
        with pytest.raises(HubError, match="takes no writes"):
            trash.throw_away(home, "d", by=ANN, at=NOW)
    assert (home.path / "d" / "f").read_text() == "kept"
    assert list((home.path / trash.TRASH).iterdir()) == []


def test_what_cannot_go_back_is_kept_in_the_trash(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    (home.path / "f").write_text("kept")

    def failing(fd: int) -> None:
        (home.path / "f").write_text("new")
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", failing)
        with pytest.raises(HubError):
            trash.throw_away(home, "f", by=ANN, at=NOW)
    (item,) = trash.items_of(home)
    assert trash.restore(home, item.id, "back") == "back"
    assert ((home.path / "f").read_text(), (home.path / "back").read_text()) == ("new", "kept")


@pytest.mark.parametrize(
    "target", ["{trash}/{id}/content2", "{trash}/{id}/content/in", "{trash}/x", "to-item/x", "to-trash/x/y"]
)
def test_nothing_is_restored_into_the_trash(home: Home, target: str) -> None:
    (home.path / "d").mkdir()
    (home.path / "d" / "f").write_text("kept")
    item = thrown_away(home, "d")
    (home.path / "to-trash").symlink_to(trash.TRASH)
    (home.path / "to-item").symlink_to(f"{trash.TRASH}/{item.id}")
    with pytest.raises(InvalidArgument, match="is in the trash"):
        trash.restore(home, item.id, target.format(trash=trash.TRASH, id=item.id))
    assert trash.restore(home, item.id, None) == "d"
    assert (home.path / "d" / "f").read_text() == "kept"


def test_what_a_project_puts_beside_a_content_is_not_deleted_with_a_restored_one(home: Home) -> None:
    (home.path / "f").write_text("f")
    item = thrown_away(home, "f")
    beside = home.path / trash.TRASH / item.id / "mine"
    beside.write_text("mine")
    trash.restore(home, item.id, None)
    assert beside.read_text() == "mine"


@pytest.mark.parametrize(
    "field", [{"deleted_by": "\ud800"}, {"deleted_by": "ann"}, {"bytes": 10**30}, {"path": "\ud800"}]
)
def test_a_record_that_cannot_be_told_is_none(home: Home, field: dict[str, object]) -> None:
    (home.path / "f").touch()
    item = thrown_away(home, "f")
    record = home.path / trash.TRASH / item.id / "record.json"
    assert [each.id for each in trash.items_of(home)] == [item.id]
    record.write_text(json.dumps({**json.loads(record.read_text()), **field}))
    assert trash.items_of(home) == []


def test_a_trash_of_very_many_things_is_read_up_to_a_limit(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trash, "MAX_ITEMS", 20)
    (home.path / "f").touch()
    item = thrown_away(home, "f")
    top = home.path / trash.TRASH
    record = (top / item.id / "record.json").read_text()
    for number in range(trash.MAX_ITEMS):
        forged = top / f"{number:013}-00000000"
        forged.mkdir()
        (forged / "content").touch()
        (forged / "record.json").write_text(record)
    assert len(trash.items_of(home)) == trash.MAX_ITEMS
