"""The other end of the wire: a reply for each method that a test prepares, and the calls that came."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import httpx2

from projecthub.errors import HubError
from projecthub.wire.errors import CODE_HEADER, to_text

ANALYSIS = "a11a0000-0000-4000-8000-000000000001"
BACKUP = "b22b0000-0000-4000-8000-000000000002"
BACKUP_TOO = "b22b1111-0000-4000-8000-000000000003"
OLD = "c33c0000-0000-4000-8000-000000000004"
ADA = "d44d0000-0000-4000-8000-000000000005"

ROWS: list[dict[str, Any]] = [
    {
        "project_id": project_id,
        "title": title,
        "state": {"state": state},
        "deleted": deleted,
        "users": {ADA: {"group": "owner"}},
        "created": "2025-11-01T09:00:00.000Z",
        "last_edited": f"2025-11-2{day}T13:35:00.000Z",
    }
    for day, (project_id, title, state, deleted) in enumerate(
        [
            (OLD, "Old", "opened", True),
            (BACKUP_TOO, "Copies", "opened", False),
            (BACKUP, "Copies", "opened", False),
            (ANALYSIS, "Analysis", "running", False),
        ]
    )
]


def answer_query(args: Any) -> Any:
    ((table, (wanted,)),) = args["query"].items()
    rows = [row for row in ROWS if wanted["project_id"] in (None, row["project_id"])]
    return {table: [{name: row[name] for name in wanted if name in row} for row in rows]}


@dataclass(frozen=True)
class Outcome:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


class NamedReplies:
    """Answers by the method's name: with a value, with what a function makes of the arguments, or with an error."""

    def __init__(self) -> None:
        self.by_name: dict[str, Any] = {}
        self.calls: list[tuple[str, Any]] = []
        self.keys: set[str] = set()

    def handle(self, request: httpx2.Request) -> httpx2.Response:
        body = json.loads(request.content)
        name, args = body["name"], body["args"][0]
        self.calls.append((name, args))
        self.keys.add(request.headers["authorization"])
        reply = self.by_name[name]
        if callable(reply):
            reply = reply(args)
        if isinstance(reply, HubError):
            content, headers = {"error": to_text(reply)}, {CODE_HEADER: reply.code}
            return httpx2.Response(200, content=json.dumps(content), headers=headers)
        if isinstance(reply, BaseException):
            raise reply
        return httpx2.Response(200, content=json.dumps(reply))

    def named(self, name: str) -> list[Any]:
        """The arguments of every call of one method."""
        return [args for called, args in self.calls if called == name]
