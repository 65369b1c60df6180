"""Who did what, and who was not let: the audit log.

A call that changes something is put down before it begins, in a transaction that all who come at the time share; one
that begins with a write to the store goes with whatever is written next, which is that write at the latest; and one
that ends with the hub is put down while it begins, and answered after that. Its outcome is written a moment after it
has ended. So a hub that is killed leaves a trace of every call that had begun, and the next one notes those as of
unknown outcome. Denials change nothing: they are written a moment later too, and many of one kind are counted, see
`audit_denials`.

A store that cannot be written stops nobody: what is inside projects is of use then. Such calls are told in the hub's
log, and kept in memory until the store is back.
"""

from __future__ import annotations

import asyncio
import contextlib
from datetime import datetime, timedelta
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

import structlog

from projecthub.errors import HubError, InvalidArgument, LimitError, StoreUnavailable
from projecthub.hub.audit_denials import Denials
from projecthub.hub.audit_pages import filter_of, page_of
from projecthub.hub.audited_calls import (
    MAX_MESSAGE,
    MAX_PROJECTS,
    MAX_REFUSED,
    AuditedCall,
    add_made,
    message_of,
    rows_of,
    storable,
)
from projecthub.hub.permissions import admins_only
from projecthub.wire.audit import DENIALS, LEFT_OUTCOME, UNKNOWN_OUTCOME
from projecthub.wire.units import to_ms

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from projecthub.hub.clock import Clock
    from projecthub.hub.principals import Principal
    from projecthub.store import Store, Transaction
    from projecthub.wire import audit as shapes

MAX_UNWRITTEN: Final = 10_000
"""Rows that wait for a store that cannot be written; older ones are dropped, and the hub's log says so."""
WRITE_AFTER_S: Final = 0.25
"""How long what came of a call waits for company."""
PATIENCE_S: Final = 5.0
"""How long a call waits for a store that another program holds, before it goes on."""
MAX_GATHER_S: Final = 0.02
"""How long calls wait for others to be put down with, where many come at a time: a transaction for each costs more."""
_CROWD: Final = 8
_CROWD_WITHIN_S: Final = 0.25
_AGAIN_AFTER_S: Final = 1.0
_BATCH: Final = 200
_FEW: Final = 32
"""More calls than this are put down by a thread, so that the event loop goes on meanwhile."""
_PRUNED_AT_ONCE: Final = 2000

_REFUSALS: Final = frozenset({*DENIALS, "invalid_argument", "not_found"})
"""Outcomes of calls that have changed nothing: many of one kind are counted."""

_log = structlog.get_logger()


class Audit:
    """Writes and tells the audit log."""

    def __init__(self, store: Store, clock: Clock, *, kept_days: int = 0) -> None:
        """Make the service; entries older than ``kept_days`` are deleted, if that is not 0."""
        self._store = store
        self._clock = clock
        self._kept_days = kept_days
        self._denials = Denials(clock)
        self._numbers = 0
        self._left_up_to = 0
        self._to_begin: list[tuple[AuditedCall, asyncio.Future[None]]] = []
        self._beginning: asyncio.Task[None] | None = None
        self._boarding: dict[int, AuditedCall] = {}
        self._has_company = store.accompany(self)
        self._under_way: dict[int, float] = {}
        self._ended: list[int] = []
        self._rows: list[dict[str, Any]] = []
        self._writing: asyncio.Task[None] | None = None
        self._one_writer = asyncio.Lock()
        self._is_failing = False
        self._closing = asyncio.Event()

    async def open(self) -> None:
        """Note the calls that were under way when the last hub of this store was killed. Comes before all calls."""
        async with self._store.read() as tx:
            self._left_up_to = self._numbers = await tx.audit.last_begun()
        try:
            await self._note_left()
        except (LimitError, StoreUnavailable) as error:  # they wait where they are
            _log.error("audit.not_written", error=error.message)

    async def _note_left(self) -> None:
        while self._left_up_to:
            self._check_room()
            async with self._store.write() as tx:
                left = await tx.audit.left(up_to=self._left_up_to, limit=_BATCH)
                rows = [row for _, began_at, call in left for row in self._unknown(began_at, call)]
                await tx.audit.append(rows, ended=[number for number, _, _ in left])
            if not left:
                self._left_up_to = 0

    def _unknown(self, began_at: datetime, call: Mapping[str, Any]) -> list[dict[str, Any]]:
        shared = {
            "at": self._clock.now(),
            "began_at": began_at,
            "outcome": UNKNOWN_OUTCOME,
            "message": None,
            "times": 1,
        }
        return rows_of(call, shared)

    async def close(self) -> None:
        """Write what is still to be written. No calls come any more."""
        if self._beginning is not None:
            await asyncio.gather(self._beginning, return_exceptions=True)
        self._closing.set()
        if self._writing is not None:
            await self._writing
        self._rows += self._denials.all_counted()
        with contextlib.suppress(HubError):  # it was told in the hub's log
            await self.flush()

    async def sweep(self) -> None:
        """Write how many denials of each kind there were, and delete what is older than is wanted; once a minute."""
        if counted := self._denials.counted():
            self._add(counted)
        before = self._clock.now() - timedelta(days=self._kept_days)
        is_more = self._kept_days > 0
        while is_more:
            async with self._store.write() as tx:
                is_more = await tx.audit.prune(before, limit=_PRUNED_AT_ONCE) == _PRUNED_AT_ONCE
        await self._note_left()

    # -- calls that change something -----------------------------------------------------------------

    async def through(
        self, call: AuditedCall, work: Callable[[], Awaitable[Any]], made: Callable[[Any], Mapping[str, Any]] | None
    ) -> Any:
        """Do the work of a call; it is put down before, unless it was, and its outcome after.

        Args:
            call: The call.
            work: What it does.
            made: Tells what the result names that the call did not.
        """
        outcome, message = LEFT_OUTCOME, None
        try:
            if call.has_begun:
                result = await work()
            elif call.ends_with_hub:
                result = await self._beside(call, work)
            else:
                await self.begin(call)
                result = await work()
            outcome = "ok"
            if made is not None:
                add_made(call, made(result))
            return result
        except HubError as error:
            outcome, message = error.code, message_of(error)
            raise
        except Exception:
            outcome = "internal"
            raise
        finally:
            self.end(call, outcome, message)

    async def _beside(self, call: AuditedCall, work: Callable[[], Awaitable[Any]]) -> Any:
        """Put a call down while its work begins, and tell nobody what came of it before it stands there."""
        begun = asyncio.create_task(self.begin(call), name="audit-begin-one")
        try:
            return await work()
        finally:
            await begun

    async def begin(self, call: AuditedCall) -> None:
        """Put a call down; returns when that is on disk, or when it cannot be, or not for `PATIENCE_S` seconds.

        Of one that begins with a write to the store it returns at once: that write takes it along.
        """
        call.has_begun = True
        goes_along = call.writes_first and self._has_company
        if self._is_failing or (goes_along and self._store.is_short_of_room()):
            _tell(call, "begun")
            return
        loop = asyncio.get_running_loop()
        self._numbers += 1
        call.open_id = self._numbers
        self._under_way[call.open_id] = loop.time()
        if goes_along:
            self._boarding[call.open_id] = call
            return
        done = loop.create_future()
        self._to_begin.append((call, done))
        if self._beginning is None or self._beginning.done():
            self._beginning = asyncio.create_task(self._begin_all(), name="audit-begin")
        await asyncio.wait({done}, timeout=PATIENCE_S)
        if not done.done():
            self._is_failing = True
            _tell(call, "begun")

    async def _begin_all(self) -> None:
        """Put down all that wait, in one transaction for all who have come during the one before."""
        while self._to_begin:
            if gather_s := self._gather_s():
                await asyncio.sleep(gather_s)
            batch, self._to_begin = self._to_begin, []
            try:
                self._check_room()
                calls = [call for call, _ in batch]
                async with self._store.jot() as tx:
                    await self.put(tx, calls)
                self.arrived(calls)
            except Exception as error:
                self._failed([call for call, _ in batch], error)
            finally:
                for _, done in batch:
                    if not done.done():
                        done.set_result(None)

    def board(self) -> list[AuditedCall]:
        """The calls that go with the next write. See `store.database.Companion`."""
        calls = list(self._boarding.values())
        self._boarding.clear()
        return calls

    async def put(self, tx: Transaction, what: Sequence[AuditedCall]) -> None:
        """Put calls down."""
        if len(what) > _FEW:
            tx.is_long()
        await tx.audit.begin([(call.open_id, call.began_at, call.stored()) for call in what])

    def arrived(self, what: Sequence[AuditedCall]) -> None:
        """Note that calls stand in the store."""
        for call in what:
            call.is_open = True
            if call.has_ended:  # its caller did not wait
                self._ended.append(call.open_id)
        self._add(())

    def returned(self, what: Sequence[AuditedCall], error: BaseException | None) -> None:
        """Have calls go with another write, for theirs was not kept; or tell of them, if it was they that failed."""
        if error is not None:
            self._failed(what, error)
        else:
            self._boarding.update({call.open_id: call for call in what})

    def _failed(self, calls: Sequence[AuditedCall], error: BaseException) -> None:
        self._is_failing = True
        _log.error("audit.not_written", error=str(error), calls=len(calls))
        for call in calls:
            _tell(call, "begun")

    def _gather_s(self) -> float:
        """How long to wait until some four more have come, if many under way have begun just now; else 0."""
        newest = [*islice(reversed(self._under_way.values()), _CROWD)]
        passed_s = asyncio.get_running_loop().time() - newest[-1] if len(newest) == _CROWD else _CROWD_WITHIN_S
        return min(passed_s / 2, MAX_GATHER_S) if passed_s < _CROWD_WITHIN_S else 0.0

    def end(self, call: AuditedCall, outcome: str, message: str | None = None) -> None:
        """Note how a call has ended. It is written a moment later."""
        if call.has_ended:
            return
        call.has_ended = True
        self._under_way.pop(call.open_id, None)
        if outcome != LEFT_OUTCOME:  # who went away may have left something that goes on, and is going to write
            self._boarding.pop(call.open_id, None)
        if self._is_failing:
            _tell(call, outcome)
        if call.is_open or (call.open_id and call.writes_first):  # the latter may stand there though nobody was told
            self._ended.append(call.open_id)
        self._add(self._told(call, outcome, message))

    def refused(self, call: AuditedCall, error: HubError) -> None:
        """Note a call that was refused before it began."""
        self._add(self._told(call, error.code, message_of(error), is_bounded=True))

    def _told(
        self, call: AuditedCall, outcome: str, message: str | None, *, is_bounded: bool = False
    ) -> list[dict[str, Any]]:
        now = self._clock.now()
        shown = None if message is None else storable(message, MAX_MESSAGE)
        began_at = min(call.began_at, now)  # a clock may be set back
        is_bounded |= outcome in _REFUSALS
        shared = {"at": now, "began_at": began_at, "outcome": outcome, "message": shown, "times": 1}
        rows = rows_of(call.stored(), shared, most=MAX_REFUSED if is_bounded else MAX_PROJECTS)
        return self._denials.passed(rows) if is_bounded else rows

    # -- writing -------------------------------------------------------------------------------------

    def _add(self, rows: Sequence[dict[str, Any]]) -> None:
        self._rows += rows
        if (self._rows or self._ended) and (self._writing is None or self._writing.done()):
            self._writing = asyncio.create_task(self._write_soon(), name="audit-write")

    async def _write_soon(self) -> None:
        wait_s = WRITE_AFTER_S
        while (self._rows or self._ended) and not self._closing.is_set():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._closing.wait(), wait_s)
            try:
                await self.flush()
                wait_s = WRITE_AFTER_S
            except (LimitError, StoreUnavailable):
                wait_s = _AGAIN_AFTER_S
            except Exception:
                _log.exception("audit.not_written")
                wait_s = _AGAIN_AFTER_S

    async def flush(self) -> None:
        """Write what has ended up to now.

        Raises:
            LimitError, StoreUnavailable: The store cannot be written; what was to be written is kept.
        """
        async with self._one_writer:
            # What comes meanwhile waits for the next time, or there would be no end of small transactions.
            batches = -(-max(len(self._rows), len(self._ended)) // _BATCH)
            for _ in range(batches):
                rows, ended = self._rows[:_BATCH], self._ended[:_BATCH]
                try:
                    await self._append(rows, ended)
                except HubError as error:
                    self._is_failing = True
                    self._drop_oldest(error)
                    raise
                self._is_failing = False
                del self._rows[: len(rows)]
                del self._ended[: len(ended)]

    async def _append(self, rows: Sequence[dict[str, Any]], ended: Sequence[int]) -> None:
        self._check_room()
        try:
            async with self._store.write() as tx:
                await tx.audit.append(rows, ended=ended)
        except InvalidArgument as error:  # a row that no store takes must not keep out the others
            if len(rows) == 1:
                _log.error("audit.row_refused", error=error.message, method=rows[0]["method"])
            else:
                for row in rows:
                    await self._append([row], ())
            await self._append((), ended)

    def _check_room(self) -> None:
        """See that entries do not take the last room of a disk, which is for what makes some.

        Raises:
            LimitError: They would.
        """
        if self._store.is_short_of_room():
            raise LimitError("the disk of the hub's store is nearly full")

    def _drop_oldest(self, error: HubError) -> None:
        dropped = len(self._rows) - MAX_UNWRITTEN
        if dropped > 0:
            del self._rows[:dropped]
            _log.error("audit.rows_dropped", error=error.message, dropped=dropped)

    # -- reading -------------------------------------------------------------------------------------

    async def page(self, caller: Principal, request: shapes.ListAudit) -> shapes.AuditPage:
        """A page of the log.

        Raises:
            PermissionDenied: The caller is no site admin.
            InvalidArgument: A filter is none.
        """
        admins_only(caller, "read the audit log")
        with contextlib.suppress(LimitError, StoreUnavailable):  # what is in the store can be read all the same
            await self.flush()
        async with self._store.read() as tx:
            wanted = await filter_of(tx, request)
            return await page_of(tx, wanted, request)


def _tell(call: AuditedCall, outcome: str) -> None:
    """What cannot be written now is told in the hub's log at least."""
    stored = call.stored()
    _log.warning("audit.told_here", outcome=outcome, began_ms=to_ms(call.began_at), **stored)
