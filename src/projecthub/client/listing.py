"""Which projects `projects.get` asks for, keeps, and in what order.

The hub answers with all rows of a table; filters, order and limit are the client's.

Source: Wire contract 2.1.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from projecthub.errors import HubError, InvalidArgument, PermissionDenied, ProtocolError, QueryRefused
from projecthub.wire.shapes import ProjectRow

DEFAULT_FIELDS: Final = ("project_id", "title", "last_edited", "created", "state", "deleted", "users")
"""What is asked for unless the caller says otherwise."""

_SORT_FIELDS: Final = ("last_edited", "created", "title", "project_id")


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """The arguments of `projects.get`, under the same names."""

    fields: list[str] | None = None
    all: bool | None = False
    project_id: str | None = None
    limit: int | None = None
    deleted: bool | None = None
    hidden: bool | None = None
    state: str | None = None
    account_id_for_hidden: str | None = None

    def __post_init__(self) -> None:
        if self.limit is not None and self.limit < 0:
            raise InvalidArgument(f"limit {self.limit} is negative; give None for all projects")
        if isinstance(self.fields, str):
            raise InvalidArgument(f"fields {self.fields!r} is one string; give a list of names")

    @property
    def table(self) -> str:
        """The table to ask: one project is found at any age, a list without `all` holds the recent ones."""
        return "projects_all" if self.all or self.project_id is not None else "projects"

    def query(self) -> dict[str, list[dict[str, Any]]]:
        """The user query.

        What the filters and the order look at is asked for too, whatever `fields` says. So there is always a field
        that is null, without which the hub would take the query for a change.
        """
        wanted: dict[str, Any] = dict.fromkeys((*self._fields, *self._filter_fields, *_SORT_FIELDS))
        if self.project_id is not None:
            wanted["project_id"] = self.project_id
        return {self.table: [wanted]}

    def rows(self, reply: Any) -> list[ProjectRow]:
        """The rows to hand out, of the hub's answer to `query`.

        Raises:
            ProtocolError: The answer holds no list of objects for the table.
        """
        rows = reply.get(self.table) if isinstance(reply, dict) else None
        if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
            raise ProtocolError(f"the answer to a query of {self.table} holds no list of rows")
        kept = sorted(filter(self._keeps, rows), key=_sort_key, reverse=True)[: self.limit]
        shown = {*self._fields, *(("project_id",) if self.project_id is not None else ())}
        return [_only(row, shown) for row in kept]

    @property
    def _fields(self) -> tuple[str, ...]:
        return DEFAULT_FIELDS if self.fields is None else tuple(self.fields)

    @property
    def _filter_fields(self) -> list[str]:
        used = {
            "deleted": self.deleted is not None,
            "state": bool(self.state),
            "users": self.hidden is not None and bool(self.account_id_for_hidden),
        }
        return [field for field, is_used in used.items() if is_used]

    def _keeps(self, row: dict[str, Any]) -> bool:
        if self.deleted is not None and bool(row.get("deleted")) != self.deleted:
            return False
        if self.state and _state_word(row) != _same_word(self.state):
            return False
        if self.hidden is not None and self.account_id_for_hidden:
            return _is_hidden(row, self.account_id_for_hidden) == self.hidden
        return True


def is_read_denied(error: HubError) -> bool:
    """Whether a refusal of a query says that the project is not the caller's to read: a rule of the table says so."""
    return isinstance(error, PermissionDenied) or (isinstance(error, QueryRefused) and "read access" in error.message)


def _only(row: dict[str, Any], shown: set[str]) -> ProjectRow:
    rest: Any = {name: value for name, value in row.items() if name in shown}
    return rest  # type: ignore[no-any-return]


def _same_word(word: str) -> str:
    """Rows say ``opened`` for what `projects.state` calls ``stopped``."""
    return "opened" if word.lower() == "stopped" else word.lower()


def _state_word(row: dict[str, Any]) -> str:
    state = row.get("state")
    return _same_word(str(state.get("state") or "")) if isinstance(state, dict) else ""


def _is_hidden(row: dict[str, Any], account_id: str) -> bool:
    users = row.get("users")
    member = users.get(account_id) if isinstance(users, dict) else None
    return isinstance(member, dict) and bool(member.get("hide"))


def _sort_key(row: dict[str, Any]) -> tuple[float, float, str, str]:
    title, project_id = str(row.get("title") or ""), str(row.get("project_id") or "")
    return _seconds(row.get("last_edited")), _seconds(row.get("created")), title.lower(), project_id


def _seconds(time: Any) -> float:
    """Seconds since the epoch of an ISO time; 0 of anything else, so that a row without one comes last."""
    try:
        at = datetime.fromisoformat(time)
    except (TypeError, ValueError):
        return 0.0
    return (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()
