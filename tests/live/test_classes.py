"""A class from its file: projects, people, handouts, work that comes in late, and grades that go back."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from projecthub.client._sync.files import ProjectFiles
from projecthub.client.classes.changes import ChangeKind
from projecthub.client.classes.register import read_register
from projecthub.errors import PermissionDenied
from tests.hubs import HubProcess

STUDENTS = 12
_NUMBERS = itertools.count()


@pytest.fixture(scope="module")
def process() -> Iterator[HubProcess]:
    process = HubProcess()
    yield process
    process.close()


@pytest.fixture
def make_course(process: HubProcess) -> Iterator[Callable[..., Course]]:
    with contextlib.ExitStack() as opened:

        def make(**options: Any) -> Course:
            course = Course(process, **options)
            opened.enter_context(course.hub)
            return course

        yield make


class Course:
    """A teacher, a course, and students, some of whom have accounts."""

    def __init__(self, process: HubProcess, *, students: int, accounts: int, layout: str = "plain") -> None:
        self.process = process
        self.teacher_id, self.key = process.person(f"teacher{next(_NUMBERS)}")
        self.hub = process.hub(self.key)
        self.id = self.hub.projects.create_project("Statistics")
        self.files = self.hub.project(self.id).files
        self.layout = layout
        self.people = {f"s{number}": process.person(f"s{number}-{self.id}") for number in range(accounts)}
        self.roster = ["email,id"]
        with process.hub() as admin:
            for name, (account_id, _) in self.people.items():
                self.roster.append(f"{admin.accounts.get(account_id)['email_address']},{name}")
        self.roster += [f"s{number}-{self.id}@example.org,s{number}" for number in range(accounts, students)]
        self.release = "release/hw1" if layout == "nbgrader" else "hw1"
        self.files.write_text(f"{self.release}/task.py", "print(6 * 7)\n")
        self.files.write_text(f"{self.release}/data.txt", "1\n2\n3\n")
        self.files.write_text(f"{self.release}/solution.py", "print(42)\n")

    def declare(self, *, due: datetime | None = None, extensions: str = "") -> None:
        self.files.write_text("roster.csv", "\n".join(self.roster))
        at = f"due = {due.isoformat()}\n" if due else ""
        text = f'title = "Statistics"\nroster = "roster.csv"\nlayout = "{self.layout}"\n'
        text += f'[[item]]\nname = "hw1"\nexclude = ["solution*"]\n{at}{extensions}'
        self.files.write_text("class.toml", text)

    def projects(self) -> dict[str, str]:
        return {each["student"]: each["project_id"] for each in self.hub.projects.of_course(self.id)}

    def tree(self, project_id: str, path: str) -> dict[str, str]:
        files = self.hub.project(project_id).files
        names = [each["name"] for each in files.list(path)]
        return {name: files.read_text(f"{path}/{name}") for name in names}


def test_a_class_from_the_first_handout_to_the_grades(process: HubProcess, make_course: Callable[..., Course]) -> None:
    course = make_course(students=STUDENTS, accounts=4)
    course.declare()
    foreseen = course.hub.classes.diff(course.id)
    assert [each.kind for each in foreseen.changes].count(ChangeKind.CREATE) == STUDENTS
    assert course.projects() == {}
    done = course.hub.classes.apply(course.id)
    assert not done.failures
    assert done.changes == foreseen.changes
    projects = course.projects()
    assert sorted(projects) == sorted(f"s{number}" for number in range(STUDENTS))
    for project_id in projects.values():
        assert sorted(course.tree(project_id, "hw1")) == ["data.txt", "task.py"]
    with process.hub(course.people["s0"][1]) as student:
        assert (
            student.projects.get(project_id=projects["s0"])[0]["title"]
            == "Statistics - " + course.roster[1].split(",")[0]
        )
        with pytest.raises(PermissionDenied):
            student.classes.status(course.id)
    assert course.hub.classes.diff(course.id).is_idle
    assert course.hub.classes.apply(course.id).is_idle

    # Two work, one throws something away; the teacher mends the task; somebody comes late.
    for name in ("s0", "s1"):
        course.hub.project(projects[name]).files.write_text("hw1/task.py", f"print('{name}')\n")
    course.hub.project(projects["s2"]).files.delete("hw1/data.txt")
    course.files.write_text("hw1/task.py", "print(6 * 9)\n")
    course.roster.append(f"late-{course.id}@example.org,late")
    course.declare()
    report = course.hub.classes.apply(course.id)
    assert [each.student for each in report.changes if each.kind is ChangeKind.CREATE] == ["late"]
    projects = course.projects()
    for name in ("s0", "s1"):
        assert course.tree(projects[name], "hw1") == {
            "data.txt": "1\n2\n3\n",
            "task.py": f"print('{name}')\n",
            "task.new.py": "print(6 * 9)\n",
        }
    assert course.tree(projects["s2"], "hw1") == {"task.py": "print(6 * 9)\n"}
    assert course.tree(projects["late"], "hw1") == {"task.py": "print(6 * 9)\n", "data.txt": "1\n2\n3\n"}
    assert course.hub.classes.apply(course.id).is_idle

    # Nothing is due, then all but one is; who changes a file after its time is late.
    assert not course.hub.classes.collect(course.id)[0].rows
    due, later = datetime.now(UTC) - timedelta(hours=1), datetime.now(UTC) + timedelta(hours=1)
    course.declare(due=due, extensions=f"extensions = {{s1 = {later.isoformat()}}}\n")
    (collected,) = course.hub.classes.collect(course.id)
    assert sorted(row.student for row in collected.rows) == sorted(set(projects) - {"s1"})
    assert list(collected.waiting) == ["s1"]
    assert not collected.missing
    assert not collected.failures
    register = read_register(course.files.read_text("collected/hw1.csv"))
    assert register["s0"].late_s > 3500
    assert course.tree(course.id, "collected/hw1/s0")["task.py"] == "print('s0')\n"
    before = course.files.read_bytes("collected/hw1.csv")
    (again,) = course.hub.classes.collect(course.id)
    assert not again.rows
    assert course.files.read_bytes("collected/hw1.csv") == before
    (early,) = course.hub.classes.collect(course.id, early=True)
    assert [row.student for row in early.rows] == ["s1"]
    assert early.rows[0].late_s == 0

    # What is graded goes back, the rest when it is there.
    course.files.write_text("graded/hw1/s0/task.py", "print('s0')  # 7 of 10\n")
    (returned,) = course.hub.classes.return_graded(course.id)
    assert [row.student for row in returned.rows] == ["s0"]
    assert len(returned.missing) == STUDENTS
    assert course.tree(projects["s0"], "hw1-graded") == {"task.py": "print('s0')  # 7 of 10\n"}
    assert not course.hub.classes.return_graded(course.id)[0].rows
    words = {each.student: each.items["hw1"] for each in course.hub.classes.status(course.id)}
    assert words["s0"] == "returned"
    assert words["s1"] == "collected"


def test_who_assists_does_the_same_and_makes_nothing_twice(
    process: HubProcess, make_course: Callable[..., Course]
) -> None:
    course = make_course(students=3, accounts=1)
    course.declare()
    course.hub.classes.apply(course.id)
    assistant_id, key = process.person("assistant")
    course.hub.projects.add_collaborator(course.id, assistant_id)
    with process.hub(key) as assistant:
        report = assistant.classes.apply(course.id)
        assert {each.kind for each in report.changes} == {ChangeKind.ADD_TEACHER}
        assert not report.failures
        assert assistant.classes.apply(course.id).is_idle
    course.hub.projects.delete(course.projects()["s1"])
    course.roster.remove(next(line for line in course.roster if line.endswith(",s2")))
    course.declare()
    report = course.hub.classes.apply(course.id)
    assert [(each.kind, each.student) for each in report.changes] == [(ChangeKind.UNDELETE, "s1")]
    assert list(report.departed) == [course.projects()["s2"]]


def test_two_who_collect_and_return_at_once_lose_nothing(
    process: HubProcess, make_course: Callable[..., Course], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One has read the register and is about to write it, when the other writes into it."""
    course = make_course(students=4, accounts=0)
    course.declare()
    course.hub.classes.apply(course.id)
    projects = course.projects()
    for name in ("s2", "s3"):
        course.hub.project(projects[name]).files.delete("hw1")
    course.hub.classes.collect(course.id, early=True)
    for name in ("s2", "s3"):
        course.hub.project(projects[name]).files.write_text("hw1/task.py", f"print('{name}')\n")
    course.files.write_text("graded/hw1/s0/task.py", "7 of 10\n")
    other_id, key = process.person("another-teacher")
    course.hub.projects.add_collaborator(course.id, other_id)
    with process.hub(key) as other:
        other.classes.apply(course.id)
        original, reads = ProjectFiles.read_with_etag, itertools.count()

        def read(files: ProjectFiles, path: str) -> tuple[bytes, str]:
            found = original(files, path)
            if path == "collected/hw1.csv" and next(reads) == 1:
                monkeypatch.setattr(ProjectFiles, "read_with_etag", original)
                (returned,) = other.classes.return_graded(course.id)
                assert [row.student for row in returned.rows] == ["s0"]
            return found

        monkeypatch.setattr(ProjectFiles, "read_with_etag", read)
        (collected,) = course.hub.classes.collect(course.id, early=True)
    assert [row.student for row in collected.rows] == ["s2", "s3"]
    register = read_register(course.files.read_text("collected/hw1.csv"))
    assert sorted(register) == ["s0", "s1", "s2", "s3"]
    assert [row.student for row in register.values() if row.returned_at] == ["s0"]


def test_two_who_do_all_of_it_at_once(process: HubProcess, make_course: Callable[..., Course]) -> None:
    course = make_course(students=8, accounts=0)
    course.declare()
    other_id, key = process.person("yet-another-teacher")
    course.hub.projects.add_collaborator(course.id, other_id)
    for number in range(8):
        course.files.write_text(f"graded/hw1/s{number}/task.py", f"{number} of 10\n")
    with process.hub(key) as other, ThreadPoolExecutor(2) as threads:
        both = [course.hub.classes, other.classes]
        assert not [
            failure for report in threads.map(lambda one: one.apply(course.id), both) for failure in report.failures
        ]
        for again in (False, True, True):
            reports = [*threads.map(lambda one, again=again: one.collect(course.id, early=True, again=again), both)]
            assert [failure for (report,) in reports for failure in report.failures] == []
            register = read_register(course.files.read_text("collected/hw1.csv"))
            assert sorted(register) == [f"s{number}" for number in range(8)]
            assert all(row.files == 2 and row.newest_at and not row.changed_at for row in register.values())
        mixed = [lambda: other.classes.return_graded(course.id), lambda: course.hub.classes.status(course.id)]
        mixed.append(lambda: course.hub.classes.return_graded(course.id))
        assert len([*threads.map(lambda work: work(), mixed)]) == 3
        register = read_register(course.files.read_text("collected/hw1.csv"))
        assert all(row.returned_at for row in register.values())
    for name, project_id in course.projects().items():
        assert course.tree(project_id, "hw1-graded") == {"task.py": f"{name[1:]} of 10\n"}


def test_one_call_takes_back_what_was_returned_or_collected(make_course: Callable[..., Course]) -> None:
    course = make_course(students=3, accounts=0)
    course.declare()
    course.hub.classes.apply(course.id)
    course.hub.classes.collect(course.id, early=True)
    for name in ("s0", "s2"):
        course.files.write_text(f"graded/hw1/{name}/task.py", f"{name}: 7 of 10\n")
    (returned,) = course.hub.classes.return_graded(course.id)
    assert ([row.student for row in returned.rows], list(returned.missing)) == (["s0", "s2"], ["s1"])
    projects, newest = course.projects(), course.hub.copies.list(course.id)
    assert course.hub.classes.return_graded(course.id)[0].rows == []
    assert course.hub.copies.list(course.id) == newest  # what was planned and not applied is no copy
    everything = course.hub.copies.list(course.id, plans=True)
    assert (everything[0]["state"], everything[0]["applied"]) == ("cancelled", False)
    assert newest[0]["state"] == "done"
    undone = course.hub.copies.undo(newest[0]["id"])
    assert [target["state"] for target in undone["targets"]] == ["undone", "missing", "undone"]
    for name in ("s0", "s2"):
        assert "hw1-graded" not in [each["name"] for each in course.hub.project(projects[name]).files.list()]
    collecting = next(one for one in newest[1:] if one["state"] == "done")
    assert course.hub.copies.undo(collecting["id"])["state"] == "undone"
    assert [each["name"] for each in course.files.list("collected")] == ["hw1.csv"]
    assert len(course.hub.classes.collect(course.id, early=True, again=True)[0].rows) == 3
    assert course.tree(course.id, "collected/hw1/s1")["data.txt"] == "1\n2\n3\n"


def standing(course: Course) -> dict[str, str]:
    return {each.student: each.items["hw1"] for each in course.hub.classes.status(course.id)}


def undo_newest(course: Course) -> None:
    """Undo what was copied into the course last."""
    done = next(one for one in course.hub.copies.list(course.id) if one["state"] == "done" and one["totals"]["files"])
    undone = course.hub.copies.undo(done["id"])
    changed = [target for target in undone["targets"] if target["files"]]
    assert {target["state"] for target in changed} == {"undone"}


def work(course: Course, student: str, at: datetime) -> None:
    """Have a student change a file at some time."""
    project_id = course.projects()[student]
    course.hub.project(project_id).files.write_text("hw1/task.py", f"print('{at}')\n")
    file = course.process.data_dir / "projects" / project_id / "home/hw1/task.py"
    for each in file.parent.iterdir():
        os.utime(each, (at.timestamp(), at.timestamp()))


@pytest.mark.parametrize("layout", ["plain", "nbgrader"])
def test_what_was_undone_was_not_collected(make_course: Callable[..., Course], layout: str) -> None:
    course = make_course(students=3, accounts=0, layout=layout)
    due = datetime.now(UTC).replace(microsecond=0) - timedelta(hours=1)
    course.declare()
    course.hub.classes.apply(course.id)
    folder = "submitted" if layout == "nbgrader" else "collected"
    place = f"{folder}/s0/hw1" if layout == "nbgrader" else f"{folder}/hw1/s0"
    work(course, "s0", due + timedelta(minutes=10))
    work(course, "s1", due - timedelta(minutes=10))
    course.declare(due=due)
    assert len(course.hub.classes.collect(course.id)[0].rows) == 3
    assert standing(course) == {"s0": "late", "s1": "collected", "s2": "collected"}
    undo_newest(course)
    assert standing(course) == {"s0": "worked on", "s1": "worked on", "s2": "handed out"}

    # It is collected anew, with the lateness that it has now.
    work(course, "s0", due - timedelta(minutes=5))
    (collected,) = course.hub.classes.collect(course.id)
    assert [(row.student, row.late_s) for row in collected.rows][:2] == [("s0", 0), ("s1", 0)]
    assert standing(course) == {"s0": "collected", "s1": "collected", "s2": "collected"}
    if layout == "nbgrader":
        stamped = course.files.read_text(f"{place}/timestamp.txt")
        assert stamped == f"{due - timedelta(minutes=5):%Y-%m-%d %H:%M:%S} UTC\n"
    assert not course.hub.classes.collect(course.id)[0].rows

    # What is collected again, and undone, is what was collected before.
    first = read_register(course.files.read_text(f"{folder}/hw1.csv"))["s0"]
    time.sleep(1)
    work(course, "s0", due + timedelta(minutes=20))
    assert len(course.hub.classes.collect(course.id, again=True)[0].rows) == 3
    assert standing(course)["s0"] == "late"
    undo_newest(course)
    assert standing(course)["s0"] == "collected"
    assert not course.hub.classes.collect(course.id)[0].rows
    (again,) = course.hub.classes.collect(course.id, again=True)
    assert {row.student: (row.late_s, row.earlier_at) for row in again.rows}["s0"] == (1200, first.collected_at)

    # What is undone, and not due any more, is in no register.
    undo_newest(course)
    undo_newest(course)
    undo_newest(course)
    course.declare(due=datetime.now(UTC) + timedelta(hours=1))
    assert sorted(course.hub.classes.collect(course.id)[0].waiting) == ["s0", "s1", "s2"]
    assert read_register(course.files.read_text(f"{folder}/hw1.csv")) == {}
    left = [each["name"] for each in course.files.list(place.rpartition("/")[0])] if layout == "nbgrader" else []
    assert left == []


def set_time(course: Course, student: str | None, path: str, at: datetime) -> None:
    """Date a file of a student, or of the course."""
    project_id = course.id if student is None else course.projects()[student]
    os.utime(course.process.data_dir / "projects" / project_id / "home" / path, (at.timestamp(), at.timestamp()))


def test_only_what_students_have_made_or_changed_is_late(make_course: Callable[..., Course]) -> None:
    course = make_course(students=9, accounts=0)
    due = datetime.now(UTC).replace(microsecond=0) - timedelta(hours=4)
    course.files.write_text("hw1/old.txt", "left out later\n")
    set_time(course, None, "hw1/old.txt", due - timedelta(hours=2))
    course.declare(due=due)
    course.hub.classes.apply(course.id)
    projects = course.projects()
    late = due + timedelta(hours=1)

    def write(student: str, name: str, text: str, at: datetime) -> None:
        course.hub.project(projects[student]).files.write_text(f"hw1/{name}", text)
        set_time(course, student, f"hw1/{name}", at)

    set_time(course, "s1", "hw1/task.py", late)  # touched, and not changed
    write("s2", "task.py", "print(2)\n", late)
    write("s3", "task.py", "print(3)\n", due - timedelta(hours=1))
    write("s4", "own/notes.txt", "mine\n", late)
    write("s5", "old.txt", "changed\n", late)
    write("s6", "solution.py", "mine\n", late)
    course.hub.project(projects["s7"]).files.delete("hw1/data.txt")
    write("s7", "data.txt/one", "in its place\n", late)
    # The teacher mends a task after it was due, and leaves a file out.
    course.files.write_text("hw1/task.py", "print(6 * 9)\n")
    course.files.delete("hw1/old.txt")
    course.hub.classes.apply(course.id)
    assert course.tree(projects["s3"], "hw1")["task.new.py"] == "print(6 * 9)\n"
    write("s8", "task.py", "print(8)\n", due - timedelta(hours=1))
    (report,) = course.hub.classes.collect(course.id)
    assert {row.student: row.late_s for row in report.rows} == {
        name: 3600 if name in ("s2", "s4", "s5", "s6", "s7") else 0 for name in projects
    }


def test_lateness_is_that_of_what_was_collected_and_none_of_the_future(make_course: Callable[..., Course]) -> None:
    course = make_course(students=1, accounts=0)
    course.declare()
    course.hub.classes.apply(course.id)
    due = datetime.now(UTC).replace(microsecond=0) - timedelta(hours=1)
    work(course, "s0", datetime(2035, 1, 1, tzinfo=UTC))
    course.declare(due=due)
    (row,) = course.hub.classes.collect(course.id)[0].rows
    assert (row.changed_at, row.newest_at) == (row.collected_at, datetime(2035, 1, 1, tzinfo=UTC))
    assert 3600 <= row.late_s < 4000
    work(course, "s0", due - timedelta(minutes=1))
    (second,) = course.hub.classes.collect(course.id, again=True)[0].rows
    assert (second.changed_at, second.late_s) == (due - timedelta(minutes=1), 0)
    assert standing(course) == {"s0": "collected"}
    # It was newer, and is there again.
    undo_newest(course)
    assert standing(course) == {"s0": "late"}
    (third,) = course.hub.classes.collect(course.id, again=True)[0].rows
    assert (third.earlier_at, third.earlier_changed_at) == (row.collected_at, row.changed_at)


@pytest.mark.parametrize("again", [False, True])
def test_what_was_collected_before_it_was_due_is_collected_when_it_is(
    make_course: Callable[..., Course], again: bool
) -> None:
    course = make_course(students=3, accounts=0)
    now = datetime.now(UTC).replace(microsecond=0)
    course.declare(due=now + timedelta(hours=1))
    course.hub.classes.apply(course.id)
    work(course, "s0", now - timedelta(hours=2))
    assert len(course.hub.classes.collect(course.id, early=True)[0].rows) == 3
    first = read_register(course.files.read_text("collected/hw1.csv"))["s0"]
    assert not course.hub.classes.collect(course.id, early=True)[0].rows
    work(course, "s0", now - timedelta(hours=1))
    due = datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=2)
    course.declare(due=due, extensions=f"extensions = {{s1 = {(now + timedelta(hours=1)).isoformat()}}}\n")
    assert not course.hub.classes.collect(course.id)[0].rows
    while datetime.now(UTC) < due + timedelta(milliseconds=100):
        time.sleep(0.1)
    (report,) = course.hub.classes.collect(course.id, again=again)
    assert [row.student for row in report.rows] == ["s0", "s2"]
    assert list(report.waiting) == (["s1"] if again else [])
    row = read_register(course.files.read_text("collected/hw1.csv"))["s0"]
    assert (row.due, row.late_s, row.earlier_at) == (due, 0, first.collected_at)
    assert course.tree(course.id, "collected/hw1/s0")["task.py"] == f"print('{now - timedelta(hours=1)}')\n"
    assert not course.hub.classes.collect(course.id)[0].rows
    # What was collected first is not lost.
    undo_newest(course)
    assert course.tree(course.id, "collected/hw1/s0")["task.py"] == f"print('{now - timedelta(hours=2)}')\n"


def test_a_due_date_that_was_moved_to_before_the_collection_changes_who_was_late(
    make_course: Callable[..., Course],
) -> None:
    course = make_course(students=2, accounts=0)
    course.declare()
    course.hub.classes.apply(course.id)
    due = datetime.now(UTC).replace(microsecond=0) - timedelta(hours=2)
    for name in ("s0", "s1"):
        work(course, name, due + timedelta(hours=1))
    course.declare(due=due)
    assert [row.late_s for row in course.hub.classes.collect(course.id)[0].rows] == [3600, 3600]
    course.declare(due=due, extensions=f"extensions = {{s0 = {(due + timedelta(hours=1)).isoformat()}}}\n")
    assert standing(course) == {"s0": "collected", "s1": "late"}
    assert not course.hub.classes.collect(course.id)[0].rows
    register = read_register(course.files.read_text("collected/hw1.csv"))
    assert [(row.student, row.late_s) for row in register.values()] == [("s0", 0), ("s1", 3600)]


def test_what_was_returned_stays_so_when_it_is_collected_again(make_course: Callable[..., Course]) -> None:
    course = make_course(students=1, accounts=0)
    course.declare()
    course.hub.classes.apply(course.id)
    course.hub.classes.collect(course.id, early=True)
    course.files.write_text("graded/hw1/s0/task.py", "7 of 10\n")
    (returned,) = course.hub.classes.return_graded(course.id)[0].rows
    (row,) = course.hub.classes.collect(course.id, early=True, again=True)[0].rows
    assert row.returned_at == returned.returned_at
    assert standing(course) == {"s0": "returned"}


def test_who_has_handed_in_nothing_is_missing_and_nothing_has_failed(make_course: Callable[..., Course]) -> None:
    course = make_course(students=4, accounts=0)
    course.declare()
    course.hub.classes.apply(course.id)
    projects = course.projects()
    course.hub.project(projects["s0"]).files.delete("hw1")
    course.hub.projects.delete(projects["s1"])
    course.roster.append("late@example.org,late")
    course.declare()
    collected = run(course.process, course.key, "collect", course.id, "--early", "--json")
    assert collected.returncode == 0, collected.stderr
    (report,) = json.loads(collected.stdout)
    assert [row["student"] for row in report["rows"]] == ["s1", "s2", "s3"]
    assert (sorted(report["missing"]), report["failures"]) == (["late", "s0"], [])
    newest = next(one for one in course.hub.copies.list(course.id) if one["state"] != "cancelled")
    assert (newest["state"], newest["totals"]["states"]) == ("done", {"done": 3, "missing": 1})
    told = run(course.process, course.key, "collect", course.id, "--early")
    assert told.returncode == 0
    assert "hw1: 0 collected, nothing there from 2" in told.stderr
    assert {one["state"] for one in course.hub.copies.list(course.id)} == {"done"}

    # Something else in the place of the directory is a failure as ever.
    course.hub.project(projects["s0"]).files.write_text("hw1", "no directory")
    failed = run(course.process, course.key, "collect", course.id, "--early", "--json")
    assert failed.returncode == 1
    assert [each["student"] for each in json.loads(failed.stdout)[0]["failures"]] == ["s0"]


def test_the_layout_of_nbgrader(make_course: Callable[..., Course]) -> None:
    course = make_course(students=2, accounts=0, layout="nbgrader")
    due = datetime.now(UTC).replace(microsecond=0) - timedelta(hours=1)
    course.declare(due=due)
    assert not course.hub.classes.apply(course.id).failures
    projects = course.projects()
    course.hub.project(projects["s1"]).files.delete("hw1")
    (collected,) = course.hub.classes.collect(course.id, early=True)
    assert [row.student for row in collected.rows] == ["s0"]
    assert list(collected.missing) == ["s1"]
    tree = course.tree(course.id, "submitted/s0/hw1")
    assert sorted(tree) == ["data.txt", "task.py", "timestamp.txt"]
    assert tree["timestamp.txt"] == f"{due:%Y-%m-%d %H:%M:%S} UTC\n"  # nothing was done, which is not late
    assert datetime.strptime(tree["timestamp.txt"], "%Y-%m-%d %H:%M:%S UTC\n")
    course.files.write_text("feedback/s0/hw1/task.html", "<p>Good</p>")
    (returned,) = course.hub.classes.return_graded(course.id)
    assert [row.student for row in returned.rows] == ["s0"]
    assert course.tree(projects["s0"], "hw1-graded") == {"task.html": "<p>Good</p>"}


def run(process: HubProcess, key: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "projecthub", "--url", process.url, "--api-key", key, "class", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


def test_the_command_line(process: HubProcess, tmp_path: Path) -> None:
    _, key = process.person(f"teacher{next(_NUMBERS)}")
    with process.hub(key) as hub:
        course = hub.projects.create_project('Logic "1"')
        hub.project(course).files.write_text("hw1/task.md", "Prove it.\n")
    roster = tmp_path / "roster.csv"
    roster.write_text("email;id\nada-cli@example.org;ada\nbob-cli@example.org;bob\n")
    made = run(process, key, "init", course, "--roster", str(roster))
    assert made.returncode == 0, made.stderr
    assert run(process, key, "init", course).returncode == 1
    foreseen = json.loads(run(process, key, "diff", course, "--json").stdout)
    assert [each["kind"] for each in foreseen["changes"]].count("create project") == 2
    assert foreseen["title"] == 'Logic "1"'
    assert "2 students get what is handed out once" in run(process, key, "diff", course).stderr
    applied = run(process, key, "apply", course)
    assert "once their projects are there" not in applied.stderr
    assert applied.returncode == 0, applied.stderr
    assert "create project" in applied.stdout
    assert "nothing to do" in run(process, key, "apply", course, "hw1").stderr
    with process.hub(key) as hub:
        projects = {each["student"]: each["project_id"] for each in hub.projects.of_course(course)}
        hub.project(projects["ada"]).files.write_text("hw1/task.md", "QED\n")
        hub.project(course).files.write_text("hw1/task.md", "Prove it, please.\n")
        hub.project(course).files.write_text("hw1/hint.md", "Think.\n")
    for command, verb in (("diff", "TO WRITE"), ("apply", "WRITTEN")):
        told = run(process, key, command, course).stdout.splitlines()
        assert told[0].split("  ")[-1].strip() == verb
        assert told[1].split() == ["hw1", "2", "2", "1", "0", "1", "4"]  # new, by us, by them, by both, files
    unknown = run(process, key, "apply", course, "hw7")
    assert unknown.returncode == 1
    assert "there is no item 'hw7' in the class; there are: hw1" in unknown.stderr
    collected = run(process, key, "collect", course, "--early")
    assert collected.returncode == 0, collected.stderr
    assert "hw1: 2 collected" in collected.stderr
    assert "ada" in run(process, key, "status", course).stdout
    with process.hub(key) as hub:
        hub.project(course).files.write_text("class.toml", "title = ")
    broken = run(process, key, "diff", course)
    assert broken.returncode == 1
    assert "the class file is no TOML" in broken.stderr


def tell(course: Course, *arguments: str, ends: int = 0) -> subprocess.CompletedProcess[str]:
    command, *rest = arguments
    told = run(course.process, course.key, command, course.id, *rest)
    assert told.returncode == ends, told.stderr
    return told


def test_the_standing_tells_of_due_dates_and_deleted_projects_in_the_order_of_the_file(
    make_course: Callable[..., Course],
) -> None:
    course = make_course(students=2, accounts=0)
    course.roster = ["email,id,group", "s0@example.org,s0,A", "s1@example.org,s1,B"]
    course.declare()
    at = datetime(2031, 1, 31, 18, tzinfo=UTC)
    course.files.write_text("zz/task", "1")
    course.files.write_text("aa/task", "1")
    text = 'title = "T"\nroster = "roster.csv"\n[[item]]\nname = "zz"\ngroups = ["B"]\n'
    text += f'due = {at.isoformat()}\n[item.extensions]\ns1 = 2031-02-05\n[[item]]\nname = "aa"\n'
    course.files.write_text("class.toml", text + '[[item]]\nname = "hw1"\ngroups = ["C"]\n')
    course.hub.classes.apply(course.id)
    deleted = course.projects()["s0"]
    course.hub.projects.delete(deleted)
    told = tell(course, "status")
    heads, first, _ = told.stdout.splitlines()
    assert heads.split() == ["STUDENT", "NAME", "ACCOUNT", "PROJECT", "ZZ", "AA", "HW1"]
    assert f"{deleted} (deleted)" in first
    assert f"zz: due {at.astimezone():%Y-%m-%d %H:%M}; extensions: s1 2031-02-05 " in told.stderr
    assert "aa: no due date\n" in told.stderr
    assert "item 'hw1' is for nobody" in told.stderr
    rows = json.loads(tell(course, "status", "--json").stdout)
    assert [(row["project_deleted"], row["due"]) for row in rows] == [
        (True, {"aa": None}),
        (False, {"zz": "2031-02-05T23:59:59+00:00", "aa": None}),
    ]
    for command in ("diff", "apply"):
        assert "item 'hw1': nobody is in group 'C'" in tell(course, command).stderr


def test_what_is_returned_is_told(make_course: Callable[..., Course]) -> None:
    course = make_course(students=4, accounts=0)
    course.declare()
    course.hub.classes.apply(course.id)
    assert "hw1: 0 collected, no due date for 4 (--early collects from them)\n" in tell(course, "collect").stderr
    course.declare(due=datetime.now(UTC) + timedelta(hours=1))
    assert "hw1: 0 collected, 4 not due yet\n" in tell(course, "collect").stderr
    tell(course, "collect", "--early")
    course.files.write_text("graded/hw1/s0/report.txt", "7 of 10\n")
    course.files.write_text("graded/hw1/st99/report.txt", "1 of 10\n")
    course.files.write_text("graded/hw1/grades.csv", "s0,7\n")
    course.files.write_text("graded/hw1/s2", "8 of 10\n")
    told = tell(course, "return", ends=1)
    assert [line.split() for line in told.stdout.splitlines()] == [["ITEM", "STUDENT", "FILES"], ["hw1", "s0", "1"]]
    assert "hw1, s2: 'graded/hw1/s2' is no directory" in told.stderr
    assert "hw1: 'graded/hw1/st99' is of nobody whom it can be returned to\n" in told.stderr
    assert "grades.csv" not in told.stderr
    assert "hw1: 1 returned, nothing there from 2 (s1, s3)\n" in told.stderr
    assert "hw1-graded" not in [each["name"] for each in course.hub.project(course.projects()["s2"]).files.list()]
    course.files.delete("graded/hw1/s2")
    assert "hw1: 0 returned, nothing there from 3 (s1, s2, s3)\n" in tell(course, "return").stderr
    assert standing(course)["s0"] == "returned"

    # What is taken back was not returned, until it is again; what a student throws away was.
    project = course.hub.project(course.projects()["s0"])
    returning = next(one for one in course.hub.copies.list(project.project_id) if one["state"] != "cancelled")
    course.hub.copies.undo(returning["id"])
    assert standing(course)["s0"] == "collected"
    assert [*course.hub.classes.return_graded(course.id)[0].returned.items()] == [("s0", 1)]
    assert standing(course)["s0"] == "returned"
    project.files.delete("hw1-graded")
    assert standing(course)["s0"] == "returned"


def test_graded_work_of_nobody_in_the_layout_of_nbgrader(make_course: Callable[..., Course]) -> None:
    course = make_course(students=1, accounts=0, layout="nbgrader")
    course.declare()
    course.hub.classes.apply(course.id)
    course.files.write_text("feedback/s0/hw1/a.html", "7 of 10")
    course.files.write_text("feedback/st99/hw1/a.html", "7 of 10")
    (report,) = course.hub.classes.return_graded(course.id)
    assert (report.returned, list(report.strays)) == ({"s0": 1}, ["feedback/st99"])


def test_people_are_called_by_name_and_who_got_no_mail_is_told_of(
    process: HubProcess, make_course: Callable[..., Course]
) -> None:
    course = make_course(students=2, accounts=1)
    course.declare()
    assistant_id, _ = process.person("assistant-with-a-name")
    course.hub.projects.add_collaborator(course.id, assistant_id)
    with process.hub() as admin:
        student = course.roster[1].split(",")[0]
        name = admin.system.get_names([assistant_id])[assistant_id]
    told = tell(course, "apply")
    for added in (student, f"{name['first_name']} {name['last_name']}".strip()):
        assert f"  {added}" in told.stdout
    assert assistant_id not in told.stdout
    assert course.people["s0"][0] not in told.stdout
    assert [line.split()[0] for line in told.stdout.splitlines() if "/invite/" in line] == ["s1"]
    assert "no mail was sent to 1 students: pass the links on yourself" in told.stderr
    assert "no mail" not in tell(course, "apply").stderr


def test_what_is_missing_says_how_to_begin(make_course: Callable[..., Course]) -> None:
    course = make_course(students=1, accounts=0)
    told = tell(course, "diff", ends=3).stderr
    assert "there is no class file 'class.toml' in the project" in told
    assert "projecthub class init" in told
    course.declare()
    course.files.delete("roster.csv")
    assert "there is no roster 'roster.csv', which the class file names" in tell(course, "diff", ends=3).stderr


def test_to_compare_and_to_apply_fail_alike(make_course: Callable[..., Course]) -> None:
    course = make_course(students=2, accounts=0)
    course.declare()
    tell(course, "diff")
    tell(course, "apply")
    files = course.hub.project(course.projects()["s0"]).files
    files.delete("hw1")
    files.write_text("hw1", "in the way")
    for command in ("diff", "apply"):
        assert "hw1, s0: " in tell(course, command, ends=1).stderr
