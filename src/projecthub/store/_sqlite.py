"""SQLite, over aiosqlite, with one change of thread for a statement, or with none.

aiosqlite gives every connection a thread of its own. Opening a cursor, executing, fetching and closing would cost
four changes of thread, and beginning the transaction a fifth; what a statement costs here is mostly that. So a
statement makes one visit to the thread, which begins the transaction if need be, executes, and fetches all rows.

To find or change a row by its key takes SQLite less than a change of thread takes. Glances and jottings are therefore
done in the thread of the event loop, which waits for no lock there, nor for the disk at a commit.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sqlite3
import time
from collections import deque
from collections.abc import Callable, Coroutine, Iterable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, Final, NoReturn, TypeVar, cast

import aiosqlite
from sqlalchemy import AsyncAdaptedQueuePool, make_url
from sqlalchemy.dialects.sqlite.aiosqlite import AsyncAdapt_aiosqlite_connection, AsyncAdapt_aiosqlite_dbapi
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.util import await_only
from sqlalchemy.util.concurrency import in_greenlet

from projecthub.errors import InternalError, InvalidArgument
from projecthub.store._engines import Engines
from projecthub.store._kept import Kept
from projecthub.store._reserve import reserve_journal
from projecthub.store.tables import dump_json

_T = TypeVar("_T")

_OLDEST: Final = (3, 35)
"""The first SQLite with RETURNING."""
_READERS: Final = 4
_BUSY_TIMEOUT_S: Final = 10
_BUSY_RETRY_S: Final = 0.01
_BUSY: Final = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
_CACHED_STATEMENTS: Final = 512


def sqlite_engines(url: str) -> Engines:
    """Engines for reading and for glances (a few connections, which cannot write), and for writing (one connection).

    Either they are used by themselves, or what `Engines` offers is: that keeps their connections.

    Raises:
        InvalidArgument: The URL names no file.
        InternalError: This Python's SQLite is too old.
    """
    path = make_url(url).database
    if not path or path == ":memory:":
        raise InvalidArgument("A SQLite store is a file: give its URL as sqlite:////absolute/path.sqlite3")
    if sqlite3.sqlite_version_info < _OLDEST:
        raise InternalError(
            f"SQLite {sqlite3.sqlite_version} is too old; install {'.'.join(map(str, _OLDEST))} or newer"
        )

    def engine(driver: _Driver) -> AsyncEngine:
        return create_async_engine(
            make_url(url).set(drivername="sqlite+aiosqlite"),
            module=driver,
            poolclass=AsyncAdaptedQueuePool,
            pool_size=1 if driver.writes else _READERS,
            max_overflow=0,
            json_serializer=dump_json,
        )

    return _SQLiteEngines(
        readers=engine(_Driver(writes=False)),
        glancers=engine(_GlancingDriver()),
        writers=engine(_Driver(writes=True)),
    )


class _SQLiteEngines(Engines):
    def __init__(self, *, readers: AsyncEngine, glancers: AsyncEngine, writers: AsyncEngine) -> None:
        super().__init__(readers=readers, glancers=glancers, writers=writers)
        self._readers = Kept(readers, AsyncConnection, most=_READERS)
        self._glancers = Kept(glancers, _ShortCut, most=_READERS)
        self._writers = Kept(writers, _ShortCut, most=1)

    def reading(self) -> AbstractAsyncContextManager[AsyncConnection]:
        return self._readers.reading()

    def glancing(self) -> AbstractAsyncContextManager[AsyncConnection]:
        return self._glancers.reading()

    def writing(self, *, is_jotting: bool) -> AbstractAsyncContextManager[AsyncConnection]:
        return self._writers.writing(lambda connection: execute_here(connection, is_jotting))

    def is_long(self, connection: AsyncConnection) -> None:
        execute_here(connection, False)

    async def close(self) -> None:
        for kept in (self._readers, self._glancers, self._writers):
            await kept.close()
        await super().close()


def execute_here(connection: AsyncConnection, is_here: bool) -> None:
    """Have what a connection that writes executes from here on executed by the event loop itself, or by a thread."""
    _driver_of(connection).is_here = is_here


def _driver_of(connection: AsyncConnection) -> _Connection:
    plain = connection.sync_connection
    assert plain is not None
    raw: Any = plain.connection.dbapi_connection
    return cast("_Connection", raw)


def _unicode_lower(text: str | None) -> str | None:
    return None if text is None else text.lower()


class _ShortCut(AsyncConnection):
    """Has done without a greenlet what its driver does here.

    SQLAlchemy needs one only to wait in, and each costs some 15 us: its stack is a piece of memory of its own.
    """

    async def execute(self, statement: Any, parameters: Any = None, *, execution_options: Any = None) -> Any:
        plain = self.sync_connection
        if plain is not None and _driver_of(self).is_free_here:
            try:
                return plain.execute(statement, parameters, execution_options=execution_options)
            except _OthersHoldIt:
                pass
        return await super().execute(statement, parameters, execution_options=execution_options)

    async def commit(self) -> None:
        plain = self.sync_connection
        if plain is not None and plain.in_transaction():
            await _driver_of(self).keep()
            plain.commit()


class _Raw(sqlite3.Connection):
    """Lets go of its transaction when it is closed.

    SQLite keeps a closed connection, with its locks, until the last of its statements is gone; and what an exception
    holds goes when the collector of garbage comes by.
    """

    def close(self) -> None:
        with contextlib.suppress(sqlite3.Error):  # it was closed before, or is lost
            if self.in_transaction:
                self.execute("ROLLBACK")
        super().close()


class _OthersHoldIt(Exception):
    """There is something to wait for, and nothing was done."""


class _Driver(AsyncAdapt_aiosqlite_dbapi):
    """The DBAPI module that SQLAlchemy sees; it makes `_Connection`s."""

    def __init__(self, *, writes: bool) -> None:
        super().__init__(aiosqlite, sqlite3)
        self.writes = writes

    def connect(self, path: str, **options: Any) -> _Connection:
        connection = aiosqlite.Connection(lambda: self._open(path), iter_chunk_size=64)
        connection._thread.daemon = True  # a hub that dies must not wait for it
        try:
            return _Connection(self, await_only(connection))
        except BaseException:
            # aiosqlite has told the thread to end and awaits nothing: its last word would find the loop closed.
            await_only(asyncio.to_thread(connection._thread.join))
            raise

    def _open(self, path: str, busy_timeout_s: float = _BUSY_TIMEOUT_S) -> sqlite3.Connection:
        """Open the file; runs in the connection's thread."""
        if self.writes:
            # SQLite gives the journal's files the mode of the main one, so this mode is that of all. A file that is
            # there must not be opened by us: closing it would drop the locks of this process's other connections.
            try:
                os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
            except FileExistsError:
                pass
            except OSError as error:
                raise sqlite3.OperationalError(f"the store's file cannot be opened: {error.strerror}") from error
        raw = sqlite3.connect(
            path,
            timeout=busy_timeout_s,
            isolation_level=None,
            cached_statements=_CACHED_STATEMENTS,
            factory=_Raw,
            check_same_thread=False,  # `_Connection.visit` sees to it that no two use it at a time
        )
        try:
            raw.execute("PRAGMA foreign_keys=ON")
            raw.execute("PRAGMA case_sensitive_like=ON")  # as in PostgreSQL; ILIKE compares what is lower-cased
            raw.create_function("unicode_lower", 1, _unicode_lower, deterministic=True)
            if self.writes:
                # Only the first one who opens a new store has anything to do. When several do it at a time SQLite
                # refuses all but one at once, without waiting.
                _waiting(lambda: raw.execute("PRAGMA journal_mode=WAL").fetchone())
                raw.execute("PRAGMA synchronous=FULL")  # what was answered survives a loss of power
                raw.execute("SELECT count(*) FROM sqlite_master").fetchone()  # makes the journal, if it is not there
                reserve_journal(path)
                raw.execute("PRAGMA busy_timeout=0")  # whoever begins to write waits by itself
            else:
                raw.execute("PRAGMA query_only=ON")
        except BaseException:
            raw.close()
            raise
        return raw


class _GlancingDriver(_Driver):
    """Makes connections whose statements are executed in the thread of the event loop."""

    def __init__(self) -> None:
        super().__init__(writes=False)

    def connect(self, path: str, **options: Any) -> _Connection:
        return _GlancingConnection(self, _Here(await_only(_patiently(lambda: self._open(path, busy_timeout_s=0)))))


class _Here:
    """What aiosqlite's connection is to SQLAlchemy, without a thread."""

    def __init__(self, raw: sqlite3.Connection) -> None:
        self._conn = self._connection = raw
        self.isolation_level = raw.isolation_level

    async def _execute(self, work: Callable[[], Any]) -> Any:
        return work()

    async def create_function(self, name: str, n: int, function: Callable[..., Any], **options: Any) -> None:
        self._conn.create_function(name, n, function, **options)

    async def close(self) -> None:
        self._conn.close()

    def stop(self) -> None:
        self._conn.close()


async def _patiently(work: Callable[[], _T]) -> _T:
    """Do some work that refuses to wait for others to let go of the store, again and again for a while."""
    deadline = time.monotonic() + _BUSY_TIMEOUT_S
    while True:
        if (done := _unless_busy(work, deadline)) is not None:
            return done[0]
        await asyncio.sleep(_BUSY_RETRY_S)


def _waiting(work: Callable[[], _T]) -> _T:
    """As `_patiently`, in a thread of its own."""
    deadline = time.monotonic() + _BUSY_TIMEOUT_S
    while (done := _unless_busy(work, deadline)) is None:
        time.sleep(_BUSY_RETRY_S)
    return done[0]


def _unless_busy(work: Callable[[], _T], deadline: float) -> tuple[_T] | None:
    """What some work returns; None: others hold the store, and there is time to try again."""
    try:
        return (work(),)
    except sqlite3.OperationalError as error:
        if not _is_busy(error) or time.monotonic() > deadline:
            raise
        return None


def _is_busy(error: sqlite3.Error) -> bool:
    """Whether others hold the store: the first eight bits of the code say so, if SQLite has given one."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF in _BUSY


class _Connection(AsyncAdapt_aiosqlite_connection):
    """A connection whose first statement begins a transaction.

    Attributes:
        is_here: Whether the event loop executes the statements itself. It does while nothing is left for the thread to
            do: what was sent there by a caller who left meanwhile comes first.
    """

    __slots__ = ("_begun", "_done", "_failure", "_is_clean", "_sent", "is_here")

    dbapi: _Driver

    def __init__(self, dbapi: _Driver, connection: Any) -> None:
        super().__init__(dbapi, connection)
        self.is_here = False
        self._begun = False  # belongs to whoever executes
        self._is_clean = False  # nothing was executed since a commit that was waited for
        self._failure: Exception | None = None  # of `keep`, for `commit`
        self._sent = 0  # to the thread
        self._done = 0  # by the thread

    def cursor(self, server_side: bool = False) -> _Cursor:  # type: ignore[override]
        return _Cursor(self)

    def visit(self, work: Callable[[sqlite3.Connection], Any]) -> Any:
        """Do ``work``, in the thread or here, and wait for what it returns."""
        self._is_clean = False
        if not self.is_free_here:
            return self._await(self._in_thread(work))
        if in_greenlet():
            return self._await(_patiently(lambda: work(self._connection._conn)))
        return self._at_once(work)

    @property
    def is_free_here(self) -> bool:
        """Whether a statement that comes now is executed here."""
        return self.is_here and self._sent == self._done

    def _at_once(self, work: Callable[[sqlite3.Connection], Any]) -> Any:
        """Do ``work`` without waiting for anything.

        Raises:
            _OthersHoldIt: Others hold the store.
        """
        try:
            return work(self._connection._conn)
        except Exception as error:
            if isinstance(error, sqlite3.OperationalError) and _is_busy(error):
                raise _OthersHoldIt from error
            self._tell(error)

    async def _in_thread(self, work: Callable[[sqlite3.Connection], Any]) -> Any:
        def counted() -> Any:
            try:
                return _waiting(lambda: work(self._connection._conn))
            finally:
                self._done += 1

        self._sent += 1
        return await self._connection._execute(counted)

    def _await(self, work: Coroutine[Any, Any, Any]) -> Any:
        try:
            return await_only(work)
        except Exception as error:
            self._tell(error)

    def _tell(self, error: Exception) -> NoReturn:
        if isinstance(error, UnicodeEncodeError | OverflowError):
            raise sqlite3.DataError(str(error)) from error
        self._handle_exception(error)

    def begin(self, raw: sqlite3.Connection) -> None:
        """Begin the transaction, unless that was done."""
        if not self._begun:
            raw.execute("BEGIN IMMEDIATE" if self.dbapi.writes else "BEGIN")
            self._begun = True
        elif not raw.in_transaction:
            # A full disk makes SQLite roll back by itself. What follows must not count without what went before.
            raise sqlite3.OperationalError("the transaction was rolled back")

    async def keep(self) -> None:
        """Commit; `commit` is to be called then, outside of a greenlet, and tells how it went."""
        try:
            await self._in_thread(self._end)
        except Exception as error:
            self._failure = error

    def commit(self) -> None:
        if in_greenlet():
            self._await(self._in_thread(self._end))
        elif self._failure is not None:
            failure, self._failure = self._failure, None
            self._tell(failure)
        self._is_clean = True

    def _end(self, raw: sqlite3.Connection) -> None:
        """Commit what was begun, if anything; waits for the disk."""
        if self._begun:
            raw.execute("COMMIT")
            self._begun = False

    def rollback(self) -> None:
        def end() -> None:
            self._begun = False
            raw = self._connection._connection
            if raw is not None and raw.in_transaction:
                raw.execute("ROLLBACK")

        if self.dbapi.writes:
            if not self._is_clean:
                self._await(self._in_thread(lambda raw: end()))
        else:
            # The end of a read has nothing to tell, and whatever comes next on this connection comes after it.
            self._connection._tx.put_nowait((None, end))


class _GlancingConnection(_Connection):
    """A connection that is of the thread of the event loop."""

    __slots__ = ()

    def __init__(self, dbapi: _Driver, connection: Any) -> None:
        super().__init__(dbapi, connection)
        self.is_here = True

    def rollback(self) -> None:
        self._begun = False
        raw = self._connection._conn
        if raw.in_transaction:
            raw.execute("ROLLBACK")


class _Cursor:
    """The result of one statement, all of it fetched."""

    __slots__ = ("_connection", "_rows", "arraysize", "description", "lastrowid", "rowcount")

    def __init__(self, connection: _Connection) -> None:
        self._connection = connection
        self._rows: deque[Any] = deque()
        self.description: Any = None
        self.rowcount = -1
        self.lastrowid: int | None = None
        self.arraysize = 1

    def execute(self, operation: str, parameters: Sequence[Any] = ()) -> None:
        self._connection.visit(lambda raw: self._run(raw, sqlite3.Cursor.execute, operation, parameters))

    def executemany(self, operation: str, parameters: Iterable[Sequence[Any]]) -> None:
        self._connection.visit(lambda raw: self._run(raw, sqlite3.Cursor.executemany, operation, parameters))

    def _run(
        self, raw: sqlite3.Connection, execute: Callable[..., sqlite3.Cursor], operation: str, parameters: Any
    ) -> None:
        self._connection.begin(raw)
        with contextlib.closing(raw.cursor()) as cursor:  # a failure's traceback would hold it, see `_Raw`
            execute(cursor, operation, parameters)
            self.description = cursor.description
            self._rows.extend(cursor.fetchall())
            self.rowcount = cursor.rowcount  # complete only after the last row of a RETURNING
            self.lastrowid = cursor.lastrowid

    def fetchone(self) -> Any:
        return self._rows.popleft() if self._rows else None

    def fetchmany(self, size: int | None = None) -> list[Any]:
        return [self._rows.popleft() for _ in range(min(size or self.arraysize, len(self._rows)))]

    def fetchall(self) -> list[Any]:
        rows = list(self._rows)
        self._rows.clear()
        return rows

    def __iter__(self) -> Iterator[Any]:
        while self._rows:
            yield self._rows.popleft()

    def close(self) -> None:
        self._rows.clear()

    async def _async_soft_close(self) -> None:
        """Nothing is open any more."""
