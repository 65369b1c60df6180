"""Clones, templates and imports: projects that begin as others, whole or not at all."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from typing import Any

import pytest
from house import House
from test_hub_shares import count, with_files

from projecthub.errors import Conflict, HubError, InvalidArgument, LimitError, NotFound, PermissionDenied
from projecthub.files import Course
from projecthub.hub.principals import Principal
from projecthub.store.records import Role, Selection
from projecthub.wire.ids import ProjectId
from projecthub.wire.shapes import CreateProject
from projecthub.wire.sharing import CloneProject, SetTemplate

LOOKS = {"color": "#abc", "avatar_image_tiny": "tiny", "avatar_image_full": "full"}


@pytest.fixture
async def cat(house: House) -> Principal:
    return await house.person("Cat")


async def rich(house: House, owner: Principal) -> ProjectId:
    """A project that has all that a project can have."""
    return await with_files(
        house,
        owner,
        title="Soil",
        description="samples",
        compute_image="ubuntu",
        env={"TOKEN": "secret"},
        settings={"disableInternet": True, "memory": 9000},
        site_license={await house.license(): {}},
        course={"path": "x"},
        manage_users_owner_only=True,
        ephemeral_ms=10**9,
        **LOOKS,
    )


async def columns(house: House, project_id: ProjectId) -> dict[str, Any]:
    wanted = (
        "title", "description", "compute_image", "env", "settings", "site_license", "course", *LOOKS,
        "manage_users_owner_only", "ephemeral_ms", "run_quota",
    )  # fmt: skip
    async with house.store.read() as tx:
        return (await tx.projects.select(Selection(columns=wanted), member=None, project_id=project_id))[0]


async def people(house: House, project_id: ProjectId) -> dict[str, Role]:
    async with house.store.read() as tx:
        return await tx.collaborators.roles(project_id)


def files(house: House, project_id: ProjectId) -> dict[str, str]:
    home = house.homes.path(project_id)
    return {str(path.relative_to(home)): path.read_text() for path in home.rglob("*") if path.is_file()}


async def nothing_is_left(house: House, before: int) -> None:
    assert await count(house) == before
    assert await house.homes.unfinished() == []
    homes = [path for path in (house.directory / "projects").iterdir() if len(path.name) == 36]
    assert len(homes) <= before


async def test_a_clone_has_what_is_the_project_s_and_nothing_else(house: House, ann: Principal, bob: Principal) -> None:
    source = await rich(house, ann)
    home = house.homes.path(source)
    (home / ".projecthub" / "jobs").mkdir(parents=True)
    (home / ".projecthub" / "jobs" / "x").write_text("output")
    (home / ".bashrc").write_text("mine")
    (home / ".profile").unlink()
    await house.viewer(source, bob)
    course = Course(None)
    made = await house.clones.clone(bob, CloneProject(project_id=source), course=course)
    wanted = files(house, source)
    del wanted[".projecthub/jobs/x"]
    assert files(house, made) == wanted
    assert course.tally.files == len(wanted)
    assert await columns(house, made) == {
        "title": "Soil (copy)", "description": "samples", "compute_image": "ubuntu", "env": {"TOKEN": "secret"},
        "settings": {"disableInternet": True}, "site_license": None, "course": None, **LOOKS,
        "manage_users_owner_only": False, "ephemeral_ms": None, "run_quota": None,
    }  # fmt: skip
    assert await people(house, made) == {bob.account_id: Role.OWNER}
    async with house.store.read() as tx:
        rows = await tx.log.of_project(made, limit=10)
    assert rows[0]["event"] == {"event": "project_created", "title": "Soil (copy)", "cloned_from": source}


async def test_what_a_clone_is_asked_to_be(house: House, ann: Principal, bob: Principal, cat: Principal) -> None:
    source = await with_files(house, ann)
    async with house.store.write() as tx:
        await tx.collaborators.add([(source, bob.account_id)], at=house.clock.now())
    await house.viewer(source, cat)
    wanted = CloneProject(project_id=source, title="Mine", exclude=["*.csv"], with_collaborators=True)
    made = await house.clones.clone(bob, wanted)
    assert (await columns(house, made))["title"] == "Mine"
    assert "private" in files(house, made)
    assert "data/soil.csv" not in files(house, made)
    assert await people(house, made) == {
        bob.account_id: Role.OWNER, ann.account_id: Role.COLLABORATOR, cat.account_id: Role.VIEWER,
    }  # fmt: skip


async def test_clones_that_are_refused(house: House, ann: Principal, bob: Principal, admin: Principal) -> None:
    source, gone = await with_files(house, ann), await with_files(house, ann)
    async with house.store.write() as tx:
        await tx.projects.update(gone, {"deleted": True})
    before = await count(house)
    for caller, kind, fields in (
        (bob, PermissionDenied, {"project_id": source}),
        (admin, PermissionDenied, {"project_id": source}),
        (ann, Conflict, {"project_id": gone}),
        (ann, InvalidArgument, {"project_id": "x"}),
        (ann, InvalidArgument, {}),
        (ann, InvalidArgument, {"project_id": source, "exclude": ["x" * 2000]}),
    ):
        with pytest.raises(kind):
            await house.clones.clone(caller, CloneProject(**fields))
    await nothing_is_left(house, before)


async def test_a_clone_that_does_not_fit_leaves_nothing(
    house: House, ann: Principal, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = await with_files(house, ann)
    (house.homes.path(source) / "large").write_bytes(bytes(3_000_000))
    before = await count(house)
    monkeypatch.setattr(house.homes, "disk_quota_bytes", lambda run_quota: 1_000_000)
    with pytest.raises(LimitError, match="no project was made"):
        await house.clones.clone(ann, CloneProject(project_id=source))
    await nothing_is_left(house, before)


async def test_the_same_clone_twice_is_one(house: House, ann: Principal) -> None:
    source = await with_files(house, ann)
    one = await house.clones.clone(ann, CloneProject(project_id=source), idempotency_key="k")
    before = await count(house)
    assert await house.clones.clone(ann, CloneProject(project_id=source), idempotency_key="k") == one
    assert await count(house) == before
    with pytest.raises(InvalidArgument, match="another request"):
        await house.clones.clone(ann, CloneProject(project_id=source, title="x"), idempotency_key="k")
    with pytest.raises(InvalidArgument, match="another request"):
        await house.creation.create(ann, CreateProject(), idempotency_key="k")


async def test_a_template_for_its_people(house: House, ann: Principal, bob: Principal, cat: Principal) -> None:
    source = await rich(house, ann)
    with pytest.raises(NotFound, match="no template"):
        await house.creation.create(ann, CreateProject(template_id=source))
    told = await house.templates.set(ann, SetTemplate(project_id=source))
    assert told == {"project_id": source, "template": True, "everybody": False}
    await house.viewer(source, bob)
    listed = {"project_id": source, "title": "Soil", "description": "samples", "everybody": False, "member": True}
    assert await house.templates.list(ann) == await house.templates.list(bob) == [listed]
    assert await house.templates.list(cat) == []
    made = await house.creation.create(bob, CreateProject(template_id=source))
    row = await columns(house, made)
    assert (row["title"], row["env"], row["color"]) == ("Soil", {"TOKEN": "secret"}, "#abc")
    assert files(house, made) == files(house, source)
    assert await people(house, made) == {bob.account_id: Role.OWNER}
    own = await house.creation.create(bob, CreateProject(template_id=source, title="Mine", description="d", image="i"))
    row = await columns(house, own)
    assert (row["title"], row["description"], row["compute_image"]) == ("Mine", "d", "i")
    before = await count(house)
    with pytest.raises(NotFound, match="no template"):
        await house.creation.create(cat, CreateProject(template_id=source))
    await house.templates.set(ann, SetTemplate(project_id=source, template=False))
    with pytest.raises(NotFound, match="no template"):
        await house.creation.create(bob, CreateProject(template_id=source))
    await nothing_is_left(house, before)


async def test_a_template_for_everybody(house: House, ann: Principal, cat: Principal, admin: Principal) -> None:
    source = await rich(house, ann)
    with pytest.raises(PermissionDenied, match="only admins"):
        await house.templates.set(ann, SetTemplate(project_id=source, everybody=True))
    assert (await house.templates.set(admin, SetTemplate(project_id=source, everybody=True)))["everybody"]
    assert (await house.templates.set(ann, SetTemplate(project_id=source)))["everybody"], "it stays as it was"
    assert [template["member"] for template in await house.templates.list(cat)] == [False]
    made = await house.creation.create(cat, CreateProject(template_id=source))
    assert (await columns(house, made))["env"] is None, "its environment may hold secrets"
    assert files(house, made) == files(house, source)
    assert not (await house.templates.set(ann, SetTemplate(project_id=source, everybody=False)))["everybody"]
    with pytest.raises(NotFound):
        await house.creation.create(cat, CreateProject(template_id=source))


async def test_who_sets_no_template(
    house: House, ann: Principal, bob: Principal, cat: Principal, admin: Principal
) -> None:
    source = await house.project(ann)
    await house.viewer(source, bob)
    for caller, kind, project_id in (
        (bob, PermissionDenied, source),
        (cat, PermissionDenied, source),
        (cat, PermissionDenied, "00000000-0000-4000-8000-000000000000"),
        (admin, NotFound, "00000000-0000-4000-8000-000000000000"),
        (ann, InvalidArgument, "x"),
    ):
        with pytest.raises(kind):
            await house.templates.set(caller, SetTemplate(project_id=project_id))
    await house.templates.set(ann, SetTemplate(project_id=source))
    async with house.store.write() as tx:
        await tx.projects.update(source, {"deleted": True})
    assert await house.templates.list(ann) == []
    with pytest.raises(NotFound):
        await house.creation.create(ann, CreateProject(template_id=source))
    with pytest.raises(Conflict, match="deleted"):
        await house.templates.set(ann, SetTemplate(project_id=source))


@pytest.mark.parametrize(
    "fields",
    [
        {"template_id": "x"},
        {"template_id": "f" * 8, "public_path_id": "f" * 40},
        {"template_id": "00000000-0000-4000-8000-000000000000", "project_id": "00000000-0000-4000-8000-000000000001"},
    ],
)
async def test_templates_that_are_none(house: House, admin: Principal, fields: dict[str, Any]) -> None:
    with pytest.raises(InvalidArgument):
        await house.creation.create(admin, CreateProject(**fields))


async def exported(house: House, caller: Principal, project_id: ProjectId) -> bytes:
    project = await house.row(project_id)
    home = await house.exports.open(caller, project)
    try:
        return b"".join([piece async for piece in house.exports.content(project, home)])
    finally:
        os.close(home.fd)


async def sent(content: bytes) -> AsyncIterator[bytes]:
    for at in range(0, len(content), 100):
        yield content[at : at + 100]


async def test_out_and_in(house: House, ann: Principal, bob: Principal) -> None:
    source = await rich(house, ann)
    content = await exported(house, ann, source)
    assert await exported(house, ann, source) == content, "the same files, the same bytes"
    assert b"secret" not in content
    done = await house.exports.import_(bob, sent(content), length=len(content))
    made = ProjectId(done["project_id"])
    assert files(house, made) == files(house, source)
    assert done["files"] == len(files(house, source))
    row = await columns(house, made)
    assert {name: value for name, value in row.items() if value} == {
        "title": "Soil", "description": "samples", "compute_image": "ubuntu", "color": "#abc",
    }  # fmt: skip
    assert await people(house, made) == {bob.account_id: Role.OWNER}
    assert await exported(house, bob, made) == content
    named = await house.exports.import_(bob, sent(content), title="Mine")
    assert (await house.row(ProjectId(named["project_id"]))).title == "Mine"


async def test_imports_that_fail_leave_nothing(house: House, ann: Principal, monkeypatch: pytest.MonkeyPatch) -> None:
    source = await rich(house, ann)
    (house.homes.path(source) / "large").write_bytes(bytes(3_000_000))
    content = await exported(house, ann, source)
    before = await count(house)

    async def broken() -> AsyncIterator[bytes]:
        yield content[:100]
        raise ConnectionError

    for bad in (b"", b"no export", content[:-10], content + content):
        with pytest.raises(InvalidArgument):
            await house.exports.import_(ann, sent(bad))
    with pytest.raises(ConnectionError):
        await house.exports.import_(ann, broken())
    monkeypatch.setattr(house.homes, "disk_quota_bytes", lambda run_quota: 1_000_000)
    with pytest.raises(LimitError):
        await house.exports.import_(ann, sent(content))
    with pytest.raises(HubError):
        await house.exports.import_(ann, sent(content), length=10**9)
    await nothing_is_left(house, before)
