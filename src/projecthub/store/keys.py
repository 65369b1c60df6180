"""API keys. A key's secret is never here, only its SHA-256.

Source: Wire contract 1.3.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from sqlalchemy import bindparam, delete, func, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from projecthub.store.records import Key, KeyOwner, Role
from projecthub.store.selections import checked_changes
from projecthub.store.tables import accounts, api_keys, memberships
from projecthub.wire.ids import AccountId, ProjectId
from projecthub.wire.methods import ALL_ABILITIES, Ability

_FIXED: Final = ("id", "account_id", "project_id", "hash", "trunc", "created_at", "is_session")
_FIELDS: Final = tuple(Key.__dataclass_fields__)
_RECORD: Final = [api_keys.c[name] for name in _FIELDS]

_FIND: Final = (
    select(*_RECORD, accounts.c.is_admin, accounts.c.banned, accounts.c.deleted_at, memberships.c.role)
    .join_from(api_keys, accounts, accounts.c.account_id == api_keys.c.account_id)
    .outerjoin(
        memberships,
        (memberships.c.project_id == api_keys.c.project_id) & (memberships.c.account_id == api_keys.c.account_id),
    )
    .where(api_keys.c.hash == bindparam("hash_"))
)
_INSERT: Final = api_keys.insert().returning(api_keys.c.id)
_SET_SECRET: Final = (
    update(api_keys)
    .where(api_keys.c.id == bindparam("of_key"))
    .values(hash=bindparam("new_hash"), trunc=bindparam("new_trunc"))
)
_GET: Final = select(*_RECORD).where(api_keys.c.id == bindparam("of_key"))
_OF_ACCOUNT: Final = (
    select(*_RECORD)
    .where(api_keys.c.account_id == bindparam("of_account"), api_keys.c.project_id.is_(None), ~api_keys.c.is_session)
    .order_by(api_keys.c.id)
)
_OF_PROJECT: Final = select(*_RECORD).where(api_keys.c.project_id == bindparam("of_project")).order_by(api_keys.c.id)
_COUNT: Final = (
    select(func.count())
    .select_from(api_keys)
    .where(api_keys.c.account_id == bindparam("of_account"), ~api_keys.c.is_session)
)
_SESSIONS: Final = (
    select(api_keys.c.id, api_keys.c.expires_at)
    .where(api_keys.c.account_id == bindparam("of_account"), api_keys.c.is_session)
    .order_by(api_keys.c.id)
)
_DELETE_ALL: Final = delete(api_keys).where(api_keys.c.account_id == bindparam("of_account"))
_DELETE: Final = delete(api_keys).where(api_keys.c.id == bindparam("of_key"))
_MARK_USED: Final = update(api_keys).where(api_keys.c.id == bindparam("of_key")).values(last_active_at=bindparam("at"))


class Keys:
    """The API keys, within a transaction."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def create(
        self,
        *,
        account_id: AccountId,
        project_id: ProjectId | None,
        name: str,
        expires_at: datetime | None,
        created_at: datetime,
        scopes: Collection[Ability] = ALL_ABILITIES,
        calls_per_minute: int | None = None,
        is_session: bool = False,
    ) -> int:
        """Add a key that matches nothing until `set_secret`. The arguments are fields of `Key`.

        Returns:
            Its number, never used again.
        """
        row = {
            "account_id": account_id,
            "project_id": project_id,
            "name": name,
            "expires_at": expires_at,
            "created_at": created_at,
            "scopes": _stored_scopes(scopes),
            "calls_per_minute": calls_per_minute,
            "is_session": is_session,
        }
        return int((await self._connection.execute(_INSERT, row)).scalar_one())

    async def set_secret(self, id: int, *, hash: str, trunc: str) -> None:
        """Give a key its secret.

        Args:
            id: The key's number.
            hash: SHA-256 of the whole key in hex; unique.
            trunc: What is shown of the key.
        """
        await self._connection.execute(_SET_SECRET, {"of_key": id, "new_hash": hash, "new_trunc": trunc})

    async def find(self, hash: str) -> KeyOwner | None:
        """The key with this hash, expired ones included, and what its account may be now."""
        row = (await self._connection.execute(_FIND, {"hash_": hash})).first()
        if row is None:
            return None
        is_admin, banned, deleted_at, role = row[-4:]
        return KeyOwner(
            key=_key(row),
            is_admin=is_admin,
            enabled=not banned and deleted_at is None,
            role=None if role is None else Role(role),
        )

    async def get(self, id: int) -> Key | None:
        """A key by its number."""
        row = (await self._connection.execute(_GET, {"of_key": id})).first()
        return None if row is None else _key(row)

    async def of_account(self, account_id: AccountId) -> list[Key]:
        """An account's own keys, by number; not its project keys, and not its sessions."""
        return [_key(row) for row in await self._connection.execute(_OF_ACCOUNT, {"of_account": account_id})]

    async def of_project(self, project_id: ProjectId) -> list[Key]:
        """A project's keys, by number, whoever made them."""
        return [_key(row) for row in await self._connection.execute(_OF_PROJECT, {"of_project": project_id})]

    async def count(self, account_id: AccountId) -> int:
        """How many keys of both kinds an account has made; its sessions do not count."""
        return int((await self._connection.execute(_COUNT, {"of_account": account_id})).scalar_one())

    async def edit(self, id: int, *, changes: Mapping[str, Any]) -> bool:
        """Change a key's ``name``, ``expires_at``, ``scopes``, ``calls_per_minute`` or ``last_active_at``.

        Returns:
            Whether there is such a key.

        Raises:
            InvalidArgument: Another column, or no changes.
        """
        values = checked_changes(api_keys, changes, fixed=_FIXED)
        if "scopes" in values:
            values["scopes"] = _stored_scopes(values["scopes"])
        return (await self._connection.execute(update(api_keys).where(api_keys.c.id == id).values(values))).rowcount > 0

    async def delete(self, id: int) -> bool:
        """Delete a key.

        Returns:
            Whether there was one.
        """
        return (await self._connection.execute(_DELETE, {"of_key": id})).rowcount > 0

    async def sessions(self, account_id: AccountId) -> dict[int, datetime]:
        """The sessions of an account by number, oldest first, each with its end; those that are over too."""
        rows = await self._connection.execute(_SESSIONS, {"of_account": account_id})
        return {id: expires_at for id, expires_at in rows}  # noqa: C416 - a row is not known to be a pair

    async def delete_sessions(self, account_id: AccountId, *, besides: int | None = None) -> None:
        """End the sessions of an account, but for the one of this number."""
        sessions = api_keys.c.is_session & (api_keys.c.account_id == account_id)
        await self._connection.execute(delete(api_keys).where(sessions, api_keys.c.id != (besides or 0)))

    async def delete_all_of(self, account_id: AccountId) -> int:
        """Delete the keys of an account, of both kinds, and its sessions.

        Returns:
            How many there were.
        """
        return (await self._connection.execute(_DELETE_ALL, {"of_account": account_id})).rowcount

    async def mark_used(self, used: Mapping[int, datetime]) -> None:
        """Note when keys, given by number, were last used. Those that are gone are passed over."""
        if used:
            await self._connection.execute(_MARK_USED, [{"of_key": id, "at": at} for id, at in sorted(used.items())])


def _key(row: Sequence[Any]) -> Key:
    values = dict(zip(_FIELDS, row, strict=False))  # facts of the account may follow
    scopes = values.pop("scopes")
    return Key(**values, scopes=ALL_ABILITIES if scopes is None else frozenset(map(Ability, scopes)))


def _stored_scopes(scopes: Collection[Ability]) -> list[str] | None:
    """All abilities are stored as null, so that they hold one that is thought of later."""
    return None if frozenset(scopes) >= ALL_ABILITIES else sorted(scopes)
