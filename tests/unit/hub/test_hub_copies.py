"""Copies from one project to many and from many to one: plans, what comes of them, and who may do what."""

from __future__ import annotations

import asyncio
import os
import uuid
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import psutil
import pytest
from house import House
from sqlalchemy import Engine, event

from projecthub.errors import (
    Conflict,
    HubError,
    InvalidArgument,
    LimitError,
    NotFound,
    PermissionDenied,
    StoreUnavailable,
)
from projecthub.files import Homes
from projecthub.files.copying import sync_file_system
from projecthub.hub.copies import single, trimming, undoing
from projecthub.hub.copies.applying import BATCH
from projecthub.hub.copies.service import MAX_PLANS
from projecthub.hub.homes import ProjectHomes
from projecthub.hub.principals import Principal
from projecthub.hub.quotas import QuotaDefaults, Quotas
from projecthub.store.copy_records import CopyState, TargetState
from projecthub.wire import copies as wire
from projecthub.wire.ids import ProjectId
from projecthub.wire.shapes import CopyPath, RemoveCollaborator

MB = 1_000_000
Tree = dict[str, str | None]


class Class:
    """A course, and students with a project each."""

    def __init__(self, house: House, teacher: Principal, course: ProjectId, students: list[ProjectId]) -> None:
        self.house = house
        self.teacher = teacher
        self.course = course
        self.students = students

    def home(self, project_id: ProjectId) -> Path:
        return self.house.homes.path(project_id)

    def write(self, project_id: ProjectId, path: str, text: str, *, age_s: float = 0) -> Path:
        file = self.home(project_id) / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        if age_s:
            at = file.stat().st_mtime - age_s
            os.utime(file, (at, at))
        return file

    def tree(self, project_id: ProjectId, path: str = "hw") -> Tree:
        top = self.home(project_id) / path
        return {
            str(file.relative_to(top)): file.read_text() if file.is_file() else None for file in sorted(top.rglob("*"))
        }

    def request(self, **options: Any) -> wire.PlanCopies:
        source = {"project_id": self.course, "path": "hw"}
        return wire.PlanCopies(**{"source": source, "targets": self.students, **options})

    async def plan(self, **options: Any) -> wire.CopyOperation:
        return await self.house.copies.plan(self.teacher, self.request(**options))

    async def apply(self, plan: wire.CopyOperation, **options: Any) -> wire.CopyOperation:
        return await self.house.copies.apply(self.teacher, wire.ApplyCopies(id=plan["id"], **options))

    async def hand_out(self, **options: Any) -> wire.CopyOperation:
        return await self.apply(await self.plan(**options))

    async def undo(self, operation: wire.CopyOperation, *numbers: int) -> wire.CopyOperation:
        wanted = wire.UndoCopies(id=operation["id"], targets=[*numbers] or None)
        return await self.house.copies.undo(self.teacher, wanted)

    async def get(self, operation: wire.CopyOperation) -> wire.CopyOperation:
        return await self.house.copies.get(self.teacher, wire.GetCopies(id=operation["id"]))

    async def restart(self) -> None:
        """The hub ends, and another one is there."""
        await self.house.copies.close()
        self.house.join()
        await self.house.copies.open()


@pytest.fixture
async def of(house: House, ann: Principal, bob: Principal) -> Class:
    course = await house.project(ann)
    students = [await house.project(bob, ann) for _ in range(3)]
    made = Class(house, ann, course, students)
    for project_id in (course, *students):
        await house.homes.opened(await house.row(project_id))
    made.write(course, "hw/a.txt", "one", age_s=100)
    made.write(course, "hw/deep/b.txt", "two", age_s=100)
    return made


def states(operation: wire.CopyOperation) -> list[str]:
    return [target["state"] for target in operation["targets"]]


def counts(operation: wire.CopyOperation, number: int = 0) -> dict[str, int]:
    return {status: n for status, n in operation["targets"][number]["counts"].items() if n}


def everything(of: Class) -> dict[str, Any]:
    return {project: of.tree(project, ".") for project in of.students}


# -- plans ------------------------------------------------------------------------------------------


async def test_a_plan_changes_nothing_and_tells_what_would_be(of: Class) -> None:
    of.write(of.students[1], "hw/a.txt", "theirs")
    before = everything(of)
    plan = await of.plan(policy="keep")
    assert (plan["state"], states(plan)) == ("planned", ["planned"] * 3)
    assert (counts(plan), counts(plan, 1)) == ({"new": 2}, {"new": 1, "changed_by_them": 1})
    assert (plan["targets"][0]["files"], plan["targets"][0]["bytes"]) == (2, 6)
    assert plan["totals"]["counts"]["new"] == 5
    assert plan["totals"]["states"] == {"planned": 3}
    assert plan["progress"] == {"files": 0, "bytes": 0, "targets_done": 0, "targets": 3}
    assert everything(of) == before
    assert [entry for student in of.students for entry in await of.house.log(student)] == []


async def test_files_of_a_plan_in_pages(of: Class) -> None:
    plan = await of.plan()
    files = of.house.copies.files

    async def page(**options: Any) -> wire.PlannedFiles:
        return await files(of.teacher, wire.CopyFiles(id=plan["id"], number=2, **options))

    first = await page(limit=1)
    assert first["next"] == first["files"][0]["number"]
    rest = await page(after=first["next"])
    assert rest["next"] is None
    found = first["files"] + rest["files"]
    assert {file["path"] for file in found} >= {"hw/a.txt", "hw/deep/b.txt"}
    assert {(file["status"], file["action"]) for file in found} == {("new", "write")}
    assert (await page(statuses=["conflict"]))["files"] == []
    for options, error in (
        ({"statuses": ["old"]}, InvalidArgument),
        ({"limit": 0}, InvalidArgument),
        ({"limit": 10_001}, InvalidArgument),
    ):
        with pytest.raises(error):
            await page(**options)
    with pytest.raises(NotFound, match="no target 3"):
        await files(of.teacher, wire.CopyFiles(id=plan["id"], number=3))
    await of.house.copies.cancel(of.teacher, wire.CancelCopies(id=plan["id"]))
    with pytest.raises(NotFound, match="no list of files is kept"):
        await page()


async def test_a_source_that_is_not_there_is_told_and_no_plan_stays(of: Class) -> None:
    with pytest.raises(NotFound):
        await of.plan(source={"project_id": of.course, "path": "nowhere"})
    assert await of.house.copies.page(of.teacher, wire.ListCopies()) == []
    assert [*of.house.homes.operations.iterdir()] == []


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"targets": []}, "nothing to copy to"),
        ({"targets": None}, "either source"),
        ({"source": None}, "either source"),
        ({"sources": []}, "either source"),
        ({"target": {}}, "either source"),
        ({"source": {"project_id": "x", "path": "hw"}}, "source.project_id 'x'"),
        ({"source": {"path": "hw"}}, "source.project_id 'null'"),
        ({"targets": ["x"]}, r"targets\[0\].project_id 'x'"),
        ({"targets": [{"project_id": str(uuid.uuid4()), "path": 5}]}, r"targets\[0\].path is 5"),
        ({"targets": [{"project_id": str(uuid.uuid4()), "paht": "x"}]}, "'paht'"),
        ({"targets": [str(uuid.uuid4())] * 10_001}, "10001 pairs"),
        ({"policy": "destroy"}, "policy 'destroy' is unknown; give update"),
    ],
)
async def test_what_makes_no_sense(of: Class, change: dict[str, Any], told: str) -> None:
    with pytest.raises(InvalidArgument, match=told):
        await of.plan(**change)
    assert await of.house.copies.page(of.teacher, wire.ListCopies()) == []


@pytest.mark.parametrize("path", ["../x", "/../x", "a/../../x", "x\0y"])
async def test_paths_that_lead_out(of: Class, path: str) -> None:
    for change in (
        {"source": {"project_id": of.course, "path": path}},
        {"targets": [{"project_id": of.students[0], "path": path}]},
        {"source": None, "targets": None, "sources": [{"project_id": of.course, "path": path}],
         "target": {"project_id": of.students[0]}},
        {"source": None, "targets": None, "target": {"project_id": of.students[0]},
         "sources": [{"project_id": of.course, "path": "hw", "target_path": path}]},
    ):  # fmt: skip
        with pytest.raises(InvalidArgument):
            await of.plan(**change)


@pytest.mark.parametrize(
    ("one", "other"), [("hw", "hw"), ("hw", "./hw/"), ("hw", "hw/deep"), (".", "hw"), ("a/b", "a")]
)
async def test_two_copies_to_one_place(of: Class, one: str, other: str) -> None:
    student = of.students[0]
    targets = [{"project_id": student, "path": path} for path in (one, other)]
    with pytest.raises(InvalidArgument, match=f"two copies would go to one place.*'{student}'"):
        await of.plan(targets=targets)


async def test_places_beside_each_other(of: Class) -> None:
    targets = [{"project_id": of.students[0], "path": path} for path in ("hw", "hw2", "hw-3", "deep/hw")]
    done = await of.hand_out(targets=targets)
    assert states(done) == ["done"] * 4
    assert of.tree(of.students[0], "deep/hw") == of.tree(of.course)


async def test_the_oldest_of_too_many_plans_gives_way(of: Class) -> None:
    plans = []
    for _ in range(MAX_PLANS + 1):
        plans.append(await of.plan(targets=of.students[:1]))
        of.house.clock.advance(seconds=1)
    found = [await of.get(plan) for plan in plans]
    assert [each["state"] for each in found] == ["cancelled"] + ["planned"] * MAX_PLANS
    assert states(found[0]) == ["cancelled"]
    directories = {path.name for path in of.house.homes.operations.iterdir()}
    assert directories == {plan["id"] for plan in plans[1:]}
    with pytest.raises(Conflict, match="is cancelled; plan again"):
        await of.apply(plans[0])
    assert (await of.apply(plans[1]))["state"] == "done"


async def test_plans_that_are_being_made_do_not_give_way(of: Class, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("projecthub.hub.copies.service.MAX_PLANS", 2)
    for _ in range(2):
        await of.plan(wait=False)
    with pytest.raises(LimitError, match="2 plans of yours are being made"):
        await of.plan()


async def test_a_source_that_has_to_be_a_directory(of: Class) -> None:
    home = of.home(of.course)
    (home / "to_file").symlink_to("hw/a.txt")
    (home / "to_hw").symlink_to("hw")
    before = everything(of)
    for path in ("hw/a.txt/", "to_file/"):
        with pytest.raises(InvalidArgument, match="is no directory"):
            await of.plan(source={"project_id": of.course, "path": path})
    assert everything(of) == before
    for path in ("hw/", "to_hw/"):
        done = await of.hand_out(source={"project_id": of.course, "path": path})
        assert of.tree(of.students[0], path) == of.tree(of.course), done


@pytest.mark.parametrize("paths", [("", ""), ("hw", ""), ("", "backup"), (".", "./")])
@pytest.mark.parametrize("is_single", [True, False])
async def test_what_the_hub_keeps_in_a_home_is_no_part_of_a_copy(
    of: Class, paths: tuple[str, str], is_single: bool
) -> None:
    source, target = paths
    student = of.students[0]
    of.write(of.course, f"{source or '.'}/.projecthub/trash/1/content", "the solution")
    of.write(student, ".projecthub/jobs/1", "theirs")
    if is_single:
        wanted = CopyPath(
            src_project_id=of.course,
            src_path=source,
            target_project_id=student,
            target_path=target,
            delete_missing=True,
            overwrite_newer=True,
        )
        await of.house.copies.copy(of.teacher, wanted)
    else:
        await of.hand_out(
            source={"project_id": of.course, "path": source},
            targets=[{"project_id": student, "path": target}],
            policy="overwrite",
            delete_missing=True,
        )
    tree = of.tree(student, ".")
    assert tree[".projecthub/jobs/1"] == "theirs"
    assert "the solution" not in tree.values()
    assert "one" in tree.values()


@pytest.mark.parametrize("suffix", ["*.plan", "*.manifest", "*"])
async def test_a_plan_whose_lists_no_backup_held(of: Class, suffix: str) -> None:
    plan = await of.plan()
    lists = [*(of.house.homes.operations / plan["id"]).glob(suffix)]
    assert lists
    for path in lists:
        path.unlink()
    refused = await of.apply(plan)
    assert states(refused) == ["refused"] * 3
    assert "what was planned is gone" in refused["targets"][0]["error"]
    again = await of.house.copies.retry(of.teacher, wire.RetryCopies(id=plan["id"]))
    assert states(again) == ["done"] * 3


async def test_what_was_copied_to_is_replaced_by_another(of: Class) -> None:
    await of.hand_out(targets=of.students[:1])
    of.write(of.course, "hw/c.txt", "three")
    done = await of.hand_out(targets=of.students[:1])
    (of.home(of.students[0]) / "hw").rename(of.home(of.students[0]) / "old")
    of.write(of.students[0], "hw/a.txt", "restored")
    undone = await of.undo(done)
    assert undone["targets"][0]["error"] == (
        "it was not undone: 'hw' is not what was copied to any more; nothing was undone"
    )
    assert of.tree(of.students[0]) == {"a.txt": "restored"}


async def test_work_that_was_copied_there_from_elsewhere_is_theirs(of: Class, bob: Principal) -> None:
    await of.hand_out(policy="merge")
    elsewhere = await of.house.project(bob)
    of.write(elsewhere, "hw/a.txt", "hours of work", age_s=50)
    of.write(elsewhere, "hw/deep/b.txt", "two", age_s=50)
    theirs = CopyPath(
        src_project_id=elsewhere, src_path="hw", target_project_id=of.students[0], target_path="hw", timeout=None
    )
    await of.house.copies.copy(bob, theirs)
    of.write(of.course, "hw/a.txt", "one, mended")
    done = await of.hand_out(policy="merge")
    assert counts(done) == {"same": 1, "conflict": 1}
    assert of.tree(of.students[0]) == {
        "a.new.txt": "one, mended",
        "a.txt": "hours of work",
        "deep": None,
        "deep/b.txt": "two",
    }
    assert of.tree(of.students[1])["a.txt"] == "one, mended"


# -- applying ---------------------------------------------------------------------------------------


async def test_what_is_planned_is_done(of: Class) -> None:
    done = await of.hand_out()
    assert (done["state"], states(done)) == ("done", ["done"] * 3)
    assert all(of.tree(student) == of.tree(of.course) for student in of.students)
    assert done["totals"]["files"] == 6
    assert done["progress"]["targets_done"] == 3
    [listed] = await of.house.copies.page(of.teacher, wire.ListCopies())
    assert "targets" not in listed
    assert {**listed, "targets": done["targets"]} == await of.get(done)


async def test_a_second_run_copies_nothing(of: Class) -> None:
    await of.hand_out()
    before = {student: (of.home(student) / "hw" / "a.txt").stat().st_ino for student in of.students}
    again = await of.hand_out()
    assert (again["state"], again["totals"]["files"]) == ("done", 0)
    assert counts(again) == {"same": 2}
    assert {student: (of.home(student) / "hw" / "a.txt").stat().st_ino for student in of.students} == before


async def test_collecting(of: Class) -> None:
    for n, student in enumerate(of.students):
        of.write(student, "hw/answer.txt", f"answer {n}")
        of.write(student, "one.txt", f"file {n}")
    for path, name in (("hw", "answer.txt"), ("one.txt", "one.txt")):
        sources = [{"project_id": student, "path": path} for student in of.students]
        target = {"project_id": of.course, "path": f"collected/{path}"}
        done = await of.hand_out(source=None, targets=None, sources=sources, target=target)
        assert done["state"] == "done"
        for n, student in enumerate(of.students):
            [file] = (of.home(of.course) / "collected" / path / student).iterdir()
            assert (file.name, file.read_text()[-1]) == (name, str(n))
    sources = [
        {"project_id": student, "path": "hw", "target_path": f"by name/{n}"} for n, student in enumerate(of.students)
    ]
    await of.hand_out(source=None, targets=None, sources=sources, target={"project_id": of.course})
    assert of.tree(of.course, "by name/2") == {"answer.txt": "answer 2"}


async def test_a_source_that_may_be_missing_is_no_failure(of: Class, cid: Principal) -> None:
    of.write(of.students[0], "hw/a.txt", "theirs")
    strange = await of.house.project(cid)
    sources: list[Any] = [{"project_id": student, "path": "hw"} for student in of.students[:2]]
    collecting = {"source": None, "targets": None, "target": {"project_id": of.course, "path": "in"}}
    done = await of.hand_out(**collecting, sources=sources, skip_missing=True)
    assert (done["state"], states(done)) == ("done", ["done", "missing"])
    assert done["targets"][1]["error_code"] == "not_found"
    assert done["totals"]["states"] == {"done": 1, "missing": 1}
    assert (await of.undo(done))["state"] == "undone"

    nothing = await of.plan(**collecting, sources=sources[1:], skip_missing=True)
    assert (nothing["state"], states(nothing)) == ("planned", ["missing"])
    assert (await of.apply(nothing))["state"] == "done"

    # All else is a failure as ever.
    failed = await of.hand_out(**collecting, sources=sources)
    assert (failed["state"], states(failed)) == ("failed", ["done", "failed"])
    sources.append({"project_id": strange, "path": "hw"})
    failed = await of.hand_out(**collecting, sources=sources, skip_missing=True)
    assert (failed["state"], states(failed)) == ("failed", ["done", "missing", "refused"])


async def test_collecting_from_more_than_are_copied_together(of: Class) -> None:
    """The directory that all of it goes to comes into being with the first of them."""
    last = 2 * BATCH
    for path, copied in (("hw", of.tree(of.course)), ("hw/a.txt", {"a.txt": "one"})):
        name = "a.txt" if path == "hw/a.txt" else ""
        sources = [{"project_id": of.course, "path": path, "target_path": f"in/{n}/hw/{name}"} for n in range(last + 1)]
        done = await of.hand_out(source=None, targets=None, sources=sources, target={"project_id": of.students[0]})
        assert (done["state"], {*states(done)}) == ("done", {"done"})
        assert [of.tree(of.students[0], f"in/{n}/hw") for n in range(last + 1)] == [copied] * (last + 1)
        await of.undo(done)
        assert not (of.home(of.students[0]) / "in").exists()


async def test_to_each_something_of_its_own(of: Class) -> None:
    one, two, three = of.students
    for name in ("one", "two"):
        of.write(of.course, f"graded/{name}/a.txt", name)
    targets: list[Any] = [
        {"project_id": one, "path": "back", "source_path": "graded/one"},
        {"project_id": two, "source_path": "graded/two/"},
        {"project_id": three, "path": "back", "source_path": "graded/three"},
    ]
    done = await of.house.copies.copy_paths(
        of.teacher, wire.CopyPaths(source={"project_id": of.course, "path": "."}, targets=targets)
    )
    assert states(done) == ["done", "done", "failed"]
    assert done["targets"][2]["error_code"] == "not_found"
    assert of.tree(one, "back") == {"a.txt": "one"}
    assert of.tree(two, "graded/two") == {"a.txt": "two"}
    assert (await of.undo(done))["totals"]["states"] == {"undone": 2, "failed": 1}
    assert not (of.home(one) / "back").exists()
    for wrong in ("../x", 7):
        with pytest.raises(InvalidArgument, match="source_path"):
            await of.plan(targets=[{"project_id": one, "source_path": wrong}])


async def test_plan_and_apply_at_once(of: Class) -> None:
    arguments = {"source": {"project_id": of.course, "path": "hw"}, "targets": of.students}
    before = everything(of)
    dry = await of.house.copies.copy_paths(of.teacher, wire.CopyPaths(**arguments, dry_run=True))
    assert (dry["state"], everything(of)) == ("planned", before)
    done = await of.house.copies.copy_paths(of.teacher, wire.CopyPaths(**arguments))
    assert done["state"] == "done"
    begun = await of.house.copies.copy_paths(of.teacher, wire.CopyPaths(**arguments, wait=False))
    assert begun["state"] == "planning"
    while (await of.get(begun))["state"] in ("planning", "running"):
        await asyncio.sleep(0.01)
    assert (await of.get(begun))["state"] == "done"


async def test_a_target_that_moved_is_refused_and_the_others_go_on(of: Class) -> None:
    await of.hand_out()
    of.write(of.course, "hw/a.txt", "newer one")
    plan = await of.plan()
    moved = of.write(of.students[1], "hw/a.txt", "somebody was here")
    done = await of.apply(plan)
    assert (done["state"], states(done)) == ("failed", ["done", "refused", "done"])
    assert "has changed since the plan" in done["targets"][1]["error"]
    assert done["targets"][1]["error_code"] == "conflict"
    assert moved.read_text() == "somebody was here"
    assert of.tree(of.students[0])["a.txt"] == of.tree(of.students[2])["a.txt"] == "newer one"
    again = await of.house.copies.retry(of.teacher, wire.RetryCopies(id=done["id"]))
    assert (again["state"], states(again)) == ("done", ["done"] * 3)
    assert again["targets"][1]["kept_newer"] == 1  # update: what is newer stays
    assert moved.read_text() == "somebody was here"


async def test_applied_once(of: Class) -> None:
    done = await of.hand_out()
    with pytest.raises(Conflict, match="is done"):
        await of.apply(done)
    with pytest.raises(Conflict, match="nothing of copy operation"):
        await of.apply(done, only="failed")
    with pytest.raises(InvalidArgument, match="only is 'all'"):
        await of.apply(done, only="all")


async def test_more_than_one_batch(of: Class, bob: Principal) -> None:
    students = [await of.house.project(bob, of.teacher) for _ in range(BATCH + 3)]
    done = await of.hand_out(targets=students)
    assert states(done) == ["done"] * (BATCH + 3)
    assert all(of.tree(student) == of.tree(of.course) for student in students)


async def test_logs(of: Class) -> None:
    done = await of.hand_out()
    [(who, event)] = await of.house.log(of.students[0])
    assert who == of.teacher.account_id
    assert event == {
        "event": "path_copied",
        "operation_id": done["id"],
        "src_project_id": of.course,
        "src_path": "hw",
        "target_project_id": of.students[0],
        "target_path": "hw",
        "files": 2,
        "bytes": 6,
    }
    expected = {"event": "paths_copied", "operation_id": done["id"], "targets": 3, "done": 3, "files": 6, "bytes": 18}
    assert [told for _, told in await of.house.log(of.course)] == [expected]
    await of.undo(done, 0)
    undone = {"event": "copy_undone", "operation_id": done["id"], "targets": 1, "restored": 0, "kept": 0}
    told = (await of.house.log(of.students[0]))[-1][1]
    assert {**undone, "removed": told["removed"]} == told
    assert told["removed"] > 0


# -- what people have changed -----------------------------------------------------------------------


async def test_merge_keeps_what_they_changed_and_brings_what_is_new(of: Class) -> None:
    await of.hand_out(policy="merge")
    changed, gone, untouched = of.students
    of.write(changed, "hw/a.txt", "my own answer")
    (of.home(gone) / "hw/deep/b.txt").unlink()
    of.write(of.course, "hw/a.txt", "one, corrected", age_s=50)
    of.write(of.course, "hw/c.txt", "three")
    done = await of.hand_out(policy="merge")
    assert done["state"] == "done"
    assert counts(done)["conflict"] == 1
    assert of.tree(changed) == {
        "a.txt": "my own answer", "a.new.txt": "one, corrected", "c.txt": "three", "deep": None, "deep/b.txt": "two",
    }  # fmt: skip
    assert of.tree(gone) == {"a.txt": "one, corrected", "c.txt": "three", "deep": None}
    assert of.tree(untouched) == of.tree(of.course)
    before = everything(of)
    assert (await of.hand_out(policy="merge"))["totals"]["files"] == 0
    assert everything(of) == before


async def test_what_a_directory_displaces_is_told_and_what_is_newer_stays(of: Class) -> None:
    first, second, third = of.students
    of.write(first, "hw/deep", "mine")
    of.write(second, "hw/deep", "old", age_s=1000)
    (of.home(third) / "hw").mkdir()
    (of.home(third) / "hw/deep").symlink_to("a.txt")
    os.utime(of.home(of.course) / "hw/deep", (of.house.clock.now().timestamp(), 1.5e9))
    os.utime(of.home(second) / "hw/deep", (1e9, 1e9))
    plan = await of.plan()
    kept, replaced = {"new": 1, "changed_by_them": 2}, {"new": 2, "changed_by_us": 1}
    assert [counts(plan, number) for number in range(3)] == [kept, replaced, kept]
    for number in range(2):
        wanted = wire.CopyFiles(id=plan["id"], number=number)
        told = {file["path"]: file["action"] for file in (await of.house.copies.files(of.teacher, wanted))["files"]}
        action = "write" if number else "keep"
        assert told == {"hw/a.txt": "write", "hw/deep": action, "hw/deep/b.txt": action}
    done = await of.apply(plan)
    assert [target["kept_newer"] for target in done["targets"]] == [1, 0, 1]
    assert of.tree(first) == {"a.txt": "one", "deep": "mine"}
    assert of.tree(second)["deep/b.txt"] == "two"
    assert (of.home(third) / "hw/deep").is_symlink()


async def test_a_version_that_was_kept_back_is_not_taken_for_given(of: Class) -> None:
    await of.hand_out(policy="merge")
    first = of.students[0]
    of.write(first, "hw/a.txt", "theirs")
    of.write(of.course, "hw/a.txt", "one, corrected")
    kept = await of.hand_out(policy="keep")
    assert counts(kept)["conflict"] == 1
    await of.hand_out(policy="merge")
    both = {"a.txt": "theirs", "a.new.txt": "one, corrected", "deep": None, "deep/b.txt": "two"}
    assert of.tree(first) == both
    await of.restart()
    again = await of.hand_out(policy="merge")
    assert again["totals"]["files"] == 0
    assert of.tree(first) == both


async def test_what_was_kept_back_is_known_after_undo(of: Class) -> None:
    await of.hand_out(policy="merge")
    first = of.students[0]
    of.write(first, "hw/a.txt", "theirs")
    of.write(of.course, "hw/a.txt", "one, corrected")
    of.write(of.course, "hw/c.txt", "three")
    await of.undo(await of.hand_out(policy="keep"))
    assert of.tree(first) == {"a.txt": "theirs", "deep": None, "deep/b.txt": "two"}
    of.write(first, "hw/a.txt", "one", age_s=100)  # as it was given
    await of.hand_out(policy="merge")
    assert of.tree(first) == {"a.txt": "one, corrected", "c.txt": "three", "deep": None, "deep/b.txt": "two"}


async def test_what_was_handed_out_is_known_after_a_single_copy_too(of: Class) -> None:
    student = of.students[0]
    wanted = CopyPath(src_project_id=of.course, src_path="hw", target_project_id=student)
    await of.house.copies.copy(of.teacher, wanted)
    of.write(of.course, "hw/a.txt", "one, corrected")
    plan = await of.plan(policy="keep", targets=[student])
    assert counts(plan) == {"changed_by_us": 1, "same": 1}


# -- undo -------------------------------------------------------------------------------------------


async def test_undo_of_all_and_of_some(of: Class) -> None:
    for student in of.students:
        of.write(student, "hw/a.txt", "theirs", age_s=1000)
    before = everything(of)
    done = await of.hand_out()
    some = await of.undo(done, 1)
    assert (some["state"], states(some)) == ("done", ["done", "undone", "done"])
    assert of.tree(of.students[1]) == {"a.txt": "theirs"}
    assert some["targets"][1]["undone"]["restored"] == 1
    of.write(of.students[2], "hw/deep/b.txt", "changed since")
    everywhere = await of.undo(done)
    assert (everywhere["state"], states(everywhere)) == ("undone", ["undone"] * 3)
    assert everywhere["targets"][2]["undone"]["kept"] == 1
    assert everywhere["targets"][2]["undone"]["kept_paths"] == ["hw/deep/b.txt"]
    assert everything(of) == {
        **before,
        of.students[2]: {**before[of.students[2]], "hw/deep": None, "hw/deep/b.txt": "changed since"},
    }
    with pytest.raises(Conflict, match="is undone already"):
        await of.undo(done)
    with pytest.raises(Conflict, match=r"target 1 .* is undone"):
        await of.undo(done, 1)
    with pytest.raises(NotFound, match="no target 9"):
        await of.undo(done, 9)


async def test_an_operation_is_undone_when_all_of_it_is_that_did_anything(of: Class) -> None:
    idle, *others = of.students
    await of.hand_out(targets=[idle])
    done = await of.hand_out()
    assert (done["targets"][0]["files"], done["targets"][0]["can_undo"]) == (0, False)
    assert (await of.undo(done, 1))["state"] == "done"
    undone = await of.undo(done)
    assert (undone["state"], states(undone)) == ("undone", ["done", "undone", "undone"])
    with pytest.raises(Conflict, match="is undone already"):
        await of.undo(done)
    assert [of.tree(student) for student in others] == [{}, {}]
    assert of.tree(idle)["a.txt"] == "one"


async def test_what_was_handed_out_before_counts_again_after_undo(of: Class) -> None:
    await of.hand_out(policy="merge")
    of.write(of.course, "hw/a.txt", "one, corrected")
    second = await of.hand_out(policy="merge")
    await of.undo(second)
    assert of.tree(of.students[0])["a.txt"] == "one"
    plan = await of.plan(policy="merge")
    assert counts(plan) == {"changed_by_us": 1, "same": 1}


async def test_the_same_copied_again_before_undo_makes_nothing_theirs(of: Class) -> None:
    """Who hands out twice, and takes it back, can hand out the same once more: nobody has touched it."""
    await of.hand_out(policy="merge")
    of.write(of.course, "hw/a.txt", "one, corrected")
    second = await of.hand_out(policy="merge")
    for _ in range(3):
        assert (await of.hand_out(policy="merge"))["totals"]["files"] == 0
    await of.undo(second)
    assert of.tree(of.students[0])["a.txt"] == "one"
    assert counts(await of.plan(policy="merge")) == {"changed_by_us": 1, "same": 1}
    of.write(of.students[0], "hw/a.txt", "theirs")
    assert counts(await of.plan(policy="merge")) == {"conflict": 1, "same": 1}


async def test_whether_the_same_was_copied_again_is_asked_once_for_many(of: Class) -> None:
    """All targets of a plan share a list: to ask for each would read all of them each time."""
    await of.hand_out(policy="merge")
    of.write(of.course, "hw/a.txt", "one, corrected")
    second = await of.hand_out(policy="merge")
    await of.hand_out(policy="merge")
    asked: list[str] = []

    def listen(*args: Any) -> None:
        asked.extend([args[2]] if "copy_targets.base IN" in args[2] or "copy_targets.base =" in args[2] else [])

    event.listen(Engine, "before_cursor_execute", listen)
    try:
        await of.undo(second)
    finally:
        event.remove(Engine, "before_cursor_execute", listen)
    assert len(of.students) > 2
    assert len(asked) == 2  # that of the third hand-out, and that there is none on it
    assert counts(await of.plan(policy="merge")) == {"changed_by_us": 1, "same": 1}


async def test_a_single_copy_is_undone(of: Class) -> None:
    student = of.students[0]
    of.write(student, "hw/a.txt", "theirs", age_s=1000)
    before = everything(of)
    wanted = CopyPath(src_project_id=of.course, src_path="hw", target_project_id=student)
    summary = await of.house.copies.copy(of.teacher, wanted)
    assert (summary["files"], of.tree(student)) == (2, of.tree(of.course))
    [operation] = await of.house.copies.page(of.teacher, wire.ListCopies(project_id=student))
    assert (operation["state"], operation["totals"]["files"]) == ("done", 2)
    assert (await of.undo(operation))["state"] == "undone"
    assert everything(of) == before


@pytest.mark.parametrize("makes", ["single", "many"])
async def test_a_backup_takes_the_place_of_a_file_of_theirs_which_undoing_puts_back(of: Class, makes: str) -> None:
    """As the wire has it: what is replaced is kept as `name~`."""
    student = of.students[0]
    of.write(student, "hw/a.txt", "theirs", age_s=1000)
    of.write(student, "hw/a.txt~", "theirs, too", age_s=1000)
    before = everything(of)
    if makes == "single":
        wanted = CopyPath(src_project_id=of.course, src_path="hw", target_project_id=student, backup=True)
        done = await of.get({"id": (await of.house.copies.copy(of.teacher, wanted))["operation_id"]})  # type: ignore[typeddict-item]
    else:
        done = await of.hand_out(targets=[student], backup=True)
    assert done["targets"][0]["backed_up"] == 1
    assert {name: of.tree(student)[name] for name in ("a.txt", "a.txt~")} == {"a.txt": "one", "a.txt~": "theirs"}
    assert (await of.undo(done))["state"] == "undone"
    assert everything(of) == before


async def test_a_single_copy_that_fails_or_has_nothing_to_do_leaves_nothing(of: Class) -> None:
    student = of.students[0]
    wanted = CopyPath(src_project_id=of.course, src_path="hw", target_project_id=student)
    await of.house.copies.copy(of.teacher, wanted)
    assert (await of.house.copies.copy(of.teacher, wanted))["unchanged"] == 2
    for change in ({"src_path": "nowhere"}, {"target_path": "hw/a.txt/below"}):
        with pytest.raises(HubError):
            await of.house.copies.copy(of.teacher, CopyPath(**{"src_project_id": of.course, "src_path": "hw",
                                                               "target_project_id": student, **change}))  # fmt: skip
    assert len(await of.house.copies.page(of.teacher, wire.ListCopies())) == 1
    assert len([*of.house.homes.operations.iterdir()]) == 1


async def test_single_copies_to_one_place_wait_for_each_other(of: Class) -> None:
    student = of.students[0]
    for n in range(40):
        of.write(of.course, f"hw/{n}", str(n))
    wanted = CopyPath(src_project_id=of.course, src_path="hw", target_project_id=student)
    done = await asyncio.gather(*(of.house.copies.copy(of.teacher, wanted) for _ in range(6)))
    assert sorted(summary["files"] for summary in done) == [0] * 5 + [42]


# -- who may ----------------------------------------------------------------------------------------


async def test_operations_are_their_makers(of: Class, bob: Principal, admin: Principal) -> None:
    plan = await of.plan()
    copies, id = of.house.copies, plan["id"]
    for other in (bob, admin):
        for call in (
            copies.get(other, wire.GetCopies(id=id)),
            copies.files(other, wire.CopyFiles(id=id)),
            copies.apply(other, wire.ApplyCopies(id=id)),
            copies.cancel(other, wire.CancelCopies(id=id)),
            copies.retry(other, wire.RetryCopies(id=id)),
            copies.undo(other, wire.UndoCopies(id=id)),
            copies.page(other, wire.ListCopies(after=id)),
        ):
            with pytest.raises(NotFound, match=f"there is no copy operation with id '{id}'"):
                await call
        assert await copies.page(other, wire.ListCopies()) == []
    assert (await of.get(plan))["state"] == "planned"
    for wrong in (str(uuid.uuid4()), "x", "", "%"):
        with pytest.raises(NotFound, match="there is no copy operation"):
            await copies.get(of.teacher, wire.GetCopies(id=wrong))


async def test_who_may_copy_to_none_of_the_targets_plans_nothing(of: Class, cid: Principal) -> None:
    with pytest.raises(PermissionDenied, match=f"collaborator on source project '{of.course}'"):
        await of.house.copies.plan(cid, of.request())
    own = await of.house.project(cid)
    with pytest.raises(PermissionDenied, match=f"collaborator on target project '{of.students[0]}'"):
        await of.house.copies.plan(cid, of.request(source={"project_id": own, "path": "."}))
    nobody = str(uuid.uuid4())
    with pytest.raises(PermissionDenied, match=f"collaborator on target project '{nobody}'"):
        await of.plan(targets=[nobody])
    assert await of.house.copies.page(cid, wire.ListCopies()) == []


async def test_one_target_that_is_not_allowed(of: Class, bob: Principal) -> None:
    theirs, deleted, viewed, nobody = [await of.house.project(bob) for _ in range(3)] + [str(uuid.uuid4())]
    await of.house.viewer(viewed, of.teacher)
    await of.house.projects.delete(bob, deleted)
    async with of.house.store.write() as tx:
        await tx.collaborators.add([(deleted, of.teacher.account_id)], at=of.house.clock.now())
    done = await of.hand_out(targets=[of.students[0], theirs, deleted, viewed, nobody])
    assert states(done) == ["done", "refused", "refused", "refused", "refused"]
    codes = [target.get("error_code") for target in done["targets"]]
    assert codes == [None, "permission_denied", "conflict", "permission_denied", "permission_denied"]
    told = {
        target["error"].replace(target["target_project_id"], "")
        for target in done["targets"]
        if target["number"] in (1, 4)
    }
    assert len(told) == 1  # nobody learns which projects there are


async def test_membership_counts_when_it_is_applied(of: Class, bob: Principal, cid: Principal) -> None:
    plan = await of.plan()
    async with of.house.store.write() as tx:
        await tx.collaborators.remove(of.students[0], of.teacher.account_id)
    done = await of.apply(plan)
    assert states(done) == ["refused", "done", "done"]
    assert "a.txt" not in of.tree(of.students[0])
    async with of.house.store.write() as tx:
        await tx.collaborators.remove(of.students[1], of.teacher.account_id)
    with pytest.raises(PermissionDenied, match=of.students[1]):
        await of.undo(done, 1)
    undone = await of.undo(done)
    assert states(undone) == ["refused", "done", "undone"]


async def test_whoever_is_banned_meanwhile_copies_nothing(of: Class) -> None:
    plan = await of.plan()
    async with of.house.store.write() as tx:
        await tx.accounts.update(of.teacher.account_id, {"banned": True})
    assert states(await of.apply(plan)) == ["refused"] * 3


async def test_the_source_is_taken_away_meanwhile(of: Class, bob: Principal) -> None:
    source = await of.house.project(bob, of.teacher)
    of.write(source, "hw/a", "x")
    plan = await of.plan(source={"project_id": source, "path": "hw"})
    async with of.house.store.write() as tx:
        await tx.collaborators.remove(source, of.teacher.account_id)
    assert states(await of.apply(plan)) == ["refused"] * 3


async def test_a_viewer_hands_out_from_what_he_views(of: Class, cid: Principal) -> None:
    await of.house.viewer(of.course, cid)
    own = await of.house.project(cid)
    plan = await of.house.copies.plan(cid, of.request(targets=[own]))
    assert (await of.house.copies.apply(cid, wire.ApplyCopies(id=plan["id"])))["state"] == "done"


# -- quotas -----------------------------------------------------------------------------------------


@pytest.fixture
async def small(of: Class) -> Class:
    """The same class, with little room."""
    house = of.house
    await house.copies.close()
    await house.lifecycle.close(stop_projects=False)
    house.quotas = Quotas(QuotaDefaults(disk_mb=20), house.clock)
    house.homes = ProjectHomes(Homes(house.directory / "projects"), None, house.quotas.disk_quota_bytes)
    house.join()
    await house.lifecycle.open()
    return of


async def test_over_quota_is_told_and_refused_before_anything_is_written(small: Class) -> None:
    (small.home(small.course) / "hw/large").write_bytes(os.urandom(8 * MB))
    full = small.home(small.students[1]) / "filler"
    full.write_bytes(os.urandom(15 * MB))
    plan = await small.plan()
    assert [target["over_quota"] for target in plan["targets"]] == [False, True, False]
    done = await small.apply(plan)
    assert states(done) == ["done", "refused", "done"]
    assert f"project '{small.students[1]}' takes 16 MB" in done["targets"][1]["error"]
    assert not (small.home(small.students[1]) / "hw").exists()
    full.unlink()
    again = await small.house.copies.retry(small.teacher, wire.RetryCopies(id=done["id"]))
    assert states(again) == ["done"] * 3
    assert (small.home(small.students[1]) / "hw/large").stat().st_size == 8 * MB


async def test_what_is_collected_counts_together(small: Class) -> None:
    for student in small.students:
        (small.home(student) / "big").write_bytes(os.urandom(8 * MB))
    sources = [{"project_id": student, "path": "big"} for student in small.students]
    done = await small.hand_out(
        source=None, targets=None, sources=sources, target={"project_id": small.course, "path": "in"}
    )
    assert sorted(states(done)) == ["done", "done", "refused"]


async def test_what_is_collected_from_many_is_the_work_of_several_processes(of: Class, bob: Principal) -> None:
    """Each is planned and copied, or fails, as if it were the only one."""
    students = [await of.house.project(bob, of.teacher) for _ in range(40)]
    for n, student in enumerate(students):
        if n != 7:
            for file in range(60):
                of.write(student, f"hw/{file}", f"{n} {file}", age_s=100)
    of.write(students[8], "hw/mine", "x").chmod(0o640)
    plan = await of.plan(
        source=None,
        targets=None,
        sources=[{"project_id": student, "path": "hw"} for student in students],
        target={"project_id": of.course, "path": "in"},
    )
    of.write(of.course, f"in/{students[9]}/hw/0", "since the plan")
    seen: set[str] = set()

    async def look() -> None:
        while True:
            seen.update(child.name() for child in psutil.Process().children())
            await asyncio.sleep(0.005)

    looking = asyncio.create_task(look())
    done = await of.apply(plan)
    looking.cancel()
    assert "projecthub-copy" in seen
    expected = ["done"] * 40
    expected[7], expected[9] = "failed", "refused"
    assert states(done) == expected
    assert "no such file or directory" in done["targets"][7]["error"]
    assert "has changed since the plan" in done["targets"][9]["error"]
    collected = {target["target_path"]: target for target in done["targets"]}
    for n, student in enumerate(students):
        path = next(path for path in collected if student in path)
        if expected[n] == "done":
            assert of.tree(of.course, path) == of.tree(student)
            assert collected[path]["files"] == 60 + (n == 8)
    assert done["totals"]["files"] == 38 * 60 + 1


# -- restarts, cancel, housekeeping -----------------------------------------------------------------


async def test_a_plan_survives_a_restart(of: Class) -> None:
    plan = await of.plan()
    await of.restart()
    assert (await of.apply(plan))["state"] == "done"


@pytest.mark.parametrize("stops_after", ["plan", "_stage", "mark", "commit", "note"])
async def test_an_operation_goes_on_after_a_restart_at_any_step(
    of: Class, monkeypatch: pytest.MonkeyPatch, stops_after: str
) -> None:
    """The hub stops for good after a step: nothing that comes after it happens."""
    reached = asyncio.Event()
    part = of.house.copies._operations._planner if stops_after == "plan" else of.house.copies._operations._applier
    original: Callable[..., Any] = getattr(part, stops_after)

    async def step(*arguments: Any, **options: Any) -> Any:
        await original(*arguments, **options)
        reached.set()
        await asyncio.Event().wait()

    monkeypatch.setattr(part, stops_after, step)
    arguments = {"source": {"project_id": of.course, "path": "hw"}, "targets": of.students}
    begun = await of.house.copies.copy_paths(of.teacher, wire.CopyPaths(**arguments, wait=False))
    await asyncio.wait_for(reached.wait(), 10)
    await of.restart()
    for _ in range(500):
        if (done := await of.get(begun))["state"] not in ("planning", "running"):
            break
        await asyncio.sleep(0.01)
    assert (done["state"], states(done)) == ("done", ["done"] * 3)
    assert all(of.tree(student) == of.tree(of.course) for student in of.students)
    assert [event["event"] for _, event in await of.house.log(of.students[0])] == ["path_copied"]
    assert [event["event"] for _, event in await of.house.log(of.course)] == ["paths_copied"]


async def test_what_a_loss_of_power_has_taken_back_is_committed_again(
    of: Class, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The store knows them as done; the names of the files are those of before."""
    applier, reached = of.house.copies._operations._applier, asyncio.Event()

    async def commit(*arguments: Any) -> None:
        reached.set()
        await asyncio.Event().wait()

    monkeypatch.setattr(applier, "commit", commit)
    plan = await of.plan()
    await of.apply(plan, wait=False)
    await asyncio.wait_for(reached.wait(), 10)
    await of.house.copies.close()
    before = everything(of)
    now = of.house.clock.now()
    async with of.house.store.write() as tx:
        await tx.copies.update_targets(plan["id"], {n: {"state": TargetState.DONE, "kept_bytes": 1} for n in range(3)})
        ended = {"state": CopyState.DONE, "finished_at": now, "undo_until": now + timedelta(days=7)}
        await tx.copies.update(plan["id"], ended)
    assert "a.txt" not in of.tree(of.students[0])
    await of.restart()
    assert all(of.tree(student) == of.tree(of.course) for student in of.students)
    assert (await of.undo(plan))["state"] == "undone"
    assert everything(of) == before


@pytest.mark.parametrize("fails", ["mark", "_note"])
async def test_what_was_staged_beside_a_batch_that_could_not_be_ended_is_staged_again(
    of: Class, bob: Principal, monkeypatch: pytest.MonkeyPatch, fails: str
) -> None:
    students = [await of.house.project(bob, of.teacher) for _ in range(2 * BATCH)]
    applier, is_staged = of.house.copies._operations._applier, asyncio.Event()
    stagings: list[None] = []
    failures: list[None] = []
    stage, original = applier._stage, getattr(applier, fails)

    async def staged(*arguments: Any, **options: Any) -> None:
        await stage(*arguments, **options)
        stagings.append(None)
        if len(stagings) == 2:
            is_staged.set()

    async def fail_once(*arguments: Any) -> None:
        if not failures:
            failures.append(None)
            await is_staged.wait()
            await asyncio.sleep(0.05)  # that the other waits for this one
            raise StoreUnavailable
        await original(*arguments)

    monkeypatch.setattr(applier, "_stage", staged)
    monkeypatch.setattr(applier, fails, fail_once)
    monkeypatch.setattr("projecthub.hub.copies.operations.AGAIN_AFTER_S", (1.5,))
    targets = [{"project_id": student, "path": "hw"} for student in students]
    begun = await of.house.copies.plan(of.teacher, of.request(targets=targets, wait=True))
    await of.apply(begun, wait=False)
    await asyncio.wait_for(is_staged.wait(), 10)
    copies = [of.home(student).parent / "copies" for student in students[BATCH:]]
    async with asyncio.timeout(1):  # before it is tried again
        while any(os.listdir(each) for each in copies):
            await asyncio.sleep(0.01)
    work = of.house.copies._operations.find(begun["id"])
    assert work is not None
    await asyncio.wait_for(work.ended.wait(), 20)
    done = await of.get(begun)
    assert (done["state"], states(done)) == ("done", ["done"] * 2 * BATCH)
    assert all(of.tree(student) == of.tree(of.course) for student in students)
    assert not of.house.copies._ground.places._asked


async def test_cancelled_targets_are_as_they_were(of: Class, bob: Principal, monkeypatch: pytest.MonkeyPatch) -> None:
    students = [await of.house.project(bob, of.teacher) for _ in range(2 * BATCH)]
    plan = await of.plan(targets=students)
    applier, reached, go_on = of.house.copies._operations._applier, asyncio.Event(), asyncio.Event()
    original = applier._note

    async def note(*arguments: Any) -> None:
        await original(*arguments)
        reached.set()
        await go_on.wait()

    monkeypatch.setattr(applier, "_note", note)
    await of.apply(plan, wait=False)
    await asyncio.wait_for(reached.wait(), 10)
    now = await of.get(plan)
    assert (now["state"], now["progress"]["targets_done"]) == ("running", BATCH)
    with pytest.raises(Conflict, match="is running"):
        await of.undo(plan)
    cancelling = asyncio.create_task(of.house.copies.cancel(of.teacher, wire.CancelCopies(id=plan["id"])))
    work = of.house.copies._operations.find(plan["id"])
    assert work is not None
    while not work.is_cancelled:
        await asyncio.sleep(0.001)
    go_on.set()
    done = await cancelling
    assert (done["state"], states(done)) == ("cancelled", ["done"] * BATCH + ["cancelled"] * BATCH)
    assert (done["progress"]["targets_done"], done["progress"]["targets"]) == (BATCH, 2 * BATCH)
    assert not (of.home(students[-1]) / "hw").exists()
    monkeypatch.undo()
    again = await of.house.copies.retry(of.teacher, wire.RetryCopies(id=plan["id"]))
    assert (again["state"], states(again)) == ("done", ["done"] * 2 * BATCH)
    with pytest.raises(Conflict, match="is done already"):
        await of.house.copies.cancel(of.teacher, wire.CancelCopies(id=plan["id"]))


async def test_plans_go_after_a_day_and_operations_after_a_month(of: Class) -> None:
    plan, done, cancelled = await of.plan(), await of.hand_out(), await of.plan()
    await of.house.copies.cancel(of.teacher, wire.CancelCopies(id=cancelled["id"]))
    of.house.clock.advance(hours=23)
    await of.house.copies.sweep()
    assert (await of.get(plan))["state"] == "planned"
    assert (await of.get(cancelled))["state"] == "cancelled"
    of.house.clock.advance(hours=2)
    await of.house.copies.sweep()
    for gone in (plan, cancelled):
        with pytest.raises(NotFound):
            await of.get(gone)
    assert [path.name for path in of.house.homes.operations.iterdir()] == [done["id"]]
    of.house.clock.advance(days=7)
    await of.house.copies.sweep()
    with pytest.raises(Conflict, match="cannot be undone"):
        await of.undo(done)
    assert [*(of.home(of.students[0]).parent / "copies").iterdir()] == []
    of.house.clock.advance(days=30)
    await of.house.copies.sweep()
    with pytest.raises(NotFound):
        await of.get(done)
    # What was handed out last is known for good.
    of.write(of.course, "hw/a.txt", "one, corrected")
    assert counts(await of.plan(policy="merge")) == {"changed_by_us": 1, "same": 1}


async def test_what_is_kept_to_undo_takes_a_tenth_of_the_quota(small: Class) -> None:
    student = small.students[0]
    done = []
    for n in range(3):
        (small.home(small.course) / "hw/a.txt").write_bytes(os.urandom(900_000) + b"x" * n)
        done.append(await small.hand_out(targets=[student], policy="overwrite"))
        small.house.clock.advance(seconds=1)
    await small.house.copies.sweep()  # a tenth is 2 MB: the first made the file, each other one has displaced a MB
    can_undo = [(await small.get(one))["targets"][0]["can_undo"] for one in done]
    assert can_undo[1:] == [True, True]
    (small.home(small.course) / "hw/a.txt").write_bytes(os.urandom(2 * MB))
    done.append(await small.hand_out(targets=[student], policy="overwrite"))
    await small.house.copies.sweep()
    assert [(await small.get(one))["targets"][0]["can_undo"] for one in done][1:] == [False, True, True]


async def test_what_is_kept_to_undo_is_held_to_its_share_at_once(small: Class) -> None:
    student, done = small.students[0], []
    for n in range(6):
        (small.home(small.course) / "hw/a.txt").write_bytes(os.urandom(900_000) + b"x" * n)
        await small.house.copies.copy(
            small.teacher, CopyPath(src_project_id=small.course, src_path="hw/a.txt", target_project_id=student)
        )
        done.append((await small.house.copies.page(small.teacher, wire.ListCopies()))[0])
        small.house.clock.advance(seconds=1)
        await asyncio.wait_for(settled(small), 10)
        records = [*(small.home(student).parent / "copies").iterdir()]
        assert sum(file.stat().st_size for one in records for file in one.rglob("*") if file.is_file()) < 2 * MB
    assert [(await small.get(one))["targets"][0]["can_undo"] for one in done[-3:]] == [False, True, True]
    assert "undo_until" not in await small.get(done[0])


async def settled(of: Class) -> None:
    """Wait until nothing of what is kept is looked at."""
    task = of.house.copies._trimming._task
    if task is not None:
        await asyncio.wait([task])


async def test_the_newest_copy_can_be_undone_in_all_its_parts_whatever_it_takes(small: Class) -> None:
    """A tenth of the quota is 2 MB; what is collected again has displaced three times as much."""
    for n, student in enumerate(small.students):
        small.write(student, "hw/big", f"{n}" * 2 * MB)
    sources = [{"project_id": student, "path": "hw"} for student in small.students]
    collecting = wire.CopyPaths(sources=sources, target={"project_id": small.course, "path": "in"}, policy="overwrite")
    await small.house.copies.copy_paths(small.teacher, collecting)
    before = small.tree(small.course, "in")
    for student in small.students:
        small.write(student, "hw/big", "small")
    again = await small.house.copies.copy_paths(small.teacher, collecting)
    await settled(small)
    await small.house.copies.sweep()
    undone = await small.undo(again)
    assert (undone["state"], small.tree(small.course, "in")) == ("undone", before)


async def test_what_is_being_undone_is_not_let_go(of: Class) -> None:
    student = of.students[0]
    of.write(student, "hw/a.txt", "theirs", age_s=1000)
    before = of.tree(student)
    done = await of.hand_out(targets=[student], policy="overwrite")
    async with of.house.store.write() as tx:  # a hub was killed just then
        await tx.copies.update_targets(done["id"], {0: {"state": TargetState.UNDOING}})
        await tx.copies.update(done["id"], {"state": CopyState.RUNNING})
    of.house.clock.advance(days=8)
    await of.house.copies.sweep()
    assert (await forget(of, project_id=student))["targets"] == 0
    await of.restart()
    while (now := await of.get(done))["state"] == "running":
        await asyncio.sleep(0.01)
    assert (states(now), of.tree(student)) == (["undone"], before)


async def forget(of: Class, caller: Principal | None = None, **of_what: Any) -> wire.ForgottenCopies:
    return await of.house.copies.forget(caller or of.teacher, wire.ForgetCopies(**of_what))


async def test_who_had_to_wait_is_looked_at_again(of: Class, bob: Principal, monkeypatch: pytest.MonkeyPatch) -> None:
    """Others may take as long as they like: who is not on the project any more does not copy into it then."""
    monkeypatch.setattr(single, "_LOOKED_AT_S", 0.0)
    student = of.students[0]
    request = CopyPath(src_project_id=of.course, src_path="hw", target_project_id=student, target_path="other")
    places = of.house.copies._ground.places
    async with places.hold([(student, "other")]):
        copy = asyncio.create_task(of.house.copies.copy(of.teacher, request))
        async with asyncio.timeout(10):
            while len(places._asked[student]) < 2:
                await asyncio.sleep(0)
        leaving = RemoveCollaborator(project_id=student, account_id=of.teacher.account_id)
        await of.house.collaborators.remove(bob, leaving)
    with pytest.raises(PermissionDenied, match="on target project"):
        await copy
    assert not (of.home(student) / "other").exists()


async def test_what_is_let_go_is_on_disk_before(of: Class, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a loss of power nothing could tell any more how to do anew what the disk has forgotten."""
    synced: list[Path] = []

    def sync(path: Path) -> None:
        record = of.home(of.students[0]).with_name("copies")
        synced.append(path)
        assert any(record.iterdir())
        sync_file_system(path)

    monkeypatch.setattr(trimming, "sync_file_system", sync)
    for student in of.students:
        of.write(student, "hw/a.txt", "theirs", age_s=1000)
    for passed, times in ((0, 1), (600, 1)):  # and what was copied long ago is there
        done = await of.hand_out(policy="overwrite")
        of.house.clock.advance(seconds=passed)
        assert (await forget(of, id=done["id"]))["targets"] == 3
        assert len(synced) == times
        of.write(of.course, "hw/a.txt", "corrected")


async def test_what_is_put_back_is_on_disk_before_it_is_told(of: Class, monkeypatch: pytest.MonkeyPatch) -> None:
    put_back: list[bool] = []

    def sync(path: Path) -> None:
        there = of.tree(of.students[0])["a.txt"] == "theirs"
        put_back.append(there and any(of.home(of.students[0]).with_name("copies").iterdir()))
        sync_file_system(path)

    monkeypatch.setattr(undoing, "sync_file_system", sync)
    of.write(of.students[0], "hw/a.txt", "theirs", age_s=1000)
    done = await of.hand_out(policy="overwrite")
    assert (await of.undo(done))["state"] == "undone"
    assert put_back == [True]


async def test_what_is_kept_is_told_and_let_go(of: Class) -> None:
    student = of.students[0]
    of.write(student, "hw/a.txt", "x" * 2 * MB, age_s=1000)
    of.write(of.students[1], "hw/a.txt", "y" * 2 * MB, age_s=1000)
    done = await of.hand_out(policy="overwrite")
    single = CopyPath(src_project_id=of.course, src_path="hw", target_project_id=student, target_path="other")
    await of.house.copies.copy(of.teacher, single)
    assert (await of.house.projects.status(of.teacher, student))["undo_MB"] == 3
    assert (await of.house.projects.status(of.teacher, of.students[2]))["undo_MB"] == 1
    freed = await forget(of, id=done["id"], project_id=student)
    assert (freed["targets"], freed["freed_bytes"] >= 2 * MB) == (1, True)
    assert [target["can_undo"] for target in (await of.get(done))["targets"]] == [False, True, True]
    assert (await of.house.log(student))[-1][1] == {
        "event": "undo_forgotten", "operation_id": done["id"], "freed_bytes": freed["freed_bytes"],
    }  # fmt: skip
    with pytest.raises(Conflict, match="cannot be undone"):
        await of.undo(done, 0)
    others = await forget(of, id=done["id"])
    assert (others["targets"], others["project_ids"]) == (2, sorted(of.students[1:]))
    with pytest.raises(Conflict, match="cannot be undone"):
        await of.undo(done)
    assert "undo_until" not in await of.get(done)
    assert (await forget(of, project_id=student))["targets"] == 1
    assert [event["event"] for _, event in await of.house.log(student)].count("undo_forgotten") == 2
    assert (await forget(of, project_id=student)) == {"targets": 0, "freed_bytes": 0, "project_ids": []}
    assert "undo_MB" not in await of.house.projects.status(of.teacher, student)
    assert [*(of.home(student).parent / "copies").iterdir()] == []


async def test_who_lets_go_of_what_is_kept(of: Class, bob: Principal, cid: Principal, admin: Principal) -> None:
    """Of an operation its maker; in a project its people, but for who only views it."""
    student = of.students[0]
    of.write(student, "hw/a.txt", "theirs", age_s=1000)
    done = await of.hand_out(policy="overwrite")
    await of.house.viewer(student, cid)
    for caller in (bob, cid, admin):
        with pytest.raises(NotFound):
            await forget(of, caller, id=done["id"])
    for caller in (cid, admin):
        with pytest.raises(PermissionDenied):
            await forget(of, caller, project_id=student)
    with pytest.raises(InvalidArgument, match="give id"):
        await forget(of)
    with pytest.raises(InvalidArgument):
        await forget(of, project_id="x")
    assert all(target["can_undo"] for target in (await of.get(done))["targets"])
    assert (await forget(of, bob, project_id=student))["targets"] == 1
    async with of.house.store.write() as tx:
        for project_id in of.students:
            await tx.collaborators.remove(project_id, of.teacher.account_id)
    with pytest.raises(PermissionDenied):
        await forget(of, id=done["id"])
    assert [target["can_undo"] for target in (await of.get(done))["targets"]] == [False, True, True]


async def test_what_a_killed_hub_has_left_is_swept(of: Class) -> None:
    lost = str(uuid.uuid4())
    record = of.home(of.students[0]).parent / "copies" / f"{lost}-0"
    (record / "new").mkdir(parents=True)
    (of.house.homes.operations / lost).mkdir(parents=True)
    (of.house.homes.operations / lost / "x.manifest").touch()
    done = await of.hand_out()
    await of.house.copies.sweep()
    assert not record.exists()
    assert [path.name for path in of.house.homes.operations.iterdir()] == [done["id"]]
    assert (await of.undo(done))["state"] == "undone"


async def test_an_operation_whose_records_are_not_in_a_backup(of: Class) -> None:
    done = await of.hand_out()
    async with of.house.store.write() as tx:
        await tx.copies.update_targets(done["id"], {1: {"state": TargetState.COMMITTING}})
        await tx.copies.update(done["id"], {"state": CopyState.RUNNING})
    for student in of.students:
        record = of.home(student).parent / "copies"
        record.rename(record.with_name("lost"))
    await of.restart()
    while (now := await of.get(done))["state"] == "running":
        await asyncio.sleep(0.01)
    assert states(now) == ["done", "refused", "done"]
    assert "restored from a backup" in now["targets"][1]["error"]
    undone = await of.undo(done, 0)
    assert states(undone)[0] == "done"
    assert "what it takes to undo it is gone" in undone["targets"][0]["error"]


async def test_lists(of: Class) -> None:
    done = []
    for student in of.students:
        of.house.clock.advance(seconds=1)
        done.append((await of.hand_out(targets=[student]))["id"])

    async def listed(**options: Any) -> list[str]:
        return [one["id"] for one in await of.house.copies.page(of.teacher, wire.ListCopies(**options))]

    assert await listed() == done[::-1]
    assert await listed(limit=1) == done[2:]
    assert await listed(after=done[1]) == done[:1]
    assert await listed(project_id=of.students[1]) == [done[1]]
    assert await listed(project_id=of.course.upper()) == done[::-1]
    for options in ({"limit": 0}, {"limit": 501}, {"project_id": "x"}):
        with pytest.raises(InvalidArgument):
            await listed(**options)


async def test_what_is_gone_from_the_source_at_apply_is_told(of: Class) -> None:
    plan = await of.plan()
    (of.home(of.course) / "hw" / "a.txt").unlink()
    done = await of.apply(plan)
    assert done["state"] == "done"
    assert [(target["files"], target["vanished"]) for target in done["targets"]] == [(1, 1)] * 3
    assert "vanished" not in (await of.hand_out(targets=of.students[:1]))["targets"][0]


async def test_names_of_any_bytes_in_the_files_of_a_plan(of: Class) -> None:
    of.write(of.course, os.fsdecode(b"hw/\xff"), "odd")
    plan = await of.plan(targets=of.students[:1])
    found = (await of.house.copies.files(of.teacher, wire.CopyFiles(id=plan["id"])))["files"]
    told = {file["path"]: file.get("encoded_path") for file in found}
    assert told == {"hw/a.txt": None, "hw/deep/b.txt": None, "hw/\\xff": "hw%2F%FF"}


async def test_lists_tell_from_where_to_where(of: Class) -> None:
    one = await of.hand_out()
    assert one["source"] == {"projects": 1, "project_id": of.course, "path": "hw"}
    assert one["target"] == {"projects": 3, "path": "hw"}
    sources = [{"project_id": student, "path": "hw"} for student in of.students[:2]]
    other = await of.hand_out(
        source=None, targets=None, sources=sources, target={"project_id": of.course, "path": "in"}
    )
    assert other["source"] == {"projects": 2, "path": "hw"}
    assert other["target"] == {"projects": 1, "project_id": of.course}
    of.write(of.course, "hw/a.txt", "three")
    wanted = CopyPath(src_project_id=of.course, src_path="hw", target_project_id=of.students[0], target_path="x")
    summary = await of.house.copies.copy(of.teacher, wanted)
    listed = await of.house.copies.page(of.teacher, wire.ListCopies())
    by_id = {each["id"]: each for each in listed}
    assert by_id[one["id"]]["source"] == one["source"]
    single = by_id[summary["operation_id"]]
    assert single["target"] == {"projects": 1, "project_id": of.students[0], "path": "x"}
    assert (await of.undo(single))["state"] == "undone"
    assert (await of.get(single))["applied"] is True


async def test_plans_that_were_not_applied_are_listed_only_if_asked_for(of: Class) -> None:
    async def listed(**options: Any) -> set[tuple[str, str]]:
        found = await of.house.copies.page(of.teacher, wire.ListCopies(**options))
        return {(each["id"], each["state"]) for each in found}

    done = await of.hand_out(targets=of.students[:1])
    planned, dropped, gone = [await of.plan() for _ in range(3)]
    for plan in (dropped, dropped):  # dropping it twice is no error
        ended = await of.house.copies.cancel(of.teacher, wire.CancelCopies(id=plan["id"]))
        assert (ended["state"], ended["applied"]) == ("cancelled", False)
    missing = {"project_id": of.course, "path": "nowhere"}
    hopeless = await of.plan(source=missing, wait=False)
    await of.house.copies._operations.find(hopeless["id"]).ended.wait()  # type: ignore[union-attr]
    hopeless = await of.get(hopeless)
    assert (hopeless["state"], hopeless["applied"], states(hopeless)) == ("failed", False, ["failed"] * 3)
    with pytest.raises(Conflict, match="is failed; plan again"):
        await of.apply(hopeless)
    assert (await of.house.copies.cancel(of.teacher, wire.CancelCopies(id=hopeless["id"])))["state"] == "failed"
    assert await listed() == {(done["id"], "done")}
    all_of_them = {(done["id"], "done"), (planned["id"], "planned"), (gone["id"], "planned")}
    all_of_them |= {(dropped["id"], "cancelled"), (hopeless["id"], "failed")}
    assert await listed(plans=True) == all_of_them
    await of.apply(gone)
    assert await listed() == {(done["id"], "done"), (gone["id"], "done")}
    of.house.clock.advance(days=1, minutes=1)
    await of.house.copies.sweep()
    assert await listed(plans=True) == {(done["id"], "done"), (gone["id"], "done")}


async def test_a_plan_that_is_cancelled_while_it_is_made_stays_no_longer_than_others(of: Class) -> None:
    plan = await of.plan(wait=False)
    ended = await of.house.copies.cancel(of.teacher, wire.CancelCopies(id=plan["id"]))
    assert ended["state"] == "cancelled"
    of.house.clock.advance(days=1, minutes=1)
    await of.house.copies.sweep()
    assert await of.house.copies.page(of.teacher, wire.ListCopies(plans=True)) == []


async def test_times(of: Class) -> None:
    begun = of.house.clock.now()
    plan = await of.plan()
    assert plan["expires"][:19] == (begun + timedelta(days=1)).isoformat()[:19]
    of.house.clock.advance(minutes=1)
    done = await of.apply(plan)
    assert done["finished"][:19] == (begun + timedelta(minutes=1)).isoformat()[:19]
    assert done["undo_until"][:19] == (begun + timedelta(days=7, minutes=1)).isoformat()[:19]
