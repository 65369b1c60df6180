"""Mail that is to be sent, and for a while what became of it."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final

from sqlalchemy import bindparam, delete, func, select, text, update
from sqlalchemy.ext.asyncio import AsyncConnection

from projecthub.store.records import Mail
from projecthub.store.tables import accounts, mails
from projecthub.wire.ids import AccountId, ProjectId

_RECORD: Final = [mails.c[name] for name in Mail.__dataclass_fields__]
_WAITING: Final = mails.c.state == text("'waiting'")  # the condition of the index, word for word
_LOCK_ACCOUNT: Final = (
    select(accounts.c.account_id)
    .where(accounts.c.account_id == bindparam("of_account"))
    .with_for_update(key_share=True)  # rows that refer to the account may come meanwhile
)
_BY_SINCE: Final = (
    select(func.count())
    .select_from(mails)
    .where(mails.c.account_id == bindparam("of_account"), mails.c.created_at > bindparam("since"))
)
_TO_SINCE: Final = (
    select(func.count())
    .select_from(mails)
    .where(mails.c.to_address == bindparam("to"), mails.c.created_at > bindparam("since"))
)
_LAST: Final = select(func.max(mails.c.created_at)).where(
    mails.c.project_id == bindparam("of_project"), mails.c.to_address == bindparam("to"), mails.c.state != "failed"
)
_DUE: Final = (
    select(*_RECORD)
    .where(_WAITING, mails.c.next_at <= bindparam("now"))
    .order_by(mails.c.next_at)
    .limit(bindparam("n"))
)
_PRUNE: Final = delete(mails).where(mails.c.created_at < bindparam("before"), mails.c.state != "waiting")


class Mails:
    """The mails, within a transaction."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def lock_account(self, account_id: AccountId) -> None:
        """Have others who count an account's mails wait until this transaction ends."""
        await self._connection.execute(_LOCK_ACCOUNT, {"of_account": account_id})

    async def count_by(self, account_id: AccountId, *, since: datetime) -> int:
        """How many mails an account has caused later than this."""
        return int((await self._connection.execute(_BY_SINCE, {"of_account": account_id, "since": since})).scalar_one())

    async def count_to(self, to_address: str, *, since: datetime) -> int:
        """How many mails an address was sent later than this, or will be."""
        return int((await self._connection.execute(_TO_SINCE, {"to": to_address, "since": since})).scalar_one())

    async def last_about(self, project_id: ProjectId, to_address: str) -> datetime | None:
        """When the last mail about a project to an address was put here, of those that have not failed."""
        values = {"of_project": project_id, "to": to_address}
        at: datetime | None = (await self._connection.execute(_LAST, values)).scalar_one()
        return at

    async def add(self, **values: Any) -> None:
        """Add a mail that is to be sent now; ``values`` are those of a `Mail` without ``id`` and ``attempts``."""
        row = {**values, "state": "waiting", "next_at": values["created_at"]}
        await self._connection.execute(mails.insert(), row)

    async def due(self, now: datetime, *, limit: int) -> list[Mail]:
        """Mails that are to be sent now, who waits longest first."""
        rows = await self._connection.execute(_DUE, {"now": now, "n": limit})
        return [Mail(**row._mapping) for row in rows]

    async def later(self, id: int, *, at: datetime, error: str) -> None:
        """It could not be sent, and is to be tried again then."""
        await self._change(id, attempts=mails.c.attempts + 1, next_at=at, error=error)

    async def done(self, id: int, *, error: str | None = None) -> None:
        """It was sent, or, with an ``error``, never will be. Its text is forgotten."""
        state = "sent" if error is None else "failed"
        await self._change(id, attempts=mails.c.attempts + 1, state=state, next_at=None, error=error, body="")

    async def _change(self, id: int, **values: Any) -> None:
        await self._connection.execute(update(mails).where(mails.c.id == id).values(values))

    async def prune(self, before: datetime) -> None:
        """Forget the mails that are done and were put here before then."""
        await self._connection.execute(_PRUNE, {"before": before})
