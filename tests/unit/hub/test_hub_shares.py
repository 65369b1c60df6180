"""Shares: made by members, used by anybody who knows the id."""

from __future__ import annotations

from typing import Any

import pytest
from house import House
from hypothesis import given
from hypothesis import strategies as st

from projecthub.errors import HubError, InvalidArgument, NotFound, PermissionDenied, QueryRefused
from projecthub.hub.principals import Principal
from projecthub.hub.shares import normal_path, share_id
from projecthub.wire.ids import ProjectId, is_share_id
from projecthub.wire.shapes import CreateProject


async def shared(house: House, owner: Principal, project_id: ProjectId, path: str, **fields: Any) -> str:
    await house.ask(owner, {"public_paths": {"project_id": project_id, "path": path, **fields}})
    rows = await house.ask(owner, {"public_paths": [{"project_id": project_id, "id": None, "path": normal_path(path)}]})
    return str(rows["public_paths"][0]["id"])


async def with_files(house: House, owner: Principal, **fields: Any) -> ProjectId:
    project_id = await house.project(owner, **fields)
    home = await house.homes.ensure(project_id, (await house.row(project_id)).unix_slot)
    (home / "data").mkdir()
    (home / "data" / "soil.csv").write_text("a,b\n")
    (home / "private").write_text("secret")
    return project_id


async def count(house: House) -> int:
    async with house.store.read() as tx:
        return await tx.projects.count()


@pytest.mark.parametrize(
    ("path", "normal"),
    [("a", "a"), ("/a//b/", "a/b"), ("./a/../b", "b"), ("", ""), (".", ""), ("/", ""), ("a/..", ""), ("..a", "..a")],
)
def test_paths_in_their_shortest_form(path: str, normal: str) -> None:
    assert normal_path(path) == normal


@pytest.mark.parametrize("path", ["..", "../x", "a/../..", "/../etc"])
def test_paths_that_leave_the_home(path: str) -> None:
    with pytest.raises(InvalidArgument, match="leaves the project's home"):
        normal_path(path)


@given(st.text(), st.text())
def test_ids_of_shares(path: str, other: str) -> None:
    project_id = ProjectId("00000000-0000-4000-8000-000000000000")
    assert is_share_id(share_id(project_id, path))
    assert (share_id(project_id, path) == share_id(project_id, other)) == (path == other)


async def test_sharing_the_same_path_again_changes_the_share(house: House, ann: Principal) -> None:
    project_id = await house.project(ann)
    first = await shared(house, ann, project_id, "data", description="one", unlisted=True)
    assert await shared(house, ann, project_id, "./data/", description="two", id="f" * 40) == first
    query = {"public_paths": [{"project_id": project_id, "description": None, "unlisted": None}]}
    assert (await house.ask(ann, query))["public_paths"] == [
        {"project_id": project_id, "description": "two", "unlisted": True}
    ]


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"path": None}, "must specify public_paths.path"),
        ({"path": "../x"}, "leaves the project's home"),
        ({"path": "x" * 5000}, "too many"),
        ({"path": 5.5, "disabled": "no"}, "neither true nor false"),
        ({"vhost": "evil.example.org"}, "FATAL: changing public_paths.vhost not allowed"),
        ({"counter": 5}, "FATAL: changing public_paths.counter not allowed"),
        ({"token": "x"}, "FATAL: changing public_paths.token not allowed"),
        ({"description": []}, "no text"),
        ({"site_license_id": "00000000-0000-4000-8000-000000000000"}, "there is no license"),
        ({"project_id": "x"}, "invalid project_id -- x"),
        ({"project_id": None}, "must specify public_paths.project_id"),
    ],
)
async def test_what_cannot_be_shared(house: House, ann: Principal, fields: dict[str, Any], text: str) -> None:
    project_id = await house.project(ann)
    with pytest.raises(HubError) as refused:
        await house.ask(ann, {"public_paths": {"project_id": project_id, "path": "a", **fields}}, {"set": True})
    assert text in refused.value.message


async def test_strangers_neither_share_nor_list(house: House, ann: Principal, bob: Principal, admin: Principal) -> None:
    project_id = await house.project(ann)
    await shared(house, ann, project_id, "a")
    for caller in (bob, admin):
        with pytest.raises(QueryRefused):
            await house.ask(caller, {"public_paths": {"project_id": project_id, "path": "b"}})
    with pytest.raises(QueryRefused, match="read access"):
        await house.ask(bob, {"public_paths": [{"project_id": project_id, "path": None}]})


async def test_a_project_begins_with_what_is_shared(house: House, ann: Principal, bob: Principal) -> None:
    license_id = await house.license()
    project_id = await with_files(house, ann, title="Soil", compute_image="ubuntu2404")
    share = await shared(house, ann, project_id, "data", unlisted=True, site_license_id=license_id)
    made = await house.creation.create(bob, CreateProject(public_path_id=share))
    home = await house.homes.ensure(made, (await house.row(made)).unix_slot)
    assert {path.name for path in home.iterdir() if not path.name.startswith(".")} == {"data"}
    assert (home / "data" / "soil.csv").read_text() == "a,b\n"
    row = await house.row(made)
    assert (row.title, row.compute_image, row.site_license) == ("Soil", "ubuntu2404", {license_id: {}})
    assert await house.homes.unfinished() == []
    own = await house.creation.create(bob, CreateProject(public_path_id=share, title="Mine", image="other"))
    row = await house.row(own)
    assert (row.title, row.compute_image) == ("Mine", "other")


async def test_a_listed_share_gives_no_license(house: House, ann: Principal, bob: Principal) -> None:
    project_id = await with_files(house, ann)
    share = await shared(house, ann, project_id, "data", site_license_id=await house.license())
    made = await house.creation.create(bob, CreateProject(public_path_id=share))
    assert (await house.row(made)).site_license is None


async def test_what_is_no_share_makes_no_project(house: House, ann: Principal, bob: Principal) -> None:
    project_id = await with_files(house, ann)
    disabled = await shared(house, ann, project_id, "data", disabled=True)
    missing = await shared(house, ann, project_id, "nowhere")
    good = await shared(house, ann, project_id, "private")
    unknown = "00000000-0000-4000-8000-000000000000"
    before = await count(house)
    for kind, request in (
        (InvalidArgument, CreateProject(public_path_id="x")),
        (InvalidArgument, CreateProject(public_path_id="f" * 40)),
        (InvalidArgument, CreateProject(public_path_id=disabled)),
        (InvalidArgument, CreateProject(public_path_id=good, license="x")),
        (InvalidArgument, CreateProject(public_path_id=good, license=unknown)),
        (NotFound, CreateProject(public_path_id=missing)),
        (PermissionDenied, CreateProject(project_id=unknown)),
    ):
        with pytest.raises(HubError) as refused:
            await house.creation.create(bob, request)
        assert isinstance(refused.value, (kind, NotFound)), request
        assert str(house.directory) not in refused.value.message
    assert await count(house) == before
    homes = {path.name for path in (house.directory / "projects").iterdir()}
    assert {name for name in homes if len(name) == 36} == {project_id}


async def test_the_same_call_again_makes_no_second_project(house: House, ann: Principal, bob: Principal) -> None:
    share = await shared(house, ann, await with_files(house, ann), "data")
    for request in (CreateProject(public_path_id=share), CreateProject(title="x")):
        key = f"key {request.title}"
        made = await house.creation.create(bob, request, idempotency_key=key)
        before = await count(house)
        assert await house.creation.create(bob, request, idempotency_key=key) == made
        assert await house.creation.create(ann, request, idempotency_key=key) != made
        assert await count(house) == before + 1
        with pytest.raises(InvalidArgument, match="another request"):
            await house.creation.create(bob, CreateProject(title="other"), idempotency_key=key)
        house.clock.advance(hours=25)
        assert await house.creation.create(bob, request, idempotency_key=key) != made
    for key in ("", "x" * 201):
        with pytest.raises(InvalidArgument, match="Idempotency-Key"):
            await house.creation.create(bob, CreateProject(), idempotency_key=key)
