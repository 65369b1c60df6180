"""Courses: projects of students that belong to a project of teachers.

Source: Wire contract 2.4 (who teaches adds himself), 3.7 (`course`); docs/wire-extensions.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from projecthub.errors import Conflict, InvalidArgument
from projecthub.hub.permissions import account_id_of, member_access, not_deleted, project_id_of
from projecthub.wire import courses
from projecthub.wire.methods import Ability

if TYPE_CHECKING:
    from projecthub.hub.principals import Principal
    from projecthub.store import Store, Transaction
    from projecthub.wire.ids import ProjectId

_NOT_A_TEACHER: Final = "user must be collaborator on the project of the course"
_MAX_TEXT: Final = 254
_TEXTS: Final = ("student", "path", "email_address")
_KNOWN: Final = frozenset({"type", "project_id", "account_id", *_TEXTS})


class Courses:
    """Which projects are students' in a course."""

    def __init__(self, store: Store) -> None:
        """Make the service."""
        self._store = store

    async def projects(self, caller: Principal, request: courses.CourseOnly) -> list[courses.CourseProject]:
        """The students' projects of a course, for those who teach it: who may manage its project.

        Raises:
            PermissionDenied: The caller does not.
        """
        course = project_id_of(request.project_id)
        async with self._store.read() as tx:
            await member_access(tx, caller, course, _NOT_A_TEACHER, Ability.MANAGE)
            found = await tx.courses.projects_of(course)
        return [
            {
                "project_id": each.project_id,
                "student": each.student,
                "title": each.title,
                "deleted": each.deleted,
                "course": {**each.course},
                "users": {account_id: {"group": str(role)} for account_id, role in each.roles.items()},
                "invited": sorted(each.invite),
            }
            for each in found
        ]


def course_of(given: Mapping[str, Any]) -> dict[str, Any]:
    """The field `course` of a new project, from what its maker gave.

    Raises:
        InvalidArgument: Something in it is unknown, of the wrong kind or too long.
    """
    if unknown := sorted(given.keys() - _KNOWN):
        raise InvalidArgument(f"course.{unknown[0][:100]} is unknown; give {', '.join(sorted(_KNOWN))}")
    if given.get("type", "student") != "student":
        raise InvalidArgument(f"course.type is {given['type']!r:.100}; give 'student'")
    course = {"type": "student", "project_id": project_id_of(given.get("project_id"))}
    for name in _TEXTS:
        value = given.get(name)
        if value is None and name != "student":
            continue
        if not isinstance(value, str) or not 0 < len(value) <= _MAX_TEXT:
            raise InvalidArgument(f"course.{name} is {value!r:.100}; give a text of 1 to {_MAX_TEXT} characters")
        course[name] = value
    if given.get("account_id") is not None:
        course["account_id"] = account_id_of(given["account_id"], "course.account_id '{value}' is no uuid")
    return course


async def join_course(tx: Transaction, caller: Principal, project_id: ProjectId, course: Mapping[str, Any]) -> None:
    """Note that a project that is being made belongs to a course.

    Raises:
        PermissionDenied: The caller does not teach it.
        Conflict: The course's project is deleted, or the student has a project in it.
    """
    access = await member_access(tx, caller, course["project_id"], _NOT_A_TEACHER, Ability.MANAGE)
    not_deleted(access.project)
    if not await tx.courses.add(project_id, course["project_id"], course["student"]):
        raise Conflict(
            f"student '{course['student']}' has a project in course '{course['project_id']}' already; "
            "projects.ofCourse tells which. No project was made"
        )
    await tx.projects.update(project_id, {"course": course})
