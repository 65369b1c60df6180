"""API keys: made, checked, listed, edited, revoked.

A key is ``sk-``, 43 random base-62 characters (256 bits) and 6 that hold its row's number. Only its SHA-256 is
stored; the secret is told once, in the answer that made it.

Source: Wire contract 1.2 to 1.4, 5.1.
"""

from __future__ import annotations

import hashlib
import secrets
import string
from collections import OrderedDict
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from projecthub.errors import InvalidArgument, LimitError, NotFound, PermissionDenied
from projecthub.hub.permissions import is_able, member_access, own_or_any, project_id_of, scopes_text
from projecthub.hub.principals import Principal
from projecthub.hub.times import parse_time
from projecthub.wire import shapes
from projecthub.wire.methods import ALL_ABILITIES, Ability
from projecthub.wire.units import to_iso

if TYPE_CHECKING:
    from projecthub.hub.clock import Clock
    from projecthub.store import Store, Transaction
    from projecthub.store.records import Key, KeyOwner
    from projecthub.wire.ids import AccountId, ProjectId

_ALPHABET: Final = string.digits + string.ascii_uppercase + string.ascii_lowercase
_RANDOM_LENGTH: Final = 43
_MAX_KEYS: Final = 100_000
_MAX_NAME: Final = 128
_CACHE_SIZE: Final = 10_000
_MAX_CALLS_PER_MINUTE: Final = 1_000_000
_NEVER: Final = "never"
_SEEN_EVERY: Final = timedelta(minutes=1)
"""Who calls all the time has his `last_active` written this often: it costs a write of another row."""
_NOT_ON_PROJECT: Final = "user must be collaborator on project to manage project_id api keys"


def digest(secret: str) -> str:
    """SHA-256 of a key in hex: what is stored of it. The keys are long and random, so that no salt is needed.

    Keys are found by it alone. How long a comparison of digests takes tells at most how a digest begins, and nobody can
    choose a key by the beginning of its digest: so a search is as good as a comparison in constant time.
    """
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()


def _base62(number: int, width: int) -> str:
    text = ""
    while number:
        number, rest = divmod(number, 62)
        text = _ALPHABET[rest] + text
    return text.rjust(width, "0")


def truncated(secret: str) -> str:
    """What is shown of a key: ``sk-...`` and its last six characters."""
    return f"{secret[:3]}...{secret[-6:]}"


class Keys:
    """The keys of accounts and projects."""

    def __init__(self, store: Store, clock: Clock) -> None:
        """Make the service.

        Args:
            store: Where keys are kept.
            clock: Tells whether a key has expired.
        """
        self._store = store
        self._clock = clock
        self._known: OrderedDict[str, KeyOwner] = OrderedDict()
        self._changes = 0
        self._used: dict[int, datetime] = {}
        self._seen: dict[AccountId, datetime] = {}
        self._seen_written: dict[AccountId, datetime] = {}

    # -- checking ----------------------------------------------------------------------------------

    async def check(self, secret: str) -> Principal | None:
        """Who a key belongs to; None if it is unknown, expired, of a disabled account, or of a project left since.

        A key that was seen before costs no query where this hub is the only writer of its store; every change that
        could make an answer wrong goes through `changing`.
        """
        hashed = digest(secret)
        owner = self._known.get(hashed)
        if owner is None:
            changes = self._changes
            async with self._store.glance() as tx:
                owner = await tx.keys.find(hashed)
            if owner is None:
                return None
            # What was read before a change must not be remembered after it.
            if not self._store.shared and changes == self._changes:
                self._known[hashed] = owner
                if len(self._known) > _CACHE_SIZE:
                    self._known.popitem(last=False)
        now = self._clock.now()
        key = owner.key
        if not owner.enabled or (key.expires_at is not None and key.expires_at <= now):
            return None
        if key.project_id is not None and owner.role is None:
            return None
        self._used[key.id] = now
        if key.project_id is None:  # a project key stands for no person
            self._seen[key.account_id] = now
        return _principal(owner)

    async def whose(self, secret: str) -> Principal | None:
        """Who a key belongs to, whether it is good or not: for the audit log alone, never to let somebody in."""
        hashed = digest(secret)
        owner = self._known.get(hashed)
        if owner is None:
            async with self._store.glance() as tx:
                owner = await tx.keys.find(hashed)
        return None if owner is None else _principal(owner)

    def forget(self) -> None:
        """Drop what is known of checked keys."""
        self._changes += 1
        self._known.clear()

    @asynccontextmanager
    async def changing(self) -> AsyncIterator[Transaction]:
        """A transaction that changes keys, accounts or memberships: what was known before it does not count after it.

        That holds however it ends: one that is cancelled while it is being kept may have been kept.
        """
        try:
            async with self._store.write() as tx:
                yield tx
        finally:
            self.forget()

    async def flush(self) -> None:
        """Write when keys and people were seen last. Gathered in memory: a statistic, and not worth a write a call."""
        if not self._used:
            return
        used, self._used = self._used, {}
        seen, self._seen = self._seen, {}
        since = self._clock.now() - _SEEN_EVERY
        written = {who: at for who, at in self._seen_written.items() if at > since}
        people = {who: at for who, at in seen.items() if who not in written}
        async with self._store.write() as tx:
            await tx.keys.mark_used(used)
            await tx.accounts.mark_active(people)
        self._seen_written = written | people

    # -- the operator's calls, and manageApiKeys ---------------------------------------------------

    async def all_of(self, caller: Principal, request: shapes.ListKeys) -> list[shapes.ApiKey]:
        """The keys of an account (another's: site admins only) or of a project (whoever is on it)."""
        await self.flush()
        async with self._store.read() as tx:
            if request.project_id is not None:
                project_id = await self._managed_project(tx, caller, request.project_id)
                return [_shape(key) for key in await tx.keys.of_project(project_id)]
            account_id = await self._account(tx, caller, request.account_id)
            return [_shape(key) for key in await tx.keys.of_account(account_id)]

    async def get(self, caller: Principal, id: int, project_id: str | None) -> shapes.ApiKey | None:
        """One key of the caller or of a project he is on; None if there is none of that number."""
        await self.flush()
        async with self._store.read() as tx:
            key = await self._managed(tx, caller, id, project_id)
            return None if key is None else _shape(key)

    async def create(self, caller: Principal, request: shapes.CreateKey) -> shapes.ApiKey:
        """Make a key. The answer alone holds its ``secret``.

        Raises:
            PermissionDenied: It would be good for more than the caller's own key, or is not his to make.
            InvalidArgument: A scope or a limit that there is not, or too long a name.
            LimitError: The account has too many keys.
        """
        expires_at, name = parse_time(request.expire, "expire"), _name(request.name)
        scopes = caller.scopes if request.scopes is None else _scopes(request.scopes)
        limit = _limit(request.calls_per_minute)
        _within(caller, scopes)
        async with self._store.write() as tx:
            project_id = (
                None if request.project_id is None else await self._managed_project(tx, caller, request.project_id)
            )
            account_id = await self._account(tx, caller, request.account_id)
            if await tx.keys.count(account_id) >= _MAX_KEYS:
                raise LimitError(f"There is a limit of {_MAX_KEYS} per account; please delete some api keys.")
            key, secret = await self.make(
                tx, account_id, project_id, name, expires_at, scopes=scopes, calls_per_minute=limit
            )
            await self._note(tx, caller, key, "key_created")
        return {**_shape(key), "secret": secret}

    async def make(
        self,
        tx: Transaction,
        account_id: AccountId,
        project_id: ProjectId | None,
        name: str,
        expires_at: datetime | None = None,
        secret: str | None = None,
        *,
        scopes: frozenset[Ability] = ALL_ABILITIES,
        calls_per_minute: int | None = None,
        is_session: bool = False,
    ) -> tuple[Key, str]:
        """Make a key within a transaction, with the given secret or a new one."""
        key_id = await tx.keys.create(
            account_id=account_id,
            project_id=project_id,
            name=name,
            expires_at=expires_at,
            created_at=self._clock.now(),
            scopes=scopes,
            calls_per_minute=calls_per_minute,
            is_session=is_session,
        )
        if secret is None:
            random = "".join(secrets.choice(_ALPHABET) for _ in range(_RANDOM_LENGTH))
            secret = f"sk-{random}{_base62(key_id, 6)}"
        await tx.keys.set_secret(key_id, hash=digest(secret), trunc=truncated(secret))
        key = await tx.keys.get(key_id)
        assert key is not None
        return key, secret

    async def edit(self, caller: Principal, request: shapes.ManageApiKeys) -> None:
        """Change a key's name or expiry.

        Raises:
            NotFound: The caller has no such key.
            PermissionDenied: The key is good for more than the caller's own.
            InvalidArgument: Too long a name, or a time that there is not.
        """
        async with self.changing() as tx:
            key = await self._one(tx, caller, request.id, request.project_id)
            await self._edit(tx, caller, key, _changes(request.name, request.expire))

    async def update(self, caller: Principal, request: shapes.UpdateKey) -> shapes.ApiKey:
        """Change a key by its number alone, whoever may revoke it; what is not given stays. It counts at once.

        Raises:
            NotFound: There is no such key, or it is not the caller's to change.
            PermissionDenied: The key is good for more than the caller's own, or would be.
            InvalidArgument: A scope, a limit or a time that there is not, or too long a name.
        """
        changes = _changes(request.name, request.expire)
        if request.scopes is not None:
            changes["scopes"] = _scopes(request.scopes)
        if request.calls_per_minute is not None:
            changes["calls_per_minute"] = _limit(request.calls_per_minute)
        async with self.changing() as tx:
            key = await self._any(tx, caller, request.id)
            await self._edit(tx, caller, key, changes)
            changed = await tx.keys.get(key.id)
        assert changed is not None
        return _shape(changed)

    async def _edit(self, tx: Transaction, caller: Principal, key: Key, changes: dict[str, Any]) -> None:
        _within(caller, key.scopes | changes.get("scopes", frozenset()))
        if changes:
            await tx.keys.edit(key.id, changes=changes)
            await self._note(tx, caller, key, "key_edited")

    async def delete(self, caller: Principal, id: int | None, project_id: str | None) -> None:
        """Delete a key; it is refused from now on.

        Raises:
            NotFound: The caller has no such key.
        """
        async with self.changing() as tx:
            key = await self._one(tx, caller, id, project_id)
            await tx.keys.delete(key.id)
            await self._note(tx, caller, key, "key_deleted")

    async def revoke(self, caller: Principal, id: int) -> shapes.Revoked:
        """Delete a key by its number alone: one of the caller's, of a project he is on, or, for a site admin, any.

        Raises:
            NotFound: There is no such key, or it is not the caller's to revoke.
        """
        async with self.changing() as tx:
            key = await self._any(tx, caller, id)
            await tx.keys.delete(id)
            await self._note(tx, caller, key, "key_deleted")
        return {"id": id, "revoked": True}

    async def _note(self, tx: Transaction, caller: Principal, key: Key, event: str) -> None:
        """Write what was done to a key into the log of its project, if it is a project's."""
        if key.project_id is not None:
            told = {"event": event, "key_id": key.id, "name": key.name}
            await tx.log.append(key.project_id, caller.account_id, told, at=self._clock.now())

    # -- rules -------------------------------------------------------------------------------------

    async def _any(self, tx: Transaction, caller: Principal, id: int) -> Key:
        """A key by its number alone; those that the caller has nothing to do with are as good as none."""
        key = await tx.keys.get(id)
        if key is None or key.is_session or not await self._may_revoke(tx, caller, key):
            raise NotFound(f"no api key with id {id}; list yours with keys.list", id=id)
        return key

    async def _may_revoke(self, tx: Transaction, caller: Principal, key: Key) -> bool:
        if caller.is_admin or key.account_id == caller.account_id:
            return True
        if key.project_id is None:
            return False
        return is_able(await tx.collaborators.role(key.project_id, caller.account_id), Ability.MANAGE)

    async def _account(self, tx: Transaction, caller: Principal, account: str | None) -> AccountId:
        """Whose keys a call is about: the caller's own, or, for a site admin, those of an id or e-mail address."""
        if account is None:
            return caller.account_id
        return (await own_or_any(tx, caller, account, "manage the keys of other accounts")).account_id

    async def _managed_project(self, tx: Transaction, caller: Principal, project_id: str) -> ProjectId:
        checked = project_id_of(project_id)
        await member_access(tx, caller, checked, _NOT_ON_PROJECT, Ability.MANAGE)
        return checked

    async def _managed(self, tx: Transaction, caller: Principal, id: int, project_id: str | None) -> Key | None:
        checked = None if project_id is None else await self._managed_project(tx, caller, project_id)
        key = await tx.keys.get(id)
        if key is None or key.is_session or key.project_id != checked:
            return None
        if checked is None and key.account_id != caller.account_id:
            return None
        return key

    async def _one(self, tx: Transaction, caller: Principal, id: int | None, project_id: str | None) -> Key:
        if id is None:
            raise InvalidArgument("argument 'id' of system.manageApiKeys is missing: give the number of a key")
        key = await self._managed(tx, caller, id, project_id)
        if key is None:
            raise NotFound(f"no api key with id {id}", id=id)
        return key


def _principal(owner: KeyOwner) -> Principal:
    key = owner.key
    return Principal(
        key.account_id, owner.is_admin, key.id, key.project_id, key.scopes, key.calls_per_minute, key.is_session
    )


def _within(caller: Principal, scopes: frozenset[Ability]) -> None:
    """Nobody gets, by way of another key, what his own is not good for; a limit on calls is one of these things.

    Raises:
        PermissionDenied: He would.
    """
    if caller.calls_per_minute is not None:
        raise PermissionDenied(
            "permission denied: a key with a limit on calls cannot make or change keys, which would lift it; use "
            "another key"
        )
    if beyond := scopes - caller.scopes:
        raise PermissionDenied(
            f"permission denied: this key has the scopes {scopes_text(caller.scopes)}, and cannot make or change one "
            f"with {scopes_text(beyond)}; use another key"
        )


def _scopes(given: Sequence[str]) -> frozenset[Ability]:
    """Scopes that came from outside.

    Raises:
        InvalidArgument: None, or one that there is not.
    """
    known = ", ".join(Ability)
    if unknown := [word for word in given if word not in list(Ability)]:
        raise InvalidArgument(f"scope '{unknown[0][:50]}' is unknown; give some of {known}")
    if not given:
        raise InvalidArgument(f"a key without any scope is good for nothing; give some of {known}")
    return frozenset(Ability(word) for word in given)


def _name(given: str) -> str:
    """A name that came from outside.

    Raises:
        InvalidArgument: It is too long.
    """
    if len(given) > _MAX_NAME:
        raise InvalidArgument(f"name '{given[:30]}...' has {len(given)} characters; give at most {_MAX_NAME}")
    return given


def _limit(calls_per_minute: int | None) -> int | None:
    """A limit that came from outside; 0 is none.

    Raises:
        InvalidArgument: It is out of range.
    """
    if calls_per_minute is None or calls_per_minute == 0:
        return None
    if not 1 <= calls_per_minute <= _MAX_CALLS_PER_MINUTE:
        raise InvalidArgument(
            f"calls_per_minute is {calls_per_minute}; give a number from 1 to {_MAX_CALLS_PER_MINUTE}, or 0 for any"
        )
    return calls_per_minute


def _changes(name: str | None, expire: str | int | None) -> dict[str, Any]:
    """What an edit changes; an expiry of ``never`` takes it away."""
    changes: dict[str, Any] = {}
    if name is not None:
        changes["name"] = _name(name)
    if expire is not None:
        changes["expires_at"] = None if expire == _NEVER else parse_time(expire, "expire")
    return changes


def _shape(key: Key) -> shapes.ApiKey:
    shape: shapes.ApiKey = {
        "id": key.id,
        "account_id": key.account_id,
        "expire": to_iso(key.expires_at) if key.expires_at else None,
        "created": to_iso(key.created_at),
        "name": key.name,
        "trunc": key.trunc,
        "last_active": to_iso(key.last_active_at) if key.last_active_at else None,
        "scopes": [ability.value for ability in Ability if ability in key.scopes],
        "calls_per_minute": key.calls_per_minute,
    }
    if key.project_id is not None:
        shape["project_id"] = key.project_id
    return shape
