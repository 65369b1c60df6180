# Written by tools/unasync.py from client/_async; change it there.
from __future__ import annotations

from typing import Any

from projecthub.client._sync.connection import Connection
from projecthub.client.requests import of_method
from projecthub.client.times import Time, on_the_wire
from projecthub.wire import messages as shapes
from projecthub.wire.methods import METHODS, Endpoint
from projecthub.wire.shapes import UserQuery

_METHODS = METHODS[Endpoint.HUB]


class Messages:
    """Messages between people."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def send(self, subject: str, body: str, to_ids: list[str], reply_id: int | None = None) -> int | None:
        """Send a message.

        Args:
            subject: Plain text, up to 1000 characters.
            body: Markdown, up to 50,000 characters.
            to_ids: Account ids or e-mail addresses, up to 1000. If one of them is an address, those that nobody has are
                left out.
            reply_id: The message that is answered: both are then of one thread.

        Returns:
            The message's number; None if nobody was left to send it to.

        Raises:
            InvalidArgument: An entry is no account id; too many of them, or too long a text.
            NotFound: There is no such account, or you have no message ``reply_id``.

        Example:
            ```python
            hub.messages.send("Results", "They are in.", [account_id])
            ```
        """
        arguments = shapes.SendMessage(to_ids=to_ids, subject=subject, body=body, reply_id=reply_id)
        reply: int | None = self._call("messages.send", arguments)
        return reply

    def get(
        self,
        limit: int | None = None,
        offset: int | None = None,
        type: shapes.MessageKind | None = None,
        cutoff: Time | None = None,
    ) -> list[shapes.Message]:
        """Your messages, newest first.

        Args:
            limit: How many at most, 1 to 500. Default: 100.
            offset: How many of the newest to leave out. Default: none.
            type: ``received``, ``sent``, ``new`` (neither read, saved nor deleted), ``starred``, or ``liked``. Default:
                ``received``.
            cutoff: Only those sent then or later: an aware datetime, an ISO time, or milliseconds since the epoch.

        Raises:
            InvalidArgument: One of these is out of its range.

        Example:
            ```python
            for message in hub.messages.get(type="new"):
                print(message["from_id"], message["subject"])
            ```
        """
        arguments = shapes.GetMessages(
            limit=100 if limit is None else limit,
            offset=0 if offset is None else offset,
            type=type or "received",
            cutoff=on_the_wire(cutoff, "cutoff"),
        )
        reply: list[shapes.Message] = self._call("messages.get", arguments)
        return reply

    def mark(
        self,
        id: int,
        *,
        read: bool | None = None,
        saved: bool | None = None,
        starred: bool | None = None,
        liked: bool | None = None,
        deleted: bool | None = None,
    ) -> None:
        """Say something of your own copy of a message; other people's copies stay as they are.

        Args:
            id: The message's number.
            read: Whether you have read it.
            saved: Whether you have put it away.
            starred: Whether it has a star.
            liked: Whether you like it.
            deleted: Whether it is in the trash; it stays there, and can be taken out.

        Raises:
            QueryRefused: You have no such message.

        Example:
            ```python
            for message in hub.messages.get(type="new"):
                hub.messages.mark(message["id"], read=True)
            ```
        """
        flags = {"read": read, "saved": saved, "starred": starred, "liked": liked, "deleted": deleted}
        shape = {"id": id, **{name: value for name, value in flags.items() if value is not None}}
        self._call("db.userQuery", UserQuery(query={"messages": shape}), repeatable=True)

    def _call(self, name: str, arguments: Any, *, repeatable: bool | None = None) -> Any:
        request = of_method(_METHODS[name], arguments, repeatable=repeatable)
        return self._connection.call(_METHODS[name], request)
