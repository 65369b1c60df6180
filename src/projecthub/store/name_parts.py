"""Where to look for accounts by parts of their names, so that a search reads few accounts, and not all.

From every position of every name (lower case, ``@`` before the user name) up to three characters are kept. A word of
three characters or more is in a name only if each three characters of it are; a shorter one, if some part begins with
it. Of all these parts the rarest is looked up. Where even that is common, the accounts that were seen last are looked
through before: a common word is soon found often enough.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final, TypeAlias

from sqlalchemy import ColumnElement, FromClause, Select, and_, bindparam, delete, exists, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from projecthub.store.tables import accounts, name_parts
from projecthub.wire.ids import AccountId

LENGTH: Final = 3
"""Characters of a part at most."""
COMMON: Final = 2000
"""Accounts from which on a part is common."""
RECENT: Final = 5000
"""Accounts, those that were seen last, that are looked through before a common part is looked up."""
SAMPLED: Final = 500
"""Of these, those that tell whether that is worth while."""
_MAX_WORDS: Final = 3
"""Words of a term whose parts are counted."""
_MAX_PARTS: Final = 8
"""Parts of the longest word's that are counted: among so many one is rare, if any is."""
_PROBES: Final = 2
"""Parts beside the rarest that an account must have before its names are looked at, and of another word's."""
_LAST: Final = "\U0010ffff"

_Test: TypeAlias = Callable[[FromClause], ColumnElement[bool]]

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


async def candidates(connection: AsyncConnection, words: Sequence[str]) -> tuple[Select[Any], bool]:
    """How to find the accounts that may have all these words in their names.

    Args:
        connection: Where to ask.
        words: None of them empty.

    Returns:
        A query for ids of accounts, among them all that have the words; and whether they are few.
    """
    # The longest words are likely to have the rarest parts.
    first, *others = sorted(map(str.lower, words), key=len, reverse=True)[:_MAX_WORDS]
    tests = [*_tests(first, _MAX_PARTS), *(test for word in others for test in _tests(word, _PROBES))]
    counts = (await connection.execute(select(*(_count(test(name_parts)) for test in tests)))).one()
    rarest, *rest = [tests[n] for n in sorted(range(len(tests)), key=lambda n: counts[n])]
    found = select(name_parts.c.account_id).distinct().where(rarest(name_parts))
    for test in rest[:_PROBES]:
        probed = name_parts.alias()
        found = found.where(exists().where(test(probed), probed.c.account_id == name_parts.c.account_id))
    return found, min(counts) < COMMON


def _tests(word: str, most: int) -> list[_Test]:
    """What rows of parts an account must have to have a word in its names."""
    parts = _spread(word, most)
    if not parts:
        return [lambda table: and_(table.c.part >= word, table.c.part < word + _LAST)]
    return [lambda table, part=part: table.c.part == part for part in parts]  # type: ignore[misc]


def _spread(word: str, most: int) -> list[str]:
    """The parts of a word, or as many of them as are looked at, from all over it; none of a short word."""
    parts = list(dict.fromkeys(word[start : start + LENGTH] for start in range(len(word) - LENGTH + 1)))
    step = -(-len(parts) // most) or 1
    return parts[::step]


def _count(lookup: ColumnElement[bool]) -> ColumnElement[int]:
    found = select(name_parts.c.part).where(lookup).limit(COMMON).subquery()
    return select(func.count()).select_from(found).scalar_subquery()
