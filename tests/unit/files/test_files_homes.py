from __future__ import annotations

import asyncio
import os
import stat
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from two_homes import NOBODY, TwoHomes, tree, write

from projecthub.errors import CallTimeout, InvalidArgument, LimitError
from projecthub.files import CopyOptions, CopySummary, Homes
from projecthub.files.plans import Course
from projecthub.files.space import Disk, HomeSpace
from projecthub.files.staging import is_empty
from projecthub.wire.ids import ProjectId

ONE = ProjectId("a11a0000-0000-4000-8000-000000000001")  # fixed: it stands in names of tests
OTHER = ProjectId("b22b0000-0000-4000-8000-000000000002")


@pytest.fixture
def homes(tmp_path: Path) -> Iterator[Homes]:
    made = Homes(tmp_path / "projects")
    yield made
    made.close()


async def test_a_home_is_made_once(homes: Homes) -> None:
    home = await homes.ensure(ONE, uid=None)
    assert home == homes.path(ONE)
    assert stat.S_IMODE(home.stat().st_mode) == 0o700
    assert set(tree(home)) == {".bashrc", ".profile", ".bash_profile"}
    (home / ".bashrc").unlink()
    write(home / ".profile", "mine")
    await homes.ensure(ONE, uid=None)
    assert tree(home)[".profile"] == "mine"
    assert not (home / ".bashrc").exists()
    assert os.listdir(home.with_name("staging")) == []
    assert stat.S_IMODE(home.with_name("staging").stat().st_mode) == 0o700


async def test_the_first_files_work_in_bash(homes: Homes) -> None:
    home = await homes.ensure(ONE, uid=None)
    shell = subprocess.run(
        ["bash", "--login", "-i", "-c", "alias ll; echo $PATH"],
        env={"HOME": str(home), "PATH": "/usr/bin:/bin"},
        check=True,
        capture_output=True,
        text=True,
        start_new_session=True,
    )
    assert "alias ll='ls -l'" in shell.stdout
    assert f"{home}/.local/bin:" in shell.stdout


async def test_a_home_has_its_owner(homes: Homes) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root gives files to others")
    home = await homes.ensure(ONE, uid=NOBODY)
    for path in (home, *home.iterdir()):
        assert (path.stat().st_uid, path.stat().st_gid) == (NOBODY, NOBODY)
    assert home.with_name("staging").stat().st_uid == 0


async def test_homes_are_made_at_the_same_time_by_many(homes: Homes, tmp_path: Path) -> None:
    others = [Homes(tmp_path / "projects") for _ in range(4)]
    found = await asyncio.gather(*(each.ensure(ONE, uid=None) for each in (homes, *others) for _ in range(3)))
    assert set(found) == {homes.path(ONE)}
    assert len(tree(homes.path(ONE))) == 3


async def test_ensure_removes_what_a_killed_copy_left(homes: Homes) -> None:
    home = await homes.ensure(ONE, uid=None)
    write(home.with_name("staging") / "killed/1/f")
    await homes.ensure(ONE, uid=None)
    assert os.listdir(home.with_name("staging")) == []


@pytest.mark.parametrize("project_id", ["", "..", "../..", "/etc", f"{ONE}/..", f"{ONE}\n", "x" * 36])
def test_what_is_no_project_id_has_no_path(homes: Homes, project_id: str) -> None:
    with pytest.raises(InvalidArgument, match="uuid"):
        homes.path(ProjectId(project_id))


async def test_disk_use(homes: Homes) -> None:
    assert (await homes.disk_use(ONE)).used_bytes == 0
    home = await homes.ensure(ONE, uid=None)
    write(home / "f", os.urandom(1_000_000))
    assert 1_000_000 <= (await homes.disk_use(ONE)).used_bytes < 1_100_000


async def copy(homes: Homes, options: CopyOptions | None = None) -> None:
    await homes.copy(
        src_project_id=ONE,
        src_path="src",
        target_project_id=OTHER,
        target_path="dst",
        options=options or CopyOptions(),
        uid=None,
    )


async def test_a_copy_between_projects(homes: Homes) -> None:
    write(await homes.ensure(ONE, uid=None) / "src/f", "1")
    await homes.ensure(OTHER, uid=None)
    await copy(homes)
    assert tree(homes.path(OTHER))["dst/f"] == "1"


async def test_the_event_loop_runs_on_during_a_copy(homes: Homes) -> None:
    source = await homes.ensure(ONE, uid=None) / "src"
    await homes.ensure(OTHER, uid=None)
    for number in range(1000):
        write(source / str(number % 10) / str(number))
    copying = asyncio.create_task(copy(homes))
    turns = 0
    while not copying.done():
        await asyncio.sleep(0.001)
        turns += 1
    await copying
    assert turns > 5


async def test_a_cancelled_copy_ends_and_leaves_nothing(homes: Homes) -> None:
    source = await homes.ensure(ONE, uid=None) / "src"
    target = await homes.ensure(OTHER, uid=None)
    (target / "dst").mkdir()
    for number in range(3000):
        write(source / str(number), "x" * 1000)
    copying = asyncio.create_task(copy(homes))
    while is_empty(target.with_name("copies")):
        assert not copying.done()
        await asyncio.sleep(0.001)
    began = time.monotonic()
    copying.cancel()
    with pytest.raises(asyncio.CancelledError):
        await copying
    assert time.monotonic() - began < 1
    assert os.listdir(target.with_name("staging")) == []
    assert is_empty(target.with_name("copies"))
    assert tree(target / "dst") == {}
    await copy(homes)
    assert len(tree(target / "dst")) == 3000


async def test_a_copy_that_waits_for_its_turn_is_bounded_too(homes: Homes) -> None:
    write(await homes.ensure(ONE, uid=None) / "src/f", "1")
    await homes.ensure(OTHER, uid=None)
    with pytest.raises(CallTimeout):
        await copy(homes, CopyOptions(timeout_s=0.0))


# Quotas


async def copy_within(
    homes: Homes, quota_bytes: int, path: str = "src", target_path: str = "dst", **options: Any
) -> CopySummary:
    """Copy between two projects, the target being held to a quota."""
    return await homes.copy(
        src_project_id=ONE,
        src_path=path,
        target_project_id=OTHER,
        target_path=target_path,
        options=CopyOptions(**options),
        uid=None,
        quota_bytes=quota_bytes,
    )


@pytest.mark.parametrize("grows", [False, True])
async def test_what_a_project_writes_between_two_copies_counts(homes: Homes, grows: bool) -> None:
    home = homes.path(OTHER)
    write(home / "own/data", "1")
    write(homes.path(ONE) / "small", "1")
    write(homes.path(ONE) / "large", os.urandom(1_500_000))
    await copy_within(homes, 4_000_000, "small", "small")
    await asyncio.sleep(0.1)
    with (home / "own" / ("data" if grows else "more")).open("ab") as file:
        file.write(os.urandom(3_000_000))
    with pytest.raises(LimitError, match="of its disk quota of 4 MB"):
        await copy_within(homes, 4_000_000, "large", "large")
    assert not (home / "large").exists()


async def test_a_copy_that_exceeds_the_quota_changes_nothing(homes: Homes) -> None:
    source, target = await homes.ensure(ONE, uid=None), await homes.ensure(OTHER, uid=None)
    write(source / "src/large", os.urandom(3_000_000))
    for place in ("", "dst/there"):
        if place:
            write(target / place)
        before = tree(target)
        with pytest.raises(LimitError, match=f"project '{OTHER}' takes 1 MB of its disk quota of 2 MB, .* add 4 MB"):
            await copy_within(homes, 2_000_000)
        assert tree(target) == before
        assert os.listdir(target.with_name("staging")) == []
    assert (await copy_within(homes, 4_000_000)).files == 1
    assert (await copy_within(homes, 2_000_000)).unchanged == 1, "a copy that adds nothing is no matter of quotas"


async def test_room_that_was_just_made_counts_and_what_was_just_copied_too(homes: Homes) -> None:
    source, target = await homes.ensure(ONE, uid=None), await homes.ensure(OTHER, uid=None)
    write(source / "src/large", os.urandom(3_000_000))
    write(target / "ballast", os.urandom(3_000_000))
    with pytest.raises(LimitError):
        await copy_within(homes, 5_000_000)
    (target / "ballast").unlink()
    await copy_within(homes, 5_000_000)
    write(source / "src/large2", os.urandom(3_000_000))
    with pytest.raises(LimitError, match="takes 4 MB"):
        await copy_within(homes, 5_000_000)


async def test_what_is_deleted_by_the_copy_makes_room(homes: Homes) -> None:
    source, target = await homes.ensure(ONE, uid=None), await homes.ensure(OTHER, uid=None)
    write(source / "src/large", os.urandom(3_000_000))
    write(target / "dst/ballast", os.urandom(3_000_000))
    with pytest.raises(LimitError):
        await copy_within(homes, 5_000_000)
    assert (await copy_within(homes, 5_000_000, delete_missing=True)).deleted == 1


async def test_copies_at_the_same_time_do_not_exceed_it_together(homes: Homes) -> None:
    source = await homes.ensure(ONE, uid=None)
    await homes.ensure(OTHER, uid=None)
    for number in range(6):
        write(source / f"{number}", os.urandom(1_000_000))
    copies = (copy_within(homes, 3_500_000, f"{number}", f"{number}") for number in range(6))
    outcomes = await asyncio.gather(*copies, return_exceptions=True)
    assert sum(isinstance(outcome, LimitError) for outcome in outcomes) == 3
    assert (await homes.disk_use(OTHER)).used_bytes <= 3_500_000


class GrowingCourse(Course):
    """A source that grows as soon as the copy of it has begun."""

    def __init__(self, source: Path) -> None:
        super().__init__(None)
        self._source = source

    def charge(self, size: int) -> None:
        super().charge(size)
        write(self._source, os.urandom(3_000_000))


def test_a_source_that_grows_meanwhile_is_refused(tmp_path: Path) -> None:
    homes = TwoHomes(tmp_path / "one/home", tmp_path / "other/home")
    write(homes.one / "src/a")
    write(homes.one / "src/b")
    homes.other.mkdir(parents=True)
    space = HomeSpace(OTHER, Disk(tmp_path))
    course = GrowingCourse(homes.one / "src/b")
    allowance = space.allow(8192, 0, 2_000_000)
    course.take = allowance.take
    with pytest.raises(LimitError, match=r"project .* larger quota; nothing was changed"):
        homes.run(homes.one, "src", "src", course=course)
    allowance.close()
    assert tree(homes.other) == {}
