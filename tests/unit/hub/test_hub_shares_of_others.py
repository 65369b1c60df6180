"""Shares as others see them: told, listed, copied from; and everybody who does not get them."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from house import House
from test_hub_shares import shared, with_files

from projecthub.errors import Conflict, HubError, InvalidArgument, NotFound, NotSignedIn, PermissionDenied
from projecthub.hub.principals import Principal
from projecthub.hub.shared_files import SharedFiles
from projecthub.store.copy_records import CopyState, TargetState
from projecthub.wire.copies import ApplyCopies, CopyPaths, GetCopies, ListCopies, PlanCopies, RetryCopies, UndoCopies
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


async def test_the_people_of_a_project_are_told_of_shares_that_lead_nowhere(
    house: House, ann: Principal, bob: Principal
) -> None:
    project_id = await with_files(house, ann)
    home = house.homes.path(project_id)
    (home / "out").symlink_to("/etc")
    (home / "in").symlink_to("data")
    for path, text in (
        ("nowhere", "no such file or directory 'nowhere'"),
        ("out", "'out' leads out of what is shared"),
    ):
        id = await shared(house, ann, project_id, path)
        assert text in (await house.shares.get(ann, id))["problem"]
        assert "problem" not in await house.shares.get(bob, id)
    for path in ("data", "in", ""):
        assert "problem" not in await house.shares.get(ann, await shared(house, ann, project_id, path))


async def test_who_sees_a_share_is_not_told_of_the_home_around_it(house: House, ann: Principal, bob: Principal) -> None:
    project_id = await with_files(house, ann)
    (house.homes.path(project_id) / "data" / "up").symlink_to("../")
    id = await shared(house, ann, project_id, "data")
    files, target = SharedFiles(house.shares, house.workplaces), await house.project(bob)
    for refused in (
        lambda: files.open(None, id, "up/x"),
        lambda: files.open_directory(None, id, "up", "tar.zst"),
        lambda: files.listing(None, id, "up", list, hidden=True),
        lambda: house.shares.copy(bob, CopyShare(id=id, target_project_id=target, path="up")),
    ):
        with pytest.raises(InvalidArgument, match="leads out of what is shared, by a symlink") as caught:
            await refused()
        assert "home" not in caught.value.message


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
    operations = {one["id"]: one for one in await house.copies.page(bob, ListCopies(project_id=target))}
    assert event == {
        "event": "path_copied", "operation_id": event["operation_id"], "public_path_id": id, "src_path": "data",
        "target_project_id": target, "target_path": "data", "files": 1, "bytes": 4,
    }  # fmt: skip
    operation = operations[event["operation_id"]]
    assert (len(operations), operation["state"], operation["totals"]["files"]) == (2, "done", 1)
    assert await house.log(project_id) == before
    await deleted(house, project_id)
    await house.shares.copy(bob, CopyShare(id=id, target_project_id=target, target_path="again"))
    assert (home / "again" / "soil.csv").exists()


async def test_a_copy_from_a_share_is_undone_and_made_again_counts_once(
    house: House, ann: Principal, bob: Principal
) -> None:
    project_id, target = await with_files(house, ann), await house.project(bob)
    home = await house.homes.ensure(target, (await house.row(target)).unix_slot)
    (home / "data").mkdir()
    (home / "data" / "soil.csv").write_text("mine")
    id = await shared(house, ann, project_id, "data")
    wanted = CopyShare(id=id, target_project_id=target, overwrite_newer=True)
    assert (await house.shares.copy(bob, wanted))["files"] == 1
    assert (await house.shares.copy(bob, wanted))["unchanged"] == 1
    assert await counter(house, id) == 2
    assert (home / "data" / "soil.csv").read_text() == "a,b\n"
    [operation] = await house.copies.page(bob, ListCopies(project_id=target))
    with pytest.raises(NotFound):
        await house.copies.undo(ann, UndoCopies(id=operation["id"]))
    await shared(house, ann, project_id, "data", disabled=True)
    before = await house.log(project_id)
    undone = await house.copies.undo(bob, UndoCopies(id=operation["id"]))
    assert (undone["state"], (home / "data" / "soil.csv").read_text()) == ("undone", "mine")
    assert [event["event"] for _, event in await house.log(target)][-1] == "copy_undone"
    assert await house.log(project_id) == before
    assert await counter(house, id) == 2


async def test_a_share_is_planned_and_copied_to_many(house: House, ann: Principal, bob: Principal) -> None:
    project_id = await with_files(house, ann)
    targets = [await house.project(bob) for _ in range(3)]
    id, before = await shared(house, ann, project_id, "data"), await house.log(project_id)
    plan = await house.copies.plan(bob, PlanCopies(source={"public_path_id": id}, targets=[*targets]))
    assert (plan["state"], plan["totals"]["files"], await counter(house, id)) == ("planned", 3, 0)
    done = await house.copies.apply(bob, ApplyCopies(id=plan["id"]))
    assert (done["state"], await counter(house, id)) == ("done", 3)
    assert all((house.homes.path(one) / "data" / "soil.csv").read_text() == "a,b\n" for one in targets)
    assert await house.log(project_id) == before, "whose path it is does not read of who takes it"
    assert [event["public_path_id"] for _, event in await house.log(targets[0])][-1:] == [id]
    part = {"public_path_id": id, "path": "soil.csv"}
    one = CopyPaths(source=part, targets=[{"project_id": targets[0], "path": "s.csv"}])
    assert (await house.copies.copy_paths(bob, one))["state"] == "done"
    assert (house.homes.path(targets[0]) / "s.csv").read_text() == "a,b\n"


async def test_what_of_a_share_nobody_plans_to_copy(house: House, ann: Principal, bob: Principal) -> None:
    project_id, target = await with_files(house, ann), await house.project(bob)
    home = house.homes.path(project_id)
    (home / "data" / "out").symlink_to("../private")
    id = await shared(house, ann, project_id, "data")
    disabled = await shared(house, ann, project_id, "private", disabled=True)
    hosted = await shared(house, ann, project_id, "hosted")
    house.sql(f"UPDATE public_paths SET vhost = 'www.example.org' WHERE id = '{hosted}'")
    cases: list[tuple[type[HubError], dict[str, Any]]] = [
        (NotFound, {"public_path_id": "f" * 40}),
        (NotFound, {"public_path_id": disabled}),
        (NotFound, {"public_path_id": hosted}),
        (NotFound, {"public_path_id": id, "path": "none"}),
        (InvalidArgument, {"public_path_id": id, "path": "../private"}),
        (InvalidArgument, {"public_path_id": id, "path": "out"}),
        (InvalidArgument, {"public_path_id": id, "path": ["x"]}),
        (InvalidArgument, {"public_path_id": id, "path": 0}),
        (InvalidArgument, {"public_path_id": id, "path": "a\0b"}),
        (InvalidArgument, {"public_path_id": "x"}),
        (InvalidArgument, {"public_path_id": 7}),
        (InvalidArgument, {"public_path_id": id, "project_id": project_id}),
        (PermissionDenied, {"project_id": project_id, "path": "data"}),
    ]
    for kind, source in cases:
        with pytest.raises(kind):
            await house.copies.plan(bob, PlanCopies(source=source, targets=[target]))
    with pytest.raises(PermissionDenied):
        await house.copies.plan(ann, PlanCopies(source={"public_path_id": id}, targets=[target]))
    for path in ("private", "data/../private", "data/soil.csv"):
        other = {"project_id": target, "path": "x", "source_path": path}
        for targets in ([other], [target, other]):
            with pytest.raises(InvalidArgument, match="source_path"):
                await house.copies.plan(bob, PlanCopies(source={"public_path_id": id}, targets=targets))
    assert await house.copies.page(bob, ListCopies()) == []


async def test_a_share_that_is_disabled_after_the_plan_is_not_copied(
    house: House, ann: Principal, bob: Principal
) -> None:
    project_id, target = await with_files(house, ann), await house.project(bob)
    id = await shared(house, ann, project_id, "data")
    plan = await house.copies.plan(bob, PlanCopies(source={"public_path_id": id}, targets=[target]))
    await shared(house, ann, project_id, "data", disabled=True)
    done = await house.copies.apply(bob, ApplyCopies(id=plan["id"]))
    assert [each["state"] for each in done["targets"]] == ["refused"]
    assert "disabled" in done["targets"][0]["error"]
    (house.homes.path(project_id) / "data" / "soil.csv").unlink()
    (house.homes.path(project_id) / "data" / "soil.csv").symlink_to("../private")
    await shared(house, ann, project_id, "data", disabled=False)
    again = await house.copies.retry(bob, RetryCopies(id=plan["id"]))
    assert [each["state"] for each in again["targets"]] == ["done"]
    copied = house.homes.path(target) / "data" / "soil.csv"
    assert (copied.is_symlink(), copied.exists()) == (True, False), "a link comes as a link, and leads to nothing here"


async def test_a_copy_from_a_share_that_was_marked_is_brought_to_its_end(
    house: House, ann: Principal, bob: Principal, monkeypatch: pytest.MonkeyPatch
) -> None:
    project_id, target = await with_files(house, ann), await house.project(bob)
    id, before = await shared(house, ann, project_id, "data"), await house.log(project_id)
    applier, reached = house.copies._operations._applier, asyncio.Event()

    async def commit(*arguments: Any, **options: Any) -> None:
        reached.set()
        await asyncio.Event().wait()

    monkeypatch.setattr(applier, "commit", commit)
    copying = asyncio.create_task(house.shares.copy(bob, CopyShare(id=id, target_project_id=target)))
    await asyncio.wait_for(reached.wait(), 10)
    copying.cancel()
    for end in [*house.copies._operations._ends]:
        end.cancel()  # as a kill
    [operation] = await house.copies.page(bob, ListCopies())
    assert (operation["state"], await counter(house, id)) == (CopyState.RUNNING, 0)
    await house.copies.close()
    house.join()
    await house.copies.open()
    while (now := await house.copies.get(bob, GetCopies(id=operation["id"])))["state"] == "running":
        await asyncio.sleep(0.01)
    assert [each["state"] for each in now["targets"]] == [TargetState.DONE]
    assert (house.homes.path(target) / "data" / "soil.csv").read_text() == "a,b\n"
    assert (await counter(house, id), await house.log(project_id)) == (1, before)


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
