"""Starts, stops and ends of projects, with everything that can come between."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from house import House

from projecthub.engines.port import Exit
from projecthub.errors import Conflict, HubError, NotFound, StartFailed
from projecthub.hub.principals import Principal
from projecthub.store.records import State
from projecthub.wire.ids import ProjectId


async def settled(condition: Callable[[], Awaitable[bool]]) -> None:
    """Wait for what other tasks of this loop are about to do."""
    async with asyncio.timeout(10):
        while not await condition():
            await asyncio.sleep(0)


async def in_state(house: House, project_id: ProjectId, state: State) -> None:
    async def reached() -> bool:
        return (await house.row(project_id)).state is state

    await settled(reached)


async def test_a_start_and_a_stop_are_written_before_they_are_told(house: House, ann: Principal) -> None:
    project_id = await house.project(ann)
    assert await house.projects.start(ann, project_id) == {
        "state": "running",
        "time": "2026-03-01T12:00:00.123Z",
        "ip": "127.0.0.1",
    }
    row = await house.row(project_id)
    assert (row.state, row.desired, row.epoch) == (State.RUNNING, "running", 1)
    assert row.instance is not None
    assert row.instance["session_id"] == house.engine.live[project_id].session_id
    house.clock.advance(seconds=1)
    assert await house.projects.stop(ann, project_id) == {"state": "stopped", "time": "2026-03-01T12:00:01.123Z"}
    row = await house.row(project_id)
    assert (row.state, row.desired, row.instance) == (State.STOPPED, "stopped", None)
    assert not house.engine.live


async def test_starts_at_the_same_time_are_one(house: House, ann: Principal) -> None:
    project_id = await house.project(ann)
    house.engine.gate.clear()
    starts = [asyncio.create_task(house.projects.start(ann, project_id)) for _ in range(10)]
    await house.engine.starting.wait()
    house.engine.gate.set()
    assert len({(await start)["time"] for start in starts}) == 1
    assert len(house.engine.specs) == 1


async def test_a_stop_cancels_the_start_under_way(house: House, ann: Principal) -> None:
    project_id = await house.project(ann)
    house.engine.gate.clear()
    start = asyncio.create_task(house.projects.start(ann, project_id))
    await house.engine.starting.wait()
    assert (await house.projects.stop(ann, project_id))["state"] == "stopped"
    with pytest.raises(Conflict, match="cancelled by a stop"):
        await start
    assert (await house.row(project_id)).desired == "stopped"
    house.engine.gate.set()
    assert (await house.projects.start(ann, project_id))["state"] == "running"
    assert (await house.row(project_id)).epoch == 2


@pytest.mark.parametrize("ticks", range(0, 60, 6))
async def test_a_stop_at_any_moment_of_a_start_leaves_one_of_two_ends(house: House, ann: Principal, ticks: int) -> None:
    project_id = await house.project(ann)
    start = asyncio.create_task(house.lifecycle.start(await house.row(project_id)))
    for _ in range(ticks):
        await asyncio.sleep(0)
    stopped = await house.lifecycle.stop(project_id)
    await asyncio.gather(start, return_exceptions=True)
    assert stopped.state is State.STOPPED
    # The start may have come after the stop only if it had not begun by then.
    row = await house.row(project_id)
    assert (project_id in house.engine.live) == (row.state is State.RUNNING)
    if ticks:
        assert row.state is State.STOPPED


async def test_a_failed_start_is_told_and_can_be_tried_again(house: House, ann: Principal) -> None:
    project_id = await house.project(ann)
    house.engine.failure = StartFailed("no memory; ask for more")
    with pytest.raises(StartFailed):
        await house.projects.start(ann, project_id)
    state = await house.projects.state(ann, project_id)
    assert (state["state"], state["error"]) == ("error", "no memory; ask for more")
    assert (await house.row(project_id)).desired == "stopped"
    assert "error" not in await house.projects.start(ann, project_id)


async def test_a_mistake_in_a_start_does_not_leave_it_starting(house: House, ann: Principal) -> None:
    project_id = await house.project(ann)
    house.engine.failure = RuntimeError("/secret/path")
    with pytest.raises(RuntimeError):
        await house.projects.start(ann, project_id)
    state = await house.projects.state(ann, project_id)
    assert state["state"] == "error"
    assert "secret" not in state["error"]


async def test_what_the_store_cannot_note_does_not_run(house: House, ann: Principal) -> None:
    project_id = await house.project(ann)
    house.sql(
        "CREATE TRIGGER full BEFORE UPDATE ON projects WHEN NEW.state = 'running' "
        "BEGIN SELECT RAISE(ABORT, 'the disk is full'); END"
    )
    with pytest.raises(HubError):
        await house.projects.start(ann, project_id)
    assert not house.engine.live
    house.sql("DROP TRIGGER full")
    assert (await house.projects.start(ann, project_id))["state"] == "running"


async def test_the_end_of_a_server_is_noted(house: House, ann: Principal) -> None:
    project_id = await house.project(ann)
    await house.projects.start(ann, project_id)
    house.engine.end(house.engine.live[project_id], Exit(signal=9))
    await in_state(house, project_id, State.ERROR)
    assert "SIGKILL" in (await house.projects.state(ann, project_id))["error"]
    assert (await house.projects.start(ann, project_id))["state"] == "running"
    house.engine.end(house.engine.live[project_id], Exit(code=3))
    await in_state(house, project_id, State.ERROR)
    assert (await house.projects.stop(ann, project_id))["state"] == "stopped"


async def test_an_end_that_cannot_be_noted_is_put_right_by_the_next_start(house: House, ann: Principal) -> None:
    project_id = await house.project(ann)
    await house.projects.start(ann, project_id)
    house.sql(
        "CREATE TRIGGER full BEFORE UPDATE ON projects WHEN NEW.state = 'error' "
        "BEGIN SELECT RAISE(ABORT, 'the disk is full'); END"
    )
    house.engine.end(house.engine.live[project_id], Exit(signal=9))

    async def seen() -> bool:
        return not any(task.get_name().startswith("watch-") for task in asyncio.all_tasks())

    await settled(seen)
    assert (await house.projects.start(ann, project_id))["state"] == "running"
    assert len(house.engine.specs) == 2


async def test_a_deleted_project_does_not_start(house: House, ann: Principal) -> None:
    project_id = await house.project(ann)
    before = await house.row(project_id)
    house.engine.gate.clear()
    start = asyncio.create_task(house.lifecycle.start(before))
    await house.engine.starting.wait()
    deleting = asyncio.create_task(house.projects.delete(ann, project_id))
    await asyncio.sleep(0)
    late = asyncio.create_task(house.lifecycle.start(before))
    assert (await deleting)["deleted"] is True
    for refused in (start, late):
        with pytest.raises(Conflict):
            await refused
    row = await house.row(project_id)
    assert (row.deleted, row.state, house.engine.live) == (True, State.STOPPED, {})


async def test_nothing_is_kept_of_a_project_that_does_not_run(house: House, ann: Principal) -> None:
    project_id = await house.project(ann)
    await house.projects.start(ann, project_id)
    await house.projects.stop(ann, project_id)
    assert house.lifecycle.instance(project_id) is None
    assert not house.lifecycle._actors
    assert not house.lifecycle._watches


async def test_an_unknown_project(house: House) -> None:
    with pytest.raises(NotFound):
        await house.lifecycle.stop(ProjectId("00000000-0000-4000-8000-000000000000"))


# -- a hub that comes back -------------------------------------------------------------------------


async def test_a_hub_that_comes_back_finds_its_projects(house: House, ann: Principal) -> None:
    project_id = await house.project(ann)
    await house.projects.start(ann, project_id)
    await house.lifecycle.close(stop_projects=False)
    assert project_id in house.engine.live
    house.join()
    await house.lifecycle.open()
    assert house.lifecycle.instance(project_id) == house.engine.live[project_id]
    assert (await house.projects.start(ann, project_id))["state"] == "running"
    assert len(house.engine.specs) == 1
    await house.projects.stop(ann, project_id)
    assert not house.engine.live


async def test_a_hub_that_comes_back_tells_of_what_is_gone(house: House, ann: Principal) -> None:
    project_id = await house.project(ann)
    await house.projects.start(ann, project_id)
    await house.lifecycle.close(stop_projects=False)
    house.engine.end(house.engine.live[project_id], Exit())
    house.join()
    await house.lifecycle.open()
    assert (
        "the project server ended while no hub was running, and how is not known; start it again"
        in (await house.projects.state(ann, project_id))["error"]
    )


async def test_what_runs_and_does_not_answer_is_ended_by_the_hub_that_comes_back(house: House, ann: Principal) -> None:
    project_id = await house.project(ann)
    await house.projects.start(ann, project_id)
    await house.lifecycle.close(stop_projects=False)
    house.engine.silent.add(project_id)
    house.join()
    await house.lifecycle.open()
    state = await house.projects.state(ann, project_id)
    assert (state["state"], state["error"]) == ("error", "the project server did not answer; start it again")
    assert not house.engine.live


@pytest.mark.parametrize("change", [{"deleted": True}, {"desired": "stopped"}, {"epoch": 7}])
async def test_what_should_not_run_is_ended_by_the_hub_that_comes_back(
    house: House, ann: Principal, change: dict[str, object]
) -> None:
    project_id = await house.project(ann)
    await house.projects.start(ann, project_id)
    await house.lifecycle.close(stop_projects=False)
    async with house.store.write() as tx:
        await tx.projects.update(project_id, change)
    house.join()
    house.engine.gate.clear()  # one of them is to run, though not as it does
    await house.lifecycle.open()
    assert not house.engine.live
    assert (await house.row(project_id)).state is not State.RUNNING


async def test_a_stop_of_what_is_to_start_and_has_not_begun_to_counts(house: House, ann: Principal) -> None:
    project_id = await house.project(ann, desired="running")
    assert (await house.row(project_id)).state is State.STOPPED
    await house.projects.stop(ann, project_id)
    assert (await house.row(project_id)).desired == "stopped"
    await house.lifecycle.settle_all()
    await asyncio.gather(*house.lifecycle._promised)
    assert not house.engine.live


async def test_an_engine_is_closed_when_the_rest_of_opening_fails(house: House, ann: Principal) -> None:
    project_id = await house.project(ann)
    await house.projects.start(ann, project_id)
    await house.lifecycle.close(stop_projects=False)
    house.sql("ALTER TABLE projects RENAME TO elsewhere")
    house.join()
    with pytest.raises(HubError):
        await house.lifecycle.open()
    assert not house.engine.is_open
    house.sql("ALTER TABLE elsewhere RENAME TO projects")


# -- closing ---------------------------------------------------------------------------------------


async def test_closing_with_stops_leaves_nothing_running(house: House, ann: Principal) -> None:
    ids = [await house.project(ann) for _ in range(3)]
    await house.projects.start(ann, ids[0])
    async with house.store.write() as tx:
        await tx.projects.update(ids[1], {"state": State.STARTING, "desired": "running"})
    house.lifecycle.start_soon(ids[1])
    await house.lifecycle.close(stop_projects=True)
    assert not house.engine.live


async def test_closing_waits_for_the_end_that_is_being_noted(house: House, ann: Principal) -> None:
    project_id = await house.project(ann)
    await house.projects.start(ann, project_id)
    house.engine.stop_gate.clear()
    house.engine.end(house.engine.live[project_id], Exit(signal=9))

    async def noticed() -> bool:
        return house.lifecycle.instance(project_id) is None

    await settled(noticed)
    await house.lifecycle.close(stop_projects=False)
    assert not [task for task in asyncio.all_tasks() if task.get_name().startswith(("watch-", "project-"))]
