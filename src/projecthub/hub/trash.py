"""Deleting files of projects, and what keeps them for a while.

What is deleted goes to the project's trash, unless that would not help: a project over its quota, or a full disk, gets
its room back at once.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Final

import structlog

from projecthub.errors import HubError, LimitError
from projecthub.files import trash
from projecthub.files.failures import is_for_room
from projecthub.files.paths import shown, split
from projecthub.files.places import opened_home
from projecthub.hub.workplaces import path_in, require_few

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from projecthub.files import Home
    from projecthub.files.keeping import Keeper
    from projecthub.files.trash import TrashItem
    from projecthub.hub.principals import Principal
    from projecthub.hub.workplaces import Workplaces
    from projecthub.store.records import Project

KEPT: Final = timedelta(days=30)
"""How long something stays in the trash at most."""
SHARE: Final = 10
"""Of a quota, a tenth is what the trash may take; the oldest goes first."""
DELETED: Final = "deleted"
RESTORED: Final = "restored"
_HOMES_A_SWEEP: Final = 200
_COMPANIONS: Final = (".{}.sage-chat", ".{}.sage-jupyter", ".{}.sage-jupyter2")
"""What editors keep beside a file, which is of no use without it."""

_log = structlog.get_logger()


class Trash:
    """Deletes, and brings back."""

    def __init__(self, workplaces: Workplaces) -> None:
        """Make the service."""
        self._workplaces = workplaces
        self._swept = ""

    async def delete(
        self,
        caller: Principal,
        project: Project,
        paths: Sequence[str],
        *,
        permanent: bool = False,
        also: Sequence[str] = (),
    ) -> list[TrashItem]:
        """Delete files and directories; what is not there counts as deleted.

        Args:
            caller: Who.
            project: Where.
            paths: What.
            permanent: Whether to keep nothing in the trash. So it is too for what lies in the trash, and when the
                project is over its quota or the disk is full.
            also: What goes with them, and is not told of.

        Returns:
            What is in the trash now.

        Raises:
            InvalidArgument: A path leads out of the home, or is the home itself, or there are more than a thousand;
                nothing is deleted.
            Conflict: The trash is in no state to take it.
        """
        require_few(paths)
        home = await self._workplaces.home(caller, project)
        inner = [path_in(home, path) for path in paths]
        at_once = permanent or await self._workplaces.homes.is_over(project)
        at, by = self._workplaces.clock.now(), caller.account_id
        max_bytes = self._workplaces.homes.disk_quota_bytes(project.run_quota) // SHARE

        def work() -> tuple[list[TrashItem], int]:
            kept, freed = [], 0
            for path in [*inner, *(path_in(home, path) for path in also)]:
                item, size = _delete(home, path, keeper, at_once=at_once, by=by, at=at)
                freed += size
                kept += [item] if item else []
            doomed = {item.id for item in trash.too_much(trash.items_of(home), max_bytes)}
            if doomed:
                trash.remove(home, lambda items: [item for item in items if item.id in doomed])
            return [item for item in kept if item.id not in doomed], freed

        async with self._workplaces.histories.recording(project.project_id, by, DELETED) as keeper:
            kept, freed = await self._workplaces.run(home, work)
        told = [shown(path) for path in inner]
        event = {"event": "files_deleted", "paths": told, "bytes": freed, "in_trash": len(kept)}
        await self._workplaces.note(caller, project, event)
        return kept

    async def items(self, caller: Principal, project: Project) -> list[TrashItem]:
        """What is in the trash, oldest first."""
        home = await self._workplaces.home(caller, project)
        return await self._workplaces.run(home, lambda: trash.items_of(home))

    async def restore(self, caller: Principal, project: Project, item_id: str, to: str | None) -> str:
        """Bring something back, and tell where it is now. See `trash.restore`."""
        home = await self._workplaces.home(caller, project)
        target = None if to is None else path_in(home, to)
        async with self._workplaces.histories.recording(project.project_id, caller.account_id, RESTORED) as keeper:
            restored = await self._workplaces.run(home, lambda: trash.restore(home, item_id, target))
            keeper.changed(restored)
        path = shown(restored)
        await self._workplaces.note(caller, project, {"event": "file_restored", "path": path})
        return path

    async def empty(self, caller: Principal, project: Project, item_id: str | None = None) -> tuple[int, int]:
        """Delete for good one thing of the trash, or all; tells how many, and their bytes."""
        home = await self._workplaces.home(caller, project)

        def work() -> tuple[int, int]:
            if item_id is None:
                return trash.remove(home, None)
            return trash.remove(home, lambda items: [item for item in items if item.id == item_id])

        items, size = await self._workplaces.run(home, work)
        await self._workplaces.note(caller, project, {"event": "trash_emptied", "items": items, "bytes": size})
        return items, size

    async def sweep(self) -> None:
        """Delete for good what is too old, in the next few hundred homes."""
        homes, before = self._workplaces.homes, self._workplaces.clock.now() - KEPT

        def work() -> None:
            ids = homes.ids_after(self._swept, _HOMES_A_SWEEP)
            for project_id in ids:
                try:
                    home = homes.found(project_id)
                    if not home.path.is_dir():  # it is being made, or deleted, at this moment
                        continue
                    if trash.too_old(trash.items_of(home), before):
                        trash.remove(home, lambda items: trash.too_old(items, before))
                except (HubError, OSError) as error:
                    _log.warning("trash.not_swept", project_id=project_id, error=str(error))
            self._swept = ids[-1] if len(ids) == _HOMES_A_SWEEP else ""

        await self._workplaces.run(None, work)


def companions(path: str) -> list[str]:
    """The hidden files that editors keep beside a file."""
    parent, _ = split(path.rstrip("/"))
    name = path.rstrip("/")[len(parent) :].lstrip("/")
    prefix = f"{parent}/" if parent or path.startswith("/") else ""
    return [prefix + form.format(name) for form in _COMPANIONS] if name not in ("", ".", "..") else []


def _delete(
    home: Home, path: str, keeper: Keeper, *, at_once: bool, by: str, at: datetime
) -> tuple[TrashItem | None, int]:
    """Delete one path; tells what went to the trash, and the bytes that went for good."""
    if not at_once and not trash.is_in_trash(path):
        with opened_home(home.path) as home_fd:
            keeper.found(home_fd, path)
        try:
            return trash.throw_away(home, path, by=by, at=at), 0
        except LimitError as error:
            if not is_for_room(error):
                raise
            # no room for even the record: then all the more
    return None, trash.discard(home, path)
