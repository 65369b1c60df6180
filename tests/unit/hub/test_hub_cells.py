"""Who ran which code: what the project's log tells of executions in sessions, and of code in kernels of its own."""

from __future__ import annotations

import uuid
from typing import Any

import pytest
from house import House

from projecthub.errors import LimitError, ServerLost
from projecthub.hub import cell_log
from projecthub.hub.jupyter import Jupyter
from projecthub.hub.jupyter_sessions import JupyterSessions
from projecthub.hub.principals import Principal
from projecthub.wire.ids import ProjectId

pytestmark = pytest.mark.anyio


class Kernels:
    """What a project server tells of executions."""

    def __init__(self, house: House) -> None:
        self.ends: Any = {}
        self.asked = 0
        house.engine.call = self.call  # type: ignore[method-assign]

    async def call(self, instance: Any, name: str, arguments: Any, **_: Any) -> Any:
        if name == "jupyter.sessions.execute":
            return {"id": arguments[0]["id"], "state": "waiting"}
        assert name == "jupyter.sessions.ends"
        self.asked += 1
        if isinstance(self.ends, Exception):
            raise self.ends
        return self.ends


@pytest.fixture
def kernels(house: House) -> Kernels:
    return Kernels(house)


async def execute(house: House, ann: Principal, project_id: ProjectId, code: str = "1+1") -> str:
    id = str(uuid.uuid4())
    told = {"id": id, "state": "waiting"}
    house.cells.began(project_id, ann.account_id, "a", id, code, told)
    house.cells.began(project_id, ann.account_id, "a", id, code, told)  # sent twice, it is one
    return id


async def running(house: House, ann: Principal) -> ProjectId:
    project_id = await house.project(ann)
    await house.projects.start(ann, project_id)
    return project_id


async def events(house: House, project_id: ProjectId) -> list[dict[str, Any]]:
    return [event for _, event in await house.log(project_id) if event["event"].startswith("cell")]


async def look(house: House) -> None:
    await house.cells.look()
    await house.commands.flush()


@pytest.mark.parametrize("forged", ["\0", "\ud800", "x" * 10_000, "a/b", None, 5])
async def test_a_project_that_tells_another_id_is_not_believed(
    house: House, ann: Principal, kernels: Kernels, monkeypatch: pytest.MonkeyPatch, forged: object
) -> None:
    project_id = await running(house, ann)

    async def tell(*_: object) -> object:
        return {"id": forged, "state": "waiting"}

    id = str(uuid.uuid4())
    with monkeypatch.context() as instead:
        instead.setattr(house.calls, "call", tell)
        await JupyterSessions(house.calls, house.cells).execute(ann, project_id, "a", id=id, code="1")
    await look(house)
    await look(house)
    assert [event["execution_id"] for event in await events(house, project_id)] == [id]


async def test_code_that_no_store_takes_is_noted_as_text(house: House, ann: Principal, kernels: Kernels) -> None:
    project_id = await running(house, ann)
    await execute(house, ann, project_id, "1\0")
    await look(house)
    await look(house)
    assert [event["code"] for event in await events(house, project_id)] == ["1\\0"]


async def test_short_executions_are_counted_together(house: House, ann: Principal, kernels: Kernels) -> None:
    project_id = await running(house, ann)
    ids = [await execute(house, ann, project_id) for _ in range(3)]
    kernels.ends = {id: {"state": "ok", "bytes": 5, "seconds": 0.5} for id in ids}
    await look(house)
    await look(house)
    assert kernels.asked == 1
    ran = {"code": "1+1", "session": "a", "outcome": "ok", "times": 3, "bytes": 15, "seconds": 1.5}
    assert await events(house, project_id) == [{"event": "cells_run", "cells": [ran]}]
    assert [who for who, event in await house.log(project_id) if event["event"] == "cells_run"] == [ann.account_id]


async def test_a_long_execution_is_told_at_its_begin_and_at_its_end_by_another_hub(
    house: House, ann: Principal, kernels: Kernels
) -> None:
    project_id = await running(house, ann)
    id = await execute(house, ann, project_id, "sleep")
    for _ in range(4):
        await look(house)
    begun = {"event": "cell_started", "execution_id": id, "session": "a", "code": "sleep"}
    assert await events(house, project_id) == [begun]
    assert await house.commands.jobs_without_end() == []
    house.join()
    await house.lifecycle.open()
    kernels.ends = {id: {"state": "error", "bytes": 7, "seconds": 60.0}}
    await look(house)
    await look(house)
    ended = {"event": "cell_ended", "execution_id": id, "session": "a", "state": "error", "bytes": 7, "seconds": 60.0}
    assert await events(house, project_id) == [begun, ended]


async def test_a_hub_that_closes_has_its_ends_told_by_the_next(house: House, ann: Principal, kernels: Kernels) -> None:
    project_id = await running(house, ann)
    id = await execute(house, ann, project_id)
    await house.housekeeping.close()
    assert [event["event"] for event in await events(house, project_id)] == ["cell_started"]
    house.join()
    await house.lifecycle.open()
    kernels.ends = {id: {}}
    await look(house)
    assert (await events(house, project_id))[-1]["state"] == "lost"


async def test_a_project_that_was_stopped_has_lost_them_at_the_second_look(
    house: House, ann: Principal, kernels: Kernels
) -> None:
    project_id = await running(house, ann)
    await execute(house, ann, project_id)
    await house.projects.stop(ann, project_id)
    await look(house)
    assert await events(house, project_id) == []
    await look(house)
    ((event),) = await events(house, project_id)
    assert [cell["outcome"] for cell in event["cells"]] == ["lost"]


@pytest.mark.parametrize(
    "end",
    [
        {"state": ["ok"], "bytes": 10**40, "seconds": "x"},
        {"state": "made up", "bytes": -1, "seconds": True},
        {"state": None, "bytes": {}, "seconds": -0.5},
    ],
)
async def test_lies_about_an_end_are_bounded(house: House, ann: Principal, kernels: Kernels, end: Any) -> None:
    project_id = await running(house, ann)
    id = await execute(house, ann, project_id, "x" * 100_000)
    kernels.ends = {id: end, "other": end}
    await look(house)
    ((event),) = await events(house, project_id)
    ((cell),) = event["cells"]
    assert (cell["outcome"], cell["bytes"], cell["seconds"]) == ("lost", 0, 0)
    assert len(cell["code"]) < 400


@pytest.mark.parametrize("ends", [[], None, "x", ServerLost("no"), {"x": 1}], ids=repr)
async def test_a_project_that_does_not_tell_is_asked_again(
    house: House, ann: Principal, kernels: Kernels, ends: Any
) -> None:
    project_id = await running(house, ann)
    id = await execute(house, ann, project_id)
    kernels.ends = ends
    await look(house)
    assert await events(house, project_id) == []
    kernels.ends = {id: {"state": "ok", "bytes": 1, "seconds": 1}}
    await look(house)
    assert len(await events(house, project_id)) == 1


async def test_a_store_that_cannot_be_written_loses_nothing(
    house: House, ann: Principal, kernels: Kernels, monkeypatch: pytest.MonkeyPatch
) -> None:
    project_id = await running(house, ann)
    await execute(house, ann, project_id)
    await house.cells.look()

    def full() -> Any:
        raise LimitError("the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(house.store, "write", full)
        await house.cells.look()
    await house.cells.look()
    assert [event["event"] for event in await events(house, project_id)] == ["cell_started"]


async def test_what_is_awaited_is_bounded(
    house: House, ann: Principal, kernels: Kernels, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cell_log, "MAX_OPEN", 2)
    project_id = await running(house, ann)
    for _ in range(3):
        await execute(house, ann, project_id)
    await look(house)
    ((event),) = await events(house, project_id)
    assert [(cell["outcome"], cell["times"]) for cell in event["cells"]] == [(None, 2)]  # it was sent twice


async def test_outputs_pass_unread_and_those_of_older_project_servers_too(
    house: House, ann: Principal, monkeypatch: pytest.MonkeyPatch
) -> None:
    project_id = await running(house, ann)
    jupyter = Jupyter(house.store, house.clock, house.calls, house.commands)
    replies: dict[str, Any] = {
        '[{"data": {"a": [1,[],2]}}]': {"outputs": '[{"data": {"a": [1,[],2]}}]', "outcome": "ok"},
        '[{"name": "stdout", "text": "x"}]': [{"name": "stdout", "text": "x"}],
        "[1, 2": None,
    }
    for outputs, reply in replies.items():

        async def call(*_: Any, told: Any = reply, **__: Any) -> Any:
            if told is None:
                raise ServerLost("no")
            return told

        monkeypatch.setattr(house.engine, "call", call)
        if reply is None:
            with pytest.raises(ServerLost):
                await jupyter.run(ann, project_id, [{"input": "c"}])
        else:
            assert await jupyter.run(ann, project_id, [{"input": "c"}]) == outputs
    await house.commands.flush()
    ((event),) = await events(house, project_id)
    assert [(cell["outcome"], cell["times"]) for cell in event["cells"]] == [("ok", 2), ("server_lost", 1)]


@pytest.mark.parametrize(
    "reply",
    [
        *({"outputs": "{}", "outcome": "ok"}, {"outputs": "[1", "outcome": "ok"}, {"outputs": "[\n]", "outcome": "ok"}),
        *({"outputs": [], "outcome": "ok"}, {"outputs": "[]"}, {"outputs": "[]", "outcome": 5}, ["x"], "[]", None),
    ],
    ids=range(9),
)
async def test_what_is_no_list_of_outputs_is_refused(
    house: House, ann: Principal, monkeypatch: pytest.MonkeyPatch, reply: Any
) -> None:
    project_id = await running(house, ann)
    jupyter = Jupyter(house.store, house.clock, house.calls, house.commands)

    async def call(*_: Any, **__: Any) -> Any:
        return reply

    monkeypatch.setattr(house.engine, "call", call)
    with pytest.raises(ServerLost):
        await jupyter.run(ann, project_id, [{"input": "c"}])
