"""The homes of projects, with the Unix user that each belongs to on this machine."""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING, TypeVar

from projecthub.errors import HubError, LimitError
from projecthub.files import SEEN_HOME, Home
from projecthub.hub import figures
from projecthub.wire.ids import ProjectId

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path
    from typing import Any

    from projecthub.files import Allowance, CopyOptions, CopySummary, Course, DiskUse, Homes
    from projecthub.files.copying.workers import Workers
    from projecthub.files.keeping import Keeper
    from projecthub.store.records import Project

T = TypeVar("T")


class ProjectHomes:
    """Gives each project its home and its uid, and holds copies into it to its disk quota.

    Attributes:
        disk_quota_bytes: What a home may take, from its project's run quota.
    """

    def __init__(
        self,
        homes: Homes,
        uids: range | None,
        disk_quota_bytes: Callable[[Mapping[str, Any] | None], int],
        *,
        bare: bool = False,
    ) -> None:
        """Make the service.

        Args:
            homes: The directories.
            uids: User ids to give to projects, one each; None: all homes belong to the hub's own user.
            disk_quota_bytes: What a home may take, from the run quota of its project's last start; None: never started.
            bare: Whether projects run without isolation, and see their homes where they are.
        """
        self._homes = homes
        self._bare = bare
        self._uids = uids
        self.disk_quota_bytes = disk_quota_bytes

    def uid(self, unix_slot: int) -> int | None:
        """The user id of the project with this slot.

        Raises:
            LimitError: The range of user ids is used up.
        """
        if self._uids is None:
            return None
        if unix_slot >= len(self._uids):
            raise LimitError(
                f"all {len(self._uids)} user ids for projects are used; widen the range (PROJECTHUB_UID_COUNT)"
            )
        return self._uids[unix_slot]

    def path(self, project_id: ProjectId) -> Path:
        """Where the home of a project is, or would be."""
        return self._homes.path(project_id)

    async def ensure(self, project_id: ProjectId, unix_slot: int) -> Path:
        """Make the home if it is not there yet, for a project that is to be started.

        Raises:
            LimitError: The disk is full.
        """
        self._homes.disk.require_least()
        return await self._homes.ensure(project_id, uid=self.uid(unix_slot))

    async def opened(self, project: Project) -> Home:
        """The home of a project whose files are to be looked at or changed, whether it runs or not.

        Raises:
            LimitError: It was never started, and the disk is full.
        """
        uid = self.uid(project.unix_slot)
        path = await self._homes.ensure(project.project_id, uid=uid)
        return Home(path, uid, (SEEN_HOME, str(path)) if self._bare else (SEEN_HOME,))

    def found(self, project_id: ProjectId) -> Home:
        """The home of a project for what the hub does in it by itself; what is made belongs to the home's owner."""
        path = self._homes.path(project_id)
        uid = None
        if self._uids is not None:
            with contextlib.suppress(FileNotFoundError):
                uid = path.stat(follow_symlinks=False).st_uid
        return Home(path, uid, (SEEN_HOME,))

    @property
    def holds(self) -> bool:
        """Whether the file system holds projects to their quotas. See `Homes.open`."""
        return self._homes.holds.are_offered

    async def is_held(self, project_id: ProjectId) -> bool:
        """Whether the file system holds this project to its quota, and it cannot let go. See `Homes.is_held`."""
        return not self._bare and await self._homes.is_held(project_id)

    async def hold(self, project: Project, kept_bytes: int) -> None:
        """Have the file system hold a project to its quota, beside which lies what is kept to undo copies."""
        await self._homes.hold(project.project_id, self.disk_quota_bytes(project.run_quota) + kept_bytes)

    def promised(self) -> set[ProjectId]:
        """Projects whose limit is to be looked at again. See `Holds.promised`."""
        return {ProjectId(name) for name in self._homes.holds.promised()}

    def lending(self, project_ids: Iterable[ProjectId], work: Callable[[], T]) -> Callable[[], T]:
        """Work in homes that has a little room there even if they are full. See `Holds.lending`."""
        return self._homes.holds.lending({self.path(each).parent for each in project_ids}, work)

    async def reserve(self, project: Project, added: int, freed: int = 0, *, beside: bool = False) -> Allowance:
        """Room in a home, within its quota. See `Homes.reserve`."""
        quota_bytes = self.disk_quota_bytes(project.run_quota)
        return await self._homes.reserve(project.project_id, added, freed, quota_bytes, "this file", beside=beside)

    async def is_over(self, project: Project) -> bool:
        """Whether a home takes more than its quota. See `Homes.is_over`."""
        return await self._homes.is_over(project.project_id, self.disk_quota_bytes(project.run_quota))

    @property
    def operations(self) -> Path:
        """Where the lists of copies to many, or from many, lie. See `Homes.operations`."""
        return self._homes.operations

    @property
    def workers(self) -> Workers:
        """Processes for large copies."""
        return self._homes.workers

    def close(self) -> None:
        """End what was started for copies."""
        self._homes.close()

    async def in_turn(self, work: Callable[[], T], *, cancel: Callable[[], None] | None = None) -> T:
        """Blocking work of a copy to many, or from many. See `Homes.in_turn`."""
        return await self._homes.in_turn(work, cancel=cancel)

    async def at_once(self, work: Callable[[], T], *, cancel: Callable[[], None] | None = None) -> T:
        """Blocking work of a copy that somebody waits for. See `Homes.at_once`."""
        return await self._homes.at_once(work, cancel=cancel)

    async def admit(self, project: Project, added: int, freed: int, *, others: int = 0) -> Allowance:
        """Room for a copy into a home, within its quota. See `Homes.admit`."""
        quota_bytes = self.disk_quota_bytes(project.run_quota)
        return await self._homes.admit(project.project_id, added, freed, quota_bytes, others=others)

    def require_spare_for_plan(self) -> None:
        """Refuse to write down a plan where no room is left.

        Raises:
            LimitError: The disk is full.
        """
        self._homes.disk.require_spare(0, "a plan of copies")

    def ids_after(self, last: str, limit: int) -> list[ProjectId]:
        """Projects that have a directory here. See `Homes.ids_after`."""
        return self._homes.ids_after(last, limit)

    async def begin(self, project_id: ProjectId) -> None:
        """A home is going to be made before its project is there. See `Homes.begin`."""
        await self._homes.begin(project_id)

    async def prepared(self, project_id: ProjectId, unix_slot: int) -> Home:
        """Where a home is to come that was begun: its place is there, and it is not."""
        return Home(await self._homes.prepare(project_id), self.uid(unix_slot), (SEEN_HOME,))

    async def reserve_new(self, project_id: ProjectId, added: int) -> Allowance:
        """Room in a home that was begun, within the quota of a project that never ran."""
        return await self._homes.reserve(project_id, added, 0, self.disk_quota_bytes(None), "this project")

    async def finish(self, project_id: ProjectId) -> None:
        """The project is there: its home stays."""
        await self._homes.finish(project_id)

    async def unfinished(self) -> list[ProjectId]:
        """Homes that a killed hub has begun."""
        return await self._homes.unfinished()

    async def remove(self, project_id: ProjectId) -> None:
        """Remove a home that was begun. See `Homes.remove`."""
        await self._homes.remove(project_id)

    def require_spare(self) -> None:
        """Refuse to make a project that will have no room for its home.

        Raises:
            LimitError: The disk is full.
        """
        self._homes.disk.require_spare(0, "a new project")

    def require_room(self, size: int, what: str) -> None:
        """Refuse to write beside the homes what the disk has no room for. See `Disk.require_spare`."""
        self._homes.disk.require_spare(size, what)

    async def disk_use(self, project_id: ProjectId) -> DiskUse:
        """Disk use of a home; see `Homes.disk_use`."""
        return await self._homes.disk_use(project_id)

    async def copy(
        self,
        source: tuple[ProjectId, int, str],
        target: tuple[ProjectId, int, str],
        options: CopyOptions,
        run_quota: Mapping[str, Any] | None,
        keeper: Keeper | None = None,
        course: Course | None = None,
    ) -> CopySummary:
        """Copy a path into a project; what is made belongs to its user. See `Homes.copy`.

        Args:
            source: Project, its slot, and the path in its home.
            target: The same.
            options: What to do about files that are there already.
            run_quota: Of the target.
            keeper: Told what changes.
            course: By which others see how far it is.
        """
        for project_id, unix_slot, _ in (source, target):
            await self._homes.ensure(project_id, uid=self.uid(unix_slot))
        began = time.perf_counter()
        try:
            summary = await self._homes.copy(
                src_project_id=source[0],
                src_path=source[2],
                target_project_id=target[0],
                target_path=target[2],
                options=options,
                uid=self.uid(target[1]),
                quota_bytes=self.disk_quota_bytes(run_quota),
                keeper=keeper,
                course=course,
            )
        except HubError as error:
            figures.copied(time.perf_counter() - began, 0, outcome=error.code)
            raise
        figures.copied(summary.seconds, summary.bytes)
        return summary
