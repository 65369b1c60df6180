"""Other people: `account_profiles`, `collaborators`, `collaborators_one_project`.

Of others everybody sees the picture, and those who share a project with them the name: never an address.

Source: Wire contract 3.10.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final

from projecthub.hub.tables.accounts import PROFILE
from projecthub.hub.tables.declaring import (
    Asked,
    Field,
    Row,
    Scope,
    Table,
    a_project_id,
    absent,
    an_account_id,
    moment,
    plain,
)
from projecthub.hub.tables.rules import may_read
from projecthub.wire.ids import AccountId, ProjectId

if TYPE_CHECKING:
    from projecthub.store import Transaction

_PERSON: Final[Mapping[str, Field]] = {
    "account_id": plain("account_id"),
    "first_name": plain("first_name", default=""),
    "last_name": plain("last_name", default=""),
    "name": plain("name"),
    "last_active": moment("last_active_at"),
    "profile": PROFILE,
}


async def _profile(tx: Transaction, asked: Asked) -> Sequence[Row]:
    account_id = asked.caller.account_id if asked.scope is None else AccountId(asked.scope)
    return await tx.accounts.select(asked.selection, account_id=account_id, deleted=False)


async def _sharing(tx: Transaction, asked: Asked) -> Sequence[Row]:
    return await tx.accounts.select_sharing(asked.selection, asked.caller.account_id)


async def _of_project(tx: Transaction, asked: Asked) -> Sequence[Row]:
    project_id = ProjectId(asked.scope or "")
    await may_read(tx, asked.caller, project_id)
    return await tx.accounts.select_on_project(asked.selection, project_id)


ACCOUNT_PROFILES: Final = Table(
    name="account_profiles",
    fields={"account_id": _PERSON["account_id"], "profile": PROFILE},
    rows=_profile,
    scope=Scope(field="account_id", check=an_account_id, required=False),
    one_row=True,
    limit=1,
)
COLLABORATORS: Final = Table(name="collaborators", fields=_PERSON, rows=_sharing)
COLLABORATORS_ONE_PROJECT: Final = Table(
    name="collaborators_one_project",
    fields={**_PERSON, "project_id": absent()},  # told by the scope
    rows=_of_project,
    scope=Scope(field="project_id", check=a_project_id),
)
