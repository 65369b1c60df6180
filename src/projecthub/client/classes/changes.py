"""What is missing in a class: students' projects, and people on them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from projecthub.client.classes.definition import ClassDefinition, Student
from projecthub.wire.courses import CourseProject


class ChangeKind(StrEnum):
    """What is to be done."""

    CREATE = "create project"
    UNDELETE = "undelete project"
    ADD = "add student"
    INVITE = "invite student"
    ADD_TEACHER = "add teacher"


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One thing that is to be done.

    Attributes:
        student: The id of the student whose project it is about.
        who: The account that is added, or the address that is invited.
        project_id: The project; None: it is still to be made.
        name: Who that is, for people: an address or a name; None: it is not known.
    """

    kind: ChangeKind
    student: str
    project_id: str | None = None
    who: str | None = None
    name: str | None = field(default=None, compare=False)


def needed(
    definition: ClassDefinition,
    found: Sequence[CourseProject],
    accounts: Mapping[str, str],
    teachers: Sequence[str],
) -> list[Change]:
    """What has to be done for everybody to have a project, be on it, and be taught. Nothing, the second time.

    Args:
        definition: The class.
        found: The projects that it has.
        accounts: From the students' e-mail addresses to their accounts, of those who have one.
        teachers: The accounts that are to be on every project, first that of whoever makes the changes.
    """
    by_student = {each["student"]: each for each in found}
    changes: list[Change] = []
    for student in definition.students:
        changes += _of_student(student, by_student.get(student.id), accounts.get(student.email_address), teachers)
    return changes


def departed(definition: ClassDefinition, found: Sequence[CourseProject]) -> list[CourseProject]:
    """The projects of those who are in the class no more. They stay as they are."""
    ids = {student.id for student in definition.students}
    return [each for each in found if each["student"] not in ids and not each["deleted"]]


def _of_student(
    student: Student, project: CourseProject | None, account_id: str | None, teachers: Sequence[str]
) -> list[Change]:
    project_id = None if project is None else project["project_id"]
    users = {} if project is None else project["users"]
    invited = [] if project is None else project["invited"]
    changes = []

    def change(kind: ChangeKind, who: str | None = None) -> None:
        name = student.email_address if kind in (ChangeKind.ADD, ChangeKind.INVITE) else None
        changes.append(Change(kind=kind, student=student.id, project_id=project_id, who=who, name=name))

    me, others = teachers[0], teachers[1:]
    if project is None:
        change(ChangeKind.CREATE)
    elif me not in users:  # without that the rest would be refused
        change(ChangeKind.ADD_TEACHER, me)
    if project is not None and project["deleted"]:
        change(ChangeKind.UNDELETE)
    if account_id is not None:
        if account_id not in users and account_id != me:
            change(ChangeKind.ADD, account_id)
    elif student.email_address not in invited:
        change(ChangeKind.INVITE, student.email_address)
    for teacher in others:
        if teacher not in users and teacher != account_id:
            change(ChangeKind.ADD_TEACHER, teacher)
    return changes
