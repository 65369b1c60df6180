"""Mail: put down in the transaction that causes it, sent in the background, tried again for two days.

Mail is rows of the store, so that it outlives the hub. One that was sent just before the hub died may be sent again; it
then has the same Message-ID, by which mailboxes tell.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import uuid
from datetime import timedelta
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import parseaddr
from typing import TYPE_CHECKING, Final

import structlog

from projecthub.errors import HubError, LimitError
from projecthub.hub.open_invitations import note_invitation
from projecthub.wire.units import to_iso

if TYPE_CHECKING:
    from projecthub.hub.clock import Clock
    from projecthub.hub.smtp import SmtpServer
    from projecthub.store import Store, Transaction
    from projecthub.store.records import Mail as Row
    from projecthub.wire.ids import AccountId, ProjectId

ADDRESS: Final = re.compile(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@[A-Za-z0-9](?:[A-Za-z0-9.-]{0,252}[A-Za-z0-9])?")
"""An address that mail is sent to: nothing in it could be taken for more than an address."""

RESENT_AFTER: Final = timedelta(hours=24)
"""About one project, an address has no second mail before."""
MAX_TO_A_DAY: Final = 10
"""An address has no more mail than this in a day, whoever causes it."""
KEPT: Final = timedelta(days=30)
"""How long it is remembered that something was sent."""

_DAY: Final = timedelta(days=1)
_AGAIN_AFTER: Final = tuple(timedelta(minutes=minutes) for minutes in (1, 5, 15, 60, 240, 720, 1440))
_LOOK_EVERY_S: Final = 30.0
_BATCH: Final = 20
_MAX_SUBJECT: Final = 200

_log = structlog.get_logger()


class Mail:
    """Sends mail, if the operator has named a server."""

    def __init__(self, store: Store, clock: Clock, server: SmtpServer | None, *, most_a_day: int) -> None:
        """Make the service.

        Args:
            store: Where mail waits.
            clock: Tells what is due.
            server: Where it goes; None: nothing is sent.
            most_a_day: Mails that one account may cause in 24 hours.
        """
        self._store = store
        self._clock = clock
        self._server = server
        self._most_a_day = most_a_day
        self._news = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    @property
    def is_on(self) -> bool:
        """Whether mail can be sent at all."""
        return self._server is not None

    async def put(
        self,
        tx: Transaction,
        by: AccountId,
        project_id: ProjectId,
        to_address: str,
        *,
        subject: str,
        body: str,
        reply_to: str | None,
    ) -> bool:
        """Put a mail about a project down, to be sent when the transaction has ended; then call `poke`.

        Args:
            tx: The transaction that causes it.
            by: Who causes it.
            project_id: What it is about.
            to_address: To whom: as `ADDRESS` has it, in lower case.
            subject: One line; breaks and control characters in it become blanks.
            body: Plain text.
            reply_to: Where answers go, if it is an address.

        Returns:
            False: the address had mail about this project less than `RESENT_AFTER` ago, and gets none.

        Raises:
            LimitError: The account has caused too much mail today, or the address has had too much.
        """
        now = self._clock.now()
        await tx.mails.lock_account(by)
        last = await tx.mails.last_about(project_id, to_address)
        if last is not None and now - last < RESENT_AFTER:
            return False
        if await tx.mails.count_by(by, since=now - _DAY) >= self._most_a_day:
            raise LimitError(
                f"you have caused {self._most_a_day} mails within 24 hours, which is all that an account may; nothing "
                "was done. Try again tomorrow, or add people by their accounts"
            )
        if await tx.mails.count_to(to_address, since=now - _DAY) >= MAX_TO_A_DAY:
            raise LimitError(
                f"'{to_address}' was sent {MAX_TO_A_DAY} mails within 24 hours, which is all that an address gets; "
                "nothing was done. Try again tomorrow"
            )
        assert self._server is not None
        domain = parseaddr(self._server.sender)[1].rpartition("@")[2] or "localhost"
        await tx.mails.add(
            account_id=by,
            project_id=project_id,
            message_id=f"<{uuid.uuid4()}@{domain}>",
            to_address=to_address,
            reply_to=reply_to if reply_to is not None and ADDRESS.fullmatch(reply_to) else None,
            subject=one_line(subject)[:_MAX_SUBJECT],
            body=body,
            created_at=now,
        )
        return True

    # -- in the background -------------------------------------------------------------------------

    def open(self) -> None:
        """Begin to send."""
        if self._server is not None:
            self._task = asyncio.create_task(self._run(), name="mail")

    def poke(self) -> None:
        """There may be something to send."""
        self._news.set()

    async def close(self) -> None:
        """Stop sending; what is not sent waits for the next hub."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    async def _run(self) -> None:
        while True:
            self._news.clear()
            try:
                await self.send_due()
            except HubError as error:
                _log.warning("mail.not_looked_at", error=error.message)
            except Exception:
                _log.exception("mail.failed")
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_LOOK_EVERY_S):
                    await self._news.wait()

    async def send_due(self) -> int:
        """Send what is due; tells how much was sent."""
        sent = 0
        while True:
            async with self._store.read() as tx:
                due = await tx.mails.due(self._clock.now(), limit=_BATCH)
            for row in due:
                assert self._server is not None
                outcome = await self._server.send(letter(row, self._server.sender), row.to_address)
                if outcome.error is None:
                    sent += 1
                await self._note(row, outcome.error, for_good=outcome.for_good)
                if not outcome.reached:
                    return sent
            if len(due) < _BATCH:
                return sent

    async def _note(self, row: Row, error: str | None, *, for_good: bool) -> None:
        now = self._clock.now()
        ends = error is None or for_good or row.attempts >= len(_AGAIN_AFTER)
        async with self._store.write() as tx:
            if ends:
                await tx.mails.done(row.id, error=error)
            else:
                assert error is not None
                await tx.mails.later(row.id, at=now + _AGAIN_AFTER[row.attempts], error=error)
            if ends and error is not None and row.project_id is not None:
                note = {"time": to_iso(row.created_at), "error": error}
                await note_invitation(tx, row.project_id, row.to_address, note, only_known=True)
        if error is not None:  # neither the address nor the text, which lets its reader in
            _log.warning("mail.not_sent", mail=row.id, attempt=row.attempts + 1, gives_up=ends, error=error)

    async def sweep(self) -> None:
        """Forget what was sent long ago."""
        async with self._store.write() as tx:
            await tx.mails.prune(self._clock.now() - KEPT)


def letter(row: Row, sender: str) -> EmailMessage:
    """The message that is sent: plain text, and headers of one line each."""
    message = EmailMessage(policy=SMTP)
    message["From"] = sender
    message["To"] = row.to_address
    message["Subject"] = row.subject
    if row.reply_to is not None:
        message["Reply-To"] = row.reply_to
    message["Date"] = row.created_at
    message["Message-ID"] = row.message_id
    message["Auto-Submitted"] = "auto-generated"
    message.set_content(row.body, cte="quoted-printable")
    return message


def one_line(text: str) -> str:
    """A text without breaks and control characters."""
    return " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())
