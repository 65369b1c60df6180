"""The store itself: opened, read, written, closed."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, Final, Generic, Protocol, TypeVar

from sqlalchemy import text
from sqlalchemy.exc import ArgumentError
from sqlalchemy.ext.asyncio import AsyncConnection

from projecthub.errors import InvalidArgument
from projecthub.store._claim import DatabaseClaim, claimed_file
from projecthub.store._engines import Engines
from projecthub.store._failures import BUSY, translated
from projecthub.store._schema import bring_up_to_date
from projecthub.store._turns import in_turn
from projecthub.store.accounts import Accounts
from projecthub.store.audit import Audit
from projecthub.store.collaborators import Collaborators
from projecthub.store.copies import Copies
from projecthub.store.courses import Courses
from projecthub.store.departures import Departures
from projecthub.store.file_use import FileUse
from projecthub.store.histories import Histories
from projecthub.store.home_snapshots import SnapshotRows
from projecthub.store.idempotency import Idempotency
from projecthub.store.invite_tokens import InviteTokens
from projecthub.store.keys import Keys
from projecthub.store.licenses import Licenses
from projecthub.store.log import Log
from projecthub.store.mails import Mails
from projecthub.store.messages import Messages
from projecthub.store.open_jobs import OpenJobs
from projecthub.store.organizations import Organizations
from projecthub.store.projects import Projects
from projecthub.store.shares import Shares
from projecthub.store.sign_in_tokens import SignInTokens
from projecthub.store.templates import Templates

_N = TypeVar("_N")

_TURN_S: Final = 10.0
"""How long a write waits for those before it. Each takes a millisecond, unless another program holds the store."""

_LEAST_ROOM_BYTES: Final = 16 * 1024 * 1024


class Clock(Protocol):
    """Tells the time."""

    def now(self) -> datetime:
        """The time now: aware, UTC."""
        ...


class _Noun(Generic[_N]):
    """One noun of the store in each transaction, made when it is asked for: most need one or two."""

    def __init__(self, make: Callable[[AsyncConnection], _N]) -> None:
        self._make = make

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(self, tx: Transaction, owner: type) -> _N:
        noun = self._make(tx.connection)
        tx.__dict__[self._name] = noun
        return noun


class Transaction:
    """The nouns of the store, as one transaction sees them. Good until its ``async with`` block ends."""

    accounts = _Noun(Accounts)
    audit = _Noun(Audit)
    collaborators = _Noun(Collaborators)
    copies = _Noun(Copies)
    courses = _Noun(Courses)
    departures = _Noun(Departures)
    file_use = _Noun(FileUse)
    histories = _Noun(Histories)
    invite_tokens = _Noun(InviteTokens)
    keys = _Noun(Keys)
    licenses = _Noun(Licenses)
    log = _Noun(Log)
    mails = _Noun(Mails)
    messages = _Noun(Messages)
    open_jobs = _Noun(OpenJobs)
    organizations = _Noun(Organizations)
    projects = _Noun(Projects)
    shares = _Noun(Shares)
    sign_in_tokens = _Noun(SignInTokens)
    snapshots = _Noun(SnapshotRows)
    templates = _Noun(Templates)

    def __init__(self, connection: AsyncConnection, now: datetime, is_long: Callable[[], None] = lambda: None) -> None:
        """Made by the store.

        Args:
            connection: Has the transaction.
            now: The time at its begin.
            is_long: To be called in a jotting if what follows may take long after all: a thread executes it then.
        """
        self.connection = connection
        self.is_long = is_long
        self._now = now

    @functools.cached_property
    def idempotency(self) -> Idempotency:
        """Answers that are kept for calls that come twice."""
        return Idempotency(self.connection, self._now)


class Companion(Protocol):
    """Rows that need no transaction of their own: they go with whatever is written next."""

    def board(self) -> Sequence[Any]:
        """What there is to go; it is in this transaction's hands from now on."""
        ...

    async def put(self, tx: Transaction, what: Sequence[Any]) -> None:
        """Write it, before all else that the transaction does."""
        ...

    def arrived(self, what: Sequence[Any]) -> None:
        """It is on disk."""
        ...

    def returned(self, what: Sequence[Any], error: BaseException | None) -> None:
        """It is not, and goes with the next one; or ``put`` failed with that error, and would again."""
        ...


class Store:
    """What the hub remembers; made by `open_store`.

    Attributes:
        shared: Whether other hubs may write to this store too.
    """

    def __init__(self, engines: Engines, *, shared: bool, clock: Clock) -> None:
        self.shared = shared
        self._engines = engines
        self._clock = clock
        self._claims = contextlib.AsyncExitStack()
        self._claim = DatabaseClaim(engines.writers)
        # In SQLite there is one writer at a time; waiting here is fair, and costs no thread.
        self._turn = None if shared else asyncio.Semaphore(1)
        self._companion: Companion | None = None
        self._directory = Path(engines.writers.url.database or "").parent

    def accompany(self, companion: Companion) -> bool:
        """Have rows of somebody go with whatever is written next; whether that can be.

        It can where writes come one after the other, for then nothing that is written after `Companion.board` could be
        asked is on disk before it.
        """
        if self.shared or self._companion is not None:
            return False
        self._companion = companion
        return True

    @asynccontextmanager
    async def read(self) -> AsyncIterator[Transaction]:
        """See the state of one moment. Reading waits for no writing.

        Raises:
            LimitError: The disk is full or takes no writes, which a database needs even for reading; the same for every
                call within.
            InternalError: The database failed; the same for every call within.
        """
        with translated(writes=False):
            async with self._engines.reading() as connection:
                yield Transaction(connection, self._clock.now())

    @asynccontextmanager
    async def glance(self) -> AsyncIterator[Transaction]:
        """Find a few rows by their keys: each statement sees the state of one moment, and no two the same.

        In SQLite it is the event loop that looks, which costs a third of having a thread do so. Whatever takes longer,
        for the number of rows or for what is done meanwhile, is for `read`.

        Raises:
            LimitError, InternalError: As `read` says.
        """
        with translated(writes=False):
            async with self._engines.glancing() as connection:
                yield Transaction(connection, self._clock.now())

    def write(self) -> AbstractAsyncContextManager[Transaction]:
        """Read and change, all or nothing: kept when the block ends, undone when an exception leaves it.

        When the block has ended, all of it is on disk. Keep it short, and never begin another one within it: SQLite
        has one writer at a time.

        Raises:
            Conflict: The change does not fit what others wrote; the same for every call within.
            InvalidArgument: A value cannot be stored, such as text with a NUL.
            LimitError: The disk is full, and nothing was changed; or it takes no writes.
            StoreUnavailable: It cannot be written now: held by another program, or lost.
            InternalError: The database failed.
        """
        return self._change(is_jotting=False)

    def jot(self) -> AbstractAsyncContextManager[Transaction]:
        """As `write`, for a few rows that are found by their keys.

        In SQLite it is the event loop that executes; a thread but waits for the disk when all is kept. Each statement
        then costs a third. Whatever takes longer, for the number of rows, is for `write`.

        Raises:
            HubError: As `write` says.
        """
        return self._change(is_jotting=True)

    @asynccontextmanager
    async def _change(self, *, is_jotting: bool) -> AsyncIterator[Transaction]:
        with translated():
            writing = self._engines.writing(is_jotting=is_jotting)
            async with self._my_turn(), self._in_company() as company, writing as connection:
                tx = Transaction(connection, self._clock.now(), functools.partial(self._engines.is_long, connection))
                await company(tx)
                yield tx

    @asynccontextmanager
    async def _in_company(self) -> AsyncIterator[Callable[[Transaction], Awaitable[None]]]:
        """Around a transaction: what is to be called at its begin, for those who go with it."""
        companion = self._companion
        what = companion.board() if companion is not None else ()
        if companion is None or not what:
            yield _alone
            return
        refused: BaseException | None = None

        async def put(tx: Transaction) -> None:
            nonlocal refused
            try:
                await companion.put(tx, what)
            except Exception as error:
                refused = error
                raise

        try:
            yield put
        except BaseException:
            companion.returned(what, refused)
            raise
        companion.arrived(what)

    async def ping(self) -> None:
        """Ask the database the cheapest of questions; writes nothing.

        Raises:
            InternalError: It does not answer.
        """
        with translated():
            async with self._engines.reading() as connection:
                await connection.execute(text("SELECT version_num FROM alembic_version"))

    async def claim(self) -> None:
        """Make this the only hub of the store, until it is closed or the process ends.

        Raises:
            Conflict: Another hub is.
            InternalError: The database failed.
        """
        with translated():
            if self.shared:
                self._claims.push_async_callback(self._claim.drop)
                await self._claim.hold()
            else:
                path = self._engines.writers.url.database
                assert path is not None
                await self._claims.enter_async_context(claimed_file(Path(path)))

    def _my_turn(self) -> AbstractAsyncContextManager[None]:
        return contextlib.nullcontext() if self._turn is None else in_turn(self._turn, _TURN_S, BUSY)

    async def keep_claim(self) -> None:
        """See that this still is the only hub of the store: a database that was restarted has forgotten it.

        Raises:
            Conflict: Another hub has taken it meanwhile.
            InternalError: The database failed.
        """
        if self.shared:
            with translated():
                await self._claim.hold()

    def is_short_of_room(self) -> bool:
        """Whether the disk of a store that is a file is nearly full: what is left is for what has to be written."""
        if self.shared:
            return False
        try:
            disk = os.statvfs(self._directory)
        except OSError:
            return False  # a write will tell
        return disk.f_bavail * disk.f_frsize < _LEAST_ROOM_BYTES

    async def close(self) -> None:
        """Close all connections. Idempotent."""
        await self._claims.aclose()
        await self._engines.close()


async def _alone(tx: Transaction) -> None:
    """Nobody goes with the transaction."""


async def open_store(url: str, *, clock: Clock) -> Store:
    """Open a store; a new one is created, an older one is brought up to date.

    Args:
        url: ``sqlite:////absolute/path.sqlite3`` or ``postgresql://user:password@host/database``.
        clock: Tells how old kept answers are.

    Raises:
        InvalidArgument: No such kind of URL.
        LimitError: The disk is full, or takes no writes.
        InternalError: The database cannot be opened, or a newer version of this program wrote it.
    """
    # One of the drivers is enough: the other is not imported.
    scheme = url.partition("://")[0]
    if scheme == "sqlite":
        from projecthub.store._sqlite import sqlite_engines as engines_of
    elif scheme in ("postgresql", "postgres"):
        from projecthub.store._postgresql import postgresql_engines as engines_of
    else:
        raise InvalidArgument(f"A store's URL begins with sqlite:// or postgresql://, not with '{scheme[:20]}'")
    try:
        engines = engines_of(url)
    except (ArgumentError, ValueError):
        # Not "from" it: its text may hold the password.
        raise InvalidArgument("The store's URL cannot be read; write kind://user:password@host:5432/name") from None
    store = Store(engines, shared=scheme != "sqlite", clock=clock)
    try:
        with translated():
            await bring_up_to_date(engines.writers)
    except BaseException:
        await store.close()
        raise
    return store
