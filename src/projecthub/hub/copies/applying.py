"""Applying a plan: some targets together are staged, marked, committed, and said to be done.

Until a target is marked it is as it was. From then on it will be as planned, whatever is killed: what is staged for it
is on the disk, and the store says that it is to get its place.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Collection, Iterable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import structlog

from projecthub.errors import Conflict, HubError, InternalError, NotFound
from projecthub.files.copying import Application, PlanSummary, sync_file_system
from projecthub.files.copying.records import STAGED, size_of
from projecthub.files.copying.records import state_of as record_state_of
from projecthub.files.copying.telling import tell_committed
from projecthub.files.copying.workers import MUCH
from projecthub.files.failures import unwritable
from projecthub.files.paths import shown
from projecthub.files.plans import CopyOptions, CopySummary, Policy
from projecthub.files.threads import until_ended
from projecthub.hub import figures
from projecthub.hub.copies.endings import ended
from projecthub.hub.copies.events import events_of, events_of_all, shared_projects
from projecthub.hub.copies.ground import COPIED, is_refusal, share_id_of
from projecthub.hub.copies.planning import place_of, plan_json, plan_of, refused
from projecthub.hub.copies.requests import options_of
from projecthub.hub.copies.staging import stage
from projecthub.hub.disk_limits import hold
from projecthub.store.copy_records import TargetState

if TYPE_CHECKING:
    from projecthub.files import Allowance
    from projecthub.files.keeping import Keeper
    from projecthub.files.plans import Course
    from projecthub.hub.copies.ground import Accesses, Ground
    from projecthub.hub.copies.trimming import Trimming
    from projecthub.hub.copies.works import Work
    from projecthub.store import Transaction
    from projecthub.store.copy_records import CopyOperation, CopyTarget
    from projecthub.wire.ids import ProjectId

BATCH: Final = 32
"""Targets that are staged together, and marked in one transaction."""

_log = structlog.get_logger()


@dataclass(slots=True)
class Applied:
    """One target on its way.

    Attributes:
        target: Its row.
        plan: What its plan comes to.
        application: What stages and commits it; None: there is nothing to do.
        allowance: Room for it.
        summary: What came of it.
        error: Why it was not brought to its end.
        kept_bytes: What is kept on disk to undo it.
        given: The list of what it was given, if that is not all that its source held.
    """

    target: CopyTarget
    plan: PlanSummary
    application: Application | None = None
    allowance: Allowance | None = None
    summary: CopySummary | None = None
    error: HubError | None = None
    kept_bytes: int | None = None
    given: str | None = None

    def row(self) -> dict[str, Any]:
        """What becomes of its row."""
        assert self.summary is not None
        plan = plan_json(self.plan)
        done = summary_json(self.summary)
        kept = self.summary.kept_newer - self.plan.kept_newer  # changed by somebody while they were being replaced
        if (vanished := self.plan.files - self.summary.files - kept) > 0:
            done["vanished"] = vanished
        row = {"state": TargetState.DONE, "summary": {**plan, **done}, "kept_bytes": self.kept_bytes}
        return _row({**row, "manifest": self.given or self.target.manifest})


@dataclass(slots=True)
class _Batch:
    """Targets that are staged, and on their way to their places.

    Attributes:
        ones: The targets.
        began: When, by `time.perf_counter`.
        held: Their places and their room.
        ending: What brings them to their end.
    """

    ones: list[Applied]
    began: float
    held: AsyncExitStack = field(default_factory=AsyncExitStack)
    ending: asyncio.Task[None] | None = None

    def close_allowances(self) -> None:
        for one in self.ones:
            if one.allowance is not None:
                one.allowance.close()

    async def brought_to_its_end(self) -> None:
        """Wait for that.

        Raises:
            HubError: It has to be tried again.
        """
        assert self.ending is not None
        await self.ending

    async def ended(self, *, cancelled: bool) -> None:
        """The same after a failure elsewhere; ``cancelled``: the next hub is to see to it."""
        assert self.ending is not None
        if cancelled:
            self.ending.cancel()
        try:
            await until_ended(self.ending)
        finally:
            await self.held.aclose()  # of a task that has never run
        if not self.ending.cancelled():
            self.ending.result()


class Applier:
    """Applies plans."""

    def __init__(self, ground: Ground, trimming: Trimming) -> None:
        """Make ready."""
        self._ground = ground
        self._trimming = trimming

    async def apply(self, work: Work) -> None:
        """Apply what is planned of an operation, some targets at a time."""
        async with self._ground.store.read() as tx:
            targets = await tx.copies.targets(work.operation.id)
        shared = shared_projects(work.operation, targets)
        planned = [target for target in targets if target.state is TargetState.PLANNED]
        plans = [plan_of(target) for target in planned]
        work.begin_anew(len(planned), sum(plan.files for plan in plans), sum(plan.bytes for plan in plans))
        try:
            await self._apply_all(work, planned, shared)
        finally:
            self.poke(target for target, plan in zip(planned, plans, strict=True) if not plan.is_idle)

    async def _apply_all(self, work: Work, planned: Sequence[CopyTarget], shared: Collection[ProjectId]) -> None:
        """Apply batch after batch: while one is synced and put in place, the next one is staged."""
        last: _Batch | None = None
        try:
            for start in range(0, len(planned), BATCH):
                if work.is_cancelled:
                    break
                batch = await self._staged(work, planned[start : start + BATCH])
                try:
                    if last is not None:
                        await last.brought_to_its_end()
                except BaseException:
                    await self._given_up(batch)
                    raise
                if work.is_cancelled:
                    await self._given_up(batch)
                    break
                batch.ending = asyncio.create_task(self._end(work, batch, shared))
                last = batch
            if last is not None:
                await last.brought_to_its_end()
        except BaseException as error:
            if last is not None:
                await last.ended(cancelled=isinstance(error, asyncio.CancelledError))
            raise

    async def _staged(self, work: Work, targets: Sequence[CopyTarget]) -> _Batch:
        ground, operation = self._ground, work.operation
        began = time.perf_counter()
        async with ground.store.read() as tx:
            accesses = await ground.accesses(tx, operation, targets)
        options = options_of(operation.policy, operation.options)
        async with AsyncExitStack() as held:
            await held.enter_async_context(ground.places.hold(place_of(target) for target in targets))
            batch = _Batch([Applied(target, plan_of(target)) for target in targets], began)
            held.callback(batch.close_allowances)
            added = 0
            for one in batch.ones:
                await self.admit(work, one, accesses, options, others=added)
                added += one.plan.added if one.application is not None else 0
            await self._stage(batch.ones, is_much=work.goal_files >= MUCH)
            batch.held = held.pop_all()
        return batch

    async def _given_up(self, batch: _Batch) -> None:
        """Throw away what is staged and not marked."""
        async with batch.held:
            await self._ground.each([one.application.discard for one in batch.ones if one.application is not None])

    async def _end(self, work: Work, batch: _Batch, shared: Collection[ProjectId]) -> None:
        """Give what is staged its place, and say so."""
        operation, ones, homes = work.operation, batch.ones, self._ground.homes
        async with batch.held:
            if any(one.application is not None for one in ones):
                await homes.in_turn(lambda: sync_file_system(homes.operations))
            await self.mark(operation, ones)
            await self.commit(operation, ones)
            await self._note(work, ones, shared, time.perf_counter() - batch.began)

    # -- the steps ---------------------------------------------------------------------------------

    async def admit(
        self,
        work: Work,
        one: Applied,
        accesses: Accesses,
        options: CopyOptions,
        *,
        course: Course | None = None,
        others: int = 0,
    ) -> None:
        """See that a target may be copied to, and has room beside ``others``; what is in the way is left with it."""
        ground, target = self._ground, one.target
        one.error = accesses.refusal(target)
        if one.error is not None or one.plan.is_idle:
            return
        assert target.manifest is not None
        if not (ground.plan(target).exists() and ground.manifest(target.manifest).exists()):
            one.error = NotFound("what was planned is gone: the hub was restored from a backup; plan again")
            return
        project = accesses.by_id[target.target_project_id].project
        try:
            one.allowance = await ground.homes.admit(project, one.plan.added, one.plan.freed, others=others)
        except HubError as error:
            one.error = error
            return
        course = work.course(target.number) if course is None else course
        course.take, course.begin_again = one.allowance.take, one.allowance.begin_again
        one.application = Application(
            ground.record(target),
            ground.source(target),
            ground.manifest(target.manifest),
            ground.target(target),
            ground.plan(target),
            uid=ground.homes.uid(project.unix_slot),
            options=options,
            course=course,
        )

    async def _stage(self, batch: Sequence[Applied], *, is_much: bool) -> None:
        await stage(self._ground.homes, batch, is_much=is_much)

    async def mark(self, operation: CopyOperation, batch: Sequence[Applied]) -> None:
        """Say of what is staged that it is to get its place."""
        ready = {one.target.number: {"state": TargetState.COMMITTING} for one in batch if one.application is not None}
        if ready:
            async with self._ground.store.write() as tx:
                await tx.copies.update_targets(operation.id, ready)

    async def commit(self, operation: CopyOperation, batch: Sequence[Applied], *, at_once: bool = False) -> None:
        """Give what is marked its place; ``at_once``: whether somebody waits for just this.

        Raises:
            HubError: That could not be done to the end, and will be tried again.
        """
        ground, homes = self._ground, self._ground.homes
        keepers = {
            one.target.number: ground.histories.keeper(one.target.target_project_id, operation.account_id, COPIED)
            for one in batch
            if one.application is not None
        }

        policy = Policy(operation.policy)

        def commit() -> list[HubError]:
            errors = [error for one in batch if (error := _commit(one, keepers.get(one.target.number))) is not None]
            for one in batch:
                if one.summary is not None and one.plan.left_out:
                    with contextlib.suppress(OSError):  # then it counts as given; what is theirs is theirs still
                        one.given = ground.given(one.target, policy)
            return errors

        for one in batch:
            if one.error is None and one.application is None:
                one.summary = one.plan.idle_summary()
        roomy = homes.lending({one.target.target_project_id for one in batch}, commit)
        failures = await (homes.at_once(roomy) if at_once else homes.in_turn(roomy))
        if failures:
            raise failures[0]

    def poke(self, targets: Iterable[CopyTarget]) -> None:
        """Have written into histories what was copied: when all of it is, so that neither holds up the other."""
        for project_id in {target.target_project_id for target in targets}:
            self._ground.histories.poke(project_id)

    async def _note(self, work: Work, batch: Sequence[Applied], shared: Collection[ProjectId], seconds: float) -> None:
        """Say what came of a batch, in the rows and in the logs of the projects."""
        async with self._ground.store.write() as tx:
            await self.note(tx, work.operation, batch, shared)
        await self.noted(batch)
        for one in batch:
            tell_figures(one, seconds)
            summary = one.summary
            if summary is None:
                work.done_with(one.target.number)
            else:
                work.done_with(one.target.number, summary.files, summary.bytes)

    async def note(
        self, tx: Transaction, operation: CopyOperation, batch: Sequence[Applied], shared: Collection[ProjectId]
    ) -> None:
        """Write what came of a batch."""
        now = self._ground.clock.now()
        done = [one for one in batch if one.summary is not None]
        failed = {one.target.number: _row(failure_of(one.error)) for one in batch if one.error is not None}
        await tx.copies.update_targets(operation.id, {one.target.number: one.row() for one in done})
        await tx.copies.update_targets(operation.id, failed)
        entries = [entry for one in done for entry in events_of(operation, one, shared)]
        await tx.log.append_all(entries, operation.account_id, at=now)
        if (share_id := share_id_of(operation)) is not None:
            await tx.shares.count(share_id, times=len(done))
        given = [(place_of(one.target), one.given or one.target.manifest) for one in done]
        await tx.copies.hand_out([(*place, name) for place, name in given if name is not None], at=now)

    async def noted(self, batch: Sequence[Applied]) -> None:
        """What came of a batch is in the store: more is kept to undo it."""
        ground = self._ground
        await hold(ground.store, ground.homes, [one.target.target_project_id for one in batch])
        for one in batch:
            if one.kept_bytes is not None:
                self._trimming.grew(one.target.target_project_id, one.kept_bytes)

    # -- beginning and end -------------------------------------------------------------------------

    async def roll_forward(self, work: Work) -> None:
        """Bring to its end what a hub that was killed has marked."""
        ground = self._ground
        async with ground.store.read() as tx:
            targets = await tx.copies.targets(work.operation.id)
        committing = [target for target in targets if target.state is TargetState.COMMITTING]
        shared = shared_projects(work.operation, targets)
        for start in range(0, len(committing), BATCH):
            began = time.perf_counter()
            batch = [Applied(target, plan_of(target)) for target in committing[start : start + BATCH]]
            await ground.homes.in_turn(lambda batch=batch: self._resume(batch))  # type: ignore[misc]
            await self.commit(work.operation, [one for one in batch if one.error is None])
            await self._note(work, batch, shared, time.perf_counter() - began)
        self.poke(committing)

    async def after_loss_of_power(self, targets: Sequence[CopyTarget]) -> None:
        """Commit anew what the store knows as done, and the disk, whose names are not synced, does not."""

        def work() -> None:
            for target in targets:
                record = self._ground.record(target)
                if (
                    target.state is TargetState.DONE
                    and target.kept_bytes is not None
                    and record_state_of(record) == STAGED
                ):
                    _log.warning("copies.committed_again", operation=target.operation_id, target=target.number)
                    Application.resume(record, self._ground.homes.path(target.target_project_id)).commit()

        await self._ground.homes.in_turn(work)

    def _resume(self, batch: Iterable[Applied]) -> None:
        for one in batch:
            home = self._ground.homes.path(one.target.target_project_id)
            try:
                one.application = Application.resume(self._ground.record(one.target), home)
            except NotFound:
                one.error = NotFound(
                    "what was made ready for it is gone: the hub was restored from a backup; copy again"
                )

    async def finish(self, work: Work, *, noted: bool = True) -> CopyOperation:
        """Say that an operation has ended, and how.

        Args:
            work: Which operation.
            noted: Whether the logs of projects that have many of its targets are to tell of it.
        """
        ground, now = self._ground, self._ground.clock.now()
        operation = work.operation
        async with ground.store.write() as tx:
            waiting = (TargetState.PLANNING, TargetState.PLANNED)
            await tx.copies.move_targets(operation.id, waiting, TargetState.CANCELLED)
            targets = await tx.copies.targets(operation.id)
            await tx.copies.update(operation.id, ended(targets, now, applied=operation.applies))
            if noted:
                await tx.log.append_all(events_of_all(operation, targets), operation.account_id, at=now)
            found = await tx.copies.get(operation.id)
        assert found is not None
        return found


def failure_of(error: HubError | None) -> dict[str, Any]:
    """What becomes of the row of a target that was not copied to."""
    assert error is not None
    return refused(error, TargetState.REFUSED if is_refusal(error) else TargetState.FAILED)


def summary_json(summary: CopySummary) -> dict[str, Any]:
    """What a copy has done, for its row."""
    return {
        "files": summary.files,
        "bytes": summary.bytes,
        "skipped": summary.skipped,
        "unchanged": summary.unchanged,
        "kept_newer": summary.kept_newer,
        "kept_newer_paths": list(summary.kept_newer_paths),
        "deleted": summary.deleted,
        "backed_up": summary.backed_up,
    }


def tell_figures(one: Applied, seconds: float) -> None:
    """Count a copy."""
    if one.summary is not None:
        figures.copied(seconds, one.summary.bytes)
    elif one.error is not None:
        figures.copied(seconds, 0, outcome=one.error.code)


def _commit(one: Applied, keeper: Keeper | None) -> HubError | None:
    """Give one target its place; tells what kept it from that. Blocks."""
    if one.application is None or one.summary is not None:
        return None
    try:
        summary = one.application.commit()
        one.kept_bytes = size_of(one.application.record)
        if keeper is not None:
            with contextlib.closing(keeper), contextlib.suppress(OSError):
                tell_committed(one.application.record, keeper)
        one.summary = summary
    except Conflict as error:  # the place itself is gone: nothing was changed
        one.error = error
        one.application.discard()
    except HubError as error:
        return error
    except OSError as error:
        return unwritable(error, shown(one.target.target_path))
    except Exception:
        _log.exception("copies.not_committed", operation=one.target.operation_id, target=one.target.number)
        return InternalError("the hub made a mistake, which its log holds")
    return None


def _row(changes: dict[str, Any]) -> dict[str, Any]:
    return {"error": None, "error_code": None, "kept_bytes": None, **changes}
