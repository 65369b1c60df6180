"""Sign-in tokens: made for an account, good until their time is over.

A token is 256 random bits. Only its SHA-256 is stored; it is told once, in the answer that made it. It is no API key.
One to sign in with is turned into sessions, at `SIGN_IN_PATH`, as often as one likes; they end with it. One to set a
password with is good for that, at `RESET_PATH`, once.

Source: Wire contract 5.1 (`generateUserAuthToken`), 5.4 (`createToken`).
"""

from __future__ import annotations

import secrets
from datetime import datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from projecthub.errors import InvalidArgument, LimitError, NotFound, NotSignedIn, PermissionDenied
from projecthub.hub.keys import digest
from projecthub.hub.permissions import account_id_of, all_scopes_only
from projecthub.wire.units import to_iso

if TYPE_CHECKING:
    from projecthub.hub.clock import Clock
    from projecthub.hub.keys import Keys
    from projecthub.hub.passwords import Passwords
    from projecthub.hub.principals import Principal
    from projecthub.hub.sessions import Sessions
    from projecthub.store import Store, Transaction
    from projecthub.store.records import SignInToken
    from projecthub.wire import organizations as shapes
    from projecthub.wire.ids import AccountId

SIGN_IN_PATH: Final = "/auth/impersonate"
"""Where on the hub a token, as ``auth_token``, is taken."""
RESET_PATH: Final = "/auth/password-reset"
"""Where on the hub, followed by a slash and a token, a password is set."""
TOKEN_LIFETIME: Final = timedelta(hours=24)
"""How long a token is good unless it is said otherwise."""
KEY_LIFETIME: Final = timedelta(hours=12)
"""How long an API key is good that was got for a token; it never outlives the token."""
_MAX_KEYS: Final = 100
_KEY_NAME: Final = "sign-in"
_BAD_ID: Final = "user_account_id '{value}' is no account id; give a uuid"
_REFUSAL: Final = "this sign-in token is unknown, or its time is over; ask whoever gave it to you for a new one"


class Purpose(StrEnum):
    """What a token is good for. One that was made for something else is as good as none."""

    SIGN_IN = "sign_in"
    SET_PASSWORD = "set_password"  # noqa: S105


class SignIn:
    """Makes tokens, and takes them."""

    def __init__(self, store: Store, clock: Clock, keys: Keys, sessions: Sessions, passwords: Passwords) -> None:
        """Make the service; the last two check and hash passwords."""
        self._store = store
        self._clock = clock
        self._keys = keys
        self._sessions = sessions
        self._passwords = passwords

    async def create(
        self,
        tx: Transaction,
        account_id: AccountId,
        *,
        by: AccountId,
        expires_at: datetime | None = None,
        purpose: Purpose = Purpose.SIGN_IN,
    ) -> str:
        """Make a token, within a transaction that has found out that this is allowed.

        Args:
            tx: The transaction.
            account_id: Whom it signs in.
            by: Who makes it. What he has made ends with his office (`Organizations.remove_admin`).
            expires_at: Until when it is good, exclusive. Default: `TOKEN_LIFETIME` from now.
            purpose: What it is good for.

        Returns:
            The token, 43 characters that need no quoting in a URL.

        Raises:
            InvalidArgument: ``expires_at`` is over.
        """
        now = self._clock.now()
        if expires_at is None:
            expires_at = now + TOKEN_LIFETIME
        if expires_at <= now:
            raise InvalidArgument(f"expire is '{to_iso(expires_at)}', which is over; give a time to come")
        token = secrets.token_urlsafe(32)
        await tx.sign_in_tokens.create(
            hash=digest(token),
            account_id=account_id,
            created_by=by,
            purpose=purpose,
            created_at=now,
            expires_at=expires_at,
        )
        return token

    async def create_for(self, caller: Principal, request: shapes.GenerateUserAuthToken, address: str | None) -> str:
        """Make a token that signs in as somebody: for site admins, and for whoever knows his password.

        Raises:
            PermissionDenied: The caller is no site admin, or his key has not all scopes; or the password is wrong.
            NotFound: There is no such account, told to site admins.
            RateLimited: There were too many wrong passwords.
        """
        account_id = account_id_of(request.user_account_id, _BAD_ID)
        if request.password is not None:
            if not await self._sessions.is_password(account_id, request.password, address):
                raise PermissionDenied("incorrect password")
            by = account_id
        else:
            _site_admins_only(caller, "incorrect password")
            by = caller.account_id
        return await self._create_known(account_id, by, Purpose.SIGN_IN)

    async def reset_link(self, caller: Principal, user_account_id: str) -> str:
        """Make a link under which somebody sets his password, once; for site admins.

        Returns:
            What comes after the hub's address.

        Raises:
            PermissionDenied: The caller is no site admin, or his key has not all scopes.
            NotFound: There is no such account.
        """
        _site_admins_only(caller, "must be an admin")
        account_id = account_id_of(user_account_id, _BAD_ID)
        return f"{RESET_PATH}/{await self._create_known(account_id, caller.account_id, Purpose.SET_PASSWORD)}"

    async def set_password(self, token: str, password: str) -> AccountId:
        """Set the password of the account that a token was made for. Token and sessions end.

        Raises:
            NotSignedIn: As `redeem`.
            InvalidArgument: The password is too short or too long.
        """
        await self.check(token, Purpose.SET_PASSWORD)
        hashed = await self._passwords.hash(password)
        async with self._keys.changing() as tx:
            found = await self.redeem(tx, token, Purpose.SET_PASSWORD)
            await tx.accounts.update(found.account_id, {"password_hash": hashed})
            await tx.keys.delete_sessions(found.account_id)
            await tx.sign_in_tokens.end(found.hash)
        return found.account_id

    async def _create_known(self, account_id: AccountId, by: AccountId, purpose: Purpose) -> str:
        async with self._store.write() as tx:
            if not await tx.accounts.existing([account_id]):
                raise NotFound(f"no account with id '{account_id}'", account_id=account_id)
            return await self.create(tx, account_id, by=by, purpose=purpose)

    async def redeem(self, tx: Transaction, token: str, purpose: Purpose = Purpose.SIGN_IN) -> SignInToken:
        """What a token stands for; it is as good afterwards.

        Raises:
            NotSignedIn: There is no such token, it was made for something else, its time is over, or it is void because
                its account or its maker is disabled, or is no site admin when the account is one. Which is not told.
        """
        found = await tx.sign_in_tokens.find(digest(token))
        if found is None or found.purpose != purpose or not found.good or found.expires_at <= self._clock.now():
            raise NotSignedIn(_REFUSAL)
        return found

    async def check(self, token: str, purpose: Purpose) -> None:
        """See that a token is good: whoever has none is not to cause anything to be written.

        Raises:
            NotSignedIn: As `redeem`.
        """
        async with self._store.read() as tx:
            await self.redeem(tx, token, purpose)

    async def sign_in(self, token: str) -> shapes.SignedIn:
        """Turn a token into an API key of its account, which ends with it.

        Raises:
            NotSignedIn: As `redeem`.
            LimitError: Too many keys that were got for it are still good.
        """
        await self.check(token, Purpose.SIGN_IN)
        async with self._store.write() as tx:
            found = await self.redeem(tx, token)
            now = self._clock.now()
            if await tx.sign_in_tokens.count_keys(found.hash, now) >= _MAX_KEYS:
                raise LimitError(
                    f"this sign-in token was used {_MAX_KEYS} times within the last hours; use one of the keys it gave"
                )
            expires_at = min(now + KEY_LIFETIME, found.expires_at)
            key, secret = await self._keys.make(tx, found.account_id, None, _KEY_NAME, expires_at, is_session=True)
            await tx.sign_in_tokens.note_key(found.hash, key.id)
        return {"account_id": found.account_id, "api_key": secret, "expire": to_iso(expires_at)}

    async def end(self, token: str) -> None:
        """End a token, and the keys that were got for it. Knowing it is enough; one that is unknown has ended."""
        async with self._keys.changing() as tx:
            await tx.sign_in_tokens.end(digest(token))

    async def sweep(self) -> None:
        """Forget the tokens whose time is over."""
        async with self._store.read() as tx:
            over = await tx.sign_in_tokens.any_expired(self._clock.now())
        if over:
            async with self._keys.changing() as tx:
                await tx.sign_in_tokens.end_expired(self._clock.now())


def _site_admins_only(caller: Principal, refusal: str) -> None:
    if not caller.is_admin:
        raise PermissionDenied(refusal)
    all_scopes_only(caller, "let somebody sign in without a password")
