"""Processes that copy for the hub: they do the same, and nothing of what a killed one has made counts."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import psutil
import pytest
from two_homes import TwoHomes, as_plain_user, tree, write

from engine import fingerprint
from projecthub.errors import CallTimeout, Conflict, HubError, InvalidArgument, LimitError, NotFound, PermissionDenied
from projecthub.files.copying import Application, End, compare, record_path, stage_many, walk
from projecthub.files.copying.pairs import Pair
from projecthub.files.copying.workers import MUCH, Workers
from projecthub.files.plans import CopyCancelledError, CopyOptions, Course

MB = 1_000_000
MANY_MB = 240
"""So much takes long enough to be met in the middle."""


@pytest.fixture
def workers(homes: TwoHomes) -> Iterator[Workers]:
    made = Workers(2)
    yield made
    made.close()
    assert children() == []


def children() -> list[psutil.Process]:
    """Workers of this process; also those that have ended, and of which nobody has taken notice."""
    return [child for child in psutil.Process().children() if child.name() == "projecthub-copy"]


def prepared(source: End, top: Path, numbers: Sequence[int], course: Course | None = None) -> list[Application]:
    """Copies of one source to many homes, planned."""
    work = top / "work"
    work.mkdir(exist_ok=True)
    walk(source, work / "manifest", course=Course(None))
    made = []
    for number in numbers:
        target, plan = End(top / f"t{number}/home", "dst"), work / f"plan{number}"
        target.home.mkdir(parents=True, exist_ok=True)
        compare(source, work / "manifest", target, plan, options=CopyOptions(), course=Course(None))
        application = Application(
            record_path(target.home, "many"),
            source,
            work / "manifest",
            target,
            plan,
            uid=None,
            options=CopyOptions(),
            course=course or Course(None),
        )
        made.append(application)
    return made


def of_all_kinds(source: Path) -> None:
    for number in range(40):
        write(source / f"d{number % 4}/{number}", str(number) * 1000, mtime_s=number + 10, mode=0o640)
    os.mkdir(os.fsencode(source / "d1") + b'/\xff\n"')
    (source / "link").symlink_to("d1/1")
    os.link(source / "d1/1", source / "d2/other name of 1")
    with open(source / "holes", "wb") as file:
        file.truncate(5 * MB)
        file.write(b"x")
    os.setxattr(source / "d0/0", "user.colour", b"blue")


def test_they_make_what_the_hub_would(workers: Workers, homes: TwoHomes, tmp_path: Path) -> None:
    of_all_kinds(homes.one / "src")
    source, target, plan = End(homes.one, "src"), End(tmp_path / "t0/home", "dst"), tmp_path / "plan"
    target.home.mkdir(parents=True)
    course = Course(None)
    told = workers.walk(source, tmp_path / "manifest", exclude=("d3",), hashes=True, course=course)
    assert told == walk(source, tmp_path / "here", exclude=("d3",), hashes=True, course=course)
    assert (tmp_path / "manifest").read_bytes() == (tmp_path / "here").read_bytes()
    options = CopyOptions(exclude=("d3",), backup=True)
    summary = workers.compare(source, tmp_path / "manifest", target, plan, options=options, course=course)
    here = compare(source, tmp_path / "manifest", target, tmp_path / "here", options=options, course=course)
    assert summary == here
    assert plan.read_bytes() == (tmp_path / "here").read_bytes()
    applications = prepared(source, tmp_path, range(5))
    assert workers.stage_many(applications) == {}
    for application in applications:
        application.commit()
        there = application.target.home / "dst"
        assert fingerprint(there) == fingerprint(homes.one / "src")
        assert (there / "holes").stat().st_blocks < 100
        assert os.getxattr(there / "d0/0", "user.colour") == b"blue"
        assert (there / "d1/1").stat().st_ino == (there / "d2/other name of 1").stat().st_ino
        tally = application.course.tally
        assert (tally.files, tally.bytes) == (
            43,
            sum(path.stat().st_size for path in there.rglob("*") if is_file(path)),
        )


def test_a_pair_that_is_large_is_their_work(workers: Workers, homes: TwoHomes) -> None:
    for number in range(MUCH):
        write(homes.one / f"src/d{number % 20}/{number}", "x")
    ends = End(homes.one, "src"), End(homes.other, "dst")
    pair = Pair(*ends, options=CopyOptions(), uid=None, course=Course(None), workers=workers)
    with contextlib.closing(pair):
        assert pair.apply(pair.plan()).files == MUCH
    assert len(children()) == 1
    assert fingerprint(homes.other / "dst") == fingerprint(homes.one / "src")


def is_file(path: Path) -> bool:
    return path.is_file() and not path.is_symlink()


def test_what_fails_is_raised_as_in_the_hub(workers: Workers, homes: TwoHomes, tmp_path: Path) -> None:
    write(homes.one / "src/a", "a")
    write(homes.one / "src/d/inner", "a")
    work = tmp_path / "manifest"

    def walked(path: str) -> object:
        return workers.walk(End(homes.one, path), work, exclude=(), hashes=False, course=Course(None))

    with pytest.raises(NotFound, match="ENOENT: no such file or directory, stat 'missing'"):
        walked("missing")
    with pytest.raises(InvalidArgument, match="must be contained in project home dir"):
        walked("../other")
    walked("src")
    for target, kind in (("src/d", InvalidArgument), ("src/a/b", Conflict)):
        with pytest.raises(kind):
            source, place = End(homes.one, "src"), End(homes.one, target)
            workers.compare(source, work, place, tmp_path / "plan", options=CopyOptions(), course=Course(None))
    assert len(children()) == 1  # which goes on after each


def test_one_of_many_targets_fails_alone(workers: Workers, homes: TwoHomes, tmp_path: Path) -> None:
    for number in range(30):
        write(homes.one / f"src/d{number % 4}/{number}", str(number) * 1000)
    applications = prepared(End(homes.one, "src"), tmp_path, range(4))
    write(tmp_path / "t1/home/dst/mine", "since the plan")

    def refuse(size: int) -> None:
        raise LimitError("no room", quota_bytes=size)

    applications[2].course.take = refuse
    failed = workers.stage_many(applications)
    assert {type(error) for error in failed.values()} == {Conflict, LimitError}
    assert failed[applications[2]].message == "no room; nothing was changed"
    assert "quota_bytes" in failed[applications[2]].details
    assert [application.record.exists() for application in applications] == [True, False, False, True]


def test_room_is_asked_for_on_the_way(workers: Workers, homes: TwoHomes, tmp_path: Path) -> None:
    """Of what grows far beyond its quota not all is written before that is noticed."""
    for number in range(10):
        write(homes.one / f"src/{number}", os.urandom(5 * MB))
    [application] = prepared(End(homes.one, "src"), tmp_path, [0])
    taken: list[int] = []

    def take(size: int) -> None:
        taken.append(size)
        if sum(taken) > 20 * MB:
            raise LimitError("no room")

    application.course.take = take
    failed = workers.stage_many([application])
    assert isinstance(failed[application], LimitError)
    assert not application.record.exists()
    assert 20 * MB < sum(taken) < 32 * MB


def large(source: Path) -> None:
    for number in range(MANY_MB // 4):
        write(source / f"{number}", os.urandom(4096) * 1000)


def in_the_middle(work: Callable[[], object], deed: Callable[[], object], course: Course) -> list[object]:
    """Do a deed when some files are made; what came of the work."""
    outcomes: list[object] = []

    def run() -> None:
        try:
            outcomes.append(work())
        except (HubError, CopyCancelledError) as error:
            outcomes.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    deadline = time.monotonic() + 20
    while not course.tally.files and thread.is_alive() and time.monotonic() < deadline:
        time.sleep(0.002)
    assert thread.is_alive(), "it was over too early"
    deed()
    thread.join(20)
    return outcomes


def test_what_a_killed_one_did_is_done_again(workers: Workers, homes: TwoHomes, tmp_path: Path) -> None:
    large(homes.one / "src")
    course = Course(None)
    again: list[bool] = []
    course.begin_again = lambda: again.append(True)
    [application] = prepared(End(homes.one, "src"), tmp_path, [0], course)
    before = {child.pid for child in children()}

    def kill() -> None:
        [worker] = [child for child in children() if child.pid not in before]
        worker.kill()

    assert in_the_middle(lambda: workers.stage_many([application]), kill, course) == [{}]
    assert again == [True]
    assert course.tally.files == MANY_MB // 4
    application.commit()
    assert fingerprint(tmp_path / "t0/home/dst") == fingerprint(homes.one / "src")


def test_what_kills_them_again_and_again_is_told(workers: Workers, homes: TwoHomes, tmp_path: Path) -> None:
    large(homes.one / "src")
    course = Course(None)
    [application] = prepared(End(homes.one, "src"), tmp_path, [0], course)
    killed: set[int] = set()
    is_over = threading.Event()

    def kill_all() -> None:
        while not is_over.is_set():
            for child in children():
                if child.pid not in killed and course.tally.files:
                    killed.add(child.pid)
                    child.kill()
            time.sleep(0.005)

    killer = threading.Thread(target=kill_all)
    killer.start()
    try:
        with pytest.raises(LimitError, match=r"was killed, twice: .*; nothing was changed; copy again"):
            workers.stage_many([application])
    finally:
        is_over.set()
        killer.join()
    assert len(killed) == 2
    assert not application.record.exists()
    assert tree(tmp_path / "t0/home") == {}


def test_they_outlive_the_thread_that_asked_first(workers: Workers, homes: TwoHomes, tmp_path: Path) -> None:
    write(homes.one / "src/a", "a")
    applications = prepared(End(homes.one, "src"), tmp_path, range(2))
    thread = threading.Thread(target=workers.stage_many, args=(applications[:1],))
    thread.start()
    thread.join()
    [worker] = children()
    assert workers.stage_many(applications[1:]) == {}
    assert children() == [worker]


def test_one_that_was_killed_while_idle_is_replaced(workers: Workers, homes: TwoHomes, tmp_path: Path) -> None:
    write(homes.one / "src/a", "a")
    for number in range(3):
        assert workers.stage_many(prepared(End(homes.one, "src"), tmp_path, [number])) == {}
        [child] = children()
        child.kill()
    assert workers.stage_many(prepared(End(homes.one, "src"), tmp_path, [3])) == {}


@pytest.mark.parametrize("ends", ["cancelled", "timeout"])
def test_a_copy_is_ended_in_the_middle(workers: Workers, homes: TwoHomes, tmp_path: Path, ends: str) -> None:
    large(homes.one / "src")
    course = Course(None if ends == "cancelled" else 0.6)
    [application] = prepared(End(homes.one, "src"), tmp_path, [0])
    application.course = course
    if ends == "cancelled":
        [outcome] = in_the_middle(lambda: workers.stage_many([application]), course.cancel, course)
        assert isinstance(outcome, CopyCancelledError)
    else:
        time.sleep(0.55)
        with pytest.raises(CallTimeout, match="nothing was changed"):
            workers.stage_many([application])
    assert not application.record.exists()
    [other] = prepared(End(homes.one, "src"), tmp_path, [1])
    assert workers.stage_many([other]) == {}  # by the same, which has heard of no cancelling since
    assert len(children()) == 1


def test_no_more_of_them_than_wanted(workers: Workers, homes: TwoHomes, tmp_path: Path) -> None:
    for number in range(300):
        write(homes.one / f"src/{number}", "x" * 100)
    applications = prepared(End(homes.one, "src"), tmp_path, range(8))
    threads = [threading.Thread(target=workers.stage_many, args=([one],)) for one in applications]
    for thread in threads:
        thread.start()
    most = 0
    while any(thread.is_alive() for thread in threads):
        most = max(most, len(children()))
        time.sleep(0.005)
    for thread in threads:
        thread.join()
    assert most == 2
    assert all(one.record.exists() for one in applications)


def test_who_only_looks_does_not_wait_for_who_copies(workers: Workers, homes: TwoHomes, tmp_path: Path) -> None:
    workers.count = 1
    large(homes.one / "src")
    write(homes.one / "small/a", "a")
    course = Course(None)
    course.take = lambda size: time.sleep(0.02)  # it takes its time
    [application] = prepared(End(homes.one, "src"), tmp_path, [0], course)

    def look() -> None:
        told = workers.walk(
            End(homes.one, "small"), tmp_path / "manifest", exclude=(), hashes=False, course=Course(None)
        )
        assert told.files == 1
        assert course.tally.files < MANY_MB // 4
        assert len(children()) == 1

    assert in_the_middle(lambda: workers.stage_many([application]), look, course) == [{}]


def test_they_end_when_there_is_nothing_to_do(homes: TwoHomes, tmp_path: Path) -> None:
    write(homes.one / "src/a", "a")
    workers = Workers(2, idle_s=0.1)
    for number in range(2):
        assert workers.stage_many(prepared(End(homes.one, "src"), tmp_path, [number])) == {}
        assert len(children()) == 1
        deadline = time.monotonic() + 10
        while children() and time.monotonic() < deadline:
            time.sleep(0.01)
        assert children() == []
    workers.close()


def test_where_none_can_be_started_the_hub_copies_itself(
    workers: Workers, homes: TwoHomes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(homes.one / "src/a", "a")
    with monkeypatch.context() as patch:
        patch.setattr(sys, "executable", "/no/such/python")
        assert workers.stage_many(prepared(End(homes.one, "src"), tmp_path, [0])) == {}
        patch.setattr(sys, "executable", "/bin/false")
        assert workers.stage_many(prepared(End(homes.one, "src"), tmp_path, [1])) == {}
        assert children() == []
    workers.close()
    assert workers.stage_many(prepared(End(homes.one, "src"), tmp_path, [2])) == {}
    for number in range(3):
        assert Application.resume(tmp_path / f"t{number}/copies/many", tmp_path / f"t{number}/home").commit().files == 1


def test_an_unreadable_source_fails_all(homes: TwoHomes, tmp_path: Path) -> None:
    write(homes.one / "src/d/secret", "x", mode=0)

    def work() -> None:
        workers = Workers(1)
        try:
            workers.stage_many(prepared(End(homes.one, "src"), tmp_path, range(2)))
        finally:
            workers.close()

    with pytest.raises(PermissionDenied, match="'src/d/secret'"):
        as_plain_user(tmp_path, work)
    assert not (tmp_path / "t0/copies/many").exists()


HUB = """
import sys, threading
from pathlib import Path
sys.path[:0] = sys.argv[2:]
import test_copying_workers as tests
from projecthub.files.copying import End
from projecthub.files.copying.pairs import Pair
from projecthub.files.copying.workers import MUCH, Workers
from projecthub.files.plans import Course
top, course = Path(sys.argv[1]), Course(None)
workers = Workers(2)
made = tests.prepared(End(top / "one/home", "src"), top, range(2), course)
for one in made:
    threading.Thread(target=workers.stage_many, args=([one],)).start()
while not course.tally.files:
    pass
print(*(child.pid for child in tests.children()), flush=True)
"""


def test_they_end_with_a_killed_hub(homes: TwoHomes, tmp_path: Path) -> None:
    large(homes.one / "src")
    path = [os.path.dirname(__file__), *(entry for entry in sys.path if entry)]
    with subprocess.Popen(
        [sys.executable, "-c", HUB, tmp_path, *path], stdout=subprocess.PIPE, start_new_session=True
    ) as hub:
        assert hub.stdout is not None
        pids = [int(pid) for pid in hub.stdout.readline().split()]
        os.kill(hub.pid, signal.SIGKILL)
        hub.wait()
    assert pids
    deadline = time.monotonic() + 5
    while any(map(is_running, pids)) and time.monotonic() < deadline:
        time.sleep(0.001)
    assert not any(map(is_running, pids))
    for number in range(2):
        assert tree(tmp_path / f"t{number}/home") == {}
        [application] = prepared(End(homes.one, "src"), tmp_path, [number])
        assert stage_many([application]) == {}  # over what was left
        application.commit()
        assert fingerprint(tmp_path / f"t{number}/home/dst") == fingerprint(homes.one / "src")


def is_running(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
