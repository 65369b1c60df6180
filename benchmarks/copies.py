"""Copies between homes beside ``cp -a`` of the same run: medians in milliseconds and their ratio.

Usage: python benchmarks/copies.py [--rounds 9] [--directory /var/tmp]

What is kept for the histories of files is part of a copy; how long it takes without that stands beside. Neither side
syncs. They take turns, so that all meet the same weather on the disk.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from uuid import uuid4

from projecthub.files import CopyOptions, Homes, keeping
from projecthub.files.keeping import Keeper
from projecthub.wire.ids import ProjectId


def make_large(source: Path) -> None:
    source.mkdir()
    (source / "large.bin").write_bytes(os.urandom(100_000_000))


def make_small(source: Path) -> None:
    for number in range(5_000):
        directory = source / f"d{number % 50}"
        directory.mkdir(parents=True, exist_ok=True)
        (directory / f"file{number}.txt").write_bytes(os.urandom(64) * (1 + number % 64))


CASES: dict[str, Callable[[Path], None]] = {"one file of 100 MB": make_large, "5,000 small files": make_small}


def time_ms(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return (time.perf_counter() - began) * 1000


def measure(runner: asyncio.Runner, directory: Path, make: Callable[[Path], None], rounds: int) -> dict[str, float]:
    homes = Homes(directory / "projects")
    one, other = ProjectId(str(uuid4())), ProjectId(str(uuid4()))
    source_home = runner.run(homes.ensure(one, uid=None))
    target_home = runner.run(homes.ensure(other, uid=None))
    make(source_home / "source")

    def copy(target: str, *, is_kept: bool = True) -> None:
        keeper = Keeper(target_home, "copied", None, lambda: 0) if is_kept else None
        runner.run(
            homes.copy(
                src_project_id=one,
                src_path="source",
                target_project_id=other,
                target_path=target,
                options=CopyOptions(overwrite_newer=True),
                uid=None,
                keeper=keeper,
            )
        )
        if keeper is not None:
            keeper.close()

    def change() -> None:
        for file in (source_home / "source").rglob("*.*"):
            os.utime(file)
        keeping.forget(target_home)

    def cp() -> None:
        subprocess.run(["cp", "-a", source_home / "source", target_home / "theirs"], check=True)

    cp()  # warms the cache
    names = ("cp -a", "projecthub", "without histories", "again, unchanged", "over others", "over, without histories")
    times: dict[str, list[float]] = {name: [] for name in names}
    for _ in range(rounds):
        shutil.rmtree(target_home / "theirs")
        times["cp -a"].append(time_ms(cp))
        shutil.rmtree(target_home / "ours", ignore_errors=True)
        times["projecthub"].append(time_ms(lambda: copy("ours")))
        times["again, unchanged"].append(time_ms(lambda: copy("ours")))
        change()
        times["over others"].append(time_ms(lambda: copy("ours")))
        change()
        times["over, without histories"].append(time_ms(lambda: copy("ours", is_kept=False)))
        shutil.rmtree(target_home / "ours")
        times["without histories"].append(time_ms(lambda: copy("ours", is_kept=False)))
    return {name: median(values) for name, values in times.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--directory", type=Path, default=None, help="where to work; default: the temporary directory")
    arguments = parser.parse_args()
    with asyncio.Runner() as runner:
        for name, make in CASES.items():
            with tempfile.TemporaryDirectory(dir=arguments.directory) as directory:
                medians = measure(runner, Path(directory), make, arguments.rounds)
            print(f"{name}: " + ", ".join(f"{what} {value:.1f} ms" for what, value in medians.items()))
            print(f"  ratio to cp -a: {medians['projecthub'] / medians['cp -a']:.2f}")


if __name__ == "__main__":
    main()
