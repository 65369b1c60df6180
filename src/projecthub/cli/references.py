"""From what people type to ids."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from projecthub.errors import Conflict, InvalidArgument, NotFound, PermissionDenied
from projecthub.wire.ids import is_uuid

if TYPE_CHECKING:
    from projecthub import Hub

_PREFIX: Final = re.compile(r"[0-9a-f][0-9a-f-]{3,35}")
_SHOWN_CANDIDATES: Final = 10

PROJECT_HELP: Final = "A project: its id, the beginning of its id (4 characters or more), or its exact title."
PERSON_HELP: Final = "A person: an account's id, or an e-mail address."


class ProjectFinder:
    """Finds projects by id, beginning of an id, or title; asks the hub for the list at most once."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._rows: list[Any] | None = None

    def find(self, text: str, *, deleted: bool = False) -> str:
        """The id of the project that ``text`` stands for.

        A deleted project is found only if no other fits; with ``deleted`` it is the other way round.

        Raises:
            NotFound: None fits.
            Conflict: Several do; the message lists them.
        """
        if is_uuid(text):
            return text.lower()
        found = [row for row in self._listed() if _fits(row, text)]
        preferred = [row for row in found if bool(row.get("deleted")) == deleted] or found
        if not preferred:
            raise NotFound(f"none of your projects has the title {text!r}, or an id that begins so")
        if len(preferred) > 1:
            listed = ", ".join(f"{row['project_id']} ({row.get('title')})" for row in preferred[:_SHOWN_CANDIDATES])
            more = ", ..." if len(preferred) > _SHOWN_CANDIDATES else ""
            raise Conflict(f"{len(preferred)} projects fit {text!r}; give more of the id: {listed}{more}")
        return str(preferred[0]["project_id"])

    def titles(self) -> dict[str, str]:
        """The titles of one's projects by their ids; none for whose key may not list projects."""
        try:
            return {str(row["project_id"]): str(row.get("title") or "") for row in self._listed()}
        except PermissionDenied:
            return {}

    def _listed(self) -> list[Any]:
        if self._rows is None:
            self._rows = list(self._hub.projects.get(fields=["project_id", "title", "deleted"], all=True))
        return self._rows


def find_account(hub: Hub, text: str) -> str:
    """The account's id of a person given as an account's id or an e-mail address.

    Raises:
        InvalidArgument: ``text`` is neither.
        NotFound: No account has the address.
    """
    if is_uuid(text):
        return text.lower()
    if "@" not in text:
        raise InvalidArgument(f"{text!r} is neither an account's id nor an e-mail address")
    for person in hub.system.user_search(text):
        if (person.get("email_address") or "").lower() == text.lower():
            return person["account_id"]
    raise NotFound(f"no account has the e-mail address {text!r}")


def _fits(row: Any, text: str) -> bool:
    prefix = text.lower()
    return row.get("title") == text or (
        _PREFIX.fullmatch(prefix) is not None and str(row["project_id"]).startswith(prefix)
    )
