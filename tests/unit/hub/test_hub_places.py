"""Who copies to a place keeps others from it, and who waited longest is next."""

from __future__ import annotations

import asyncio

import pytest

from projecthub.hub.copies.places import Places
from projecthub.wire.ids import ProjectId

ONE, TWO = ProjectId("one"), ProjectId("two")


class Copying:
    """Notes who holds places, in the order in which they get them."""

    def __init__(self) -> None:
        self.places = Places()
        self.order: list[str] = []
        self.ends: dict[str, asyncio.Event] = {}

    async def begin(self, name: str, *places: tuple[ProjectId, str]) -> asyncio.Task[None]:
        self.ends[name] = asyncio.Event()

        async def copy() -> None:
            async with self.places.hold(places):
                self.order.append(name)
                await self.ends[name].wait()

        task = asyncio.create_task(copy())
        await self.settle()
        return task

    async def end(self, name: str) -> None:
        self.ends[name].set()
        await self.settle()

    async def settle(self) -> None:
        for _ in range(5):
            await asyncio.sleep(0)


@pytest.mark.parametrize(
    ("held", "wanted", "waits"),
    [("hw", "hw", True), ("hw", "hw/a", True), ("hw/a", "hw", True), ("", "hw", True), ("hw", "hw2", False)],
)
async def test_what_overlaps_waits(held: str, wanted: str, waits: bool) -> None:
    copying = Copying()
    first = await copying.begin("first", (ONE, held))
    second = await copying.begin("second", (ONE, wanted))
    third = await copying.begin("third", (TWO, wanted))
    assert copying.order == (["first", "third"] if waits else ["first", "second", "third"])
    for name in ("first", "second", "third"):
        await copying.end(name)
    assert [task.done() for task in (first, second, third)] == [True] * 3


async def test_who_waits_for_many_is_not_passed_by_who_asks_later() -> None:
    copying = Copying()
    await copying.begin("foe", (ONE, "hw"))
    await copying.begin("class", (ONE, "hw"), (TWO, "hw"))
    await copying.begin("foe again", (ONE, "hw"))
    await copying.begin("later", (TWO, "hw"))
    await copying.begin("elsewhere", (TWO, "notes"))
    assert copying.order == ["foe", "elsewhere"]
    await copying.end("foe")
    assert copying.order == ["foe", "elsewhere", "class"]
    await copying.end("class")
    assert sorted(copying.order[3:]) == ["foe again", "later"]


async def test_who_gives_up_waiting_holds_up_nobody() -> None:
    copying = Copying()
    await copying.begin("first", (ONE, "hw"))
    gives_up = await copying.begin("gives up", (ONE, "hw"), (TWO, "hw"))
    await copying.begin("later", (TWO, "hw"))
    assert copying.order == ["first"]
    gives_up.cancel()
    await copying.settle()
    assert copying.order == ["first", "later"]
