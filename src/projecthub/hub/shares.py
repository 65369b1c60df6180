"""Shares (public paths): what a project shows to others.

Source: Wire contract 0 (`public_path_id`), 7.4.
"""

from __future__ import annotations

import hashlib
import posixpath
from dataclasses import dataclass
from typing import TYPE_CHECKING

from projecthub.errors import InvalidArgument
from projecthub.wire.ids import ProjectId, is_share_id

if TYPE_CHECKING:
    from projecthub.store import Store


def share_id(project_id: ProjectId, path: str) -> str:
    """The id of the share of a path: SHA-1 of the project's id followed by the path, 40 hex digits."""
    return hashlib.sha1(f"{project_id}{path}".encode("utf-8", "surrogatepass"), usedforsecurity=False).hexdigest()


def normal_path(path: str) -> str:
    """A path in its shortest form, relative to the home; the home itself is the empty text.

    Raises:
        InvalidArgument: It leaves the home.
    """
    normal = posixpath.normpath(path.lstrip("/") or ".")
    if normal == ".." or normal.startswith("../"):
        raise InvalidArgument(f"path '{path[:200]}' leaves the project's home; give a path inside it")
    return "" if normal == "." else normal


@dataclass(frozen=True, slots=True, kw_only=True)
class SharedContent:
    """What a new project takes over from a share."""

    project_id: ProjectId
    unix_slot: int
    path: str
    title: str
    compute_image: str | None
    license_id: str | None


class Shares:
    """Looks shares up."""

    def __init__(self, store: Store) -> None:
        """Make the service."""
        self._store = store

    async def content(self, public_path_id: str) -> SharedContent:
        """What somebody who is signed in gets of a share.

        Title and image come from the sharing project, the license only from a share that is unlisted, so that a
        license is not given to whoever browses.

        Raises:
            InvalidArgument: No such share, or a disabled one; nothing was made.
        """
        if not is_share_id(public_path_id):
            raise InvalidArgument(
                f"public_path_id '{public_path_id[:100]}' is no share's id; it has 40 hex digits. No project was made"
            )
        async with self._store.read() as tx:
            share = await tx.shares.get(public_path_id)
            project = await tx.projects.get(share.project_id) if share else None
        if share is None or project is None or share.disabled or share.vhost:
            raise InvalidArgument(f"there is no share with public_path_id '{public_path_id}'; no project was made")
        return SharedContent(
            project_id=project.project_id,
            unix_slot=project.unix_slot,
            path=share.path,
            title=project.title,
            compute_image=share.compute_image or project.compute_image,
            license_id=share.site_license_id if share.unlisted else None,
        )
