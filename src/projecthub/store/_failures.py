"""From the errors of databases and drivers to ours, at the room's door."""

from __future__ import annotations

import errno
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Final

import structlog
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, SQLAlchemyError, StatementError

from projecthub.errors import Conflict, HubError, InternalError, InvalidArgument, LimitError, StoreUnavailable

_BAD_VALUE: Final = ("22", "54")
"""Classes of PostgreSQL's codes for values that cannot be stored: wrong ones, and too long ones."""

BUSY: Final = (
    "the hub's store is held by another program, so nothing was changed; try again, and have the hub's operator end "
    "that program if this goes on"
)
DAMAGED: Final = (
    "the file of the hub's store is damaged, or no database; its operator has to stop the hub, move that file and "
    "those whose names begin with its own away, and put a sound one in its place: `projecthub restore` "
    "makes one of a backup"
)
_FULL: Final = "The hub's disk is full, and nothing was changed; ask the hub's operator to make room"
_UNWRITABLE: Final = (
    "The hub's disk takes no writes at present; ask the hub's operator to look at it, then look what came of the call"
)
_OF_DATABASE: Final[Mapping[int | str, str]] = {
    sqlite3.SQLITE_FULL: _FULL,
    sqlite3.SQLITE_READONLY: _UNWRITABLE,
    sqlite3.SQLITE_IOERR: _UNWRITABLE,
    sqlite3.SQLITE_CANTOPEN: _UNWRITABLE,
    "53100": _FULL,
    "25006": _UNWRITABLE,
    "58030": _UNWRITABLE,
}
"""SQLite's codes, which are numbers, and PostgreSQL's, which are texts."""
_READ_ONLY: Final = (sqlite3.SQLITE_READONLY, "25006")
_OF_SYSTEM: Final = {
    errno.ENOSPC: _FULL,
    errno.EDQUOT: _FULL,
    errno.EROFS: _UNWRITABLE,
    errno.EIO: _UNWRITABLE,
}
"""Met when SQLite's file is opened."""

_log = structlog.get_logger()


@contextmanager
def translated(*, writes: bool = True) -> Iterator[None]:
    """Raise our errors instead of SQLAlchemy's. Others pass as they are.

    Args:
        writes: Whether what happens within may write. If not, a refusal to write is our own fault.
    """
    try:
        yield
    except SQLAlchemyError as error:
        raise _translation(error, writes=writes) from error


def _translation(error: SQLAlchemyError, *, writes: bool) -> HubError:
    if isinstance(error, IntegrityError):
        return Conflict(
            "The change does not fit what the store holds: it names something that is not there, "
            "or repeats what must be unique; read again, then retry"
        )
    if (text := _of_disk(error, writes=writes)) is not None:
        _log.error("store.unwritable", reason=_first_line(error))
        return LimitError(text)
    if _is_bad_value(error):
        return InvalidArgument(
            f"A value cannot be stored: {_first_line(error)}; send Unicode text without NUL, and numbers of 64 bits"
        )
    if isinstance(error, DBAPIError) and error.connection_invalidated:
        return StoreUnavailable("the hub's store was lost, and the fate of the call is open; look, then try again")
    orig = error.orig if isinstance(error, StatementError) else None
    if getattr(orig, "sqlite_errorcode", 0) & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return StoreUnavailable(BUSY)
    if getattr(orig, "sqlite_errorcode", 0) & 0xFF in (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT):
        _log.error("store.damaged", reason=_first_line(error))
        return StoreUnavailable(DAMAGED, damaged=True)
    return InternalError(f"The store failed: {_first_line(error)}")


def _of_disk(error: SQLAlchemyError, *, writes: bool) -> str | None:
    """What to tell if the disk is to blame."""
    cause = error.orig if isinstance(error, StatementError) else None
    if isinstance(cause, sqlite3.Error) and isinstance(cause.__cause__, OSError):
        return _OF_SYSTEM.get(cause.__cause__.errno or 0)
    code: int | str = getattr(cause, "sqlstate", None) or ""
    if isinstance(cause, sqlite3.Error):
        # The first eight bits say the kind of failure, the others what it was met at. Ours have no code.
        code = getattr(cause, "sqlite_errorcode", 0) & 0xFF
    return _OF_DATABASE.get(code) if writes or code not in _READ_ONLY else None


def _is_bad_value(error: SQLAlchemyError) -> bool:
    """Whether a value is to blame, not the statement or the database."""
    if not isinstance(error, StatementError) or error.orig is None:
        return False
    sqlstate = getattr(error.orig, "sqlstate", None) or ""
    return (
        isinstance(error, DataError)
        or sqlstate.startswith(_BAD_VALUE)
        or isinstance(error.orig, ValueError)  # met by us, on the way into the statement
        or isinstance(error.orig.__cause__, ValueError)  # met by the driver
    )


def _first_line(error: SQLAlchemyError) -> str:
    """What a driver says, without the statement and its parameters."""
    cause = error.orig if isinstance(error, StatementError) and error.orig is not None else error
    return (str(cause).splitlines() or [type(cause).__name__])[0][:200]
