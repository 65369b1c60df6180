"""Shapes of messages, as `shapes` for all else.

Source: Wire contract 5.3.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NotRequired, TypedDict

MessageKind = Literal["received", "sent", "new", "starred", "liked"]


# -- arguments -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class SendMessage:
    """`messages.send`. `to_ids`: ids or e-mail addresses of accounts; `reply_id`: the message that is answered."""

    to_ids: list[str]
    subject: str
    body: str
    reply_id: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class GetMessages:
    """`messages.get`. `cutoff` (ISO string or milliseconds): only those sent then or later."""

    limit: int = 100
    offset: int = 0
    type: str = "received"
    cutoff: str | int | None = None


# -- replies ---------------------------------------------------------------------------------------


class Message(TypedDict):
    """One row of `messages.get`; `sent` is an ISO time.

    `thread_id` is the number of the message that began the thread, null in that one itself. A message to all members of
    an organization names it as `organization`, and of its recipients only the one who reads it.
    """

    id: int
    subject: str
    body: str
    from_id: str
    to_ids: list[str]
    sent: str
    thread_id: int | None
    organization: NotRequired[str]
    read: bool
    saved: bool
    starred: bool
    liked: bool
    deleted: bool
