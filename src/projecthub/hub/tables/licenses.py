"""`site_licenses`: all licenses, for site admins. They are made and changed by the methods of `licenses`.

Source: Wire contract 3.10, 7.3.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from projecthub.hub.tables.declaring import Asked, Row, Table, absent, mapping_of, moment, plain

if TYPE_CHECKING:
    from projecthub.store import Transaction

_ABSENT: Final = ("info", "last_used", "managers", "restricted", "upgrades", "apply_limit", "subscription_id")


async def _all(tx: Transaction, asked: Asked) -> Sequence[Row]:
    return await tx.licenses.select(asked.selection)


SITE_LICENSES: Final = Table(
    name="site_licenses",
    fields={
        "id": plain("id"),
        "title": plain("title", default=""),
        "description": plain("description", default=""),
        "quota": mapping_of("quota"),
        "run_limit": plain("run_limit", "number"),
        "created": moment("created_at"),
        "activates": moment("activates_at"),
        "expires": moment("expires_at"),
        **{name: absent() for name in _ABSENT},
    },
    rows=_all,
    admins_only=True,
)
