"""Licenses.

Source: Wire contract 7.3.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from sqlalchemy import bindparam, select
from sqlalchemy.ext.asyncio import AsyncConnection

from projecthub.errors import Conflict
from projecthub.store.expressions import upserting
from projecthub.store.selections import in_chunks
from projecthub.store.tables import licenses

_EXISTING: Final = select(licenses.c.id).where(licenses.c.id.in_(bindparam("ids", expanding=True)))
_INSERT: Final = upserting(licenses).on_conflict_do_nothing(index_elements=["id"]).returning(licenses.c.id)


class Licenses:
    """The licenses, within a transaction."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def existing(self, ids: Sequence[str]) -> set[str]:
        """Those of the ids that belong to licenses, whether in force or not."""
        found: set[str] = set()
        for chunk in in_chunks(ids):
            found.update((await self._connection.execute(_EXISTING, {"ids": chunk})).scalars())
        return found

    async def create(
        self,
        *,
        id: str,
        title: str,
        quota: Mapping[str, Any],
        run_limit: int | None = None,
        activates_at: datetime | None = None,
        expires_at: datetime | None = None,
        created_at: datetime,
    ) -> None:
        """Add a license.

        Args:
            id: A lower-case uuid.
            title: For people.
            quota: What it grants.
            run_limit: Projects at most that may run with it at a time.
            activates_at: Since when it is in force; None: at once.
            expires_at: Until when.
            created_at: Now.

        Raises:
            Conflict: There is a license with that id already.
        """
        row = {
            "id": id,
            "title": title,
            "quota": quota,
            "run_limit": run_limit,
            "activates_at": activates_at,
            "expires_at": expires_at,
            "created_at": created_at,
        }
        if (await self._connection.execute(_INSERT, row)).first() is None:
            raise Conflict(f"There is a license with id '{id}' already; choose another id", id=id)
