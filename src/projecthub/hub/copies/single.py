"""One pair of paths, copied at once: a plan with one target that is applied.

It is written down only when its contents are staged: as what is to get its place, and then as what has it.

Source: Wire contract 0, 2.3.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from projecthub.errors import CallTimeout, Conflict, HubError, InvalidArgument, NotFound
from projecthub.files import CopyOptions
from projecthub.files.copying import Application, PlanSummary, compare, walk
from projecthub.files.paths import LeavesHomeError
from projecthub.files.plans import Course
from projecthub.hub import figures
from projecthub.hub.copies.applying import Applied, Applier, failure_of, summary_json
from projecthub.hub.copies.endings import ended
from projecthub.hub.copies.events import event_of, told_projects
from projecthub.hub.copies.ground import NO_SOURCE, NO_TARGET, SHARE, Accesses, Shared, share_id_of
from projecthub.hub.copies.planning import place_of, plan_json
from projecthub.hub.copies.requests import ENDS, ends_of, kept_back
from projecthub.hub.copies.works import Work
from projecthub.hub.permissions import member_access, not_deleted, project_id_of
from projecthub.store.copy_records import CopyOperation, CopyState, CopyTarget, TargetState
from projecthub.wire import shapes
from projecthub.wire.methods import Ability

if TYPE_CHECKING:
    from projecthub.hub.copies.ground import Ground
    from projecthub.hub.copies.operations import Operations
    from projecthub.hub.copies.places import Place
    from projecthub.hub.principals import Principal
    from projecthub.store.records import Access
    from projecthub.wire.ids import ProjectId

_LOOKED_AT_S: Final = 1.0
"""After so long a wait it is looked again who may do what."""
_TRIES: Final = 5
"""So often it is tried to copy into a target in which somebody is at work."""


@dataclass(frozen=True, slots=True)
class _Pair:
    """One copy, and who may make it."""

    work: Work
    target: CopyTarget
    accesses: Accesses
    options: CopyOptions
    course: Course

    @property
    def operation(self) -> CopyOperation:
        return self.work.operation


class SingleCopies:
    """Copies one path at a time."""

    def __init__(self, ground: Ground, applier: Applier, operations: Operations) -> None:
        """Make ready."""
        self._ground = ground
        self._applier = applier
        self._operations = operations

    async def copy(self, caller: Principal, request: shapes.CopyPath) -> shapes.CopySummary:
        """Copy a file, or what is in a directory; neither project needs to run, or to have run ever.

        On any error, nothing of the target has changed.

        Raises:
            InvalidArgument: An id that is none, no source path, or a path that leaves its home.
            PermissionDenied: The caller is not on both projects.
            Conflict: The target project is deleted.
            NotFound: The source path is not there.
            LimitError: It exceeds the disk quota of the target, or the disk is full.
            CallTimeout: ``timeout`` is over, and nothing was changed.
        """
        source, target = _projects_of(request)
        async with self._ground.store.read() as tx:
            source_access = await member_access(tx, caller, source, NO_SOURCE, Ability.READ)
            target_access = await member_access(tx, caller, target, NO_TARGET, Ability.WRITE)
        not_deleted(target_access.project)
        accesses = Accesses({source: source_access, target: target_access}, enabled=True)
        return await self._copied(self._pair(caller, request, accesses), request.timeout)

    async def copy_shared(
        self, caller: Principal, request: shapes.CopyPath, share: Shared, source: Access, target: Access
    ) -> shapes.CopySummary:
        """Copy what somebody may see of a share, and write into the target; both were looked at. Errors as `copy`."""
        by_id = {access.project.project_id: access for access in (source, target)}
        return await self._copied(
            self._pair(caller, request, Accesses(by_id, enabled=True, share=share)), request.timeout
        )

    async def _copied(self, pair: _Pair, timeout_s: float | None) -> shapes.CopySummary:
        began = time.perf_counter()
        try:
            summary = await self._copy(pair, timeout_s)
        except HubError as error:
            figures.copied(time.perf_counter() - began, 0, outcome=error.code)
            if not isinstance(error, InvalidArgument | NotFound):
                await self._note(pair, {**event_of(pair.operation, pair.target), "error": error.code})
            raise
        seconds = time.perf_counter() - began
        figures.copied(seconds, summary["bytes"])
        return {**summary, "seconds": round(seconds, 6)}

    def _pair(self, caller: Principal, request: shapes.CopyPath, accesses: Accesses) -> _Pair:
        now, operation_id = self._ground.clock.now(), str(uuid.uuid4())
        source, target = _projects_of(request)
        assert request.src_path is not None
        target_path = request.src_path if request.target_path is None else request.target_path
        exclude = [*(request.exclude or ()), *kept_back((request.src_path, target_path))]
        options = CopyOptions(
            overwrite_newer=request.overwrite_newer,
            delete_missing=request.delete_missing,
            backup=request.backup,
            exclude=tuple(exclude),
            timeout_s=request.timeout,
        )
        of_share = {} if accesses.share is None else {SHARE: accesses.share.id}
        operation = CopyOperation(
            id=operation_id,
            account_id=caller.account_id,
            state=CopyState.RUNNING,
            policy=options.policy,
            options={
                "overwrite_newer": options.overwrite_newer,
                "delete_missing": options.delete_missing,
                "backup": options.backup,
                "exclude": exclude,
                **of_share,
                ENDS: ends_of([(source, request.src_path, target, target_path)]),
            },
            applies=True,
            created_at=now,
            updated_at=now,
            expires_at=now,
        )
        row = CopyTarget(
            operation_id=operation_id,
            number=0,
            source_project_id=source,
            source_path=request.src_path,
            target_project_id=target,
            target_path=target_path,
            state=TargetState.PLANNED,
            manifest=self._ground.new_manifest(operation_id),
        )
        return _Pair(Work(operation), row, accesses, options, Course(request.timeout))

    async def _copy(self, pair: _Pair, timeout_s: float | None) -> shapes.CopySummary:
        ground = self._ground
        for access in pair.accesses.by_id.values():
            await ground.homes.opened(access.project)
        async with AsyncExitStack() as held:
            held.enter_context(self._operations.hold(pair.work))
            asked_at = time.monotonic()
            try:
                async with asyncio.timeout(timeout_s):
                    await held.enter_async_context(ground.places.hold([_place_of(pair.target)]))
            except TimeoutError:
                raise CallTimeout(
                    f"timeout: another copy was on its way to the same place for {timeout_s:g} s; nothing was copied; "
                    "copy again, with a longer timeout"
                ) from None
            if time.monotonic() - asked_at >= _LOOKED_AT_S:
                pair = await self._looked_at(pair)
            try:
                one = await self._prepared(pair)
            except BaseException:
                ground.remove(pair.operation.id)
                raise
            return await self._carried_out(pair, one)

    async def _looked_at(self, pair: _Pair) -> _Pair:
        """The pair, with who may do what now.

        Raises:
            PermissionDenied, Conflict, NotFound: It may not be copied any more.
        """
        async with self._ground.store.read() as tx:
            accesses = await self._ground.accesses(tx, pair.operation, [pair.target])
        if (error := accesses.refusal(pair.target)) is not None:
            raise error
        return replace(pair, accesses=accesses)

    async def _prepared(self, pair: _Pair) -> Applied:
        """Plan and stage; the target is as it was."""
        plan = await self._ground.homes.at_once(lambda: self._plan(pair), cancel=pair.course.cancel)
        for tries_left in reversed(range(_TRIES)):
            one = await self._admitted(pair, plan)
            application = one.application
            if application is None:
                return one

            def stage(application: Application = application, files: int = plan.files) -> None:
                self._ground.homes.workers.stage_one(application, files)
                application.sync()

            try:
                await self._ground.homes.at_once(stage, cancel=pair.course.cancel)
                return one
            except BaseException as error:
                assert one.allowance is not None
                one.allowance.close()
                if not isinstance(error, Conflict) or not tries_left:
                    raise
            # Somebody is at work in the target: nobody has seen the plan, so it may be another one.
            plan = await self._ground.homes.at_once(lambda: self._compare(pair), cancel=pair.course.cancel)
        raise AssertionError  # the last try returns or raises

    async def _admitted(self, pair: _Pair, plan: PlanSummary) -> Applied:
        one = Applied(replace(pair.target, summary=plan_json(plan)), plan)
        await self._applier.admit(pair.work, one, pair.accesses, pair.options, course=pair.course)
        if one.error is not None:
            raise one.error
        return one

    def _plan(self, pair: _Pair) -> PlanSummary:
        """Walk and compare; blocks."""
        ground, target, options = self._ground, pair.target, pair.options
        assert target.manifest is not None
        ground.make_directory(pair.operation.id)
        manifest, source = ground.manifest(target.manifest), ground.source(target)
        pair.accesses.require_within(source)
        walk(source, manifest, exclude=options.exclude, hashes=False, course=pair.course)
        return self._compare(pair)

    def _compare(self, pair: _Pair) -> PlanSummary:
        ground, target = self._ground, pair.target
        assert target.manifest is not None
        plan = ground.plan(target)
        plan.unlink(missing_ok=True)  # a record may still have it under another name
        source, manifest, place = ground.source(target), ground.manifest(target.manifest), ground.target(target)
        return compare(source, manifest, place, plan, options=pair.options, course=pair.course)

    async def _carried_out(self, pair: _Pair, one: Applied) -> shapes.CopySummary:
        if one.application is None:
            summary = one.plan.idle_summary()
            self._ground.remove(pair.operation.id)
            await self._note(pair, {**event_of(pair.operation, pair.target), "files": 0, "bytes": 0})
            return {**summary_json(summary), "seconds": 0.0}  # type: ignore[typeddict-item]
        try:
            async with self._ground.store.write() as tx:
                committing = replace(one.target, state=TargetState.COMMITTING)
                await tx.copies.create(pair.operation, [committing])
        except BaseException:
            await self._take_away(pair, one)
            raise
        finally:
            assert one.allowance is not None
            one.allowance.close()
        await self._operations.to_its_end(pair.operation, self._end(pair, one))
        if one.error is not None:
            raise one.error
        assert one.summary is not None
        told = {**summary_json(one.summary), "operation_id": pair.operation.id}
        return {**told, "seconds": 0.0}  # type: ignore[typeddict-item]

    async def _take_away(self, pair: _Pair, one: Applied) -> None:
        """It could not be marked: nothing of it stays, unless it is marked after all."""
        application = one.application
        assert application is not None
        async with self._ground.store.read() as tx:
            is_there = await tx.copies.get(pair.operation.id) is not None
        if is_there:
            self._operations.begin(pair.operation)
            return
        await self._ground.homes.at_once(application.discard)
        self._ground.remove(pair.operation.id)

    async def _end(self, pair: _Pair, one: Applied) -> None:
        """Give what is marked its place, and say so."""
        try:
            await self._applier.commit(pair.operation, [one], at_once=True)
        finally:
            self._applier.poke([one.target])
        row = one.row() if one.error is None else failure_of(one.error)
        done = replace(one.target, state=row["state"], summary=row["summary"], kept_bytes=row.get("kept_bytes"))
        async with self._ground.store.write() as tx:
            await self._applier.note(tx, pair.operation, [one], ())
            await tx.copies.update(pair.operation.id, ended([done], self._ground.clock.now(), applied=True))
        await self._applier.noted([one])

    async def _note(self, pair: _Pair, event: dict[str, object]) -> None:
        """Write into the logs of its projects what came of a copy that has no row."""
        projects, share_id = told_projects(pair.operation, pair.target), share_id_of(pair.operation)
        told = {name: value for name, value in event.items() if name != "operation_id"}
        async with self._ground.store.write() as tx:
            entries = [(project, told) for project in projects]
            await tx.log.append_all(entries, pair.operation.account_id, at=self._ground.clock.now())
            if share_id is not None and "error" not in event:
                await tx.shares.count(share_id)


def _place_of(target: CopyTarget) -> Place:
    """Where it goes. What is no path is told of when it is looked for; until then it is all of the home."""
    try:
        return place_of(target)
    except (LeavesHomeError, InvalidArgument):
        return target.target_project_id, ""


def _projects_of(request: shapes.CopyPath) -> tuple[ProjectId, ProjectId]:
    source = project_id_of(request.src_project_id)
    if request.target_project_id == "":
        raise InvalidArgument("target_project_id= is invalid")
    target = source if request.target_project_id is None else project_id_of(request.target_project_id)
    if request.src_path is None:
        raise InvalidArgument("path must be specified")
    if request.timeout is not None and request.timeout <= 0:
        raise InvalidArgument(f"timeout is {request.timeout}; give a number of seconds above 0")
    return source, target
