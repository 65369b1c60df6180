from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from two_homes import TwoHomes, write

from projecthub.errors import NotFound
from projecthub.files.estimates import Estimate, estimate_copy
from projecthub.files.plans import CopyCancelledError, CopyOptions, Course


def estimate(
    homes: TwoHomes, source: str, target: str, *, plenty_bytes: int = 0, course: Course | None = None, **options: Any
) -> Estimate:
    return estimate_copy(
        source_home=homes.one,
        source_path=source,
        target_home=homes.other,
        target_path=target,
        options=CopyOptions(**options),
        course=course or Course(None),
        plenty_bytes=plenty_bytes,
    )


def blocks(*paths: Path) -> int:
    return sum(path.lstat().st_blocks * 512 for path in paths)


def grown(homes: TwoHomes, source: str, target: str, **options: Any) -> tuple[int, int]:
    """What was estimated, and what the target then takes more."""
    before = _used(homes.other)
    found = estimate(homes, source, target, **options)
    homes.copy(source, target, **options)
    return found.added - found.freed, _used(homes.other) - before


def _used(home: Path) -> int:
    return blocks(home, *home.rglob("*"))


@pytest.fixture
def tree(homes: TwoHomes) -> TwoHomes:
    for number in range(20):
        write(homes.one / f"src/d{number % 3}/{number}", os.urandom(number * 3000), mtime_s=100)
    with open(homes.one / "src/sparse", "wb") as file:
        file.truncate(10_000_000)
    (homes.one / "src/link").symlink_to("d1/1")
    os.mkfifo(homes.one / "src/fifo")
    return homes


def test_a_new_directory(tree: TwoHomes) -> None:
    estimated, real = grown(tree, "src", "a/b")
    assert abs(estimated - real) <= 8192, "the directory above, and its entry"
    assert estimated > 500_000


def test_a_file_with_several_names_is_copied_as_often(homes: TwoHomes) -> None:
    write(homes.one / "src/f", os.urandom(100_000))
    for number in range(3):
        os.link(homes.one / "src/f", homes.one / f"src/{number}")
    estimated, real = grown(homes, "src", "dst")
    assert estimated == real >= 400_000


def test_what_is_there_already_adds_nothing(tree: TwoHomes) -> None:
    tree.copy("src", "dst")
    assert estimate(tree, "src", "dst") == Estimate(0, 0)
    assert estimate(tree, "src", "dst", plenty_bytes=10**9).added > 500_000, "it does not matter how much it is"
    assert estimate(tree, "src", "dst", plenty_bytes=10_000).added == 0, "now it does"


def test_what_is_replaced_is_freed_unless_something_keeps_it(tree: TwoHomes) -> None:
    tree.copy("src", "dst")
    old = tree.other / "dst/d1/19"
    write(tree.one / "src/d1/19", os.urandom(9000), mtime_s=200)
    assert estimate(tree, "src", "dst") == Estimate(blocks(tree.one / "src/d1/19"), blocks(old))
    assert estimate(tree, "src", "dst", backup=True).freed == 0
    assert estimate(tree, "src/d1/19", "dst/d1/19") == Estimate(blocks(tree.one / "src/d1/19"), blocks(old))
    assert estimate(tree, "src/d1/19", "dst/d1") == Estimate(blocks(tree.one / "src/d1/19"), blocks(old))
    os.link(old, tree.other / "other name")
    assert estimate(tree, "src", "dst").freed == 0
    os.utime(old, (300, 300))
    assert estimate(tree, "src", "dst").added == 0, "it is newer in the target, and kept"
    assert estimate(tree, "src", "dst", overwrite_newer=True).added > 0


def test_delete_missing_frees_what_it_deletes(tree: TwoHomes) -> None:
    tree.copy("src", "dst")
    doomed = write(tree.other / "dst/d1/old", os.urandom(50_000))
    deeper = write(tree.other / "dst/gone/e/f", os.urandom(70_000))
    excluded = write(tree.other / "dst/gone/e/keep.me", os.urandom(30_000))
    assert estimate(tree, "src", "dst").freed == 0
    assert estimate(tree, "src", "dst", delete_missing=True).freed == blocks(doomed, deeper, excluded)
    assert estimate(tree, "src", "dst", delete_missing=True, exclude=("*.me",)).freed == blocks(doomed, deeper)
    assert estimate(tree, "src", "dst", delete_missing=True, exclude=("gone",)).freed == blocks(doomed)
    assert estimate(tree, "src", "dst", delete_missing=True, backup=True).freed == 0


def test_what_is_excluded_adds_nothing(tree: TwoHomes) -> None:
    excluded = estimate(tree, "src", "dst", exclude=("d1",)).added
    assert (
        excluded + blocks(*(tree.one / "src/d1").iterdir(), tree.one / "src/d1") == estimate(tree, "src", "dst").added
    )
    assert estimate(tree, "src/d1/1", "dst", exclude=("1",)) == Estimate()


def test_nothing_is_changed_and_refusals_are_those_of_the_copy(tree: TwoHomes) -> None:
    estimate(tree, "src", "a/b/c")
    assert os.listdir(tree.other) == []
    with pytest.raises(NotFound, match="ENOENT"):
        estimate(tree, "nope", "x")
    cancelled = Course(None)
    cancelled.cancel()
    with pytest.raises(CopyCancelledError):
        estimate(tree, "src", "x", course=cancelled)
