"""Which projects are students' in which course."""

from __future__ import annotations

from typing import Final

from sqlalchemy import bindparam, select
from sqlalchemy.ext.asyncio import AsyncConnection

from projecthub.store.expressions import upserting
from projecthub.store.records import CourseProject, Role
from projecthub.store.tables import course_projects, memberships, projects
from projecthub.wire.ids import AccountId, ProjectId

_ADD: Final = (
    upserting(course_projects)
    .on_conflict_do_nothing(index_elements=["course_project_id", "student"])
    .returning(course_projects.c.project_id)
)
_OF_COURSE: Final = (
    select(
        course_projects.c.project_id,
        course_projects.c.student,
        projects.c.title,
        projects.c.deleted,
        projects.c.course,
        projects.c.invite,
    )
    .join_from(course_projects, projects, projects.c.project_id == course_projects.c.project_id)
    .where(course_projects.c.course_project_id == bindparam("of_course"))
    .order_by(course_projects.c.student)
)
_PEOPLE: Final = (
    select(course_projects.c.project_id, memberships.c.account_id, memberships.c.role)
    .join_from(course_projects, memberships, memberships.c.project_id == course_projects.c.project_id)
    .where(course_projects.c.course_project_id == bindparam("of_course"))
)
_IS_OF_COURSE: Final = select(course_projects.c.student).where(course_projects.c.project_id == bindparam("of_project"))
_STAFF_ROLE: Final = (
    select(memberships.c.role)
    .join_from(course_projects, memberships, memberships.c.project_id == course_projects.c.course_project_id)
    .where(course_projects.c.project_id == bindparam("of_project"), memberships.c.account_id == bindparam("of_account"))
)


class Courses:
    """The courses that projects belong to, within a transaction."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def add(self, project_id: ProjectId, course_project_id: ProjectId, student: str) -> bool:
        """Note that a project is a student's in a course; False: the student has one there already."""
        row = {"project_id": project_id, "course_project_id": course_project_id, "student": student}
        return (await self._connection.execute(_ADD, row)).first() is not None

    async def projects_of(self, course_project_id: ProjectId) -> list[CourseProject]:
        """The students' projects of a course, with their people: deleted ones too, in the order of the ids."""
        values = {"of_course": course_project_id}
        people: dict[str, dict[AccountId, Role]] = {}
        for row in await self._connection.execute(_PEOPLE, values):
            people.setdefault(row.project_id, {})[AccountId(row.account_id)] = Role(row.role)
        return [
            CourseProject(
                project_id=ProjectId(row.project_id),
                student=row.student,
                title=row.title,
                deleted=bool(row.deleted),
                course=row.course or {},
                invite=row.invite or {},
                roles=people.get(row.project_id, {}),
            )
            for row in await self._connection.execute(_OF_COURSE, values)
        ]

    async def staff_role(self, project_id: ProjectId, account_id: AccountId) -> Role | None:
        """What an account is to the course project that a project belongs to; None: nothing, or it belongs to none."""
        values = {"of_project": project_id, "of_account": account_id}
        role = (await self._connection.execute(_STAFF_ROLE, values)).scalar()
        return None if role is None else Role(role)

    async def is_of_course(self, project_id: ProjectId) -> bool:
        """Whether a project is a student's in a course."""
        return (await self._connection.execute(_IS_OF_COURSE, {"of_project": project_id})).first() is not None
