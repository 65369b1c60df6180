"""Sign-in tokens. A token itself is never here, only its SHA-256."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

from sqlalchemy import BindParameter, and_, bindparam, delete, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from projecthub.store.records import SignInToken
from projecthub.store.selections import in_chunks
from projecthub.store.tables import accounts, api_keys, sign_in_keys, sign_in_tokens
from projecthub.wire.ids import AccountId

_FIELDS: Final = tuple(SignInToken.__dataclass_fields__)
_COLUMNS: Final = [sign_in_tokens.c[name] for name in _FIELDS if name != "good"]
_maker: Final = accounts.alias("maker")
_good: Final = and_(
    ~accounts.c.banned,
    accounts.c.deleted_at.is_(None),
    ~_maker.c.banned,
    _maker.c.deleted_at.is_(None),
    ~accounts.c.is_admin | _maker.c.is_admin,
)

_FIND: Final = (
    select(*_COLUMNS, _good.label("good"))
    .join_from(sign_in_tokens, accounts, accounts.c.account_id == sign_in_tokens.c.account_id)
    .join(_maker, _maker.c.account_id == sign_in_tokens.c.created_by)
    .where(sign_in_tokens.c.hash == bindparam("hash_"))
)
_COUNT_KEYS: Final = (
    select(func.count())
    .join_from(sign_in_keys, api_keys, api_keys.c.id == sign_in_keys.c.key_id)
    .where(sign_in_keys.c.token_hash == bindparam("hash_"), api_keys.c.expires_at > bindparam("now_"))
)
_OF: Final = select(sign_in_tokens.c.hash).where(sign_in_tokens.c.account_id == bindparam("of_account"))
_BY: Final = select(sign_in_tokens.c.hash).where(sign_in_tokens.c.created_by == bindparam("by_account"))
_EXPIRED: Final = select(sign_in_tokens.c.hash).where(sign_in_tokens.c.expires_at <= bindparam("now_"))

_THESE: Final[BindParameter[Any]] = bindparam("hashes", expanding=True)
_DELETE_API_KEYS: Final = delete(api_keys).where(
    api_keys.c.id.in_(select(sign_in_keys.c.key_id).where(sign_in_keys.c.token_hash.in_(_THESE)))
)
_DELETE_KEYS: Final = delete(sign_in_keys).where(sign_in_keys.c.token_hash.in_(_THESE))
_DELETE: Final = delete(sign_in_tokens).where(sign_in_tokens.c.hash.in_(_THESE))


class SignInTokens:
    """The sign-in tokens, within a transaction. A token that ends takes with it the API keys that were got for it."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def create(
        self,
        *,
        hash: str,
        account_id: AccountId,
        created_by: AccountId,
        purpose: str,
        created_at: datetime,
        expires_at: datetime,
    ) -> None:
        """Add a token.

        Args:
            hash: SHA-256 of the token in hex.
            account_id: Whom it signs in.
            created_by: Who made it.
            purpose: What it is good for.
            created_at: Now.
            expires_at: Until when, exclusive.
        """
        await self._connection.execute(
            sign_in_tokens.insert(),
            {
                "hash": hash,
                "account_id": account_id,
                "created_by": created_by,
                "purpose": purpose,
                "created_at": created_at,
                "expires_at": expires_at,
            },
        )

    async def find(self, hash: str) -> SignInToken | None:
        """The token with this hash, an expired one included."""
        row = (await self._connection.execute(_FIND, {"hash_": hash})).first()
        return None if row is None else SignInToken(**row._mapping)

    async def note_key(self, hash: str, key_id: int) -> None:
        """Note that an API key was got for a token, and is to end with it."""
        await self._connection.execute(sign_in_keys.insert(), {"key_id": key_id, "token_hash": hash})

    async def count_keys(self, hash: str, now: datetime) -> int:
        """How many API keys that were got for a token are still good."""
        return int((await self._connection.execute(_COUNT_KEYS, {"hash_": hash, "now_": now})).scalar_one())

    async def any_expired(self, now: datetime) -> bool:
        """Whether there are tokens whose time is over."""
        return (await self._connection.execute(_EXPIRED.limit(1), {"now_": now})).first() is not None

    async def end(self, hash: str) -> None:
        """End one token. Idempotent."""
        await self._end([hash])

    async def end_of(self, account_id: AccountId) -> None:
        """End all tokens that sign an account in."""
        await self._end((await self._connection.execute(_OF, {"of_account": account_id})).scalars().all())

    async def end_made_by(self, account_id: AccountId) -> None:
        """End all tokens that an account has made, for whomever."""
        await self._end((await self._connection.execute(_BY, {"by_account": account_id})).scalars().all())

    async def end_expired(self, now: datetime) -> None:
        """End all tokens whose time is over."""
        await self._end((await self._connection.execute(_EXPIRED, {"now_": now})).scalars().all())

    async def _end(self, hashes: Sequence[str]) -> None:
        for chunk in in_chunks(hashes):
            await self._connection.execute(_DELETE_API_KEYS, {"hashes": chunk})
            await self._connection.execute(_DELETE_KEYS, {"hashes": chunk})
            await self._connection.execute(_DELETE, {"hashes": chunk})
