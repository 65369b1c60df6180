"""Calls whose waiting time is over go on, and belong to somebody."""

from __future__ import annotations

import asyncio
import gc

import pytest

from projecthub.api.background import Background
from projecthub.errors import CallTimeout, Conflict


class Work:
    """Work that ends when it is told to."""

    def __init__(self) -> None:
        self.may_end = asyncio.Event()
        self.has_begun = asyncio.Event()
        self.was_cancelled = False
        self.error: Exception | None = None

    async def __call__(self) -> str:
        self.has_begun.set()
        try:
            await self.may_end.wait()
        except asyncio.CancelledError:
            self.was_cancelled = True
            raise
        if self.error is not None:
            raise self.error
        return "done"


async def test_work_in_time_is_answered() -> None:
    background, work = Background(), Work()
    work.may_end.set()
    assert await background.run(work(), 60, "late") == "done"
    work.error = Conflict("no")
    with pytest.raises(Conflict, match="no"):
        await background.run(work(), 60, "late")
    assert not background._tasks


async def test_work_that_is_late_goes_on() -> None:
    background, work = Background(), Work()
    with pytest.raises(CallTimeout, match="late"):
        await background.run(work(), 0.001, "late")
    (task,) = background._tasks
    work.may_end.set()
    assert await task == "done"
    await asyncio.sleep(0)
    assert not background._tasks


async def test_closing_ends_what_goes_on() -> None:
    background, work = Background(), Work()
    with pytest.raises(CallTimeout):
        await background.run(work(), 0.001, "late")
    await background.close()
    assert work.was_cancelled
    assert not background._tasks


@pytest.mark.parametrize("how", ["late", "gone"])
async def test_an_error_that_nobody_waits_for_is_none_of_the_loops(how: str) -> None:
    overlooked: list[str] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: overlooked.append(str(context["message"])))
    background, work = Background(), Work()
    work.error = Conflict("no")
    if how == "late":
        with pytest.raises(CallTimeout):
            await background.run(work(), 0.001, "late")
    else:  # the caller has hung up
        call = asyncio.create_task(background.run(work(), 60, "late"))
        await work.has_begun.wait()
        call.cancel()
        await asyncio.gather(call, return_exceptions=True)
        del call  # its error holds the frame that holds the task
    (task,) = background._tasks
    work.may_end.set()
    await asyncio.wait([task])
    await asyncio.sleep(0)
    del task
    gc.collect()
    assert not overlooked
