"""Where to look for accounts by parts of their names, so that a search reads few accounts, and not all.

From every position of every name (lower case, ``@`` before the user name) up to three characters are kept. A word of
three characters or more is in a name only if each three characters of it are; a shorter one, if some part begins with
it. Of all these parts the rarest is looked up. Where even that is common, the accounts that were seen last are looked
through instead: so common a word is soon found often enough.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from sqlalchemy import ColumnElement, and_, bindparam, delete, func, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from projecthub.store.tables import accounts, name_parts
from projecthub.wire.ids import AccountId

LENGTH: Final = 3
"""Characters of a part at most."""
COMMON: Final = 2000
"""Accounts with a part from which on it is cheaper to look through those that were seen last."""
_MAX_PARTS: Final = 8
"""Parts of one word's that are counted: among so many one is rare, if any is."""
_LAST: Final = "\U0010ffff"

_NAMES: Final = select(accounts.c.first_name, accounts.c.last_name, accounts.c.name).where(
    accounts.c.account_id == bindparam("of_account")
)
_FORGET: Final = delete(name_parts).where(name_parts.c.account_id == bindparam("of_account"))
_NOTE: Final = name_parts.insert()


def parts_of(first_name: str, last_name: str, name: str | None) -> set[str]:
    """What is kept of somebody's names."""
    names = (first_name.lower(), last_name.lower(), "" if name is None else f"@{name.lower()}")
    return {text[start : start + LENGTH] for text in names for start in range(len(text))}


async def note_names(connection: AsyncConnection, account_id: AccountId) -> None:
    """Keep the parts of an account's names as they are now."""
    row = (await connection.execute(_NAMES, {"of_account": account_id})).first()
    await connection.execute(_FORGET, {"of_account": account_id})
    if row is not None and (parts := parts_of(*row)):
        await connection.execute(_NOTE, [{"part": part, "account_id": account_id} for part in sorted(parts)])


async def rarest(connection: AsyncConnection, terms: Iterable[Sequence[str]]) -> ColumnElement[bool] | None:
    """Which parts to look up for the accounts that have all words of one of the terms in their names.

    Args:
        connection: Where to ask.
        terms: Of each, the words; none of them empty.

    Returns:
        A condition on `name_parts`; None: they are so common that it is of no use.
    """
    chosen = []
    for words in terms:
        # The longest word is likely to be the rarest.
        word = max(words, key=len).lower()
        lookups = [name_parts.c.part == part for part in _spread(word)] or [_begins_with(word)]
        counts = (
            await connection.execute(select(*(_count(lookup).label(f"n{n}") for n, lookup in enumerate(lookups))))
        ).one()
        least = min(range(len(lookups)), key=lambda n: counts[n])
        if counts[least] >= COMMON:
            return None
        chosen.append(lookups[least])
    return or_(*chosen)


def _spread(word: str) -> list[str]:
    """The parts of a word, or as many of them as are looked at, from all over it; none of a short word."""
    parts = list(dict.fromkeys(word[start : start + LENGTH] for start in range(len(word) - LENGTH + 1)))
    step = -(-len(parts) // _MAX_PARTS) or 1
    return parts[::step]


def _begins_with(word: str) -> ColumnElement[bool]:
    return and_(name_parts.c.part >= word, name_parts.c.part < word + _LAST)


def _count(lookup: ColumnElement[bool]) -> ColumnElement[int]:
    found = select(name_parts.c.part).where(lookup).limit(COMMON).subquery()
    return select(func.count()).select_from(found).scalar_subquery()
