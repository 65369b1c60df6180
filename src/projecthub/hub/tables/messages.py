"""`messages`: one's own copies of what one has sent and received. Others' copies, and the text, nobody changes.

Source: Wire contract 3.10, 5.3.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final

from projecthub.errors import QueryRefused
from projecthub.hub.messages import to_ids_of
from projecthub.hub.tables.declaring import (
    Asked,
    Change,
    Field,
    Row,
    Table,
    a_flag,
    made_of,
    moment,
    new_values,
    plain,
)

if TYPE_CHECKING:
    from projecthub.store import Transaction

_LIMIT: Final = 500
_MAX_NUMBER: Final = 2**63 - 1


def _flag(column: str) -> Field:
    return plain(column, "bool", write=a_flag())


FIELDS: Final[Mapping[str, Field]] = {
    "id": plain("id", "number"),
    "from_id": plain("from_id"),
    "to_ids": made_of("to_ids", "is_recipient", "account_id", read=lambda row: to_ids_of(row, row["account_id"])),
    "organization": plain("organization"),
    "subject": plain("subject"),
    "body": plain("body"),
    "sent": moment("sent_at"),
    "thread_id": plain("thread_id", "number"),
    **{name: _flag(name) for name in ("read", "saved", "starred", "liked", "deleted")},
}


async def _own(tx: Transaction, asked: Asked) -> Sequence[Row]:
    return await tx.messages.select(asked.selection, asked.caller.account_id)


async def _mark(change: Change) -> None:
    """Change the flags of the caller's own copy."""
    message_id = change.shape["id"]
    if not isinstance(message_id, int) or isinstance(message_id, bool) or abs(message_id) > _MAX_NUMBER:
        raise QueryRefused(f"FATAL: messages.id is {str(message_id)[:100]!r}; give the number of a message")
    async with change.tools.store.write() as tx:
        flags = await new_values(change, tx)
        if not await tx.messages.mark(change.caller.account_id, message_id, flags):
            raise QueryRefused(f"FATAL: you have no message with id {message_id}")


MESSAGES: Final = Table(
    name="messages",
    fields=FIELDS,
    rows=_own,
    order_by=(("id", True),),
    limit=_LIMIT,
    keys=("id",),
    change=_mark,
)
