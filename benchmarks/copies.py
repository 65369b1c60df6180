"""The copy engine beside ``cp`` of the same run: `make bench ONLY=trees`, or alone:

    python -m benchmarks.copies [--rounds 5] [--directory /var/tmp] [--only small]

Each ratio is told twice: without syncing on either side, and with it: once for all that was copied here, and there by
``sync -f``. It is the median of pairs that were taken one right after the other, in turns. Nothing of many files is
removed between them: ext4 without a journal passes by each inode that was freed within the last minutes when it looks
for a new one, so that whoever comes after a large ``rm`` pays for it (seen: twenty times the time of a copy).
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from tests.hubs import HubProcess

from benchmarks.hub import Wire
from benchmarks.table import Table
from projecthub.files import copying as here
from projecthub.files.contents import are_cloned
from projecthub.files.copying import Application, End, compare, record_path, sync_file_system, walk
from projecthub.files.copying.workers import Workers
from projecthub.files.plans import CopyOptions, Course

TARGETS = 250
TOGETHER = 50
"""Homes of a turn."""
OPTIONS = CopyOptions()
UID = 12345 if os.geteuid() == 0 else None
IMAGE_BYTES = 8 * 1024**3


class Place:
    """A directory with homes in it."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.work = directory / "work"
        self.work.mkdir(parents=True)

    def home(self, name: str) -> Path:
        home = self.directory / name / "home"
        home.mkdir(parents=True, exist_ok=True)
        return home

    def sync(self) -> None:
        subprocess.run(["sync", "-f", self.directory], check=True)

    def clear(self, *names: str) -> None:
        for name in names:
            shutil.rmtree(self.directory / name, ignore_errors=True)
        self.sync()


def make_large(source: Path) -> None:
    source.mkdir()
    with (source / "large.bin").open("wb") as file:
        for _ in range(64):
            file.write(os.urandom(16 * 1024**2))


def make_small(source: Path, files: int = 20_000) -> None:
    for number in range(files):
        directory = source / f"d{number // 100}"
        directory.mkdir(parents=True, exist_ok=True)
        (directory / f"file{number}.txt").write_bytes(os.urandom(64) * (1 + number % 64))


def make_course(source: Path) -> None:
    for number in range(200):
        directory = source / f"d{number % 10}"
        directory.mkdir(parents=True, exist_ok=True)
        (directory / f"file{number}.txt").write_bytes(os.urandom(50_000))


def time_s(work: Callable[[], object]) -> float:
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


def cp(source: Path, target: Path, *options: str) -> None:
    subprocess.run(["cp", "-a", *options, source, target], check=True)


class Timed:
    """Times of two sides that take turns: of the copy, and of the sync after it."""

    def __init__(self) -> None:
        self.ours: list[tuple[float, float]] = []
        self.theirs: list[tuple[float, float]] = []

    def add(
        self,
        table: Table,
        label: str,
        goal: str,
        baseline: str,
        fold: Callable[[Iterator[float]], float] = statistics.median,
    ) -> None:
        """Add the row; ``fold`` makes one time of those of all turns."""
        pairs = list(zip(self.ours, self.theirs, strict=True))
        plain = statistics.median(ours[0] / theirs[0] for ours, theirs in pairs)
        synced = statistics.median(sum(ours) / sum(theirs) for ours, theirs in pairs)
        ours, theirs = (fold(each[0] for each in side) for side in (self.ours, self.theirs))
        table.add(
            label,
            f"{ours * 1000:.0f} ms = {plain:.2f} x; synced {synced:.2f} x",
            goal,
            f"{theirs * 1000:.0f} ms: {baseline}",
        )


def in_turns(turns: int, place: Place, *sides: Callable[[int], None]) -> None:
    """Let all sides do the same, each first in its turn."""
    for turn in range(turns):
        first = (turn + 1) % len(sides)
        for side in (*sides[first:], *sides[:first]):
            side(turn)
            place.sync()


def staged(place: Place, source: End, target: End, record: str = "one", workers: Workers | None = None) -> Application:
    """One copy, as far as it goes before the sync."""
    manifest, plan = place.work / f"manifest {record}", place.work / f"plan {record}"
    course = Course(None)
    by = workers or here
    by.walk(source, manifest, exclude=(), hashes=False, course=course)
    by.compare(source, manifest, target, plan, options=OPTIONS, course=course)
    application = Application(
        record_path(target.home, record), source, manifest, target, plan, uid=UID, options=OPTIONS, course=course
    )
    assert by.stage_many([application]) == {}
    return application


def single(table: Table, place: Place, rounds: int, make: Callable[[Path], None], label: str, goal: str) -> None:
    """One tree from one home to another."""
    one, other = place.home("one"), place.home("other")
    make(one / "src")
    place.sync()
    times = Timed()

    def remove(copy: Path) -> None:
        if make is make_large:  # two inodes, and much room
            shutil.rmtree(copy)

    def theirs(turn: int) -> None:
        copy = other / f"theirs{turn}"
        times.theirs.append((time_s(lambda: cp(one / "src", copy)), time_s(place.sync)))
        remove(copy)

    def ours(turn: int) -> None:
        begin = time.perf_counter()
        application = staged(place, End(one, "src"), End(other, f"ours{turn}"))
        passed = time.perf_counter() - begin
        synced = time_s(application.sync)
        times.ours.append((passed + time_s(application.commit), synced))
        application.discard()
        remove(other / f"ours{turn}")

    def unchanged() -> None:
        source, target = End(one, "src"), End(other, f"ours{rounds - 1}")
        manifest, plan, course = place.work / "manifest", place.work / "plan", Course(None)
        walk(source, manifest, course=course)
        assert compare(source, manifest, target, plan, options=OPTIONS, course=course).is_idle

    in_turns(rounds, place, ours, theirs)
    times.add(table, label, goal, "cp -a")
    if make is make_small:
        again = statistics.median(time_s(unchanged) for _ in range(rounds))
        ratio = again / statistics.median(each[0] for each in times.theirs)
        table.add(f"{label}, again, unchanged", f"{ratio:.2f} x", "0.35 x", "cp -a")
    place.clear("one", "other")


def fan_out(table: Table, place: Place, label: str, goal: str, *, baselines: Sequence[tuple[str, ...]] = ((),)) -> None:
    """10 MB in 200 files to many homes, and a plan for all of them when there is nothing to do."""
    source = End(place.home("one"), "src")
    make_course(source.home / "src")
    homes = [place.home(f"t{number}") for number in range(TARGETS)]
    place.sync()
    manifest, course = place.work / "manifest", Course(None)
    times = {options: Timed() for options in baselines}
    plans = {home: place.work / f"plan{number}" for number, home in enumerate(homes)}

    def plan(some: Sequence[Path]) -> int:
        walk(source, manifest, course=course)
        return sum(
            compare(source, manifest, End(home, "ours"), plans[home], options=OPTIONS, course=course).steps
            for home in some
        )

    def stage(some: Sequence[Path]) -> list[Application]:
        plan(some)
        made = [
            Application(
                record_path(home, "x"),
                source,
                manifest,
                End(home, "ours"),
                plans[home],
                uid=UID,
                options=OPTIONS,
                course=course,
            )
            for home in some
        ]
        shares = [made[begin :: workers.count] for begin in range(workers.count)]
        assert list(lanes.map(workers.stage_many, shares)) == [{} for _ in shares]
        return made

    def ours(turn: int) -> None:
        taken = time_copies(place, lambda: stage(of_turn(homes, turn)))
        for each in times.values():
            each.ours.append(taken)

    def theirs(turn: int, options: tuple[str, ...]) -> None:
        def copy() -> None:
            for home in of_turn(homes, turn):
                cp(source.home / "src", home / f"theirs{' '.join(options)}", *options)

        times[options].theirs.append((time_s(copy), time_s(place.sync)))

    sides = [partial(theirs, options=options) for options in baselines]
    with helped() as (workers, lanes):
        in_turns(TARGETS // TOGETHER, place, ours, *sides)
    for options, each in times.items():
        each.add(table, label, goal, " ".join((f"{TARGETS} x cp -a", *options)), sum)
    idle = statistics.median(time_s(lambda: plan(homes)) for _ in range(5))
    assert plan(homes) == 0
    table.add(f"plan for {TARGETS} targets with nothing to do", f"{idle * 1000:.0f} ms", "1000 ms")
    place.clear("one", *(f"t{number}" for number in range(TARGETS)))


def of_turn(homes: Sequence[Path], turn: int) -> Sequence[Path]:
    return homes[turn * TOGETHER : (turn + 1) * TOGETHER]


@contextlib.contextmanager
def helped() -> Iterator[tuple[Workers, ThreadPoolExecutor]]:
    """Processes for one operation, as the hub starts them: that is a part of what it takes."""
    with contextlib.closing(Workers()) as workers, ThreadPoolExecutor(workers.count) as lanes:
        yield workers, lanes


def time_copies(place: Place, stage: Callable[[], list[Application]]) -> tuple[float, float]:
    """What some copies take that are synced together, without that; and what that takes."""
    begin = time.perf_counter()
    made = stage()
    passed = time.perf_counter() - begin
    synced = time_s(lambda: sync_file_system(place.directory))
    return passed + time_s(lambda: [application.commit() for application in made]), synced


def collect(table: Table, place: Place, label: str, goal: str) -> None:
    """10 MB in 200 files from each of many homes into one, one after the other, as ``cp`` does it."""
    homes = [place.home(f"s{number}") for number in range(TARGETS)]
    for home in homes:
        make_course(home / "src")
    other = place.home("other")
    place.sync()
    times = Timed()

    def copy(home: Path) -> Application:
        name = home.parent.name
        return staged(place, End(home, "src"), End(other, f"ours/{name}"), name, workers)

    def ours(turn: int) -> None:
        times.ours.append(time_copies(place, lambda: list(lanes.map(copy, of_turn(homes, turn)))))

    def theirs(turn: int) -> None:
        def copy() -> None:
            for home in of_turn(homes, turn):
                cp(home / "src", other / f"theirs {home.parent.name}")

        times.theirs.append((time_s(copy), time_s(place.sync)))

    with helped() as (workers, lanes):
        in_turns(TARGETS // TOGETHER, place, ours, theirs)
    times.add(table, label, goal, f"{TARGETS} x cp -a", sum)
    place.clear("other", *(f"s{number}" for number in range(TARGETS)))


@contextlib.contextmanager
def mounted(kind: str, directory: Path) -> Iterator[tuple[Path | None, str]]:
    """A file system in a file; None and why there is none."""
    if os.geteuid() != 0:
        yield None, "only root mounts one"
        return
    image, point = directory / f"{kind}.image", directory / kind
    point.mkdir()
    with image.open("wb") as file:
        file.truncate(IMAGE_BYTES)
    try:
        for command in (["mkfs." + kind, "-q", str(image)], ["mount", "-o", "loop", str(image), str(point)]):
            try:
                done = subprocess.run(command, capture_output=True, text=True, check=False)
            except FileNotFoundError:
                yield None, f"no {command[0]} here"
                return
            if done.returncode:
                yield None, done.stderr.strip().splitlines()[-1]
                return
        try:
            yield point, ""
        finally:
            subprocess.run(["umount", point], check=True)
    finally:
        image.unlink()


def reflinks(table: Table, directory: Path) -> None:
    """The fan-out where files share their contents, beside copies that do not and copies that do."""
    for kind in ("xfs", "btrfs"):
        label = f"10 MB in 200 files to {TARGETS} homes, {kind}"
        with mounted(kind, directory) as (point, why):
            if point is None:
                table.add(label, f"skipped: {why}", "0.1 x")
                continue
            assert are_cloned(point)
            fan_out(
                table,
                Place(point / "homes"),
                label,
                "0.1 x",
                baselines=[("--reflink=never",), ()],  # of itself it clones as well, from coreutils 9 on
            )


_MEMORY = """
import sys
from pathlib import Path
from projecthub.files.copying import End, copy_path
from projecthub.files.plans import CopyOptions, Course
top = Path(sys.argv[1])
def memory_kb(which):
    return int(next(line for line in open("/proc/self/status") if line.startswith(which)).split()[1])
begin = memory_kb("VmRSS")
ends = End(top / "one/home", "src"), End(top / "other/home", "ours")
copy_path(*ends, options=CopyOptions(), uid=None, course=Course(None))
print(memory_kb("VmHWM") - begin)
"""


def memory(table: Table, place: Place) -> None:
    """What a copy of many files takes more than one of few: in a process of its own each."""
    grown = {}
    for files in (1_000, 100_000):
        make_small(place.home("one") / "src", files)
        place.home("other")
        done = subprocess.run(
            [sys.executable, "-c", _MEMORY, place.directory],
            check=True,
            capture_output=True,
            text=True,
            cwd=Path(__file__).parents[1],
        )
        grown[files] = int(done.stdout) / 1024
        place.clear("one", "other")
    table.add(
        "memory for a copy of 100,000 files",
        f"{grown[100_000]:.1f} MB",
        "flat",
        f"{grown[1_000]:.1f} MB: of 1,000 files",
    )


def latency(table: Table, process: HubProcess, wire: Wire, projects: int) -> None:
    """What another call takes while a large copy runs."""
    source, target = (wire.call("projects.createProject", {"title": title}) for title in ("source", "target"))
    make_small(process.data_dir / "projects" / source / "home/src", 20_000)

    def call() -> float:
        return time_s(lambda: wire.call("projects.state", {"project_id": source})) * 1000

    quiet = statistics.median(call() for _ in range(200))
    ended = threading.Event()

    def copy() -> None:
        try:
            own = Wire(process)
            for number in range(3):
                own.call(
                    "projects.copyPathBetweenProjects",
                    {
                        "src_project_id": source,
                        "src_path": "src",
                        "target_project_id": target,
                        "target_path": f"{number}",
                    },
                )
        finally:
            ended.set()

    copier = threading.Thread(target=copy)
    copier.start()
    busy = []
    while not ended.is_set():
        busy.append(call())
    copier.join()
    ratio = statistics.median(busy) / quiet
    table.add(
        "another call during a copy of 20,000 files",
        f"{statistics.median(busy):.2f} ms = {ratio:.1f} x",
        "2 x",
        f"{quiet:.2f} ms: in a quiet hub",
    )
    shutil.rmtree(process.data_dir / "projects" / source / "home/src")


def figures(table: Table, process: HubProcess, wire: Wire, projects: int) -> None:
    """All of them, for `make bench`."""
    latency(table, process, wire, projects)
    trees(table, process.data_dir, 3, "")


def trees(table: Table, directory: Path, rounds: int, only: str) -> None:
    """All that need no hub."""
    with tempfile.TemporaryDirectory(dir=directory) as top:
        place = Place(Path(top) / "homes")
        course = f"10 MB in 200 files to {TARGETS} homes"
        works: dict[str, Callable[[], None]] = {
            "large": lambda: single(table, place, rounds, make_large, "copy of a file of 1 GiB", "1.05 x"),
            "small": lambda: single(table, place, rounds, make_small, "copy of 20,000 small files", "1.3 x"),
            "course": lambda: fan_out(table, place, course, "0.8 x"),
            "collect": lambda: collect(table, place, f"10 MB in 200 files from {TARGETS} homes", "0.8 x"),
            "reflinks": lambda: reflinks(table, Path(top)),
            "memory": lambda: memory(table, place),
        }
        for name, work in works.items():
            if only in name:
                work()


def main() -> None:
    """Take the figures that need no hub."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--directory", type=Path, default=None, help="where to work; default: the temporary directory")
    parser.add_argument("--only", default="", help="only: large, small, course, collect, reflinks, memory")
    arguments = parser.parse_args()
    trees(Table(), arguments.directory, arguments.rounds, arguments.only)


if __name__ == "__main__":
    main()
