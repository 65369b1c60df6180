"""Copying paths between projects.

Source: Wire contract 0, 2.3.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from projecthub.errors import HubError, InvalidArgument, NotFound
from projecthub.files import CopyOptions
from projecthub.files.paths import shown
from projecthub.hub.permissions import member_access, not_deleted, project_id_of
from projecthub.wire import shapes
from projecthub.wire.methods import Ability

if TYPE_CHECKING:
    from projecthub.hub.clock import Clock
    from projecthub.hub.homes import ProjectHomes
    from projecthub.hub.principals import Principal
    from projecthub.store import Store
    from projecthub.wire.ids import ProjectId


class Copies:
    """Copies one path at a time."""

    def __init__(self, store: Store, homes: ProjectHomes, clock: Clock) -> None:
        """Make the service."""
        self._store = store
        self._homes = homes
        self._clock = clock

    async def copy(self, caller: Principal, request: shapes.CopyPath) -> shapes.CopySummary:
        """Copy a file, or what is in a directory, whole or not at all; neither project needs to have run ever.

        Raises:
            InvalidArgument: An id that is none, no source path, or a path that leaves its home.
            PermissionDenied: The caller is not on both projects.
            Conflict: The target project is deleted.
            NotFound: The source path is not there.
            LimitError: It exceeds the disk quota of the target, or the disk is full.
            CallTimeout: ``timeout`` is over, and nothing was changed.
        """
        source = project_id_of(request.src_project_id)
        if request.target_project_id == "":
            raise InvalidArgument("target_project_id= is invalid")
        target = source if request.target_project_id is None else project_id_of(request.target_project_id)
        if request.src_path is None:
            raise InvalidArgument("path must be specified")
        if request.timeout is not None and request.timeout <= 0:
            raise InvalidArgument(f"timeout is {request.timeout}; give a number of seconds above 0")
        async with self._store.read() as tx:
            message = "user must be collaborator on source project"
            source_project = (await member_access(tx, caller, source, message, Ability.READ)).project
            message = "user must be collaborator on target project"
            target_project = (await member_access(tx, caller, target, message, Ability.WRITE)).project
        not_deleted(target_project)
        target_path = request.src_path if request.target_path is None else request.target_path
        options = CopyOptions(
            overwrite_newer=request.overwrite_newer,
            delete_missing=request.delete_missing,
            backup=request.backup,
            exclude=tuple(request.exclude or ()),
            timeout_s=request.timeout,
        )
        event = {
            "event": "path_copied",
            "src_project_id": source,
            "src_path": shown(request.src_path),
            "target_project_id": target,
            "target_path": shown(target_path),
        }
        try:
            summary = await self._homes.copy(
                (source, source_project.unix_slot, request.src_path),
                (target, target_project.unix_slot, target_path),
                options,
                target_project.run_quota,
            )
        except HubError as error:
            if not isinstance(error, InvalidArgument | NotFound):  # those have changed nothing
                await self._note(caller, source, target, {**event, "error": error.code})
            raise
        await self._note(caller, source, target, {**event, "files": summary.files, "bytes": summary.bytes})
        return {
            "files": summary.files,
            "bytes": summary.bytes,
            "skipped": summary.skipped,
            "unchanged": summary.unchanged,
            "kept_newer": summary.kept_newer,
            "kept_newer_paths": list(summary.kept_newer_paths),
            "deleted": summary.deleted,
            "backed_up": summary.backed_up,
            "seconds": round(summary.seconds, 6),
        }

    async def _note(self, caller: Principal, source: ProjectId, target: ProjectId, event: dict[str, Any]) -> None:
        """Write a copy into the logs of both projects, when its files are there: they are in no transaction."""
        async with self._store.write() as tx:
            for project_id in dict.fromkeys((source, target)):
                await tx.log.append(project_id, caller.account_id, event, at=self._clock.now())
