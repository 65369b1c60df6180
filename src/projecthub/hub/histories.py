"""Histories of text files: what the hub has seen change, read from journals and written into the store.

Whoever changes files of a project does so within `Histories.recording`. What they change stands in a journal beside the
home when they are answered, and is taken from there when the hub has time, or somebody asks.

Source: Wire contract 5.3, `sync.history`.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Self, TypeVar
from weakref import WeakValueDictionary

import structlog

from projecthub.errors import Conflict, HubError, InvalidArgument
from projecthub.files import keeping
from projecthub.files.backlog import Backlog
from projecthub.files.keeping import Journal, Keeper, State
from projecthub.files.paths import shown
from projecthub.files.threads import in_thread
from projecthub.hub.file_ids import file_id
from projecthub.hub.versions import SNAPSHOT_EVERY, Place, Seen, extended, is_too_long, news, shortened, steps_of
from projecthub.wire import patches
from projecthub.wire.ids import AccountId, ProjectId
from projecthub.wire.units import from_ms, to_ms

if TYPE_CHECKING:
    from projecthub.files import Home
    from projecthub.hub.clock import Clock
    from projecthub.hub.homes import ProjectHomes
    from projecthub.store import Store
    from projecthub.store.histories import History, Version
    from projecthub.wire.histories import Checkpoint, HistoryInfo, SyncPatch

MAX_STORED_BYTES: Final = 32_000_000
"""What the histories of one project take at most; the oldest versions go first."""
FOUND: Final = "found"
"""The event of a state that the hub came upon, and that whoever changed the file made without it."""
CHECKPOINT: Final = "checkpoint"

_BATCH: Final = 100
_BATCH_CHARACTERS: Final = 4_000_000
_QUIET_S: Final = 1.0
"""So long nothing is to be changed before the hub begins to write down; it looks so often whether that is so:"""
_LOOK_EVERY_S: Final = 0.25
_MAX_LOOKS: Final = 120
PATIENCE_S: Final = 3.0
"""So long whoever reads a history waits for what is not written down yet; most of the time it takes milliseconds."""
_JOB_WITHIN_S: Final = 30 * 86_400.0
_MAX_ENDED_JOBS: Final = 10_000
_HOMES_A_SWEEP: Final = 200
_TRIES: Final = 4
_THREADS: Final = 2
_T = TypeVar("_T")

_log = structlog.get_logger()


class Histories:
    """Writes and tells them. Who may see and do what is settled before."""

    def __init__(self, store: Store, homes: ProjectHomes, clock: Clock) -> None:
        """Make the service; `open` has it work by itself."""
        self._store = store
        self._homes = homes
        self._clock = clock
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="history")
        self._backlog = Backlog()
        self._turns: WeakValueDictionary[ProjectId, asyncio.Lock] = WeakValueDictionary()
        self._waiting: dict[ProjectId, None] = {}
        self._wake = asyncio.Event()
        self._hurried: Counter[ProjectId] = Counter()
        self._under_way = 0
        self._ended_at = 0.0
        self._ended_jobs: dict[str, None] = {}
        self._catching_up: dict[ProjectId, asyncio.Task[None]] = {}
        self._task: asyncio.Task[None] | None = None
        self._swept = ""

    def open(self) -> None:
        """Begin to write down what was kept, whenever nothing is being changed."""
        self._task = asyncio.create_task(self._run(), name="histories")

    async def close(self) -> None:
        """End. What is not written down yet is, when it is asked for or swept."""
        tasks = [*self._catching_up.values(), *([self._task] if self._task is not None else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._threads.shutdown(cancel_futures=True)

    @asynccontextmanager
    async def recording(
        self, project_id: ProjectId, account_id: AccountId | None, event: str, *, job_id: str = ""
    ) -> AsyncIterator[Keeper]:
        """What is told to keep what is changed within the block; see `Keeper`.

        Args:
            project_id: Whose files.
            account_id: Who changes them; None: nobody knows.
            event: A word for what is done.
            job_id: The job that does it.
        """
        keeper = self.keeper(project_id, account_id, event, job_id=job_id)
        self._under_way += 1
        try:
            yield keeper
        finally:
            self._under_way -= 1
            self._ended_at = time.monotonic()
            is_empty = keeper.is_empty
            keeper.close()
            if not is_empty:
                self.poke(project_id)

    def keeper(self, project_id: ProjectId, account_id: AccountId | None, event: str, *, job_id: str = "") -> Keeper:
        """As `recording`, for whoever closes it, and calls `poke`, himself."""
        path = self._homes.path(project_id)
        return Keeper(path, event, account_id, lambda: to_ms(self._clock.now()), job_id, backlog=self._backlog)

    def poke(self, project_id: ProjectId) -> None:
        """There may be something to write down, since something has been changed just now."""
        self._ended_at = time.monotonic()
        self._waiting[project_id] = None
        self._wake.set()

    async def job_ended(self, project_id: ProjectId, job_id: str) -> None:
        """A job has ended, which may have changed files."""
        home = self._homes.path(project_id)
        if await self._in_thread(lambda: keeping.pending(home)):
            self._ended_jobs[job_id] = None
            if len(self._ended_jobs) > _MAX_ENDED_JOBS:  # most have no journal
                del self._ended_jobs[next(iter(self._ended_jobs))]
            self.poke(project_id)

    async def sweep(self) -> None:
        """Have written down what killed hubs have left, in the next few hundred homes."""

        def work() -> list[ProjectId]:
            self._backlog.forget_gone()
            ids = self._homes.ids_after(self._swept, _HOMES_A_SWEEP)
            self._swept = ids[-1] if len(ids) == _HOMES_A_SWEEP else ""
            return [project_id for project_id in ids if keeping.pending(self._homes.path(project_id))]

        for project_id in await self._in_thread(work):
            self.poke(project_id)

    async def write_down(self, project_id: ProjectId, *, gently: bool = False) -> None:
        """Write down what was kept of a project and is not being added to any more.

        Args:
            project_id: The project.
            gently: Whether to leave others half of the time, as long as nobody waits for it.

        Raises:
            LimitError, StoreUnavailable: It cannot be written now; what is left is written the next time.
        """
        if not gently:
            self._hurried[project_id] += 1
        try:
            await self._write_down(project_id, gently)
        finally:
            if not gently:
                self._hurried[project_id] -= 1
                self._hurried += Counter()  # keeps what is above 0

    async def _write_down(self, project_id: ProjectId, gently: bool) -> None:
        async with self._turn(project_id):
            async with self._store.read() as tx:
                if await tx.projects.get(project_id) is None:
                    return  # it is being made
                taken = {*await tx.histories.taken(project_id)}
            home = self._homes.found(project_id)
            names = await self._in_thread(lambda: _pending(home, taken))
            batches = _batches(home, names)
            try:
                while (batch := await self._in_thread(lambda: next(batches, None))) is not None:
                    began = time.monotonic()
                    with batch:
                        ended = [journal.name for journal in batch.ended if not journal.job_id]
                        await self._add(project_id, batch.by_path(), ended)
                        await self._in_thread(lambda batch=batch: self._finish(home, batch.ended))  # type: ignore[misc]
                    if gently and not self._hurried[project_id]:
                        await asyncio.sleep(time.monotonic() - began)
            finally:
                await self._in_thread(batches.close)

    async def history(self, project_id: ProjectId, home: Home, path: str, first: int | None, last: int | None) -> bytes:
        """The JSON of `SyncHistory`, of a path in a home; what could not be written down in time is not in it."""
        is_behind = not await self._caught_up(project_id)
        name = await self._in_thread(lambda: keeping.name_of(home, path))
        id = file_id(project_id, name)
        async with self._store.read() as tx:
            history = (await tx.histories.get([id])).get(id)
            versions = await tx.histories.versions(id) if history is not None else []
        return await self._in_thread(lambda: _told(history, versions, first or 0, last, is_behind=is_behind))

    async def edits(self, project_id: ProjectId, home: Home, path: str, account_id: str) -> list[int]:
        """When an account has changed a file, in milliseconds since the epoch, as far as its history tells."""
        await self._caught_up(project_id)
        id = file_id(project_id, await self._in_thread(lambda: keeping.name_of(home, path)))
        async with self._store.read() as tx:
            return [to_ms(at) for at in await tx.histories.times(id, account_id)]

    async def checkpoint(self, project_id: ProjectId, home: Home, path: str, account_id: AccountId) -> Checkpoint:
        """Take a file into its history as it is now; nothing changes if that is the newest version.

        Raises:
            NotFound, Conflict: There is no such file.
            InvalidArgument: It is no text, or a large one, or the hub's own.
        """
        await self.write_down(project_id)
        async with self._turn(project_id):
            name = await self._in_thread(lambda: keeping.name_of(home, path))
            text = await self._in_thread(lambda: keeping.text_now(home, path))
            if text is None or not keeping.is_of_people(name):
                raise InvalidArgument(
                    f"'{shown(path)}' has no history: only files of valid UTF-8 with at most "
                    f"{keeping.MAX_TEXT_BYTES} bytes do, and none below {keeping.OWN}"
                )
            added = await self._add(project_id, {name: [Seen(text, self._clock.now(), account_id, CHECKPOINT)]})
        id = file_id(project_id, name)
        async with self._store.read() as tx:
            newest = (await tx.histories.get([id]))[id]
        return {"seq": newest.last_seq, "time": to_ms(newest.last_at), "created": bool(added)}

    async def _caught_up(self, project_id: ProjectId) -> bool:
        """Have written down what was kept, for at most `PATIENCE_S` seconds; tells whether all is. The rest goes on.

        Raises:
            LimitError, StoreUnavailable: As `write_down`.
        """
        until = time.monotonic() + PATIENCE_S
        if (before := self._catching_up.get(project_id)) is not None:
            await asyncio.wait({before}, timeout=PATIENCE_S)
            if not before.done():
                return False
        # The one before may have been past what the caller has changed; any that has begun since is not.
        if (task := self._catching_up.get(project_id)) is None:
            task = self._catching_up[project_id] = asyncio.create_task(self.write_down(project_id), name="history")
            task.add_done_callback(lambda done: self._caught(project_id, done))
        await asyncio.wait({task}, timeout=max(0.0, until - time.monotonic()))
        if task.done():
            task.result()
        return task.done()

    def _caught(self, project_id: ProjectId, task: asyncio.Task[None]) -> None:
        del self._catching_up[project_id]
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.warning("history.not_written", project_id=project_id, error=str(error))

    async def _run(self) -> None:
        while True:
            await self._wake.wait()
            for _ in range(_MAX_LOOKS):
                if self._under_way == 0 and time.monotonic() - self._ended_at >= _QUIET_S:
                    break
                await asyncio.sleep(_LOOK_EVERY_S)
            project_id = next(iter(self._waiting))
            del self._waiting[project_id]
            if not self._waiting:
                self._wake.clear()
            try:
                await self.write_down(project_id, gently=True)
            except HubError as error:
                _log.warning("history.not_written", project_id=project_id, error=error.message)
            except Exception:
                _log.exception("history.failed", project_id=project_id)

    def _finish(self, home: Home, journals: Sequence[Journal]) -> None:
        """Journals were written down: they go, but for those whose jobs go on."""
        for journal in journals:
            is_over = journal.job_id in self._ended_jobs or keeping.age_s(journal.name) > _JOB_WITHIN_S
            if not journal.job_id or is_over:
                self._ended_jobs.pop(journal.job_id, None)
                journal.remove()
                self._backlog.written_down(home.path, journal.token)

    async def _add(
        self, project_id: ProjectId, states: dict[str, list[Seen]], taken: Sequence[str] | None = None
    ) -> int:
        """Add states of files, by their paths, to their histories; tells of how many files there was news.

        Args:
            project_id: Whose files.
            states: In their order.
            taken: The journals that are written down with them.
        """
        for more in reversed(range(_TRIES)):
            try:
                return await self._try_to_add(project_id, states, taken)
            except Conflict:
                if not more:
                    raise
        raise AssertionError

    async def _try_to_add(
        self, project_id: ProjectId, states: dict[str, list[Seen]], taken: Sequence[str] | None
    ) -> int:
        places = {path: Place(file_id(project_id, path), project_id, path) for path in states}
        async with self._store.read() as tx:
            known = await tx.histories.get([place.id for place in places.values()])
        new = await self._in_thread(
            lambda: {path: found for path, seen in states.items() if (found := news(known.get(places[path].id), seen))}
        )
        if not new:
            return 0
        befores = {path: known.get(places[path].id) for path in new}
        async with self._store.read() as tx:
            kept = {
                path: await tx.histories.versions(before.id, before.snapshot_seq) if before is not None else []
                for path, before in befores.items()
            }
        done = await self._in_thread(
            lambda: {path: extended(places[path], befores[path], kept[path], seen) for path, seen in new.items()}
        )
        async with self._store.write() as tx:
            changes = [(befores[path], after) for path, (after, _) in done.items()]
            await tx.histories.add(changes, [version for _, versions in done.values() for version in versions], taken)
        for after, _ in done.values():
            if is_too_long(after):
                await self._shorten(after)
        await self._shorten_project(project_id)
        return len(done)

    async def _shorten(self, history: History) -> None:
        """Forget the oldest versions of a file, until there are few enough."""
        while is_too_long(history):
            history = await self._drop(history)

    async def _shorten_project(self, project_id: ProjectId) -> None:
        """Forget the oldest versions of a project, until they take little enough."""
        while True:
            async with self._store.read() as tx:
                if await tx.histories.stored_bytes(project_id) <= MAX_STORED_BYTES:
                    return
                oldest = await tx.histories.oldest(project_id)
            if oldest is None:
                return
            if oldest.last_seq > oldest.first_seq:
                await self._drop(oldest)
            else:
                async with self._store.write() as tx:
                    await tx.histories.forget(oldest)

    async def _drop(self, history: History) -> History:
        async with self._store.read() as tx:
            versions = await tx.histories.versions(history.id)
        after, snapshot = await self._in_thread(lambda: shortened(history, versions))
        async with self._store.write() as tx:
            await tx.histories.shorten(history, after, snapshot)
        return after

    def _turn(self, project_id: ProjectId) -> asyncio.Lock:
        return self._turns.setdefault(project_id, asyncio.Lock())

    async def _in_thread(self, work: Callable[[], _T]) -> _T:
        return await in_thread(self._threads, work)


@dataclass(slots=True)
class _Batch:
    """States to be written down together; in the end it closes its journals.

    Attributes:
        states: Each with the journal that tells of it.
        ended: Journals of which all is told in this batch, and those before.
        size: Characters of the states.
    """

    states: list[tuple[Journal, State]] = field(default_factory=list)
    ended: list[Journal] = field(default_factory=list)
    size: int = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for journal in self.ended:
            journal.close()

    def is_full(self) -> bool:
        return max(len(self.states), len(self.ended)) >= _BATCH or self.size >= _BATCH_CHARACTERS

    def by_path(self) -> dict[str, list[Seen]]:
        states: dict[str, list[Seen]] = {}
        for journal, state in self.states:
            mark = "" if journal.job_id else f"{journal.name}/{state.number:06}"
            account_id = AccountId(journal.account_id) if journal.account_id and not state.was_there else None
            event = FOUND if state.was_there else journal.event
            states.setdefault(state.path, []).append(Seen(state.text, from_ms(state.at_ms), account_id, event, mark))
        return states


def _pending(home: Home, taken: set[str]) -> list[str]:
    """The journals that are to be written down. Those that are, and that a killed hub did not remove, go."""
    names = keeping.pending(home.path)
    for name in taken.intersection(names):
        with contextlib.suppress(BlockingIOError, FileNotFoundError):
            journal = Journal(home, name)
            journal.remove()
            journal.close()
    return [name for name in names if name not in taken]


def _batches(home: Home, names: Sequence[str]) -> Generator[_Batch, None, None]:
    """What journals tell, in their order. Blocks. Each batch is to be used in a ``with`` statement."""
    batch = _Batch()
    for name in names:
        try:
            journal = Journal(home, name)
        except (BlockingIOError, FileNotFoundError):  # it is being written, or somebody else was quicker
            continue
        with contextlib.ExitStack() as unless_told:
            unless_told.enter_context(batch)
            unless_told.callback(journal.close)
            for state in unless_told.enter_context(contextlib.closing(journal.states())):
                batch.states.append((journal, state))
                batch.size += len(state.text)
                if batch.is_full():
                    yield batch
                    batch = _Batch()
            unless_told.pop_all()  # states are all told, and so closed
        batch.ended.append(journal)
        if batch.is_full():
            yield batch
            batch = _Batch()
    if batch.ended:
        yield batch


def _patch_to(version: Version, whole_seq: int, before: str, text: str) -> patches.Patch:
    """The patch to a version that is kept as a whole; ``whole_seq`` is the number of the one before that is.

    One that is kept so since its patch was no smaller is not compared again: that can take a tenth of a second.
    """
    is_due = version.seq - whole_seq >= SNAPSHOT_EVERY
    return patches.make_patch(before, text) if is_due else patches.replacing(before, text)


def _told(
    history: History | None, versions: Sequence[Version], first: int, last: int | None, *, is_behind: bool
) -> bytes:
    """The JSON of `SyncHistory`: of versions that follow one another, those that are asked for."""
    if history is None:
        return b'{"patches":[],"info":{"is_behind":true}}' if is_behind else b'{"patches":[],"info":{}}'
    users: dict[str, int] = {history.project_id: 0}
    told: list[SyncPatch] = []
    before, whole_seq, parents = "", 0, list[int]()
    for version, (text, patch) in zip(versions, steps_of(versions), strict=True):
        at = to_ms(version.at)
        if version.seq >= first and (last is None or version.seq <= last):
            user_id = users.setdefault(version.account_id or history.project_id, len(users))
            if patch is None or not told:
                patch = patches.to_json(_patch_to(version, whole_seq, before if told else "", text))
            told.append(
                {
                    "seq": version.seq,
                    "time": at,
                    "mesg": {
                        "time": at,
                        "wall": at,
                        "patch": patch,
                        "user_id": user_id,
                        "parents": parents,
                        "version": version.seq,
                        "event": version.event,
                    },
                }
            )
        before, whole_seq, parents = text, version.seq if version.is_snapshot else whole_seq, [at]
    if told:
        told[0]["mesg"]["is_snapshot"] = True
    info: HistoryInfo = {
        "project_id": history.project_id,
        "path": history.path,
        "users": list(users),
        "first_seq": history.first_seq,
        "last_seq": history.last_seq,
        "sha256": history.digest,
    }
    if is_behind:
        info["is_behind"] = True
    return json.dumps({"patches": told, "info": info}, ensure_ascii=False, separators=(",", ":")).encode()
