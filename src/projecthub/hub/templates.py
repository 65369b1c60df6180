"""Templates: projects that new ones can begin as.

Source: docs/wire-extensions.md.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from projecthub.errors import NotFound, PermissionDenied
from projecthub.hub.beginnings import Beginning, beginning_of
from projecthub.hub.permissions import admins_only, is_able, not_deleted, project_id_of
from projecthub.wire.methods import Ability

if TYPE_CHECKING:
    from projecthub.hub.clock import Clock
    from projecthub.hub.principals import Principal
    from projecthub.store import Store
    from projecthub.store.records import Project
    from projecthub.wire.sharing import SetTemplate, Template, TemplateSet


class Templates:
    """Says which projects are templates, and for whom."""

    def __init__(self, store: Store, clock: Clock) -> None:
        """Make the service."""
        self._store = store
        self._clock = clock

    async def set(self, caller: Principal, request: SetTemplate) -> TemplateSet:
        """Make a project a template for its people or, if a site admin says so, for everybody; or no template any more.

        Raises:
            PermissionDenied: The caller may not change the project, or offers it to everybody and is no site admin.
            NotFound: There is no such project, told to a site admin.
            Conflict: The project is deleted.
        """
        project_id = project_id_of(request.project_id)
        async with self._store.write() as tx:
            access = await tx.projects.access(project_id, caller.account_id, lock=True)
            if access is None and caller.is_admin:
                raise NotFound(f"unknown project_id '{project_id}'", project_id=project_id)
            if access is None or not (is_able(access.role, Ability.MANAGE) or caller.is_admin):
                raise PermissionDenied("must be collaborator on project to make it a template")
            was = await tx.templates.offered(project_id)
            everybody = bool(was) if request.everybody is None else request.everybody
            if request.template:
                not_deleted(access.project)
                if everybody and not was:
                    admins_only(caller, "offer a template to everybody")
                await tx.templates.set(project_id, everybody=everybody, at=self._clock.now())
            else:
                everybody = False
                await tx.templates.delete(project_id)
            event: dict[str, Any] = {"event": "template_set", "template": request.template, "everybody": everybody}
            await tx.log.append(project_id, caller.account_id, event, at=self._clock.now())
        return {"project_id": project_id, "template": request.template, "everybody": everybody}

    async def list(self, caller: Principal) -> list[Template]:
        """The templates that the caller may use, by their titles."""
        async with self._store.read() as tx:
            return [
                {
                    "project_id": template.project_id,
                    "title": template.title,
                    "description": template.description,
                    "everybody": template.everybody,
                    "member": template.member,
                }
                for template in await tx.templates.list(caller.account_id)
            ]

    async def content(self, caller: Principal, template_id: str) -> tuple[Project, Beginning]:
        """A template, and what the row of a project that begins as it takes over.

        Its environment may hold secrets: only the people of the template's project get that.

        Raises:
            InvalidArgument: ``template_id`` is no uuid.
            NotFound: It is no template for the caller; no project was made.
        """
        project_id = project_id_of(template_id, "template_id '{value}' is no uuid; give the id of a template's project")
        async with self._store.read() as tx:
            access = await tx.projects.access(project_id, caller.account_id)
            everybody = await tx.templates.offered(project_id)
            is_member = access is not None and is_able(access.role, Ability.READ)
            if access is None or everybody is None or access.project.deleted or not (everybody or is_member):
                raise NotFound(
                    f"there is no template with id '{project_id}' for you; projects.templates lists those that there "
                    "are. No project was made"
                )
            event = {"template_id": project_id}
            title = access.project.title
            return access.project, await beginning_of(tx, access.project, title=title, event=event, with_env=is_member)
