"""What the logs of projects tell of copies."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any

from projecthub.files.paths import shown
from projecthub.hub.copies.ground import share_id_of
from projecthub.hub.copies.replies import totals_of
from projecthub.store.copy_records import TargetState

if TYPE_CHECKING:
    from projecthub.hub.copies.applying import Applied
    from projecthub.store.copy_records import CopyOperation, CopyTarget
    from projecthub.wire.ids import ProjectId


def told_projects(operation: CopyOperation, target: CopyTarget) -> list[ProjectId]:
    """In whose logs a copy stands: its two projects; of one from a share the target alone, for shares are for all."""
    if share_id_of(operation) is not None:
        return [target.target_project_id]
    return [*dict.fromkeys((target.source_project_id, target.target_project_id))]


def shared_projects(operation: CopyOperation, targets: Sequence[CopyTarget]) -> set[ProjectId]:
    """Projects that more than one target of an operation is about: their logs have one entry for all."""
    times = Counter(project for target in targets for project in told_projects(operation, target))
    return {project for project, n in times.items() if n > 1}


def event_of(operation: CopyOperation, target: CopyTarget) -> dict[str, Any]:
    """The event of one pair, without what came of it."""
    share_id = share_id_of(operation)
    source = {"src_project_id": target.source_project_id} if share_id is None else {"public_path_id": share_id}
    return {
        "event": "path_copied",
        "operation_id": target.operation_id,
        **source,
        "src_path": shown(target.source_path),
        "target_project_id": target.target_project_id,
        "target_path": shown(target.target_path),
    }


def events_of(
    operation: CopyOperation, one: Applied, shared: Collection[ProjectId]
) -> list[tuple[ProjectId, dict[str, Any]]]:
    """What the logs of the projects of a target tell of it."""
    assert one.summary is not None
    event = {**event_of(operation, one.target), "files": one.summary.files, "bytes": one.summary.bytes}
    return [(project, event) for project in told_projects(operation, one.target) if project not in shared]


def events_of_all(operation: CopyOperation, targets: Sequence[CopyTarget]) -> list[tuple[ProjectId, dict[str, Any]]]:
    """What the logs of projects that have many of the targets tell of the whole operation."""
    totals = totals_of(targets)
    event = {
        "event": "paths_copied",
        "operation_id": operation.id,
        "targets": totals["targets"],
        "done": totals["states"].get(TargetState.DONE, 0),
        "files": totals["files"],
        "bytes": totals["bytes"],
    }
    return [(project, event) for project in sorted(shared_projects(operation, targets))]
