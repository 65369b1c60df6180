"""Projects that are restarted, that die, and whose state could not be written."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from house import House

from projecthub.engines.port import Exit
from projecthub.errors import Conflict, EndFailed, HubError, InternalError, PermissionDenied, StartFailed
from projecthub.hub.deaths import LIVED, MOST_CRASHES, delay
from projecthub.hub.principals import Principal
from projecthub.store.records import State
from projecthub.wire.ids import ProjectId
from projecthub.wire.shapes import SetQuotas

pytestmark = pytest.mark.anyio


async def until_at_rest(house: House, project_id: ProjectId) -> None:
    """Wait until nothing is under way for a project."""
    async with asyncio.timeout(10):
        while (actor := house.lifecycle._actors.get(project_id)) is not None and (
            actor.wishes or actor.instance is None
        ):
            await asyncio.sleep(0)


async def die(house: House, project_id: ProjectId, exit: Exit) -> None:
    """Let a project's server end, and wait until that is noted."""
    instance = house.engine.live[project_id]
    house.engine.end(instance, exit)
    async with asyncio.timeout(10):
        while (await house.row(project_id)).state is State.RUNNING:
            await asyncio.sleep(0)
    await asyncio.gather(*house.lifecycle._watches, return_exceptions=True)


async def events(house: House, project_id: ProjectId) -> list[dict[str, Any]]:
    async with house.store.read() as tx:
        return [entry["event"] for entry in reversed(await tx.log.of_project(project_id, limit=100))]


async def always_running(house: House, ann: Principal) -> ProjectId:
    return await house.project(ann, settings={"always_running": 1})


# -- restarts --------------------------------------------------------------------------------------


async def test_a_restart_is_told_as_one_and_gives_another_server(house: House, ann: Principal) -> None:
    project_id = await house.project(ann)
    await house.projects.start(ann, project_id)
    before = house.engine.live[project_id]
    house.engine.gate.clear()
    restart = asyncio.create_task(house.projects.restart(ann, project_id))
    async with asyncio.timeout(10):
        while len(house.engine.specs) == 1:
            await asyncio.sleep(0)
    assert (await house.projects.state(ann, project_id))["state"] == "restarting"
    assert house.lifecycle.instance(project_id) is None
    joined = asyncio.create_task(house.projects.start(ann, project_id))
    await asyncio.sleep(0)
    house.engine.gate.set()
    assert (await restart)["state"] == "running"
    assert (await joined)["state"] == "running"
    after = house.engine.live[project_id]
    assert (after.epoch, after.session_id != before.session_id) == (before.epoch + 1, True)
    assert len(house.engine.specs) == 2
    assert [event["event"] for event in await events(house, project_id)][-2:] == [
        "project_started",
        "project_restarted",
    ]


async def test_a_restart_starts_what_does_not_run(house: House, ann: Principal) -> None:
    project_id = await house.project(ann)
    assert (await house.projects.restart(ann, project_id))["state"] == "running"


async def test_a_stop_cancels_a_restart(house: House, ann: Principal) -> None:
    project_id = await house.project(ann)
    await house.projects.start(ann, project_id)
    house.engine.stop_gate.clear()
    restart = asyncio.create_task(house.projects.restart(ann, project_id))
    async with asyncio.timeout(10):
        while (await house.row(project_id)).state is not State.RESTARTING:
            await asyncio.sleep(0)
    stop = asyncio.create_task(house.projects.stop(ann, project_id))
    async with asyncio.timeout(10):
        while house.lifecycle.waiting < 2:
            await asyncio.sleep(0)
    house.engine.stop_gate.set()
    with pytest.raises(Conflict, match="cancelled by a stop"):
        await restart
    assert (await stop)["state"] == "stopped"
    assert not house.engine.live


async def test_restarts_that_wait_are_one_and_a_start_before_them_is_another(house: House, ann: Principal) -> None:
    project_id = await house.project(ann)
    house.engine.gate.clear()
    start = asyncio.create_task(house.projects.start(ann, project_id))
    await house.engine.starting.wait()
    restarts = [asyncio.create_task(house.projects.restart(ann, project_id)) for _ in range(3)]
    wishes = house.lifecycle._actors[project_id].wishes
    async with asyncio.timeout(10):
        while len(wishes) < 2 or len(wishes[1].waiters) < len(restarts):
            await asyncio.sleep(0)
    house.engine.gate.set()
    await asyncio.gather(start, *restarts)
    assert len(house.engine.specs) == 2


async def test_a_hub_killed_in_a_restart_ends_the_older_server_and_starts_another(house: House, ann: Principal) -> None:
    project_id = await house.project(ann)
    await house.projects.start(ann, project_id)
    await house.lifecycle.close(stop_projects=False)
    row = await house.row(project_id)
    async with house.store.write() as tx:
        await tx.projects.update(project_id, {"state": State.RESTARTING, "epoch": row.epoch + 1})
    house.join()
    await house.lifecycle.open()
    await asyncio.gather(*house.lifecycle._promised)
    assert house.engine.live[project_id].epoch == row.epoch + 2
    assert (await house.row(project_id)).state is State.RUNNING


async def test_a_restart_that_a_quota_asks_for_outlives_the_hub(house: House, ann: Principal) -> None:
    admin = await house.person("Root", admin=True)
    project_id = await house.project(ann)
    await house.projects.start(ann, project_id)
    await house.project_quotas.set(admin, SetQuotas(project_id=project_id, memory=2000))
    for promise in house.lifecycle._promised:  # before the restart has had its turn
        promise.cancel()
    await house.lifecycle.close(stop_projects=False)
    assert (await house.row(project_id)).state is State.RESTARTING
    assert house.engine.live[project_id].epoch == 1
    house.join()
    await house.lifecycle.open()
    await asyncio.gather(*house.lifecycle._promised)
    assert house.engine.live[project_id].epoch == 2
    row = await house.row(project_id)
    assert (row.state, (row.run_quota or {})["memory_limit"]) == (State.RUNNING, 2000)
    assert (await events(house, project_id))[-1] == {"event": "project_restarted", "reason": "its quota was changed"}


async def test_a_promised_start_is_void_after_a_stop_that_came_before_its_turn(house: House, ann: Principal) -> None:
    project_id = await house.project(ann)
    await house.projects.start(ann, project_id)
    async with asyncio.timeout(10):
        async with house.store.write():  # the stop cannot be written yet, so the store says that it is to run
            stop = asyncio.create_task(house.projects.stop(ann, project_id))
            while house.lifecycle.waiting < 1:
                await asyncio.sleep(0)
            house.lifecycle.start_soon(project_id)
            while house.lifecycle.waiting < 2:
                await asyncio.sleep(0)
        assert (await stop)["state"] == "stopped"
    await asyncio.gather(*house.lifecycle._promised)
    assert (await house.row(project_id)).state is State.STOPPED
    assert not house.engine.live


async def test_a_start_does_not_share_the_fate_of_a_promise_that_is_void(house: House, ann: Principal) -> None:
    project_id = await house.project(ann)
    house.lifecycle.start_soon(project_id)  # nobody wishes it
    start = asyncio.create_task(house.projects.start(ann, project_id))
    await asyncio.gather(*house.lifecycle._promised)
    assert (await start)["state"] == "running"


async def test_a_stop_that_cancels_a_start_is_logged(house: House, ann: Principal) -> None:
    project_id = await house.project(ann)
    await house.projects.start(ann, project_id)
    house.engine.gate.clear()
    restart = asyncio.create_task(house.projects.restart(ann, project_id))
    async with asyncio.timeout(10):
        while len(house.engine.specs) < 2:
            await asyncio.sleep(0)
    assert (await house.projects.stop(ann, project_id))["state"] == "stopped"
    with pytest.raises(Conflict, match="cancelled by a stop"):
        await restart
    assert [event["event"] for event in await events(house, project_id)][-2:] == ["project_started", "project_stopped"]


@pytest.mark.parametrize(
    ("state", "event"), [(State.STARTING, "project_started"), (State.RESTARTING, "project_restarted")]
)
async def test_a_start_that_a_hub_was_killed_over_is_logged_by_the_next(
    house: House, ann: Principal, state: State, event: str
) -> None:
    project_id = await house.project(ann)
    await house.projects.start(ann, project_id)
    await house.lifecycle.close(stop_projects=False)
    before = len(await events(house, project_id))
    async with house.store.write() as tx:
        await tx.projects.update(project_id, {"state": state, "instance": None})
    house.join()
    await house.lifecycle.open()
    assert (await house.row(project_id)).state is State.RUNNING
    assert [each["event"] for each in await events(house, project_id)][before:] == [event]


async def test_a_restart_soon_leaves_alone_what_does_not_run(house: House, ann: Principal) -> None:
    project_id = await house.project(ann)
    house.lifecycle.restart_soon(project_id)
    assert not house.lifecycle._promised
    await house.projects.start(ann, project_id)
    house.lifecycle.restart_soon(project_id, by=ann.account_id, reason="its quota was changed")
    await asyncio.gather(*house.lifecycle._promised)
    assert house.engine.live[project_id].epoch == 2
    assert (await events(house, project_id))[-1] == {"event": "project_restarted", "reason": "its quota was changed"}


async def test_only_who_is_on_a_project_restarts_it(house: House, ann: Principal, bob: Principal) -> None:
    project_id = await house.project(ann)
    with pytest.raises(PermissionDenied, match="must be collaborator on project to start it"):
        await house.projects.restart(bob, project_id)


# -- deaths ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "exit, said",
    [
        (Exit(signal=9), "the project server was ended by signal SIGKILL; start it again"),
        (Exit(signal=250), "the project server was ended by signal 250; start it again"),
        (Exit(code=3), "the project server ended by itself with exit code 3; start it again"),
        (Exit(), "the project server ended, and nobody saw how; start it again"),
        (
            Exit(signal=9, out_of_memory=True),
            "the project used more memory than it may, and its server was ended; start it again",
        ),
        (
            Exit(code=1, log="one\n\n two \nMemoryError: x\n"),
            "the project server ended by itself with exit code 1; start it again. "
            "Its last lines: one | two | MemoryError: x",
        ),
    ],
)
async def test_a_death_says_how(house: House, ann: Principal, exit: Exit, said: str) -> None:
    project_id = await house.project(ann)
    await house.projects.start(ann, project_id)
    await die(house, project_id, exit)
    state = await house.projects.state(ann, project_id)
    assert (state["state"], state["error"]) == ("error", said)
    assert (await house.row(project_id)).desired == "stopped"
    assert (await events(house, project_id))[-1]["event"] == "project_died"
    await house.lifecycle.tick()
    assert not house.engine.live
    assert (await house.projects.start(ann, project_id))["state"] == "running"


async def test_a_project_that_runs_always_comes_back_each_time_later(house: House, ann: Principal) -> None:
    project_id = await always_running(house, ann)
    await house.projects.start(ann, project_id)
    for crash in range(1, MOST_CRASHES):
        await die(house, project_id, Exit(code=1))
        row = await house.row(project_id)
        assert (row.state, row.desired, row.crashes) == (State.ERROR, "running", crash)
        assert row.retry_at == house.clock.now() + delay(crash)
        assert "it is started again at 20" in str(row.state_error)
        house.clock.advance(seconds=delay(crash).total_seconds() - 0.01)
        await house.lifecycle.tick()
        assert not house.engine.live
        house.clock.advance(seconds=0.01)
        await house.lifecycle.tick()
        await asyncio.gather(*house.lifecycle._promised)
        assert house.engine.live[project_id].epoch == crash + 1
    await die(house, project_id, Exit(code=1))
    row = await house.row(project_id)
    assert (row.state, row.desired, row.retry_at) == (State.ERROR, "stopped", None)
    assert "5th time in a row" in str(row.state_error)
    house.clock.advance(hours=1)
    await house.lifecycle.tick()
    await house.lifecycle.settle_all()
    assert not house.engine.live
    await house.projects.start(ann, project_id)
    assert (await house.row(project_id)).crashes == 0


async def test_a_long_life_is_no_failure(house: House, ann: Principal) -> None:
    project_id = await always_running(house, ann)
    await house.projects.start(ann, project_id)
    async with house.store.write() as tx:
        await tx.projects.update(project_id, {"crashes": MOST_CRASHES - 1})
    house.clock.advance(seconds=LIVED.total_seconds())
    await die(house, project_id, Exit(code=1))
    row = await house.row(project_id)
    assert (row.crashes, row.desired) == (1, "running")


async def test_a_stop_ends_the_attempts(house: House, ann: Principal) -> None:
    project_id = await always_running(house, ann)
    await house.projects.start(ann, project_id)
    await die(house, project_id, Exit(code=1))
    await house.projects.stop(ann, project_id)
    house.clock.advance(minutes=1)
    await house.lifecycle.tick()
    await asyncio.gather(*house.lifecycle._promised)
    row = await house.row(project_id)
    assert (row.state, row.retry_at, row.crashes, house.engine.live) == (State.STOPPED, None, 0, {})


async def test_an_attempt_outlives_the_hub_and_a_clock_that_is_set_back(house: House, ann: Principal) -> None:
    project_id = await always_running(house, ann)
    await house.projects.start(ann, project_id)
    await die(house, project_id, Exit(code=1))
    await house.lifecycle.close(stop_projects=False)
    house.join()
    await house.lifecycle.open()
    assert not house.engine.live
    house.clock.advance(days=-3)
    await house.lifecycle.tick()
    await asyncio.gather(*house.lifecycle._promised)
    assert project_id in house.engine.live


async def test_a_start_that_fails_counts_too(house: House, ann: Principal) -> None:
    project_id = await always_running(house, ann)
    house.engine.failure = StartFailed("no memory; ask for more")
    with pytest.raises(StartFailed):
        await house.projects.start(ann, project_id)
    assert (await events(house, project_id))[-1] == {
        "event": "project_start_failed",
        "error": "no memory; ask for more",
    }
    house.clock.advance(seconds=1)
    await house.lifecycle.tick()
    await asyncio.gather(*house.lifecycle._promised)
    assert project_id in house.engine.live


async def test_the_hub_does_by_itself_what_is_due(house: House, ann: Principal) -> None:
    await house.lifecycle.open()
    project_id = await always_running(house, ann)
    await house.projects.start(ann, project_id)
    await die(house, project_id, Exit(code=1))
    house.clock.advance(seconds=1)
    async with asyncio.timeout(10):
        while project_id not in house.engine.live:
            await asyncio.sleep(0.01)
    await house.lifecycle.close(stop_projects=False)


# -- the machine, and the hub as a whole -----------------------------------------------------------


async def test_what_ran_before_a_boot_runs_again(house: House, ann: Principal) -> None:
    project_id = await house.project(ann)
    await house.projects.start(ann, project_id)
    await house.lifecycle.close(stop_projects=False)
    house.engine.end(house.engine.live[project_id], Exit(rebooted=True))
    house.join()
    house.engine.gate.clear()
    await house.lifecycle.open()
    assert (await house.row(project_id)).state is State.STARTING
    house.engine.gate.set()
    await asyncio.gather(*house.lifecycle._promised)
    assert (await house.row(project_id)).state is State.RUNNING
    assert house.engine.live[project_id].epoch == 2


async def test_a_hub_that_stops_all_brings_back_what_is_to_run_always(house: House, ann: Principal) -> None:
    always, other = await always_running(house, ann), await house.project(ann)
    for project_id in (always, other):
        await house.projects.start(ann, project_id)
    await house.lifecycle.close(stop_projects=True)
    assert not house.engine.live
    assert (await events(house, always))[-1] == {"event": "project_stopped", "reason": "the hub was stopped"}
    house.join()
    await house.lifecycle.open()
    await asyncio.gather(*house.lifecycle._promised)
    assert set(house.engine.live) == {always}


async def test_all_projects_are_stopped_for_a_site_admin_only(house: House, ann: Principal) -> None:
    root = await house.person("Root", admin=True)
    ids = [await house.project(ann) for _ in range(3)]
    for project_id in ids:
        await house.projects.start(ann, project_id)
    with pytest.raises(PermissionDenied, match="only admins may stop all projects"):
        await house.projects.stop_all(ann)
    assert len(house.engine.live) == 3
    assert await house.projects.stop_all(root) == {"stopped": 3, "failed": {}}
    assert not house.engine.live
    assert await house.projects.stop_all(root) == {"stopped": 0, "failed": {}}


async def test_a_stop_ends_a_run_that_did_not_answer_when_the_hub_opened(house: House, ann: Principal) -> None:
    project_id = await house.project(ann)
    await house.projects.start(ann, project_id)
    await house.lifecycle.close(stop_projects=False)
    house.engine.silent.add(project_id)
    async with house.store.write() as tx:
        await tx.projects.update(project_id, {"state": State.STARTING, "desired": "stopped", "instance": None})
    house.join()
    await house.lifecycle.open()
    assert (await house.row(project_id)).state is State.STOPPED
    assert not house.engine.live


# -- a store that fails ----------------------------------------------------------------------------


async def test_a_stop_that_could_not_be_written_is_settled_later(house: House, ann: Principal) -> None:
    project_id = await house.project(ann)
    await house.projects.start(ann, project_id)
    house.engine.stop_gate.clear()
    stop = asyncio.create_task(house.projects.stop(ann, project_id))
    async with asyncio.timeout(10):
        while (await house.row(project_id)).state is not State.STOPPING:
            await asyncio.sleep(0)
    house.sql("ALTER TABLE projects RENAME TO elsewhere")
    house.engine.stop_gate.set()
    with pytest.raises(InternalError):
        await stop
    house.sql("ALTER TABLE elsewhere RENAME TO projects")
    assert (await house.row(project_id)).state is State.STOPPING
    house.clock.advance(seconds=10)
    await house.lifecycle.tick()
    assert (await house.row(project_id)).state is State.STOPPED


@pytest.mark.parametrize("what", ["stop", "restart"])
async def test_what_was_not_ours_to_end_is_settled_when_others_have_ended_it(
    house: House, ann: Principal, what: str
) -> None:
    project_id = await house.project(ann)
    await house.projects.start(ann, project_id)
    instance = house.engine.live[project_id]
    house.engine.end_failure = EndFailed("a hub of another user has started it")
    with pytest.raises(EndFailed, match="another user"):
        await getattr(house.projects, what)(ann, project_id)
    house.clock.advance(seconds=10)
    await house.lifecycle.tick()  # it still runs
    assert house.engine.live == {project_id: instance}
    house.engine.end(instance, Exit(signal=9))
    house.clock.advance(seconds=10)
    await house.lifecycle.tick()
    await until_at_rest(house, project_id)
    assert (await house.row(project_id)).state is (State.STOPPED if what == "stop" else State.RUNNING)


async def test_a_start_that_could_not_be_written_is_kept_as_a_promise(house: House, ann: Principal) -> None:
    project_id = await house.project(ann)
    house.engine.gate.clear()
    start = asyncio.create_task(house.projects.start(ann, project_id))
    await house.engine.starting.wait()
    house.sql("ALTER TABLE projects RENAME TO elsewhere")
    house.engine.gate.set()
    with pytest.raises(InternalError):
        await start
    assert not house.engine.live
    house.clock.advance(seconds=10)
    await house.lifecycle.tick()  # the store still fails
    house.sql("ALTER TABLE elsewhere RENAME TO projects")
    assert (await house.row(project_id)).state is State.STARTING
    house.clock.advance(seconds=10)
    await house.lifecycle.tick()
    await asyncio.gather(*house.lifecycle._promised)
    await until_at_rest(house, project_id)
    assert (await house.row(project_id)).state is State.RUNNING
    assert project_id in house.engine.live


async def test_a_death_that_could_not_be_written_is_settled_later(house: House, ann: Principal) -> None:
    project_id = await house.project(ann)
    await house.projects.start(ann, project_id)
    house.sql("ALTER TABLE projects RENAME TO elsewhere")
    house.engine.end(house.engine.live[project_id], Exit(signal=9))
    async with asyncio.timeout(10):
        while house.lifecycle._watches:
            await asyncio.sleep(0)
    house.sql("ALTER TABLE elsewhere RENAME TO projects")
    assert (await house.row(project_id)).state is State.RUNNING
    house.clock.advance(seconds=10)
    await house.lifecycle.tick()
    assert "SIGKILL" in (await house.projects.state(ann, project_id))["error"]


async def test_a_start_that_was_overtaken_ends_its_server(house: House, ann: Principal) -> None:
    project_id = await house.project(ann)
    house.engine.gate.clear()
    start = asyncio.create_task(house.projects.start(ann, project_id))
    await house.engine.starting.wait()
    async with house.store.write() as tx:
        await tx.projects.update(project_id, {"epoch": 9})
    house.engine.gate.set()
    with pytest.raises(HubError, match="started elsewhere"):
        await start
    assert not house.engine.live
    assert (await house.row(project_id)).epoch == 9
