"""Copies in steps: what is kept, what moves meanwhile, many targets at once, what is taken back."""

from __future__ import annotations

import contextlib
import os
import stat
import subprocess
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from two_homes import TwoHomes, as_plain_user, make_deep, tree, write, write_at

from engine import Steps, fingerprint
from projecthub.errors import Conflict, LimitError, NotFound, PermissionDenied
from projecthub.files.backlog import Backlog
from projecthub.files.changes import Home
from projecthub.files.copying import (
    Action,
    Application,
    End,
    Status,
    compare,
    discard,
    planned_files,
    record_path,
    records_of,
    stage_many,
    undo,
    walk,
)
from projecthub.files.copying.telling import tell_committed
from projecthub.files.keeping import Journal, Keeper, pending
from projecthub.files.plans import CopyCancelledError, CopyOptions, Course, Policy


@pytest.fixture
def steps(homes: TwoHomes, tmp_path: Path) -> Steps:
    return Steps(End(homes.one, "src"), End(homes.other, "dst"), CopyOptions(), tmp_path / "work")


def blocks(*paths: Path) -> int:
    return sum(path.lstat().st_blocks * 512 for path in paths)


# -- what is kept ------------------------------------------------------------------------------------


@pytest.mark.parametrize("policy", Policy)
@pytest.mark.parametrize("is_single", [False, True])
def test_extended_attributes_that_alone_have_changed(
    steps: Steps, homes: TwoHomes, policy: Policy, is_single: bool
) -> None:
    for name in ("a", "b"):
        write(homes.one / "src/d" / name, name)
    os.setxattr(homes.one / "src/d/a", "user.grade", b"old")
    if is_single:
        steps.source, steps.target = End(homes.one, "src/d/a"), End(homes.other, "dst/d/a")
    steps.plan()
    steps.application().stage()
    steps.application().commit()
    discard(steps.record)
    steps.manifest.rename(base := steps.work / "base")
    steps.base, steps.options = base, CopyOptions(policy=policy)
    assert steps.plan().is_idle
    time.sleep(0.02)
    os.setxattr(homes.one / "src/d/a", "user.grade", b"new")
    planned = steps.plan()
    assert (planned.files, planned.counts["changed_by_us"]) == (1, 1)
    steps.application().stage()
    steps.application().commit()
    assert os.getxattr(homes.other / "dst/d/a", "user.grade") == b"new"
    assert steps.plan().is_idle
    undo(steps.record, homes.other, course=Course(None))
    assert os.getxattr(homes.other / "dst/d/a", "user.grade") == b"old"
    time.sleep(0.02)
    os.setxattr(homes.other / "dst/d/a", "user.grade", b"theirs")
    assert steps.plan().is_idle, "what they have changed later stays"


@pytest.mark.parametrize("exists", [False, True])
def test_hard_links_within_the_tree(steps: Steps, homes: TwoHomes, exists: bool) -> None:
    write(homes.one / "src/a", "1" * 5000)
    write(homes.one / "src/d/e/f", "2" * 5000)
    for name in ("b", "d/c", "d/e/z"):
        os.link(homes.one / "src/a", homes.one / "src" / name)
    os.link(homes.one / "src/d/e/f", homes.one / "outside")
    if exists:
        for name in ("a", "b", "d/c"):
            write(homes.other / "dst" / name, "old", mtime_s=1)
    planned = steps.plan()
    assert (planned.files, planned.bytes) == (5, 25_000)
    assert planned.added < 8192 * 2 + 4096 * 4, "the other names take no room"
    steps.application().stage()
    assert steps.application().resume(steps.record, homes.other).commit().files == 5
    found = {name: (homes.other / "dst" / name).stat() for name in ("a", "b", "d/c", "d/e/z", "d/e/f")}
    assert len({found[name].st_ino for name in ("a", "b", "d/c", "d/e/z")}) == 1
    assert found["d/e/f"].st_ino != found["a"].st_ino
    assert steps.compare().files == 0
    discard(steps.record)
    assert found["a"].st_nlink == 4


def test_a_new_name_of_a_file_that_is_there_already(steps: Steps, homes: TwoHomes) -> None:
    write(homes.one / "src/d/a", "1" * 5000)
    steps.plan()
    steps.application().stage()
    steps.application().commit()
    discard(steps.record)
    os.link(homes.one / "src/d/a", homes.one / "src/d/b")
    assert steps.plan().files == 1
    steps.application().stage()
    steps.application().commit()
    assert (homes.other / "dst/d/a").stat().st_ino == (homes.other / "dst/d/b").stat().st_ino
    assert undo(steps.record, homes.other, course=Course(None)).removed == 1
    assert tree(homes.other / "dst/d") == {"a": "1" * 5000}


def test_extended_attributes_of_users(steps: Steps, homes: TwoHomes) -> None:
    write(homes.one / "src/d/f", "1", mode=0o444)
    try:
        os.setxattr(homes.one / "src/d/f", "user.colour", b"red\0")
        os.setxattr(homes.one / "src/d", "user.shape", b"round")
    except OSError:
        pytest.skip("this file system has no extended attributes of users")
    steps.plan()
    steps.application().stage()
    steps.application().commit()
    assert os.getxattr(homes.other / "dst/d/f", "user.colour") == b"red\0"
    assert os.getxattr(homes.other / "dst/d", "user.shape") == b"round"
    assert stat.S_IMODE((homes.other / "dst/d/f").stat().st_mode) == 0o444
    assert os.listxattr(homes.other / "dst") == []


def test_names_of_any_bytes_are_planned_placed_and_taken_back(steps: Steps, homes: TwoHomes) -> None:
    names = [b"\xff\xfe", b"new\nline", b'["put",', b" ", b"a" * 255, "ü".encode()]
    (homes.one / "src").mkdir()
    (homes.other / "dst").mkdir()
    for name in names:
        for home in (homes.one / "src", homes.other / "dst"):
            with open(os.fsencode(home) + b"/" + name, "wb") as file:
                file.write(name if home.name == "src" else b"old")
            os.utime(os.fsencode(home) + b"/" + name, (9, 9) if home.name == "src" else (1, 1))
    before = fingerprint(homes.other)
    assert steps.plan().files == len(names)
    assert {os.fsencode(each.path) for each in planned_files(steps.plan_file)} == {b"dst/" + name for name in names}
    steps.application().stage()
    steps.application().commit()
    for name in names:
        with open(os.fsencode(homes.other / "dst") + b"/" + name, "rb") as file:
            assert file.read() == name
    assert undo(steps.record, homes.other, course=Course(None)).restored == len(names)
    assert fingerprint(homes.other) == before


def test_depth_1500(steps: Steps, homes: TwoHomes) -> None:
    deep = "/".join(["d"] * 1500)
    (homes.one / "src").mkdir()
    make_deep(homes.one / "src", 1500)
    write_at(homes.one / "src", f"{deep}/f", b"1")
    assert steps.plan().files == 1
    steps.application().stage()
    steps.application().commit()
    assert steps.compare().is_idle
    assert undo(steps.record, homes.other, course=Course(None)).removed == 1
    assert tree(homes.other) == {}


def test_a_file_that_grows_while_it_is_copied_is_a_prefix(steps: Steps, homes: TwoHomes) -> None:
    for name in ("small", "large"):
        write(homes.one / "src" / name, "0123456789" * (100 if name == "small" else 100_000))
    ended = threading.Event()

    def grow() -> None:
        with open(homes.one / "src/small", "ab") as small, open(homes.one / "src/large", "ab") as large:
            while not ended.wait(0.0005):
                for file in (small, large):
                    file.write(b"0123456789" * 100)
                    file.flush()

    grower = threading.Thread(target=grow)
    grower.start()
    try:
        for number in range(10):
            one = replace(steps, target=End(homes.other, f"dst{number}"))
            one.plan()
            one.application().stage()
            one.application().commit()
            discard(one.record)
            for name in ("small", "large"):
                content = (homes.other / f"dst{number}" / name).read_bytes()
                assert content == (b"0123456789" * (len(content) // 10 + 1))[: len(content)]
                assert len(content) >= 1000
    finally:
        ended.set()
        grower.join()


# -- what the plan says ------------------------------------------------------------------------------


def test_what_is_added_and_freed_is_what_the_disk_says(steps: Steps, homes: TwoHomes) -> None:
    for number in range(20):
        write(homes.one / f"src/d{number % 3}/{number}", os.urandom(number * 3000), mtime_s=100)
        write(homes.other / f"dst/d{number % 2}/{number}", os.urandom(number * 2000), mtime_s=50)
    with open(homes.one / "src/sparse", "wb") as file:
        file.truncate(10_000_000)
    for options in (CopyOptions(), CopyOptions(delete_missing=True), CopyOptions(backup=True)):
        one = replace(steps, options=options)
        before = blocks(homes.other, *homes.other.rglob("*"))
        planned = one.plan()
        if planned.is_idle:
            continue
        one.application().stage()
        one.application().commit()
        discard(one.record)
        grown = blocks(homes.other, *homes.other.rglob("*")) - before
        assert abs(planned.added - planned.freed - grown) <= 16384, "entries of directories"


def test_a_file_with_another_name_is_not_freed(steps: Steps, homes: TwoHomes) -> None:
    write(homes.one / "src/f", "x" * 9000, mtime_s=2)
    old = write(homes.other / "dst/f", "y" * 5000, mtime_s=1)
    assert steps.plan().freed == blocks(old)
    os.link(old, homes.other / "other name")
    assert steps.plan().freed == 0


def test_the_statuses_are_told(steps: Steps, homes: TwoHomes) -> None:
    for name in ("same", "ours", "theirs", "both", "gone"):
        write(homes.one / "src" / name, "1", mtime_s=10)
    steps = replace(steps, hashes=True, options=CopyOptions(policy=Policy.MERGE))
    steps.plan()
    steps.application().stage()
    steps.application().commit()
    discard(steps.record)
    base = steps.manifest.rename(steps.work / "base")
    write(homes.one / "src/ours", "22", mtime_s=20)
    write(homes.one / "src/both", "22", mtime_s=20)
    write(homes.one / "src/new", "22", mtime_s=20)
    write(homes.other / "dst/theirs", "333", mtime_s=5)
    write(homes.other / "dst/both", "333", mtime_s=5)
    (homes.other / "dst/gone").unlink()
    steps = replace(steps, base=base)
    planned = steps.plan()
    assert planned.counts == {
        "new": 1, "same": 1, "changed_by_us": 1, "changed_by_them": 1, "conflict": 1, "deleted_by_them": 1,
        "would_be_deleted": 0,
    }  # fmt: skip
    assert planned.kept_newer_paths == ["dst/theirs"]
    listed = {each.path: (each.status, each.action, each.beside) for each in planned_files(steps.plan_file)}
    assert listed["dst/both"] == (Status.CONFLICT, Action.BESIDE, "dst/both.new")
    assert listed["dst/gone"] == (Status.DELETED_BY_THEM, Action.KEEP, None)
    conflicts = planned_files(steps.plan_file, statuses=frozenset({Status.CONFLICT}))
    assert [each.path for each in conflicts] == ["dst/both"]


# -- what moves meanwhile ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "deed",
    [
        lambda home: write(home / "dst/f", "mine"),
        lambda home: (home / "dst/f").unlink(),
        lambda home: write(home / "dst/new", "mine"),
        lambda home: (home / "dst").rename(home / "moved"),
        lambda home: write(home / "dst/doomed", "mine"),
        lambda home: os.utime(home / "dst/f", (1, 2)),
        lambda home: (home / "dst/f").chmod(0o600),
    ],
)
def test_a_target_that_has_moved_since_the_plan_is_refused(
    steps: Steps, homes: TwoHomes, deed: Callable[[Path], object]
) -> None:
    write(homes.one / "src/f", "1", mtime_s=10)
    write(homes.one / "src/new", "1")
    write(homes.other / "dst/f", "old", mtime_s=1)
    write(homes.other / "dst/doomed", "old")
    steps = replace(steps, options=CopyOptions(delete_missing=True))
    steps.plan()
    deed(homes.other)
    before = fingerprint(homes.other)
    with pytest.raises(Conflict, match=r"the target has changed since the plan: 'dst.*; plan again"):
        steps.application().stage()
    assert fingerprint(homes.other) == before
    assert not steps.record.exists()


@pytest.mark.parametrize("path", ["file", "tree"])
@pytest.mark.parametrize("come", ["way", "way/on"])
def test_directories_on_the_way_may_come_into_being(steps: Steps, homes: TwoHomes, path: str, come: str) -> None:
    """As they do when many are collected into a directory that was missing."""
    write(homes.one / "file", "1", mtime_s=10)
    write(homes.one / "tree/deep/f", "1", mtime_s=10)
    steps = replace(steps, source=End(homes.one, path), target=End(homes.other, "way/on/dst"))
    steps.plan()
    write(homes.other / come / "of another", "theirs")
    before = fingerprint(homes.other)
    application = steps.application()
    application.stage()
    summary = application.commit()
    assert (summary.files, summary.kept_newer) == (1, 0)
    copied = {"way/on/dst": "1"} if path == "file" else {"way/on/dst/deep/f": "1"}
    theirs = {f"{come}/of another": "theirs"}
    found = {name: text for name, text in tree(homes.other).items() if text != "/"}
    assert found == {**copied, **theirs}
    undone = undo(steps.record, homes.other, course=Course(None))
    assert (undone.removed, undone.kept) == (1, 0)
    assert {name: each[2] for name, each in fingerprint(homes.other).items()} == {
        name: each[2] for name, each in before.items()
    }


@pytest.mark.parametrize(("path", "told"), [("file", "way/on/dst"), ("tree", "way/on/dst/deep/f")])
@pytest.mark.parametrize("there", ["", "way", "way/on"])
def test_histories_are_told_of_what_was_copied_and_not_of_what_lies_beside_it(
    steps: Steps, homes: TwoHomes, path: str, told: str, there: str
) -> None:
    write(homes.one / "file", "1")
    write(homes.one / "tree/deep/f", "1")
    (homes.other / there).mkdir(parents=True, exist_ok=True)
    steps = replace(steps, source=End(homes.one, path), target=End(homes.other, "way/on/dst"))
    steps.plan()
    application = steps.application()
    application.stage()
    application.commit()
    write(homes.other / "way/another", "theirs")
    write(homes.other / "way/on/another", "theirs")
    with contextlib.closing(Keeper(homes.other, "copied", None, lambda: 0, backlog=Backlog())) as keeper:
        tell_committed(steps.record, keeper)
    [name] = pending(homes.other)
    with contextlib.closing(Journal(Home(homes.other, None, ()), name)) as journal:
        assert {state.path: state.text for state in journal.states()} == {told: "1"}


@pytest.mark.parametrize("path", ["file", "tree"])
@pytest.mark.parametrize(
    "deed",
    [
        lambda home: write(home / "way", "theirs"),
        lambda home: write(home / "way/on", "theirs"),
        lambda home: write(home / "way/on/dst", "theirs"),
        lambda home: (home / "way/on/dst").mkdir(parents=True),
        lambda home: (home / "way").symlink_to("."),
        lambda home: ((home / "way").mkdir(), (home / "way/on").symlink_to("..")),
    ],
)
def test_what_has_come_into_the_place_of_a_copy_is_refused(
    steps: Steps, homes: TwoHomes, path: str, deed: Callable[[Path], object]
) -> None:
    write(homes.one / "file", "1")
    write(homes.one / "tree/f", "1")
    steps = replace(steps, source=End(homes.one, path), target=End(homes.other, "way/on/dst"))
    steps.plan()
    deed(homes.other)
    before = fingerprint(homes.other)
    with pytest.raises(Conflict, match=r"the target has changed since the plan: 'way.*; plan again"):
        steps.application().stage()
    assert fingerprint(homes.other) == before
    assert not steps.record.exists()


@pytest.mark.parametrize("policy", [Policy.OVERWRITE, Policy.UPDATE])
def test_what_they_change_after_the_mark_stays_theirs(steps: Steps, homes: TwoHomes, policy: Policy) -> None:
    for name in ("replaced", "edited", "removed", "free"):
        write(homes.one / "src" / name, "new", mtime_s=10)
        if name != "free":
            write(homes.other / "dst" / name, "old", mtime_s=1)
    write(homes.one / "src/tree/f", "new")
    write(homes.one / "src/tree/g", "new")
    write(homes.other / "dst/doomed", "old")
    steps = replace(steps, options=CopyOptions(delete_missing=True, policy=policy))
    steps.plan()
    steps.application().stage()
    write(homes.other / "dst/replacement", "theirs").rename(homes.other / "dst/replaced")
    write(homes.other / "dst/edited", "theirs")
    write(homes.other / "dst/free", "theirs")
    write(homes.other / "dst/tree/g", "theirs")
    write(homes.other / "dst/doomed", "theirs")
    (homes.other / "dst/removed").unlink()
    summary = steps.application().commit()
    assert tree(homes.other / "dst") == {
        "replaced": "theirs", "edited": "theirs", "free": "theirs", "doomed": "theirs", "removed": "new",
        "tree": "/", "tree/f": "new", "tree/g": "theirs",
    }  # fmt: skip
    assert set(summary.kept_newer_paths) == {"dst/replaced", "dst/edited", "dst/free", "dst/doomed", "dst/tree/g"}
    assert (summary.files, summary.kept_newer, summary.deleted) == (2, 5, 0)
    assert Application.resume(steps.record, homes.other).commit() == summary


def test_what_somebody_writes_at_the_moment_of_the_exchange_is_never_lost(steps: Steps, homes: TwoHomes) -> None:
    """Whoever replaces a file all the time finds in the end what he wrote last, or what was copied after it."""
    target = homes.other / "dst/f"
    lost = 0
    for number in range(60):
        write(homes.one / "src/f", "ours" * 3, mtime_s=10)
        write(target, "old", mtime_s=1)
        steps.plan()
        steps.application().stage()
        wrote = threading.Event()

        def edit(wrote: threading.Event = wrote, number: int = number) -> None:
            write(homes.other / "dst/.tmp", f"edit {number}").rename(target)
            wrote.set()

        editor = threading.Timer(0.0002 * (number % 10), edit)
        editor.start()
        steps.application().commit()
        editor.join()
        assert wrote.is_set()
        kept = steps.record / "old"
        contents = {target.read_text(), *(path.read_text() for path in kept.iterdir())}
        lost += f"edit {number}" not in contents
        discard(steps.record)
        (homes.other / "dst/f").unlink()
    assert lost == 0


def test_a_target_that_is_gone_after_the_mark_is_told(steps: Steps, homes: TwoHomes) -> None:
    write(homes.one / "src/f", "1")
    write(homes.other / "dst/g", "2")
    steps.plan()
    steps.application().stage()
    (homes.other / "dst").rename(homes.other / "elsewhere")
    with pytest.raises(Conflict):
        Application.resume(steps.record, homes.other).commit()
    assert tree(homes.other) == {"elsewhere": "/", "elsewhere/g": "2"}


@pytest.mark.skipif(os.geteuid() != 0, reason="only root mounts a small file system")
def test_a_disk_that_is_full_after_the_mark_holds_it_up_and_no_more(homes: TwoHomes, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "nr_inodes=60", "none", disk], check=True)
    try:
        (disk / "home").mkdir()
        options = CopyOptions(backup=True)
        steps = Steps(End(homes.one, "src"), End(disk / "home", "dst"), options, tmp_path / "work")
        for name in "abc":
            write(homes.one / "src" / name, "new", mtime_s=10)
            write(disk / "home/dst" / name, "old", mtime_s=1)
        steps.plan()
        steps.application().stage()
        fillers = []
        with contextlib.suppress(OSError):
            for number in range(100):
                fillers.append(write(disk / f"filler{number}"))
        with pytest.raises(LimitError, match=r"no space left.*made ready"):
            Application.resume(steps.record, disk / "home").commit()
        for filler in fillers:
            filler.unlink()
        summary = Application.resume(steps.record, disk / "home").commit()
        assert (summary.files, summary.backed_up, summary.kept_newer) == (3, 3, 0)
        expected = dict.fromkeys("abc", "new") | {f"{name}~": "old" for name in "abc"}
        assert tree(disk / "home/dst") == expected
        assert undo(steps.record, disk / "home", course=Course(None)).restored == 3
        assert tree(disk / "home/dst") == dict.fromkeys("abc", "old")
    finally:
        subprocess.run(["umount", disk], check=True)


def test_a_record_that_was_never_staged_is_not_resumed(steps: Steps, homes: TwoHomes) -> None:
    with pytest.raises(NotFound):
        Application.resume(steps.record, homes.other)
    with pytest.raises(NotFound):
        undo(steps.record, homes.other, course=Course(None))
    write(homes.one / "src/f", "1")
    steps.plan()
    steps.record.mkdir(parents=True)
    write(steps.record / "new/1", "of a killed one")
    with pytest.raises(NotFound):
        Application.resume(steps.record, homes.other)
    steps.application().stage()
    with pytest.raises(NotFound):
        undo(steps.record, homes.other, course=Course(None))
    steps.application().commit()
    assert tree(homes.other) == {"dst": "/", "dst/f": "1"}


# -- many targets ------------------------------------------------------------------------------------


def applications(homes: TwoHomes, top: Path, count: int, course: Course | None = None) -> list[Application]:
    manifest = top / "manifest"
    source = End(homes.one, "src")
    walk(source, manifest, course=Course(None))
    made = []
    for number in range(count):
        home = top / f"t{number}/home"
        home.mkdir(parents=True, exist_ok=True)
        target, plan = End(home, "dst"), top / f"plan{number}"
        compare(source, manifest, target, plan, options=CopyOptions(), course=Course(None))
        made.append(
            Application(
                record_path(home, "many"),
                source,
                manifest,
                target,
                plan,
                uid=None,
                options=CopyOptions(),
                course=course or Course(None),
            )
        )
    return made


def test_many_targets_fail_one_by_one(homes: TwoHomes, tmp_path: Path) -> None:
    for number in range(30):
        write(homes.one / f"src/d{number % 4}/{number}", str(number) * 1000)
    (homes.one / "src/link").symlink_to("d1")
    os.link(homes.one / "src/d1/1", homes.one / "src/d2/other name of 1")
    write(tmp_path / "t3/home/dst/d1/1", "newer", mtime_s=4_000_000_000)
    write(tmp_path / "t4/home/dst/d2/2", "old", mtime_s=1)
    made = applications(homes, tmp_path, 70)
    write(tmp_path / "t5/home/dst/mine", "since the plan")

    def refuse(size: int) -> None:
        raise LimitError("no room")

    made[6].course = Course(None)
    made[6].course.take = refuse
    failed = stage_many(made)
    assert set(failed) == {made[5], made[6]}
    assert isinstance(failed[made[5]], Conflict)
    assert isinstance(failed[made[6]], LimitError)
    expected = tree(homes.one / "src")
    for number, application in enumerate(made):
        if application in failed:
            assert not application.record.exists()
            continue
        application.commit()
        wanted = {**expected, "d1/1": "newer"} if number == 3 else expected
        assert tree(application.target.home / "dst") == wanted
    assert tree(tmp_path / "t5/home") == {"dst": "/", "dst/mine": "since the plan"}
    assert tree(tmp_path / "t6/home") == {}


def test_many_targets_are_given_up_together(homes: TwoHomes, tmp_path: Path) -> None:
    for number in range(100):
        write(homes.one / f"src/{number}", "x")
    course = Course(None)
    made = applications(homes, tmp_path, 3, course)
    course.cancel()
    with pytest.raises(CopyCancelledError):
        stage_many(made)
    assert not any(application.record.exists() for application in made)


def test_an_unreadable_source_fails_all(homes: TwoHomes, tmp_path: Path) -> None:
    write(homes.one / "src/d/secret", "x", mode=0)

    def work() -> None:
        stage_many(applications(homes, tmp_path, 2))

    with pytest.raises(PermissionDenied, match="'src/d/secret'"):
        as_plain_user(tmp_path, work)
    assert not (tmp_path / "t0/copies/many").exists()


# -- what is taken back ------------------------------------------------------------------------------


def test_what_was_changed_since_stays_and_is_named(steps: Steps, homes: TwoHomes) -> None:
    for name in ("a", "b", "d/a", "d/b"):
        write(homes.one / "src" / name, "new", mtime_s=10)
    write(homes.other / "dst/a", "old", mtime_s=1)
    write(homes.other / "dst/b", "old", mtime_s=1)
    write(homes.other / "dst/gone", "old", mtime_s=1)
    steps = replace(steps, options=CopyOptions(delete_missing=True))
    steps.plan()
    steps.application().stage()
    steps.application().commit()
    write(homes.other / "dst/a", "edited")
    write(homes.other / "dst/d/a", "edited")
    write(homes.other / "dst/gone", "made anew")
    undone = undo(steps.record, homes.other, course=Course(None))
    assert tree(homes.other / "dst") == {
        "a": "edited", "b": "old", "d": "/", "d/a": "edited", "gone": "made anew",
    }  # fmt: skip
    assert (undone.restored, undone.removed, undone.kept) == (1, 1, 3)
    assert set(undone.kept_paths) == {"dst/a", "dst/d/a", "dst/gone"}
    assert undo(steps.record, homes.other, course=Course(None)) == undone


def test_records_are_told_with_what_they_take(steps: Steps, homes: TwoHomes) -> None:
    write(homes.one / "src/f", "new", mtime_s=10)
    write(homes.other / "dst/f", os.urandom(100_000), mtime_s=1)
    steps.plan()
    assert records_of(homes.other.parent) == []
    steps.application().stage()
    (record,) = records_of(homes.other.parent)
    assert (record.name, record.state) == ("operation-1", "staged")
    steps.application().commit()
    (record,) = records_of(homes.other.parent)
    assert record.state == "committed"
    assert 100_000 < record.size_bytes < 150_000
    assert time.time_ns() - record.made_ns < 60 * 10**9
    undo(steps.record, homes.other, course=Course(None))
    assert [each.state for each in records_of(homes.other.parent)] == ["undone"]
    discard(steps.record)
    discard(steps.record)
    assert records_of(homes.other.parent) == []
