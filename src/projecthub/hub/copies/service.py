"""Copies between projects, from one to many and from many to one: planned, applied, followed, undone.

An operation belongs to whoever made it. To others there is none of that id.

Source: docs/wire-extensions.md.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from projecthub.errors import Conflict, HubError, InvalidArgument, LimitError, NotFound
from projecthub.files.copying import Status, planned_files
from projecthub.hub.copies import replies
from projecthub.hub.copies.applying import Applier
from projecthub.hub.copies.endings import PLAN_KEPT, ended
from projecthub.hub.copies.ground import NO_TARGET, Ground, no_share
from projecthub.hub.copies.keeping import Keeping
from projecthub.hub.copies.operations import Operations
from projecthub.hub.copies.places import Places
from projecthub.hub.copies.planning import HOPELESS, Planner
from projecthub.hub.copies.requests import path_in_share, share_named, wanted_of
from projecthub.hub.copies.single import SingleCopies
from projecthub.hub.copies.trimming import Trimming
from projecthub.hub.copies.undoing import Undoer
from projecthub.hub.permissions import is_shown, member_access, project_id_of
from projecthub.store.copy_records import LEFT_OVER, OPEN_STATES, CopyOperation, CopyState, CopyTarget, TargetState
from projecthub.wire import copies as shapes
from projecthub.wire.errors import BY_CODE
from projecthub.wire.ids import is_uuid
from projecthub.wire.methods import Ability

if TYPE_CHECKING:
    from projecthub.hub.clock import Clock
    from projecthub.hub.copies.ground import Shared
    from projecthub.hub.copies.requests import Wanted
    from projecthub.hub.histories import Histories
    from projecthub.hub.homes import ProjectHomes
    from projecthub.hub.principals import Principal
    from projecthub.store import Store, Transaction
    from projecthub.store.records import Access
    from projecthub.wire.shapes import CopyPath, CopySummary

MAX_PLANS: Final = 100
"""Of one account, neither applied nor cancelled. One more, and the oldest that is made gives way."""
MAX_LISTED: Final = 500
MAX_FILES: Final = 10_000
_NOT_DONE: Final = (
    "it has copied nothing that could be undone, or that was too long ago, or it was forgotten, or the hub was "
    "restored from a backup since"
)


class Copies:
    """Copies of all kinds."""

    def __init__(self, store: Store, homes: ProjectHomes, clock: Clock, histories: Histories) -> None:
        """Make the service."""
        self._store = store
        self._clock = clock
        self._ground = ground = Ground(store, homes, clock, Places(), histories)
        self._trimming = Trimming(ground)
        applier = Applier(ground, self._trimming)
        self._operations = Operations(ground, Planner(ground), applier, Undoer(ground))
        self._keeping = Keeping(ground, self._operations, self._trimming)
        self._single = SingleCopies(ground, applier, self._operations)

    async def open(self) -> None:
        """Bring to its end what a hub that was killed has begun."""
        await self._operations.open()

    async def close(self) -> None:
        """Stop; the next hub goes on."""
        await self._operations.close()
        await self._trimming.close()

    async def sweep(self) -> None:
        """Forget what is too old."""
        await self._keeping.sweep()

    async def copy(self, caller: Principal, request: CopyPath) -> CopySummary:
        """Copy one path. See `SingleCopies.copy`."""
        return await self._single.copy(caller, request)

    async def copy_shared(
        self, caller: Principal, request: CopyPath, share: Shared, source: Access, target: Access
    ) -> CopySummary:
        """Copy one path of a share. See `SingleCopies.copy_shared`."""
        return await self._single.copy_shared(caller, request, share, source, target)

    # -- plans -------------------------------------------------------------------------------------

    async def plan(
        self, caller: Principal, request: shapes.PlanCopies | shapes.CopyPaths, *, applies: bool = False
    ) -> shapes.CopyOperation:
        """Find out what copies would do. Nothing in any target changes.

        Args:
            caller: Who asks.
            request: From where to where.
            applies: Whether to do it then.

        Raises:
            InvalidArgument: What is asked for makes no sense.
            PermissionDenied: The caller may not do it for any of the targets.
            NotFound: There is no such source; only if the plan is waited for, and not applied.
            LimitError: Too many plans of the caller are being made, or the disk is full.
        """
        share_id = share_named(request.source)
        if share_id is not None:
            request = replace(request, source=await self._source_of(share_id, request.source or {}))
        wanted = wanted_of(request, share_id)
        self._ground.homes.require_spare_for_plan()
        operation, targets = self._rows(caller, wanted, applies=applies)
        async with self._store.read() as tx:
            accesses = await self._ground.accesses(tx, operation, targets)
        refusals = [accesses.refusal(target) for target in targets]
        if all(refusal is not None for refusal in refusals):
            assert refusals[0] is not None
            raise refusals[0]
        async with self._store.write() as tx:
            given_up = await self._make_room(tx, caller)
            await tx.copies.create(operation, targets)
        work = self._operations.begin(operation)
        if given_up is not None:
            await self._ground.each([lambda: self._ground.remove(given_up)])
        if request.wait:
            await work.ended.wait()
            if not applies:
                await self._require_plan(operation)
        return await self._told(operation.id)

    async def _source_of(self, share_id: str, source: Mapping[str, Any]) -> dict[str, Any]:
        """Where a share is, or a path below it, as a source.

        Raises:
            NotFound: Nobody gets such a share.
            InvalidArgument: The path leads out of it.
        """
        async with self._store.read() as tx:
            share = await tx.shares.told(share_id)
        if share is None or not is_shown(share):
            raise no_share(share_id)
        return {"project_id": share["project_id"], "path": path_in_share(share["path"], source)}

    async def _make_room(self, tx: Transaction, caller: Principal) -> str | None:
        """Have the oldest plan give way to a new one, if there are as many as may be; tells its id.

        Raises:
            LimitError: All of them are being made.
        """
        since = self._clock.now() - PLAN_KEPT
        if await tx.copies.count_plans(caller.account_id, since=since) < MAX_PLANS:
            return None
        oldest = await tx.copies.oldest_plan(caller.account_id, since=since)
        if oldest is None:
            raise LimitError(f"{MAX_PLANS} plans of yours are being made; wait for some of them, or cancel them")
        await self._give_up(tx, oldest)
        return oldest

    async def _give_up(self, tx: Transaction, operation_id: str) -> None:
        """Cancel a plan. What was written of it is to be removed then."""
        await tx.copies.move_targets(operation_id, (TargetState.PLANNED,), TargetState.CANCELLED)
        targets = await tx.copies.targets(operation_id)
        await tx.copies.update(operation_id, ended(targets, self._clock.now(), applied=False))

    def _rows(self, caller: Principal, wanted: Wanted, *, applies: bool) -> tuple[CopyOperation, list[CopyTarget]]:
        now = self._clock.now()
        operation = CopyOperation(
            id=str(uuid.uuid4()),
            account_id=caller.account_id,
            state=CopyState.PLANNING,
            policy=wanted.policy,
            options=wanted.options,
            applies=applies,
            created_at=now,
            updated_at=now,
            expires_at=now + PLAN_KEPT,
        )
        targets = [
            CopyTarget(
                operation_id=operation.id,
                number=number,
                source_project_id=pair.source,
                source_path=pair.source_path,
                target_project_id=pair.target,
                target_path=pair.target_path,
            )
            for number, pair in enumerate(wanted.pairs)
        ]
        return operation, targets

    async def _require_plan(self, operation: CopyOperation) -> None:
        """Nothing is kept of a plan in which there is nothing to apply.

        Raises:
            HubError: What kept its first target from being planned.
        """
        async with self._store.read() as tx:
            targets = await tx.copies.targets(operation.id)
        if all(target.state in HOPELESS for target in targets):
            await self._keeping.drop(operation)
            raise BY_CODE.get(targets[0].error_code or "", HubError)(targets[0].error)

    async def files(self, caller: Principal, request: shapes.CopyFiles) -> shapes.PlannedFiles:
        """A page of what is planned for one target, or was: each file that is not the same already.

        Raises:
            NotFound: There is no such operation or target, or nothing is known of its files, yet or any more.
            InvalidArgument: A status that is none, or a limit out of its range.
        """
        if not 1 <= request.limit <= MAX_FILES:
            raise InvalidArgument(f"limit is {request.limit}; give 1 to {MAX_FILES}")
        statuses = _statuses_of(request.statuses)
        async with self._store.read() as tx:
            operation = await _own(tx, caller, request.id)
            targets = await tx.copies.targets(operation.id, numbers=[request.number])
        if not targets:
            raise NotFound(f"copy operation '{operation.id}' has no target {request.number}; they are numbered from 0")
        plan = self._ground.plan(targets[0])

        def work() -> list[shapes.PlannedFile]:
            found = planned_files(plan, after=request.after, limit=request.limit, statuses=statuses)
            return [replies.file_of(file) for file in found]

        try:
            files = await self._ground.homes.in_turn(work)
        except FileNotFoundError:
            raise NotFound(
                f"of target {request.number} no list of files is kept: it is not planned yet, or was so long ago"
            ) from None
        return {"files": files, "next": files[-1]["number"] if len(files) == request.limit else None}

    # -- operations --------------------------------------------------------------------------------

    async def copy_paths(self, caller: Principal, request: shapes.CopyPaths) -> shapes.CopyOperation:
        """Plan, and apply the plan unless it is a dry run. Errors as `plan`."""
        return await self.plan(caller, request, applies=not request.dry_run)

    async def apply(self, caller: Principal, request: shapes.ApplyCopies) -> shapes.CopyOperation:
        """Do what is planned. Targets that have moved since stay as they are, and the others are copied to.

        Raises:
            NotFound: There is no such operation.
            Conflict: It is no plan, or not any more.
            InvalidArgument: ``only`` is none of what there is.
        """
        if request.only == "failed":
            return await self.retry(caller, shapes.RetryCopies(id=request.id, wait=request.wait))
        if request.only is not None:
            raise InvalidArgument(f"only is '{request.only[:100]}'; give 'failed', or leave it out")
        async with self._store.write() as tx:
            operation = await _own(tx, caller, request.id, lock=True)
            if operation.state is not CopyState.PLANNED:
                raise Conflict(
                    f"copy operation '{operation.id}' is {operation.state}; plan again, or retry what failed"
                )
            await tx.copies.update(operation.id, self._begun(CopyState.RUNNING))
        return await self._begin(operation, wait=request.wait)

    async def retry(self, caller: Principal, request: shapes.RetryCopies) -> shapes.CopyOperation:
        """Plan anew what has failed, was refused or cancelled, and apply that.

        Raises:
            NotFound: There is no such operation.
            Conflict: It has not ended, or nothing of it has failed.
        """
        async with self._store.write() as tx:
            operation = await _own(tx, caller, request.id, lock=True)
            self._require_ended(operation)
            empty = {"error": None, "error_code": None, "summary": None}
            if not await tx.copies.move_targets(operation.id, LEFT_OVER, TargetState.PLANNING, **empty):
                raise Conflict(f"nothing of copy operation '{operation.id}' has failed or was cancelled")
            await tx.copies.update(operation.id, self._begun(CopyState.PLANNING))
        return await self._begin(operation, wait=request.wait)

    async def cancel(self, caller: Principal, request: shapes.CancelCopies) -> shapes.CopyOperation:
        """Stop an operation. What is copied by then stays; all other targets are as they were.

        Raises:
            NotFound: There is no such operation.
            Conflict: It has ended.
        """
        async with self._store.read() as tx:
            operation = await _own(tx, caller, request.id)
        work = self._operations.find(operation.id)
        if work is not None:
            work.cancel()
            await work.ended.wait()
            return await self._told(operation.id)
        async with self._store.write() as tx:
            operation = await _own(tx, caller, request.id, lock=True)
            if operation.state is not CopyState.PLANNED and not _is_dropped(operation):
                raise Conflict(
                    f"copy operation '{operation.id}' is {operation.state} already; what is done can be undone"
                )
            if operation.state is CopyState.PLANNED:
                await self._give_up(tx, operation.id)
        await self._ground.each([lambda: self._ground.remove(operation.id)])
        return await self._told(operation.id)

    async def undo(self, caller: Principal, request: shapes.UndoCopies) -> shapes.CopyOperation:
        """Put back what copies have displaced, and take away what they have made, unless it was changed since.

        Raises:
            NotFound: There is no such operation, or no such target.
            Conflict: It has not ended, or there is nothing of it that can be undone.
            PermissionDenied: The caller may not change files of any of the targets any more.
        """
        async with self._store.write() as tx:
            operation = await _own(tx, caller, request.id, lock=True)
            self._require_ended(operation)
            targets = await self._undoable(tx, operation, request.targets)
            accesses = await self._ground.accesses(tx, operation, targets)
            able = []
            for target in targets:
                try:
                    accesses.writable(target)
                    able.append(target)
                except HubError:
                    if request.targets is not None or len(targets) == 1:
                        raise
            if not able:
                accesses.writable(targets[0])
            changes = {
                target.number: {"state": TargetState.UNDOING, "error": None, "error_code": None} for target in able
            }
            await tx.copies.update_targets(operation.id, changes)
            await tx.copies.update(operation.id, {"state": CopyState.RUNNING, "updated_at": self._clock.now()})
        return await self._begin(operation, wait=request.wait)

    async def _undoable(self, tx: Transaction, operation: CopyOperation, numbers: list[int] | None) -> list[CopyTarget]:
        targets = await tx.copies.targets(operation.id, numbers=numbers)
        if numbers is None:
            targets = [target for target in targets if _can_undo(target)]
            if not targets and operation.state is CopyState.UNDONE:
                raise Conflict(f"copy operation '{operation.id}' cannot be undone: it is undone already")
            if not targets:
                raise Conflict(f"copy operation '{operation.id}' cannot be undone: {_NOT_DONE}")
            return targets
        missing = {*numbers} - {target.number for target in targets}
        if missing or not numbers:
            raise NotFound(f"copy operation '{operation.id}' has no target {min(missing, default='that is named')}")
        for target in targets:
            if not _can_undo(target):
                raise Conflict(
                    f"target {target.number} of copy operation '{operation.id}' is {target.state}, and cannot be "
                    f"undone: {_NOT_DONE}"
                )
        return targets

    async def forget(self, caller: Principal, request: shapes.ForgetCopies) -> shapes.ForgottenCopies:
        """Let go for good of what copies have displaced: it frees the room, and they cannot be undone any more.

        What is being undone just now stays.

        Raises:
            InvalidArgument: Neither an operation nor a project is named.
            NotFound: There is no such operation.
            PermissionDenied: The caller may not do it in any of the projects.
        """
        if request.id is None and request.project_id is None:
            raise InvalidArgument("say of what to forget: give id, an operation of yours, or project_id, or both")
        project_id = None if request.project_id is None else project_id_of(request.project_id)
        async with self._store.read() as tx:
            if project_id is not None:
                await member_access(tx, caller, project_id, NO_TARGET, Ability.MANAGE)
                targets = await tx.copies.kept(project_id)
            if request.id is not None:
                operation = await _own(tx, caller, request.id)
                targets = await tx.copies.targets(operation.id, states=[TargetState.DONE])
                targets = [one for one in targets if one.kept_bytes is not None]
                accesses = await self._ground.accesses(tx, operation, targets)
                targets = accesses.managed(targets)
        if project_id is not None:
            targets = [target for target in targets if target.target_project_id == project_id]
        gone = await self._trimming.let_go(targets, by=caller.account_id)
        return {
            "targets": len(gone),
            "freed_bytes": sum(target.kept_bytes or 0 for target in gone),
            "project_ids": sorted({target.target_project_id for target in gone}),
        }

    def _begun(self, state: CopyState) -> dict[str, object]:
        now = self._clock.now()
        return {
            "state": state,
            "applies": True,
            "updated_at": now,
            "finished_at": None,
            "expires_at": now + PLAN_KEPT,
        }

    def _require_ended(self, operation: CopyOperation) -> None:
        if operation.state in OPEN_STATES:
            raise Conflict(f"copy operation '{operation.id}' is {operation.state}; wait for its end, or cancel it")
        if operation.state is CopyState.PLANNED:
            raise Conflict(f"copy operation '{operation.id}' is planned; apply it first")

    async def _begin(self, operation: CopyOperation, *, wait: bool) -> shapes.CopyOperation:
        work = self._operations.begin(operation)
        if wait:
            await work.ended.wait()
        return await self._told(operation.id)

    # -- what is told ------------------------------------------------------------------------------

    async def get(self, caller: Principal, request: shapes.GetCopies) -> shapes.CopyOperation:
        """How far an operation is.

        Raises:
            NotFound: There is no such operation.
        """
        async with self._store.read() as tx:
            operation = await _own(tx, caller, request.id)
        return await self._told(operation.id, with_targets=request.targets)

    async def page(self, caller: Principal, request: shapes.ListCopies) -> list[shapes.CopyOperation]:
        """The caller's operations, newest first; plans that were never applied only if they are asked for.

        Raises:
            InvalidArgument: A limit out of its range, or an id that is none.
            NotFound: There is no operation ``after``.
        """
        if not 1 <= request.limit <= MAX_LISTED:
            raise InvalidArgument(f"limit is {request.limit}; give 1 to {MAX_LISTED}")
        project_id = None if request.project_id is None else project_id_of(request.project_id)
        async with self._store.read() as tx:
            after = None if request.after is None else await _own(tx, caller, request.after)
            found = await tx.copies.page(
                caller.account_id, limit=request.limit, project_id=project_id, plans=request.plans, after=after
            )
        return [replies.operation_of(one, None, self._operations.find(one.id)) for one in found]

    async def _told(self, operation_id: str, *, with_targets: bool = True) -> shapes.CopyOperation:
        async with self._store.read() as tx:
            operation = await tx.copies.get(operation_id)
            targets = await tx.copies.targets(operation_id) if with_targets else None
        if operation is None:
            raise _none(operation_id)
        work = self._operations.find(operation_id)
        return replies.operation_of(operation, targets, work)


def _is_dropped(operation: CopyOperation) -> bool:
    """Whether it is a plan of which nothing can be applied, or that was cancelled before."""
    return not operation.applies and operation.state in (CopyState.FAILED, CopyState.CANCELLED)


def _can_undo(target: CopyTarget) -> bool:
    return target.state is TargetState.DONE and target.kept_bytes is not None


def _statuses_of(names: list[str] | None) -> frozenset[Status] | None:
    try:
        return None if names is None else frozenset(Status(name) for name in names)
    except ValueError:
        wrong = next(name for name in names or () if name not in [*Status])
        raise InvalidArgument(f"status '{wrong[:100]}' is unknown; give some of {', '.join(Status)}") from None


async def _own(tx: Transaction, caller: Principal, operation_id: str, *, lock: bool = False) -> CopyOperation:
    """An operation, for whoever made it.

    Raises:
        NotFound: There is none, or it is another's.
    """
    found = await tx.copies.get(operation_id.lower(), lock=lock) if is_uuid(operation_id) else None
    if found is None or found.account_id != caller.account_id:
        raise _none(operation_id)
    return found


def _none(operation_id: str) -> NotFound:
    return NotFound(
        f"there is no copy operation with id '{operation_id[:100]}'; copies.list tells those that you have made"
    )
