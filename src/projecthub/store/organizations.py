"""Organizations and who belongs to them: an account to one at most.

Names are kept as given and compared without regard to the case of ASCII letters, as those of accounts.

Source: Wire contract 5.4.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime
from typing import Any, Final

from sqlalchemy import bindparam, delete, func, select, true, update
from sqlalchemy.ext.asyncio import AsyncConnection

from projecthub.errors import Conflict
from projecthub.store.accounts import ascii_lower
from projecthub.store.expressions import upserting
from projecthub.store.records import Affiliation, Organization
from projecthub.store.selections import checked_changes
from projecthub.store.tables import accounts, counters, organization_members, organizations
from projecthub.wire.ids import AccountId

_FIXED: Final = ("organization_id", "name", "created_at")
_RECORD: Final = [organizations.c[name] for name in Organization.__dataclass_fields__]
_member: Final = organization_members.c
_HERE: Final = accounts.c.deleted_at.is_(None)

_LOCK_NAMES: Final = (
    upserting(counters)
    .values(name="names", value=1)
    .on_conflict_do_update(index_elements=["name"], set_={"value": counters.c.value + 1})
)
_INSERT: Final = upserting(organizations).on_conflict_do_nothing().returning(organizations.c.organization_id)
_GET: Final = select(*_RECORD).where(func.lower(organizations.c.name) == bindparam("name_"))
_ALL: Final = select(*_RECORD).order_by(func.lower(organizations.c.name))
_ADMINS: Final = (
    select(_member.organization_id, _member.account_id)
    .join_from(organization_members, accounts, accounts.c.account_id == _member.account_id)
    .where(_member.is_admin, _HERE)
    .order_by(_member.added_at, _member.account_id)
)
_ADMINS_OF: Final = _ADMINS.where(_member.organization_id == bindparam("of_organization"))
_AFFILIATION: Final = (
    select(organizations.c.organization_id, organizations.c.name, _member.is_admin)
    .join_from(organization_members, organizations, organizations.c.organization_id == _member.organization_id)
    .where(_member.account_id == bindparam("of_account"))
)
_MEMBERS: Final = (
    select(
        accounts.c.account_id,
        accounts.c.first_name,
        accounts.c.last_name,
        accounts.c.email_address,
        accounts.c.last_active_at,
    )
    .join_from(organization_members, accounts, accounts.c.account_id == _member.account_id)
    .where(_member.organization_id == bindparam("of_organization"), _HERE)
    .order_by(_member.account_id)
)
_new: Final = upserting(organization_members)
_elsewhere: Final = _member.organization_id != _new.excluded.organization_id
_JOIN: Final = _new.on_conflict_do_update(
    index_elements=["account_id"],
    set_={"organization_id": _new.excluded.organization_id, "added_at": _new.excluded.added_at},
    where=_elsewhere & ~_member.is_admin,
)
_APPOINT: Final = _new.on_conflict_do_update(
    index_elements=["account_id"], set_={"is_admin": true()}, where=~_elsewhere
).returning(_member.account_id)
_one: Final = (_member.account_id == bindparam("of_account")) & (
    _member.organization_id == bindparam("of_organization")
)
_DISMISS: Final = update(organization_members).where(_one).values(is_admin=False)
_REMOVE: Final = delete(organization_members).where(_one, ~_member.is_admin).returning(_member.account_id)
_LEAVE: Final = delete(organization_members).where(_member.account_id == bindparam("of_account"))


class Organizations:
    """The organizations, within a transaction."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def lock_names(self) -> None:
        """Have all names of accounts and organizations to oneself: what is free now is so until the transaction ends.

        Two tables share one space of names, which no index of a database can keep unique.
        """
        await self._connection.execute(_LOCK_NAMES)

    async def create(self, organization: Organization) -> None:
        """Add an organization without members.

        Raises:
            Conflict: Its id or name is taken by another organization.
        """
        if (await self._connection.execute(_INSERT, asdict(organization))).first() is None:
            raise Conflict(f"There is an organization with the name '{organization.name}' already; choose another")

    async def get(self, name: str) -> Organization | None:
        """An organization by its name."""
        row = (await self._connection.execute(_GET, {"name_": ascii_lower(name)})).first()
        return None if row is None else Organization(**row._mapping)

    async def all(self) -> list[Organization]:
        """Every organization, by name."""
        return [Organization(**row._mapping) for row in await self._connection.execute(_ALL)]

    async def update(self, organization_id: str, changes: Mapping[str, Any]) -> None:
        """Change columns of an organization, by their names.

        Raises:
            InvalidArgument: A column is unknown or never changes, or there are no changes.
        """
        values = checked_changes(organizations, changes, fixed=_FIXED)
        changed = update(organizations).where(organizations.c.organization_id == organization_id).values(values)
        await self._connection.execute(changed)

    async def admins(self, organization_id: str) -> list[AccountId]:
        """The admins of one organization, in order of joining."""
        rows = await self._connection.execute(_ADMINS_OF, {"of_organization": organization_id})
        return [account_id for _, account_id in rows]

    async def all_admins(self) -> dict[str, list[AccountId]]:
        """The admins of every organization that has any, by its id."""
        found: dict[str, list[AccountId]] = {}
        for organization_id, account_id in await self._connection.execute(_ADMINS):
            found.setdefault(organization_id, []).append(account_id)
        return found

    async def members(self, organization_id: str) -> list[dict[str, Any]]:
        """The members of an organization, admins included: names, e-mail address, id and last activity of each."""
        rows = await self._connection.execute(_MEMBERS, {"of_organization": organization_id})
        return [dict(row._mapping) for row in rows]

    async def of_account(self, account_id: AccountId) -> Affiliation | None:
        """To which organization an account belongs; None: to none."""
        row = (await self._connection.execute(_AFFILIATION, {"of_account": account_id})).first()
        return None if row is None else Affiliation(**row._mapping)

    async def join(self, organization_id: str, account_id: AccountId, *, at: datetime) -> None:
        """Make an account a member, out of another organization if it is in one; an admin stays where he is."""
        await self._connection.execute(_JOIN, _row(organization_id, account_id, at, is_admin=False))

    async def appoint(self, organization_id: str, account_id: AccountId, *, at: datetime) -> bool:
        """Make an account an admin, and so a member; tells whether it is: not if it is in another organization."""
        row = _row(organization_id, account_id, at, is_admin=True)
        return (await self._connection.execute(_APPOINT, row)).first() is not None

    async def dismiss(self, organization_id: str, account_id: AccountId) -> None:
        """Make an admin a mere member. Idempotent."""
        await self._connection.execute(_DISMISS, {"of_organization": organization_id, "of_account": account_id})

    async def remove(self, organization_id: str, account_id: AccountId) -> bool:
        """Take a member out of an organization; tells whether he is out: not if he is an admin, or was no member."""
        who = {"of_organization": organization_id, "of_account": account_id}
        return (await self._connection.execute(_REMOVE, who)).first() is not None

    async def leave(self, account_id: AccountId) -> None:
        """Take an account out of whatever organization it is in, as what it may be."""
        await self._connection.execute(_LEAVE, {"of_account": account_id})


def _row(organization_id: str, account_id: AccountId, at: datetime, *, is_admin: bool) -> dict[str, Any]:
    return {"account_id": account_id, "organization_id": organization_id, "is_admin": is_admin, "added_at": at}
