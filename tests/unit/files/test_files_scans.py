from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from two_homes import make_deep, write

from projecthub.files.scans import HomeScan

UNSURE_S = 0.05


def du(home: Path) -> int:
    answer = subprocess.run(["du", "-s", "--block-size=1", home], check=True, capture_output=True, text=True)
    return int(answer.stdout.split()[0])


def look(scan: HomeScan, budget_s: float = 0.0) -> int:
    for _ in scan.look(budget_s):
        pass
    return scan.used_bytes


def complete_round(scan: HomeScan) -> int:
    """Look until a round that begins now has ended."""
    for _ in range(2):  # the first one ends the round that is under way
        look(scan, 10)
    return scan.used_bytes


@pytest.fixture
def home(tmp_path: Path) -> Path:
    home = tmp_path / "home"
    for number in range(50):
        write(home / f"d{number % 7}/e/{number}", os.urandom(number * 1000))
    return home


@pytest.fixture
def settle(home: Path) -> Callable[[], None]:
    """Wait until what changed last is certain: ctimes cannot be set."""

    def settle() -> None:
        newest = max(path.lstat().st_ctime for path in [home, *home.rglob("*")])
        while time.time() < newest + 2 * UNSURE_S:
            time.sleep(0.01)

    return settle


def test_it_is_what_du_says(home: Path) -> None:
    with open(home / "sparse", "wb") as file:
        file.truncate(10_000_000)
    os.link(home / "d1/e/1", home / "again")
    for name in ("d1/again", "d2/again", "d3/e/again"):
        os.link(home / "d6/e/48", home / name)
    (home / "link").symlink_to("/usr")
    (home / ("l" * 200)).symlink_to("x" * 200)
    os.mkfifo(home / "fifo")
    (home / "closed").mkdir(mode=0o000)
    assert look(HomeScan(home)) == du(home) > 1_000_000


def test_a_home_that_is_not_there_comes_and_goes(home: Path) -> None:
    scan = HomeScan(home.with_name("other"))
    assert look(scan) == 0
    home.rename(home.with_name("other"))
    assert look(scan) == du(home.with_name("other"))
    subprocess.run(["rm", "-r", home.with_name("other")], check=True)
    assert (look(scan), scan.directories) == (0, 0)


def test_a_home_that_is_a_link_is_none(home: Path) -> None:
    home.with_name("link").symlink_to(home)
    assert look(HomeScan(home.with_name("link"))) == 0


def test_however_deep_it_lies(tmp_path: Path) -> None:
    home = tmp_path / "deep"
    home.mkdir()
    make_deep(home, 7000)
    try:
        scan = HomeScan(home)
        assert look(scan) == look(scan) == look(scan, 10) == du(home)
        assert scan.directories == 7001
    finally:
        subprocess.run(["rm", "-rf", home], check=True)


def test_changes_are_seen_though_nothing_else_is_listed(home: Path, settle: Callable[[], None]) -> None:
    scan = HomeScan(home, unsure_s=UNSURE_S)
    look(scan)
    settle()
    assert look(scan) == look(scan) == du(home)
    write(home / "d3/e/new", os.urandom(50_000))
    assert look(scan) == du(home)
    (home / "d4/e/4").unlink()
    (home / "d5").rename(home / "d2/moved")
    write(home / "d2/moved/more", os.urandom(10_000))
    assert look(scan) == du(home)
    subprocess.run(["rm", "-r", home / "d2"], check=True)
    (home / "d2").symlink_to("d3")
    assert look(scan) == du(home)
    (home / "d2").unlink()
    (home / "d3").rename(home / "d2")  # another directory under the name of one that is known
    assert look(scan) == du(home)


def test_a_change_right_after_a_listing_is_seen(home: Path) -> None:
    """Clocks of file systems tick coarsely: both may bear the same time."""
    scan = HomeScan(home)
    for number in range(200):
        write(home / f"d1/{number}", os.urandom(5000))
        assert look(scan) == du(home), number


def test_growth_in_place_is_seen_within_the_budget(home: Path, settle: Callable[[], None]) -> None:
    now = 100.0
    scan = HomeScan(home, lambda: now, unsure_s=UNSURE_S)
    look(scan)
    settle()
    look(scan)
    known = look(scan)
    with open(home / "d3/e/3", "ab") as file:
        file.write(os.urandom(100_000))
    now = 200.0
    assert look(scan, 0.0) == known, "no mark, no budget"
    assert scan.round_began == 100.0
    now = 300.0
    look(scan, 1.0)
    assert scan.round_began == 100.0, "the round that has ended began before the file grew"
    now = 400.0
    assert look(scan, 1.0) == du(home) > known
    assert scan.round_began == 400.0


def test_a_round_takes_as_many_looks_as_the_budget_wants(home: Path, settle: Callable[[], None]) -> None:
    now = 100.0

    def tick() -> float:
        nonlocal now
        now += 0.001
        return now

    scan = HomeScan(home, tick, unsure_s=UNSURE_S)
    look(scan)
    settle()
    look(scan)
    began, looks = now, 0
    for file in home.glob("*/e/*"):
        with open(file, "ab") as grown:
            grown.write(os.urandom(20_000))
    while scan.round_began <= began:
        look(scan, 0.01)
        looks += 1
        assert looks < 100
    assert looks > 2
    assert scan.used_bytes == du(home)


def test_a_long_look_pauses_and_others_have_their_turn(home: Path) -> None:
    now = 0.0

    def tick() -> float:
        nonlocal now
        now += 0.015
        return now

    steps = HomeScan(home, tick).look(0)
    assert sum(1 for _ in steps) > 5


def test_what_was_forgotten_is_listed_again(home: Path, settle: Callable[[], None]) -> None:
    scan = HomeScan(home, unsure_s=UNSURE_S)
    look(scan)
    settle()
    look(scan)
    with open(home / "d3/e/3", "ab") as file:
        file.write(os.urandom(100_000))
    scan.forget()
    assert scan.directories == 0
    assert look(scan) == du(home)
    assert scan.directories == 15


def test_links_that_come_and_go_are_right_after_a_round(home: Path, settle: Callable[[], None]) -> None:
    scan = HomeScan(home, unsure_s=UNSURE_S)
    look(scan)
    settle()
    look(scan)
    os.link(home / "d6/e/48", home / "d1/again")
    assert look(scan) >= du(home)
    assert complete_round(scan) == du(home)
    (home / "d6/e/48").unlink()
    assert look(scan) <= du(home)
    assert complete_round(scan) == du(home)
