from __future__ import annotations

import os
import subprocess
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from uuid import uuid4

import anyio
import pytest
from two_homes import write

from projecthub.files.disk import DiskGauge, MeasuredHomes
from projecthub.files.scans import HomeScan
from projecthub.files.space import Disk
from projecthub.wire.ids import ProjectId


def du(home: Path) -> int:
    answer = subprocess.run(["du", "-s", "--block-size=1", home], check=True, capture_output=True, text=True)
    return int(answer.stdout.split()[0])


class HeldExecutor(ThreadPoolExecutor):
    """Runs work when it is let go, and counts it."""

    def __init__(self) -> None:
        super().__init__(1)
        self.gate = threading.Event()
        self.walks = 0

    def submit(self, work, /, *arguments, **named) -> Future:  # type: ignore[no-untyped-def, type-arg]
        self.walks += 1

        def held() -> object:
            assert self.gate.wait(10)
            return work(*arguments, **named)

        return super().submit(held)


class Hand:
    """A clock that is turned by hand."""

    def __init__(self) -> None:
        self.at = 100.0

    def __call__(self) -> float:
        return self.at


@pytest.fixture
def home(tmp_path: Path) -> Path:
    write(tmp_path / "home/f", os.urandom(100_000))
    return tmp_path / "home"


async def test_a_gauge_waits_once_and_is_never_held_up_again(home: Path) -> None:
    now = Hand()
    with HeldExecutor() as executor:
        gauge = DiskGauge(HomeScan(home, now), executor, now)
        executor.gate.set()
        first = await gauge.read(0.001)
        assert (first.used_bytes, first.age_s) == (du(home), 0)
        now.at += 2
        assert (await gauge.read(0.001)).used_bytes == first.used_bytes
        assert executor.walks == 1

        write(home / "g", os.urandom(100_000))
        now.at += 3
        executor.gate.clear()
        began = time.monotonic()
        assert [(await gauge.read(0.001)).used_bytes for _ in range(3)] == [first.used_bytes] * 3
        assert (await gauge.read(0.001)).age_s == 5
        assert time.monotonic() - began < 1
        assert executor.walks == 2, "one look at a time"
        executor.gate.set()
        assert (await gauge.read(5)).used_bytes == du(home) > first.used_bytes


async def test_an_old_figure_is_waited_for_a_little_longer(home: Path) -> None:
    now = Hand()
    with ThreadPoolExecutor(1) as executor:
        gauge = DiskGauge(HomeScan(home, now), executor, now)
        await gauge.read(0)
        write(home / "g", os.urandom(100_000))
        now.at += 61
        assert (await gauge.read(0)).used_bytes == du(home)


async def test_a_recent_figure_and_one_of_now(home: Path) -> None:
    now = Hand()
    with HeldExecutor() as executor:
        executor.gate.set()
        gauge = DiskGauge(HomeScan(home, now), executor, now)
        first = await gauge.read_recent()
        write(home / "g", os.urandom(100_000))
        now.at += 59
        assert (await gauge.read_recent()).used_bytes == first.used_bytes
        assert executor.walks == 1
        assert (await gauge.read_now()).used_bytes == du(home)
        write(home / "h", os.urandom(100_000))
        now.at += 61
        assert (await gauge.read_recent()).used_bytes == du(home)


async def test_a_look_at_each_file_sees_those_that_grow_in_place(home: Path) -> None:
    now = Hand()
    os.utime(home, (1, 1))
    scan = HomeScan(home, now, unsure_s=0)
    with HeldExecutor() as executor:
        executor.gate.set()
        gauge = DiskGauge(scan, executor, now)
        first = await gauge.read_recent()
        with (home / "f").open("ab") as file:
            file.write(os.urandom(1_000_000))
        now.at += 1  # the budget of an ordinary look is a twentieth of that, and its clock stands still
        scan._ends = now.at
        write(home / "d/g", os.urandom(100_000))
        assert (await gauge.read_fresh()).used_bytes >= first.used_bytes + 100_000
        assert (await gauge.read_whole()).used_bytes == du(home)
        assert executor.walks <= 3


async def test_fresh_figures_take_a_small_share_of_a_core(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now, at = Hand(), [0.0]

    def counter() -> float:
        at[0] += 0.5
        return at[0]

    monkeypatch.setattr(time, "perf_counter", counter)  # a look takes half a second
    with HeldExecutor() as executor:
        executor.gate.set()
        gauge = DiskGauge(HomeScan(home, now), executor, now)
        await gauge.read_whole()
        for _ in range(10):
            now.at += 0.9
            await gauge.read_fresh()
            await gauge.read_whole()
        assert executor.walks == 1
        now.at += 1.1
        await gauge.read_whole()
        assert executor.walks == 2


async def test_a_figure_of_now_is_not_that_of_a_look_under_way(home: Path) -> None:
    with HeldExecutor() as executor:
        gauge = DiskGauge(HomeScan(home), executor)
        async with anyio.create_task_group() as group:
            group.start_soon(gauge.read_recent)
            await anyio.sleep(0)
            group.start_soon(gauge.read_now)
            await anyio.sleep(0)
            executor.gate.set()
        assert executor.walks == 2


async def test_readers_of_an_unknown_home_wait_for_one_look(home: Path) -> None:
    answers: list[int] = []
    with HeldExecutor() as executor:
        gauge = DiskGauge(HomeScan(home), executor)

        async def read() -> None:
            answers.append((await gauge.read(0)).used_bytes)

        async with anyio.create_task_group() as group:
            for _ in range(3):
                group.start_soon(read)
            with anyio.move_on_after(0):  # who goes away takes nothing from the others
                await gauge.read(0)
            executor.gate.set()
        assert executor.walks == 1
    assert answers == [du(home)] * 3


async def test_a_home_that_comes_into_being_is_seen_at_once(tmp_path: Path) -> None:
    with ThreadPoolExecutor(1) as executor:
        gauge = DiskGauge(HomeScan(tmp_path / "home"), executor)
        assert (await gauge.read(0.005)).used_bytes == 0
        write(tmp_path / "home/f")
        assert (await gauge.read(0.005)).used_bytes == du(tmp_path / "home")


async def test_looks_take_a_small_share_of_a_core(home: Path) -> None:
    """Each look is followed by a rest of nineteen times its length, and no less than three seconds."""
    now = Hand()

    class Slow(HomeScan):
        def look(self, budget_s: float):  # type: ignore[no-untyped-def]
            began = time.perf_counter()
            while time.perf_counter() - began < 0.2:
                pass
            yield from super().look(budget_s)

    with HeldExecutor() as executor:
        executor.gate.set()
        gauge = DiskGauge(Slow(home, now), executor, now)
        await gauge.read(0)
        now.at += 3.9
        await gauge.read(1)
        assert executor.walks == 1
        now.at += 6
        await gauge.read(1)
        assert executor.walks == 2


async def test_scans_take_turns(tmp_path: Path) -> None:
    """A large home that is looked at for the first time does not hold up a small one."""
    large, small = tmp_path / "large", tmp_path / "small"
    for number in range(20_000):
        write(large / f"{number % 40}/{number}", "")
    write(small / "f")
    homes = MeasuredHomes(Disk(tmp_path))
    ended: list[str] = []

    async def read(home: Path) -> None:
        await homes.get(ProjectId(str(uuid4())), home).gauge.read(0)
        ended.append(home.name)

    async with anyio.create_task_group() as group:
        group.start_soon(read, large)
        await anyio.sleep(0)
        group.start_soon(read, small)
    assert ended == ["small", "large"]


async def test_what_scans_remember_is_bounded(tmp_path: Path) -> None:
    homes = MeasuredHomes(Disk(tmp_path), max_directories=25)
    measured = []
    for name in ("one", "two", "three"):
        for number in range(9):
            write(tmp_path / name / str(number) / "f")
        measured.append(homes.get(ProjectId(str(uuid4())), tmp_path / name))
        await measured[-1].gauge.read(0)
    assert [home.scan.directories for home in measured] == [0, 10, 10]
    for number in range(30):
        write(tmp_path / "two" / f"more{number}" / "f")
    assert (await measured[1].gauge.read_now()).used_bytes == du(tmp_path / "two")
    assert [home.scan.directories for home in measured] == [0, 0, 10]
    assert (await measured[1].gauge.read_now()).used_bytes == du(tmp_path / "two")
