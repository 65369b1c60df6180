"""Classes whose students are foes, and collections that were cut short."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from projecthub.client.classes.changes import ChangeKind
from projecthub.errors import InvalidArgument
from tests.hubs import HubProcess
from tests.live.test_classes import Course, run


@pytest.fixture(scope="module")
def process() -> Iterator[HubProcess]:
    process = HubProcess()
    yield process
    process.close()


@pytest.fixture
def make_course(process: HubProcess) -> Iterator[Callable[..., Course]]:
    with contextlib.ExitStack() as opened:

        def make(**options: Any) -> Course:
            course = Course(process, **({"students": 2, "accounts": 0} | options))
            opened.enter_context(course.hub)
            course.declare()
            assert not course.hub.classes.apply(course.id).failures
            return course

        yield make


def home_of(course: Course, student: str | None = None) -> Path:
    project_id = course.id if student is None else course.projects()[student]
    return course.process.data_dir / "projects" / project_id / "home"


@pytest.mark.parametrize("layout", ["plain", "nbgrader"])
def test_a_link_in_place_of_ones_work_leads_to_nobody_elses(make_course: Callable[..., Course], layout: str) -> None:
    course = make_course(layout=layout)
    collected = "submitted/{}/hw1" if layout == "nbgrader" else "collected/hw1/{}"
    foe, target = (
        home_of(course, "s0"),
        os.path.relpath(collected.format("s1"), os.path.dirname(collected.format("s0"))),
    )
    link = target.replace("../", "")
    (foe / link).parent.mkdir(parents=True, exist_ok=True)
    (foe / "hw1").rename(foe / "mine")
    (foe / link).write_text("so that the link leads to a file")
    (foe / "hw1").symlink_to(link)
    (first,) = course.hub.classes.collect(course.id, early=True)
    assert [row.student for row in first.rows] == ["s1"]
    assert [(each.student, "is no directory" in each.error) for each in first.failures] == [("s0", True)]
    (foe / "hw1").unlink()
    (foe / "mine").rename(foe / "hw1")
    (foe / "hw1/task.py").write_text("print('foe')\n")
    (second,) = course.hub.classes.collect(course.id, early=True, again=True)
    assert sorted(row.student for row in second.rows) == ["s0", "s1"]
    assert (home_of(course) / collected.format("s1") / "task.py").read_text() == "print(6 * 7)\n"
    assert (home_of(course) / collected.format("s0") / "task.py").read_text() == "print('foe')\n"


def test_links_are_collected_as_links_and_nothing_of_the_hub(make_course: Callable[..., Course]) -> None:
    course = make_course()
    foe = home_of(course, "s0")
    for name, target in (("up", "../../../.."), ("key", str(course.process.data_dir / "admin-key")), ("in", "../mine")):
        (foe / "hw1" / name).symlink_to(target)
    os.mkfifo(foe / "hw1/pipe")
    (collected,) = course.hub.classes.collect(course.id, early=True)
    assert not collected.failures
    there = home_of(course) / "collected/hw1/s0"
    assert sorted(path.name for path in there.iterdir()) == ["data.txt", "in", "key", "task.py", "up"]
    assert all((there / name).is_symlink() for name in ("up", "key", "in"))


def test_a_directory_that_leads_out_of_the_home_is_not_collected(make_course: Callable[..., Course]) -> None:
    course = make_course()
    foe = home_of(course, "s0")
    (foe / "hw1").rename(foe / "mine")
    (foe / "hw1").symlink_to(home_of(course, "s1") / "hw1")
    (collected,) = course.hub.classes.collect(course.id, early=True)
    assert [row.student for row in collected.rows] == ["s1"]
    assert [each.student for each in collected.failures] == ["s0"]
    assert not (home_of(course) / "collected/hw1/s0").exists()


@pytest.mark.parametrize("kind", ["file", "directory", "link"])
def test_a_stamp_of_their_own_keeps_nobody_from_being_collected(make_course: Callable[..., Course], kind: str) -> None:
    course = make_course(layout="nbgrader")
    stamp = home_of(course, "s0") / "hw1/timestamp.txt"
    if kind == "directory":
        (stamp / "deep").mkdir(parents=True)
    elif kind == "link":
        stamp.symlink_to("../../../class.toml")
    else:
        stamp.write_text("1970-01-01 00:00:00 UTC\n")
    before = course.files.read_text("class.toml")
    for again in (False, True):
        (collected,) = course.hub.classes.collect(course.id, early=True, again=again)
        assert sorted(row.student for row in collected.rows) == ["s0", "s1"]
        assert [row.files for row in collected.rows] == [2, 2]
        told = home_of(course) / "submitted/s0/hw1/timestamp.txt"
        assert not told.is_symlink()
        assert datetime.strptime(told.read_text(), "%Y-%m-%d %H:%M:%S UTC\n").year > 1970
    assert course.files.read_text("class.toml") == before


@pytest.mark.parametrize("layout", ["plain", "nbgrader"])
def test_nobody_has_anything(make_course: Callable[..., Course], layout: str) -> None:
    course = make_course(layout=layout)
    course.hub.project(course.projects()["s0"]).files.delete("hw1")
    foe = home_of(course, "s1")
    (foe / "hw1").rename(foe / "mine")
    (foe / "hw1").write_text("no directory")
    (collected,) = course.hub.classes.collect(course.id, early=True)
    assert list(collected.missing) == ["s0"]
    assert [(each.student, each.error) for each in collected.failures] == [
        ("s1", "'hw1' is no directory, which it has to be to be copied here")
    ]
    assert not collected.rows


def test_a_collection_that_was_not_noted_is_late_all_the_same(make_course: Callable[..., Course]) -> None:
    course = make_course()
    due = datetime.now(UTC).replace(microsecond=0) - timedelta(hours=1)
    course.declare(due=due)
    for name, late_s in (("s0", 600), ("s1", -600)):
        (home_of(course, name) / "hw1/task.py").write_text(f"print('{name}')\n")
        for file in (home_of(course, name) / "hw1").iterdir():
            at = due.timestamp() + late_s
            os.utime(file, (at, at))
    (first,) = course.hub.classes.collect(course.id)
    course.files.delete("collected/hw1.csv")  # as if the client was killed before it noted anything
    (second,) = course.hub.classes.collect(course.id)
    assert [(row.student, row.late_s, row.files) for row in second.rows] == [("s0", 600, 2), ("s1", 0, 2)]
    assert [(row.changed_at, row.due) for row in first.rows] == [(row.changed_at, row.due) for row in second.rows]
    assert sorted(path.name for path in (home_of(course) / "collected/hw1").iterdir()) == ["s0", "s1"]
    states = {operation["state"] for operation in course.hub.copies.list(plans=True)}
    assert "planned" not in states


@pytest.mark.parametrize("trick", ["file for a directory", "link for a directory", "like a new version"])
def test_what_they_have_done_late_is_late_whatever_it_looks_like(
    make_course: Callable[..., Course], trick: str
) -> None:
    course = make_course(students=0)
    course.files.write_text("hw1/data/numbers", "1\n")
    course.roster += ["foe@example.org,foe", "other@example.org,other"]
    due = datetime.now(UTC).replace(microsecond=0) - timedelta(hours=1)
    course.declare(due=due)
    course.hub.classes.apply(course.id)
    item = home_of(course, "foe") / "hw1"
    if trick == "like a new version":
        (item / "task.py").write_text("print('early')\n")
        os.utime(item / "task.py", (due.timestamp() - 600, due.timestamp() - 600))
        own = item / "task.new.py"
    else:
        (item / "data").rename(item.parent / "data")
        own = item / "data"
    if trick == "link for a directory":
        own.symlink_to("../data")
    else:
        own.write_text("print('late')\n")
    os.utime(own, (due.timestamp() + 60, due.timestamp() + 60), follow_symlinks=False)
    (report,) = course.hub.classes.collect(course.id)
    late = {row.student: row.late_s for row in report.rows}
    assert late["foe"] >= 60
    assert late["other"] == 0


def test_of_a_project_or_an_item_that_is_gone_all_files_count(make_course: Callable[..., Course]) -> None:
    course = make_course()
    due = datetime.now(UTC).replace(microsecond=0) - timedelta(hours=1)
    course.declare(due=due)
    course.hub.projects.delete(course.projects()["s0"])
    (report,) = course.hub.classes.collect(course.id)
    assert [(row.student, row.late_s > 3500) for row in report.rows] == [("s0", True), ("s1", False)]
    course.files.delete("hw1")
    (report,) = course.hub.classes.collect(course.id, again=True)
    assert [row.late_s > 3500 for row in report.rows] == [True, True]


def test_who_cannot_get_an_item_is_told_of_until_it_can_be_had(make_course: Callable[..., Course]) -> None:
    course = make_course()
    foe = home_of(course, "s0")
    (foe / "hw1").rename(foe / "mine")
    (foe / "hw1").write_text("in the way")
    for report in (course.hub.classes.apply(course.id), course.hub.classes.diff(course.id)):
        assert not report.is_idle
        assert [student for student, _ in report.handouts[0].troubles] == ["s0"]
        assert not report.failures
    assert (foe / "hw1").read_text() == "in the way"
    (foe / "hw1").unlink()
    assert not course.hub.classes.apply(course.id).handouts[0].troubles
    assert course.hub.classes.apply(course.id).is_idle


@pytest.mark.parametrize("kind", ["file", "link"])
def test_the_standing_of_who_has_something_else_in_the_place_of_an_item(
    make_course: Callable[..., Course], kind: str
) -> None:
    course = make_course()
    foe = home_of(course, "s0")
    (foe / "hw1").rename(foe / "mine")
    if kind == "file":
        (foe / "hw1").write_text("in the way")
    else:
        (foe / "hw1").symlink_to("/etc")
    words = {each.student: each.items["hw1"] for each in course.hub.classes.status(course.id)}
    assert words["s0"].startswith("cannot be handed out: ")
    assert len(words["s0"]) > len("cannot be handed out: ")
    assert words["s1"] == "handed out"
    for options in ([], ["--json"]):
        told = run(course.process, course.key, "status", course.id, *options)
        assert told.returncode == 0, told.stderr
        assert "cannot be handed out: " in " ".join(told.stdout.split())


def test_the_standing_with_an_item_that_is_no_directory(make_course: Callable[..., Course]) -> None:
    course = make_course(students=1)
    course.files.delete("hw1")
    (student,) = course.hub.classes.status(course.id)
    assert student.items["hw1"].startswith("cannot be handed out: ")


def test_an_item_is_a_directory(make_course: Callable[..., Course]) -> None:
    course = make_course()
    course.files.write_text("task.md", "Prove it.\n")
    course.files.write_text("class.toml", 'roster = "roster.csv"\n[[item]]\nname = "task"\npath = "task.md"\n')
    report = course.hub.classes.diff(course.id)
    assert report.handouts[0].error == "'task.md' is no directory, which it has to be to be copied here"


def test_a_class_file_that_is_no_text(make_course: Callable[..., Course]) -> None:
    course = make_course()
    course.files.write_bytes("class.toml", b'title = "\xff"')
    with pytest.raises(InvalidArgument, match="line 1 of the class file is no UTF-8"):
        course.hub.classes.diff(course.id)


def test_who_was_removed_by_a_student_comes_back_and_with_him_the_project(
    process: HubProcess, make_course: Callable[..., Course]
) -> None:
    course = make_course(students=1, accounts=1)
    assistant_id, key = process.person(f"assistant-{course.id}")
    course.hub.projects.add_collaborator(course.id, assistant_id)
    assert not course.hub.classes.apply(course.id).failures
    project_id = course.projects()["s0"]
    with process.hub(course.people["s0"][1]) as foe:
        foe.projects.remove_collaborator(project_id, assistant_id)
        foe.projects.delete(project_id)
    with process.hub(key) as assistant:
        report = assistant.classes.apply(course.id)
        assert [each.kind for each in report.changes] == [ChangeKind.ADD_TEACHER, ChangeKind.UNDELETE]
        assert not report.failures
        assert assistant.classes.apply(course.id).is_idle
        assert [row.student for row in assistant.classes.collect(course.id, early=True)[0].rows] == ["s0"]


def test_all_who_teach_apply_at_once(process: HubProcess, make_course: Callable[..., Course]) -> None:
    course = make_course(students=0)
    course.roster += [f"at-once-{number}@example.org,s{number}" for number in range(8)]
    course.declare()
    keys = [course.key]
    for number in range(2):
        account_id, key = process.person(f"at-once-{number}-{course.id}")
        course.hub.projects.add_collaborator(course.id, account_id)
        keys.append(key)

    def apply(key: str) -> list[str]:
        with process.hub(key) as hub:
            return [each.error for each in hub.classes.apply(course.id).failures]

    with ThreadPoolExecutor(3) as pool:
        assert list(pool.map(apply, keys)) == [[], [], []]
    assert len(course.projects()) == 8
    for key in keys:
        with process.hub(key) as hub:
            assert hub.classes.apply(course.id).is_idle


def test_many_comparisons(make_course: Callable[..., Course]) -> None:
    course = make_course(students=1)
    course.files.write_text("hw1/task.py", "print(6 * 9)\n")
    for _ in range(102):
        assert course.hub.classes.diff(course.id).handouts[0].error is None
    report = course.hub.classes.apply(course.id)
    assert report.handouts[0].error is None
    assert course.tree(course.projects()["s0"], "hw1")["task.py"] == "print(6 * 9)\n"
