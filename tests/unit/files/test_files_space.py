from __future__ import annotations

import os
import threading
import time
from pathlib import Path

import pytest

from projecthub.errors import LimitError
from projecthub.files.space import Disk, HomeSpace
from projecthub.wire.ids import ProjectId

PROJECT = ProjectId("00000000-0000-4000-8000-000000000001")
MB = 1_000_000
QUOTA = 100 * MB


@pytest.fixture
def space(tmp_path: Path) -> HomeSpace:
    space = HomeSpace(PROJECT, Disk(tmp_path))
    space.measured(60 * MB, time.monotonic())
    return space


def test_what_fits_is_allowed_and_no_more(space: HomeSpace) -> None:
    space.allow(40 * MB, 0, QUOTA).close()
    with pytest.raises(LimitError) as refused:
        space.allow(40 * MB + 1, 0, QUOTA)
    assert refused.value.message == (
        f"project '{PROJECT}' takes 60 MB of its disk quota of 100 MB, and this would add 41 MB; "
        "delete something in it, or ask for a larger quota"
    )
    assert refused.value.details == {"used_bytes": 60 * MB, "quota_bytes": QUOTA, "needed_bytes": 40 * MB + 1}


def test_what_is_freed_counts(space: HomeSpace) -> None:
    space.allow(70 * MB, 30 * MB, QUOTA)
    with pytest.raises(LimitError):
        space.allow(70 * MB, 70 * MB - 1, QUOTA)


def test_a_full_home_takes_what_makes_it_no_larger(space: HomeSpace) -> None:
    space.measured(200 * MB, time.monotonic())
    space.allow(0, 0, QUOTA)
    space.allow(5 * MB, 5 * MB, QUOTA)
    with pytest.raises(LimitError, match="takes 200 MB of its disk quota of 100 MB"):
        space.allow(1, 0, QUOTA)


def test_copies_under_way_are_reckoned_with(space: HomeSpace) -> None:
    first = space.allow(30 * MB, 0, QUOTA)
    with pytest.raises(LimitError, match="takes 90 MB, with copies that are under way, of"):
        space.allow(30 * MB, 0, QUOTA)
    first.close()
    space.allow(30 * MB, 0, QUOTA)


def test_what_was_written_counts_until_it_is_measured(space: HomeSpace) -> None:
    first = space.allow(30 * MB, 0, QUOTA)
    first.take(25 * MB)
    began = time.monotonic()
    first.close()
    with pytest.raises(LimitError, match="takes 85 MB of"):
        space.allow(30 * MB, 0, QUOTA)
    space.measured(60 * MB, began - 1)
    with pytest.raises(LimitError, match="takes 85 MB of"):
        space.allow(30 * MB, 0, QUOTA)  # that look may have seen the home before it was written
    space.measured(61 * MB, time.monotonic())
    space.allow(30 * MB, 0, QUOTA)


def test_a_source_that_grows_is_followed_as_far_as_there_is_room(space: HomeSpace) -> None:
    allowance = space.allow(10 * MB, 0, QUOTA)
    for _ in range(4):
        allowance.take(10 * MB)
    with pytest.raises(LimitError, match="this would add 1 MB"):
        allowance.take(1)


def test_no_quota_is_no_limit(space: HomeSpace) -> None:
    space.allow(10**15, 0, None)


def test_many_at_once_never_exceed_it(space: HomeSpace) -> None:
    start, allowed = threading.Barrier(8), []

    def copy() -> None:
        start.wait(10)
        for _ in range(20):
            try:
                allowed.append(space.allow(MB, 0, QUOTA))
                allowed[-1].take(MB)
            except LimitError:
                pass

    threads = [threading.Thread(target=copy) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(allowed) == 40


def test_how_much_of_the_room_is_taken_since_it_was_measured(space: HomeSpace) -> None:
    assert space.share_of_room(10 * MB, QUOTA) == 0.25
    assert space.share_of_room(1, 10 * MB) > 1
    open_one = space.allow(10 * MB, 2 * MB, QUOTA)
    assert space.share_of_room(2 * MB, QUOTA) == 0.25
    open_one.take(10 * MB)
    open_one.close()
    assert space.share_of_room(2 * MB, QUOTA) == 0.25, "what copies have written is known, but not measured"
    space.measured(68 * MB, time.monotonic() + 1)
    assert space.share_of_room(2 * MB, QUOTA) == 2 / 32


def test_a_disk_keeps_something_free(tmp_path: Path) -> None:
    disk = Disk(tmp_path / "not made yet")
    status = os.statvfs(tmp_path)
    spare = disk.spare_bytes()
    assert 0 < spare <= status.f_bavail * status.f_frsize
    disk.require_spare(0, "this copy")
    disk.require_least()
    with pytest.raises(LimitError, match=r"^the hub's disk is full: this copy needs \d+ MB and \d+ MB is left"):
        disk.require_spare(2 * spare, "this copy")
