"""Jobs of projects whose servers, and whose homes, say what they like."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncGenerator
from typing import Any

import pytest
from house import House

from projecthub.api.native import callers, job_streams
from projecthub.api.native.callers import Member
from projecthub.errors import Conflict, LimitError, PermissionDenied
from projecthub.hub import calls, jobs
from projecthub.hub.jobs import Piece
from projecthub.hub.principals import Principal
from projecthub.wire import shapes
from projecthub.wire.jobs import Chunk, Stream
from projecthub.wire.methods import Ability

pytestmark = pytest.mark.anyio
JOB_ID = "01234567-89ab-4def-8123-456789abcdef"


async def test_what_a_job_does_not_read_is_not_written_for_ever(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    ada = await house.person("Ada")
    project_id = await house.project(ada)
    await house.calls.wake(ada, await house.row(project_id))

    async def never(*_: Any, **__: Any) -> object:
        return await asyncio.Event().wait()

    monkeypatch.setattr(house.engine, "call", never)
    monkeypatch.setattr(jobs, "WRITE_WITHIN_S", 0.02)
    with pytest.raises(Conflict, match=r"has not read its input for 0\.02 s"):
        await house.jobs.write(project_id, JOB_ID, b"x")
    assert house.calls.under_way(project_id) == 0


async def test_news_of_a_hostile_project_come_slowly_and_end(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    ada = await house.person("Ada")
    project_id = await house.project(ada)
    await house.calls.wake(ada, await house.row(project_id))
    instance = house.lifecycle.instance(project_id)
    assert instance is not None
    place = house.homes.path(project_id) / ".projecthub/jobs" / JOB_ID
    place.mkdir(parents=True)
    state = {"state": "running", "session_id": instance.session_id, "started_at": 1}
    (place / "job.json").write_text(json.dumps(state))
    told = 0

    async def stream(*_: Any) -> AsyncGenerator[object, None]:
        nonlocal told
        for value in ({"size": 1}, {"size": 2}, {"size": "much"}, *[{"size": 3}] * 10_000):
            told += 1
            yield value

    monkeypatch.setattr(house.calls, "stream", stream)
    began = time.monotonic()
    assert (await house.jobs.wait(project_id, JOB_ID))["state"] == "running"
    assert told == 3
    assert time.monotonic() - began >= 0.02
    listed = await house.jobs.all_of(project_id, json.dumps)
    assert [job["state"] for job in json.loads(listed)] == ["running"]
    assert await house.jobs.output_size(project_id, JOB_ID) == 0


async def member_of(house: House, person: Principal, project_id: Any) -> Member:
    services: Any = house
    _, secret = await house.key(person)
    return Member(person, await house.row(project_id), services, Ability.READ, secret)


async def test_who_is_still_a_member(house: House, ann: Principal, bob: Principal) -> None:
    project_id = await house.project(ann, bob)
    removed, signed_off = await member_of(house, bob, project_id), await member_of(house, ann, project_id)
    assert await removed.is_still_one() and await signed_off.is_still_one()
    async with house.store.write() as tx:
        await tx.collaborators.remove(project_id, bob.account_id)
    assert not await removed.is_still_one()
    (key,) = await house.keys.all_of(ann, shapes.ListKeys())
    await house.keys.revoke(ann, key["id"])
    assert not await signed_off.is_still_one()
    assert removed.key not in repr(removed)


@pytest.mark.parametrize("is_revoked", [True, False])
async def test_work_ends_with_the_right_to_it(
    house: House, ann: Principal, bob: Principal, monkeypatch: pytest.MonkeyPatch, is_revoked: bool
) -> None:
    monkeypatch.setattr(callers, "CHECKED_AGAIN_S", 0.01)
    member = await member_of(house, bob, await house.project(ann, bob))
    ended = asyncio.Event()

    async def work() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    waiting = asyncio.create_task(member.while_still_one(work()))
    await asyncio.sleep(0.1)
    assert not waiting.done()
    if is_revoked:
        (key,) = await house.keys.all_of(bob, shapes.ListKeys())
        await house.keys.revoke(bob, key["id"])
    else:
        async with house.store.write() as tx:
            await tx.collaborators.remove(member.project_id, bob.account_id)
    async with asyncio.timeout(10):
        with pytest.raises(PermissionDenied, match="ended meanwhile"):
            await waiting
    assert ended.is_set()
    assert await member.while_still_one(asyncio.sleep(0, "done before anybody looked")) == "done before anybody looked"


async def test_work_ends_within_a_second_of_the_right_to_it(house: House, ann: Principal) -> None:
    member = await member_of(house, ann, await house.project(ann))
    waiting = asyncio.create_task(member.while_still_one(asyncio.Event().wait()))
    (key,) = await house.keys.all_of(ann, shapes.ListKeys())
    await house.keys.revoke(ann, key["id"])
    async with asyncio.timeout(5):
        with pytest.raises(PermissionDenied, match="ended meanwhile"):
            await waiting


async def test_work_that_nobody_waits_for_ends(house: House, ann: Principal) -> None:
    member = await member_of(house, ann, await house.project(ann))
    ended = asyncio.Event()

    async def work() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    waiting = asyncio.create_task(member.while_still_one(work()))
    await asyncio.sleep(0.01)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert ended.is_set()


@pytest.mark.parametrize("is_silent", [True, False])
async def test_a_stream_ends_with_the_right_to_it(monkeypatch: pytest.MonkeyPatch, is_silent: bool) -> None:
    monkeypatch.setattr(job_streams, "KEEP_ALIVE_S" if is_silent else "CHECKED_AGAIN_S", 0.01)
    answers = iter([True, False])
    closed = asyncio.Event()

    async def source() -> AsyncGenerator[list[Piece], None]:
        try:
            while True:
                await (asyncio.Event().wait() if is_silent else asyncio.sleep(0.001))
                yield [(Chunk(0, 0, 1, Stream.STDOUT), memoryview(b"x"))]
        finally:
            closed.set()

    async def is_allowed() -> bool:
        return next(answers)

    async with asyncio.timeout(10):
        batches = [batch async for batch in job_streams.kept_alive(source(), is_allowed)]
    assert closed.is_set()
    assert next(answers, None) is None
    assert all(not batch for batch in batches) is is_silent


async def test_a_stream_tells_nothing_a_second_after_the_right_to_it_ended() -> None:
    """Not only when it would say that it is still there."""

    async def source() -> AsyncGenerator[str, None]:
        for _ in range(30):
            await asyncio.sleep(0.1)
            yield "x"

    async def is_allowed() -> bool:
        return False

    told = [value async for value in job_streams.kept_alive(source(), is_allowed)]
    assert 0 < len(told) <= 10


async def test_calls_into_a_project_that_does_not_answer_are_bounded(
    house: House, ann: Principal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(calls, "MAX_UNDER_WAY", 2)
    project_id, other = await house.project(ann), await house.project(ann)
    for each in (project_id, other):
        await house.calls.wake(ann, await house.row(each))
    answer = asyncio.Event()

    async def wait(*_: Any, **__: Any) -> object:
        return await answer.wait()

    monkeypatch.setattr(house.engine, "call", wait)
    waiting = [asyncio.create_task(house.calls.call(project_id, "system.exec", [])) for _ in range(2)]
    await asyncio.sleep(0)
    with pytest.raises(LimitError, match="2 calls into project"):
        await house.calls.call(project_id, "system.exec", [])
    with pytest.raises(LimitError, match="2 calls into project"):
        await anext(house.calls.stream(project_id, "jobs.follow", []))
    answer.set()
    assert await asyncio.gather(*waiting, house.calls.call(other, "system.exec", [])) == [True] * 3
    assert await house.calls.call(project_id, "system.exec", [])
