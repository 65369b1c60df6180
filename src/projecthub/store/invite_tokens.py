"""Tokens that let their holders onto projects.

Source: Wire contract 2.4, 3.10.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any, Final

from sqlalchemy import bindparam, delete, func, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from projecthub.store.expressions import upserting
from projecthub.store.records import InviteToken, Role, Selection
from projecthub.store.selections import checked_changes, checked_limit, clauses_of, column_of, in_chunks, order_of
from projecthub.store.tables import project_invite_tokens as tokens
from projecthub.wire.ids import ProjectId

MAX_INVITATIONS: Final = 1000
"""Invitations of one address that are found at once."""

_FIXED: Final = ("token", "project_id", "account_id", "email_address", "created_at", "counter")
_RECORD: Final = [tokens.c[name] for name in InviteToken.__dataclass_fields__]
_NOT_USED_UP: Final = or_(tokens.c.usage_limit.is_(None), tokens.c.counter < tokens.c.usage_limit)
_INSERT: Final = upserting(tokens).on_conflict_do_nothing().returning(tokens.c.token)
_LOCKED: Final = (
    select(*_RECORD)
    .where(tokens.c.token.in_(bindparam("tokens", expanding=True)))
    .order_by(tokens.c.token)  # in one order everywhere, so that two who lock several never wait for each other
    .with_for_update()
)
_USE: Final = (
    update(tokens).where(tokens.c.token == bindparam("of_token"), _NOT_USED_UP).values(counter=tokens.c.counter + 1)
)
_COUNT: Final = select(func.count()).select_from(tokens).where(tokens.c.project_id == bindparam("of_project"))
_ADDRESSED_TO: Final = (
    select(*_RECORD)
    .where(
        tokens.c.email_address == bindparam("email"),
        or_(tokens.c.expires_at.is_(None), tokens.c.expires_at > bindparam("now")),
        _NOT_USED_UP,
    )
    .order_by(tokens.c.token)
    .limit(MAX_INVITATIONS)
    .with_for_update()
)
_DELETE: Final = delete(tokens).where(
    tokens.c.token == bindparam("of_token"), tokens.c.project_id == bindparam("of_project")
)
_PRUNE: Final = delete(tokens).where(tokens.c.expires_at < bindparam("before"))


class InviteTokens:
    """The tokens, within a transaction."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def create(self, token: InviteToken) -> bool:
        """Add a token.

        Returns:
            Whether it was not there before; one that is stays as it is.
        """
        return (await self._connection.execute(_INSERT, asdict(token))).first() is not None

    async def locked(self, wanted: Sequence[str]) -> dict[str, InviteToken]:
        """Those tokens that there are. Nobody else uses or changes them until this transaction ends."""
        found = {}
        for chunk in in_chunks(sorted(wanted)):
            rows = await self._connection.execute(_LOCKED, {"tokens": chunk})
            found.update({row.token: _token(row._mapping) for row in rows})
        return found

    async def addressed_to(
        self, email: str, *, now: datetime, project_id: ProjectId | None = None
    ) -> list[InviteToken]:
        """The invitations of an address that are open, locked as in `locked`.

        Args:
            email: The address, in lower case.
            now: Those that have expired by then are not open.
            project_id: Only to this project.
        """
        statement = _ADDRESSED_TO if project_id is None else _ADDRESSED_TO.where(tokens.c.project_id == project_id)
        rows = await self._connection.execute(statement, {"email": email, "now": now})
        return [_token(row._mapping) for row in rows]

    async def use(self, token: str) -> bool:
        """Count one more person.

        Returns:
            Whether the token was not used up before.
        """
        return (await self._connection.execute(_USE, {"of_token": token})).rowcount > 0

    async def update(self, token: str, changes: Mapping[str, Any]) -> None:
        """Change ``expires_at``, ``usage_limit`` or ``role`` of a token.

        Raises:
            InvalidArgument: Another column, or no changes.
        """
        values = checked_changes(tokens, changes, fixed=_FIXED)
        await self._connection.execute(update(tokens).where(tokens.c.token == token).values(values))

    async def delete(self, token: str, project_id: ProjectId) -> bool:
        """Take a token of a project away.

        Returns:
            Whether it was there.
        """
        gone = await self._connection.execute(_DELETE, {"of_token": token, "of_project": project_id})
        return gone.rowcount > 0

    async def count(self, project_id: ProjectId) -> int:
        """How many tokens a project has, whatever their state."""
        return int((await self._connection.execute(_COUNT, {"of_project": project_id})).scalar_one())

    async def select(self, selection: Selection, *, project_id: ProjectId) -> list[dict[str, Any]]:
        """Rows of a project's tokens, each from column name to value.

        Raises:
            InvalidArgument: See `selections`.
        """
        names = tuple(dict.fromkeys(selection.columns))
        statement = (
            select(*(column_of(tokens, name) for name in names))
            .select_from(tokens)
            .where(tokens.c.project_id == project_id, *clauses_of(tokens, selection.conditions))
            .order_by(*order_of(tokens, selection.order_by))
            .limit(checked_limit(selection.limit))
        )
        return [dict(zip(names, row, strict=True)) for row in await self._connection.execute(statement)]

    async def prune(self, before: datetime) -> None:
        """Forget the tokens that expired before then."""
        await self._connection.execute(_PRUNE, {"before": before})


def _token(row: Mapping[Any, Any]) -> InviteToken:
    return InviteToken(**{**row, "role": Role(row["role"])})
