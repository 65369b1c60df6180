"""Answers that are kept for a day, so that a call which is repeated under the same key is done once."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import bindparam, delete, select
from sqlalchemy.ext.asyncio import AsyncConnection

from projecthub.errors import Conflict
from projecthub.store.expressions import upserting
from projecthub.store.tables import idempotency_keys
from projecthub.wire.ids import AccountId

KEPT: Final = timedelta(hours=24)

_GET: Final = select(idempotency_keys.c.fingerprint, idempotency_keys.c.result).where(
    idempotency_keys.c.account_id == bindparam("of_account"),
    idempotency_keys.c.key == bindparam("of_key"),
    idempotency_keys.c.created_at > bindparam("since"),
)
_insert: Final = upserting(idempotency_keys)
_PUT: Final = _insert.on_conflict_do_update(
    index_elements=["account_id", "key"],
    set_={
        "fingerprint": _insert.excluded.fingerprint,
        "result": _insert.excluded.result,
        "created_at": _insert.excluded.created_at,
    },
    where=idempotency_keys.c.created_at <= bindparam("since"),
).returning(idempotency_keys.c.key)
_PRUNE: Final = delete(idempotency_keys).where(idempotency_keys.c.created_at < bindparam("before"))


class Idempotency:
    """The kept answers, within a transaction."""

    def __init__(self, connection: AsyncConnection, now: datetime) -> None:
        self._connection = connection
        self._since = now - KEPT

    async def get(self, account_id: AccountId, key: str) -> tuple[str, Any] | None:
        """The fingerprint of the request that an account made under a key in the last 24 hours, and its result."""
        values = {"of_account": account_id, "of_key": key, "since": self._since}
        row = (await self._connection.execute(_GET, values)).first()
        return None if row is None else (row.fingerprint, row.result)

    async def put(self, account_id: AccountId, key: str, *, fingerprint: str, result: Any, at: datetime) -> None:
        """Keep a result; in the transaction that does the work, so that both are there or neither is.

        Raises:
            Conflict: Another request under this key was quicker.
        """
        row = {
            "account_id": account_id,
            "key": key,
            "fingerprint": fingerprint,
            "result": result,
            "created_at": at,
            "since": self._since,
        }
        if (await self._connection.execute(_PUT, row)).first() is None:
            raise Conflict(
                f"A call with the idempotency key '{key[:100]}' was made meanwhile; repeat this one for its result"
            )

    async def prune(self, before: datetime) -> int:
        """Delete what was kept before a time.

        Returns:
            How many answers were deleted.
        """
        return (await self._connection.execute(_PRUNE, {"before": before})).rowcount
