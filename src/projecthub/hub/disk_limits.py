"""Projects are held to their disk quotas by the file system, where that does so."""

from __future__ import annotations

from typing import TYPE_CHECKING

from projecthub.store.records import State

if TYPE_CHECKING:
    from collections.abc import Iterable

    from projecthub.hub.homes import ProjectHomes
    from projecthub.store import Store
    from projecthub.wire.ids import ProjectId


async def hold(store: Store, homes: ProjectHomes, project_ids: Iterable[ProjectId]) -> None:
    """Hold projects to the quotas of their last start, beside which lies what is kept to undo copies.

    At a start, and when more or less is kept: then what was promised to the copy that has ended is taken back.
    """
    if not homes.holds:
        return
    for project_id in set(project_ids):
        async with store.glance() as tx:
            project = await tx.projects.get(project_id)
            kept_bytes = await tx.copies.kept_bytes(project_id)
        if project is not None:
            await homes.hold(project, kept_bytes)


class DiskLimits:
    """Looks after limits that nobody else takes back."""

    def __init__(self, store: Store, homes: ProjectHomes) -> None:
        """Make the service."""
        self._store = store
        self._homes = homes
        self._has_looked = False

    async def sweep(self) -> None:
        """Hold those that were promised more to what they may have: a copy that failed has told nobody.

        The first time all that run: a hub that was killed may have left them with more room.
        """
        wanted = self._homes.promised()
        if not self._has_looked and self._homes.holds:
            async with self._store.read() as tx:
                wanted |= {project.project_id for project in await tx.projects.in_states([State.RUNNING])}
        await hold(self._store, self._homes, wanted)
        self._has_looked = True
