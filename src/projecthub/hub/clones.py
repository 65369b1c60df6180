"""Clones: new projects that begin as another one is now.

Source: docs/wire-extensions.md.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from projecthub.files.excludes import Excludes
from projecthub.hub.beginnings import Copied, beginning_of
from projecthub.hub.permissions import NOT_A_COLLABORATOR, member_access, not_deleted, project_id_of
from projecthub.store.records import Role
from projecthub.wire.methods import Ability
from projecthub.wire.shapes import CreateProject

if TYPE_CHECKING:
    from projecthub.files import Course
    from projecthub.hub.creation import Creation
    from projecthub.hub.homes import ProjectHomes
    from projecthub.hub.principals import Principal
    from projecthub.store import Store
    from projecthub.wire.ids import ProjectId
    from projecthub.wire.sharing import CloneProject


class Clones:
    """Clones whole projects."""

    def __init__(self, store: Store, homes: ProjectHomes, creation: Creation) -> None:
        """Make the service."""
        self._store = store
        self._homes = homes
        self._creation = creation

    async def clone(
        self,
        caller: Principal,
        request: CloneProject,
        *,
        idempotency_key: str | None = None,
        course: Course | None = None,
    ) -> ProjectId:
        """Make a project of the caller's own that is as another one is: all of it, or none.

        It has the files of that, what it is described as and looks like, its image and its environment, and the way to
        the internet that it was denied; of its people none but the caller, unless they are asked for: owners become
        collaborators then. It has not its licenses, its course, its quotas, its jobs and its trash.

        Args:
            caller: Is on the project, in whatever role; becomes the owner of the new one.
            request: Which project, and what is to be otherwise.
            idempotency_key: As for `Creation.create`.
            course: By which others see how far it is.

        Raises:
            PermissionDenied: The caller is not on the project.
            Conflict: The project is deleted.
            HubError: As `Creation.create`.
        """
        project_id = project_id_of(request.project_id)
        exclude = tuple(request.exclude or ())
        Excludes(exclude)  # refuses what is too long before anything is done
        async with self._store.read() as tx:
            project = (await member_access(tx, caller, project_id, NOT_A_COLLABORATOR, Ability.READ)).project
            not_deleted(project)
            people = await tx.collaborators.roles(project_id) if request.with_collaborators else {}
            beginning = await beginning_of(
                tx,
                project,
                title=f"{project.title} (copy)",
                event={"cloned_from": project_id},
                with_env=True,
                people={
                    account_id: Role.COLLABORATOR if role is Role.OWNER else role
                    for account_id, role in people.items()
                    if account_id != caller.account_id
                },
            )
        source = (project_id, project.unix_slot, "")
        filling = Copied(self._homes, source, beginning, f"project '{project_id}'", course=course, exclude=exclude)
        wanted = CreateProject(title=request.title, start=request.start)
        return await self._creation.populate(caller, wanted, filling, told=request, idempotency_key=idempotency_key)
