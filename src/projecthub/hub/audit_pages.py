"""What is asked of the audit log, and how it is answered."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from projecthub.errors import InvalidArgument, NotFound
from projecthub.hub.permissions import account_id_of, project_id_of
from projecthub.hub.times import parse_time
from projecthub.store.records import AuditFilter
from projecthub.wire.audit import DENIALS
from projecthub.wire.units import to_iso

if TYPE_CHECKING:
    from collections.abc import Mapping

    from projecthub.store import Transaction
    from projecthub.wire import audit as shapes
    from projecthub.wire.ids import AccountId

MAX_PAGE: Final = 1000
_MAX_WORD: Final = 200
_MAX_NUMBER: Final = 2**63 - 1
_ORDERS: Final = ("newest", "oldest")
_BAD_PROJECT: Final = "project_id '{value}' is no uuid"
_BAD_ACCOUNT: Final = "account_id '{value}' is neither a uuid nor an e-mail address"


async def filter_of(tx: Transaction, request: shapes.ListAudit) -> AuditFilter:
    """What is asked for, checked.

    Raises:
        InvalidArgument: A filter is none.
        NotFound: No account has the e-mail address.
    """
    return AuditFilter(
        account_id=None if request.account_id is None else await _account(tx, request.account_id),
        project_id=None if request.project_id is None else project_id_of(request.project_id, _BAD_PROJECT),
        method=None if request.method is None else _word(request.method, "method"),
        outcomes=_outcomes(request.outcome),
        since=parse_time(request.since, "since"),
        until=parse_time(request.until, "until"),
    )


async def page_of(tx: Transaction, wanted: AuditFilter, request: shapes.ListAudit) -> shapes.AuditPage:
    """A page of what is wanted.

    Raises:
        InvalidArgument: ``limit`` is not from 1 to 1000, ``after`` no number of an entry, or ``order`` none.
    """
    if not 1 <= request.limit <= MAX_PAGE:
        raise InvalidArgument(f"limit is {request.limit}; give a number from 1 to {MAX_PAGE}")
    if request.after is not None and not 0 <= request.after <= _MAX_NUMBER:
        raise InvalidArgument(f"after is {request.after}; give the 'next' of the page before")
    if request.order not in _ORDERS:
        raise InvalidArgument(f"order is '{request.order[:100]}'; give one of {', '.join(_ORDERS)}")
    rows, next = await tx.audit.page(
        wanted, after=request.after, newest_first=request.order == "newest", limit=request.limit
    )
    return {"entries": [_shape(row) for row in rows], "next": next}


async def _account(tx: Transaction, given: str) -> AccountId:
    if "@" not in given:
        return account_id_of(given, _BAD_ACCOUNT)
    found = await tx.accounts.by_email(given.strip())
    if found is None:
        raise NotFound(f"no account with e-mail address '{given[:320]}'; those that are gone have an id", value=given)
    return found.account_id


def _outcomes(given: str | None) -> tuple[str, ...] | None:
    if given is None:
        return None
    return DENIALS if given == "denied" else (_word(given, "outcome"),)


def _word(given: str, name: str) -> str:
    if not given or len(given) > _MAX_WORD or not given.isprintable():
        raise InvalidArgument(f"{name} is {given[:100]!r}; give 1 to {_MAX_WORD} characters, such as 'projects.'")
    return given


def _shape(row: Mapping[str, Any]) -> shapes.AuditEntry:
    return {
        "id": row["id"],
        "time": to_iso(row["at"]),
        "began": to_iso(row["began_at"]),
        "account_id": row["account_id"],
        "key_id": row["key_id"],
        "key_kind": row["key_kind"],
        "request_id": row["request_id"],
        "address": row["address"],
        "method": row["method"],
        "project_id": row["project_id"],
        "target": row["target"],
        "outcome": row["outcome"],
        "message": row["message"],
        "times": row["times"],
    }
