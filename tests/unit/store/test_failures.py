from __future__ import annotations

import sqlite3

import pytest
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, InvalidRequestError, OperationalError, StatementError

from projecthub.errors import Conflict, HubError, InternalError, InvalidArgument, StoreUnavailable
from projecthub.store._failures import translated

SECRET = "INSERT INTO accounts VALUES ('hunter2')"


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (IntegrityError(SECRET, {}, sqlite3.IntegrityError("UNIQUE")), Conflict),
        (DataError(SECRET, {}, sqlite3.DataError("too large")), InvalidArgument),
        (StatementError("x", SECRET, {}, ValueError("no NaN")), InvalidArgument),
        (StatementError("x", SECRET, {}, TypeError("not serializable")), InternalError),
        (OperationalError(SECRET, {}, sqlite3.OperationalError("disk I/O error")), InternalError),
        (DBAPIError(SECRET, {}, sqlite3.Error("gone"), connection_invalidated=True), StoreUnavailable),
        (InvalidRequestError("misuse"), InternalError),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else value.__name__,
)
def test_each_error_becomes_ours(error: Exception, expected: type[HubError]) -> None:
    with pytest.raises(expected) as caught, translated():
        raise error
    assert caught.value.__cause__ is error
    assert "hunter2" not in caught.value.message


def test_other_errors_pass() -> None:
    with pytest.raises(KeyError), translated():
        raise KeyError("x")
