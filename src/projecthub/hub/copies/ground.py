"""What copies stand on: the store, the homes, the clock, and where their lists lie."""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

from projecthub.errors import Conflict, HubError, InvalidArgument, NotFound, PermissionDenied
from projecthub.files.copying import End, record_path, write_given
from projecthub.files.failures import unwritable
from projecthub.files.paths import reduced, shown
from projecthub.files.sharing import require_within
from projecthub.hub.permissions import is_able, is_shown, not_deleted
from projecthub.wire.methods import Ability

if TYPE_CHECKING:
    from projecthub.files.plans import Policy
    from projecthub.hub.clock import Clock
    from projecthub.hub.copies.places import Places
    from projecthub.hub.histories import Histories
    from projecthub.hub.homes import ProjectHomes
    from projecthub.store import Store, Transaction
    from projecthub.store.copy_records import CopyOperation, CopyTarget
    from projecthub.store.records import Access, Project
    from projecthub.wire.ids import ProjectId

T = TypeVar("T")

COPIED: Final = "copied"
"""The event of what a copy has changed, in the histories of files; and of what its undoing has."""
UNDONE: Final = "undone"

NO_SOURCE: Final = "user must be collaborator on source project"
NO_TARGET: Final = "user must be collaborator on target project"
SHARE: Final = "public_path_id"
"""Among the options of an operation: the share that it copies from."""
MANIFEST: Final = ".manifest"
PLAN: Final = ".plan"


@dataclass(frozen=True, slots=True)
class Ground:
    """What all parts of copies share.

    Attributes:
        store: Where operations are.
        homes: Where files are.
        clock: Tells the time.
        places: Who copies where.
        histories: Told what copies change.
    """

    store: Store
    homes: ProjectHomes
    clock: Clock
    places: Places
    histories: Histories

    # -- lists -------------------------------------------------------------------------------------

    def directory(self, operation_id: str) -> Path:
        """Where the lists of an operation lie."""
        return self.homes.operations / operation_id

    def new_manifest(self, operation_id: str) -> str:
        """A new name for a list of what a source holds."""
        return f"{operation_id}/{uuid.uuid4().hex}"

    def manifest(self, name: str) -> Path:
        """Where the list of that name lies, or did."""
        operation_id, _, own = name.partition("/")
        return self.directory(operation_id) / f"{own}{MANIFEST}"

    def base(self, name: str | None) -> Path | None:
        """Where the list of what was copied before lies, if there still is one."""
        path = None if name is None else self.manifest(name)
        return path if path is not None and path.exists() else None

    def given(self, target: CopyTarget, policy: Policy) -> str | None:
        """Write down what a target was given that has left things out; tells the name of that list. Blocks. Idempotent.

        Raises:
            OSError: It cannot be written.
        """
        name = target.manifest
        if name is None or not (self.plan(target).exists() and self.manifest(name).exists()):
            return name
        given = name if name.endswith(f"-{target.number}") else f"{name}-{target.number}"
        if given != name:
            write_given(self.manifest(name), self.plan(target), self.base(target.base), self.manifest(given), policy)
        return given

    def plan(self, target: CopyTarget) -> Path:
        """Where the plan for a target lies, or did."""
        return self.directory(target.operation_id) / f"{target.number}{PLAN}"

    def make_directory(self, operation_id: str) -> None:
        """Make the directory of an operation; in a thread, or where a millisecond does no harm.

        Raises:
            LimitError: The disk is full.
        """
        try:
            self.directory(operation_id).mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise unwritable(error, "the list of what is copied") from error

    def remove(self, operation_id: str, *, keep: Collection[str] = ()) -> None:
        """Remove the lists of an operation but those named; blocks. Idempotent."""
        directory = self.directory(operation_id)
        if not keep:
            shutil.rmtree(directory, ignore_errors=True)
            return
        kept = {self.manifest(name).name for name in keep}
        for path in directory.iterdir() if directory.is_dir() else ():
            if path.name not in kept:
                path.unlink(missing_ok=True)

    # -- homes -------------------------------------------------------------------------------------

    def source(self, target: CopyTarget) -> End:
        """Where a copy comes from."""
        return End(self.homes.path(target.source_project_id), target.source_path)

    def target(self, target: CopyTarget) -> End:
        """Where a copy goes to."""
        return End(self.homes.path(target.target_project_id), target.target_path)

    def record(self, target: CopyTarget) -> Path:
        """Where it lies what a copy has staged, and then what it has displaced."""
        return record_path(self.homes.path(target.target_project_id), f"{target.operation_id}-{target.number}")

    async def each(self, works: Iterable[Callable[[], T]], *, cancel: Callable[[], None] | None = None) -> list[T]:
        """Do blocking works one after the other in one thread, as one of few."""

        def work() -> list[T]:
            return [one() for one in works]

        return await self.homes.in_turn(work, cancel=cancel)

    # -- people ------------------------------------------------------------------------------------

    async def accesses(self, tx: Transaction, operation: CopyOperation, targets: Iterable[CopyTarget]) -> Accesses:
        """What whoever made an operation is now to the projects of targets, and to the share that it copies from."""
        ids = [project for one in targets for project in (one.source_project_id, one.target_project_id)]
        found = await tx.projects.accesses(ids, operation.account_id)
        account = await tx.accounts.get(operation.account_id)
        enabled = account is not None and not account.banned and account.deleted_at is None
        share_id = share_id_of(operation)
        if share_id is None:
            return Accesses(found, enabled=enabled)
        share = await tx.shares.told(share_id)
        return Accesses(found, enabled=enabled, share=Shared(share_id, share if is_shown(share) else None))


@dataclass(frozen=True, slots=True)
class Shared:
    """A share that is copied from.

    Attributes:
        id: Its id.
        row: What is told of it; None: nobody gets it any more.
    """

    id: str
    row: Mapping[str, Any] | None


@dataclass(frozen=True, slots=True)
class Accesses:
    """What an account is to projects.

    Attributes:
        by_id: The projects that are there.
        enabled: Whether the account may do anything at all.
        share: What is copied from, and may be read by who is not on its project; None: it is no share.
    """

    by_id: dict[ProjectId, Access]
    enabled: bool
    share: Shared | None = None

    def refusal(self, target: CopyTarget) -> HubError | None:
        """Why this may not be copied; None: it may."""
        try:
            self._readable(target)
            self.writable(target)
        except HubError as error:
            return error
        return None

    def _readable(self, target: CopyTarget) -> None:
        share = self.share
        if share is None:
            self.require(target.source_project_id, Ability.READ, NO_SOURCE)
        elif share.row is None or share.row["project_id"] != target.source_project_id:
            raise no_share(share.id)

    def require_within(self, source: End) -> None:
        """See that no symlink leads a source out of the share that it is of. Blocks.

        Raises:
            InvalidArgument: One does.
            NotFound: It is not there.
        """
        if self.share is not None and self.share.row is not None:
            path, wanted = self.share.row["path"], reduced(source.path)
            if path and wanted != path and not wanted.startswith(f"{path}/"):
                raise InvalidArgument(f"'{shown(wanted)}' is not in what is shared")
            require_within(source.home, path, wanted[len(path) :].strip("/"))

    def writable(self, target: CopyTarget) -> Project:
        """The project that is copied to.

        Raises:
            PermissionDenied: The account may not change its files.
            Conflict: It is deleted.
        """
        project = self.require(target.target_project_id, Ability.WRITE, NO_TARGET)
        not_deleted(project)
        return project

    def managed(self, targets: Sequence[CopyTarget]) -> list[CopyTarget]:
        """Those of the targets in whose projects the account may let go of what is kept.

        Raises:
            PermissionDenied: It may in none of them.
        """
        able = []
        for n, target in enumerate(targets, 1):
            try:
                self.require(target.target_project_id, Ability.MANAGE, NO_TARGET)
                able.append(target)
            except PermissionDenied:
                if n == len(targets) and not able:
                    raise
        return able

    def require(self, project_id: ProjectId, needs: Ability, message: str) -> Project:
        """A project in which the account may do something.

        Raises:
            PermissionDenied: It may not; with ``message``.
        """
        access = self.by_id.get(project_id)
        if not self.enabled or access is None or not is_able(access.role, needs):
            raise PermissionDenied(f"{message} '{project_id}'")
        return access.project


def share_id_of(operation: CopyOperation) -> str | None:
    """The share that an operation copies from; None: it copies from projects."""
    return operation.options.get(SHARE)


def no_share(id: str) -> NotFound:
    """Nobody gets such a share."""
    return NotFound(f"there is no share with id '{id}', or it is disabled; ask who has told you of it", id=id)


def is_refusal(error: HubError) -> bool:
    """Whether an error is one that kept a target from being begun, and not one that was met on the way."""
    return isinstance(error, PermissionDenied | Conflict | NotFound) or "quota_bytes" in error.details
