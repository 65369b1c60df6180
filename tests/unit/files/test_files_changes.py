from __future__ import annotations

import contextlib
from pathlib import Path

import pytest

from projecthub.errors import Conflict
from projecthub.files import SEEN_HOME, Home, making, trash
from projecthub.files.changes import Dress, StagedFile
from projecthub.files.changes import make_directory as make


@pytest.fixture
def home(tmp_path: Path) -> Home:
    path = tmp_path / "project" / "home"
    path.mkdir(parents=True)
    return Home(path, None, (SEEN_HOME,))


def write(home: Home, path: str) -> None:
    with contextlib.closing(StagedFile(home)) as staged:
        staged.place(path, Dress(), lambda before: False)


@pytest.mark.parametrize("path", ["dang/x", "dang/x/y"])
def test_a_write_through_a_dangling_symlink_leaves_it(home: Home, path: str) -> None:
    (home.path / "dang").symlink_to("nowhere")
    with pytest.raises(Conflict, match="leads through something that is no directory"):
        write(home, path)
    with pytest.raises(Conflict):
        make(home, path)
    assert (home.path / "dang").is_symlink()


def test_a_file_that_appears_in_the_place_of_a_directory_stays(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    rename = making.rename_to_free

    def late(source_fd: int, source: str, target_fd: int, target: str) -> None:
        (home.path / "d").write_text("mine")
        rename(source_fd, source, target_fd, target)

    monkeypatch.setattr(making, "rename_to_free", late)
    with pytest.raises(Conflict):
        write(home, "d/x")
    assert (home.path / "d").read_text() == "mine"


def test_a_dangling_symlink_in_the_place_of_the_trash_is_told(home: Home) -> None:
    (home.path / ".projecthub").symlink_to("nowhere")
    (home.path / "f").write_text("kept")
    with pytest.raises(Conflict, match="delete permanently"):
        trash.throw_away(home, "f", by="", at=trash.datetime.now(trash.UTC))
    assert (home.path / "f").read_text() == "kept"
