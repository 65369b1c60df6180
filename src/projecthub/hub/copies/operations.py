"""Owns the operations that are under way, and goes on after a restart with what a hub before has left."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Coroutine
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

import structlog

from projecthub.errors import HubError
from projecthub.files.plans import CopyCancelledError
from projecthub.hub.copies.works import Work
from projecthub.store.copy_records import CopyState, TargetState

if TYPE_CHECKING:
    from projecthub.hub.copies.applying import Applier
    from projecthub.hub.copies.ground import Ground
    from projecthub.hub.copies.planning import Planner
    from projecthub.hub.copies.undoing import Undoer
    from projecthub.store.copy_records import CopyOperation

UNSYNCED: Final = timedelta(minutes=2)
"""For less than this, file systems keep new names to themselves."""
AGAIN_AFTER_S: Final = (1.0, 5.0, 15.0, 60.0, 60.0)
"""What could not go on, for want of room or of the store, is tried again after so long; then it has failed."""

_log = structlog.get_logger()


class Operations:
    """The operations under way."""

    def __init__(self, ground: Ground, planner: Planner, applier: Applier, undoer: Undoer) -> None:
        """Make ready."""
        self._ground = ground
        self._planner = planner
        self._applier = applier
        self._undoer = undoer
        self._works: dict[str, Work] = {}
        self._tasks: set[asyncio.Task[Any]] = set()
        self._ends: set[asyncio.Task[Any]] = set()

    async def open(self) -> None:
        """Bring to its end what was marked when a hub was killed, and go on with the rest beside other work."""
        async with self._ground.store.read() as tx:
            found = await tx.copies.open()
            ended = await tx.copies.newest(within=UNSYNCED)
        for operation in (*ended, *found):
            await self._settle(operation)
        for operation in found:
            self.begin(operation)

    async def _settle(self, operation: CopyOperation) -> None:
        """Bring to its end what of an operation is marked, also what a loss of power has taken back."""
        try:
            async with self._ground.store.read() as tx:
                targets = await tx.copies.targets(operation.id)
            await self._applier.after_loss_of_power(targets)
            if operation.state is CopyState.RUNNING:
                await self._applier.roll_forward(Work(operation))
        except HubError as error:  # if it is under way, its task tries it again
            _log.warning("copies.not_rolled_forward", operation=operation.id, error=error.message)

    async def close(self) -> None:
        """Stop where it is; the next hub goes on. What is being committed comes to its end."""
        if self._ends:
            await asyncio.wait(self._ends)
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)

    def begin(self, operation: CopyOperation) -> Work:
        """Go on with an operation from where its row says it is."""
        work = self._works[operation.id] = Work(operation)
        task = asyncio.create_task(self._run(work), name=f"copies {operation.id}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return work

    def find(self, operation_id: str) -> Work | None:
        """The operation, if it is under way."""
        return self._works.get(operation_id)

    def is_active(self, operation_id: str) -> bool:
        """Whether something lies in its directories that no row tells of yet."""
        return operation_id in self._works

    @contextlib.contextmanager
    def hold(self, work: Work) -> Any:
        """Have an operation count as under way that somebody else carries out."""
        self._works[work.operation.id] = work
        try:
            yield
        finally:
            if self._works.get(work.operation.id) is work:
                del self._works[work.operation.id]

    async def to_its_end(self, operation: CopyOperation, end: Coroutine[Any, Any, Any]) -> Any:
        """Do what must not be cut short. If it fails, it is tried again here.

        Whoever waits for it may go; it goes on.
        """
        task = asyncio.create_task(end)
        self._ends.add(task)

        def ended(done: asyncio.Task[Any]) -> None:
            self._ends.discard(done)
            if not done.cancelled() and done.exception() is not None:
                self.begin(operation)

        task.add_done_callback(ended)
        return await asyncio.shield(task)

    # -- a task ------------------------------------------------------------------------------------

    async def _run(self, work: Work) -> None:
        try:
            for wait_s in (*AGAIN_AFTER_S, None):
                if await self._try(work):
                    return
                if wait_s is not None:
                    await asyncio.sleep(wait_s)
            await self._give_up(work)
        finally:
            if self._works.get(work.operation.id) is work:
                del self._works[work.operation.id]
            work.ended.set()

    async def _try(self, work: Work) -> bool:
        """Go on with an operation; tells whether it came to its end."""
        try:
            await self._go_on(work)
        except HubError as error:
            _log.warning("copies.not_gone_on", operation=work.operation.id, error=error.message)
            return False
        except Exception:
            _log.exception("copies.failed", operation=work.operation.id)
            return False
        return True

    async def _go_on(self, work: Work) -> None:
        state = await self._state(work)
        if state is CopyState.PLANNING:
            await self._planner.plan(work)
            if work.is_cancelled:
                await self._applier.finish(work, noted=False)
                return
            state = await self._state(work)
        if state is not CopyState.RUNNING:
            return
        await self._applier.roll_forward(work)
        if await self._undoer.undo(work):
            await self._applier.finish(work, noted=False)
            return
        with contextlib.suppress(CopyCancelledError):
            await self._applier.apply(work)
        await self._applier.finish(work)

    async def _state(self, work: Work) -> CopyState | None:
        async with self._ground.store.read() as tx:
            operation = await tx.copies.get(work.operation.id)
        if operation is None:
            return None
        work.operation = operation
        return operation.state

    async def _give_up(self, work: Work) -> None:
        """Say that the hub cannot do it. What is marked is left to the next hub."""
        failed = {
            "error": "the hub could not do it, and its log tells why; try again, or tell its operator",
            "error_code": "internal",
        }
        waiting = (TargetState.PLANNING, TargetState.PLANNED)
        with contextlib.suppress(HubError):
            async with self._ground.store.write() as tx:
                await tx.copies.move_targets(work.operation.id, waiting, TargetState.FAILED, **failed)
                left = await tx.copies.targets(
                    work.operation.id, states=[TargetState.COMMITTING, TargetState.UNDOING], limit=1
                )
            if not left:
                await self._applier.finish(work)
