"""Projects that nobody uses: warned, stopped, and kept where something keeps them."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from house import House

from projecthub.engines.port import Activity
from projecthub.errors import CallTimeout, Conflict, PermissionDenied, ServerLost, UnknownMethod
from projecthub.hub.calls import WAITED_S
from projecthub.hub.principals import Principal
from projecthub.hub.quotas import QuotaDefaults, Quotas
from projecthub.wire.ids import ProjectId

pytestmark = pytest.mark.anyio


async def running(house: House, ann: Principal, **fields: Any) -> ProjectId:
    project_id = await house.project(ann, **fields)
    await house.projects.start(ann, project_id)
    await house.idle.look()
    return project_id


async def minutes(house: House, count: int) -> int:
    """Let time pass, with a look each minute; tells how many projects were stopped."""
    stopped = 0
    for _ in range(count):
        house.clock.advance(minutes=1)
        stopped += await house.idle.look()
    return stopped


async def events(house: House, project_id: ProjectId) -> list[dict[str, Any]]:
    async with house.store.read() as tx:
        return [entry["event"] for entry in reversed(await tx.log.of_project(project_id, limit=100))]


def signs(cpu_s: float = 0.5, *, terminals: int = 0, processes: int = 0) -> Activity:
    return Activity(cpu_s=cpu_s, terminals=terminals, processes=processes)


async def test_a_project_that_is_not_used_is_warned_and_then_stopped(house: House, ann: Principal) -> None:
    project_id = await running(house, ann)
    assert await minutes(house, 24) == 0
    assert [event["event"] for event in await events(house, project_id)] == [
        "project_created",
        "project_started",
    ]
    assert await minutes(house, 1) == 0
    assert (await events(house, project_id))[-1] == {
        "event": "project_idle_warning",
        "would_stop_at": "2026-03-01T12:30:00.123Z",
    }
    assert await minutes(house, 4) == 0
    assert project_id in house.engine.live
    assert await minutes(house, 1) == 1
    assert project_id not in house.engine.live
    assert (await house.projects.state(ann, project_id))["state"] == "stopped"
    log = await events(house, project_id)
    assert log[-1] == {"event": "project_stopped", "reason": "it was idle for 30 minutes"}
    assert len(log) == 4
    with pytest.raises(Conflict, match=r"does not run; it was stopped at 2026-.*Z: it was idle for 30 minutes"):
        await house.projects.idle(ann, project_id)


async def test_a_touch_keeps_a_project_alive(house: House, ann: Principal) -> None:
    project_id = await running(house, ann)
    await minutes(house, 29)
    await house.projects.touch(ann, project_id)
    report = await house.projects.idle(ann, project_id)
    assert report == {
        "idle_for_s": 0,
        "idle_timeout_s": 1800,
        "would_stop_at": "2026-03-01T12:59:00.123Z",
        "because": "it was called or touched at 2026-03-01T12:29:00.123Z",
        "blocked_by": [],
    }
    assert await minutes(house, 29) == 0
    assert await minutes(house, 1) == 1


async def test_a_call_that_comes_during_a_look_keeps_a_project_alive(house: House, ann: Principal) -> None:
    project_id = await running(house, ann)
    await minutes(house, 29)
    row = await house.row(project_id)
    house.clock.advance(minutes=1)
    await house.projects.touch(ann, project_id)
    assert await house.idle._still_idle(row) is False
    assert await house.idle.look() == 0


async def test_a_call_under_way_keeps_a_project_alive(house: House, ann: Principal) -> None:
    project_id = await running(house, ann)
    answer = asyncio.Event()

    async def wait(*_: Any, **__: Any) -> None:
        await answer.wait()

    house.engine.call = wait  # type: ignore[method-assign]
    call = asyncio.create_task(house.calls.call(project_id, "system.exec", []))
    await asyncio.sleep(0)
    assert await minutes(house, 60) == 0
    report = await house.projects.idle(ann, project_id)
    assert (report["would_stop_at"], report["blocked_by"]) == (None, ["a call is under way"])
    answer.set()
    await call
    assert await minutes(house, 29) == 0
    assert await minutes(house, 1) == 1


async def test_an_open_terminal_keeps_a_project_alive(house: House, ann: Principal) -> None:
    project_id = await running(house, ann)
    house.engine.signs[project_id] = signs(terminals=2, processes=2)
    assert await minutes(house, 60) == 0
    report = await house.projects.idle(ann, project_id)
    assert report["blocked_by"] == ["2 terminals are open"]
    assert report["because"].startswith("2 terminals are open at 2026-03-01T13:00")
    house.engine.signs[project_id] = signs()
    assert await minutes(house, 30) == 1


async def test_processor_time_keeps_a_project_alive_if_there_is_enough_of_it(house: House, ann: Principal) -> None:
    busy, quiet = await running(house, ann), await running(house, ann)
    stopped = 0
    for minute in range(1, 41):
        house.engine.signs[busy] = signs(0.5 + 0.7 * minute)
        house.engine.signs[quiet] = signs(0.5 + 0.5 * minute, processes=5)  # below one percent
        stopped += await minutes(house, 1)
    assert stopped == 1
    assert set(house.engine.live) == {busy}
    assert "its processes were busy" in (await house.projects.idle(ann, busy))["because"]
    assert (await house.row(busy)).active_at == house.clock.now()


async def test_signs_of_use_outlive_the_hub(house: House, ann: Principal) -> None:
    project_id = await running(house, ann)
    await minutes(house, 19)
    house.engine.signs[project_id] = signs(100.0)
    await minutes(house, 1)
    await house.lifecycle.close(stop_projects=False)
    house.join()
    await house.lifecycle.open()
    report = await house.projects.idle(ann, project_id)
    assert report["because"].startswith("its processes were busy at 2026-03-01T12:20")
    assert report["would_stop_at"] == "2026-03-01T12:50:00.123Z"
    await house.lifecycle.close(stop_projects=False)


async def test_a_hub_that_was_away_stops_nothing_at_once(house: House, ann: Principal) -> None:
    project_id = await running(house, ann)
    await house.lifecycle.close(stop_projects=False)
    house.clock.advance(days=1)
    house.join()
    await house.lifecycle.open()
    assert await house.idle.look() == 0
    assert (await events(house, project_id))[-1]["event"] == "project_idle_warning"
    assert await minutes(house, 4) == 0
    assert await minutes(house, 1) == 1
    await house.lifecycle.close(stop_projects=False)


async def test_what_runs_always_is_never_stopped(house: House, ann: Principal) -> None:
    project_id = await running(house, ann, settings={"always_running": 1})
    assert await minutes(house, 120) == 0
    report = await house.projects.idle(ann, project_id)
    assert (report["would_stop_at"], report["blocked_by"]) == (None, ["it is to run always"])


async def test_an_operator_may_do_without(house: House, ann: Principal) -> None:
    house.quotas = Quotas(QuotaDefaults(idle_timeout_s=0), house.clock)
    house.join()
    project_id = await running(house, ann)
    assert await minutes(house, 120) == 0
    report = await house.projects.idle(ann, project_id)
    assert (report["idle_timeout_s"], report["blocked_by"]) == (None, ["its quota has no idle timeout"])


async def test_a_short_time_is_warned_of_too(house: House, ann: Principal) -> None:
    house.quotas = Quotas(QuotaDefaults(idle_timeout_s=60), house.clock)
    house.join()
    project_id = await running(house, ann)
    await minutes(house, 5)
    assert (await events(house, project_id))[-1]["event"] == "project_idle_warning"
    assert await minutes(house, 1) == 1


@pytest.mark.parametrize("timeout_s", [60, 120, 300])
async def test_who_comes_back_in_time_is_not_warned(house: House, ann: Principal, timeout_s: int) -> None:
    house.quotas = Quotas(QuotaDefaults(idle_timeout_s=timeout_s), house.clock)
    house.join()
    project_id = await running(house, ann)
    for _ in range(10):
        await house.projects.touch(ann, project_id)
        house.clock.advance(seconds=20)
        await house.projects.touch(ann, project_id)
        house.clock.advance(seconds=40)
        assert await house.idle.look() == 0
    assert "project_idle_warning" not in [event["event"] for event in await events(house, project_id)]
    await minutes(house, 10)
    warnings = [event for event in await events(house, project_id) if event["event"] == "project_idle_warning"]
    assert len(warnings) == 1
    assert project_id not in house.engine.live


async def test_calls_that_nobody_waits_for_any_more_keep_nothing_alive(house: House, ann: Principal) -> None:
    project_id = await running(house, ann)
    answer = asyncio.Event()

    async def wait(*_: Any, **__: Any) -> None:
        await answer.wait()

    house.engine.call = wait  # type: ignore[method-assign]
    calls = []
    for waited_s in (0.01, 0.01, None):
        WAITED_S.set(waited_s)
        calls.append(asyncio.create_task(house.calls.call(project_id, "system.exec", [])))
    await asyncio.sleep(0)
    assert house.calls.under_way(project_id) == 3
    async with asyncio.timeout(5):
        while house.calls.under_way(project_id) > 1:
            await asyncio.sleep(0.01)
    assert await minutes(house, 60) == 0
    calls.pop().cancel()
    await asyncio.sleep(0)
    assert house.calls.under_way(project_id) == 0
    assert await minutes(house, 31) == 1
    answer.set()
    await asyncio.gather(*calls)
    assert house.calls.under_way(project_id) == 0
    assert (house.calls._under_way, house.calls._left) == ({}, {})


@pytest.mark.parametrize("jump", [{"days": 2}, {"days": -2}])
async def test_a_clock_that_jumps_stops_nothing(house: House, ann: Principal, jump: dict[str, float]) -> None:
    project_id = await running(house, ann)
    await minutes(house, 20)
    house.clock.advance(**jump)
    assert await house.idle.look() == 0
    assert (await house.projects.idle(ann, project_id))["idle_for_s"] == 0
    assert await minutes(house, 29) == 0
    assert await minutes(house, 1) == 1


async def test_the_status_tells_it(house: House, ann: Principal) -> None:
    project_id = await running(house, ann)
    await minutes(house, 10)
    status = await house.projects.status(ann, project_id)
    assert (status["idle_timeout_s"], status["would_stop_at"]) == (1800, "2026-03-01T12:30:00.123Z")
    assert status["idle"]["idle_for_s"] == 600


async def test_another_run_is_another_count(house: House, ann: Principal) -> None:
    project_id = await running(house, ann)
    await minutes(house, 29)
    await house.projects.restart(ann, project_id)
    assert await minutes(house, 29) == 0
    assert await minutes(house, 1) == 1


async def test_only_who_is_on_a_project_learns_it(house: House, ann: Principal, bob: Principal) -> None:
    project_id = await running(house, ann)
    with pytest.raises(PermissionDenied, match="must be collaborator on project to get status"):
        await house.projects.idle(bob, project_id)


async def test_what_ran_out_of_memory_is_noted(house: House, ann: Principal) -> None:
    project_id = await running(house, ann)
    for kills in (2, 2, 3):
        house.engine.signs[project_id] = Activity(cpu_s=0.5, terminals=0, processes=0, oom_kills=kills)
        await house.projects.idle(ann, project_id)  # who asks in between takes nothing away
        await minutes(house, 1)
    assert [event for event in await events(house, project_id) if event["event"] == "project_out_of_memory"] == [
        {"event": "project_out_of_memory", "processes": 2},
        {"event": "project_out_of_memory", "processes": 1},
    ]


async def tell(house: House, told: Any) -> None:
    """Have all project servers answer the hub's questions with this."""

    async def call(*_: Any, **__: Any) -> Any:
        if isinstance(told, Exception):
            raise told
        return told

    house.engine.call = call  # type: ignore[method-assign]


async def test_a_job_that_runs_keeps_a_project_alive_and_its_end_lets_it_go(house: House, ann: Principal) -> None:
    project_id = await running(house, ann)
    house.engine.signs[project_id] = signs(processes=1)
    await tell(house, {"jobs": 1, "executions": 0})
    assert await minutes(house, 60) == 0
    report = await house.projects.idle(ann, project_id)
    assert (report["would_stop_at"], report["blocked_by"]) == (None, ["a job runs"])
    assert report["because"].startswith("a job runs at 2026-03-01T13:00")
    await tell(house, {"jobs": 0, "executions": 0})
    assert await minutes(house, 29) == 0
    assert await minutes(house, 1) == 1


async def test_executions_keep_a_project_alive_and_idle_kernels_do_not(house: House, ann: Principal) -> None:
    project_id = await running(house, ann)
    house.engine.signs[project_id] = signs(processes=3)
    await tell(house, {"jobs": 2, "executions": 3})
    await minutes(house, 31)
    report = await house.projects.idle(ann, project_id)
    assert report["blocked_by"] == ["2 jobs run", "3 executions run in sessions"]
    await tell(house, {"jobs": 0, "executions": 0})  # the kernels are there, and wait
    assert await minutes(house, 30) == 1


@pytest.mark.parametrize(
    "told",
    [
        *({"jobs": 10**30}, {"jobs": -1}, {"jobs": True}, {"jobs": "1", "executions": [1]}, [], None, "jobs"),
        *(ServerLost("no"), CallTimeout("no"), UnknownMethod("no")),
    ],
    ids=repr,
)
async def test_what_is_no_number_of_jobs_keeps_nothing_alive(house: House, ann: Principal, told: Any) -> None:
    project_id = await running(house, ann)
    house.engine.signs[project_id] = signs(processes=1)
    await tell(house, told)
    assert await minutes(house, 30) == 1


async def test_projects_without_processes_are_not_asked(house: House, ann: Principal) -> None:
    await running(house, ann)
    await tell(house, AssertionError("asked"))
    assert await minutes(house, 30) == 1
