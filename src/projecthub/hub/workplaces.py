"""Where the hub works on the files of projects: homes, threads, room, and the log of who did what."""

from __future__ import annotations

import asyncio
import contextlib
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Final, TypeVar
from weakref import WeakValueDictionary

from projecthub.errors import InvalidArgument, LimitError, StoreUnavailable
from projecthub.files.failures import unwritable
from projecthub.files.places import within_home
from projecthub.files.threads import in_thread, pieces
from projecthub.hub.histories import Histories
from projecthub.wire.ids import ProjectId

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Generator, Sequence
    from pathlib import Path

    from projecthub.files import Home
    from projecthub.hub.calls import ProjectCalls
    from projecthub.hub.clock import Clock
    from projecthub.hub.homes import ProjectHomes
    from projecthub.hub.principals import Principal
    from projecthub.store import Store
    from projecthub.store.records import Project
    from projecthub.wire.methods import Ability

T = TypeVar("T")

_THREADS: Final = 8
_THREADS_A_HOME: Final = 2
"""So many at once work in one home: its project may make any work long, and others have theirs to do."""
_FREEING: Final = frozenset({"files_deleted", "trash_emptied"})
_MAX_PATHS: Final = 1000


class Workplaces:
    """What all services of files share.

    Attributes:
        homes: The homes.
        clock: The hub's.
        histories: Are told of what changes.
    """

    def __init__(self, store: Store, homes: ProjectHomes, calls: ProjectCalls, clock: Clock) -> None:
        """Make it."""
        self._store = store
        self._calls = calls
        self._turns: WeakValueDictionary[Path, asyncio.Semaphore] = WeakValueDictionary()
        self.homes = homes
        self.clock = clock
        self.histories = Histories(store, homes, clock)
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="files")

    async def home(self, caller: Principal, project: Project) -> Home:
        """The home of a project that somebody uses now; whoever calls has looked whether they may."""
        await self._calls.touch(caller, project)
        return await self.homes.opened(project)

    async def touch(self, caller: Principal, project: Project) -> None:
        """Somebody uses a project now. See `ProjectCalls.touch`."""
        await self._calls.touch(caller, project)

    async def require_access(self, caller: Principal, project: Project, needs: Ability) -> None:
        """See that somebody who has sent for long may still do what they are about to do.

        Raises:
            PermissionDenied: The caller is not on the project any more, or has lost the role for it.
            Conflict: The project is deleted.
        """
        await self._calls.access(caller, project.project_id, needs)

    async def run(self, home: Home | None, work: Callable[[], T]) -> T:
        """Do blocking work.

        Args:
            home: Where it is done, in its turn: a few at once work in one home. None: in no home, or to let go of
                something, which waits for no turn.
            work: What to do.

        Raises:
            LimitError: The disk is full.
            HubError: What the work raises, and what else the system refuses.
        """
        try:
            async with contextlib.nullcontext() if home is None else self._turn(home):
                ids = () if home is None else (ProjectId(home.path.parent.name),)
                return await in_thread(self._threads, self.homes.lending(ids, work))
        except OSError as error:
            raise unwritable(error, "the files of the project") from error

    def _turn(self, home: Home) -> asyncio.Semaphore:
        return self._turns.setdefault(home.path, asyncio.Semaphore(_THREADS_A_HOME))

    def pieces(self, home: Home, source: Generator[bytes, None, None]) -> AsyncGenerator[bytes, None]:
        """What a blocking generator yields that works in a home, each piece in a turn of that."""
        return pieces(self._threads, source, self._turn(home))

    async def note(self, caller: Principal, project: Project, event: dict[str, Any]) -> None:
        """Write into the project's log what was done. What makes room counts without it: so a full disk ends."""
        try:
            async with self._store.write() as tx:
                await tx.log.append(project.project_id, caller.account_id, event, at=self.clock.now())
        except (LimitError, StoreUnavailable):
            if event["event"] not in _FREEING:
                raise


def require_few(paths: Sequence[str]) -> None:
    """Refuse more paths than one call may name.

    Raises:
        InvalidArgument: There are more.
    """
    if len(paths) > _MAX_PATHS:
        raise InvalidArgument(f"{len(paths)} paths are too many for one call; name at most {_MAX_PATHS} in each")


def path_in(home: Home, given: str) -> str:
    """A path that a caller gave, relative to the home. See `within_home`."""
    return within_home(given, home.seen_homes)
