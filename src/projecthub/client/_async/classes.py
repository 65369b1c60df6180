from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from projecthub.client._async.classwork import AsyncClasswork, Progress, tell_nobody
from projecthub.client._async.registers import Shelves
from projecthub.client.classes.changes import Change, ChangeKind, departed, needed
from projecthub.client.classes.definition import USUAL_FILE, ClassDefinition, Item, Student
from projecthub.client.classes.register import Collected
from projecthub.client.classes.reports import ClassReport, Failure, Handout, StudentStatus
from projecthub.errors import Conflict, HubError
from projecthub.wire.courses import CourseProject

if TYPE_CHECKING:
    from projecthub.client._async.hub import AsyncHub

_SEARCHED_AT_ONCE: Final = 50
_REFUSED: Final = "cannot be handed out"


class AsyncClasses(AsyncClasswork):
    """Classes: declared in a small file of a project, and brought about. Every method may be called again.

    The file is ``class.toml``; docs/classes.md tells what stands in it. Owners and collaborators of the course's
    project teach it: each of them may call all of these.
    """

    def __init__(self, hub: AsyncHub) -> None:
        self._hub = hub

    async def diff(self, project_id: str, path: str = USUAL_FILE, items: Sequence[str] | None = None) -> ClassReport:
        """What `apply` would do. Changes nothing.

        Args:
            project_id: The course's project.
            path: The class file.
            items: Only these items; None: all.

        Raises:
            InvalidArgument: Something in the class file is wrong.
            PermissionDenied: You do not teach the course.

        Example:
            ```python
            report = await hub.classes.diff(project_id)
            print("nothing to do" if report.is_idle else report.changes)
            ```
        """
        definition = await self.read(project_id, path)
        chosen = definition.chosen(items)
        found = await self._hub.projects.of_course(project_id)
        changes = await self._needed(project_id, definition, found)
        handouts = [await self._plan(project_id, definition, item, found) for item in chosen]
        return self._report(definition, found, changes=changes, handouts=handouts)

    async def apply(
        self,
        project_id: str,
        path: str = USUAL_FILE,
        items: Sequence[str] | None = None,
        *,
        on_progress: Progress | None = None,
    ) -> ClassReport:
        """Make missing projects, add missing people, and hand out what is missing or new.

        What students have changed stays: see the policies of `hub.copies`; unless the class file says otherwise, a new
        version goes beside a file that was worked on.

        Args:
            project_id: The course's project.
            path: The class file.
            items: Hand out only these items; None: all.
            on_progress: Told how far it has come.

        Returns:
            What was done. What could not be done for some is in `failures`, and in the operations of the `handouts`.

        Raises:
            InvalidArgument: Something in the class file is wrong; nothing was done.
            PermissionDenied: You do not teach the course.

        Example:
            ```python
            report = await hub.classes.apply(project_id)
            assert not report.failures
            ```
        """
        tell = on_progress or tell_nobody
        definition = await self.read(project_id, path)
        chosen = definition.chosen(items)
        found = await self._hub.projects.of_course(project_id)
        changes = await self._needed(project_id, definition, found)
        failures, links = await self._carry_out(project_id, path, definition, changes, found, tell)
        if changes:
            found = await self._hub.projects.of_course(project_id)
        handouts = []
        for number, item in enumerate(chosen, 1):
            tell(f"handing out {item.name}", number, len(chosen))
            handout = await self._plan(project_id, definition, item, found)
            if handout.operation is not None and not handout.is_idle:
                handout = replace(handout, operation=await self._copy(handout.operation["id"]))
            handouts.append(handout)
        return self._report(definition, found, changes=changes, handouts=handouts, failures=failures, links=links)

    async def status(self, project_id: str, path: str = USUAL_FILE) -> list[StudentStatus]:
        """How everybody in the class stands with every item. Changes nothing.

        Args:
            project_id: The course's project.
            path: The class file.

        Raises:
            InvalidArgument: Something in the class file, or in a register, is wrong.
            PermissionDenied: You do not teach the course.

        Example:
            ```python
            for student in await hub.classes.status(project_id):
                print(student.name, student.items)
            ```
        """
        definition = await self.read(project_id, path)
        found = {each["student"]: each for each in await self._hub.projects.of_course(project_id)}
        accounts = await self._accounts(definition)
        words: dict[str, dict[str, str]] = {student.id: {} for student in definition.students}
        seen = Shelves()
        for item in definition.items:
            for student, word in (await self._standings(project_id, definition, item, found, seen)).items():
                words[student][item.name] = word
        return [
            StudentStatus(
                student=student.id,
                name=student.name,
                has_account=student.email_address in accounts,
                project_id=found[student.id]["project_id"] if student.id in found else None,
                items=words[student.id],
                project_deleted=student.id in found and found[student.id]["deleted"],
                due={item.name: item.due_for(student) for item in definition.items if item.is_for(student)},
            )
            for student in definition.students
        ]

    # -- projects and people -----------------------------------------------------------------------

    async def _needed(
        self, project_id: str, definition: ClassDefinition, found: Sequence[CourseProject]
    ) -> list[Change]:
        changes = needed(definition, found, await self._accounts(definition), await self._teachers(project_id))
        unnamed = sorted({change.who for change in changes if change.who and change.name is None})
        if not unnamed:
            return changes
        names = await self._hub.system.get_names(unnamed)
        return [
            replace(change, name=_name_of(names.get(change.who))) if change.who in unnamed else change
            for change in changes
        ]

    async def _accounts(self, definition: ClassDefinition) -> dict[str, str]:
        """From e-mail addresses to accounts, of the students that have one."""
        addresses = [student.email_address for student in definition.students]
        accounts = {}
        for start in range(0, len(addresses), _SEARCHED_AT_ONCE):
            chunk = addresses[start : start + _SEARCHED_AT_ONCE]
            for user in await self._hub.system.user_search(",".join(chunk), limit=_SEARCHED_AT_ONCE):
                address = user.get("email_address")
                if address is not None:
                    accounts[address.lower()] = user["account_id"]
        return accounts

    async def _teachers(self, project_id: str) -> list[str]:
        """Who teaches: the caller first, then the course's other owners and collaborators."""
        me = (await self._hub.system.test())["account_id"]
        (course,) = await self._hub.projects.get(fields=["users"], project_id=project_id)
        users = course.get("users") or {}
        return [me, *sorted(each for each, user in users.items() if user["group"] != "viewer" and each != me)]

    async def _carry_out(
        self,
        course_id: str,
        path: str,
        definition: ClassDefinition,
        changes: Sequence[Change],
        found: Sequence[CourseProject],
        tell: Progress,
    ) -> tuple[list[Failure], dict[str, str]]:
        """Make the changes, each student's projects before their people.

        Returns:
            What could not be done, and the links of invitations that no mail tells of, by the student's id.
        """
        students = {student.id: student for student in definition.students}
        projects = {each["student"]: each["project_id"] for each in found}
        failures: list[Failure] = []
        links: dict[str, str] = {}
        for number, change in enumerate(changes, 1):
            tell("making projects and adding people", number, len(changes))
            try:
                if change.kind is ChangeKind.CREATE:
                    student = students[change.student]
                    projects[student.id] = await self._make(course_id, path, definition, student)
                elif change.student in projects:
                    link = await self._change_people(change, projects[change.student])
                    links |= {change.student: link} if link else {}
            except HubError as error:
                failures.append(Failure(student=change.student, what=str(change.kind), error=error.message))
        return failures, links

    async def _make(self, course_id: str, path: str, definition: ClassDefinition, student: Student) -> str:
        try:
            return await self._create(course_id, path, definition, student)
        except Conflict:
            found = {each["student"]: each["project_id"] for each in await self._hub.projects.of_course(course_id)}
            if student.id not in found:
                raise
            # Somebody else who teaches has made it just now.
            project_id = found[student.id]
            await self._hub.projects.add_collaborator(project_id, (await self._hub.system.test())["account_id"])
            return project_id

    async def _create(self, course_id: str, path: str, definition: ClassDefinition, student: Student) -> str:
        return await self._hub.projects.create_project(
            f"{definition.title} - {student.name}",
            course={
                "project_id": course_id,
                "path": path,
                "student": student.id,
                "email_address": student.email_address,
            },
        )

    async def _change_people(self, change: Change, project_id: str) -> str | None:
        """Add somebody, or bring a project back; gives the link of an invitation that no mail tells of."""
        projects = self._hub.projects
        match change.kind:
            case ChangeKind.UNDELETE:
                await projects.undelete(project_id)
            case ChangeKind.INVITE:
                reply = await projects.invite_collaborator_without_account(project_id, change.who or "")
                open_ones = [one for one in reply["invited"] if one["state"] == "invited" and one["mail"] == "none"]
                return open_ones[0]["link"] if open_ones else None
            case ChangeKind.ADD | ChangeKind.ADD_TEACHER:
                await projects.add_collaborator(project_id, change.who or "")
        return None

    async def _standings(
        self,
        course_id: str,
        definition: ClassDefinition,
        item: Item,
        found: dict[str, CourseProject],
        seen: Shelves,
    ) -> dict[str, str]:
        """How everybody whom an item is for stands with it, in a word each."""
        handout = await self._plan(course_id, definition, item, [*found.values()])
        handed = _words(handout)
        if handout.operation is not None and not handout.is_idle:
            await self._hub.copies.cancel(handout.operation["id"])
        register = await self._register(course_id, definition, item)
        register = await self._holding(course_id, definition, item, register, seen)
        register = await self._as_they_are(course_id, definition, item, register)
        register = await self._as_returned(course_id, definition, item, register, found)
        return {
            student.id: _word(register[student.id], item.due_for(student))
            if student.id in register
            else handed.get(student.id, "not handed out")
            for student in definition.students
            if item.is_for(student)
        }

    # -- items -------------------------------------------------------------------------------------

    async def _plan(
        self, course_id: str, definition: ClassDefinition, item: Item, found: Sequence[CourseProject]
    ) -> Handout:
        """Compare an item with what the students have of it."""
        projects = {each["student"]: each["project_id"] for each in found if not each["deleted"]}
        students = [each.id for each in definition.students if item.is_for(each) and each.id in projects]
        if not students:
            return Handout(item=item.name)
        try:
            operation: Any = await self._hub.copies.plan(
                source={"project_id": course_id, "path": f"{item.path}/"},  # a directory
                targets=[{"project_id": projects[student], "path": item.to} for student in students],
                policy=item.policy,
                exclude=list(item.exclude) or None,
            )
        except HubError as error:
            return Handout(item=item.name, students=students, error=error.message)
        handout = Handout(item=item.name, operation=operation, students=students)
        if handout.is_idle:  # a plan that nobody applies would be kept for a day
            await self._hub.copies.cancel(operation["id"])
        return handout

    @staticmethod
    def _report(definition: ClassDefinition, found: Sequence[CourseProject], **fields: Any) -> ClassReport:
        return ClassReport(
            title=definition.title,
            students=len(definition.students),
            departed=[each["project_id"] for each in departed(definition, found)],
            notes=definition.notes,
            **fields,
        )


def _word(row: Collected, due: datetime | None) -> str:
    if row.returned_at is not None:
        return "returned"
    # The register learns of a due date that was moved when something is collected.
    return "late" if replace(row, due=due or row.due).late_s else "collected"


def _name_of(user: Any) -> str | None:
    """What somebody is called, for people."""
    return f"{user['first_name']} {user['last_name']}".strip() or None if user else None


def _words(handout: Handout) -> dict[str, str]:
    """For each student of a planned handout, how they stand."""
    if handout.error is not None:
        return dict.fromkeys(handout.students, f"{_REFUSED}: {handout.error}")
    targets = (handout.operation or {}).get("targets", ())
    return {student: _standing(target) for student, target in zip(handout.students, targets, strict=False)}


def _standing(target: Any) -> str:
    counts = target.get("counts")
    if counts is None:  # nothing was compared, as with something else in the item's place
        return f"{_REFUSED}: {target.get('error') or target['state']}"
    if counts["new"] and not counts["same"]:
        return "not handed out"
    if counts["changed_by_them"] or counts["conflict"] or counts["deleted_by_them"]:
        return "worked on"
    return "outdated" if target["files"] else "handed out"
