# Written by tools/unasync.py from client/_async; change it there.
from __future__ import annotations

from typing import Any

from projecthub.client._sync.connection import Connection
from projecthub.client.requests import of_method
from projecthub.wire import courses, shapes
from projecthub.wire.methods import METHODS, Endpoint

_METHODS = METHODS[Endpoint.HUB]


class ProjectPeople:
    """Who is on projects, and as what: the part of `projects` about people."""

    _connection: Connection

    def add_collaborator(
        self, project_id: str | list[str], account_id: str | list[str], *, group: str | None = None
    ) -> shapes.AddedCollaborators:
        """Let people into projects. Who is on a project already stays what they are.

        Args:
            project_id: A project; or a list.
            account_id: An account; or a list of the same length: each is added to the project at its place. All of
                them are added, or none.
            group: What they become: ``collaborator`` (the default) or ``viewer``, who reads and does nothing else.

        Returns:
            `project_id`: the list of projects.

        Raises:
            NotFound: There is no such account.
            Conflict: An account is disabled.
            PermissionDenied: You are not on the project.
            OwnershipDenied: Only its owners may add people.
            InvalidArgument: The lists differ in length, or an id is not a uuid.

        Example:
            ```python
            (ada,) = hub.system.user_search("ada@example.org")
            hub.projects.add_collaborator(project_id, ada["account_id"])
            ```

        Source: Wire contract 2.4.
        """
        arguments = shapes.AddCollaborator(project_id=project_id, account_id=account_id, group=group)
        reply: shapes.AddedCollaborators = self._call_of_people("projects.addCollaborator", arguments)
        return reply

    def remove_collaborator(
        self, project_id: str | list[str], account_id: str | list[str]
    ) -> shapes.RemovedCollaborator:
        """Take people off projects, or leave one. Whoever is not on it is no error.

        Args:
            project_id: The project; or a list of them.
            account_id: The account; or a list as long: the first is taken off the first project, and so on. All are,
                or none.

        Returns:
            What was given.

        Raises:
            OwnershipDenied: The account is an owner, or only owners may remove people.
            PermissionDenied: You are not on the project.

        Example:
            ```python
            hub.projects.remove_collaborator(project_id, account_id)
            ```

        Source: Wire contract 2.5.
        """
        arguments = shapes.RemoveCollaborator(project_id=project_id, account_id=account_id)
        reply: shapes.RemovedCollaborator = self._call_of_people("projects.removeCollaborator", arguments)
        return reply

    def leave(self, project_id: str) -> shapes.RemovedCollaborator:
        """Leave a project.

        Args:
            project_id: The project.

        Raises:
            OwnershipDenied: You are an owner: let another one make you a collaborator, or `hand_over` the project.
            PermissionDenied: You are not on the project.

        Example:
            ```python
            hub.projects.leave(project_id)
            ```

        Source: Wire contract 2.5.
        """
        me = self._call_of_people("system.test", shapes.NoArguments())
        return self.remove_collaborator(project_id, me["account_id"])

    def change_user_type(self, project_id: str, target_account_id: str, new_group: str) -> None:
        """Say what somebody on a project is to it. A project can have several owners, and always has one.

        Args:
            project_id: The project.
            target_account_id: Who; perhaps yourself.
            new_group: ``owner``, ``collaborator``, or ``viewer``, who reads and does nothing else.

        Raises:
            OwnershipDenied: You are no owner, they are not on the project, or it would have no owner left.
            Conflict: They are disabled, and would become an owner.

        Example:
            ```python
            hub.projects.change_user_type(project_id, account_id, "viewer")
            ```

        Source: Wire contract 5.2.
        """
        arguments = shapes.ChangeUserType(
            project_id=project_id, target_account_id=target_account_id, new_group=new_group
        )
        self._call_of_people("projects.changeUserType", arguments)

    def hand_over(self, project_id: str, account_id: str, *, new_group: str = "collaborator") -> shapes.HandedOver:
        """Make somebody on a project its owner in your place: both, or neither.

        Args:
            project_id: The project, which you own.
            account_id: Who is on it and is to own it.
            new_group: What you become: ``collaborator`` or ``viewer``.

        Returns:
            The project, its new `owner`, and the `group` that you are in now.

        Raises:
            OwnershipDenied: You are no owner, or they are not on the project.
            Conflict: They are disabled.

        Example:
            ```python
            hub.projects.hand_over(project_id, account_id)
            hub.projects.leave(project_id)
            ```

        Source: docs/wire-extensions.md.
        """
        arguments = shapes.HandOver(project_id=project_id, account_id=account_id, new_group=new_group)
        reply: shapes.HandedOver = self._call_of_people("projects.handOver", arguments)
        return reply

    def hide(self, project_id: str, hidden: bool = True) -> None:
        """Hide a project from your own lists (``get(hidden=False, account_id_for_hidden=...)``), or show it again.

        Args:
            project_id: The project.
            hidden: False: show it again.

        Raises:
            QueryRefused: You are not on the project.

        Example:
            ```python
            hub.projects.hide(project_id)
            ```

        Source: Wire contract 3.8.
        """
        self._set(project_id, {"users": {"{account_id}": {"hide": hidden}}})

    def manage_users_owner_only(self, project_id: str, enabled: bool = True) -> None:
        """Leave it to the owners of a project to add and remove people, and to delete it.

        Args:
            project_id: The project, which you own.
            enabled: False: its collaborators may, too.

        Raises:
            QueryRefused: You are no owner.

        Example:
            ```python
            hub.projects.manage_users_owner_only(project_id)
            ```

        Source: Wire contract 3.7.
        """
        self._set(project_id, {"manage_users_owner_only": enabled})

    def of_course(self, project_id: str) -> list[courses.CourseProject]:
        """The students' projects of a course, in the order of the students' ids, whoever has made them.

        Args:
            project_id: The course's project, which you own or are a collaborator of.

        Returns:
            One object for each: `project_id`, `student`, `title`, `deleted`, `course`, `users`, `invited`.

        Raises:
            PermissionDenied: You do not teach it.

        Example:
            ```python
            for student in hub.projects.of_course(project_id):
                print(student["student"], student["project_id"])
            ```
        """
        arguments = courses.CourseOnly(project_id=project_id)
        reply: list[courses.CourseProject] = self._call_of_people("projects.ofCourse", arguments)
        return reply

    def _set(self, project_id: str, fields: dict[str, Any]) -> None:
        query = shapes.UserQuery(query={"projects": {"project_id": project_id, **fields}})
        self._call_of_people("db.userQuery", query, repeatable=True)

    def _call_of_people(self, name: str, arguments: Any, **options: Any) -> Any:
        return self._connection.call(_METHODS[name], of_method(_METHODS[name], arguments, **options))
