"""What a new project begins with: the files and the looks of a share, of another project, or of an export."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Protocol

from projecthub.errors import LimitError, NotFound
from projecthub.files import CopyOptions
from projecthub.files.packing import KEEPING
from projecthub.store.records import Role, Selection

if TYPE_CHECKING:
    from collections.abc import Sequence

    from projecthub.files import Course
    from projecthub.files.keeping import Keeper
    from projecthub.hub.homes import ProjectHomes
    from projecthub.store import Transaction
    from projecthub.store.records import Project
    from projecthub.wire.ids import AccountId, ProjectId

KEPT_BACK: Final = f"/{KEEPING}"
"""What the hub keeps in a home for its project alone: jobs, and what was deleted."""
LOOKS: Final = ("color", "avatar_image_tiny", "avatar_image_full")
_WHOLE: Final = CopyOptions(overwrite_newer=True, delete_missing=True, exclude=(KEPT_BACK,))


@dataclass(frozen=True, slots=True, kw_only=True)
class Beginning:
    """What the row of a new project takes over, unless its maker says otherwise.

    Attributes:
        title: What it is called.
        description: What it is for.
        compute_image: Its image.
        license_id: A license that comes with it.
        env: Its environment.
        settings: Its settings.
        looks: Some of `LOOKS`.
        people: Who is on it from the beginning, beside its owner, and as what.
        share_id: The share that it is made from.
        event: What the log tells of where it comes from.
    """

    title: str
    description: str = ""
    compute_image: str | None = None
    license_id: str | None = None
    env: Mapping[str, str] | None = None
    settings: Mapping[str, Any] | None = None
    looks: Mapping[str, Any] = field(default_factory=dict)
    people: Mapping[AccountId, Role] = field(default_factory=dict)
    share_id: str | None = None
    event: Mapping[str, Any] = field(default_factory=dict)


class Filling(Protocol):
    """Fills a home that was begun, and tells what the row of its project takes over."""

    async def fill(self, project_id: ProjectId, unix_slot: int, keeper: Keeper) -> Beginning:
        """Do so.

        Args:
            project_id: Whose home.
            unix_slot: Its slot.
            keeper: Told what comes, for the histories of files.

        Raises:
            HubError: It cannot be done; the home is to be removed.
        """
        ...


class Copied:
    """Fills a home with a path of another project."""

    def __init__(
        self,
        homes: ProjectHomes,
        source: tuple[ProjectId, int, str],
        beginning: Beginning,
        what: str,
        *,
        course: Course | None,
        exclude: Sequence[str] = (),
    ) -> None:
        """Make ready.

        Args:
            homes: The homes.
            source: Project, its slot, and the path in its home; of a whole home all is taken, and nothing else stays.
            beginning: What the row takes over.
            what: What is copied, for people.
            course: By which others see how far it is.
            exclude: Patterns of what is left out.
        """
        self._homes = homes
        self._source = source
        self._beginning = beginning
        self._what = what
        self._course = course
        self._options = CopyOptions() if source[2] else _WHOLE
        if exclude:
            self._options = CopyOptions(
                overwrite_newer=self._options.overwrite_newer,
                delete_missing=self._options.delete_missing,
                exclude=(*self._options.exclude, *exclude),
            )

    async def fill(self, project_id: ProjectId, unix_slot: int, keeper: Keeper) -> Beginning:
        """See `Filling.fill`."""
        target = (project_id, unix_slot, self._source[2])
        try:
            await self._homes.copy(self._source, target, self._options, None, keeper, self._course)
        except LimitError as error:
            raise LimitError(f"{error.message}; no project was made", **error.details) from error
        except NotFound as error:
            raise NotFound(f"{self._what} is not there any more; no project was made") from error
        return self._beginning


async def beginning_of(
    tx: Transaction,
    project: Project,
    *,
    title: str,
    event: Mapping[str, Any],
    with_env: bool,
    people: Mapping[AccountId, Role] | None = None,
) -> Beginning:
    """What a copy of a project takes over: neither its licenses, nor its course, nor what an admin has set.

    Args:
        tx: A transaction.
        project: The project.
        title: What the copy is called.
        event: What the log tells of where it comes from.
        with_env: Whether the environment may be seen by whoever makes the copy.
        people: Who is on it.
    """
    wanted = Selection(columns=("description", *LOOKS))
    row = (await tx.projects.select(wanted, member=None, project_id=project.project_id))[0]
    isolated = (project.settings or {}).get("disableInternet")
    return Beginning(
        title=title,
        description=row["description"],
        compute_image=project.compute_image,
        env=project.env if with_env else None,
        settings={"disableInternet": True} if isolated else None,
        looks={name: row[name] for name in LOOKS if row[name] is not None},
        people=people or {},
        event=event,
    )
