from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, Final

from projecthub.client._async.classcollections import AsyncCollections
from projecthub.client._async.registers import STAMP, Shelves
from projecthub.client.classes.definition import (
    USUAL_FILE,
    ClassDefinition,
    Item,
    Student,
    class_text,
    read_class,
    roster_path,
)
from projecthub.client.classes.register import Collected, in_place_of, is_outdated, with_collected, with_due
from projecthub.client.classes.reports import CollectReport, Failure
from projecthub.client.classes.touched import Work
from projecthub.errors import CallerError, Conflict, LimitError, NotFound
from projecthub.wire.courses import CourseProject
from projecthub.wire.units import from_ms

_BEGIN: Final = "name another, or begin with `projecthub class init`, which writes one with explanations, and a roster"
Progress = Callable[[str, int, int], None]
"""Called with what is being done, how much of it is, and how much there is."""


class AsyncClasswork(AsyncCollections):
    """What comes back from students and goes back to them: the part of `classes` about their work."""

    async def read(self, project_id: str, path: str = USUAL_FILE) -> ClassDefinition:
        """What the class file of a project says.

        Args:
            project_id: The course's project.
            path: The file.

        Raises:
            NotFound: There is no such file, or no roster where it says.
            InvalidArgument: Something in it is wrong; the text says what and where.

        Example:
            ```python
            klass = await hub.classes.read(project_id)
            print(klass.title, len(klass.students), [item.name for item in klass.items])
            ```
        """
        files = self._hub.project(project_id).files
        try:
            content = await files.read_bytes(path)
        except NotFound as error:
            raise _not_there(error, f"there is no class file '{path}' in the project; {_BEGIN}") from error
        text = class_text(content)
        roster = roster_path(text)
        if roster is None:
            return read_class(text)
        folder = path.rpartition("/")[0]
        roster = f"{folder}/{roster}" if folder else roster
        try:
            return read_class(text, await files.read_bytes(roster))
        except NotFound as error:
            told = (
                f"there is no roster '{roster}', which the class file names; put one there, a CSV file with the column"
            )
            raise _not_there(error, f"{told} 'email', or take `roster` out of '{path}'") from error

    async def collect(
        self,
        project_id: str,
        path: str = USUAL_FILE,
        items: Sequence[str] | None = None,
        *,
        early: bool = False,
        again: bool = False,
        on_progress: Progress | None = None,
    ) -> list[CollectReport]:
        """Bring the work of those whose time is over into the course's project, and note how late it was.

        Each student's work is collected once, after it is due for that student; so this may be called every few
        minutes. What was collected before that, as with `early`, or as the due date was moved since, is collected
        again. What was collected, when it was last changed and how late that was stands in
        ``collected/ITEM.csv`` (``submitted/ITEM.csv`` in the layout of nbgrader). What is not there any more, as its
        copy was undone, counts as not collected.

        Args:
            project_id: The course's project.
            path: The class file.
            items: Only these items; None: all.
            early: Also of those whose time is not over.
            again: Also what was collected before.
            on_progress: Told how far it has come.

        Returns:
            One report for each item; in `missing` those who have handed in nothing, or have no project.

        Raises:
            InvalidArgument: Something in the class file, or in a register, is wrong.
            PermissionDenied: You do not teach the course.

        Example:
            ```python
            for report in await hub.classes.collect(project_id, early=True):
                print(report.item, [(row.student, row.late_s) for row in report.rows])
            ```
        """
        tell = on_progress or tell_nobody
        definition = await self.read(project_id, path)
        chosen = definition.chosen(items)
        # Deleted ones as well: the files are there.
        found = {each["student"]: each for each in await self._hub.projects.of_course(project_id)}
        reports, seen = [], Shelves()
        for number, item in enumerate(chosen, 1):
            tell(f"collecting {item.name}", number, len(chosen))
            register = await self._cleared(project_id, definition, item, seen)
            reports.append(
                await self._collect_item(project_id, definition, item, found, register, early=early, again=again)
            )
        return reports

    async def return_graded(
        self,
        project_id: str,
        path: str = USUAL_FILE,
        items: Sequence[str] | None = None,
        *,
        on_progress: Progress | None = None,
    ) -> list[CollectReport]:
        """Give graded work back: what is in ``graded/ITEM/STUDENT`` goes to ``ITEM-graded`` in the student's project.

        In the layout of nbgrader it comes from ``feedback/STUDENT/ITEM``. Whose is not there yet is left for the next
        time.

        Args:
            project_id: The course's project.
            path: The class file.
            items: Only these items; None: all.
            on_progress: Told how far it has come.

        Returns:
            One report for each item; in `missing` those whose graded work is not there.

        Raises:
            InvalidArgument: Something in the class file, or in a register, is wrong.
            PermissionDenied: You do not teach the course.

        Example:
            ```python
            for report in await hub.classes.return_graded(project_id):
                print(report.item, "not graded yet:", report.missing)
            ```
        """
        tell = on_progress or tell_nobody
        definition = await self.read(project_id, path)
        chosen = definition.chosen(items)
        found = {each["student"]: each for each in await self._hub.projects.of_course(project_id)}
        reports = []
        for number, item in enumerate(chosen, 1):
            tell(f"returning {item.name}", number, len(chosen))
            reports.append(await self._return_item(project_id, definition, item, found))
        return reports

    async def _copy(self, operation_id: str) -> Any:
        await self._hub.copies.apply(operation_id, wait=False)
        done = await self._hub.copies.wait(operation_id)
        if any(target.get("error_code") == Conflict.code for target in done["targets"]):
            # Somebody was at work there, such as another who teaches and does the same.
            await self._hub.copies.retry(operation_id, wait=False)
            done = await self._hub.copies.wait(operation_id)
        return done

    async def _now(self) -> datetime:
        """The hub's time, in whole seconds."""
        return from_ms((await self._hub.system.ping())["now"]).replace(microsecond=0)

    async def _cleared(
        self, course_id: str, definition: ClassDefinition, item: Item, seen: Shelves
    ) -> dict[str, Collected]:
        """The register of an item, after the rows were taken out of it whose files are gone."""
        noted = await self._register(course_id, definition, item)
        register = await self._holding(course_id, definition, item, noted, seen)
        if gone := {student: row for student, row in noted.items() if student not in register}:
            await self._forget(course_id, definition, item, gone)
        return register

    async def _collect_item(
        self,
        course_id: str,
        definition: ClassDefinition,
        item: Item,
        found: dict[str, CourseProject],
        register: dict[str, Collected],
        *,
        early: bool,
        again: bool,
    ) -> CollectReport:
        now = await self._now()
        due, missing, waiting, moved = [], [], {}, {}
        for student in definition.students:
            if not item.is_for(student):
                continue
            at, before = item.due_for(student), register.get(student.id)
            if before is not None and not again and not is_outdated(before, at, now):
                if at != before.due and at is not None and at <= now:
                    moved[student.id] = at
            elif not early and (at is None or at > now):
                waiting[student.id] = at
            elif student.id in found:
                due.append(student)
            else:
                missing.append(student.id)
        if moved:
            await self._note(course_id, definition, item, lambda known: with_due(known, moved))
        report = CollectReport(item=item.name, waiting=waiting, missing=missing)
        if not due:
            return report
        # What is collected anew takes the place of what is there, which need not be what was collected last.
        there = {each.id: register[each.id] for each in due if each.id in register}
        register = register | await self._as_they_are(course_id, definition, item, there)
        try:
            operation = await self._plan_collection(course_id, definition, item, due, found)
        except (CallerError, LimitError) as error:  # of none of them
            failures = [Failure(student=student.id, what="collect", error=error.message) for student in due]
            return replace(report, failures=failures)
        works = await self._works(course_id, definition, item, due, found, operation)
        is_idle = all(target["state"] != "planned" for target in operation["targets"])
        operation = await (self._hub.copies.cancel if is_idle else self._copy)(operation["id"])
        return await self._note_collected(course_id, definition, item, report, due, operation, works, register, now)

    async def _note_collected(
        self,
        course_id: str,
        definition: ClassDefinition,
        item: Item,
        report: CollectReport,
        due: Sequence[Student],
        operation: Any,
        works: Sequence[Work],
        register: dict[str, Collected],
        now: datetime,
    ) -> CollectReport:
        rows, missing, failures = [], [*report.missing], []
        for student, target, work in zip(due, operation["targets"], works, strict=True):
            if target["state"] == "done":
                row = _row(item, student, target, work, now)
                rows.append(in_place_of(row, register.get(student.id)))
            elif _is_missing(target):
                missing.append(student.id)
            else:
                failures.append(Failure(student=student.id, what="collect", error=target.get("error") or ""))
        if rows:
            if definition.layout == "nbgrader":
                await self._stamp(course_id, definition, item, rows)
            await self._note(course_id, definition, item, lambda known: with_collected(known, rows, seen=register))
        return replace(report, rows=rows, missing=missing, failures=failures)

    async def _stamp(self, course_id: str, definition: ClassDefinition, item: Item, rows: Sequence[Collected]) -> None:
        """The time of each submission, where nbgrader looks for it."""
        students = {student.id: student for student in definition.students}
        for row in rows:
            at = row.changed_at or min(row.collected_at, row.due or row.collected_at)  # who did nothing is not late
            path = f"{definition.collected_path(item, students[row.student])}/{STAMP}"
            await self._hub.project(course_id).files.write_text(path, f"{at:%Y-%m-%d %H:%M:%S} UTC\n")

    async def _return_item(
        self, course_id: str, definition: ClassDefinition, item: Item, found: dict[str, CourseProject]
    ) -> CollectReport:
        students = [each for each in definition.students if item.is_for(each) and each.id in found]
        report = CollectReport(item=item.name, strays=await self._strays(course_id, definition, item, students))
        if not students:
            return report
        now = await self._now()
        try:
            operation = await self._plan_return(course_id, definition, item, students, found)
        except (CallerError, LimitError) as error:  # to none of them
            failures = [Failure(student=each.id, what="return", error=error.message) for each in students]
            return replace(report, failures=failures)
        return await self._give_back(course_id, definition, item, report, students, operation, now)

    async def _strays(
        self, course_id: str, definition: ClassDefinition, item: Item, students: Sequence[Student]
    ) -> list[str]:
        """Directories of graded work that go back to none of these students."""
        # In the layout of nbgrader each student's holds all items.
        known = {each.id for each in (definition.students if definition.layout == "nbgrader" else students)}
        folder = definition.graded_folder(item)
        there = await self._entries(course_id, folder)
        named = sorted(name for name, entry in there.items() if entry["is_directory"] and not name.startswith("."))
        return [f"{folder}/{name}" for name in named if name not in known]

    async def _give_back(
        self,
        course_id: str,
        definition: ClassDefinition,
        item: Item,
        report: CollectReport,
        students: Sequence[Student],
        operation: Any,
        now: datetime,
    ) -> CollectReport:
        """Do what is planned of a return, and note it."""
        # A plan of which nothing is to be copied is not applied: who has it as it is has got it before.
        is_idle = not operation["totals"]["files"]
        operation = await (self._hub.copies.cancel if is_idle else self._copy)(operation["id"])
        returned, missing, failures = {}, [], []
        for student, target in zip(students, operation["targets"], strict=True):
            if _is_missing(target):
                missing.append(student.id)
            elif target["state"] == ("cancelled" if is_idle else "done"):
                returned[student.id] = target["files"]
            else:
                failures.append(Failure(student=student.id, what="return", error=target.get("error") or ""))
        rows: list[Collected] = []

        def note(register: dict[str, Collected]) -> Mapping[str, Collected]:
            rows[:] = _returned(register, returned, now)
            return register | {row.student: row for row in rows}

        if _returned(await self._register(course_id, definition, item), returned, now):
            await self._note(course_id, definition, item, note)
        given = {student: files for student, files in returned.items() if files and not is_idle}
        return replace(report, rows=rows, missing=missing, failures=failures, returned=given)

    async def _as_returned(
        self,
        course_id: str,
        definition: ClassDefinition,
        item: Item,
        register: dict[str, Collected],
        found: dict[str, CourseProject],
    ) -> dict[str, Collected]:
        """The rows of a register; those whose graded work is not with the students any more tell of no return."""
        noted = {id for id, row in register.items() if row.returned_at and id in found and not found[id]["deleted"]}
        students = [student for student in definition.students if student.id in noted]
        if not students:
            return register
        try:
            plan = await self._plan_return(course_id, definition, item, students, found)
        except (CallerError, LimitError):
            return register
        told = {**register}
        for student, target in zip(students, plan["targets"], strict=True):
            counts = target.get("counts", {})
            if counts.get("new") and counts["new"] == sum(counts.values()):  # what a student deletes counts otherwise
                told[student.id] = replace(told[student.id], returned_at=None)
        await self._hub.copies.cancel(plan["id"])
        return told

    async def _plan_return(
        self,
        course_id: str,
        definition: ClassDefinition,
        item: Item,
        students: Sequence[Student],
        found: dict[str, CourseProject],
    ) -> Any:
        """Plan to give each student what is graded of an item: one operation, which one call undoes."""
        started = await self._hub.copies.plan(
            source={"project_id": course_id, "path": "."},
            targets=[
                {
                    "project_id": found[student.id]["project_id"],
                    "path": definition.returned_path(item),
                    "source_path": f"{definition.graded_path(item, student)}/",  # a directory
                }
                for student in students
            ],
            policy="merge",
            skip_missing=True,  # what is not graded yet is no failure
            wait=False,
        )
        return await self._hub.copies.wait(started["id"])


def _not_there(error: NotFound, text: str) -> NotFound:
    """A better text for a file that is not there; what else is not there, as a project, says so itself."""
    return NotFound(text) if error.message.startswith("ENOENT") else error


def _is_missing(target: Any) -> bool:
    return bool(target.get("error_code") == NotFound.code)


def _returned(register: Mapping[str, Collected], returned: Mapping[str, int], now: datetime) -> list[Collected]:
    """Rows that are to tell that graded work went back: where they did not yet, or more of it did now.

    Args:
        register: What is known.
        returned: By the student's id how many files were copied this time.
        now: When.
    """
    known = [(register[student], files) for student, files in returned.items() if student in register]
    return [replace(row, returned_at=now) for row, files in known if files or row.returned_at is None]


def _row(item: Item, student: Student, target: Any, work: Work, now: datetime) -> Collected:
    return Collected(
        student=student.id,
        email_address=student.email_address,
        project_id=target["source_project_id"],
        due=item.due_for(student),
        changed_at=work.changed_at and min(work.changed_at, now),  # nobody works in the future, whatever a file says
        files=work.files,
        collected_at=now,
        newest_at=work.newest_at,
    )


def tell_nobody(what: str, done: int, total: int) -> None:
    """Nobody wants to know."""
