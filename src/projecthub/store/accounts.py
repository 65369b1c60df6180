"""Accounts.

E-mail addresses and names are kept as given and compared without regard to the case of ASCII letters.

Source: Wire contract 5.1.
"""

from __future__ import annotations

import string
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any, Final, TypeAlias

from sqlalchemy import ColumnElement, FromClause, Row, and_, bindparam, func, or_, select, true, union, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from projecthub.errors import Conflict, InvalidArgument, NotFound
from projecthub.store.expressions import Following, UnicodeLower, upserting
from projecthub.store.name_parts import LENGTH, RECENT, SAMPLED, candidates, note_names
from projecthub.store.records import Account, Selection
from projecthub.store.selections import checked_changes, in_chunks, rows_of
from projecthub.store.tables import SEEN_AT, accounts, memberships
from projecthub.wire.ids import AccountId, ProjectId

MAX_WORDS: Final = 100
"""Words in all terms of one search."""
MAX_EMAILS: Final = 1000

_Found: TypeAlias = list[Account]  # within the class below, `list` is a method

_Rows: TypeAlias = list[dict[str, Any]]

_FIXED: Final = ("account_id", "created_at")
_FIELDS: Final = tuple(Account.__dataclass_fields__)
_RECORD: Final = [accounts.c[name] for name in _FIELDS]
_ASCII_LOWER: Final = str.maketrans(string.ascii_uppercase, string.ascii_lowercase)

_lower_email: Final = func.lower(accounts.c.email_address)
_lower_name: Final = func.lower(accounts.c.name)
_others: Final = memberships.alias("others")
_NAMES: Final = frozenset({"first_name", "last_name", "name"})
_HERE: Final = accounts.c.deleted_at.is_(None)

_INSERT: Final = upserting(accounts).on_conflict_do_nothing().returning(accounts.c.account_id)
_GET: Final = select(*_RECORD).where(accounts.c.account_id == bindparam("of_account"))
_BY_EMAIL: Final = select(*_RECORD).where(_lower_email == bindparam("email"), _HERE)
_BY_NAME: Final = select(*_RECORD).where(_lower_name == bindparam("name_"))
_GET_MANY: Final = select(*_RECORD).where(accounts.c.account_id.in_(bindparam("ids", expanding=True)))
_EXISTING: Final = select(accounts.c.account_id).where(
    accounts.c.account_id.in_(bindparam("ids", expanding=True)), _HERE
)
_DISABLED: Final = _EXISTING.where(accounts.c.banned)
_ANY_ADMIN: Final = (
    select(*_RECORD).where(accounts.c.is_admin, _HERE).order_by(accounts.c.created_at, accounts.c.account_id).limit(1)
)
_ADMINS: Final = (
    select(accounts.c.account_id, accounts.c.banned)
    .where(accounts.c.is_admin, _HERE)
    .order_by(accounts.c.created_at, accounts.c.account_id)
    .with_for_update()
)
_LOCK: Final = _EXISTING.order_by(accounts.c.account_id).with_for_update()
_BY_EMAILS: Final = select(*_RECORD).where(_lower_email.in_(bindparam("emails", expanding=True)), _HERE)
_PASSWORD_HASH: Final = select(accounts.c.password_hash).where(accounts.c.account_id == bindparam("of_account"), _HERE)
_MARK_ACTIVE: Final = (
    update(accounts).where(accounts.c.account_id == bindparam("of_account")).values(last_active_at=bindparam("at"))
)
_SURELY: Final = 2
"""So many times as many as are wanted have to be expected, for a look that may be in vain."""
_SEEN_SINCE: Final = select(SEEN_AT).order_by(SEEN_AT.desc()).offset(bindparam("count")).limit(1)


class Accounts:
    """The accounts, within a transaction."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def create(self, account: Account) -> None:
        """Add an account, without a password.

        Raises:
            Conflict: Its id, e-mail address or name is taken.
        """
        if (await self._connection.execute(_INSERT, asdict(account))).first() is not None:
            await note_names(self._connection, account.account_id)
            return
        if account.email_address is not None and await self.by_email(account.email_address) is not None:
            raise Conflict(
                f"There is an account with the e-mail address '{account.email_address}' already; choose another"
            )
        if account.name is not None and await self.by_name(account.name) is not None:
            raise Conflict(f"There is an account with the name '{account.name}' already; choose another")
        raise Conflict(f"There is an account with id '{account.account_id}' already; choose another id")

    async def get(self, account_id: AccountId, *, lock: bool = False) -> Account | None:
        """An account by its id, deleted ones included; ``lock`` as in `Projects.get`."""
        statement = _GET.with_for_update() if lock else _GET
        return _account((await self._connection.execute(statement, {"of_account": account_id})).first())

    async def by_email(self, email: str) -> Account | None:
        """The account with an e-mail address, unless it is deleted."""
        return _account((await self._connection.execute(_BY_EMAIL, {"email": ascii_lower(email)})).first())

    async def by_name(self, name: str) -> Account | None:
        """The account with a name, deleted ones included."""
        return _account((await self._connection.execute(_BY_NAME, {"name_": ascii_lower(name)})).first())

    async def by_emails(self, emails: Sequence[str]) -> dict[str, Account]:
        """The accounts with these e-mail addresses, by address in lower case; those without one are left out."""
        found: dict[str, Account] = {}
        for chunk in in_chunks([ascii_lower(email) for email in emails]):
            for row in await self._connection.execute(_BY_EMAILS, {"emails": chunk}):
                account = Account(**row._mapping)
                found[ascii_lower(account.email_address or "")] = account
        return found

    async def get_many(self, ids: Sequence[AccountId]) -> _Found:
        """Those accounts that there are, deleted ones included, in no given order."""
        found: _Found = []
        for chunk in in_chunks(ids):
            rows = await self._connection.execute(_GET_MANY, {"ids": chunk})
            found.extend(Account(**row._mapping) for row in rows)
        return found

    async def existing(self, ids: Sequence[AccountId]) -> set[AccountId]:
        """Those of the ids that belong to accounts which are not deleted."""
        found: set[AccountId] = set()
        for chunk in in_chunks(ids):
            found.update((await self._connection.execute(_EXISTING, {"ids": chunk})).scalars())
        return found

    async def disabled(self, ids: Sequence[AccountId]) -> set[AccountId]:
        """Those of the ids that belong to accounts which are disabled, and not deleted."""
        found: set[AccountId] = set()
        for chunk in in_chunks(ids):
            found.update((await self._connection.execute(_DISABLED, {"ids": chunk})).scalars())
        return found

    async def list(self, *, limit: int, after: AccountId | None = None, query: str | None = None) -> _Found:
        """A page of accounts, newest first, deleted ones included.

        Args:
            limit: Accounts at most.
            after: The last account of the page before.
            query: Only those with this part in their names or e-mail address.

        Raises:
            NotFound: There is no account ``after``.
        """
        statement = select(*_RECORD).order_by(accounts.c.created_at.desc(), accounts.c.account_id).limit(limit)
        if after is not None:
            last = await self.get(after)
            if last is None:
                raise NotFound(f"no account with id '{after}' to list after; start again without it", account_id=after)
            older = accounts.c.created_at < last.created_at
            beside = (accounts.c.created_at == last.created_at) & (accounts.c.account_id > after)
            statement = statement.where(older | beside)
        if query:
            statement = statement.where(or_(_has(query), _contains(accounts.c.email_address, query)))
        return [Account(**row._mapping) for row in await self._connection.execute(statement)]

    async def select(self, selection: Selection, *, account_id: AccountId, deleted: bool = True) -> _Rows:
        """The row of an account, from column name to value, if it fulfils the selection's conditions.

        Args:
            selection: Columns, conditions, order and limit.
            account_id: Which account.
            deleted: Whether to give it also when it is deleted.

        Raises:
            InvalidArgument: See `selections`.
        """
        where = (accounts.c.account_id == account_id, *([] if deleted else [_HERE]))
        return await rows_of(self._connection, accounts, selection, *where)

    async def select_on_project(self, selection: Selection, project_id: ProjectId) -> _Rows:
        """Rows of the accounts that are on a project.

        Raises:
            InvalidArgument: See `selections`.
        """
        source = Following(memberships, accounts, accounts.c.account_id == memberships.c.account_id)
        where = (memberships.c.project_id == project_id, _HERE)
        return await rows_of(self._connection, accounts, selection, *where, source=source)

    async def select_sharing(self, selection: Selection, account_id: AccountId) -> _Rows:
        """Rows of the accounts that are on a project with this one, which is among them if it is on any.

        Raises:
            InvalidArgument: See `selections`.
        """
        people = (
            select(_others.c.account_id)
            .distinct()
            .select_from(Following(memberships, _others, _others.c.project_id == memberships.c.project_id))
            .where(memberships.c.account_id == account_id)
            .subquery("people")
        )
        source = Following(people, accounts, accounts.c.account_id == people.c.account_id)
        return await rows_of(self._connection, accounts, selection, _HERE, source=source)

    async def search(
        self, terms: Sequence[Sequence[str]], emails: Sequence[str], *, limit: int, include_unlisted: bool
    ) -> _Found:
        """Find accounts that are not deleted; who was seen last comes first.

        Args:
            terms: An account is found if it matches one of them: if every word of it is part of the first name, the
                last name or ``@`` with the name.
            emails: An account is also found by its whole e-mail address.
            limit: Accounts at most.
            include_unlisted: Whether to find those too who do not want to be found.

        Raises:
            InvalidArgument: Too many words or addresses.

        Source: Wire contract 5.1, userSearch.
        """
        if sum(map(len, terms)) > MAX_WORDS or len(emails) > MAX_EMAILS:
            raise InvalidArgument(f"Search for at most {MAX_WORDS} words and {MAX_EMAILS} e-mail addresses at a time")
        wanted = [words for term in terms if (words := [word for word in term if word])]
        found: dict[str, Account] = {}
        if emails:
            addresses = [ascii_lower(email) for email in emails]
            found = await self._found(_lower_email.in_(addresses), limit, include_unlisted)
        if wanted:
            found |= await self._named(wanted, limit, include_unlisted)
        return sorted(found.values(), key=_seen, reverse=True)[:limit]

    async def _named(self, terms: Sequence[Sequence[str]], limit: int, include_unlisted: bool) -> dict[str, Account]:
        """Of the accounts with all words of a term in their names those that were seen last."""
        way = or_(*(and_(*map(_has, words)) for words in terms))
        lookups = [await candidates(self._connection, words) for words in terms]
        if not all(few for _, few in lookups):
            may_be_rare = all(len(words) > 1 and len(max(words, key=len)) >= LENGTH for words in terms)
            found, is_all = await self._among_recent(way, limit, include_unlisted, may_be_rare=may_be_rare)
            if is_all or len(found) == limit:
                return found
        few = union(*(lookup for lookup, _ in lookups)).subquery("few")
        source = Following(few, accounts, accounts.c.account_id == few.c.account_id)
        return await self._found(way, limit, include_unlisted, source)

    async def _among_recent(
        self, way: ColumnElement[bool], limit: int, include_unlisted: bool, *, may_be_rare: bool
    ) -> tuple[dict[str, Account], bool]:
        """Those found among the accounts that were seen last, and whether these are all that there are.

        Words that are common each ``may_be_rare`` together: where few are found at first it is given up.
        """
        found: dict[str, Account] = {}
        for count in (SAMPLED, RECENT) if may_be_rare else (RECENT,):
            since = (await self._connection.execute(_SEEN_SINCE, {"count": count})).scalar()
            recent = true() if since is None else since <= SEEN_AT
            found = await self._found(and_(way, recent), limit, include_unlisted)
            if since is None or len(found) == limit:
                return found, since is None
            if len(found) * RECENT < _SURELY * limit * count:
                break
        return found, False

    async def _found(
        self, way: ColumnElement[bool], limit: int, include_unlisted: bool, source: FromClause = accounts
    ) -> dict[str, Account]:
        """Accounts that a search may find, by their ids: those that were seen last."""
        statement = select(*_RECORD).select_from(source).where(_HERE, way)
        if not include_unlisted:
            statement = statement.where(~accounts.c.unlisted)
        statement = statement.order_by(SEEN_AT.desc(), accounts.c.account_id.desc()).limit(limit)
        return {row.account_id: Account(**row._mapping) for row in await self._connection.execute(statement)}

    async def update(self, account_id: AccountId, changes: Mapping[str, Any]) -> None:
        """Change columns of an account, by their names; ``password_hash`` is one of them.

        Raises:
            NotFound: There is no such account.
            Conflict: The new e-mail address or name is taken. The transaction is lost.
            InvalidArgument: A column is unknown or never changes, or there are no changes.
        """
        values = checked_changes(accounts, changes, fixed=_FIXED)
        try:
            done = await self._connection.execute(
                update(accounts).where(accounts.c.account_id == account_id).values(values)
            )
        except IntegrityError as error:
            taken = [str(values[name]) for name in ("email_address", "name") if values.get(name)]
            raise Conflict(
                f"'{' or '.join(taken) or account_id}' is taken by another account; choose another"
            ) from error
        if done.rowcount == 0:
            raise NotFound(f"no account with id '{account_id}'", account_id=account_id)
        if not _NAMES.isdisjoint(values):
            await note_names(self._connection, account_id)

    async def password_hash(self, account_id: AccountId) -> str | None:
        """The hash of an account's password; None if it has none, or is deleted."""
        found: str | None = (await self._connection.execute(_PASSWORD_HASH, {"of_account": account_id})).scalar()
        return found

    async def any_admin(self) -> Account | None:
        """The oldest admin who is not deleted."""
        return _account((await self._connection.execute(_ANY_ADMIN)).first())

    async def lock(self, ids: Sequence[AccountId]) -> set[AccountId]:
        """Those of some accounts that are not deleted; nobody else can change them until the transaction ends."""
        return set((await self._connection.execute(_LOCK, {"ids": list(ids)})).scalars())

    async def enabled_admins(self) -> set[AccountId]:
        """The site admins who can sign in; nobody else can change any of them until the transaction ends."""
        return {account_id for account_id, banned in await self._connection.execute(_ADMINS) if not banned}

    async def mark_active(self, seen: Mapping[AccountId, datetime]) -> None:
        """Note when accounts were last seen. Those that are gone are passed over."""
        if seen:
            rows = [{"of_account": account_id, "at": at} for account_id, at in sorted(seen.items())]
            await self._connection.execute(_MARK_ACTIVE, rows)


def ascii_lower(text: str) -> str:
    """A text with A to Z in lower case: what ``lower`` makes of a column of keys in every database."""
    return text.translate(_ASCII_LOWER)


def _seen(account: Account) -> tuple[datetime, str]:
    """As `SEEN_AT` orders accounts."""
    return account.last_active_at or account.created_at, account.account_id


def _account(row: Row[Any] | None) -> Account | None:
    return None if row is None else Account(**row._mapping)


def _has(word: str) -> ColumnElement[bool]:
    """Whether a word is part of the names of an account."""
    return or_(
        _contains(accounts.c.first_name, word),
        _contains(accounts.c.last_name, word),
        _contains("@" + accounts.c.name, word),
    )


def _contains(column: ColumnElement[Any], part: str) -> ColumnElement[bool]:
    return UnicodeLower(column).contains(part.lower(), autoescape=True)
