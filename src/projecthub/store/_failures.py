"""From the errors of databases and drivers to ours, at the room's door."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, SQLAlchemyError, StatementError

from projecthub.errors import Conflict, HubError, InternalError, InvalidArgument, StoreUnavailable

_BAD_VALUE: Final = ("22", "54")
"""Classes of PostgreSQL's codes for values that cannot be stored: wrong ones, and too long ones."""

BUSY: Final = (
    "the hub's store is held by another program, so nothing was changed; try again, and have the hub's operator end "
    "that program if this goes on"
)
_FULL: Final = "the disk of the hub's store is full, so nothing was changed; have the hub's operator make room"
_BROKEN: Final = "the hub's store cannot be used ({why}), so nothing was changed; tell the hub's operator"
_SQLITE: Final[dict[int, str]] = {
    sqlite3.SQLITE_BUSY: BUSY,
    sqlite3.SQLITE_LOCKED: BUSY,
    sqlite3.SQLITE_FULL: _FULL,
    sqlite3.SQLITE_READONLY: _BROKEN,
    sqlite3.SQLITE_IOERR: _BROKEN,
    sqlite3.SQLITE_CANTOPEN: _BROKEN,
}
"""What is told for SQLite's primary error codes."""


@contextmanager
def translated() -> Iterator[None]:
    """Raise our errors instead of SQLAlchemy's. Others pass as they are."""
    try:
        yield
    except SQLAlchemyError as error:
        raise _translation(error) from error


def _translation(error: SQLAlchemyError) -> HubError:
    if isinstance(error, IntegrityError):
        return Conflict(
            "The change does not fit what the store holds: it names something that is not there, "
            "or repeats what must be unique; read again, then retry"
        )
    if _is_bad_value(error):
        return InvalidArgument(
            f"A value cannot be stored: {_first_line(error)}; send Unicode text without NUL, and numbers of 64 bits"
        )
    if isinstance(error, DBAPIError) and error.connection_invalidated:
        return StoreUnavailable("the hub's store was lost, and the fate of the call is open; look, then try again")
    orig = error.orig if isinstance(error, StatementError) else None
    if isinstance(orig, sqlite3.Error) and (told := _SQLITE.get(getattr(orig, "sqlite_errorcode", 0) & 0xFF)):
        return StoreUnavailable(told.format(why=orig))
    return InternalError(f"The store failed: {_first_line(error)}")


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
