"""Shapes of courses: projects of students that belong to a project of teachers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypedDict

# -- arguments -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class CourseOnly:
    """`projects.ofCourse`: a course's project."""

    project_id: str | None = None


# -- replies ---------------------------------------------------------------------------------------


class CourseProject(TypedDict):
    """A student's project; `users` as in a row of a project, `invited`: e-mail addresses of who was."""

    project_id: str
    student: str
    title: str
    deleted: bool
    course: dict[str, Any]
    users: dict[str, dict[str, str]]
    invited: list[str]
