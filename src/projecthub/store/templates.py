"""Projects that new ones can begin as.

Source: docs/wire-extensions.md.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final

from sqlalchemy import bindparam, delete, select, true
from sqlalchemy.ext.asyncio import AsyncConnection

from projecthub.store.expressions import Following, upserting
from projecthub.store.records import Template
from projecthub.store.tables import memberships, projects, templates
from projecthub.wire.ids import AccountId, ProjectId

_TOLD: Final = (projects.c.project_id, projects.c.title, projects.c.description, templates.c.everybody)
_of_project: Final = projects.c.project_id == templates.c.project_id
_GET: Final = select(templates.c.everybody).where(templates.c.project_id == bindparam("of_project"))
_DELETE: Final = delete(templates).where(templates.c.project_id == bindparam("of_project"))
_PUBLIC: Final = (
    select(*_TOLD)
    .select_from(Following(templates, projects, _of_project))
    .where(templates.c.everybody, projects.c.deleted.is_not(true()))
)
_MINE: Final = (
    select(*_TOLD)
    .select_from(
        Following(
            Following(memberships, templates, memberships.c.project_id == templates.c.project_id), projects, _of_project
        )
    )
    .where(memberships.c.account_id == bindparam("of_account"), projects.c.deleted.is_not(true()))
)


class Templates:
    """The templates, within a transaction."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def offered(self, project_id: ProjectId) -> bool | None:
        """Whether a template is for everybody; None: it is no template."""
        row = (await self._connection.execute(_GET, {"of_project": project_id})).first()
        return None if row is None else bool(row.everybody)

    async def set(self, project_id: ProjectId, *, everybody: bool, at: datetime) -> None:
        """Make a project a template, or say for whom it is one."""
        made = upserting(templates).values(project_id=project_id, everybody=everybody, set_at=at)
        changed = made.on_conflict_do_update(index_elements=["project_id"], set_={"everybody": everybody, "set_at": at})
        await self._connection.execute(changed)

    async def delete(self, project_id: ProjectId) -> bool:
        """Make a project no template any more.

        Returns:
            Whether it was one.
        """
        return (await self._connection.execute(_DELETE, {"of_project": project_id})).rowcount > 0

    async def list(self, account_id: AccountId) -> list[Template]:
        """The templates that an account may use, by their titles; those of deleted projects are none."""
        found: dict[str, dict[str, Any]] = {}
        for row in await self._connection.execute(_PUBLIC):
            found[row.project_id] = {**row._mapping, "member": False}
        for row in await self._connection.execute(_MINE, {"of_account": account_id}):
            found[row.project_id] = {**row._mapping, "member": True}
        return sorted(
            (Template(**values) for values in found.values()),
            key=lambda template: (template.title, template.project_id),
        )
