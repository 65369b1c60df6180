# Written by tools/unasync.py from client/_async; change it there.
from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from projecthub.client._sync.connection import Connection
from projecthub.client.requests import of_method
from projecthub.client.times import Time, on_the_wire
from projecthub.wire import snapshots as wire
from projecthub.wire.methods import METHODS, Endpoint

if TYPE_CHECKING:
    from projecthub.client._sync.project import Project

_METHODS = METHODS[Endpoint.HUB]
_PAGE = 10_000
_Snapshots = list[wire.Snapshot]  # within the class below, `list` is a method
_Changes = list[wire.SnapshotChange]


class Snapshots:
    """Snapshots of a project's home, whether it runs or not. They take an account's key, not one of the project."""

    def __init__(self, connection: Connection, project: Project) -> None:
        self._connection = connection
        self._project = project

    def create(self, title: str = "", *, expire: Time | None = None) -> wire.Snapshot:
        """Take a snapshot. What has not changed since the last one is not read again, and takes no more room.

        Args:
            title: What people call it, up to 254 characters.
            expire: When it goes: an aware datetime, an ISO time, or milliseconds since the epoch; None: it stays.

        Returns:
            The snapshot.

        Raises:
            LimitError: It does not fit into the share of the project's disk quota.
            PermissionDenied: You may not change files of the project.

        Example:
            ```python
            snapshot = hub.project(project_id).snapshots.create("before the exam", expire="2099-12-31")
            ```
        """
        arguments = wire.CreateSnapshot(
            project_id=self._project._own_id(), title=title, expire=on_the_wire(expire, "expire")
        )
        reply: wire.Snapshot = self._call("snapshots.create", arguments)
        return reply

    def list(self) -> _Snapshots:
        """The snapshots of the project, newest first.

        Example:
            ```python
            for snapshot in project.snapshots.list():
                print(snapshot["id"], snapshot["created"], snapshot["title"])
            ```
        """
        return self.overview()["snapshots"]

    def overview(self) -> wire.SnapshotList:
        """The snapshots, newest first; what all take (`used_bytes`) and may (`quota_bytes`); which is `under_way`.

        Example:
            ```python
            print(project.snapshots.overview()["used_bytes"])
            ```
        """
        arguments = wire.ListSnapshots(project_id=self._project._own_id())
        reply: wire.SnapshotList = self._call("snapshots.list", arguments)
        return reply

    def diff(self, id: str, other: str | None = None, *, path: str = "", limit: int | None = None) -> _Changes:
        """What is other now, or in another snapshot, than in a snapshot.

        A file is other if its content or mode is; one that was only touched is not.

        Args:
            id: The snapshot.
            other: Another, later one; None: the files as they are now.
            path: Only this path of the home, and what is below it.
            limit: So many changes at most; None: all.

        Returns:
            Each path with its `status`: ``added``, ``removed`` or ``changed``.

        Raises:
            NotFound: There is no such snapshot.

        Example:
            ```python
            for change in project.snapshots.diff(snapshot["id"]):
                print(change["status"], change["path"])
            ```
        """
        found: _Changes = []
        after: str | None = None
        while True:
            size = _PAGE if limit is None else min(_PAGE, limit - len(found))
            arguments = wire.DiffSnapshot(
                project_id=self._project._own_id(), id=id, other=other, path=path, limit=size, after=after
            )
            page: wire.SnapshotDiff = self._call("snapshots.diff", arguments)
            found += page["changes"]
            after = page["next"]
            if after is None or len(found) == limit:
                return found

    def restore(self, id: str, path: str = "", *, to: str | None = None) -> wire.RestoredSnapshot:
        """Bring back a path of a snapshot, or all of it; whole or not at all.

        In place, what is there is kept in a snapshot of its own first: to restore that undoes this.

        Args:
            id: The snapshot.
            path: What of it, relative to the home; empty: all.
            to: Another path, where nothing is; None: its own place.

        Returns:
            How many `files` and `bytes`; `before`, the snapshot of what was there; `in_trash`, paths of
            which what was there is in the trash, for that snapshot does not hold all of it: somebody changed it at the
            same time, or it is or holds what no snapshot can, such as a pipe.

        Raises:
            NotFound: There is no such snapshot, or it does not hold the path.
            Conflict: Something is at ``to``.
            LimitError: There is no room for it.

        Example:
            ```python
            restored = project.snapshots.restore(snapshot["id"], "week1")
            project.snapshots.restore(restored["before"], "week1")  # as it was
            ```
        """
        arguments = wire.RestoreSnapshot(project_id=self._project._own_id(), id=id, path=path, to=to)
        reply: wire.RestoredSnapshot = self._call("snapshots.restore", arguments)
        return reply

    def delete(self, id: str) -> wire.DeletedSnapshot:
        """Delete a snapshot.

        Returns:
            `freed_bytes`: what the snapshots of the project take less.

        Raises:
            NotFound: There is no such snapshot.

        Example:
            ```python
            project.snapshots.delete(snapshot["id"])
            ```
        """
        arguments = wire.DeleteSnapshot(project_id=self._project._own_id(), id=id)
        reply: wire.DeletedSnapshot = self._call("snapshots.delete", arguments)
        return reply

    def read_bytes(self, id: str, path: str) -> bytes:
        """The content of a file in a snapshot.

        Raises:
            NotFound: There is no such snapshot, or no such file in it.
            Conflict: It is a directory, or the like.

        Example:
            ```python
            print(project.snapshots.read_bytes(snapshot["id"], "names.txt").decode())
            ```
        """
        place = f"projects/{self._project._own_id()}/snapshots/{id}/content"
        with self._connection.native("GET", place, params={"path": path}) as response:
            return response.read()

    def _call(self, name: str, arguments: Any) -> Any:
        return self._connection.call(_METHODS[name], of_method(_METHODS[name], arguments, wait_s=math.inf))
