"""What a hub counts of itself, and whether it is ready."""

from __future__ import annotations

import asyncio
import sqlite3

from house import House
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import event
from sqlalchemy.engine import Engine as Database

from projecthub.errors import StartFailed
from projecthub.hub import figures
from projecthub.hub.figures import Figures
from projecthub.hub.principals import Principal
from projecthub.hub.readiness import Readiness


async def samples(of: Figures) -> dict[str, float]:
    """Every sample by its name and labels."""
    found = {}
    for family in text_string_to_metric_families((await of.text()).decode()):
        for sample in family.samples:
            labels = ",".join(f"{name}={value}" for name, value in sorted(sample.labels.items()))
            found[f"{sample.name}{{{labels}}}" if labels else sample.name] = sample.value
    return found


async def test_projects_are_counted_by_state_at_most_every_five_seconds(house: House, ann: Principal) -> None:
    of = Figures(house.store, house.clock)
    one, two = await house.project(ann), await house.project(ann)
    await house.projects.start(ann, one)
    asked: list[str] = []

    def listen(connection: object, cursor: object, statement: str, *rest: object) -> None:
        asked.append(statement)

    event.listen(Database, "before_cursor_execute", listen)
    try:
        for _ in range(3):
            assert (await samples(of))["projecthub_projects{state=running}"] == 1
        await asyncio.gather(*(of.text() for _ in range(10)))
    finally:
        event.remove(Database, "before_cursor_execute", listen)
    assert len(asked) == 1
    await house.projects.start(ann, two)
    assert (await samples(of))["projecthub_projects{state=running}"] == 1
    house.clock.advance(seconds=5)
    now = await samples(of)
    assert (now["projecthub_projects{state=running}"], now["projecthub_projects{state=stopped}"]) == (2, 0)
    house.clock.advance(seconds=-60)  # a clock that was put back
    await house.projects.stop(ann, two)
    assert (await samples(of))["projecthub_projects{state=running}"] == 1


async def test_figures_without_a_store(house: House) -> None:
    of = Figures(house.store, house.clock)
    house.sql("ALTER TABLE projects RENAME TO gone")
    try:
        found = await samples(of)
    finally:
        house.sql("ALTER TABLE gone RENAME TO projects")
    assert not any(name.startswith("projecthub_projects") for name in found)
    assert "projecthub_idle_stops_total" in found
    assert (await samples(of))["projecthub_projects{state=running}"] == 0


async def test_queues_and_counts(house: House) -> None:
    of = Figures(house.store, house.clock)
    waiting = [1, 2]
    of.queue("wishes_waiting", "Wishes that wait for their turn.", lambda: len(waiting))
    before = await samples(of)
    figures.started(0.012, first=True)
    figures.started(0.3, first=False)
    figures.start_failed()
    figures.restarted(by_hub=True)
    figures.restarted(by_hub=False)
    figures.crashed()
    figures.oom_killed(3)
    figures.stopped_idle()
    figures.copied(0.5, 1_000)
    figures.copied(0.1, 0, outcome="not_found")
    waiting.append(3)
    after = await samples(of)
    grown = {
        name: value - before.get(name, 0)
        for name, value in after.items()
        if name.startswith("projecthub_") and value != before.get(name, 0) and "_created" not in name
        and "_bucket" not in name and "_sum" not in name and "{kind" not in name
    }  # fmt: skip
    assert grown == {
        "projecthub_wishes_waiting": 1,
        "projecthub_starts_failed_total": 1,
        "projecthub_restarts_total{by=hub}": 1,
        "projecthub_restarts_total{by=call}": 1,
        "projecthub_crashes_total": 1,
        "projecthub_oom_kills_total": 3,
        "projecthub_idle_stops_total": 1,
        "projecthub_copied_bytes_total": 1000,
        "projecthub_copy_seconds_count{outcome=ok}": 1,
        "projecthub_copy_seconds_count{outcome=not_found}": 1,
    }
    assert after["projecthub_start_seconds_count{kind=first}"] >= 1
    assert after["projecthub_start_seconds_bucket{kind=again,le=0.5}"] >= 1


async def test_ready_when_store_and_engine_are(house: House) -> None:
    readiness = Readiness(house.store, house.engine)
    assert await readiness.troubles() == {"hub": "it is not open", "store": None, "engine": None}
    readiness.is_open = True
    assert set((await readiness.troubles()).values()) == {None}
    house.engine.failure = StartFailed("the launcher at /secret/place is gone")
    house.sql("ALTER TABLE alembic_version RENAME TO gone")
    why = "it fails; the hub's log says why"
    assert await readiness.troubles() == {"hub": None, "store": why, "engine": why}
    await readiness.close()
    assert (await readiness.troubles())["hub"] == "it is not open"


async def test_a_part_that_hangs_is_asked_once(house: House) -> None:
    class Hanging:
        asked = 0
        gate = asyncio.Event()

        async def ready(self) -> None:
            self.asked += 1
            await self.gate.wait()

    engine = Hanging()
    readiness = Readiness(house.store, engine, wait_s=0.01)  # type: ignore[arg-type]
    for _ in range(3):
        found = await asyncio.gather(readiness.troubles(), readiness.troubles())
        assert [each["engine"] for each in found] == ["it has not answered within 0.01 s"] * 2
    assert engine.asked == 1
    engine.gate.set()
    assert (await readiness.troubles())["engine"] is None
    engine.gate.clear()
    await readiness.troubles()
    await readiness.close()
    assert not [task for task in asyncio.all_tasks() if task.get_name() == "ready-engine"]


async def test_a_store_that_is_being_written_is_ready(house: House) -> None:
    writer = sqlite3.connect(house.directory / "store.sqlite3", isolation_level=None)
    writer.execute("BEGIN IMMEDIATE")
    try:
        assert (await Readiness(house.store, house.engine).troubles())["store"] is None
    finally:
        writer.close()
