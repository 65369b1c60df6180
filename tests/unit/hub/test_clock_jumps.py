"""A clock that jumps: forward by years, and back."""

from __future__ import annotations

import pytest
from house import House

from projecthub.errors import Conflict
from projecthub.hub.principals import Principal
from projecthub.store.records import State
from projecthub.wire import shapes
from projecthub.wire.methods import Ability

pytestmark = pytest.mark.anyio

DAY_MS = 86_400_000


async def test_a_jump_forward_ends_what_expires_and_nothing_else(house: House, ann: Principal) -> None:
    kept = await house.project(ann)
    passing = await house.creation.create(ann, shapes.CreateProject(title="passing", ephemeral=DAY_MS))
    for project_id in (kept, passing):
        await house.projects.start(ann, project_id)
    _, secret = await house.key(ann)
    _, passing_secret = await house.key(ann, expire=f"{house.clock.now().year + 1}-01-01")
    house.clock.advance(days=3650)
    await house.housekeeping.sweep()
    assert set(house.engine.live) == {kept}
    assert (await house.row(passing)).deleted
    assert (await house.keys.check(secret)) is not None
    assert (await house.keys.check(passing_secret)) is None


async def test_a_jump_back_revives_nothing_and_stops_nothing(house: House, ann: Principal) -> None:
    passing = await house.creation.create(ann, shapes.CreateProject(title="passing", ephemeral=DAY_MS))
    house.clock.advance(days=2)
    await house.housekeeping.sweep()
    running = await house.project(ann)
    await house.projects.start(ann, running)
    house.clock.advance(days=-365)
    await house.housekeeping.sweep()
    with pytest.raises(Conflict, match="deleted"):
        await house.projects.start(ann, passing)
    assert set(house.engine.live) == {running}
    assert (await house.projects.stop(ann, running))["state"] == "stopped"
    assert (await house.projects.start(ann, running))["state"] == "running"
    assert (await house.row(running)).state is State.RUNNING


async def test_use_is_noted_though_the_clock_was_set_back(house: House, ann: Principal) -> None:
    project_id = await house.project(ann)
    project = (await house.calls.access(ann, project_id, Ability.READ)).project
    await house.calls.wake(ann, project)
    house.clock.advance(days=-30)
    await house.calls.wake(ann, project)
    assert (await house.row(project_id)).last_edited_at == house.clock.now()
