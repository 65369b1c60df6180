"""Shares as others see them: told, listed, copied from; and everybody who does not get them."""

from __future__ import annotations

from typing import Any

import pytest
from house import House
from test_hub_shares import shared, with_files

from projecthub.errors import Conflict, HubError, InvalidArgument, NotFound, NotSignedIn, PermissionDenied
from projecthub.hub.principals import Principal
from projecthub.hub.shared_files import SharedFiles
from projecthub.wire.ids import ProjectId
from projecthub.wire.shapes import CreateProject
from projecthub.wire.sharing import CopyShare, ListShares

EVERYTHING = {
    "name": "soil",
    "description": "samples",
    "license": "cc-by",
    "unlisted": False,
    "authenticated": True,
    "compute_image": "ubuntu",
    "url": "https://example.org",
    "image": "picture.png",
}


async def deleted(house: House, project_id: ProjectId) -> None:
    async with house.store.write() as tx:
        await tx.projects.update(project_id, {"deleted": True})


async def counter(house: House, id: str) -> int:
    async with house.store.read() as tx:
        share = await tx.shares.told(id)
    assert share is not None
    return int(share["counter"])


async def test_all_that_is_told_of_a_share(house: House, ann: Principal, bob: Principal) -> None:
    license_id = await house.license()
    project_id = await with_files(house, ann, title="Soil")
    id = await shared(house, ann, project_id, "data", **EVERYTHING, site_license_id=license_id)
    house.clock.advance(minutes=1)
    await shared(house, ann, project_id, "data", disabled=False)
    told = await house.shares.get(bob, id)
    assert told == {
        "id": id, "project_id": project_id, "project_title": "Soil", "path": "data", **EVERYTHING, "disabled": False,
        "counter": 0, "created": "2026-03-01T12:00:00.123Z", "last_edited": "2026-03-01T12:01:00.123Z",
        "last_saved": None,
    }  # fmt: skip
    assert await house.shares.get(ann, id) == {**told, "site_license_id": license_id}
    assert await house.shares.list(bob, ListShares()) == [told]
    assert await house.shares.list(ann, ListShares(project_id=project_id)) == [{**told, "site_license_id": license_id}]


async def test_who_does_not_get_a_share(house: House, ann: Principal, bob: Principal, admin: Principal) -> None:
    project_id = await with_files(house, ann)
    id = await shared(house, ann, project_id, "data", authenticated=True)
    assert (await house.shares.get(bob, id))["id"] == id
    with pytest.raises(NotSignedIn, match="signed in"):
        await house.shares.get(None, id)
    await shared(house, ann, project_id, "data", authenticated=False)
    assert (await house.shares.get(None, id))["id"] == id
    await shared(house, ann, project_id, "data", disabled=True)
    assert (await house.shares.get(ann, id))["disabled"]
    for caller in (None, bob, admin):
        with pytest.raises(NotFound, match="disabled"):
            await house.shares.get(caller, id)
    for caller in (None, ann, bob):
        with pytest.raises(NotFound):
            await house.shares.shown(caller, id)
    await shared(house, ann, project_id, "data", disabled=False)
    house.sql("UPDATE public_paths SET vhost = 'www.example.org'")
    for caller in (None, bob):
        with pytest.raises(NotFound):
            await house.shares.get(caller, id)
    assert await house.shares.list(bob, ListShares()) == []
    with pytest.raises(InvalidArgument, match="40 hex digits"):
        await house.shares.get(bob, "x")
    with pytest.raises(NotFound):
        await house.shares.get(bob, "f" * 40)


async def test_what_is_listed_and_for_whom(house: House, ann: Principal, bob: Principal) -> None:
    project_id = await with_files(house, ann)
    ids: dict[str, str] = {}
    for path, fields in (
        ("a", {}),
        ("b", {"unlisted": True}),
        ("c", {"authenticated": True}),
        ("d", {"disabled": True}),
    ):
        house.clock.advance(seconds=1)
        ids[path] = await shared(house, ann, project_id, path, **fields)

    async def paths(caller: Principal | None, **options: Any) -> list[str]:
        return [share["path"] for share in await house.shares.list(caller, ListShares(**options))]

    assert await paths(bob) == ["c", "a"]
    assert await paths(None) == ["a"]
    assert await paths(ann, project_id=project_id) == ["a", "b", "c", "d"]
    assert await paths(bob, limit=1) == ["c"]
    assert await paths(bob, limit=1, after=ids["c"]) == ["a"]
    assert await paths(bob, after=ids["a"]) == []
    for caller, kind, options in (
        (bob, PermissionDenied, {"project_id": project_id}),
        (None, NotSignedIn, {"project_id": project_id}),
        (bob, InvalidArgument, {"limit": 0}),
        (bob, InvalidArgument, {"limit": 1001}),
        (bob, InvalidArgument, {"after": "x"}),
        (bob, NotFound, {"after": "f" * 40}),
    ):
        with pytest.raises(kind):
            await paths(caller, **options)
    await deleted(house, project_id)
    assert await paths(bob) == ["c", "a"], "what is shared outlives its project"


async def test_pages_of_shares_of_the_same_moment(house: House, ann: Principal, bob: Principal) -> None:
    project_id = await with_files(house, ann)
    wanted = {await shared(house, ann, project_id, str(number)) for number in range(7)}
    found: list[str] = []
    while page := await house.shares.list(bob, ListShares(limit=2, after=found[-1] if found else None)):
        found += [share["id"] for share in page]
    assert len(found) == len(set(found))
    assert set(found) == wanted


async def test_a_copy_from_a_share_of_others(house: House, ann: Principal, bob: Principal) -> None:
    project_id, target = await with_files(house, ann), await house.project(bob)
    id = await shared(house, ann, project_id, "data")
    before = await house.log(project_id)
    summary = await house.shares.copy(bob, CopyShare(id=id, target_project_id=target))
    home = house.homes.path(target)
    assert (summary["files"], (home / "data" / "soil.csv").read_text()) == (1, "a,b\n")
    await house.shares.copy(bob, CopyShare(id=id, target_project_id=target, path="soil.csv", target_path="s.csv"))
    assert (home / "s.csv").read_text() == "a,b\n"
    assert await counter(house, id) == 2
    _, event = (await house.log(target))[0]
    assert event == {
        "event": "path_copied", "public_path_id": id, "src_path": "data", "target_project_id": target,
        "target_path": "data", "files": 1, "bytes": 4,
    }  # fmt: skip
    assert await house.log(project_id) == before
    await deleted(house, project_id)
    await house.shares.copy(bob, CopyShare(id=id, target_project_id=target, target_path="again"))
    assert (home / "again" / "soil.csv").exists()


async def test_copies_that_are_refused_change_nothing(
    house: House, ann: Principal, bob: Principal, admin: Principal
) -> None:
    project_id, target = await with_files(house, ann), await house.project(bob)
    home = house.homes.path(project_id)
    (home / "database").write_text("begins like data")
    (home / "data" / "out").symlink_to("../private")
    (home / "data" / "up").symlink_to("..")
    id = await shared(house, ann, project_id, "data")
    disabled = await shared(house, ann, project_id, "private", disabled=True)
    viewed, gone = await house.project(ann), await house.project(bob)
    await house.viewer(viewed, bob)
    await deleted(house, gone)
    (house.homes.path(target) or home).mkdir(parents=True, exist_ok=True)
    cases: list[tuple[Principal, type[HubError], dict[str, Any]]] = [
        (ann, PermissionDenied, {}),
        (admin, PermissionDenied, {}),
        (bob, PermissionDenied, {"target_project_id": viewed}),
        (bob, Conflict, {"target_project_id": gone}),
        (bob, InvalidArgument, {"target_project_id": "x"}),
        (bob, InvalidArgument, {"id": "x"}),
        (bob, NotFound, {"id": "f" * 40}),
        (bob, NotFound, {"id": disabled}),
        (bob, InvalidArgument, {"path": "../private"}),
        (bob, InvalidArgument, {"path": "../database"}),
        (bob, InvalidArgument, {"path": "out"}),
        (bob, InvalidArgument, {"path": "up/private"}),
        (bob, InvalidArgument, {"path": "a\0b"}),
        (bob, NotFound, {"path": "base"}),
        (bob, NotFound, {"path": "none"}),
        (bob, InvalidArgument, {"target_path": "../x"}),
        (bob, InvalidArgument, {"timeout": 0}),
    ]
    for caller, kind, fields in cases:
        with pytest.raises(kind) as refused:
            await house.shares.copy(caller, CopyShare(**{"id": id, "target_project_id": target, **fields}))
        assert str(house.directory) not in refused.value.message
    assert [path.name for path in house.homes.path(target).iterdir() if not path.name.startswith(".")] == []
    assert await counter(house, id) == 0


async def test_a_single_file_is_all_that_is_shared(house: House, ann: Principal, bob: Principal) -> None:
    project_id, target = await with_files(house, ann), await house.project(bob)
    id = await shared(house, ann, project_id, "private")
    await house.shares.copy(bob, CopyShare(id=id, target_project_id=target))
    assert (house.homes.path(target) / "private").read_text() == "secret"
    for path in ("data", "../data", "x/y"):
        with pytest.raises((NotFound, InvalidArgument)):
            await house.shares.copy(bob, CopyShare(id=id, target_project_id=target, path=path))


async def test_what_the_hub_keeps_in_a_home_is_never_shared(house: House, ann: Principal, bob: Principal) -> None:
    project_id, target = await with_files(house, ann), await house.project(bob)
    home = house.homes.path(project_id)
    (home / ".projecthub" / "jobs").mkdir(parents=True)
    (home / ".projecthub" / "jobs" / "output").write_text("secret")
    for path in (".projecthub", ".projecthub/jobs", "./data/../.projecthub"):
        with pytest.raises(HubError, match="keeps there"):
            await shared(house, ann, project_id, path)
    id = await shared(house, ann, project_id, "")
    await house.shares.copy(bob, CopyShare(id=id, target_project_id=target, target_path="all"))
    assert sorted(path.name for path in (house.homes.path(target) / "all").iterdir()) == sorted(
        {path.name for path in home.iterdir()} - {".projecthub"}
    )
    with pytest.raises(NotFound):
        await house.shares.copy(bob, CopyShare(id=id, target_project_id=target, path=".projecthub/jobs"))
    files = SharedFiles(house.shares, house.workplaces)
    names = await files.listing(bob, id, "", lambda entries: [entry.name for entry in entries], hidden=True)
    assert "data" in names
    assert ".projecthub" not in names
    for path in (".projecthub", ".projecthub/jobs"):
        with pytest.raises(NotFound):
            await files.listing(bob, id, path, lambda entries: list(entries), hidden=True)
        with pytest.raises(NotFound):
            await files.open(bob, id, f"{path}/output")


async def test_projects_that_were_made_are_counted(house: House, ann: Principal, bob: Principal) -> None:
    id = await shared(house, ann, await with_files(house, ann), "data")
    await house.creation.create(bob, CreateProject(public_path_id=id))
    assert await counter(house, id) == 1
