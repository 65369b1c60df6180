"""Projects are held to their disk quotas by the file system, where that does so."""

from __future__ import annotations

from typing import TYPE_CHECKING

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
        async with store.read() as tx:
            project = await tx.projects.get(project_id)
            kept_bytes = await tx.copies.kept_bytes(project_id)
        if project is not None:
            await homes.hold(project, kept_bytes)


async def hold_again(store: Store, homes: ProjectHomes) -> None:
    """Hold those that were promised more to what they may have: a copy that failed has told nobody."""
    await hold(store, homes, homes.promised())
