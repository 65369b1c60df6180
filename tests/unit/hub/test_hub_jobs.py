"""Jobs of projects whose servers, and whose homes, say what they like."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncGenerator
from typing import Any

import pytest
from house import House

from projecthub.errors import Conflict
from projecthub.hub import jobs

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
