from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path

import pytest

from projecthub.errors import LimitError
from projecthub.files import views


@pytest.fixture
def home_fd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    monkeypatch.setattr(views, "MAX_COUNTED", 10)  # to make thousands of files takes seconds
    monkeypatch.setattr(views, "MAX_COUNTED_IN_LISTING", 100)
    fd = os.open(tmp_path, os.O_RDONLY)
    yield fd
    os.close(fd)


def fill(directory: Path, count: int) -> None:
    directory.mkdir()
    for number in range(count):
        (directory / str(number)).touch()


def test_a_large_directory_is_counted_up_to_a_limit(tmp_path: Path, home_fd: int) -> None:
    fill(tmp_path / "large", views.MAX_COUNTED + 1)
    fill(tmp_path / "small", 3)
    large, small = views.entries_of(home_fd, "", hidden=False)
    assert (large.size, small.size) == (views.MAX_COUNTED, 3)
    assert views.entry_at(home_fd, "large").size == views.MAX_COUNTED


def test_what_symlinks_to_one_directory_cost_is_bounded(tmp_path: Path, home_fd: int) -> None:
    fill(tmp_path / "large", views.MAX_COUNTED)
    for number in range(15):
        (tmp_path / f"link{number:02}").symlink_to("large")
    entries = list(views.entries_of(home_fd, "", hidden=False))
    assert all(entry.isdir for entry in entries)
    counted = [entry for entry in entries if entry.error is None]
    assert sum(entry.size for entry in counted) == views.MAX_COUNTED_IN_LISTING
    assert {(entry.size, entry.error) for entry in entries[10:]} == {(0, "too many entries in this listing to count")}


def test_only_a_page_is_looked_at(tmp_path: Path, home_fd: int) -> None:
    for name in ("a", "b", "c", "d"):
        fill(tmp_path / name, 2)
    page = islice(views.entries_of(home_fd, "", hidden=False, after="a"), 2)
    assert [entry.name for entry in page] == ["b", "c"]


@pytest.mark.parametrize("seconds", [2**33, 2**40, -(2**40)])
def test_a_time_that_no_calendar_has_is_told_as_the_nearest(tmp_path: Path, seconds: int) -> None:
    status = list(os.stat(tmp_path))
    odd = os.stat_result([*status, 0.0, 0.0, 0.0, 0, seconds * 10**9, 0])
    told = datetime.fromtimestamp(views.mtime_of(odd), UTC)
    assert told.year == {2**33: 2242, 2**40: 9999, -(2**40): 1}[seconds]


def test_very_many_names_are_told_in_their_order(tmp_path: Path, home_fd: int) -> None:
    fill(tmp_path / "many", 10_000)
    names = [entry.name for entry in views.entries_of(home_fd, "many", hidden=False)]
    assert names == sorted(map(str, range(10_000)))
    assert [entry.name for entry in views.entries_of(home_fd, "many", hidden=False, after="9998")] == ["9999"]
    with pytest.raises(LimitError, match="9999 entries"):
        next(views.entries_of(home_fd, "many", hidden=False, most=9999))
