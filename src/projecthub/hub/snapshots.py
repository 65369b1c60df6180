"""Snapshots of homes for the people of their projects: take, list, compare, restore, delete.

Projects need not run. Who may write files takes and restores snapshots; to delete them takes more, since they are what
brings back what others have spoiled.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from typing import TYPE_CHECKING, Final, TypeAlias
from urllib.parse import quote, unquote_to_bytes
from weakref import WeakValueDictionary

from projecthub.errors import Conflict, InvalidArgument, LimitError, NotFound
from projecthub.files.paths import LeavesHomeError, encoded, reduced, shown
from projecthub.files.plans import Course
from projecthub.files.snapshots import restoring
from projecthub.files.snapshots.comparing import changes_since
from projecthub.files.snapshots.manifests import DIRECTORY, FILE, key_of, read
from projecthub.hub.files import OpenFile
from projecthub.hub.permissions import member_access, not_deleted, project_id_of
from projecthub.hub.snapshot_keeping import Order
from projecthub.hub.times import parse_time
from projecthub.hub.workplaces import path_in
from projecthub.wire.ids import is_uuid
from projecthub.wire.methods import Ability
from projecthub.wire.units import to_iso

if TYPE_CHECKING:
    from projecthub.files import Home
    from projecthub.files.snapshots.comparing import Change
    from projecthub.files.snapshots.shelves import Shelf
    from projecthub.hub.principals import Principal
    from projecthub.hub.snapshot_keeping import SnapshotKeeping
    from projecthub.hub.workplaces import Workplaces
    from projecthub.store import Store
    from projecthub.store.records import HomeSnapshot, Project
    from projecthub.wire import snapshots as wire
    from projecthub.wire.ids import ProjectId

_Paths: TypeAlias = list[str]  # within the class below, `list` is a method

MAX_TITLE: Final = 254
MAX_PAGE: Final = 10_000


class Snapshots:
    """What can be done with the snapshots of a project."""

    def __init__(self, store: Store, workplaces: Workplaces, keeping: SnapshotKeeping) -> None:
        """Make the service."""
        self._store = store
        self._workplaces = workplaces
        self._keeping = keeping
        self._looks: WeakValueDictionary[ProjectId, asyncio.Lock] = WeakValueDictionary()

    async def create(self, caller: Principal, request: wire.CreateSnapshot) -> wire.Snapshot:
        """Take a snapshot.

        Raises:
            PermissionDenied: The caller may not change files of the project.
            LimitError: It does not fit.
        """
        project = await self._project(caller, request.project_id, Ability.WRITE)
        expires_at = parse_time(request.expire, "expire")
        if expires_at is not None and expires_at <= self._workplaces.clock.now():
            raise InvalidArgument(f"expire is {str(request.expire)[:100]!r}, which is over; give a time to come")
        if len(request.title) > MAX_TITLE:
            raise InvalidArgument(f"a title of {len(request.title)} characters is too long; give at most {MAX_TITLE}")
        await self._workplaces.home(caller, project)
        order = Order(account_id=caller.account_id, title=request.title, expires_at=expires_at)
        async with self._keeping.turn(project.project_id) as shelf:
            snapshot = await self._keeping.take(project, shelf, order)
        assert snapshot is not None
        return snapshot_of(snapshot)

    async def list(self, caller: Principal, request: wire.ListSnapshots) -> wire.SnapshotList:
        """The snapshots of a project, newest first."""
        project = await self._project(caller, request.project_id, Ability.READ)
        known = await self._keeping.of_project(project.project_id)
        work = self._keeping.under_way.get(project.project_id)
        count = None if work is None or work.taking is None else work.taking.count
        return {
            "snapshots": [snapshot_of(row) for row in known.rows],
            "used_bytes": known.used_bytes,
            "quota_bytes": self._keeping.share_bytes(project),
            "under_way": None if count is None else {"files": count.files, "bytes": count.bytes},
        }

    async def diff(self, caller: Principal, request: wire.DiffSnapshot) -> wire.SnapshotDiff:
        """What is other now, or in another snapshot, than in one.

        Raises:
            NotFound: There is no such snapshot.
        """
        project = await self._project(caller, request.project_id, Ability.READ)
        if not 1 <= request.limit <= MAX_PAGE:
            raise InvalidArgument(f"limit is {request.limit}; give a number from 1 to {MAX_PAGE}")
        home = await self._workplaces.homes.opened(project)
        within = path_in(home, request.path)
        past = None if request.after is None else key_of(_cursor(request.after))
        await self._row(project, request.id)
        other = None if request.other is None else (await self._row(project, request.other)).id
        shelf, course = self._keeping.shelf(project.project_id), Course(None)
        async with self._looks.setdefault(project.project_id, asyncio.Lock()):  # a look may take long: one at a time
            changes = await self._keeping.run(
                lambda: changes_since(
                    shelf,
                    request.id,
                    other,
                    home.path,
                    within,
                    past=past,
                    limit=request.limit,
                    check=course.check,
                ),
                course,
            )
        full = len(changes) == request.limit
        return {
            "changes": [_change_of(change) for change in changes],
            "next": quote(os.fsencode(changes[-1].path), safe="/") if full else None,
        }

    async def restore(self, caller: Principal, request: wire.RestoreSnapshot) -> wire.RestoredSnapshot:
        """Bring back a path of a snapshot, or all of it; whole or not at all.

        To its own place: what is there is kept in a snapshot of its own first. To another: nothing may be there.

        Raises:
            NotFound: There is no such snapshot, or no such path in it.
            Conflict: Something is where it is to go (``to``).
            LimitError: It does not fit into the project's quota, or the snapshot before does not.
        """
        project = await self._project(caller, request.project_id, Ability.WRITE)
        home = await self._workplaces.home(caller, project)
        path, to = path_in(home, request.path), None if request.to is None else path_in(home, request.to)
        if to == "":
            raise InvalidArgument("to is the home itself; leave it out to restore in place, or give a path in the home")
        async with self._keeping.turn(project.project_id) as shelf:
            row = await self._row(project, request.id)
            weight = await self._keeping.run(lambda: restoring.weigh(shelf.manifest(row.id), path))
            if not weight.is_there:
                raise NotFound(f"the snapshot holds no '{shown(path)}'; snapshots.diff shows what it holds", path=path)
            if to is None:
                before: str | None
                before, in_trash = await self._restore(caller, project, home, shelf, (row, path, weight))
            else:
                await self._restore_to(project, home, shelf, (row, path, weight), to)
                before, in_trash = None, []
                event = {"event": "snapshot_restored", "snapshot_id": row.id, "path": shown(path), "to": shown(to)}
                await self._workplaces.note(caller, project, event | {"files": weight.files, "bytes": weight.bytes})
        return {
            "id": row.id,
            "path": shown(path if to is None else to),
            "files": weight.files,
            "bytes": weight.bytes,
            "before": before,
            "in_trash": [shown(each) for each in in_trash],
        }

    async def _restore_to(
        self, project: Project, home: Home, shelf: Shelf, what: tuple[HomeSnapshot, str, restoring.Weight], to: str
    ) -> None:
        row, path, weight = what
        course = Course(None)
        with contextlib.closing(await self._workplaces.homes.reserve(project, weight.disk)) as allowance:
            allowance.take(weight.disk)
            manifest = shelf.manifest(row.id)
            work = restoring.restore_to
            await self._keeping.run(lambda: work(home, shelf, manifest, path, to, course.check), course)

    async def _restore(
        self,
        caller: Principal,
        project: Project,
        home: Home,
        shelf: Shelf,
        what: tuple[HomeSnapshot, str, restoring.Weight],
    ) -> tuple[str, _Paths]:
        """Restore in place; tells the snapshot of what was there, and what went to the trash."""
        row, path, weight = what
        if await self._keeping.run(lambda: restoring.pending(home)) is not None:
            await self._keeping.finish_restoring(project)  # what stood in its way is told
        before_ns = time.time_ns()
        before = await self._before(caller, project, shelf, row)
        freed = (await self._keeping.run(lambda: restoring.weigh(shelf.manifest(before.id), path))).disk
        plan = restoring.Plan(
            snapshot_id=row.id,
            path=path,
            by=caller.account_id,
            before=before.id,
            before_ns=before_ns,
            is_partial=before.skipped > 0,
            files=weight.files,
            bytes=weight.bytes,
        )
        course, manifest = Course(None), shelf.manifest(row.id)
        with contextlib.closing(await self._workplaces.homes.reserve(project, weight.disk, freed)) as allowance:
            allowance.take(weight.disk)

            def work() -> None:
                staged = restoring.Restoring(home, shelf, course.check)
                try:
                    staged.stage(manifest, plan)
                    shelf.begin()
                    staged.decide()
                finally:
                    staged.close()

            await self._keeping.run(work, course)
            in_trash = await self._keeping.finish_restoring(project)
        shelf.end()
        return before.id, in_trash

    async def _before(self, caller: Principal, project: Project, shelf: Shelf, row: HomeSnapshot) -> HomeSnapshot:
        """The snapshot of what is there now."""
        title = f"before the snapshot of {row.created_at:%Y-%m-%d %H:%M} UTC was restored"
        keeps = frozenset({row.id})
        order = Order(account_id=caller.account_id, title=title, automatic=True, keeps=keeps, only_if_other=True)
        try:
            taken = await self._keeping.take(project, shelf, order)
        except LimitError as error:
            raise LimitError(
                f"what is there now has to be kept before anything takes its place, and it cannot: {error.message}; "
                "or restore to another path (to)",
                **error.details,
            ) from error
        return taken or (await self._keeping.of_project(project.project_id)).rows[0]

    async def delete(self, caller: Principal, request: wire.DeleteSnapshot) -> wire.DeletedSnapshot:
        """Delete a snapshot. What only it needs is removed from the disk.

        Raises:
            NotFound: There is no such snapshot.
        """
        project = await self._project(caller, request.project_id, Ability.MANAGE)
        async with self._keeping.turn(project.project_id) as shelf:
            row = await self._row(project, request.id)
            freed = await self._keeping.drop(project.project_id, shelf, [row.id], account_id=caller.account_id)
        return {"id": row.id, "deleted": True, "freed_bytes": freed}

    async def open(self, project: Project, snapshot_id: str, path: str) -> OpenFile:
        """Open a file of a snapshot, for who is known to be on the project.

        Raises:
            NotFound: There is no such snapshot, or nothing of that path in it.
            Conflict: It is no file.
        """
        row = await self._row(project, snapshot_id)
        home = await self._workplaces.homes.opened(project)
        inner, shelf = path_in(home, path), self._keeping.shelf(project.project_id)

        def work() -> OpenFile:
            entry = next(read(shelf.manifest(row.id), inner), None) if inner else None
            if entry is None:
                raise NotFound(f"the snapshot holds no file '{shown(inner)}'")
            if entry.kind != FILE:
                raise Conflict(f"'{shown(inner)}' is no file; restore it to another path (to) to look at it")
            fd = os.open(shelf.objects / entry.content if entry.content else "/dev/null", os.O_RDONLY | os.O_CLOEXEC)
            # What is told of it is the snapshot's: the times of the object may be those of another project's.
            status = os.stat_result(
                (entry.mode, 0, 0, 1, 0, 0, entry.size, 0, entry.mtime_ns // 10**9, 0), {"st_mtime_ns": entry.mtime_ns}
            )
            return OpenFile(home, fd, status, f'"{entry.content or "empty"}"')

        return await self._keeping.run(work)

    async def _project(self, caller: Principal, project_id: object, needs: Ability) -> Project:
        checked = project_id_of(project_id)
        async with self._store.read() as tx:
            access = await member_access(tx, caller, checked, "user must be collaborator on project", needs)
        not_deleted(access.project)
        return access.project

    async def _row(self, project: Project, snapshot_id: str) -> HomeSnapshot:
        if not is_uuid(snapshot_id):
            raise InvalidArgument(f"id '{snapshot_id[:100]}' is no uuid; snapshots.list tells the ids")
        for row in (await self._keeping.of_project(project.project_id)).rows:
            if row.id == snapshot_id.lower():
                return row
        raise NotFound(f"project '{project.project_id}' has no snapshot '{snapshot_id}'", id=snapshot_id)


def snapshot_of(row: HomeSnapshot) -> wire.Snapshot:
    """A snapshot as the wire tells it."""
    return {
        "id": row.id,
        "project_id": row.project_id,
        "account_id": row.account_id,
        "title": row.title,
        "automatic": row.automatic,
        "files": row.files,
        "bytes": row.bytes,
        "own_bytes": row.own_bytes,
        "skipped": row.skipped,
        "changing": row.changing,
        "created": to_iso(row.created_at),
        "expires": None if row.expires_at is None else to_iso(row.expires_at),
    }


def _change_of(change: Change) -> wire.SnapshotChange:
    entry = change.after or change.before
    assert entry is not None
    told: wire.SnapshotChange = {
        "path": shown(change.path),
        "status": change.status,
        "kind": "file" if entry.kind == FILE else "directory" if entry.kind == DIRECTORY else "symlink",
        "bytes": 0 if change.after is None else change.after.size,
        "bytes_before": 0 if change.before is None else change.before.size,
    }
    code = encoded(change.path)
    if code is not None:
        told["encoded_path"] = code
    return told


def _cursor(after: str) -> str:
    try:
        return reduced(os.fsdecode(unquote_to_bytes(after)))
    except LeavesHomeError as error:
        raise InvalidArgument(
            f"after is '{after[:100]}', which no page told; give the 'next' of the last one"
        ) from error
