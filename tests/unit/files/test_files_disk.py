from __future__ import annotations

import os
import subprocess
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import anyio
from two_homes import make_deep, write

from projecthub.files.disk import DiskGauge, used_bytes


def du(home: Path) -> int:
    answer = subprocess.run(["du", "-s", "--block-size=1", home], check=True, capture_output=True, text=True)
    return int(answer.stdout.split()[0])


def test_used_bytes_are_what_du_says(tmp_path: Path) -> None:
    home = tmp_path / "home"
    for number in range(50):
        write(home / f"d{number % 7}/e/{number}", os.urandom(number * 1000))
    with open(home / "sparse", "wb") as file:
        file.truncate(10_000_000)
    os.link(home / "d1/e/1", home / "again")
    os.link(home / "d6/e/48", home / "d1/again")
    (home / "link").symlink_to("/usr")
    (home / ("l" * 200)).symlink_to("x" * 200)
    os.mkfifo(home / "fifo")
    (home / "closed").mkdir(mode=0o000)
    assert used_bytes(home) == du(home) > 1_000_000


def test_used_bytes_of_a_home_that_is_not_there(tmp_path: Path) -> None:
    assert used_bytes(tmp_path / "home") == 0


def test_used_bytes_count_however_deep_they_lie(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    make_deep(home, 7000)
    try:
        assert used_bytes(home) == du(home)
    finally:
        subprocess.run(["rm", "-rf", home], check=True)


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


async def test_a_gauge_waits_once_and_is_never_held_up_again(tmp_path: Path) -> None:
    now = 100.0
    home = tmp_path / "home"
    write(home / "f", os.urandom(100_000))
    with HeldExecutor() as executor:
        gauge = DiskGauge(home, executor, lambda: now)
        executor.gate.set()
        first = await gauge.read(0.001)
        assert first == du(home)
        assert await gauge.read(0.001) == first
        assert executor.walks == 1

        write(home / "g", os.urandom(100_000))
        now += 5
        executor.gate.clear()
        began = time.monotonic()
        assert [await gauge.read(0.001) for _ in range(3)] == [first] * 3
        assert time.monotonic() - began < 1
        assert executor.walks == 2, "one walk at a time"
        executor.gate.set()
        assert await gauge.read(5) == du(home) > first


async def test_readers_of_an_unknown_home_wait_for_one_walk(tmp_path: Path) -> None:
    home = tmp_path / "home"
    write(home / "f", os.urandom(100_000))
    answers: list[int] = []
    with HeldExecutor() as executor:
        gauge = DiskGauge(home, executor)

        async def read() -> None:
            answers.append(await gauge.read(0))

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
        gauge = DiskGauge(tmp_path / "home", executor)
        assert await gauge.read(0.005) == 0
        write(tmp_path / "home/f")
        assert await gauge.read(0.005) == du(tmp_path / "home")
