from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Literal

from projecthub.client._async.connection import AsyncConnection
from projecthub.client.requests import of_method
from projecthub.client.times import Time, on_the_wire
from projecthub.wire import audit as shapes
from projecthub.wire.methods import METHODS, Endpoint

_LIST = METHODS[Endpoint.HUB]["audit.list"]
_PAGE = 1000


class AsyncAudit:
    """The audit log: who changed what, and who was denied. For site admins."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def list(
        self,
        account_id: str | None = None,
        project_id: str | None = None,
        method: str | None = None,
        outcome: str | None = None,
        since: Time | None = None,
        until: Time | None = None,
        after: int | None = None,
        order: Literal["newest", "oldest"] = "newest",
        limit: int = 100,
    ) -> shapes.AuditPage:
        """One page of the log.

        Args:
            account_id: Only calls by this account, given by its id or its e-mail address.
            project_id: Only calls that named this project.
            method: Only methods whose names begin so, such as ``projects.`` or ``DELETE ``.
            outcome: Only calls that ended so: ``ok``, ``denied``, or the code of an error.
            since: Only what was told then or later: an aware datetime, an ISO time, or milliseconds since the epoch.
            until: Only what was told before then.
            after: The `next` of the page before.
            order: Which come first.
            limit: Entries at most, 1 to 1000.

        Returns:
            `entries`, and `next`, which is None if there is no more. With several filters a page may be short, or
            empty, and not the last.

        Raises:
            PermissionDenied: You are no site admin.
            InvalidArgument: One of these is out of its range.

        Example:
            ```python
            for entry in (await hub.audit.list(outcome="denied"))["entries"]:
                print(entry["time"], entry["account_id"], entry["method"], entry["message"])
            ```
        """
        arguments = shapes.ListAudit(
            account_id=account_id,
            project_id=project_id,
            method=method,
            outcome=outcome,
            since=on_the_wire(since, "since"),
            until=on_the_wire(until, "until"),
            after=after,
            order=order,
            limit=limit,
        )
        reply: shapes.AuditPage = await self._connection.call(_LIST, of_method(_LIST, arguments))
        return reply

    async def entries(
        self,
        account_id: str | None = None,
        project_id: str | None = None,
        method: str | None = None,
        outcome: str | None = None,
        since: Time | None = None,
        until: Time | None = None,
        order: Literal["newest", "oldest"] = "oldest",
        limit: int | None = None,
    ) -> AsyncIterator[shapes.AuditEntry]:
        """Entries of the log, one after the other, however many there are; a page of them is in memory.

        Args:
            account_id: As of `list`, like those that follow.
            project_id: See there.
            method: See there.
            outcome: See there.
            since: See there.
            until: See there.
            order: Which come first.
            limit: Entries at most; None: all.

        Raises:
            PermissionDenied, InvalidArgument: As `list`.

        Example:
            ```python
            async for entry in hub.audit.entries(method="keys.", since="2026-01-01"):
                print(entry["account_id"], entry["target"])
            ```
        """
        after, left = None, limit
        while left is None or left > 0:
            size = _PAGE if left is None else min(left, _PAGE)
            page = await self.list(account_id, project_id, method, outcome, since, until, after, order, size)
            for entry in page["entries"]:
                left = None if left is None else left - 1
                yield entry
            after = page["next"]
            if after is None:
                return
