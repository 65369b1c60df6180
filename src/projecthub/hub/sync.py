"""Histories of files for those who may see them, and the uses of files that people note.

Source: Wire contract 5.3, `sync.*` and `db.touch`, `db.fileUseTimes`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from projecthub.errors import InvalidArgument
from projecthub.hub.file_ids import file_id
from projecthub.hub.permissions import account_id_of, member_access, not_deleted, project_id_of
from projecthub.hub.tables.file_use import ACTION, MAX_ACTIONS, MAX_PATH
from projecthub.hub.workplaces import path_in
from projecthub.wire.methods import Ability
from projecthub.wire.units import to_ms

if TYPE_CHECKING:
    from projecthub.hub.principals import Principal
    from projecthub.hub.workplaces import Workplaces
    from projecthub.store import Store
    from projecthub.store.records import Project
    from projecthub.wire import histories as shapes

NOT_ON_IT: Final = "user must be collaborator on source project"
NOT_TO_TOUCH: Final = "must be collaborator on project to touch it"
MAX_TIMES: Final = 1000


class Sync:
    """Tells histories, takes checkpoints, notes and tells uses."""

    def __init__(self, store: Store, workplaces: Workplaces) -> None:
        """Make the service."""
        self._store = store
        self._workplaces = workplaces
        self._histories = workplaces.histories

    async def history(self, caller: Principal, request: shapes.GetHistory) -> bytes:
        """The JSON of `SyncHistory <projecthub.wire.histories.SyncHistory>`.

        Raises:
            PermissionDenied: The caller is not on the project.
            Conflict: The project is deleted.
            InvalidArgument: The path leads out of the home.
        """
        project = await self._project(caller, request.project_id, NOT_ON_IT, Ability.READ)
        home = await self._workplaces.home(caller, project)
        path = path_in(home, request.path)
        return await self._histories.history(project.project_id, home, path, request.start_seq, request.end_seq)

    async def checkpoint(self, caller: Principal, request: shapes.MakeCheckpoint) -> shapes.Checkpoint:
        """Take a file into its history as it is now. See `Histories.checkpoint`.

        Raises:
            PermissionDenied: The caller is not on the project, or only views it.
            Conflict: The project is deleted.
        """
        project = await self._project(caller, request.project_id, NOT_ON_IT, Ability.WRITE)
        home = await self._workplaces.home(caller, project)
        path = path_in(home, request.path)
        return await self._histories.checkpoint(project.project_id, home, path, caller.account_id)

    async def touch(self, caller: Principal, request: shapes.Touch) -> None:
        """Note that the caller uses a project, or a file of it; does not start it.

        Raises:
            PermissionDenied: The caller is not on the project.
            Conflict: The project is deleted.
            InvalidArgument: A path without a project, or that is too long; or ``action`` is no word.
        """
        if request.project_id is None:
            if request.path is not None:
                raise InvalidArgument("db.touch has a path and no project_id; give the project of the file")
            return  # that the account is in use is noted with its key
        if not ACTION.fullmatch(request.action):
            raise InvalidArgument(f"action '{request.action[:100]}' is no word such as edit, open or chat")
        if request.path is not None and not 0 < len(request.path) <= MAX_PATH:
            raise InvalidArgument(f"path has {len(request.path)} characters; give 1 to {MAX_PATH}")
        project = await self._project(caller, request.project_id, NOT_TO_TOUCH, Ability.READ)
        await self._workplaces.touch(caller, project)
        if request.path is not None:
            await self._note_use(caller, project, request.path, request.action)

    async def _note_use(self, caller: Principal, project: Project, path: str, action: str) -> None:
        id, now = file_id(project.project_id, path), self._workplaces.clock.now()
        async with self._store.write() as tx:
            users = await tx.file_use.lock(id, project.project_id, path, at=now)
            own = {**users.get(caller.account_id, {}), action: to_ms(now)}
            if len(own) > MAX_ACTIONS:
                raise InvalidArgument(f"{len(own)} kinds of use are too many; note at most {MAX_ACTIONS}")
            await tx.file_use.update(id, {**users, caller.account_id: own}, at=now)

    async def use_times(self, caller: Principal, request: shapes.FileUseTimes) -> shapes.UseTimes:
        """When somebody used a file, as far as they have noted it, and changed it, as far as its history tells.

        Raises:
            PermissionDenied: The caller is not on the project.
            Conflict: The project is deleted.
            InvalidArgument: An id is none, or ``limit`` is out of range.
        """
        if not 1 <= request.limit <= MAX_TIMES:
            raise InvalidArgument(f"limit is {request.limit}; give 1 to {MAX_TIMES}")
        target = account_id_of(request.target_account_id or caller.account_id, "target_account_id '{value}' is no uuid")
        project = await self._project(caller, request.project_id, NOT_ON_IT, Ability.READ)
        home = await self._workplaces.home(caller, project)
        path = path_in(home, request.path)
        async with self._store.read() as tx:
            used = (await tx.file_use.users(file_id(project.project_id, request.path))).get(target, {})
        reply: shapes.UseTimes = {"target_account_id": target}
        if request.access_times:
            reply["access_times"] = sorted(set(used.values()), reverse=True)[: request.limit]
        if request.edit_times:
            edits = {*await self._histories.edits(project.project_id, home, path, target)}
            edits |= {at for action, at in used.items() if action == "edit"}
            reply["edit_times"] = sorted(edits, reverse=True)[: request.limit]
        return reply

    async def _project(self, caller: Principal, project_id: str, denial: str, needs: Ability) -> Project:
        checked = project_id_of(project_id)
        async with self._store.read() as tx:
            project = (await member_access(tx, caller, checked, denial, needs)).project
        not_deleted(project)
        return project
