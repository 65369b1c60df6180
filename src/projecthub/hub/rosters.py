"""Rosters: many accounts made and changed by one list, all of it or nothing.

A row says what an account is to be, by its e-mail address; what a row does not say stays. So a list may be brought in
again, and does nothing then.

Source: docs/wire-extensions.md.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from projecthub.errors import InvalidArgument
from projecthub.hub.accounts import EMAIL, MAX_NAME
from projecthub.hub.permissions import admins_only, all_scopes_only, keeps_an_admin
from projecthub.store.accounts import ascii_lower
from projecthub.wire import shapes

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from projecthub.hub.accounts import Accounts
    from projecthub.hub.keys import Keys
    from projecthub.hub.principals import Principal
    from projecthub.store import Transaction
    from projecthub.store.records import Account

MAX_ROWS: Final = 5000
"""Rows of a roster at most: nobody else can write while they are brought in."""

_ROLES: Final = {"user": False, "admin": True}
_KNOWN: Final = {"line", "email_address", "first_name", "last_name", "role", "disabled"}
_COLUMNS: Final = {"first_name": "first_name", "last_name": "last_name", "is_admin": "admin", "banned": "disabled"}
"""Columns that a roster changes, with their names on the wire."""
_SHOWN_PROBLEMS: Final = 20


@dataclass(frozen=True, slots=True)
class _Row:
    line: int
    email: str
    columns: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class _Step:
    """What a row does to its account; ``before`` is None if it makes it."""

    row: _Row
    before: Account | None
    after: Account

    @property
    def changes(self) -> dict[str, Any]:
        """The columns that change, with their new values."""
        columns = {name: getattr(self.after, name) for name in _COLUMNS}
        return {name: v for name, v in columns.items() if self.before is None or getattr(self.before, name) != v}


class Rosters:
    """Brings lists of accounts in."""

    def __init__(self, accounts: Accounts, keys: Keys) -> None:
        """Make the service; ``keys`` gives its transactions, because accounts may be disabled."""
        self._accounts = accounts
        self._keys = keys

    async def bring_in(self, caller: Principal, request: shapes.ImportRoster) -> shapes.RosterReport:
        """Make and change accounts as a roster says, or tell what that would do.

        Raises:
            PermissionDenied: The caller is no site admin, or his key is limited.
            InvalidArgument: Rows are wrong; each is named by its line, with what is wrong.
            Conflict: No site admin would be left.
        """
        admins_only(caller, "bring in rosters")
        all_scopes_only(caller, "bring in rosters")
        rows = _read(request.rows)
        async with self._keys.changing() as tx:
            known = await tx.accounts.by_emails([row.email for row in rows])
            steps = [self._step(row, known.get(ascii_lower(row.email))) for row in rows]
            lost = {s.after.account_id for s in steps if _administers(s.before) and not _administers(s.after)}
            gained = {s.after.account_id for s in steps if _administers(s.after)}
            await keeps_an_admin(tx, lost, gained)
            if not request.dry_run:
                await _apply(tx, steps)
        told = [_told(step) for step in steps if step.changes]
        counts = Counter(one["action"] for one in told)
        return {
            "dry_run": request.dry_run,
            "created": counts["create"],
            "changed": counts["change"],
            "unchanged": len(steps) - len(told),
            "rows": told,
        }

    def _step(self, row: _Row, before: Account | None) -> _Step:
        name = row.email.partition("@")[0]
        basis = before or self._accounts.new(email_address=row.email, first_name=name)
        return _Step(row, before, replace(basis, **row.columns))


async def _apply(tx: Transaction, steps: Sequence[_Step]) -> None:
    for step in steps:
        if step.before is None:
            await tx.accounts.create(step.after)
        elif changes := step.changes:
            await tx.accounts.update(step.after.account_id, changes)


def _administers(account: Account | None) -> bool:
    return account is not None and account.is_admin and not account.banned


def _told(step: _Step) -> shapes.RosterRow:
    before = step.before
    return {
        "line": step.row.line,
        "email_address": step.after.email_address or "",
        "action": "create" if before is None else "change",
        "changes": {
            _COLUMNS[name]: [None if before is None else getattr(before, name), value]
            for name, value in step.changes.items()
        },
    }


def _read(given: Sequence[Mapping[str, Any]]) -> list[_Row]:
    """The rows of a roster.

    Raises:
        InvalidArgument: Some are wrong.
    """
    if len(given) > MAX_ROWS:
        raise InvalidArgument(f"the roster has {len(given)} rows; give at most {MAX_ROWS} at a time")
    rows: list[_Row] = []
    problems: list[str] = []
    first_lines: dict[str, int] = {}
    for number, one in enumerate(given, 1):
        line = one.get("line", number)
        line = line if isinstance(line, int) and not isinstance(line, bool) else number
        try:
            row = _row(line, one)
            if (email := ascii_lower(row.email)) in first_lines:
                raise ValueError(f"{row.email} stands in line {first_lines[email]} already")
            first_lines[email] = line
            rows.append(row)
        except ValueError as error:
            problems.append(f"line {line}: {error}")
    if problems:
        more = f"; and {len(problems) - _SHOWN_PROBLEMS} more" if len(problems) > _SHOWN_PROBLEMS else ""
        raise InvalidArgument(f"nothing was changed: {'; '.join(problems[:_SHOWN_PROBLEMS])}{more}")
    return rows


def _row(line: int, given: Mapping[str, Any]) -> _Row:
    """One row.

    Raises:
        ValueError: What is wrong with it.
    """
    if unknown := sorted(given.keys() - _KNOWN):
        raise ValueError(f"'{unknown[0][:50]}' is unknown; a row has {', '.join(sorted(_KNOWN - {'line'}))}")
    email = given.get("email_address")
    if not isinstance(email, str) or not EMAIL.fullmatch(email := email.strip()):
        raise ValueError(f"{str(email)[:100]!r} is no e-mail address")
    columns: dict[str, Any] = {}
    for name in ("first_name", "last_name"):
        text = given.get(name)
        if text is not None and not isinstance(text, str):
            raise ValueError(f"{name} is {str(text)[:100]!r}, which is no text")
        if text and text.strip():
            columns[name] = text.strip()[:MAX_NAME]
    if (role := given.get("role")) is not None:
        if not isinstance(role, str) or role not in _ROLES:
            raise ValueError(f"role is {str(role)[:100]!r}; give {' or '.join(_ROLES)}")
        columns["is_admin"] = _ROLES[role]
    if (disabled := given.get("disabled")) is not None:
        if not isinstance(disabled, bool):
            raise ValueError(f"disabled is {str(disabled)[:100]!r}; give true or false")
        columns["banned"] = disabled
    return _Row(line, email, columns)
