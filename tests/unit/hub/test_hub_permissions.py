"""Who may do what to a project: every rule, and every denial."""

from __future__ import annotations

import pytest
from house import House, nobody

from projecthub.errors import Conflict, InvalidArgument, NotFound, OwnershipDenied, PermissionDenied
from projecthub.hub.permissions import (
    account_id_of,
    may_add,
    may_delete,
    may_license,
    may_remove,
    member_access,
    not_deleted,
    project_id_of,
)
from projecthub.hub.principals import Principal
from projecthub.store.records import Access, Role
from projecthub.wire.ids import ProjectId
from projecthub.wire.methods import Ability

UNKNOWN = ProjectId("00000000-0000-4000-8000-000000000000")


async def access_of(house: House, caller: Principal, project_id: ProjectId) -> Access:
    async with house.store.read() as tx:
        access = await tx.projects.access(project_id, caller.account_id)
    assert access is not None
    return access


@pytest.mark.parametrize("value", ["", "x", None, 5, [], "0" * 36, f" {UNKNOWN}", f"{UNKNOWN}\n", UNKNOWN[:-1]])
def test_what_is_no_id_is_refused(value: object) -> None:
    with pytest.raises(InvalidArgument, match="must be valid uuid's"):
        project_id_of(value)
    with pytest.raises(InvalidArgument) as refused:
        account_id_of(value, "no account: {value}")
    assert refused.value.message == f"no account: {'null' if value is None else value}"


def test_ids_are_of_one_case() -> None:
    upper = "ABCDEF00-0000-4000-8000-00000000000F"
    assert project_id_of(upper) == account_id_of(upper, "") == upper.lower()


@pytest.mark.parametrize("needs", Ability)
async def test_members_have_access_and_nobody_else(
    needs: Ability, house: House, ann: Principal, bob: Principal, cid: Principal, admin: Principal
) -> None:
    project_id = await house.project(ann, bob)
    async with house.store.read() as tx:
        assert (await member_access(tx, ann, project_id, "", needs)).role is Role.OWNER
        assert (await member_access(tx, bob, project_id, "", needs)).role is Role.COLLABORATOR
        for caller in (cid, admin):
            with pytest.raises(PermissionDenied, match="go away"):
                await member_access(tx, caller, project_id, "go away", needs)
        with pytest.raises(PermissionDenied, match="go away"):
            await member_access(tx, ann, UNKNOWN, "go away", needs)


@pytest.mark.parametrize("deleted", [None, False, True])
async def test_a_deleted_project_does_nothing(house: House, ann: Principal, deleted: bool | None) -> None:
    project_id = await house.project(ann, deleted=deleted)
    row = await house.row(project_id)
    if not deleted:
        not_deleted(row)
        return
    with pytest.raises(Conflict, match="undelete"):
        not_deleted(row)


async def test_viewers_read_and_leave(
    house: House, ann: Principal, bob: Principal, cid: Principal, admin: Principal
) -> None:
    project_id = await house.project(ann, bob)
    await house.viewer(project_id, cid)
    of_cid = await access_of(house, cid, project_id)
    async with house.store.read() as tx:
        assert (await member_access(tx, cid, project_id, "", Ability.READ)).role is Role.VIEWER
        for needs in Ability:
            if needs is not Ability.READ:
                with pytest.raises(PermissionDenied, match="go away"):
                    await member_access(tx, cid, project_id, "go away", needs)
        for account in (cid.account_id, nobody()):
            with pytest.raises(PermissionDenied, match=r"cannot add self|does not have write access"):
                await may_add(tx, cid, project_id, [account], alone=True)
    for target in (ann.account_id, bob.account_id, nobody()):
        with pytest.raises(PermissionDenied, match="must be a collaborator"):
            may_remove(of_cid, cid, target, [ann.account_id])
    may_remove(of_cid, cid, cid.account_id, [ann.account_id])
    with pytest.raises(PermissionDenied, match="must be an owner"):
        may_delete(of_cid, cid, project_id)
    with pytest.raises(PermissionDenied, match="must be collaborator"):
        may_license(of_cid, cid, project_id)
    await house.viewer(project_id, admin)
    of_admin = await access_of(house, admin, project_id)
    assert may_delete(of_admin, admin, project_id) == may_license(of_admin, admin, project_id)


@pytest.mark.parametrize("owner_only", [False, True])
async def test_who_may_add(
    house: House, ann: Principal, bob: Principal, cid: Principal, admin: Principal, owner_only: bool
) -> None:
    project_id = await house.project(ann, bob, manage_users_owner_only=owner_only)
    async with house.store.read() as tx:
        await may_add(tx, ann, project_id, [cid.account_id], alone=True)
        if owner_only:
            # Site admins are no owners either.
            for caller in (bob, cid, admin):
                with pytest.raises(OwnershipDenied):
                    await may_add(tx, caller, project_id, [cid.account_id], alone=True)
            return
        await may_add(tx, bob, project_id, [cid.account_id], alone=True)
        await may_add(tx, admin, project_id, [admin.account_id], alone=True)
        with pytest.raises(PermissionDenied, match="cannot add self"):
            await may_add(tx, cid, project_id, [cid.account_id], alone=True)
        for accounts, alone in (([bob.account_id], True), ([cid.account_id], False)):
            with pytest.raises(PermissionDenied, match="does not have write access"):
                await may_add(tx, cid, project_id, accounts, alone=alone)


async def test_nobody_adds_to_what_is_not_there(house: House, ann: Principal, admin: Principal) -> None:
    async with house.store.read() as tx:
        for caller in (ann, admin):
            with pytest.raises(NotFound, match="Project not found"):
                await may_add(tx, caller, UNKNOWN, [ann.account_id], alone=True)


@pytest.mark.parametrize("owner_only", [False, True])
async def test_who_may_remove(house: House, ann: Principal, bob: Principal, cid: Principal, owner_only: bool) -> None:
    project_id = await house.project(ann, bob, cid, manage_users_owner_only=owner_only)
    of_ann, of_bob = await access_of(house, ann, project_id), await access_of(house, bob, project_id)
    owners = [ann.account_id]
    with pytest.raises(OwnershipDenied, match=r"Cannot remove an owner.*hand the project over first"):
        may_remove(of_ann, ann, ann.account_id, owners)
    for access, caller, all_owners in ((of_bob, bob, owners), (of_ann, ann, [*owners, nobody()])):
        with pytest.raises(OwnershipDenied) as refused:
            may_remove(access, caller, ann.account_id, all_owners)
        assert refused.value.message == "Cannot remove an owner. Demote to collaborator first."
    may_remove(of_ann, ann, cid.account_id, owners)
    may_remove(of_bob, bob, bob.account_id, owners)
    if not owner_only:
        may_remove(of_bob, bob, cid.account_id, owners)
        may_remove(of_bob, bob, nobody(), owners)
        return
    with pytest.raises(OwnershipDenied, match="Only owners"):
        may_remove(of_bob, bob, cid.account_id, owners)


@pytest.mark.parametrize("owner_only", [False, True])
async def test_who_may_delete(
    house: House, ann: Principal, bob: Principal, cid: Principal, admin: Principal, owner_only: bool
) -> None:
    project_id = await house.project(ann, bob, manage_users_owner_only=owner_only)
    allowed = [ann, admin] if owner_only else [ann, bob, admin]
    for caller in (ann, bob, cid, admin):
        access = await access_of(house, caller, project_id)
        if caller in allowed:
            assert may_delete(access, caller, project_id).project_id == project_id
        else:
            with pytest.raises(PermissionDenied, match="must be an owner"):
                may_delete(access, caller, project_id)
    with pytest.raises(PermissionDenied, match="must be an owner"):
        may_delete(None, ann, UNKNOWN)
    with pytest.raises(NotFound, match="unknown project_id"):
        may_delete(None, admin, UNKNOWN)
