"""Shares (public paths): what a project shows to others.

Source: Wire contract 0 (`public_path_id`), 7.4.
"""

from __future__ import annotations

import hashlib
import posixpath
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from projecthub.errors import HubError, InvalidArgument, NotSignedIn
from projecthub.files.paths import LeavesHomeError, reduced, shown
from projecthub.files.sharing import is_kept_back, require_within
from projecthub.hub.beginnings import Beginning
from projecthub.hub.copies import Shared, no_share
from projecthub.hub.permissions import is_able, is_shown, member_access, not_deleted, project_id_of
from projecthub.store.records import Access
from projecthub.store.shares import TOLD
from projecthub.wire import shapes
from projecthub.wire.ids import ProjectId, is_share_id
from projecthub.wire.methods import Ability
from projecthub.wire.units import to_iso

if TYPE_CHECKING:
    from projecthub.hub.copies import Copies
    from projecthub.hub.principals import Principal
    from projecthub.hub.workplaces import Workplaces
    from projecthub.store import Store, Transaction
    from projecthub.store.records import Project
    from projecthub.wire.sharing import CopyShare, ListShares
    from projecthub.wire.sharing import Share as ShareShape

MAX_LISTED: Final = 1000
_TIMES: Final = {"created_at": "created", "last_edited_at": "last_edited", "last_saved_at": "last_saved"}


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


def path_below(path: str) -> str:
    """A path below what is shared, reduced; empty for all of it.

    Raises:
        InvalidArgument: It is no path, or leaves the share.
    """
    try:
        return reduced(path)
    except LeavesHomeError as error:
        raise InvalidArgument(f"path '{shown(path)[:200]}' leaves what is shared; give one below it") from error


@dataclass(frozen=True, slots=True, kw_only=True)
class SharedContent:
    """What a new project takes over from a share."""

    project_id: ProjectId
    unix_slot: int
    path: str
    beginning: Beginning


@dataclass(frozen=True, slots=True)
class Shown:
    """A share that somebody may see.

    Attributes:
        id: Its id.
        project: Whose path it is; it may be deleted.
        path: What is shared, relative to the home.
        row: All that is told of it.
    """

    id: str
    project: Project
    path: str
    row: Mapping[str, Any]


class Shares:
    """Tells of shares, and gives what is in them."""

    def __init__(self, store: Store, workplaces: Workplaces, copies: Copies) -> None:
        """Make the service."""
        self._store = store
        self._workplaces = workplaces
        self._copies = copies

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
        if share is None or project is None or share.disabled or share.vhost or is_kept_back(share.path):
            raise InvalidArgument(f"there is no share with public_path_id '{public_path_id}'; no project was made")
        beginning = Beginning(
            title=project.title,
            compute_image=share.compute_image or project.compute_image,
            license_id=share.site_license_id if share.unlisted else None,
            share_id=share.id,
            event={"public_path_id": share.id},
        )
        return SharedContent(
            project_id=project.project_id, unix_slot=project.unix_slot, path=share.path, beginning=beginning
        )

    async def get(self, caller: Principal | None, id: str) -> ShareShape:
        """A share; one that is disabled is told to the people of its project alone.

        Args:
            caller: Who asks; None: somebody who is not signed in.
            id: Which.

        Raises:
            InvalidArgument: That is no share's id.
            NotFound: There is none, or none for the caller.
            NotSignedIn: It is for people who are signed in.
        """
        async with self._store.read() as tx:
            share = await tx.shares.told(_checked(id))
            is_own = share is not None and await _reads(tx, caller, share["project_id"])
            project = await tx.projects.get(share["project_id"]) if share is not None and is_own else None
        if share is None or project is None:
            return _shape(_visible(share, caller, id), whole=False)
        told = _shape(share, whole=True)
        if (problem := await self._problem(project, share["path"])) is not None:
            told["problem"] = problem
        return told

    async def _problem(self, project: Project, path: str) -> str | None:
        """Why others get nothing of a share, for the people of its project; None: they do."""
        try:
            home = await self._workplaces.homes.opened(project)
            await self._workplaces.run(home, lambda: require_within(home.path, path, ""))
        except HubError as error:
            return f"others get nothing of it: {error.message}"
        return None

    async def list(self, caller: Principal | None, request: ListShares) -> list[ShareShape]:
        """All shares of a project, for who is on it; or those that everybody may browse, edited last first.

        Raises:
            InvalidArgument: ``limit`` is out of range, or an id is none.
            PermissionDenied: The caller is not on the project.
            NotFound: There is no share ``after``.
        """
        if not 1 <= request.limit <= MAX_LISTED:
            raise InvalidArgument(f"limit is {request.limit}; give a number from 1 to {MAX_LISTED}")
        async with self._store.read() as tx:
            if request.project_id is not None:
                if caller is None:
                    raise NotSignedIn("the shares of a project are told to its people; sign in with an API key")
                project_id = project_id_of(request.project_id)
                await member_access(tx, caller, project_id, "user must be a collaborator", Ability.READ)
                return [_shape(share, whole=True) for share in await tx.shares.of_project(project_id)]
            after = None if request.after is None else _checked(request.after)
            found = await tx.shares.listed(limit=request.limit, after=after, anybody=caller is None)
        return [_shape(share, whole=False) for share in found]

    async def shown(self, caller: Principal | None, id: str) -> Shown:
        """A share whose files somebody wants to see. Raises as `get`; of a disabled one nobody sees them."""
        async with self._store.read() as tx:
            share = _visible(await tx.shares.told(_checked(id)), caller, id)
            project = await tx.projects.get(share["project_id"])
        assert project is not None
        return Shown(id, project, share["path"], share)

    async def copy(self, caller: Principal, request: CopyShare) -> shapes.CopySummary:
        """Copy what is shared, or a part of it, into a project; the caller need not be on the one that shares it.

        It is an operation of the caller's like any other copy, which can be undone.

        Raises:
            InvalidArgument: An id that is none, or a path that leaves the share or its home.
            NotFound: There is no such share for the caller, or nothing at the path.
            PermissionDenied: The caller may not write in the target project.
            Conflict, LimitError, CallTimeout: As other copies.
        """
        target_id = project_id_of(request.target_project_id)
        if request.timeout is not None and request.timeout <= 0:
            raise InvalidArgument(f"timeout is {request.timeout}; give a number of seconds above 0")
        share = await self.shown(caller, request.id)
        async with self._store.read() as tx:
            message = "user must be collaborator on target project"
            target = await member_access(tx, caller, target_id, message, Ability.WRITE)
        not_deleted(target.project)
        inner = path_below(request.path or "")
        home = await self._workplaces.homes.opened(share.project)
        await self._workplaces.run(home, lambda: require_within(home.path, share.path, inner))
        wanted = shapes.CopyPath(
            src_project_id=share.project.project_id,
            src_path=f"{share.path}/{inner}".strip("/"),
            target_project_id=target_id,
            target_path=request.target_path,
            overwrite_newer=request.overwrite_newer,
            delete_missing=request.delete_missing,
            backup=request.backup,
            exclude=request.exclude,
            timeout=request.timeout,
        )
        source = Access(project=share.project, role=None)
        return await self._copies.copy_shared(caller, wanted, Shared(share.id, share.row), source, target)


def _checked(id: str) -> str:
    if not is_share_id(id):
        raise InvalidArgument(f"'{str(id)[:100]}' is no share's id; it has 40 hex digits")
    return id


async def _reads(tx: Transaction, caller: Principal | None, project_id: ProjectId) -> bool:
    return caller is not None and is_able(await tx.collaborators.role(project_id, caller.account_id), Ability.READ)


def _visible(share: Mapping[str, Any] | None, caller: Principal | None, id: str) -> Mapping[str, Any]:
    if share is None or not is_shown(share):
        raise no_share(id)
    if share["authenticated"] and caller is None:
        raise NotSignedIn(
            "this share is for people who are signed in; give an API key as 'Authorization: Bearer <key>'"
        )
    return share


def _shape(share: Mapping[str, Any], *, whole: bool) -> ShareShape:
    told: dict[str, Any] = {"project_title": share["project_title"]}
    for name in TOLD:
        if name in _TIMES:
            told[_TIMES[name]] = None if share[name] is None else to_iso(share[name])
        elif name != "site_license_id" or whole:  # who knows the id of a license may use it
            told[name] = share[name]
    return told  # type: ignore[return-value]
