"""What is kept of copies: plans for a day; for a week, and in little room, what it takes to undo one."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterable
from datetime import datetime
from typing import TYPE_CHECKING, Final

import structlog

from projecthub.errors import HubError
from projecthub.files.copying import discard
from projecthub.files.copying.records import COPIES
from projecthub.hub.copies.ground import MANIFEST
from projecthub.store.copy_records import OPEN_STATES, CopyState, TargetState
from projecthub.wire.ids import is_uuid

if TYPE_CHECKING:
    from projecthub.hub.copies.ground import Ground
    from projecthub.hub.copies.operations import Operations
    from projecthub.hub.copies.trimming import Trimming
    from projecthub.store.copy_records import CopyOperation
    from projecthub.wire.ids import ProjectId

_AT_A_TIME: Final = 50
_HOMES_A_SWEEP: Final = 200
_RECORD: Final = re.compile(r"([0-9a-f-]{36})-([0-9]{1,5})")
_NEEDED: Final = (TargetState.COMMITTING, TargetState.UNDOING)

_log = structlog.get_logger()


class Keeping:
    """Forgets what is too old, and removes what nobody needs."""

    def __init__(self, ground: Ground, operations: Operations, trimming: Trimming) -> None:
        """Make ready."""
        self._ground = ground
        self._operations = operations
        self._swept_projects = ""
        self._swept_lists = ""
        self._trimming = trimming

    async def sweep(self) -> None:
        """Do a part of all this."""
        now = self._ground.clock.now()
        for work in (self._end_undo, self._forget):
            await work(now)
        await self._trimming.look()
        await self._sweep_lists()
        await self._sweep_records()

    async def drop(self, operation: CopyOperation) -> None:
        """Forget an operation that has changed nothing."""
        async with self._ground.store.write() as tx:
            await tx.copies.forget(operation.id)
        await self._ground.each([lambda: self._ground.remove(operation.id)])

    async def _end_undo(self, now: datetime) -> None:
        async with self._ground.store.read() as tx:
            found = await tx.copies.not_undoable(now, limit=_AT_A_TIME)
        for operation in found:
            async with self._ground.store.read() as tx:
                targets = await tx.copies.targets(operation.id)
            await self._trimming.let_go([target for target in targets if target.kept_bytes is not None])
            async with self._ground.store.write() as tx:
                await tx.copies.update(operation.id, {"undo_until": None})

    async def _forget(self, now: datetime) -> None:
        async with self._ground.store.read() as tx:
            found = await tx.copies.expired(now, limit=_AT_A_TIME)
        for operation in found:
            async with self._ground.store.write() as tx:
                fresh = await tx.copies.get(operation.id, lock=True)
                if fresh is None or fresh.state in OPEN_STATES or fresh.expires_at > now:
                    continue  # it was applied just now
                await tx.copies.forget(operation.id)
            if operation.state is CopyState.PLANNED:
                await self._ground.each([lambda of=operation.id: self._ground.remove(of)])  # type: ignore[misc]

    # -- what no row tells of ----------------------------------------------------------------------

    async def _sweep_lists(self) -> None:
        """Remove lists that nobody needs: what was copied to a place last is needed, however old it is."""
        directory = self._ground.homes.operations
        names, self._swept_lists = await self._page(directory, self._swept_lists)
        for operation_id in names:
            if self._operations.is_active(operation_id):
                continue
            async with self._ground.store.read() as tx:
                operation = await tx.copies.get(operation_id)
                needs_all = operation is not None and (
                    operation.state in (*OPEN_STATES, CopyState.PLANNED) or operation.undo_until is not None
                )
                lists = [] if needs_all else self._lists_of(operation_id)
                needed = await tx.copies.in_use(lists)
            if not needs_all and not self._operations.is_active(operation_id):
                await self._ground.each(
                    [lambda of=operation_id, keep=needed: self._ground.remove(of, keep=keep)]  # type: ignore[misc]
                )

    def _lists_of(self, operation_id: str) -> list[str]:
        with contextlib.suppress(OSError):
            names = os.listdir(self._ground.directory(operation_id))  # noqa: PTH208
            return [f"{operation_id}/{name.removesuffix(MANIFEST)}" for name in names if name.endswith(MANIFEST)]
        return []

    async def _page(self, directory: object, after: str) -> tuple[list[str], str]:
        def work() -> list[str]:
            try:
                return sorted(name for name in os.listdir(str(directory)) if name > after and is_uuid(name))  # noqa: PTH208
            except FileNotFoundError:
                return []

        [names] = await self._ground.each([work])
        page = names[:_AT_A_TIME]
        return page, page[-1] if len(page) == _AT_A_TIME else ""

    async def _sweep_records(self) -> None:
        """Remove records of copies that were killed before they were marked, in the next few hundred homes."""

        def find() -> list[tuple[ProjectId, str, int]]:
            ids = self._ground.homes.ids_after(self._swept_projects, _HOMES_A_SWEEP)
            self._swept_projects = ids[-1] if len(ids) == _HOMES_A_SWEEP else ""
            return [(project_id, *record) for project_id in ids for record in self._records_of(project_id)]

        [found] = await self._ground.each([find])
        for project_id, operation_id, number in found:
            if self._operations.is_active(operation_id):
                continue
            async with self._ground.store.read() as tx:
                rows = await tx.copies.targets(operation_id, numbers=[number])
            is_needed = any(
                row.target_project_id == project_id and (row.kept_bytes is not None or row.state in _NEEDED)
                for row in rows
            )
            if is_needed or self._operations.is_active(operation_id):
                continue
            path = self._ground.homes.path(project_id).with_name(COPIES) / f"{operation_id}-{number}"
            try:
                await self._ground.each([lambda path=path: discard(path)])  # type: ignore[misc]
            except HubError as error:
                _log.warning("copies.not_swept", project_id=project_id, error=error.message)

    def _records_of(self, project_id: ProjectId) -> Iterable[tuple[str, int]]:
        with contextlib.suppress(OSError):
            for name in os.listdir(self._ground.homes.path(project_id).with_name(COPIES)):  # noqa: PTH208
                if (match := _RECORD.fullmatch(name)) is not None:
                    yield match[1], int(match[2])
