"""Who is what on a project: changed, handed over, left; and tokens that let people in."""

from __future__ import annotations

import pytest
from house import House, nobody

from projecthub.errors import Conflict, InvalidArgument, NotFound, OwnershipDenied, PermissionDenied, QueryRefused
from projecthub.hub.principals import Principal
from projecthub.store.records import Role
from projecthub.wire import shapes
from projecthub.wire.ids import AccountId, ProjectId

TOKEN = "t" * 32


async def roles(house: House, project_id: ProjectId) -> dict[AccountId, Role]:
    async with house.store.read() as tx:
        return await tx.collaborators.roles(project_id)


async def change(house: House, caller: Principal, project_id: str, target: str, group: str | None) -> None:
    request = shapes.ChangeUserType(project_id=project_id, target_account_id=target, new_group=group)
    await house.collaborators.change_type(caller, request)


async def join(house: House, caller: Principal, **options: object) -> object:
    reply = await house.collaborators.add(caller, shapes.AddCollaborator(**options))  # type: ignore[arg-type]
    return reply["project_id"]


async def make_token(house: House, caller: Principal, project_id: str, **fields: object) -> None:
    shape = {"token": TOKEN, "project_id": project_id, **fields}
    assert await house.ask(caller, {"project_invite_tokens": shape}) == {}


async def test_people_become_viewers_owners_and_collaborators(house: House, ann: Principal, bob: Principal) -> None:
    project_id = await house.project(ann, bob)
    for group in ("viewer", "owner", "owner", "collaborator"):
        await change(house, ann, project_id, bob.account_id, group)
        assert (await roles(house, project_id))[bob.account_id] == group
    events = [event for by, event in await house.log(project_id) if by == ann.account_id]
    assert [(event["old_group"], event["new_group"]) for event in events] == [
        ("collaborator", "viewer"),
        ("viewer", "owner"),
        ("owner", "collaborator"),
    ]
    assert events[0] | {"old_group": "", "new_group": ""} == {
        "event": "change_collaborator_type",
        "target_account_id": bob.account_id,
        "target_name": "Bob",
        "old_group": "",
        "new_group": "",
    }


async def test_who_may_not_change_what_people_are(
    house: House, ann: Principal, bob: Principal, cid: Principal, admin: Principal
) -> None:
    project_id = await house.project(ann, bob)
    await house.viewer(project_id, cid)
    before = await roles(house, project_id)
    for caller, denial in (
        (bob, "Only project owners can change user types"),
        (cid, "Only project owners can change user types"),
        (admin, "Not a project member"),
    ):
        with pytest.raises(OwnershipDenied) as denied:
            await change(house, caller, project_id, cid.account_id, "owner")
        assert denied.value.message == denial
    for target, group, text in (
        (nobody(), "viewer", "Target user is not a member of this project"),
        (bob.account_id, "admin", "New group must be either 'owner' or 'collaborator'"),
        (bob.account_id, None, "New group must be either 'owner' or 'collaborator'"),
        (ann.account_id, "viewer", "Cannot change the last owner to viewer. At least one owner is required."),
        (ann.account_id, "collaborator", "Cannot change the last owner to collaborator."),
    ):
        with pytest.raises(OwnershipDenied) as denied:
            await change(house, ann, project_id, target, group)
        assert denied.value.message.startswith(text)
    with pytest.raises(InvalidArgument):
        await change(house, ann, project_id, "x", "viewer")
    with pytest.raises(OwnershipDenied, match="Not a project member"):
        await change(house, ann, nobody(), bob.account_id, "viewer")
    assert await roles(house, project_id) == before
    assert await house.log(project_id) == []


async def test_a_project_is_handed_over_and_left(house: House, ann: Principal, bob: Principal, cid: Principal) -> None:
    project_id = await house.project(ann, bob)
    with pytest.raises(OwnershipDenied, match="hand the project over first"):
        await house.collaborators.remove(
            ann, shapes.RemoveCollaborator(project_id=project_id, account_id=ann.account_id)
        )
    for caller, target, group, kind in (
        (ann, cid, "collaborator", OwnershipDenied),
        (bob, bob, "collaborator", InvalidArgument),
        (bob, ann, "collaborator", OwnershipDenied),
        (ann, bob, "owner", InvalidArgument),
    ):
        with pytest.raises(kind):
            await house.collaborators.hand_over(
                caller, shapes.HandOver(project_id=project_id, account_id=target.account_id, new_group=group)
            )
    assert await roles(house, project_id) == {ann.account_id: Role.OWNER, bob.account_id: Role.COLLABORATOR}
    request = shapes.HandOver(project_id=project_id, account_id=bob.account_id)
    assert await house.collaborators.hand_over(ann, request) == {
        "project_id": project_id,
        "owner": bob.account_id,
        "group": "collaborator",
    }
    await house.collaborators.remove(ann, shapes.RemoveCollaborator(project_id=project_id, account_id=ann.account_id))
    assert await roles(house, project_id) == {bob.account_id: Role.OWNER}
    kinds = [event["event"] for _, event in await house.log(project_id)]
    assert kinds == ["change_collaborator_type", "change_collaborator_type", "remove_collaborator"]


async def test_no_project_is_handed_over_to_whoever_is_disabled(
    house: House, ann: Principal, bob: Principal, admin: Principal
) -> None:
    project_id = await house.project(ann, bob)
    await house.accounts.update(admin, shapes.UpdateAccount(account_id=bob.account_id, disabled=True))
    before = await roles(house, project_id)
    request = shapes.HandOver(project_id=project_id, account_id=bob.account_id)
    with pytest.raises(Conflict, match=f"account '{bob.account_id}' is disabled"):
        await house.collaborators.hand_over(ann, request)
    assert await roles(house, project_id) == before
    assert await house.log(project_id) == []
    async with house.store.write() as tx:
        await tx.collaborators.update(project_id, bob.account_id, {"role": Role.OWNER})
    with pytest.raises(Conflict, match=f"account '{bob.account_id}' is disabled"):
        await house.collaborators.hand_over(ann, request)
    assert await roles(house, project_id) == before | {bob.account_id: Role.OWNER}


async def test_whoever_is_disabled_is_let_onto_no_project(
    house: House, ann: Principal, bob: Principal, cid: Principal, admin: Principal
) -> None:
    project_id, other = await house.project(ann, cid), await house.project(ann)
    await make_token(house, ann, project_id)
    for person in (bob, cid):
        await house.accounts.update(admin, shapes.UpdateAccount(account_id=person.account_id, disabled=True))
    before = await roles(house, project_id)
    both = {"project_id": [project_id, other], "account_id": [admin.account_id, bob.account_id]}
    for given in (
        {"project_id": project_id, "account_id": bob.account_id},
        both,
        both | {"account_id": [bob.account_id, admin.account_id], "group": "viewer"},
        {"token_id": TOKEN, "account_id": bob.account_id},
        {"token_id": [TOKEN, TOKEN], "account_id": [admin.account_id, bob.account_id]},
    ):
        with pytest.raises(Conflict, match=f"account '{bob.account_id}' is disabled"):
            await join(house, ann, **given)
    invite = house.invitations.invite, shapes.InviteCollaborator(project_id=project_id, account_id=bob.account_id)
    by_mail = shapes.InviteWithoutAccount(project_id=project_id, to="new@example.org, bob@example.org")
    for call, request in (invite, (house.invitations.invite_without_account, by_mail)):
        with pytest.raises(Conflict, match=f"account '{bob.account_id}' is disabled"):
            await call(ann, request)  # type: ignore[operator]
    with pytest.raises(Conflict, match=f"account '{cid.account_id}' is disabled"):
        await change(house, ann, project_id, cid.account_id, "owner")
    assert await roles(house, project_id) == before
    assert list(await roles(house, other)) == [ann.account_id]
    assert [event["event"] for _, event in await house.log(project_id)] == ["invite_token_created"]
    # Who is on the project already stays what they are, disabled or not.
    assert await join(house, ann, project_id=project_id, account_id=cid.account_id) == [project_id]
    await change(house, ann, project_id, cid.account_id, "viewer")
    await house.accounts.update(admin, shapes.UpdateAccount(account_id=bob.account_id, disabled=False))
    assert await join(house, ann, project_id=project_id, account_id=bob.account_id) == [project_id]


async def test_whoever_is_deleted_is_let_onto_no_project(house: House, ann: Principal, bob: Principal) -> None:
    project_id = await house.project(ann)
    await make_token(house, ann, project_id)
    await house.account_deletions.delete(bob, shapes.DeleteAccount(account_id=bob.account_id))
    request = shapes.InviteCollaborator(project_id=project_id, account_id=bob.account_id)
    for call in (
        join(house, ann, project_id=project_id, account_id=bob.account_id),
        join(house, ann, token_id=TOKEN, account_id=bob.account_id),
        house.invitations.invite(ann, request),
    ):
        with pytest.raises(NotFound, match=f"no account with id '{bob.account_id}'"):
            await call
    assert await roles(house, project_id) == {ann.account_id: Role.OWNER}


async def test_nobody_owns_two_projects_of_one_name(house: House, ann: Principal, bob: Principal) -> None:
    project_id = await house.project(ann, bob, name="thesis")
    own = await house.project(bob, name="Thesis")
    with pytest.raises(Conflict, match="already a project with the same owner"):
        await change(house, ann, project_id, bob.account_id, "owner")
    assert (await roles(house, project_id))[bob.account_id] is Role.COLLABORATOR
    async with house.store.write() as tx:
        await tx.projects.update(own, {"name": None})
    await change(house, ann, project_id, bob.account_id, "owner")


async def test_people_are_added_as_viewers(house: House, ann: Principal, bob: Principal, cid: Principal) -> None:
    project_id = await house.project(ann)
    with pytest.raises(InvalidArgument, match="'collaborator' or 'viewer'"):
        await join(house, ann, project_id=project_id, account_id=bob.account_id, group="owner")
    assert await join(house, ann, project_id=project_id, account_id=bob.account_id, group="viewer") == [project_id]
    # Who is there stays what he is.
    await join(house, ann, project_id=project_id, account_id=bob.account_id)
    await join(house, ann, project_id=project_id, account_id=ann.account_id, group="viewer")
    assert await roles(house, project_id) == {ann.account_id: Role.OWNER, bob.account_id: Role.VIEWER}
    assert await house.field(bob, project_id, "users") == {
        ann.account_id: {"group": "owner"},
        bob.account_id: {"group": "viewer"},
    }
    event = {"event": "invite_user", "invitee_account_id": bob.account_id, "group": "viewer"}
    assert await house.log(project_id) == [(ann.account_id, event)]


async def test_keys_of_those_who_become_viewers_read_on(house: House, ann: Principal, bob: Principal) -> None:
    project_id = await house.project(ann, bob)
    _, secret = await house.key(bob, project_id)
    await change(house, ann, project_id, bob.account_id, "viewer")
    assert await house.keys.check(secret) is not None
    with pytest.raises(PermissionDenied):
        await house.key(bob, project_id)
    number, _ = await house.key(ann, project_id)
    with pytest.raises(NotFound):
        await house.keys.revoke(bob, number)
    await house.collaborators.remove(bob, shapes.RemoveCollaborator(project_id=project_id, account_id=bob.account_id))
    assert await house.keys.check(secret) is None


# -- tokens ----------------------------------------------------------------------------------------


async def test_a_token_lets_people_in_until_it_is_used_up(
    house: House, ann: Principal, bob: Principal, cid: Principal
) -> None:
    project_id = await house.project(ann)
    await make_token(house, ann, project_id, usage_limit=1, group="viewer", counter=0, created="{now}")
    assert await join(house, bob, token_id=TOKEN) == project_id
    assert await join(house, bob, token_id=TOKEN) == project_id  # once more is no error, and uses nothing up
    assert await join(house, ann, token_id=[TOKEN], account_id=[bob.account_id]) == [project_id]
    with pytest.raises(PermissionDenied) as denied:
        await join(house, cid, token_id=TOKEN)
    assert denied.value.message == "Project invite token is not valid - the token can only be used 1 times"
    assert (await roles(house, project_id))[bob.account_id] is Role.VIEWER
    wanted = {"project_id": project_id, "counter": None, "usage_limit": None, "group": None, "account_id": None}
    reply = await house.ask(ann, {"project_invite_tokens": [wanted]})
    assert reply["project_invite_tokens"] == [
        wanted | {"counter": 1, "usage_limit": 1, "group": "viewer", "account_id": ann.account_id}
    ]
    kinds = [event["event"] for _, event in await house.log(project_id)]
    assert kinds == ["invite_token_created", "invite_user"]
    assert TOKEN not in str(await house.log(project_id))


async def test_tokens_that_let_nobody_in(house: House, ann: Principal, bob: Principal, cid: Principal) -> None:
    project_id = await house.project(ann, bob)
    await make_token(house, bob, project_id, expires=house.clock.now().isoformat())
    with pytest.raises(PermissionDenied, match="the token already expired"):
        await join(house, cid, token_id=TOKEN)
    await make_token(house, bob, project_id, expires="2100-01-01")
    with pytest.raises(NotFound, match="no such token"):
        await join(house, cid, token_id="nothing")
    with pytest.raises(NotFound, match="no such token"):  # all, or none
        await join(house, cid, token_id=[TOKEN, "nothing"], account_id=[cid.account_id] * 2)
    for given in ([TOKEN, None], [None], ["", TOKEN]):
        with pytest.raises(InvalidArgument, match="they must all be non-null"):
            await join(house, cid, token_id=given)
    with pytest.raises(NotFound, match="no account with id"):
        await join(house, cid, token_id=TOKEN, account_id=nobody())
    with pytest.raises(InvalidArgument, match="arrays of the same length"):
        await join(house, cid, token_id=TOKEN, account_id=[cid.account_id] * 2)
    # What somebody made is void when they may no longer add people themselves.
    await house.change(ann, project_id, manage_users_owner_only=True)
    with pytest.raises(PermissionDenied, match="whoever made it may no longer add people"):
        await join(house, cid, token_id=TOKEN)
    await house.change(ann, project_id, manage_users_owner_only=False)
    await change(house, ann, project_id, bob.account_id, "viewer")
    with pytest.raises(PermissionDenied, match="whoever made it may no longer add people"):
        await join(house, cid, token_id=TOKEN)
    await house.collaborators.remove(bob, shapes.RemoveCollaborator(project_id=project_id, account_id=bob.account_id))
    with pytest.raises(PermissionDenied, match="whoever made it may no longer add people"):
        await join(house, bob, token_id=TOKEN)
    assert await roles(house, project_id) == {ann.account_id: Role.OWNER}


async def test_who_may_see_and_change_tokens(
    house: House, ann: Principal, bob: Principal, cid: Principal, admin: Principal
) -> None:
    project_id = await house.project(ann, bob)
    await house.viewer(project_id, cid)
    stranger = await house.person("Dan")
    await make_token(house, bob, project_id)
    listing = {"project_invite_tokens": [{"project_id": project_id, "token": None}]}
    for caller in (ann, bob, admin):
        assert await house.ask(caller, listing) == {
            "project_invite_tokens": [{"project_id": project_id, "token": TOKEN}]
        }
    await house.change(ann, project_id, manage_users_owner_only=True)
    setting = {"project_invite_tokens": {"token": TOKEN, "project_id": project_id, "usage_limit": 5}}
    for caller in (bob, cid, stranger, admin):
        with pytest.raises(QueryRefused):
            await house.ask(caller, listing)
        with pytest.raises(QueryRefused):
            await house.ask(caller, setting)
        with pytest.raises(QueryRefused):
            await house.ask(caller, setting, {"delete": True})
    other = await house.project(stranger)
    with pytest.raises(QueryRefused, match="choose another token"):
        await make_token(house, stranger, other)
    await house.ask(stranger, {"project_invite_tokens": {"token": TOKEN, "project_id": other}}, {"delete": True})
    await house.ask(ann, setting)
    await house.ask(ann, setting, {"delete": True})
    assert await house.ask(ann, listing) == {"project_invite_tokens": []}


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("token", "short"),
        ("token", "with blanks and more than that"),
        ("usage_limit", 0),
        ("usage_limit", True),
        ("usage_limit", 1.5),
        ("expires", "soon"),
        ("counter", 5),
        ("group", "owner"),
        ("account_id", "me"),
        ("email_address", "a@b.de"),
    ],
)
async def test_what_a_token_cannot_be(house: House, ann: Principal, field: str, value: object) -> None:
    project_id = await house.project(ann)
    with pytest.raises(QueryRefused):
        await make_token(house, ann, project_id, **{field: value})
    listing = {"project_invite_tokens": [{"project_id": project_id, "token": None}]}
    assert await house.ask(ann, listing) == {"project_invite_tokens": []}
