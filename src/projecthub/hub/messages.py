"""Messages between accounts: sent, listed, and what each account says of its own copies.

Source: Wire contract 5.3.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, get_args

from projecthub.errors import InvalidArgument, NotFound
from projecthub.hub.accounts import EMAIL
from projecthub.hub.times import parse_time
from projecthub.wire import messages as shapes
from projecthub.wire.ids import AccountId, is_uuid
from projecthub.wire.units import to_iso

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from projecthub.hub.clock import Clock
    from projecthub.hub.principals import Principal
    from projecthub.store import Store, Transaction
    from projecthub.store.records import Organization

MAX_RECIPIENTS: Final = 1000
MAX_SUBJECT: Final = 1000
MAX_BODY: Final = 50_000
"""Characters. A page holds 500 messages, and is answered in one piece."""
_MAX_PAGE: Final = 500
_MAX_NUMBER: Final = 2**63 - 1
_KINDS: Final = get_args(shapes.MessageKind)


class Messages:
    """Sends and lists messages."""

    def __init__(self, store: Store, clock: Clock) -> None:
        """Make the service."""
        self._store = store
        self._clock = clock

    async def send(self, caller: Principal, request: shapes.SendMessage) -> int | None:
        """Send a message to accounts; the sender keeps a copy.

        Where one recipient is given as an e-mail address, whatever is neither an id nor the address of an account is
        left out; otherwise it is refused.

        Returns:
            The message's number; None if nobody is left to send it to, and nothing was sent.

        Raises:
            InvalidArgument: A recipient is no id; too many recipients, or too long a text.
            NotFound: There is no account of an id, or the caller has no message ``reply_id``.
        """
        _check_texts(request.subject, request.body)
        if not 1 <= len(request.to_ids) <= MAX_RECIPIENTS:
            raise InvalidArgument(f"to_ids names {len(request.to_ids)} recipients; give 1 to {MAX_RECIPIENTS}")
        async with self._store.write() as tx:
            to_ids = await _resolved(tx, request.to_ids)
            if not to_ids:
                return None
            return await tx.messages.send(
                from_id=caller.account_id,
                to_ids=to_ids,
                subject=request.subject,
                body=request.body,
                thread_id=await _thread(tx, caller, request.reply_id),
                sent_at=self._clock.now(),
            )

    async def send_to_organization(
        self, tx: Transaction, caller: Principal, organization: Organization, subject: str, body: str
    ) -> None:
        """Send a message to all members of an organization, within a transaction that has found that this is allowed.

        Raises:
            InvalidArgument: Too long a text.
        """
        _check_texts(subject, body)
        await tx.messages.send_to_organization(
            from_id=caller.account_id,
            organization_id=organization.organization_id,
            organization=organization.name,
            subject=subject,
            body=body,
            sent_at=self._clock.now(),
        )

    async def page(self, caller: Principal, request: shapes.GetMessages) -> list[shapes.Message]:
        """A page of the caller's messages, newest first.

        Raises:
            InvalidArgument: ``limit`` is not from 1 to 500, ``offset`` is negative, or ``type`` or ``cutoff`` is none.
        """
        if request.limit > _MAX_PAGE:
            raise InvalidArgument(f"limit must be at most {_MAX_PAGE}")
        if request.limit < 1 or not 0 <= request.offset <= _MAX_NUMBER:
            raise InvalidArgument(
                f"limit is {request.limit} and offset {request.offset}; give a limit from 1 and an offset from 0"
            )
        if request.type not in _KINDS:
            raise InvalidArgument(f"type '{request.type[:100]}' is unknown; give one of {', '.join(_KINDS)}")
        since = parse_time(request.cutoff, "cutoff")
        async with self._store.read() as tx:
            rows = await tx.messages.list(
                caller.account_id, request.type, limit=request.limit, offset=request.offset, since=since
            )
        return [_shape(row, caller.account_id) for row in rows]


def _check_texts(subject: str, body: str) -> None:
    for name, text, most in (("subject", subject, MAX_SUBJECT), ("body", body, MAX_BODY)):
        if len(text) > most:
            raise InvalidArgument(f"{name} has {len(text)} characters; give at most {most}")


async def _resolved(tx: Transaction, given: Sequence[str]) -> list[AccountId]:
    """The accounts that are meant, each once, in the order given."""
    emails = [entry.strip().lower() for entry in given if EMAIL.fullmatch(entry.strip())]
    if not emails:
        for entry in given:
            if not is_uuid(entry):
                raise InvalidArgument(f"invalid account_id -- {entry[:100]}")
    found = await tx.accounts.search([], emails, limit=len(emails), include_unlisted=True)
    by_email = {(account.email_address or "").lower(): account.account_id for account in found}
    wanted = [AccountId(entry.lower()) if is_uuid(entry) else by_email.get(entry.strip().lower()) for entry in given]
    to_ids = list(dict.fromkeys(account_id for account_id in wanted if account_id is not None))
    existing = await tx.accounts.existing(to_ids)
    for account_id in to_ids:
        if account_id not in existing:
            raise NotFound(f"no account with id '{account_id}' to send to", account_id=account_id)
    return to_ids


async def _thread(tx: Transaction, caller: Principal, reply_id: int | None) -> int | None:
    if reply_id is None:
        return None
    known = abs(reply_id) <= _MAX_NUMBER
    thread_id = await tx.messages.thread_of(caller.account_id, reply_id) if known else None
    if thread_id is None:
        raise NotFound(f"you have no message with id {reply_id} to reply to; give one that messages.get lists")
    return thread_id


def to_ids_of(row: Mapping[str, Any], reader: AccountId) -> list[str]:
    """To whom a message went, as one of those who have it is told.

    Of the members of an organization each is told of himself alone: ten thousand ids would be no news to anybody.
    """
    if row["to_ids"] is not None:
        return list(row["to_ids"])
    return [reader] if row["is_recipient"] else []


def _shape(row: Mapping[str, Any], reader: AccountId) -> shapes.Message:
    message: shapes.Message = {
        "id": row["id"],
        "subject": row["subject"],
        "body": row["body"],
        "from_id": row["from_id"],
        "to_ids": to_ids_of(row, reader),
        "sent": to_iso(row["sent_at"]),
        "thread_id": row["thread_id"],
        "read": row["read"],
        "saved": row["saved"],
        "starred": row["starred"],
        "liked": row["liked"],
        "deleted": row["deleted"],
    }
    if row["organization"] is not None:
        message["organization"] = row["organization"]
    return message
