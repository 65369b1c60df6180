"""Everybody's projects, for site admins: page by page, and nobody else's to see."""

from __future__ import annotations

from typing import Any

import pytest
from house import House

from projecthub.errors import InvalidArgument, PermissionDenied
from projecthub.hub.principals import Principal
from projecthub.wire.shapes import ListAllProjects


async def listed(house: House, admin: Principal, limit: int) -> list[list[str]]:
    """The ids of all pages."""
    pages: list[list[str]] = []
    after = None
    while True:
        page = await house.projects.page(admin, ListAllProjects(limit=limit, after=after))
        pages.append([project["project_id"] for project in page["projects"]])
        after = page["next"]
        if after is None:
            return pages


async def test_pages_hold_every_project_once_those_edited_last_first(
    house: House, ann: Principal, bob: Principal, admin: Principal
) -> None:
    made = []
    for number in range(7):
        if number in (1, 2, 5):  # some at one time
            house.clock.advance(seconds=1)
        made.append(str(await house.project(ann if number % 2 else bob)))
    times = [0, 1, 2, 2, 2, 3, 3]
    wanted = sorted(made, key=lambda one: (-times[made.index(one)], one))
    for limit in (1, 2, 3, 6, 7, 8, 1000):
        pages = await listed(house, admin, limit)
        assert [one for page in pages for one in page] == wanted
        assert [len(page) for page in pages[:-1]] == [limit] * (len(pages) - 1)
        assert 0 < len(pages[-1]) <= limit
    assert (await house.projects.page(admin, ListAllProjects(after=f"0.{made[0]}")))["projects"] == []


async def test_rows_are_those_of_user_queries(house: House, ann: Principal, bob: Principal, admin: Principal) -> None:
    project_id = await house.project(ann, bob, state="error", state_error="no luck")
    await house.change(bob, project_id, users={bob.account_id: {"hide": True}})
    await house.projects.delete(ann, project_id)
    (row,) = (await house.projects.page(admin, ListAllProjects()))["projects"]
    shape: dict[str, Any] = dict.fromkeys(row) | {"project_id": project_id}
    assert [row] == (await house.ask(ann, {"projects_all": [shape]}))["projects_all"]
    assert row.keys() == {"project_id", "title", "last_edited", "created", "state", "deleted", "users"}


async def test_for_site_admins_alone(house: House, ann: Principal, admin: Principal) -> None:
    await house.project(ann)
    with pytest.raises(PermissionDenied, match="only admins may list the projects of others"):
        await house.projects.page(ann, ListAllProjects())
    assert (await house.projects.page(admin, ListAllProjects()))["next"] is None
    assert await house.ask(admin, {"projects_all": [{"project_id": None}]}) == {"projects_all": []}


@pytest.mark.parametrize("limit", [0, -1, 1001])
async def test_limits(house: House, admin: Principal, limit: int) -> None:
    with pytest.raises(InvalidArgument, match=f"limit is {limit}; give a number from 1 to 1000"):
        await house.projects.page(admin, ListAllProjects(limit=limit))


@pytest.mark.parametrize(
    "after", ["", "x", "5", f"-1.{'0' * 36}", f"{'9' * 15}.{'0' * 36}", f"5.{'0' * 35}", f"5.{'0' * 36}\n"]
)
async def test_what_is_no_place(house: House, admin: Principal, after: str) -> None:
    with pytest.raises(InvalidArgument, match="give the 'next' of the page before"):
        await house.projects.page(admin, ListAllProjects(after=after))
