"""Shapes of the audit log, as `shapes` for all else."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, Literal, TypedDict

KeyKind = Literal["account", "project", "session"]

DENIALS: Final = ("not_signed_in", "permission_denied", "ownership_denied", "rate_limited", "query_refused")
"""Codes of the errors that tell of a denial. User queries tell of rules and of rights by the same one."""

UNKNOWN_OUTCOME: Final = "unknown"
"""The outcome of a call that was under way when its hub was killed."""

LEFT_OUTCOME: Final = "left"
"""The outcome of a call that was cut short, since its caller went away or the hub was told to end."""


# -- arguments -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class ListAudit:
    """`audit.list`. `account_id` is an id or an e-mail address, `method` the beginning of a name.

    `outcome` is ``ok``, ``denied`` (all of `DENIALS`), or one code. `since` (inclusive) and `until` (exclusive) are ISO
    strings or milliseconds; `after` is the `next` of the page before; `order` is ``newest`` or ``oldest`` first.
    """

    account_id: str | None = None
    project_id: str | None = None
    method: str | None = None
    outcome: str | None = None
    since: str | int | None = None
    until: str | int | None = None
    after: int | None = None
    order: str = "newest"
    limit: int = 100


# -- replies ---------------------------------------------------------------------------------------


class AuditEntry(TypedDict):
    """One entry. `time` is when it was told, `began` when the call, or the first of `times` denials, came."""

    id: int
    time: str
    began: str
    account_id: str | None
    key_id: int | None
    key_kind: KeyKind | None
    request_id: str | None
    address: str | None
    method: str
    project_id: str | None
    target: dict[str, Any] | None
    outcome: str
    message: str | None
    times: int


class AuditPage(TypedDict):
    """Reply of `audit.list`. `next` is what to give as `after` for more; null: that was all. A page may be empty."""

    entries: list[AuditEntry]
    next: int | None
