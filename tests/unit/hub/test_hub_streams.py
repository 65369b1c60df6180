"""Answers that go on for long end with the right to them."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncGenerator
from types import SimpleNamespace
from typing import Any, cast

import pytest
from house import House
from starlette.requests import Request

from projecthub.api.native import callers, files
from projecthub.api.native import exports as native_exports
from projecthub.api.native.callers import Member
from projecthub.api.services import Services
from projecthub.errors import PermissionDenied, ServerLost
from projecthub.hub.audited_calls import AuditedCall
from projecthub.hub.exports import Exports
from projecthub.hub.files import Files
from projecthub.hub.jupyter_sessions import JupyterSessions
from projecthub.hub.principals import Principal
from projecthub.wire import shapes
from projecthub.wire.methods import Ability


async def reader(house: House, caller: Principal, project_id: str) -> tuple[Member, int]:
    """Somebody who reads something of a project, by a key of his own."""
    key_id, secret = await house.key(caller)
    signed_in = await house.keys.check(secret)
    assert signed_in is not None
    project = await house.row(project_id)  # type: ignore[arg-type]
    return Member(signed_in, project, cast("Services", house), Ability.READ, secret), key_id


@pytest.mark.parametrize("how", ["revoked", "without the scope", "expired", "disabled", "deleted", "removed"])
async def test_a_reader_ends_with_his_right(
    house: House, ann: Principal, bob: Principal, admin: Principal, how: str
) -> None:
    project_id = await house.project(ann, bob)
    member, key_id = await reader(house, bob, project_id)
    assert await member.is_still_one()
    match how:
        case "revoked":
            await house.keys.revoke(bob, key_id)
        case "without the scope":
            await house.keys.update(bob, shapes.UpdateKey(id=key_id, scopes=["run", "write", "manage"]))
        case "expired":
            await house.keys.update(bob, shapes.UpdateKey(id=key_id, expire=0))
        case "disabled":
            await house.accounts.update(admin, shapes.UpdateAccount(account_id=bob.account_id, disabled=True))
        case "deleted":
            await house.account_deletions.delete(bob, shapes.DeleteAccount(account_id=bob.account_id))
        case "removed":
            request = shapes.RemoveCollaborator(project_id=project_id, account_id=bob.account_id)
            await house.collaborators.remove(ann, request)
    assert not await member.is_still_one()


@pytest.mark.parametrize("how", ["disabled", "deleted", "vhost", "for people who are signed in", "revoked", "scopes"])
@pytest.mark.parametrize("has_key", [True, False])
async def test_a_visitor_ends_with_what_is_shared_or_with_his_key(
    house: House, ann: Principal, bob: Principal, how: str, has_key: bool
) -> None:
    project_id = await house.project(ann)
    share = {"project_id": project_id, "path": "hw"}
    await house.ask(ann, {"public_paths": share})
    (told,) = (await house.ask(ann, {"public_paths": [{"project_id": project_id, "id": None}]}))["public_paths"]
    key_id, secret = await house.key(bob)
    services: Any = SimpleNamespace(keys=house.keys, shares=house.shares)
    visitor = callers.Visitor(bob if has_key else None, services, told["id"], secret if has_key else None)
    assert await visitor.is_still_one()
    match how:
        case "disabled":
            await house.ask(ann, {"public_paths": {**share, "disabled": True}})
        case "deleted":
            await house.ask(ann, {"public_paths": share}, {"delete": True})
        case "vhost":
            house.sql("UPDATE public_paths SET vhost = 'example.org'")
        case "for people who are signed in":
            await house.ask(ann, {"public_paths": {**share, "unlisted": True, "authenticated": True}})
        case "revoked":
            await house.keys.revoke(bob, key_id)
        case "scopes":
            await house.keys.update(bob, shapes.UpdateKey(id=key_id, scopes=["run", "write", "manage"]))
    goes_on = {"for people who are signed in": has_key, "revoked": not has_key, "scopes": not has_key}
    assert await visitor.is_still_one() is goes_on.get(how, False)


@pytest.mark.parametrize("is_removed", [True, False])
async def test_who_is_removed_while_he_uploads_writes_nothing(
    house: House, ann: Principal, bob: Principal, monkeypatch: pytest.MonkeyPatch, is_removed: bool
) -> None:
    """However long he has kept his request open."""
    monkeypatch.setattr(callers, "CHECKED_AGAIN_S", 0.05)
    project_id = await house.project(ann, bob)
    _, secret = await house.key(bob)
    project = await house.row(project_id)
    await house.workplaces.home(ann, project)
    parts = [(b"begun, ", True), (b"and done", False)]

    async def receive() -> dict[str, object]:
        part, is_more = parts.pop(0)
        if not is_more:
            await asyncio.sleep(0.1)
            if is_removed:
                request = shapes.RemoveCollaborator(project_id=project_id, account_id=bob.account_id)
                await house.collaborators.remove(ann, request)
        return {"type": "http.request", "body": part, "more_body": is_more}

    scope = {"type": "http", "method": "PUT", "path": "/", "query_string": b"path=a", "headers": []}
    asked = Request(scope, receive)
    services: Any = SimpleNamespace(keys=house.keys, calls=house.calls, files=Files(house.workplaces))
    member = callers.Member(bob, project, services, Ability.WRITE, secret, asked)
    path = house.homes.path(project_id) / "a"
    if is_removed:
        with pytest.raises(PermissionDenied):
            await files._put(asked, member, "a")
        assert not path.exists()
    else:
        await files._put(asked, member, "a")
        assert path.read_text() == "begun, and done"


@pytest.mark.parametrize("ends", ["", "disabled", "without the scope"])
async def test_who_is_disabled_while_he_imports_gets_no_project(
    house: House, ann: Principal, bob: Principal, admin: Principal, monkeypatch: pytest.MonkeyPatch, ends: str
) -> None:
    monkeypatch.setattr(callers, "CHECKED_AGAIN_S", 0.05)
    exports = Exports(house.store, house.workplaces, house.creation)
    exported = await house.row(await house.project(ann, title="Exported"))
    opened = await exports.open(ann, exported)
    content = b"".join([piece async for piece in exports.content(exported, opened)])
    os.close(opened.fd)
    key_id, secret = await house.key(bob)
    parts = [(content[:100], True), (content[100:], False)]

    async def receive() -> dict[str, object]:
        part, is_more = parts.pop(0)
        if not is_more:
            await asyncio.sleep(0.1)
            if ends == "disabled":
                await house.accounts.update(admin, shapes.UpdateAccount(account_id=bob.account_id, disabled=True))
            elif ends:
                await house.keys.update(bob, shapes.UpdateKey(id=key_id, scopes=["read"]))
        return {"type": "http.request", "body": part, "more_body": is_more}

    scope = {"type": "http", "method": "POST", "path": "/", "query_string": b"", "headers": []}
    asked = Request(scope, receive)
    services: Any = SimpleNamespace(keys=house.keys, exports=exports)
    call = AuditedCall(method="POST /projects/import", began_at=house.clock.now())
    maker = callers.Asker(bob, services, call, secret, asked)
    if ends:
        with pytest.raises(PermissionDenied, match="ended meanwhile"):
            await native_exports._import(asked, maker)
        async with house.store.read() as tx:
            assert await tx.projects.count() == 1
        homes = house.homes.path(exported.project_id).parents[1]
        assert [home.name for home in homes.iterdir() if home.name != ".unfinished"] == [exported.project_id]
    else:
        done = json.loads(bytes((await native_exports._import(asked, maker)).body))
        assert (await house.row(done["project_id"])).title == "Exported"


@pytest.mark.parametrize(
    "value",
    [
        *({"index": -1, "output": "{}"}, {"index": 2**53, "output": "{}"}, {"index": 10**4000, "output": "{}"}),
        *({"index": 0, "output": "1\n\nevent: end"}, {"index": 0, "output": "1\rid: 5"}, {"index": 0, "output": {}}),
        *({"index": "0", "output": "{}"}, {"execution": []}, [], None, "output"),
    ],
    ids=range(11),
)
async def test_what_is_no_output_is_not_passed_on(
    house: House, ann: Principal, monkeypatch: pytest.MonkeyPatch, value: object
) -> None:
    project_id = await house.project(ann)

    async def stream(*_: object) -> AsyncGenerator[object, None]:
        yield value

    monkeypatch.setattr(house.calls, "stream", stream)
    sessions = JupyterSessions(house.calls, house.cells)
    with pytest.raises(ServerLost, match="no output of an execution"):
        await anext(sessions.follow(project_id, "a", "id", 0))


@pytest.mark.parametrize("is_disabled", [True, False])
async def test_who_is_disabled_while_he_downloads_does_not_get_it_all(
    house: House, bob: Principal, admin: Principal, monkeypatch: pytest.MonkeyPatch, is_disabled: bool
) -> None:
    monkeypatch.setattr(callers, "CHECKED_AGAIN_S", 0.05)
    member, _ = await reader(house, bob, await house.project(bob))
    closed: list[bool] = []

    async def content() -> AsyncGenerator[bytes, None]:
        try:
            for _ in range(3):
                yield b"part"
                await asyncio.sleep(0.1)
        finally:
            closed.append(True)

    async def download() -> bytes:
        told = b""
        async for part in member.told(content()):
            if is_disabled and not told:
                await house.accounts.update(admin, shapes.UpdateAccount(account_id=bob.account_id, disabled=True))
            told += part
        return told

    if is_disabled:
        with pytest.raises(PermissionDenied, match="ended meanwhile"):
            await download()
    else:
        assert await download() == b"part" * 3
    assert closed == [True]
