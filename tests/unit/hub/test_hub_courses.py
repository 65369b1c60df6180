"""Courses: who may make students' projects, who sees them, and that a student has one."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from house import House

from projecthub.errors import Conflict, HubError, InvalidArgument, NotFound, PermissionDenied
from projecthub.hub.principals import Principal
from projecthub.wire import courses, shapes
from projecthub.wire.ids import ProjectId


async def make(house: House, caller: Principal, course: str, student: str = "ada", **more: Any) -> ProjectId:
    request = shapes.CreateProject(title=student, course={"project_id": course, "student": student, **more})
    return await house.creation.create(caller, request)


async def projects_of(house: House, caller: Principal, course: str) -> list[courses.CourseProject]:
    return await house.courses.projects(caller, courses.CourseOnly(project_id=course))


async def add(house: House, caller: Principal, project_id: str, person: Principal) -> None:
    request = shapes.AddCollaborator(project_id=project_id, account_id=person.account_id)
    await house.collaborators.add(caller, request)


async def test_a_students_project_knows_its_course(house: House) -> None:
    teacher = await house.person("Teacher")
    course = await house.project(teacher)
    made = await make(house, teacher, course, path="class.toml", email_address="ada@example.org")
    (told,) = await projects_of(house, teacher, course)
    assert told["project_id"] == made
    assert told["student"] == "ada"
    assert told["users"] == {teacher.account_id: {"group": "owner"}}
    assert not told["deleted"]
    wanted = {
        "type": "student",
        "project_id": course,
        "student": "ada",
        "path": "class.toml",
        "email_address": "ada@example.org",
    }
    assert await house.field(teacher, made, "course") == wanted == told["course"]


async def test_a_student_has_one_project_in_a_course(house: House) -> None:
    teacher = await house.person("Teacher")
    course = await house.project(teacher)
    outcomes = await asyncio.gather(*(make(house, teacher, course) for _ in range(5)), return_exceptions=True)
    assert sum(isinstance(each, str) for each in outcomes) == 1
    assert all(isinstance(each, Conflict) for each in outcomes if not isinstance(each, str))
    other = await house.project(teacher)
    await make(house, teacher, other)
    assert len(await projects_of(house, teacher, course)) == 1


async def test_only_who_teaches_makes_and_sees_them(house: House) -> None:
    teacher, assistant, viewer, stranger = [await house.person(name) for name in ("Tea", "Ann", "Vic", "Sue")]
    course = await house.project(teacher, assistant)
    await house.viewer(course, viewer)
    await make(house, assistant, course)
    for caller in (viewer, stranger):
        with pytest.raises(PermissionDenied, match="user must be collaborator on the project of the course"):
            await projects_of(house, caller, course)
        with pytest.raises(PermissionDenied, match="user must be collaborator on the project of the course"):
            await make(house, caller, course, "bob")
    assert [each["student"] for each in await projects_of(house, teacher, course)] == ["ada"]


async def test_who_teaches_adds_himself(house: House) -> None:
    teacher, assistant, stranger = [await house.person(name) for name in ("Tea", "Ann", "Sue")]
    course = await house.project(teacher, assistant)
    made = await make(house, teacher, course)
    with pytest.raises(PermissionDenied, match="must be owner or collaborator on course project"):
        await add(house, stranger, made, stranger)
    await add(house, assistant, made, assistant)
    (told,) = await projects_of(house, teacher, course)
    assert told["users"][assistant.account_id] == {"group": "collaborator"}
    with pytest.raises(PermissionDenied, match="must be an admin"):
        await add(house, stranger, course, stranger)


@pytest.mark.parametrize(
    "course",
    [
        {},
        {"project_id": "x", "student": "ada"},
        {"project_id": None, "student": "ada"},
        {"student": ""},
        {"student": 7},
        {"student": "a" * 255},
        {"student": "ada", "path": 1},
        {"student": "ada", "type": "shared"},
        {"student": "ada", "account_id": "x"},
        {"student": "ada", "pay": True},
    ],
)
async def test_what_is_wrong_makes_nothing(house: House, course: dict[str, Any]) -> None:
    teacher = await house.person("Teacher")
    project_id = await house.project(teacher)
    with pytest.raises(InvalidArgument):
        await house.creation.create(teacher, shapes.CreateProject(course={"project_id": project_id, **course}))
    assert await projects_of(house, teacher, project_id) == []


async def test_there_is_no_course_in_a_project_that_is_not_there_or_deleted(house: House) -> None:
    teacher = await house.person("Teacher")
    with pytest.raises(PermissionDenied):
        await make(house, teacher, "00000000-0000-4000-8000-000000000000")
    course = await house.project(teacher)
    await house.projects.delete(teacher, course)
    with pytest.raises(HubError) as caught:
        await make(house, teacher, course)
    assert isinstance(caught.value, Conflict | NotFound)
