"""Undoing copies: what was displaced comes back, and what was made goes, unless it was changed since."""

from __future__ import annotations

import contextlib
from collections import defaultdict
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from projecthub.errors import HubError, InternalError, NotFound
from projecthub.files.copying import discard, sync_file_system, undo
from projecthub.files.copying.telling import tell_undone
from projecthub.files.failures import unwritable
from projecthub.files.paths import shown
from projecthub.files.plans import Course
from projecthub.hub.copies.applying import BATCH
from projecthub.hub.copies.ground import UNDONE
from projecthub.hub.copies.planning import place_of
from projecthub.hub.disk_limits import hold
from projecthub.store.copy_records import TargetState

if TYPE_CHECKING:
    from collections.abc import Callable

    from projecthub.hub.copies.ground import Ground
    from projecthub.hub.copies.works import Work
    from projecthub.store import Transaction
    from projecthub.store.copy_records import CopyTarget
    from projecthub.wire.ids import AccountId, ProjectId


_MAX_AGAIN: Final = 100
"""So many times may the same have been copied again, and its undoing is still known to be that of all of them."""


class Undoer:
    """Undoes what is marked for it; may be cut short and begun again at any point."""

    def __init__(self, ground: Ground) -> None:
        """Make ready."""
        self._ground = ground

    async def undo(self, work: Work) -> bool:
        """Undo all targets of an operation that wait for it; tells whether there are any."""
        async with self._ground.store.read() as tx:
            targets = await tx.copies.targets(work.operation.id, states=[TargetState.UNDOING])
        if not targets:
            return False
        work.begin_anew(len(targets))
        for start in range(0, len(targets), BATCH):
            batch = targets[start : start + BATCH]
            async with self._ground.places.hold(place_of(target) for target in batch):
                for project_id in {target.target_project_id for target in batch}:
                    with contextlib.suppress(HubError):  # what cannot be written now is not lost by that
                        await self._ground.histories.write_down(project_id)  # it keeps what is put back
                undoings = [self._undoing(target, work.operation.account_id) for target in batch]
                outcomes = await self._ground.each(undoings)
                # What is put back is on the disk before it is told, and before the record goes that could do it anew.
                await self._ground.each([lambda: sync_file_system(self._ground.homes.operations)])
                await self._note(work, batch, outcomes)
            for target in batch:
                work.done_with(target.number)
        return True

    def _undoing(self, target: CopyTarget, account_id: AccountId) -> Callable[[], dict[str, Any]]:
        """Undo one target; tells what becomes of its row. Blocks."""
        record, home = self._ground.record(target), self._ground.homes.path(target.target_project_id)

        keeper = self._ground.histories.keeper(target.target_project_id, account_id, UNDONE)

        def work() -> dict[str, Any]:
            try:
                done = undo(record, home, course=Course(None))  # nobody cancels it
                with contextlib.closing(keeper), contextlib.suppress(OSError):
                    tell_undone(record, keeper)
            except NotFound:
                return _row(target, InternalError("what it takes to undo it is gone"), kept_bytes=None)
            except HubError as error:
                return _row(target, error, kept_bytes=target.kept_bytes)
            except OSError as error:
                return _row(target, unwritable(error, shown(target.target_path)), kept_bytes=target.kept_bytes)
            undone = {
                "restored": done.restored,
                "removed": done.removed,
                "kept": done.kept,
                "kept_paths": [shown(path) for path in done.kept_paths],
            }
            return {
                "state": TargetState.UNDONE,
                "summary": {**(target.summary or {}), "undone": undone},
                "error": None,
                "error_code": None,
                "kept_bytes": None,
            }

        return self._ground.homes.lending([target.target_project_id], work)

    async def _note(self, work: Work, batch: Sequence[CopyTarget], outcomes: Sequence[dict[str, Any]]) -> None:
        operation, ground = work.operation, self._ground
        rows = {target.number: row for target, row in zip(batch, outcomes, strict=True)}
        undone = [target for target in batch if rows[target.number]["state"] is TargetState.UNDONE]
        sums: dict[ProjectId, dict[str, int]] = defaultdict(
            lambda: {"targets": 0, "restored": 0, "removed": 0, "kept": 0}
        )
        for target in undone:
            sum_, told = sums[target.target_project_id], rows[target.number]["summary"]["undone"]
            sum_["targets"] += 1
            for name in ("restored", "removed", "kept"):
                sum_[name] += told[name]
        entries = [
            (project, {"event": "copy_undone", "operation_id": operation.id, **sum_}) for project, sum_ in sums.items()
        ]
        async with ground.store.write() as tx:
            await tx.copies.update_targets(operation.id, rows)
            last = await _last_of_same(tx, undone)
            back = [(*place_of(one), last[one.number], one.base) for one in undone if one.number in last]
            await tx.copies.take_back(back)
            await tx.log.append_all(entries, operation.account_id, at=ground.clock.now())
        records = [ground.record(target) for target in batch if rows[target.number]["kept_bytes"] is None]
        await ground.each([lambda record=record: discard(record) for record in records])  # type: ignore[misc]
        await hold(ground.store, ground.homes, [target.target_project_id for target in batch])


async def _last_of_same(tx: Transaction, targets: Sequence[CopyTarget]) -> dict[int, str]:
    """By number, the list of the last copy to a place that found there what an earlier one made, and changed nothing.

    Of a target to whose place nothing was copied again it is its own.
    """
    last = {target.number: target.manifest for target in targets if target.manifest is not None}
    waiting = {target.number: place_of(target) for target in targets if target.number in last}
    for _ in range(_MAX_AGAIN):
        projects = {project_id for project_id, _ in waiting.values()}
        found = await tx.copies.planned_on({last[number] for number in waiting}, projects) if waiting else []
        again = {(one.base, place_of(one)): one.manifest for one in found if one.manifest is not None and _is_idle(one)}
        waiting = {number: place for number, place in waiting.items() if (last[number], place) in again}
        if not waiting:
            break
        last |= {number: again[last[number], place] for number, place in waiting.items()}
    return last


def _is_idle(target: CopyTarget) -> bool:
    done = target.summary or {}
    return not (done.get("files") or done.get("deleted"))


def _row(target: CopyTarget, error: HubError, *, kept_bytes: int | None) -> dict[str, Any]:
    """What becomes of the row of a target that could not be undone: it is done, as it was."""
    return {
        "state": TargetState.DONE,
        "summary": target.summary,
        "error": f"it was not undone: {error.message}",
        "error_code": error.code,
        "kept_bytes": kept_bytes,
    }
