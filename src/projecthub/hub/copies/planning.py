"""Plans: every source is walked once, and compared with each of its targets. Nothing of a target changes."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import structlog

from projecthub.errors import HubError, InternalError, InvalidArgument, LimitError, NotFound
from projecthub.files.copying import PlanSummary, SourceSummary, compare, walk
from projecthub.files.copying.manifests import fields_of
from projecthub.files.paths import reduced, shown
from projecthub.files.plans import CopyCancelledError, CopyOptions, Policy
from projecthub.hub.copies.endings import ended
from projecthub.hub.copies.replies import totals_of
from projecthub.hub.copies.requests import SKIP_MISSING, options_of
from projecthub.store.copy_records import CopyState, TargetState

if TYPE_CHECKING:
    from projecthub.hub.copies.ground import Accesses, Ground
    from projecthub.hub.copies.works import Work
    from projecthub.store.copy_records import CopyTarget
    from projecthub.wire.ids import ProjectId

_MANY_SOURCES: Final = 32
"""From so many on processes walk and compare: each source costs a walk, while one for all costs next to nothing."""
_WRITTEN_TOGETHER: Final = 500
"""Targets whose rows are changed in one transaction."""

HOPELESS: Final = (TargetState.FAILED, TargetState.REFUSED)
"""States of targets that nothing can be applied to."""

_log = structlog.get_logger()


def refused(error: HubError, state: TargetState = TargetState.REFUSED) -> dict[str, Any]:
    """What becomes of the row of a target that is not copied to."""
    return {"state": state, "error": error.message, "error_code": error.code, "summary": None}


def place_of(target: CopyTarget) -> tuple[ProjectId, str]:
    """Where a target is, in one way of writing."""
    return target.target_project_id, reduced(target.target_path)


@dataclass(frozen=True, slots=True)
class Comparison:
    """All that comparing one source with its targets takes."""

    manifest: Path
    options: CopyOptions
    bases: Mapping[tuple[ProjectId, str], str]


class Planner:
    """Makes plans."""

    def __init__(self, ground: Ground) -> None:
        """Make ready."""
        self._ground = ground

    async def plan(self, work: Work) -> None:
        """Plan all targets of an operation that wait for it, and say what comes then."""
        ground, operation = self._ground, work.operation
        async with ground.store.read() as tx:
            targets = await tx.copies.targets(operation.id, states=[TargetState.PLANNING])
            accesses = await ground.accesses(tx, operation, targets)
            bases = await tx.copies.handed_out([place_of(target) for target in targets])
        work.begin_anew(len(targets))
        ground.make_directory(operation.id)
        sources: dict[tuple[ProjectId, str], list[CopyTarget]] = defaultdict(list)
        for target in targets:
            sources[target.source_project_id, target.source_path].append(target)
        options = options_of(operation.policy, operation.options)
        work.has_many_sources = len(sources) >= _MANY_SOURCES
        planned: dict[int, dict[str, Any]] = {}
        async with asyncio.TaskGroup() as group:
            for those in sources.values():
                group.create_task(self._plan_source(work, those, accesses, options, bases, planned))
        if not work.is_cancelled:
            await self._weigh(targets, accesses, planned)
        await self._write(work, planned)

    async def _plan_source(
        self,
        work: Work,
        targets: Sequence[CopyTarget],
        accesses: Accesses,
        options: CopyOptions,
        bases: Mapping[tuple[ProjectId, str], str],
        planned: dict[int, dict[str, Any]],
    ) -> None:
        able: list[CopyTarget] = []
        for target in targets:
            error = accesses.refusal(target)
            if error is None:
                able.append(target)
            else:
                planned[target.number] = _row(target, refused(error))
                work.done_with(target.number)
        if not able or work.is_cancelled:
            return
        name = self._ground.new_manifest(work.operation.id)
        try:
            walked = await self._walk(work, able[0], name, options, accesses)
            _require_directory(able[0].source_path, walked.name)
        except HubError as error:
            is_missing = isinstance(error, NotFound) and work.operation.options.get(SKIP_MISSING)
            for target in able:
                state = TargetState.MISSING if is_missing else TargetState.FAILED
                planned[target.number] = _row(target, refused(error, state))
                work.done_with(target.number)
            return
        except CopyCancelledError:
            return
        if any(target.target_path.endswith("/") for target in able):
            able = [_landed(target, walked.name) for target in able]
            async with self._ground.store.read() as tx:
                bases = await tx.copies.handed_out([place_of(target) for target in able])
        comparison = Comparison(self._ground.manifest(name), options, bases)

        async def one(target: CopyTarget) -> None:
            changes = await self._compare(work, target, comparison, accesses)
            if changes is not None:
                planned[target.number] = {**_row(target, changes), "manifest": name}
            work.done_with(target.number)

        async with asyncio.TaskGroup() as group:
            for target in able:
                group.create_task(one(target))

    async def _walk(
        self, work: Work, target: CopyTarget, name: str, options: CopyOptions, accesses: Accesses
    ) -> SourceSummary:
        ground = self._ground
        project = accesses.by_id[target.source_project_id].project
        await ground.homes.opened(project)
        course = work.course(target.number)
        source, manifest, hashes = ground.source(target), ground.manifest(name), needs_hashes(options)
        walk_one = ground.homes.workers.walk if work.has_many_sources else walk

        def walked() -> SourceSummary:
            accesses.require_within(source)
            return walk_one(source, manifest, exclude=options.exclude, hashes=hashes, course=course)

        return await ground.homes.in_turn(walked, cancel=course.cancel)

    async def _compare(
        self, work: Work, target: CopyTarget, comparison: Comparison, accesses: Accesses
    ) -> dict[str, Any] | None:
        """What becomes of the row of a target; None: it was cancelled before."""
        if work.is_cancelled:
            return None
        try:
            summary = await self._compare_with(work, target, comparison, accesses)
        except CopyCancelledError:
            return None
        except HubError as error:
            return refused(error, TargetState.FAILED)
        except Exception:
            _log.exception("copies.not_compared", operation=target.operation_id, target=target.number)
            return refused(InternalError("the hub made a mistake, which its log holds"), TargetState.FAILED)
        base = comparison.bases.get(place_of(target))
        return {"state": TargetState.PLANNED, "summary": plan_json(summary), "base": base}

    async def _compare_with(
        self, work: Work, target: CopyTarget, comparison: Comparison, accesses: Accesses
    ) -> PlanSummary:
        ground = self._ground
        await ground.homes.opened(accesses.by_id[target.target_project_id].project)
        course = work.course(target.number)
        base = ground.base(comparison.bases.get(place_of(target)))
        source, place, plan = ground.source(target), ground.target(target), ground.plan(target)
        manifest, options = comparison.manifest, comparison.options
        compare_one = ground.homes.workers.compare if work.has_many_sources else compare
        return await ground.homes.in_turn(
            lambda: compare_one(source, manifest, place, plan, options=options, base=base, course=course),
            cancel=course.cancel,
        )

    async def _weigh(
        self, targets: Sequence[CopyTarget], accesses: Accesses, planned: Mapping[int, dict[str, Any]]
    ) -> None:
        """Say of each target whether it would be over its project's quota, with those of the project before it."""
        added: dict[ProjectId, int] = defaultdict(int)
        for target in targets:
            row = planned.get(target.number)
            if row is None or row["state"] is not TargetState.PLANNED:
                continue
            summary = row["summary"]
            more = summary["added"] - summary["freed"]
            if more > 0:
                added[target.target_project_id] += more
            row["summary"] = {**summary, "over_quota": False}
            if more <= 0:
                continue
            project = accesses.by_id[target.target_project_id].project
            try:
                (await self._ground.homes.admit(project, added[target.target_project_id], 0)).close()
            except LimitError as error:
                row["summary"]["over_quota"] = "quota_bytes" in error.details

    async def _write(self, work: Work, planned: Mapping[int, dict[str, Any]]) -> None:
        """Say what was planned, and then that the plan is there."""
        ground, operation = self._ground, work.operation
        numbers = sorted(planned)
        for start in range(0, len(numbers), _WRITTEN_TOGETHER):
            async with ground.store.write() as tx:
                chunk = {number: planned[number] for number in numbers[start : start + _WRITTEN_TOGETHER]}
                await tx.copies.update_targets(operation.id, chunk)
        if work.is_cancelled:
            return
        state = CopyState.RUNNING if operation.applies else CopyState.PLANNED
        async with ground.store.write() as tx:
            targets = await tx.copies.targets(operation.id)
            now = ground.clock.now()
            if not operation.applies and all(target.state in HOPELESS for target in targets):
                changes = ended(targets, now, applied=False)  # of such a plan there is nothing to apply
            else:
                changes = {"state": state, "updated_at": now, "totals": totals_of(targets)}
            await tx.copies.update(operation.id, changes, states=[CopyState.PLANNING])


def plan_json(summary: PlanSummary) -> dict[str, Any]:
    """What a plan comes to, for its row."""
    return {**fields_of(summary), "counts": {**summary.counts}, "kept_newer_paths": [*summary.kept_newer_paths]}


def plan_of(target: CopyTarget) -> PlanSummary:
    """What the plan of a target comes to, from its row."""
    told = target.summary or {}
    return PlanSummary(**{name: told[name] for name in PlanSummary.__dataclass_fields__ if name in told})


def _landed(target: CopyTarget, name: str | None) -> CopyTarget:
    """A target whose path ends with a slash is a directory: a single file, which has a name, lands in it."""
    path = target.target_path
    if not path.endswith("/"):
        return target
    return replace(target, target_path=(path.rstrip("/") or ".") if name is None else path + name)


def _require_directory(path: str, name: str | None) -> None:
    """A source whose path ends with a slash is a directory, or leads to one.

    Raises:
        InvalidArgument: It is a single file, or a symlink to one.
    """
    if path.endswith("/") and name is not None:
        raise InvalidArgument(f"'{shown(path.rstrip('/'))}' is no directory, which it has to be to be copied here")


def needs_hashes(options: CopyOptions) -> bool:
    """Whether it has to be known for certain who changed what."""
    return options.policy in (Policy.KEEP, Policy.MERGE)


def _row(target: CopyTarget, changes: dict[str, Any]) -> dict[str, Any]:
    """The same columns for all, as one statement changes them."""
    unset = {"error": None, "error_code": None, "manifest": None, "base": None, "summary": None}
    return {**unset, "target_path": target.target_path, **changes}
