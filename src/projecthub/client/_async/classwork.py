from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from projecthub.client.classes.definition import (
    USUAL_FILE,
    ClassDefinition,
    Item,
    Student,
    class_text,
    read_class,
    roster_path,
)
from projecthub.client.classes.register import Collected, file_time, register_of, with_collected, write_register
from projecthub.client.classes.reports import CollectReport, Failure
from projecthub.errors import CallerError, Conflict, LimitError, NotFound
from projecthub.wire.courses import CourseProject
from projecthub.wire.units import from_ms

if TYPE_CHECKING:
    from projecthub.client._async.hub import AsyncHub

_FILES_A_PAGE: Final = 10_000
_DOOMED: Final = "would_be_deleted"
_NOTE_TRIES: Final = 50
_NOTE_PAUSE_S: Final = 0.05
_Change = Callable[[dict[str, Collected]], Mapping[str, Collected]]
"""From the rows of a register as it is to those that it is to have."""

Progress = Callable[[str, int, int], None]
"""Called with what is being done, how much of it is, and how much there is."""


class AsyncClasswork:
    """What comes back from students and goes back to them: the part of `classes` about their work."""

    _hub: AsyncHub

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
        text = class_text(await files.read_bytes(path))
        roster = roster_path(text)
        if roster is None:
            return read_class(text)
        folder = path.rpartition("/")[0]
        return read_class(text, await files.read_bytes(f"{folder}/{roster}" if folder else roster))

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
        minutes. What was collected, when it was last changed and how late that was stands in
        ``collected/ITEM.csv`` (``submitted/ITEM.csv`` in the layout of nbgrader).

        Args:
            project_id: The course's project.
            path: The class file.
            items: Only these items; None: all.
            early: Also of those whose time is not over.
            again: Also what was collected before.
            on_progress: Told how far it has come.

        Returns:
            One report for each item.

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
        found = {each["student"]: each for each in await self._hub.projects.of_course(project_id)}
        reports = []
        for number, item in enumerate(chosen, 1):
            tell(f"collecting {item.name}", number, len(chosen))
            reports.append(await self._collect_item(project_id, definition, item, found, early=early, again=again))
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

    async def _register(self, course_id: str, definition: ClassDefinition, item: Item) -> dict[str, Collected]:
        return (await self._register_with_etag(course_id, definition, item))[0]

    async def _register_with_etag(
        self, course_id: str, definition: ClassDefinition, item: Item
    ) -> tuple[dict[str, Collected], str]:
        """The register of an item, and the state that it is in; empty: it is not there."""
        try:
            content, etag = await self._hub.project(course_id).files.read_with_etag(definition.register_path(item))
        except NotFound:
            return {}, ""
        return register_of(content), etag

    async def _note(self, course_id: str, definition: ClassDefinition, item: Item, change: _Change) -> None:
        """Change the register of an item: once more with what is there then, if somebody else was quicker."""
        files, path = self._hub.project(course_id).files, definition.register_path(item)
        for tries_left in reversed(range(_NOTE_TRIES)):
            register, etag = await self._register_with_etag(course_id, definition, item)
            content = write_register(change(register).values()).encode()
            try:
                await files.write_bytes(path, content, if_etag=etag)
                return
            except Conflict:
                if not tries_left:
                    raise
            await asyncio.sleep(_NOTE_PAUSE_S)

    async def _now(self) -> datetime:
        """The hub's time, in whole seconds."""
        return from_ms((await self._hub.system.ping())["now"]).replace(microsecond=0)

    async def _collect_item(
        self,
        course_id: str,
        definition: ClassDefinition,
        item: Item,
        found: dict[str, CourseProject],
        *,
        early: bool,
        again: bool,
    ) -> CollectReport:
        register, now = await self._register(course_id, definition, item), await self._now()
        due, waiting = [], {}
        for student in definition.students:
            if not item.is_for(student) or student.id not in found or (student.id in register and not again):
                continue
            at = item.due_for(student)
            if early or (at is not None and at <= now):
                due.append(student)
            else:
                waiting[student.id] = at
        report = CollectReport(item=item.name, waiting=waiting)
        if not due:
            return report
        projects = {student.id: found[student.id]["project_id"] for student in due}
        try:
            operation = await self._plan_collection(course_id, definition, item, due, projects)
        except (CallerError, LimitError) as error:  # of none of them
            failures = [Failure(student=student.id, what="collect", error=error.message) for student in due]
            return replace(report, failures=failures)
        times = await self._times(course_id, definition, item, due, projects, operation, register)
        is_idle = all(target["state"] != "planned" for target in operation["targets"])
        operation = await (self._hub.copies.cancel if is_idle else self._copy)(operation["id"])
        return await self._note_collected(course_id, definition, item, report, due, operation, times, register, now)

    async def _note_collected(
        self,
        course_id: str,
        definition: ClassDefinition,
        item: Item,
        report: CollectReport,
        due: Sequence[Student],
        operation: Any,
        times: Sequence[tuple[datetime | None, int]],
        register: dict[str, Collected],
        now: datetime,
    ) -> CollectReport:
        rows, missing, failures = [], [], []
        for student, target, (changed_at, files) in zip(due, operation["targets"], times, strict=True):
            before = register.get(student.id)
            if target["state"] == "done":
                known = [at for at in (changed_at, before.changed_at if before else None) if at is not None]
                rows.append(_row(item, student, target, max(known, default=None), files, now))
            elif _is_missing(target):
                missing.append(student.id)
            else:
                failures.append(Failure(student=student.id, what="collect", error=target.get("error") or ""))
        if rows:
            if definition.layout == "nbgrader":
                await self._stamp(course_id, definition, item, rows)
            await self._note(course_id, definition, item, lambda known: with_collected(known, rows, seen=register))
        return replace(report, rows=rows, missing=missing, failures=failures)

    async def _plan_collection(
        self,
        course_id: str,
        definition: ClassDefinition,
        item: Item,
        students: Sequence[Student],
        projects: dict[str, str],
        suffix: str = "",
    ) -> Any:
        """Plan to collect an item from students; ``suffix``: of the names of the directories that it comes to."""
        started = await self._hub.copies.plan(
            sources=[
                {
                    "project_id": projects[student.id],
                    # With the slash it has to be a directory: a symlink in its place could lead to others' work.
                    "path": f"{item.to}/",
                    "target_path": definition.collected_path(item, student) + suffix,
                }
                for student in students
            ],
            target={"project_id": course_id, "path": ""},
            policy="overwrite",
            delete_missing=True,
            exclude=["/timestamp.txt"] if definition.layout == "nbgrader" else None,
            wait=False,  # which would be refused if nothing could be had of anybody
        )
        return await self._hub.copies.wait(started["id"])

    async def _times(
        self,
        course_id: str,
        definition: ClassDefinition,
        item: Item,
        students: Sequence[Student],
        projects: dict[str, str],
        operation: Any,
        register: dict[str, Collected],
    ) -> list[tuple[datetime | None, int]]:
        """For each student the latest time of a file that is collected, and how many files there are."""
        times = {
            student.id: await self._latest(operation, target)
            for student, target in zip(students, operation["targets"], strict=True)
        }
        # A plan does not tell of files that are here already, as when a collection was cut short before it was noted.
        unnoted = [
            student
            for student, target in zip(students, operation["targets"], strict=True)
            if target.get("counts", {}).get("same") and student.id not in register
        ]
        if unnoted:
            whole = await self._plan_collection(course_id, definition, item, unnoted, projects, f"-{operation['id']}")
            for student, target in zip(unnoted, whole["targets"], strict=True):
                times[student.id] = await self._latest(whole, target)
            await self._hub.copies.cancel(whole["id"])
        return [times[student.id] for student in students]

    async def _latest(self, operation: Any, target: Any) -> tuple[datetime | None, int]:
        """The latest time of a file that is to be written, and how many files there are."""
        latest: datetime | None = None
        after: int | None = 0
        files = sum(count for status, count in target.get("counts", {}).items() if status != _DOOMED)
        while after is not None and files:
            page = await self._hub.copies.files(operation["id"], target["number"], after=after, limit=_FILES_A_PAGE)
            for file in page["files"]:
                at = file_time(file["mtime"])
                if file["status"] != _DOOMED and (latest is None or at > latest):
                    latest = at
            after = page["next"]
        return latest, files

    async def _stamp(self, course_id: str, definition: ClassDefinition, item: Item, rows: Sequence[Collected]) -> None:
        """The time of each submission, where nbgrader looks for it."""
        students = {student.id: student for student in definition.students}
        for row in rows:
            at = row.changed_at or row.collected_at
            path = f"{definition.collected_path(item, students[row.student])}/timestamp.txt"
            await self._hub.project(course_id).files.write_text(path, f"{at:%Y-%m-%d %H:%M:%S} UTC\n")

    async def _return_item(
        self, course_id: str, definition: ClassDefinition, item: Item, found: dict[str, CourseProject]
    ) -> CollectReport:
        students = [each for each in definition.students if item.is_for(each) and each.id in found]
        if not students:
            return CollectReport(item=item.name)
        now = await self._now()
        try:
            operation = await self._plan_return(course_id, definition, item, students, found)
            missing = [
                student for student, target in zip(students, operation["targets"], strict=True) if _is_missing(target)
            ]
            students = [each for each in students if each not in missing]
            if missing:  # what is told of then is about those of whom there is something
                await self._hub.copies.cancel(operation["id"])
            if missing and students:
                operation = await self._plan_return(course_id, definition, item, students, found)
        except (CallerError, LimitError) as error:  # to none of them
            failures = [Failure(student=each.id, what="return", error=error.message) for each in students]
            return CollectReport(item=item.name, failures=failures)
        report = CollectReport(item=item.name, missing=[each.id for each in missing])
        return (
            await self._give_back(course_id, definition, item, report, students, operation, now) if students else report
        )

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
        returned, failures = {}, []
        for student, target in zip(students, operation["targets"], strict=True):
            if target["state"] == ("cancelled" if is_idle else "done"):
                returned[student.id] = bool(target["files"])
            else:
                failures.append(Failure(student=student.id, what="return", error=target.get("error") or ""))
        rows: list[Collected] = []

        def note(register: dict[str, Collected]) -> Mapping[str, Collected]:
            rows[:] = _returned(register, returned, now)
            return register | {row.student: row for row in rows}

        if _returned(await self._register(course_id, definition, item), returned, now):
            await self._note(course_id, definition, item, note)
        return replace(report, rows=rows, failures=failures)

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
                    "source_path": definition.graded_path(item, student),
                }
                for student in students
            ],
            policy="merge",
            wait=False,  # which would be refused if nothing could be had of anybody
        )
        return await self._hub.copies.wait(started["id"])


def _is_missing(target: Any) -> bool:
    return bool(target.get("error_code") == NotFound.code)


def _returned(register: Mapping[str, Collected], returned: Mapping[str, bool], now: datetime) -> list[Collected]:
    """Rows that are to tell that graded work went back: where they did not yet, or more of it did now.

    Args:
        register: What is known.
        returned: By the student's id whether anything was copied this time.
        now: When.
    """
    known = [(register[student], is_new) for student, is_new in returned.items() if student in register]
    return [replace(row, returned_at=now) for row, is_new in known if is_new or row.returned_at is None]


def _row(
    item: Item, student: Student, target: Any, changed_at: datetime | None, files: int, now: datetime
) -> Collected:
    return Collected(
        student=student.id,
        email_address=student.email_address,
        project_id=target["source_project_id"],
        due=item.due_for(student),
        changed_at=changed_at,
        files=files,
        collected_at=now,
    )


def tell_nobody(what: str, done: int, total: int) -> None:
    """Nobody wants to know."""
