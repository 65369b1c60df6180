# Written by tools/unasync.py from client/_async; change it there.
from __future__ import annotations

import hashlib
import os
import posixpath
from pathlib import Path
from typing import IO, Any, Final

from projecthub.client._sync.connection import Connection
from projecthub.client.names import named
from projecthub.client.requests import of_method
from projecthub.client.transfers import Progress
from projecthub.errors import QueryRefused
from projecthub.wire import shapes, sharing
from projecthub.wire.methods import METHODS, Endpoint

_METHODS = METHODS[Endpoint.HUB]
_PREPARING_S: Final = 3600.0
_NOT_ON_IT: Final = "user must be an admin"
"""What the wire says to who is not on the project whose row it is."""
_Patterns = list[str]
_Entries = list[shapes.FileInfo]


class Shares:
    """Shares (public paths): what projects show to others."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def create(
        self,
        project_id: str,
        path: str,
        *,
        name: str | None = None,
        description: str | None = None,
        license: str | None = None,
        unlisted: bool | None = None,
        authenticated: bool | None = None,
        compute_image: str | None = None,
        site_license_id: str | None = None,
    ) -> sharing.Share:
        """Share a path of a project; one that is shared already is changed, and shown again if it was disabled.

        Args:
            project_id: The project.
            path: A file or directory, relative to its home; empty for all of it.
            name: A name for addresses.
            description: What it is.
            license: Under which license others may use it.
            unlisted: Whether it is for those alone who know its id.
            authenticated: Whether it is for people who are signed in.
            compute_image: The software image that new projects made from it get.
            site_license_id: A license that new projects made from it get, if it is unlisted.

        Returns:
            The share. If others get nothing of it, because it is not there or a symlink leads it out of the home,
            `problem` says so.

        Raises:
            QueryRefused: You may not change the project, or a value is none.

        Example:
            ```python
            share = hub.shares.create(project_id, "course/week1", description="Week 1", unlisted=True)
            mine = other.projects.create_project(public_path_id=share["id"])
            ```

        Source: Wire contract 7.4.
        """
        self._set(
            project_id,
            path,
            name=name,
            description=description,
            license=license,
            disabled=False,
            unlisted=unlisted,
            authenticated=authenticated,
            compute_image=compute_image,
            site_license_id=site_license_id,
        )
        normal = posixpath.normpath(path.lstrip("/") or ".")
        digest = hashlib.sha1(f"{project_id.lower()}{'' if normal == '.' else normal}".encode(), usedforsecurity=False)
        return self.get(digest.hexdigest())

    def list(self, project_id: str | None = None, *, limit: int = 100, after: str | None = None) -> list[sharing.Share]:
        """The shares of a project; or those that everybody may browse, edited last first.

        Args:
            project_id: The project, that you are on; all of its shares are told, the disabled ones too.
            limit: Without a project, how many at most: 1 to 1000.
            after: Only those after the share with this id.

        Raises:
            PermissionDenied: You are not on the project.

        Example:
            ```python
            for share in hub.shares.list():
                print(share["id"], share["project_title"], share["path"])
            ```
        """
        arguments = sharing.ListShares(project_id=project_id, limit=limit, after=after)
        reply: list[sharing.Share] = self._call("shares.list", arguments, repeatable=True)
        return reply

    def get(self, id: str) -> sharing.Share:
        """A share. One that is disabled is told to the people of its project alone.

        Raises:
            NotFound: There is none of that id, or none for you.

        Example:
            ```python
            print(hub.shares.get(share_id)["description"])
            ```
        """
        reply: sharing.Share = self._call("shares.get", sharing.ShareOnly(id=id), repeatable=True)
        return reply

    def update(
        self,
        id: str,
        *,
        name: str | None = None,
        description: str | None = None,
        license: str | None = None,
        disabled: bool | None = None,
        unlisted: bool | None = None,
        authenticated: bool | None = None,
        compute_image: str | None = None,
        site_license_id: str | None = None,
    ) -> sharing.Share:
        """Change a share; what is not given stays.

        Args:
            id: Which.
            name: A name for addresses.
            description: What it is.
            license: Under which license others may use it.
            disabled: Whether nobody gets it any more.
            unlisted: Whether it is for those alone who know its id.
            authenticated: Whether it is for people who are signed in.
            compute_image: The software image that new projects made from it get.
            site_license_id: A license that new projects made from it get, if it is unlisted.

        Returns:
            The share as it is now.

        Raises:
            NotFound: There is none of that id, or none for you.
            QueryRefused: You may not change its project, or a value is none.

        Example:
            ```python
            hub.shares.update(share_id, disabled=True)
            ```
        """
        share = self.get(id)
        self._set(
            share["project_id"],
            share["path"],
            name=name,
            description=description,
            license=license,
            disabled=disabled,
            unlisted=unlisted,
            authenticated=authenticated,
            compute_image=compute_image,
            site_license_id=site_license_id,
        )
        return self.get(id)

    def delete(self, id: str) -> None:
        """Share a path no longer. What others have made from it stays theirs.

        Raises:
            NotFound: There is none of that id, or none for you.
            QueryRefused: You may not change its project.

        Example:
            ```python
            hub.shares.delete(share_id)
            ```
        """
        share = self.get(id)
        row = {"project_id": share["project_id"], "path": share["path"]}
        self._change(row, {"delete": True})

    def copy(
        self,
        id: str,
        target_project_id: str,
        target_path: str | None = None,
        *,
        path: str | None = None,
        overwrite_newer: bool = False,
        delete_missing: bool = False,
        backup: bool = False,
        exclude: _Patterns | None = None,
        timeout: float | None = None,
    ) -> shapes.CopySummary:
        """Copy what is shared into a project that you are on. You need not be on the one that shares it.

        Args:
            id: The share.
            target_project_id: The project to copy to.
            target_path: Where to. Default: where it is in the project that shares it.
            path: Only this part of it, a path below what is shared.
            overwrite_newer: As in `copy_path_between_projects`, and so the others.
            delete_missing: See there.
            backup: See there.
            exclude: See there.
            timeout: See there.

        Raises:
            NotFound: There is no such share for you, or nothing at ``path``.
            PermissionDenied: You may not write in the target project.

        Example:
            ```python
            hub.shares.copy(share_id, project_id, "week1", path="data")
            ```
        """
        arguments = sharing.CopyShare(
            id=id,
            target_project_id=target_project_id,
            path=path,
            target_path=target_path,
            overwrite_newer=overwrite_newer,
            delete_missing=delete_missing,
            backup=backup,
            exclude=exclude,
            timeout=timeout,
        )
        reply: shapes.CopySummary = self._call("shares.copy", arguments, wait_s=_PREPARING_S)
        return reply

    def files(self, id: str, path: str = "", *, hidden: bool = False) -> _Entries:
        """What a directory of a share holds, in the order of the names.

        Args:
            id: The share.
            path: A directory below what is shared.
            hidden: Also names that begin with a dot.

        Raises:
            NotFound: There is no such share for you, or no such directory.

        Example:
            ```python
            print([entry["name"] for entry in hub.shares.files(share_id)])
            ```
        """
        found: _Entries = []
        after = ""
        while True:
            params = {"path": path, "hidden": str(hidden).lower(), "limit": 10_000, "after": after}
            with self._connection.native("GET", f"shares/{id}/files", params=params) as answer:
                answer.read()
                page = answer.json()
            found += [named(entry) for entry in page["entries"]]
            if page["next"] is None:
                return found
            after = page["next"]

    def download(
        self,
        id: str,
        target: str | os.PathLike[str] | IO[bytes],
        path: str = "",
        *,
        archive: bool = False,
        progress: Progress | None = None,
    ) -> int:
        """Download a file of a share, or a directory as one tar.zst.

        Args:
            id: The share.
            target: A path on this machine, or an open binary file.
            path: Which file, below what is shared; empty if a single file is shared.
            archive: Whether ``path`` is a directory, or what is shared is.
            progress: Called after each piece with how many bytes have come.

        Returns:
            How many bytes came.

        Raises:
            NotFound: There is no such share for you, or no such file.
            Conflict: A file was asked for and it is a directory, or the reverse.

        Example:
            ```python
            hub.shares.download(share_id, "soil.csv", "data/rain.csv")
            ```
        """
        if isinstance(target, str | os.PathLike):
            part = Path(target).with_name(f".{Path(target).name}.part-{os.getpid()}")
            try:
                with part.open("wb") as file:
                    size = self.download(id, file, path, archive=archive, progress=progress)
                part.replace(target)
                return size
            finally:
                part.unlink(missing_ok=True)
        place, at = f"shares/{id}/files/{'archive' if archive else 'content'}", 0
        with self._connection.native("GET", place, params={"path": path}, wait_s=_PREPARING_S) as answer:
            for piece in answer.iter_bytes():
                target.write(piece)
                at += len(piece)
                if progress is not None:
                    progress(at, None)
        return at

    def _set(self, project_id: str, path: str, **values: Any) -> None:
        given = {name: value for name, value in values.items() if value is not None}
        row = {"project_id": project_id, "path": path, **given}
        self._change(row, {"set": True})

    def _change(self, row: dict[str, Any], option: dict[str, bool]) -> None:
        try:
            self._call("db.userQuery", shapes.UserQuery(query={"public_paths": row}, options=[option]))
        except QueryRefused as error:
            if not error.message.endswith(_NOT_ON_IT):
                raise
            raise QueryRefused(
                f"you are no owner or collaborator of project '{row['project_id']}', and may not share its paths"
            ) from error

    def _call(self, name: str, arguments: Any, **options: Any) -> Any:
        return self._connection.call(_METHODS[name], of_method(_METHODS[name], arguments, **options))
