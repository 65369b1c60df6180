"""Calls as the audit log tells them: who, what they named, and what of a refusal is kept. Never what a call said."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import datetime
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

from projecthub.errors import HubError, QueryRefused
from projecthub.hub.principals import Principal
from projecthub.wire.audit import DENIALS
from projecthub.wire.ids import is_uuid

if TYPE_CHECKING:
    from collections.abc import Mapping

    from projecthub.wire.audit import KeyKind

MAX_MESSAGE: Final = 300
"""Characters of a refusal that are kept."""
MAX_ADDRESS: Final = 64
"""Characters of an address that are kept: a proxy may tell anything."""
MAX_PROJECTS: Final = 20_000
"""Projects of one call that get a row each: as many as the largest copy reads and writes."""
MAX_REFUSED: Final = 100
"""As `MAX_PROJECTS`, of a call that has changed nothing."""
_PROJECTS: Final = ("project_id", "src_project_id", "target_project_id")
_DENIED_QUERY: Final = re.compile(
    r"must be (an?|admin) |not allowed$|not allowed for |(read|write) access|Error: Only |tried to change user "
)
"""What user queries say, with one code for all their refusals, to those who may not."""


@dataclass(slots=True, kw_only=True)
class AuditedCall:
    """A call, as the log tells it.

    Attributes:
        method: Name on the wire, or HTTP method and route.
        began_at: When it came.
        request_id: The name of its request.
        address: Where it came from.
        caller: Who called, as far as that is known.
        target: What it named: values by name, each a short text, a number or a short list of them.
        open_id: Its number among the calls that are under way; 0: it was not put down there.
        has_begun: Whether it is one that may have changed something.
        is_open: Whether it stands there.
        has_ended: Whether its outcome was told.
        writes_first: Whether nothing has happened before it has written to the store: then it is put down with that.
        ends_with_hub: Whether what it does ends if the hub is killed: then it begins while it is put down.
        goes_on: Whether it may go on after it was answered: whoever does its work tells its outcome.
    """

    method: str
    began_at: datetime
    request_id: str | None = None
    address: str | None = None
    caller: Principal | None = None
    target: dict[str, Any] = field(default_factory=dict)
    open_id: int = 0
    is_open: bool = False
    has_ended: bool = False
    has_begun: bool = False
    writes_first: bool = False
    ends_with_hub: bool = False
    goes_on: bool = False

    def stored(self) -> dict[str, Any]:
        """What is put down while it is under way."""
        caller = self.caller
        return {
            "method": self.method,
            "request_id": self.request_id,
            "address": None if self.address is None else storable(self.address, MAX_ADDRESS),
            "account_id": (caller.account_id or None) if caller else None,
            "key_id": (caller.key_id or None) if caller else None,
            "key_kind": _kind(caller),
            "target": self.target or None,
        }


def is_denial(error: HubError) -> bool:
    """Whether an error tells that somebody may not do something, and not only that a value is wrong."""
    if isinstance(error, QueryRefused):
        return _DENIED_QUERY.search(error.message) is not None
    return error.code in DENIALS


def message_of(error: HubError) -> str | None:
    """What is kept of an error's text: that of denials. Others may show what was run or given."""
    return error.message if is_denial(error) else None


def add_made(call: AuditedCall, named: Mapping[str, Any]) -> None:
    """Add what the result of a call names; of somebody who signs in it tells who that is."""
    call.target |= named
    if (call.caller is None or not call.caller.account_id) and "account_id" in named:
        call.caller = Principal(named["account_id"], is_admin=False, key_id=0)


def _kind(caller: Principal | None) -> KeyKind | None:
    if caller is None or not caller.key_id:
        return None
    if caller.is_session:
        return "session"
    return "account" if caller.project_id is None else "project"


def rows_of(call: Mapping[str, Any], shared: Mapping[str, Any], *, most: int = MAX_PROJECTS) -> list[dict[str, Any]]:
    """A row for each project that a call named: whoever asks for one finds it. One row if it named none.

    Args:
        call: The call, as it is put down.
        shared: What all its rows have.
        most: Rows at most.
    """
    target = call["target"] or {}
    places = islice(_places(target).items(), most)
    rows = [
        {**call, **shared, "project_id": project_id, "target": _part(target, project_id, at) or None}
        for project_id, at in places
    ]
    return rows or [{**call, **shared, "project_id": None}]


def _places(target: Mapping[str, Any]) -> dict[str, list[int]]:
    """The ids of the projects that a call named, each with its places in the list, if it is one of a list."""
    found: dict[str, list[int]] = {}
    for name in _PROJECTS:
        value = target.get(name)
        is_list = isinstance(value, list)
        for at, one in enumerate(value if isinstance(value, list) else [value]):
            if is_uuid(one):
                found.setdefault(one.lower(), []).extend([at] if is_list else [])
    return found


def _part(target: Mapping[str, Any], project_id: str, places: list[int]) -> dict[str, Any]:
    """What a call named beside one of its projects: of lists that go with that of its projects, their part."""
    part = dict(target)
    projects = target.get("project_id")
    if projects == project_id:
        del part["project_id"]  # a row need not have it twice
    elif isinstance(projects, list) and places:
        del part["project_id"]
        for name, value in part.items():
            if isinstance(value, list) and len(value) == len(projects):
                part[name] = [value[at] for at in places] if len(places) > 1 else value[places[0]]
    return part


def storable(text: str, most: int) -> str:
    """A text that every store takes, of at most ``most`` characters: others' texts may hold anything."""
    cut = text if len(text) <= most else text[: most - 3] + "..."
    if cut.isascii() and "\0" not in cut:
        return cut
    return cut.encode("utf-8", "backslashreplace").decode().replace("\0", "\\0")
