"""Accounts that are deleted: what ends with them, and what becomes of their projects."""

from __future__ import annotations

from dataclasses import replace

import pytest
from house import House, nobody

from projecthub.errors import Conflict, HubError, InvalidArgument, NotFound, PermissionDenied
from projecthub.hub.principals import Principal
from projecthub.store.records import Role, State
from projecthub.wire import shapes
from projecthub.wire.ids import ProjectId
from projecthub.wire.methods import Ability


async def delete(house: House, caller: Principal, person: str, projects: str = "refuse") -> shapes.DeletedAccount:
    return await house.account_deletions.delete(caller, shapes.DeleteAccount(account_id=person, projects=projects))


async def roles(house: House, project_id: ProjectId) -> dict[str, Role]:
    async with house.store.read() as tx:
        return dict(await tx.collaborators.roles(project_id))


async def test_keys_and_memberships_end_at_once(house: House, ann: Principal, bob: Principal) -> None:
    theirs = await house.project(bob, ann)
    secrets = [(await house.key(ann))[1], (await house.key(ann, theirs))[1]]
    for secret in secrets:
        assert await house.keys.check(secret) is not None
    assert await delete(house, ann, ann.account_id) == {
        "account_id": ann.account_id,
        "deleted": True,
        "projects_deleted": [],
        "projects_handed_over": [],
    }
    for secret in secrets:
        assert await house.keys.check(secret) is None
    assert await roles(house, theirs) == {bob.account_id: Role.OWNER}
    gone = {"event": "remove_collaborator", "removed_name": "Ann", "removed_account_id": ann.account_id}
    assert (await house.log(theirs))[-1] == (ann.account_id, gone)
    assert await house.accounts.names([ann.account_id]) == {
        ann.account_id: {"first_name": "Deleted", "last_name": "User"}
    }


async def test_the_address_is_free_again(house: House, ann: Principal, admin: Principal) -> None:
    await delete(house, admin, "ANN@example.org")
    with pytest.raises(NotFound):
        await delete(house, admin, "ann@example.org")
    with pytest.raises(NotFound):
        await delete(house, admin, ann.account_id)
    made = await house.accounts.create(admin, shapes.CreateAccount(email_address="ann@example.org"))
    assert made["account_id"] != ann.account_id
    listed = await house.accounts.page(admin, shapes.ListAccounts(query="ann@"))
    assert {account["account_id"]: account["deleted"] for account in listed} == {
        ann.account_id: True,
        made["account_id"]: False,
    }


async def test_others_are_for_site_admins(house: House, ann: Principal, bob: Principal) -> None:
    for person in (bob.account_id, "bob@example.org", nobody()):
        with pytest.raises(PermissionDenied, match="only admins may delete other accounts"):
            await delete(house, ann, person)
    with pytest.raises(PermissionDenied, match="takes a key with all scopes"):
        await delete(house, replace(ann, scopes=frozenset({Ability.MANAGE})), ann.account_id)


async def test_projects_without_another_owner_are_named(house: House, ann: Principal, bob: Principal) -> None:
    own = await house.project(ann, bob)
    shared = await house.project(ann, bob)
    async with house.store.write() as tx:
        await tx.collaborators.update(shared, bob.account_id, {"role": Role.OWNER})
    _, secret = await house.key(ann)
    with pytest.raises(Conflict, match="last owner of 1 projects") as refused:
        await delete(house, ann, ann.account_id)
    assert refused.value.details["project_ids"] == [own]
    assert f"{own} (A project)" in refused.value.message
    assert await house.keys.check(secret) is not None
    assert (await roles(house, shared)).keys() == {ann.account_id, bob.account_id}, "nothing is done"


async def test_projects_are_handed_over(house: House, ann: Principal, bob: Principal, admin: Principal) -> None:
    first, second = [await house.project(ann, *people) for people in ((), (bob,))]
    done = await delete(house, admin, ann.account_id, "Bob@example.org")
    assert done["projects_handed_over"] == sorted([first, second])
    for project_id in (first, second):
        assert await roles(house, project_id) == {bob.account_id: Role.OWNER}
        assert [(who, event["event"]) for who, event in await house.log(project_id)] == [
            (admin.account_id, "change_collaborator_type"),
            (admin.account_id, "remove_collaborator"),
        ]


async def test_projects_are_deleted_and_stopped(house: House, ann: Principal, bob: Principal) -> None:
    own, shared = await house.project(ann, bob), await house.project(bob, ann)
    await house.projects.start(ann, own)
    assert (await delete(house, ann, ann.account_id, "delete"))["projects_deleted"] == [own]
    project = await house.row(own)
    assert (project.deleted, project.state) == (True, State.STOPPED)
    assert not (await house.row(shared)).deleted
    assert (ann.account_id, {"event": "project_deleted", "because": "its owner's account is deleted"}) in (
        await house.log(own)
    )


async def test_projects_that_are_deleted_keep_nobody(house: House, ann: Principal, bob: Principal) -> None:
    own = await house.project(ann, bob)
    await house.projects.delete(ann, own)
    await delete(house, ann, ann.account_id)
    assert await roles(house, own) == {bob.account_id: Role.COLLABORATOR}


async def test_a_deletion_that_was_cut_short_is_done_by_the_next(house: House, ann: Principal) -> None:
    projects = sorted([await house.project(ann) for _ in range(3)])
    house.sql(
        f"CREATE TRIGGER broken BEFORE UPDATE OF deleted ON projects WHEN NEW.project_id = '{projects[1]}' "
        "BEGIN SELECT RAISE(ABORT, 'broken'); END"
    )
    with pytest.raises(HubError):
        await delete(house, ann, ann.account_id, "delete")
    assert [bool((await house.row(project_id)).deleted) for project_id in projects] == [True, False, False]
    assert await house.accounts.get(ann, None)
    house.sql("DROP TRIGGER broken")
    assert (await delete(house, ann, ann.account_id, "delete"))["projects_deleted"] == projects[1:]
    assert all([(await house.row(project_id)).deleted for project_id in projects])


@pytest.mark.parametrize(
    ("heir", "kind", "words"),
    [
        ("nobody@example.org", NotFound, "hand projects over"),
        ("00000000-0000-4000-8000-000000000000", NotFound, "hand projects over"),
        ("keep", InvalidArgument, "'keep'"),
        ("ann@example.org", Conflict, "deleted or disabled"),
        ("eve@example.org", Conflict, "deleted or disabled"),
    ],
)
async def test_who_gets_no_projects(house: House, ann: Principal, heir: str, kind: type[Exception], words: str) -> None:
    await house.person("Eve", banned=True)
    own = await house.project(ann)
    with pytest.raises(kind, match=words):
        await delete(house, ann, ann.account_id, heir)
    assert await roles(house, own) == {ann.account_id: Role.OWNER}


@pytest.mark.parametrize("projects", ["refuse", "delete", "ann@example.org"])
async def test_the_last_site_admin_stays(house: House, ann: Principal, admin: Principal, projects: str) -> None:
    own = await house.project(admin)
    with pytest.raises(Conflict, match="last site admin" if projects != "refuse" else "last"):
        await delete(house, admin, admin.account_id, projects)
    assert not (await house.row(own)).deleted
    await house.accounts.update(admin, shapes.UpdateAccount(account_id=ann.account_id, admin=True))
    if projects != "refuse":
        await delete(house, admin, admin.account_id, projects)
        async with house.store.read() as tx:
            assert await tx.accounts.enabled_admins() == {ann.account_id}
