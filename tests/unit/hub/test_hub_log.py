"""The log of a project: every change leaves an entry, and its members can read it."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from house import House

from projecthub.errors import HubError, NotFound, QueryRefused
from projecthub.hub import housekeeping
from projecthub.hub.housekeeping import Housekeeping
from projecthub.hub.principals import Principal
from projecthub.hub.shares import share_id
from projecthub.wire import shapes
from projecthub.wire.copies import ListCopies
from projecthub.wire.ids import ProjectId


async def entries(house: House, caller: Principal, project_id: str, table: str = "project_log") -> list[Any]:
    wanted = {"id": None, "project_id": project_id, "account_id": None, "time": None, "event": None}
    return list((await house.ask(caller, {table: [wanted]}))[table])


async def events(house: House, caller: Principal, project_id: str) -> list[Any]:
    """What happened, oldest first, but for the project's creation."""
    return [entry["event"] for entry in reversed(await entries(house, caller, project_id))][1:]


async def test_creation_is_the_first_entry(house: House, ann: Principal) -> None:
    project_id = await house.creation.create(ann, shapes.CreateProject(title="Soil"))
    (entry,) = await entries(house, ann, project_id)
    assert entry == {
        "id": entry["id"],
        "project_id": project_id,
        "account_id": ann.account_id,
        "time": "2026-03-01T12:00:00.123Z",
        "event": {"event": "project_created", "title": "Soil"},
    }


async def test_a_repeated_creation_is_one_entry(house: House, ann: Principal) -> None:
    request = shapes.CreateProject(title="Soil")
    made = {await house.creation.create(ann, request, idempotency_key="key") for _ in range(2)}
    assert len(await entries(house, ann, made.pop())) == 1


async def test_changes_of_fields(house: House, ann: Principal, bob: Principal) -> None:
    project_id = await house.project(ann, bob)
    await house.ask(bob, {"projects": {"project_id": project_id, "title": "New", "env": {"TOKEN": "secret"}}})
    await house.ask(bob, {"projects": {"project_id": project_id, "users": {ann.account_id: {"hide": True}}}})
    await house.ask(bob, {"projects": {"project_id": project_id, "users": {bob.account_id: {"hide": True}}}})
    assert await events(house, ann, project_id) == [  # what one's own list has is nobody else's matter
        {"event": "project_edited", "fields": ["env", "title"]},
        {"event": "project_edited", "fields": ["users"]},
    ]
    assert {entry["account_id"] for entry in (await entries(house, ann, project_id))[:2]} == {bob.account_id}


async def test_what_was_refused_or_changes_nothing_leaves_no_entry(
    house: House, ann: Principal, bob: Principal
) -> None:
    project_id = await house.project(ann)
    with pytest.raises(QueryRefused):
        await house.ask(ann, {"projects": {"project_id": project_id, "title": "New", "name": "not fit"}})
    with pytest.raises(QueryRefused):
        await house.ask(bob, {"projects": {"project_id": project_id, "title": "New"}})
    await house.ask(ann, {"projects": {"project_id": project_id}})
    await house.ask(ann, {"projects": {"project_id": project_id, "deleted": False}})
    with pytest.raises(NotFound):
        await house.copies.copy(ann, shapes.CopyPath(src_project_id=project_id, src_path="nothing"))
    assert await events(house, ann, project_id) == []


async def test_deleted_and_brought_back(house: House, ann: Principal) -> None:
    project_id = await house.project(ann)
    for _ in range(2):
        await house.projects.delete(ann, project_id)
    await house.ask(ann, {"projects": {"project_id": project_id, "deleted": False}})
    await house.ask(ann, {"projects": {"project_id": project_id, "deleted": True}})
    assert [event["event"] for event in await events(house, ann, project_id)] == [
        "project_deleted",
        "project_undeleted",
        "project_deleted",
    ]


async def test_a_lifetime_that_is_over(house: House, ann: Principal) -> None:
    project_id = await house.creation.create(ann, shapes.CreateProject(ephemeral=1000))
    house.clock.advance(seconds=2)
    await house.projects.delete_expired()
    newest = (await entries(house, ann, project_id))[0]
    assert newest["event"] == {"event": "project_deleted", "because": "its lifetime is over"}
    assert "account_id" not in newest


async def test_people(house: House, ann: Principal, bob: Principal) -> None:
    project_id = await house.project(ann)
    for _ in range(2):
        request = shapes.AddCollaborator(project_id=project_id, account_id=bob.account_id)
        await house.collaborators.add(ann, request)
    await house.collaborators.remove(ann, shapes.RemoveCollaborator(project_id=project_id, account_id=bob.account_id))
    assert await events(house, ann, project_id) == [
        {"event": "invite_user", "invitee_account_id": bob.account_id},
        {"event": "remove_collaborator", "removed_name": "Bob", "removed_account_id": bob.account_id},
    ]


async def test_shares(house: House, ann: Principal) -> None:
    project_id = await house.project(ann)
    await house.ask(ann, {"public_paths": {"project_id": project_id, "path": "/data/", "unlisted": True}})
    assert await events(house, ann, project_id) == [{"event": "path_shared", "path": "data", "fields": ["unlisted"]}]
    home = await house.homes.ensure(project_id, (await house.row(project_id)).unix_slot)
    (home / "data").mkdir()
    share = share_id(project_id, "data")
    made = await house.creation.create(ann, shapes.CreateProject(title="Like it", public_path_id=share))
    (entry,) = await entries(house, ann, made)
    assert entry["event"] == {"event": "project_created", "title": "Like it", "public_path_id": share}


async def test_copies_stand_in_both_logs(house: House, ann: Principal) -> None:
    one, two = await house.project(ann), await house.project(ann)
    home = await house.homes.ensure(one, (await house.row(one)).unix_slot)
    (home / "file").write_text("12345")
    await house.copies.copy(ann, shapes.CopyPath(src_project_id=one, src_path="file", target_project_id=two))
    event = {
        "event": "path_copied",
        "src_project_id": one,
        "src_path": "file",
        "target_project_id": two,
        "target_path": "file",
        "files": 1,
        "bytes": 5,
    }
    [told] = await events(house, ann, one)
    assert told.pop("operation_id") == (await house.copies.page(ann, ListCopies()))[0]["id"]
    assert told == event
    assert [told["files"] for told in await events(house, ann, two)] == [1]
    await house.copies.copy(ann, shapes.CopyPath(src_project_id=one, src_path="file", target_path="other"))
    assert len(await events(house, ann, one)) == 2


async def test_a_copy_that_came_to_nothing_is_told(house: House, ann: Principal) -> None:
    project_id = await house.project(ann)
    home = await house.homes.ensure(project_id, (await house.row(project_id)).unix_slot)
    (home / "from").mkdir()
    (home / "from" / "name").write_text("x")
    (home / "to" / "name" / "full").mkdir(parents=True)
    with pytest.raises(HubError) as refused:
        await house.copies.copy(ann, shapes.CopyPath(src_project_id=project_id, src_path="from", target_path="to"))
    (event,) = await events(house, ann, project_id)
    assert (event["event"], event["error"]) == ("path_copied", refused.value.code)


async def test_keys_of_a_project(house: House, ann: Principal) -> None:
    project_id = await house.project(ann)
    first, secret = await house.key(ann, project_id)
    await house.keys.edit(ann, shapes.ManageApiKeys(id=first, project_id=project_id, name="renamed"))
    await house.keys.delete(ann, first, project_id)
    second, _ = await house.key(ann, project_id)
    await house.keys.revoke(ann, second)
    await house.key(ann)  # an account's: nothing that a project's people should know
    told = await events(house, ann, project_id)
    assert [(event["event"], event["key_id"]) for event in told] == [
        ("key_created", first),
        ("key_edited", first),
        ("key_deleted", first),
        ("key_created", second),
        ("key_deleted", second),
    ]
    assert secret not in str(told)


async def test_who_may_read(house: House, ann: Principal, bob: Principal, admin: Principal) -> None:
    mine, other, both = await house.project(ann), await house.project(bob), await house.project(ann, bob)
    for table in ("project_log", "project_log_all"):
        with pytest.raises(QueryRefused, match="read access"):
            await entries(house, bob, mine, table)
        assert len(await entries(house, admin, mine, table)) == 1
        rows = (await house.ask(bob, {table: [{"project_id": None, "event": None}]}))[table]
        assert {row["project_id"] for row in rows} == {other, both}
        with pytest.raises(QueryRefused, match="not allowed for"):
            await house.ask(bob, {table: [{"project_id": both, "logged_at": None}]})
        with pytest.raises(HubError, match="invalid project_id"):
            await entries(house, bob, "no-uuid", table)
        with pytest.raises(QueryRefused, match="read access"):
            await entries(house, bob, "00000000-0000-4000-8000-000000000000", table)


async def test_windows_limits_and_conditions(house: House, ann: Principal) -> None:
    project_id = await house.project(ann)
    async with house.store.write() as tx:
        for _ in range(760):
            house.clock.advance(seconds=1)
            await tx.log.append(ProjectId(project_id), None, {"event": "start"}, at=house.clock.now())
    assert len(await entries(house, ann, project_id)) == 750
    assert len(await entries(house, ann, project_id, "project_log_all")) == 761
    query = {"project_log": [{"project_id": project_id, "id": None, "time": None}]}
    assert len((await house.ask(ann, query, {"limit": 3}))["project_log"]) == 3
    newest = (await house.ask(ann, query, {"limit": 1}))["project_log"][0]
    oldest = (await house.ask(ann, query, {"order_by": "time"}))["project_log"][0]
    assert newest["time"] > oldest["time"]
    since = {"project_log": [{"project_id": project_id, "event": None, "time": {">=": newest["time"]}}]}
    assert len((await house.ask(ann, since))["project_log"]) == 1
    house.clock.advance(days=60, seconds=1)
    assert len(await entries(house, ann, project_id)) == 750
    house.clock.advance(days=1)
    assert await entries(house, ann, project_id) == []
    assert len(await entries(house, ann, project_id, "project_log_all")) == 761


async def test_entries_by_hand(house: House, ann: Principal, bob: Principal, admin: Principal) -> None:
    project_id = await house.project(ann)
    claims = {"id": "7", "account_id": bob.account_id, "time": "2020-01-01T00:00:00Z"}
    event = {"event": "open", "filename": "a.md", "by_hand": False}
    assert await house.ask(ann, {"project_log": {**claims, "project_id": project_id, "event": event}}) == {}
    (row, _) = await entries(house, ann, project_id, "project_log")
    assert (row["account_id"], row["time"], row["event"]) == (
        ann.account_id,
        "2026-03-01T12:00:00.123Z",
        {"event": "open", "filename": "a.md", "by_hand": True},
    )
    for caller in (bob, admin):
        with pytest.raises(QueryRefused, match="user must be an admin"):
            await house.ask(caller, {"project_log": {"project_id": project_id, "event": event}})
    for wrong in ("x", {}, {"event": 5}, {"event": "x", "text": "x" * 10_000}):
        with pytest.raises(QueryRefused, match="error setting 'event'"):
            await house.ask(ann, {"project_log": {"project_id": project_id, "event": wrong}})
    with pytest.raises(QueryRefused, match="error setting 'event'"):
        await house.ask(ann, {"project_log": {"project_id": project_id}})
    with pytest.raises(QueryRefused, match="set queries not allowed"):
        await house.ask(ann, {"project_log_all": {"project_id": project_id, "event": event}})
    assert len(await entries(house, ann, project_id, "project_log")) == 2


@pytest.mark.parametrize("days", [30, None])
async def test_entries_are_kept_for_as_long_as_the_operator_says(
    house: House, ann: Principal, monkeypatch: pytest.MonkeyPatch, days: int | None
) -> None:
    monkeypatch.setattr(housekeeping, "LOG_BATCH", 2)
    project_id = await house.project(ann)
    async with house.store.write() as tx:
        for number in range(5):
            await tx.log.append(project_id, None, {"event": f"old {number}"}, at=house.clock.now())
    house.clock.advance(days=29)
    async with house.store.write() as tx:
        await tx.log.append(project_id, None, {"event": "new"}, at=house.clock.now())
    keeping = Housekeeping(
        house.store,
        house.clock,
        house.keys,
        house.projects,
        house.lifecycle,
        house.idle,
        house.jobs,
        house.commands,
        house.cells,
        log_kept=None if days is None else timedelta(days=days),
    )
    await keeping.sweep()
    assert len(await house.log(project_id)) == 6
    house.clock.advance(days=2)
    await keeping.sweep()
    kept = [event["event"] for _, event in await house.log(project_id)]
    assert kept == ([*(f"old {number}" for number in range(5)), "new"] if days is None else ["new"])
