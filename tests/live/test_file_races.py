"""Reads, writes and deletions while a hostile project swaps directories for symlinks to the outside."""

from __future__ import annotations

import contextlib
import io
import tarfile
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from projecthub.errors import HubError
from projecthub.files import trash, views
from projecthub.files.changes import Dress, Home, StagedFile, rename
from projecthub.files.packing import packed
from projecthub.files.paths import DIRECTORY, open_beneath
from projecthub.files.places import closing, opened_home, told
from projecthub.files.unpacking import Unpacking
from tests.live.test_copy_races import SWAP, child, fingerprint

RACE_S = 1.5
SECRET = "SECRET"


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """A home in which ``dir`` is swapped with a symlink to a directory outside that looks the same."""
    for where, text in (("outside", SECRET), ("project/home/dir", "inside")):
        (tmp_path / where / "deep").mkdir(parents=True)
        for name in ("f", "deep/g"):
            (tmp_path / where / name).write_text(text)
    (tmp_path / "project/home/link").symlink_to(tmp_path / "outside")
    return Home(tmp_path / "project/home", None, ("/home/user",))


def test_nothing_outside_is_read_or_changed(home: Home, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    before = fingerprint(outside)
    done = 0
    with child(SWAP, home.path / "dir", home.path / "link"):
        deadline = time.monotonic() + RACE_S
        while time.monotonic() < deadline:
            for work in (_read, _list, _write, _move, _throw_away, _discard):
                with contextlib.suppress(HubError):
                    work(home)
                    done += 1
    assert fingerprint(outside) == before
    assert done > 100


def _read(home: Home) -> None:
    with opened_home(home.path) as fd:
        assert SECRET not in views.read_text(fd, "dir/f", 100)


def _list(home: Home) -> None:
    with opened_home(home.path) as fd:
        list(views.entries_of(fd, "dir", hidden=True))


def _write(home: Home) -> None:
    for path in ("dir/f", "dir/deep/g", "dir/new/h"):
        staged = StagedFile(home)
        try:
            staged.write(b"written")
            staged.place(path, Dress(), lambda before: False)
        finally:
            staged.close()


def _move(home: Home) -> None:
    with opened_home(home.path) as fd:
        rename(fd, "dir/new", "dir/moved")


def _throw_away(home: Home) -> None:
    trash.throw_away(home, "dir/moved", by="a", at=datetime.now(UTC))


def _discard(home: Home) -> None:
    trash.discard(home, "dir/deep/g")
    trash.discard(home, "dir/new")


def test_archives_of_what_is_swapped(home: Home, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    before = fingerprint(outside)
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as tar:
        for name in ("dir/f", "dir/deep/g", "dir/new/h"):
            tar.addfile(tarfile.TarInfo(name))
    archive = tmp_path / "archive"
    archive.write_bytes(content.getvalue())
    done = 0
    with child(SWAP, home.path / "dir", home.path / "link"), archive.open("rb") as file:
        deadline = time.monotonic() + RACE_S
        while time.monotonic() < deadline:
            for path in ("", "dir", "dir/deep"):
                with contextlib.suppress(HubError):
                    assert SECRET.encode() not in _pack(home, path)
                    done += 1
            for path in ("", "dir", "dir/more"):
                with contextlib.suppress(HubError):
                    for _ in Unpacking(home, path, lambda size: None).steps(file.fileno(), "tar"):
                        pass
                    done += 1
    assert fingerprint(outside) == before
    assert done > 50


def _pack(home: Home, path: str) -> bytes:
    with (
        told(path),
        opened_home(home.path) as fd,
        closing(open_beneath(fd, path, DIRECTORY, follow=True)) as directory,
    ):
        return b"".join(packed(directory, "tar", whole_home=False))
