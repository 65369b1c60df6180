"""What is told of copies, in the wire's shapes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Final

from projecthub.files.paths import encoded, shown
from projecthub.hub.copies.ground import SHARE, share_id_of
from projecthub.hub.copies.requests import ENDS
from projecthub.store.copy_records import OPEN_STATES, CopyState, TargetState
from projecthub.wire.units import to_iso

if TYPE_CHECKING:
    from projecthub.files.copying import PlannedFile
    from projecthub.hub.copies.works import Work
    from projecthub.store.copy_records import CopyOperation, CopyTarget
    from projecthub.wire import copies as shapes

_PLANNED: Final = ("counts", "files", "bytes", "over_quota", "skipped", "unchanged", "kept_newer", "kept_newer_paths")
_APPLIED: Final = ("deleted", "backed_up", "undone", "vanished")
_NOT_DONE: Final = (
    TargetState.PLANNING,
    TargetState.PLANNED,
    TargetState.COMMITTING,
    TargetState.UNDOING,
    TargetState.CANCELLED,
)
_NOT_COUNTED: Final = (
    TargetState.FAILED,
    TargetState.REFUSED,
    TargetState.CANCELLED,
    TargetState.MISSING,
    TargetState.UNDONE,
)
_NS_PER_MS: Final = 1_000_000


def state_of(targets: Iterable[CopyTarget]) -> CopyState:
    """How an operation has ended, from how its targets have."""
    ended = [*targets]
    states = {target.state for target in ended}
    if TargetState.UNDONE in states and all(_is_idle(one) for one in ended if one.state is TargetState.DONE):
        return CopyState.UNDONE
    if states & {TargetState.FAILED, TargetState.REFUSED}:
        return CopyState.FAILED
    return CopyState.CANCELLED if TargetState.CANCELLED in states else CopyState.DONE


def _is_idle(target: CopyTarget) -> bool:
    """Whether there was nothing to do in a target, and so there is nothing to undo."""
    return target.summary is not None and target.summary.get("steps") == 0


def totals_of(targets: Sequence[CopyTarget]) -> dict[str, Any]:
    """Sums over targets: what is to be written, or was."""
    counts: Counter[str] = Counter()
    files = written = 0
    for target in targets:
        if target.summary is not None and target.state not in _NOT_COUNTED:
            counts.update(target.summary["counts"])
            files += target.summary["files"]
            written += target.summary["bytes"]
    states = Counter(str(target.state) for target in targets)
    return {"counts": {**counts}, "files": files, "bytes": written, "targets": len(targets), "states": {**states}}


def operation_of(
    operation: CopyOperation, targets: Sequence[CopyTarget] | None, work: Work | None
) -> shapes.CopyOperation:
    """An operation.

    Args:
        operation: Its row.
        targets: Their rows; None: nothing is told of each, and the sums are those of its own row.
        work: What is under way of it.
    """
    totals: Any = {**_NOTHING, **(operation.totals if targets is None else totals_of(targets))}
    reply: shapes.CopyOperation = {
        "id": operation.id,
        "state": operation.state,
        "policy": operation.policy,
        "applied": operation.applies,
        "created": to_iso(operation.created_at),
        "updated": to_iso(operation.updated_at),
        "expires": to_iso(operation.expires_at),
        "totals": totals,
        "progress": _progress(operation, totals, work),
    }
    reply.update(_ends(operation))  # type: ignore[typeddict-item]
    if operation.finished_at is not None:
        reply["finished"] = to_iso(operation.finished_at)
    if operation.undo_until is not None:
        reply["undo_until"] = to_iso(operation.undo_until)
    if targets is not None:
        at_work = set() if work is None else {*work.courses}
        reply["targets"] = [target_of(target, is_at_work=target.number in at_work) for target in targets]
    return reply


def _ends(operation: CopyOperation) -> dict[str, Any]:
    """From where to where; nothing of those that an older hub has made."""
    ends: dict[str, Any] = {**operation.options.get(ENDS, {})}
    if ends and (share_id := share_id_of(operation)) is not None:
        ends["source"] = {**ends["source"], SHARE: share_id}
    return ends


_NOTHING: Final[dict[str, Any]] = {"counts": {}, "files": 0, "bytes": 0, "targets": 0, "states": {}}


def _progress(operation: CopyOperation, totals: dict[str, Any], work: Work | None) -> shapes.CopyProgress:
    if work is not None and operation.state in OPEN_STATES:
        return work.progress()
    done = sum(n for state, n in totals["states"].items() if state not in _NOT_DONE)
    is_there = operation.state not in (CopyState.PLANNING, CopyState.PLANNED)
    return {
        "files": totals["files"] if is_there else 0,
        "bytes": totals["bytes"] if is_there else 0,
        "targets_done": done,
        "targets": totals["targets"],
    }


def target_of(target: CopyTarget, *, is_at_work: bool = False) -> shapes.CopyTargetRow:
    """One target."""
    staging = is_at_work and target.state is TargetState.PLANNED
    reply: shapes.CopyTargetRow = {
        "number": target.number,
        "source_project_id": target.source_project_id,
        "source_path": shown(target.source_path),
        "target_project_id": target.target_project_id,
        "target_path": shown(target.target_path),
        "state": TargetState.STAGING if staging else target.state,
    }
    told: dict[str, Any] = {}
    if target.summary is not None:
        told = {name: target.summary[name] for name in (*_PLANNED, *_APPLIED) if name in target.summary}
    if target.error is not None:
        told["error"] = target.error
    if target.error_code is not None:
        told["error_code"] = target.error_code
    if target.state is TargetState.DONE:
        told["can_undo"] = target.kept_bytes is not None
    reply.update(told)  # type: ignore[typeddict-item]
    return reply


def file_of(file: PlannedFile) -> shapes.PlannedFile:
    """One file of a plan."""
    reply: shapes.PlannedFile = {
        "number": file.number,
        "path": shown(file.path),
        "status": file.status,
        "action": file.action,
        "size": file.size,
        "mtime": file.mtime_ns // _NS_PER_MS,
    }
    if (code := encoded(file.path)) is not None:
        reply["encoded_path"] = code
    if file.beside is not None:
        reply["beside"] = shown(file.beside)
    return reply
