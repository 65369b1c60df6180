"""What is kept to undo copies, held to its share of each project's quota, and let go."""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable
from typing import TYPE_CHECKING, Any, Final

import structlog

from projecthub.errors import HubError
from projecthub.files.copying import discard, sync_file_system
from projecthub.hub.copies.operations import UNSYNCED
from projecthub.hub.disk_limits import hold
from projecthub.store.copy_records import TargetState

if TYPE_CHECKING:
    from projecthub.hub.copies.ground import Ground
    from projecthub.store.copy_records import CopyTarget
    from projecthub.wire.ids import AccountId, ProjectId

SHARE_OF_QUOTA: Final = 10
"""What is kept to undo copies takes this part of a project's quota at most, but for that of the newest copy."""

_log = structlog.get_logger()


class Trimming:
    """Lets go of what is kept to undo copies, the oldest first, as soon as a project has too much of it."""

    def __init__(self, ground: Ground) -> None:
        """Make ready."""
        self._ground = ground
        self._left: dict[ProjectId, int] = {}  # room when they were looked at last, less what came since
        self._grown: set[ProjectId] = set()
        self._task: asyncio.Task[None] | None = None

    def grew(self, project_id: ProjectId, kept_bytes: int) -> None:
        """So much more is kept of a project. It is looked at only if that may be too much."""
        left = self._left.get(project_id)
        if left is not None and left >= kept_bytes:
            self._left[project_id] = left - kept_bytes
            return
        self._grown.add(project_id)
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._work(), name="copies trimming")

    async def look(self) -> None:
        """Look at all projects that may have too much."""
        while self._grown:
            await self._trim(self._grown.pop())

    async def close(self) -> None:
        """Stop; what is left is done when the project is copied to again."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    async def _work(self) -> None:
        try:
            await self.look()
        except HubError as error:
            _log.warning("copies.not_trimmed", error=error.message)
        except Exception:
            _log.exception("copies.not_trimmed")

    async def _trim(self, project_id: ProjectId) -> None:
        async with self._ground.store.read() as tx:
            kept = await tx.copies.kept(project_id)
            project = await tx.projects.get(project_id)
        if project is None:
            return
        room = self._ground.homes.disk_quota_bytes(project.run_quota) // SHARE_OF_QUOTA
        too_much: list[CopyTarget] = []
        for n, target in enumerate(kept):
            size = target.kept_bytes or 0
            if size > room and target.operation_id != kept[0].operation_id:  # the last mistake is the one that is seen
                too_much.extend(kept[n:])
                break
            room -= size
        self._left[project_id] = room
        await self.let_go(too_much)

    async def let_go(self, targets: Collection[CopyTarget], *, by: AccountId | None = None) -> list[CopyTarget]:
        """What these targets have displaced goes for good, after it is said that they cannot be undone.

        What is being undone just now stays.

        Args:
            targets: Which.
            by: Who wants it, for the logs of the projects; None: it was time, and they tell nothing.

        Returns:
            Those that have gone, as they were.
        """
        by_operation: dict[str, list[int]] = defaultdict(list)
        for target in targets:
            by_operation[target.operation_id].append(target.number)
        await self._have_on_disk(by_operation)
        gone: list[CopyTarget] = []
        for operation_id, numbers in by_operation.items():
            async with self._ground.store.write() as tx:
                await tx.copies.get(operation_id, lock=True)
                rows = await tx.copies.targets(operation_id, states=[TargetState.DONE], numbers=numbers)
                able = [row for row in rows if row.kept_bytes is not None]
                await tx.copies.update_targets(operation_id, {row.number: {"kept_bytes": None} for row in able})
                if not await tx.copies.is_kept(operation_id):
                    await tx.copies.update(operation_id, {"undo_until": None})
                if by is not None:
                    await tx.log.append_all(_forgotten(operation_id, able), by, at=self._ground.clock.now())
            gone += able
        await self._ground.each([lambda target=target: discard(self._ground.record(target)) for target in gone])  # type: ignore[misc]
        await hold(self._ground.store, self._ground.homes, [target.target_project_id for target in gone])
        return gone

    async def _have_on_disk(self, operation_ids: Iterable[str]) -> None:
        """Have on the disk what copies have given its place a moment ago.

        A hub that comes back after a loss of power does it anew, by what is about to go.
        """
        since = self._ground.clock.now() - UNSYNCED
        async with self._ground.store.read() as tx:
            found = [await tx.copies.get(operation_id) for operation_id in operation_ids]
        if any(one is not None and (one.finished_at is None or one.finished_at > since) for one in found):
            await self._ground.each([lambda: sync_file_system(self._ground.homes.operations)])


def _forgotten(operation_id: str, targets: Collection[CopyTarget]) -> list[tuple[ProjectId, dict[str, Any]]]:
    freed: Counter[ProjectId] = Counter()
    for target in targets:
        freed[target.target_project_id] += target.kept_bytes or 0
    event = {"event": "undo_forgotten", "operation_id": operation_id}
    return [(project, {**event, "freed_bytes": size}) for project, size in sorted(freed.items())]
