from __future__ import annotations

import errno
import sqlite3

import pytest
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, InvalidRequestError, OperationalError, StatementError

from projecthub.errors import (
    Conflict,
    HubError,
    InternalError,
    InvalidArgument,
    LimitError,
    StoreUnavailable,
)
from projecthub.store._failures import translated

SECRET = "INSERT INTO accounts VALUES ('hunter2')"


def of_sqlite(code: int) -> OperationalError:
    cause = sqlite3.OperationalError("as the driver says")
    cause.sqlite_errorcode = code
    return OperationalError(SECRET, {}, cause)


def of_system(code: int) -> OperationalError:
    cause = sqlite3.OperationalError("the store's file cannot be opened")
    cause.__cause__ = OSError(code, "as the system says")
    return OperationalError(SECRET, {}, cause)


class PostgresqlError(Exception):
    """What a driver of PostgreSQL raises."""

    def __init__(self, sqlstate: str) -> None:
        super().__init__("as the driver says")
        self.sqlstate = sqlstate


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (IntegrityError(SECRET, {}, sqlite3.IntegrityError("UNIQUE")), Conflict),
        (DataError(SECRET, {}, sqlite3.DataError("too large")), InvalidArgument),
        (StatementError("x", SECRET, {}, ValueError("no NaN")), InvalidArgument),
        (StatementError("x", SECRET, {}, TypeError("not serializable")), InternalError),
        (OperationalError(SECRET, {}, sqlite3.OperationalError("disk I/O error")), InternalError),
        (DBAPIError(SECRET, {}, sqlite3.Error("gone"), connection_invalidated=True), StoreUnavailable),
        (of_sqlite(sqlite3.SQLITE_NOTADB), StoreUnavailable),
        (of_sqlite(sqlite3.SQLITE_CORRUPT), StoreUnavailable),
        (InvalidRequestError("misuse"), InternalError),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else value.__name__,
)
def test_each_error_becomes_ours(error: Exception, expected: type[HubError]) -> None:
    with pytest.raises(expected) as caught, translated():
        raise error
    assert caught.value.__cause__ is error
    assert "hunter2" not in caught.value.message


@pytest.mark.parametrize(
    "error",
    [
        of_sqlite(sqlite3.SQLITE_FULL),
        of_system(errno.ENOSPC),
        OperationalError(SECRET, {}, PostgresqlError("53100")),
    ],
)
def test_a_full_disk_is_told(error: Exception) -> None:
    with pytest.raises(LimitError, match="disk is full, and nothing was changed; ask the hub's operator"), translated():
        raise error


@pytest.mark.parametrize(
    "error",
    [
        of_sqlite(sqlite3.SQLITE_READONLY),
        of_sqlite(sqlite3.SQLITE_IOERR_FSYNC),
        of_system(errno.EROFS),
        OperationalError(SECRET, {}, PostgresqlError("25006")),
    ],
)
def test_a_disk_that_takes_no_writes_is_told(error: Exception) -> None:
    with pytest.raises(LimitError, match="takes no writes at present; ask the hub's operator"), translated():
        raise error


@pytest.mark.parametrize("error", [of_sqlite(sqlite3.SQLITE_BUSY), of_sqlite(sqlite3.SQLITE_CORRUPT), of_system(13)])
def test_codes_of_sqlite_are_none_of_the_system(error: Exception) -> None:
    """5 is a locked database there, and a failing disk here."""
    with pytest.raises(InternalError), translated():
        raise error


def test_other_errors_pass() -> None:
    with pytest.raises(KeyError), translated():
        raise KeyError("x")
