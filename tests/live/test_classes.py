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
            assert all(row.files == 2 and row.changed_at for row in register.values())
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
    assert standing(course) == {"s0": "late", "s1": "collected", "s2": "late"}
    undo_newest(course)
    assert standing(course) == {"s0": "worked on", "s1": "worked on", "s2": "handed out"}

    # It is collected anew, with the lateness that it has now.
    work(course, "s0", due - timedelta(minutes=5))
    (collected,) = course.hub.classes.collect(course.id)
    assert [(row.student, row.late_s) for row in collected.rows][:2] == [("s0", 0), ("s1", 0)]
    assert standing(course) == {"s0": "collected", "s1": "collected", "s2": "late"}
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
    newest = course.hub.copies.list(course.id)[0]
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
    course.declare()
    assert not course.hub.classes.apply(course.id).failures
    projects = course.projects()
    course.hub.project(projects["s1"]).files.delete("hw1")
    (collected,) = course.hub.classes.collect(course.id, early=True)
    assert [row.student for row in collected.rows] == ["s0"]
    assert list(collected.missing) == ["s1"]
    tree = course.tree(course.id, "submitted/s0/hw1")
    assert sorted(tree) == ["data.txt", "task.py", "timestamp.txt"]
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
