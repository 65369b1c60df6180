"""Messages: each written once, with a copy for every account that it concerns, which holds that account's own flags.

A list of one's messages is one range of the copies, so it costs nothing that other people have.

Source: Wire contract 5.3.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final, TypeAlias

from sqlalchemy import bindparam, func, literal, select, true, update
from sqlalchemy.ext.asyncio import AsyncConnection

from projecthub.store.expressions import Following, upserting
from projecthub.store.records import Selection
from projecthub.store.selections import Columns, checked_changes, in_chunks, rows_of
from projecthub.store.tables import accounts, message_copies, messages, organization_members
from projecthub.wire.ids import AccountId

_Rows: TypeAlias = list[dict[str, Any]]  # within the class below, `list` is a method

_copy: Final = message_copies.c
FLAGS: Final = ("read", "saved", "starred", "liked", "deleted")
"""What an account may say of its own copy."""
_FIXED: Final = ("account_id", "message_id", "is_recipient", "is_sender")

_UNREAD: Final = _copy.is_recipient & ~_copy.read & ~_copy.saved & ~_copy.deleted
KINDS: Final = {
    "received": _copy.is_recipient,
    "sent": _copy.is_sender,
    "new": _UNREAD,
    "starred": _copy.starred & ~_copy.deleted,
    "liked": _copy.liked & ~_copy.deleted,
}
"""Which copies the lists of messages hold."""

_INSERT: Final = messages.insert().returning(messages.c.id)
# Following: a planner may think that it meets ten messages of an account soon on its way through those of everybody.
_WITH_COPY: Final = Following(message_copies, messages, messages.c.id == _copy.message_id)
_COLUMNS: Final = Columns(
    name="messages",
    columns={
        **{name: _copy[name] for name in ("account_id", "is_recipient", *FLAGS)},
        **{name: messages.c[name] for name in ("from_id", "to_ids", "organization", "thread_id", "subject", "sent_at")},
        "body": messages.c.body,
        "id": _copy.message_id,
    },
    key=("id",),
    source=_WITH_COPY,
)
_MINE: Final = _copy.account_id == bindparam("of_account")
_LIST: Final = (
    select(
        *(messages.c[name] for name in ("id", "from_id", "to_ids", "organization", "thread_id", "subject", "sent_at")),
        messages.c.body,
        *(_copy[name] for name in (*FLAGS, "is_recipient")),
    )
    .select_from(_WITH_COPY)
    .where(_MINE)
    .order_by(_copy.message_id.desc())
)
_THREAD: Final = (
    select(func.coalesce(messages.c.thread_id, messages.c.id))
    .select_from(_WITH_COPY)
    .where(_MINE, _copy.message_id == bindparam("of_message"))
)
_COUNT_UNREAD: Final = select(func.count()).select_from(message_copies).where(_MINE, _UNREAD)
_DELIVER: Final = message_copies.insert()
_TO_MEMBERS: Final = message_copies.insert().from_select(
    ["account_id", "message_id", "is_recipient"],
    select(organization_members.c.account_id, bindparam("of_message", type_=messages.c.id.type), true())
    .join_from(organization_members, accounts, accounts.c.account_id == organization_members.c.account_id)
    .where(organization_members.c.organization_id == bindparam("of_organization"), accounts.c.deleted_at.is_(None)),
)
_TO_SENDER: Final = upserting(message_copies).on_conflict_do_update(
    index_elements=["account_id", "message_id"], set_={"is_sender": literal(True)}
)


class Messages:
    """The messages, within a transaction."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def send(
        self,
        *,
        from_id: AccountId,
        to_ids: Sequence[AccountId],
        subject: str,
        body: str,
        thread_id: int | None,
        sent_at: datetime,
    ) -> int:
        """Write a message to accounts that there are, each named once.

        Returns:
            Its number; later messages have higher ones.
        """
        message_id = await self._write(from_id, list(to_ids), None, subject, body, thread_id, sent_at)
        for chunk in in_chunks(to_ids):
            rows = [{"account_id": one, "message_id": message_id, "is_recipient": True} for one in chunk]
            await self._connection.execute(_DELIVER, rows)
        await self._connection.execute(_TO_SENDER, _of_sender(from_id, message_id))
        return message_id

    async def send_to_organization(
        self, *, from_id: AccountId, organization_id: str, organization: str, subject: str, body: str, sent_at: datetime
    ) -> int:
        """Write a message to all who are members of an organization now.

        Returns:
            Its number.
        """
        message_id = await self._write(from_id, None, organization, subject, body, None, sent_at)
        await self._connection.execute(_TO_MEMBERS, {"of_message": message_id, "of_organization": organization_id})
        await self._connection.execute(_TO_SENDER, _of_sender(from_id, message_id))
        return message_id

    async def _write(
        self,
        from_id: AccountId,
        to_ids: list[AccountId] | None,
        organization: str | None,
        subject: str,
        body: str,
        thread_id: int | None,
        sent_at: datetime,
    ) -> int:
        row = {
            "from_id": from_id,
            "to_ids": to_ids,
            "organization": organization,
            "thread_id": thread_id,
            "subject": subject,
            "body": body,
            "sent_at": sent_at,
        }
        return int((await self._connection.execute(_INSERT, row)).scalar_one())

    async def list(
        self, account_id: AccountId, kind: str, *, limit: int, offset: int = 0, since: datetime | None = None
    ) -> _Rows:
        """A page of an account's messages, newest first: columns of the message, and the account's own `FLAGS`.

        Args:
            account_id: Whose.
            kind: One of `KINDS`.
            limit: Messages at most.
            offset: Messages to pass over.
            since: Only those sent then or later.
        """
        statement = _LIST.where(KINDS[kind]).limit(limit).offset(offset)
        if since is not None:
            statement = statement.where(messages.c.sent_at >= since)
        return [dict(row._mapping) for row in await self._connection.execute(statement, {"of_account": account_id})]

    async def select(self, selection: Selection, account_id: AccountId) -> _Rows:
        """Rows of an account's messages, each from column name to value; columns as in `list`, and ``account_id``.

        Raises:
            InvalidArgument: See `selections`.
        """
        return await rows_of(self._connection, _COLUMNS, selection, _copy.account_id == account_id)

    async def thread_of(self, account_id: AccountId, message_id: int) -> int | None:
        """The number of the message that began the thread of one; None if the account has no such message."""
        row = (await self._connection.execute(_THREAD, {"of_account": account_id, "of_message": message_id})).first()
        return None if row is None else int(row[0])

    async def count_unread(self, account_id: AccountId) -> int:
        """How many messages an account has received and neither read nor put away."""
        return int((await self._connection.execute(_COUNT_UNREAD, {"of_account": account_id})).scalar_one())

    async def mark(self, account_id: AccountId, message_id: int, flags: Mapping[str, bool]) -> bool:
        """Change flags of an account's own copy; tells whether it has one.

        Args:
            account_id: Whose copy.
            message_id: Of which message.
            flags: Values by names of `FLAGS`.

        Raises:
            InvalidArgument: That is no flag.
        """
        if not flags:
            return await self.thread_of(account_id, message_id) is not None
        values = checked_changes(message_copies, flags, fixed=_FIXED)
        done = await self._connection.execute(
            update(message_copies).where(_copy.account_id == account_id, _copy.message_id == message_id).values(values)
        )
        return done.rowcount > 0


def _of_sender(from_id: AccountId, message_id: int) -> dict[str, Any]:
    return {"account_id": from_id, "message_id": message_id, "is_sender": True}
