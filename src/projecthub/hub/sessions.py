"""Sessions: people sign in with a password, and get something like an API key that expires.

Guessing is slowed by address, by account, and most by both together. An account's own bound is wide, and addresses from
which its owner has signed in before are not bound by it: so a stranger who keeps guessing locks nobody out where he
usually works, and elsewhere for seconds at a time.
"""

from __future__ import annotations

from collections import OrderedDict
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from projecthub.errors import Conflict, InvalidArgument, NotSignedIn, PermissionDenied, RateLimited
from projecthub.hub.admission import network_of
from projecthub.hub.permissions import all_scopes_only, own_or_any
from projecthub.hub.principals import NOBODY
from projecthub.hub.rates import Rate, TokenBuckets
from projecthub.store.accounts import ascii_lower
from projecthub.wire import shapes
from projecthub.wire.units import to_iso

if TYPE_CHECKING:
    from collections.abc import Sequence

    from projecthub.hub.clock import Clock
    from projecthub.hub.keys import Keys
    from projecthub.hub.passwords import Passwords
    from projecthub.hub.principals import Principal
    from projecthub.store import Store, Transaction
    from projecthub.wire.ids import AccountId

LASTS: Final = timedelta(days=7)
"""How long a session lasts."""

BY_BOTH: Final = Rate(burst=5, every_s=30)
"""Wrong passwords for one account from one address."""
BY_ADDRESS: Final = Rate(burst=200, every_s=2)
"""Wrong passwords from one address, which a class may share whose people all sign in at once."""
BY_ACCOUNT: Final = Rate(burst=100, every_s=10)
"""Wrong passwords for one account, from addresses that are new to it."""

MAX_SESSIONS: Final = 50
"""Sessions of an account; the oldest end first."""
_MAX_WELCOME: Final = 20_000
_MAX_EMAIL: Final = 320
_NAME: Final = "session"
_WRONG: Final = "the e-mail address or the password is wrong"


class Sessions:
    """Lets people in, and out."""

    def __init__(self, store: Store, clock: Clock, keys: Keys, passwords: Passwords) -> None:
        """Make the service."""
        self._store = store
        self._clock = clock
        self._keys = keys
        self._passwords = passwords
        self._buckets = TokenBuckets(clock)
        self._welcome: OrderedDict[tuple[str, str], None] = OrderedDict()

    async def sign_in(self, request: shapes.SignIn, address: str | None) -> shapes.SignedIn:
        """Begin a session.

        An unknown address, an account without a password and one that is disabled take as long as a wrong password, and
        are answered alike.

        Raises:
            NotSignedIn: The e-mail address or the password is wrong.
            RateLimited: There were too many attempts.
        """
        email = ascii_lower(request.email_address.strip()[:_MAX_EMAIL])
        network = network_of(address)
        taken = self._take(email, network)
        async with self._store.read() as tx:
            account = await tx.accounts.by_email(email)
            # Asked whether there is an account or not, as all that follows: who looks at the time learns nothing.
            stored = await tx.accounts.password_hash(account.account_id if account else NOBODY.account_id)
        if account is not None and account.banned:
            stored = None
        if not await self._passwords.matches(request.password, stored) or account is None or stored is None:
            raise NotSignedIn(_WRONG)
        for key, rate in taken:
            self._buckets.give_back(key, rate)
        self._greet(email, network)
        renewed = await self._passwords.hash(request.password) if await self._passwords.is_outdated(stored) else None
        async with self._keys.changing() as tx:
            if not await _holds(tx, account.account_id, stored):
                raise NotSignedIn(_WRONG)  # changed while we looked
            if renewed is not None:
                await tx.accounts.update(account.account_id, {"password_hash": renewed})
            return await self.begin(tx, account.account_id)

    async def begin(self, tx: Transaction, account_id: AccountId) -> shapes.SignedIn:
        """Begin a session of an account, whose owner has shown in whatever way who he is.

        Args:
            tx: A transaction of `Keys.changing`: the oldest sessions may end with it.
            account_id: Whose.
        """
        now = self._clock.now()
        sessions = await tx.keys.sessions(account_id)
        over = [id for id, expires_at in sessions.items() if expires_at <= now]
        left = [id for id in sessions if id not in over]
        for id in over + left[: max(0, len(left) + 1 - MAX_SESSIONS)]:
            await tx.keys.delete(id)
        expires_at = now + LASTS
        _, secret = await self._keys.make(tx, account_id, None, _NAME, expires_at, is_session=True)
        return {"account_id": account_id, "secret": secret, "expire": to_iso(expires_at)}

    async def sign_out(self, caller: Principal, *, everywhere: bool) -> shapes.SignedOut:
        """End the caller's session, or all sessions of his account.

        Raises:
            Conflict: The call came with an API key, which is no session.
        """
        async with self._keys.changing() as tx:
            if everywhere:
                await tx.keys.delete_sessions(caller.account_id)
            elif caller.key_id in await tx.keys.sessions(caller.account_id):
                await tx.keys.delete(caller.key_id)
            else:
                raise Conflict("this is an API key and no session; keys.revoke ends it, or sign out everywhere")
        return {"signed_out": True}

    async def set_password(
        self, caller: Principal, request: shapes.SetPassword, address: str | None
    ) -> shapes.PasswordSet:
        """Set the password of an account: one's own, or, for site admins, anybody's. Its other sessions end.

        Raises:
            PermissionDenied: The account is another's, the key is limited, or the current password is wrong.
            InvalidArgument: The password is too short or too long, or the current one is missing.
            RateLimited: There were too many wrong ones.
        """
        all_scopes_only(caller, "set passwords")
        async with self._store.read() as tx:
            account = await own_or_any(tx, caller, request.account_id, "set the passwords of other accounts")
            stored = await tx.accounts.password_hash(account.account_id)
        if account.account_id == caller.account_id and stored is not None:
            if request.current_password is None:
                raise InvalidArgument(
                    "argument 'current_password' of accounts.setPassword is missing: give the one you have"
                )
            await self.prove(account.account_id, request.current_password, address)
        hashed = await self._passwords.hash(request.password)
        async with self._keys.changing() as tx:
            if await tx.accounts.password_hash(account.account_id) != stored:
                raise Conflict("the password was changed meanwhile; try again with the new one")
            await tx.accounts.update(account.account_id, {"password_hash": hashed})
            await tx.keys.delete_sessions(account.account_id, besides=caller.key_id)
        return {"account_id": account.account_id, "password_set": True}

    async def prove(self, account_id: AccountId, password: str, address: str | None) -> None:
        """See that somebody who is signed in knows the password of an account.

        Args:
            account_id: Whose.
            password: What he says it is.
            address: Where his request comes from; None: nobody knows.

        Raises:
            PermissionDenied: It is wrong, or the account has none.
            RateLimited: There were too many wrong ones.
        """
        taken = self._take(account_id, network_of(address))
        async with self._store.read() as tx:
            stored = await tx.accounts.password_hash(account_id)
        if not await self._passwords.matches(password, stored):
            raise PermissionDenied("permission denied: the current password is wrong")
        for key, rate in taken:
            self._buckets.give_back(key, rate)

    async def is_password(self, account_id: AccountId, password: str, address: str | None) -> bool:
        """Whether this is the password of an account that is enabled. Attempts are bound as those to sign in are.

        Raises:
            RateLimited: There were too many wrong ones.
        """
        taken = self._take(account_id, network_of(address))
        async with self._store.read() as tx:
            account = await tx.accounts.get(account_id)
            is_here = account is not None and not account.banned and account.deleted_at is None
            stored = await tx.accounts.password_hash(account_id) if is_here else None
        if not await self._passwords.matches(password, stored) or stored is None:
            return False
        for key, rate in taken:
            self._buckets.give_back(key, rate)
        return True

    def _take(self, account: str, network: str | None) -> Sequence[tuple[object, Rate]]:
        """Count an attempt before it is made, so that many at once count too; a right one is taken back.

        Raises:
            RateLimited: One of the bounds is reached.
        """
        wanted: list[tuple[object, Rate]] = [(("both", account, network), BY_BOTH)]
        if network is not None:
            wanted.append((("address", network), BY_ADDRESS))
        if network is None or (account, network) not in self._welcome:
            wanted.append((("account", account), BY_ACCOUNT))
        if wait_s := max(self._buckets.wait_s(key, rate) for key, rate in wanted):
            raise RateLimited("too many attempts to sign in; wait a while, then try again", retry_after_s=wait_s)
        for key, rate in wanted:
            self._buckets.take(key, rate)
        return wanted

    def _greet(self, email: str, network: str | None) -> None:
        if network is None:
            return
        self._welcome[(email, network)] = None
        self._welcome.move_to_end((email, network))
        if len(self._welcome) > _MAX_WELCOME:
            self._welcome.popitem(last=False)


async def _holds(tx: Transaction, account_id: AccountId, stored: str) -> bool:
    """Whether an account is still there and enabled, with the same password."""
    account = await tx.accounts.get(account_id)
    return (
        account is not None
        and not account.banned
        and account.deleted_at is None
        and await tx.accounts.password_hash(account_id) == stored
    )
