# Written by tools/unasync.py from client/_async; change it there.
from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from projecthub.client._sync.registers import STAMP, Registers
from projecthub.client.classes.definition import ClassDefinition, Item, Student
from projecthub.client.classes.touched import TOUCHED, Work, touched_of
from projecthub.errors import CallerError, LimitError
from projecthub.wire.courses import CourseProject


class Collections(Registers):
    """What students have in their projects of an item, and which of it is theirs: a part of `classes`."""

    def _plan_collection(
        self,
        course_id: str,
        definition: ClassDefinition,
        item: Item,
        students: Sequence[Student],
        found: Mapping[str, CourseProject],
        suffix: str = "",
    ) -> Any:
        """Plan to collect an item from students; ``suffix``: of the names of the directories that it comes to."""
        started = self._hub.copies.plan(
            sources=[
                {
                    "project_id": found[student.id]["project_id"],
                    # With the slash it has to be a directory: a symlink in its place could lead to others' work.
                    "path": f"{item.to}/",
                    "target_path": definition.collected_path(item, student) + suffix,
                }
                for student in students
            ],
            target={"project_id": course_id, "path": ""},
            policy="overwrite",
            delete_missing=True,
            exclude=[f"/{STAMP}"] if definition.layout == "nbgrader" else None,
            skip_missing=True,  # who has handed in nothing is no failure
            wait=False,
        )
        return self._hub.copies.wait(started["id"])

    def _works(
        self,
        course_id: str,
        definition: ClassDefinition,
        item: Item,
        students: Sequence[Student],
        found: Mapping[str, CourseProject],
        operation: Any,
    ) -> list[Work]:
        """For each student what is collected."""
        # A deleted project cannot be compared with what was handed out: nothing may be copied into it.
        told = [
            student
            for student, target in zip(students, operation["targets"], strict=True)
            if target["state"] == "planned" and not found[student.id]["deleted"]
        ]
        touched = self._touched(course_id, item, told, found) if told else {}
        works, partly = {}, []
        for student, target in zip(students, operation["targets"], strict=True):
            # A plan does not tell of files that are here already: of what was collected before, noted or not.
            if target.get("counts", {}).get("same"):
                partly.append(student)
            else:
                works[student.id] = self._work(operation, target, touched.get(student.id))
        if partly:
            whole = self._plan_collection(course_id, definition, item, partly, found, f"-{operation['id']}")
            for student, target in zip(partly, whole["targets"], strict=True):
                works[student.id] = self._work(whole, target, touched.get(student.id))
            self._hub.copies.cancel(whole["id"])
        return [works[student.id] for student in students]

    def _touched(
        self, course_id: str, item: Item, students: Sequence[Student], found: Mapping[str, CourseProject]
    ) -> dict[str, frozenset[str]]:
        """By students' ids the paths of what they have made or changed; of who is not in it that cannot be told."""
        try:
            started = self._hub.copies.plan(
                source={"project_id": course_id, "path": f"{item.path}/"},
                targets=[{"project_id": found[student.id]["project_id"], "path": item.to} for student in students],
                policy="merge",  # so that what they have changed stays, and the rest would be deleted
                delete_missing=True,
                skip_missing=True,  # an item that is gone is no failure: only nothing is known then
                wait=False,
            )
        except (CallerError, LimitError):
            return {}
        plan: Any = self._hub.copies.wait(started["id"])
        touched = {}
        for student, target in zip(students, plan["targets"], strict=True):
            if "counts" in target:
                paths = touched_of(target, self._touched_files(plan, target))
                if paths is not None:
                    touched[student.id] = paths
        self._hub.copies.cancel(plan["id"])
        return touched

    def _touched_files(self, plan: Any, target: Any) -> list[Any]:
        if not any(target["counts"].get(status) for status in TOUCHED):
            return []
        return [file for page in self._pages_of(plan, target, [*TOUCHED]) for file in page]
