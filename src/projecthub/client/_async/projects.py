from __future__ import annotations

import math
import uuid
from typing import Any

from projecthub.client._async.connection import AsyncConnection
from projecthub.client._async.project_copies import AsyncProjectCopies
from projecthub.client._async.project_invitations import AsyncProjectInvitations
from projecthub.client._async.project_making import AsyncProjectMaking
from projecthub.client._async.project_people import AsyncProjectPeople
from projecthub.client._async.project_quotas import AsyncProjectQuotas
from projecthub.client.listing import Listing, is_read_denied
from projecthub.client.requests import of_method
from projecthub.client.transfers import Progress
from projecthub.errors import HubError
from projecthub.wire import shapes
from projecthub.wire.methods import METHODS, Endpoint

_METHODS = METHODS[Endpoint.HUB]


class AsyncProjects(
    AsyncProjectCopies, AsyncProjectPeople, AsyncProjectInvitations, AsyncProjectQuotas, AsyncProjectMaking
):
    """Projects: persistent, isolated workspaces that people and programs share.

    Methods that take a `project_id` raise PermissionDenied if you are not on the project, whether it exists or not.
    """

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def get(
        self,
        fields: list[str] | None = None,
        all: bool | None = False,
        project_id: str | None = None,
        limit: int | None = None,
        deleted: bool | None = None,
        hidden: bool | None = None,
        state: str | None = None,
        account_id_for_hidden: str | None = None,
    ) -> list[shapes.ProjectRow]:
        """Projects you are on, most recently used first.

        The filters work after the hub has answered, in the order `deleted`, `state`, `hidden`; then rows are sorted
        by last use, creation, title and id, all descending; then `limit` applies.

        Args:
            fields: What to tell about each. Default: `project_id`, `title`, `last_edited`, `created`, `state`,
                `deleted`, `users`. A field without a value is left out of its row.
            all: All of them; else the latest 300 of those used within six weeks.
            project_id: Only this one, used at any time; the list is empty if you are not on it.
            limit: How many at most, 0 or more; None: no limit.
            deleted: True: only deleted ones; False: only others; None: both.
            hidden: True: only those that `account_id_for_hidden` has hidden; False: only others; None: both.
            state: Only those in this state, such as ``running``; ``stopped`` and ``opened`` are one.
            account_id_for_hidden: Whose hiding counts; without it `hidden` does nothing.

        Returns:
            One object for each project, with the fields asked for.

        Raises:
            QueryRefused: There is no such field.
            InvalidArgument: ``limit`` is negative, or ``project_id`` is not a uuid.

        Example:
            ```python
            for project in await hub.projects.get(state="running", deleted=False):
                print(project["project_id"], project["title"])
            ```

        Source: Wire contract 2.1.
        """
        listing = Listing(
            fields=fields,
            all=all,
            project_id=project_id,
            limit=limit,
            deleted=deleted,
            hidden=hidden,
            state=state,
            account_id_for_hidden=account_id_for_hidden,
        )
        try:
            reply = await self._call("db.userQuery", shapes.UserQuery(query=listing.query()), repeatable=True)
        except HubError as error:
            if project_id is None or not is_read_denied(error):
                raise
            return []
        return listing.rows(reply)

    async def list_all(self, limit: int = 100, after: str | None = None) -> shapes.ProjectPage:
        """A page of everybody's projects, deleted ones included, most recently used first; for site admins.

        One that is used while you read pages comes to the front, and may be missed.

        Args:
            limit: How many at most, 1 to 1000.
            after: The `next` of the page before; None: the first page.

        Returns:
            `projects`, with the default fields of `get`, and `next`, which is None if there are no more.

        Raises:
            PermissionDenied: You are no site admin.
            InvalidArgument: ``limit`` is out of range, or ``after`` is no `next`.

        Example:
            ```python
            for project in (await hub.projects.list_all())["projects"]:
                print(project["project_id"], project["title"], list(project["users"]))
            ```

        Source: docs/wire-extensions.md.
        """
        reply: shapes.ProjectPage = await self._call(
            "projects.listAll", shapes.ListAllProjects(limit=limit, after=after), repeatable=True
        )
        return reply

    async def create_project(
        self,
        title: str | None = None,
        description: str | None = None,
        license: str | None = None,
        public_path_id: str | None = None,
        *,
        image: str | None = None,
        start: bool = False,
        ephemeral: int | None = None,
        project_id: str | None = None,
        customize: dict[str, Any] | None = None,
        course: dict[str, Any] | None = None,
        template_id: str | None = None,
        idempotency_key: str | None = None,
        progress: Progress | None = None,
    ) -> str:
        """Make a project that you own.

        Args:
            title: What people call it. Default: ``No Title``.
            description: What it is for.
            license: A license's id, or several parted by commas.
            public_path_id: Id of a share, with whose files it begins.
            image: Name of the software image.
            start: Start it in the background.
            ephemeral: Milliseconds after which it is deleted; None: it stays.
            project_id: Its id, a uuid (for site admins). Default: a new one.
            customize: May hold `disableInternet`, which takes a way to the internet from it whatever its licenses say,
                and `license`, which is added to ``license``.
            course: Makes it a student's project in a course: `project_id` of the course, which you have to teach (be an
                owner or collaborator of), `student`, an id of yours for the student, and perhaps `path`,
                `email_address` and `account_id`. A student has one project in a course.
            template_id: A project that is a template, as which it begins; see `templates`.
            idempotency_key: Calls with the same key make one project, for 24 hours. Default: a new one for each call,
                which covers repetitions after a lost answer.
            progress: Called now and then with how many bytes of what it begins with are copied, and about how many
                there are.

        Returns:
            The new project's id.

        Raises:
            NotFound: There is no such license, share or template; no project is made.
            PermissionDenied: ``project_id`` without being a site admin; ``course`` without teaching it.
            Conflict: The id is taken, or the student has a project in the course.

        Example:
            ```python
            project_id = await hub.projects.create_project("Analysis", "Soil samples of 2025")
            ```

        Source: Wire contract 2.2.
        """
        arguments = shapes.CreateProject(
            title=title,
            description=description,
            license=license,
            public_path_id=public_path_id,
            image=image,
            start=start,
            ephemeral=ephemeral,
            project_id=project_id,
            customize=customize,
            course=course,
            template_id=template_id,
        )
        key = idempotency_key or str(uuid.uuid4())
        if progress is not None:
            return await self._made("projects", arguments, key, progress)
        reply: str = await self._call(
            "projects.createProject",
            arguments,
            wait_s=None if public_path_id is None and template_id is None else math.inf,  # those may be large
            headers={"idempotency-key": key},
        )
        return reply

    async def start(self, project_id: str, *, timeout_s: float | None = None) -> shapes.ProjectState:
        """Start a project and wait until it runs. One that runs already stays as it is.

        Args:
            project_id: The project.
            timeout_s: Seconds to wait; None: until it is decided. The start goes on beyond it.

        Returns:
            Its state.

        Raises:
            StartFailed: It did not come up.
            Conflict: It is deleted.
            CallTimeout: It was not up in time.

        Example:
            ```python
            state = await hub.projects.start(project_id)  # {'state': 'running', 'time': ..., 'ip': ...}
            ```

        Source: Wire contract 2.6.
        """
        reply: shapes.ProjectState = await self._about("projects.start", project_id, timeout_s)
        return reply

    async def stop(self, project_id: str, *, timeout_s: float | None = None) -> shapes.ProjectState:
        """Stop a project and wait until nothing of it runs. Its files stay. One that does not run stays as it is.

        Args:
            project_id: The project.
            timeout_s: Seconds to wait; None: until it is stopped. The stop goes on beyond it.

        Returns:
            Its state.

        Raises:
            CallTimeout: It was not stopped in time.

        Example:
            ```python
            await hub.projects.stop(project_id)
            ```

        Source: Wire contract 2.7.
        """
        reply: shapes.ProjectState = await self._about("projects.stop", project_id, timeout_s)
        return reply

    async def restart(self, project_id: str, *, timeout_s: float | None = None) -> shapes.ProjectState:
        """Stop a project if it runs, have it running again, and wait for that.

        Args:
            project_id: The project.
            timeout_s: Seconds to wait; None: until it runs. The restart goes on beyond it.

        Returns:
            Its state.

        Raises:
            Conflict: It is deleted, or was stopped meanwhile.
            StartFailed: It could not be started.
            CallTimeout: It did not run in time.

        Example:
            ```python
            await hub.projects.restart(project_id)
            ```

        Source: docs/wire-extensions.md.
        """
        reply: shapes.ProjectState = await self._about("projects.restart", project_id, timeout_s)
        return reply

    async def stop_all(self) -> shapes.StoppedAll:
        """Stop every project of the hub; for site admins.

        Returns:
            How many were stopped, and why others were not, by project id.

        Raises:
            PermissionDenied: You are no site admin.

        Example:
            ```python
            print((await hub.projects.stop_all())["stopped"])
            ```

        Source: docs/wire-extensions.md.
        """
        reply: shapes.StoppedAll = await self._call("projects.stopAll", shapes.NoArguments(), repeatable=True)
        return reply

    async def idle(self, project_id: str) -> shapes.Idle:
        """Why a project that runs goes on running, or when it would be stopped for want of use.

        Args:
            project_id: The project.

        Returns:
            ``idle_for_s`` (seconds since the last sign of use), ``because`` (that sign), ``idle_timeout_s``,
            ``would_stop_at`` (null while something keeps it running) and ``blocked_by`` (what does).

        Raises:
            Conflict: It does not run; the text tells when and why it was stopped.

        Example:
            ```python
            print((await hub.projects.idle(project_id))["because"])
            ```

        Source: docs/wire-extensions.md.
        """
        reply: shapes.Idle = await self._call(
            "projects.idle", shapes.ProjectOnly(project_id=project_id), repeatable=True
        )
        return reply

    async def delete(self, project_id: str, *, timeout_s: float | None = None) -> shapes.Deleted:
        """Stop a project and mark it as deleted. Its files stay; `undelete` brings it back.

        Args:
            project_id: The project.
            timeout_s: Seconds to wait; None: until it is done. It goes on beyond that.

        Returns:
            `project_id`, and `deleted`, which is True.

        Raises:
            OwnershipDenied: Only its owners may delete it.
            CallTimeout: It was not done in time.

        Example:
            ```python
            await hub.projects.delete(project_id)
            ```

        Source: Wire contract 2.8.
        """
        reply: shapes.Deleted = await self._about("projects.deleteProject", project_id, timeout_s)
        return reply

    async def undelete(self, project_id: str) -> None:
        """Bring a deleted project back, stopped and without licenses. One that is not deleted stays as it is.

        Args:
            project_id: The project.

        Example:
            ```python
            await hub.projects.undelete(project_id)
            ```

        Source: Wire contract 2.8.
        """
        query = {"projects": {"project_id": project_id, "deleted": False}}
        await self._call("db.userQuery", shapes.UserQuery(query=query), repeatable=True)

    async def touch(self, project_id: str, *, timeout_s: float | None = None) -> shapes.ProjectState:
        """Say that a project is in use, and start it if it does not run.

        Args:
            project_id: The project.
            timeout_s: Seconds to wait; None: until it runs. The start goes on beyond it.

        Returns:
            Its state.

        Raises:
            StartFailed: It did not come up.
            Conflict: It is deleted.
            CallTimeout: It was not up in time.

        Example:
            ```python
            await hub.projects.touch(project_id)
            ```

        Source: Wire contract 2.11.
        """
        reply: shapes.ProjectState = await self._about("projects.touch", project_id, timeout_s)
        return reply

    async def state(self, project_id: str) -> shapes.ProjectState:
        """Whether a project runs. Never starts it.

        Args:
            project_id: The project.

        Returns:
            `state`: ``running``, ``stopped``, ``starting``, ``stopping``, ``restarting`` or ``error``; `time` of the
            last change as an ISO time; `ip` of a running one; `error`: what went wrong, in state ``error``.

        Example:
            ```python
            if (await hub.projects.state(project_id))["state"] == "running": ...
            ```

        Source: Wire contract 4.2.
        """
        reply: shapes.ProjectState = await self._about("projects.state", project_id)
        return reply

    async def status(self, project_id: str) -> shapes.ProjectStatus:
        """What a project uses. Never starts it.

        Args:
            project_id: The project.

        Returns:
            `disk_MB`, `disk_quota_MB` and `disk_age_s`: what its home takes and may take, and how many seconds old that
            may be; `disk_full` if it takes all of that; if there are any, beside it `snapshots_MB`, and `undo_MB`,
            what is kept to undo copies. Of a running
            project also `project.pid`, `start_ts` (milliseconds since the epoch), `version`, `memory` in MB, `cpu` in
            seconds, and more.

        Example:
            ```python
            print((await hub.projects.status(project_id))["disk_MB"])
            ```

        Source: Wire contract 4.3.
        """
        reply: shapes.ProjectStatus = await self._about("projects.status", project_id)
        return reply

    async def log(self, project_id: str, *, limit: int = 100) -> list[shapes.LogEntry]:
        """What happened in a project, newest first.

        Args:
            project_id: The project.
            limit: Entries at most.

        Returns:
            Entries with `time`, `event` and, unless the hub did it by itself, `account_id`.

        Raises:
            QueryRefused: You are not on the project.

        Example:
            ```python
            for entry in await hub.projects.log(project_id, limit=10):
                print(entry["time"], entry["event"]["event"])
            ```

        Source: Wire contract 3.10.
        """
        wanted = {"id": None, "project_id": project_id, "account_id": None, "time": None, "event": None}
        query = shapes.UserQuery(query={"project_log_all": [wanted]}, options=[{"limit": limit}])
        reply = await self._call("db.userQuery", query, repeatable=True)
        entries: list[shapes.LogEntry] = reply["project_log_all"]
        return entries

    async def _about(self, name: str, project_id: str, timeout_s: float | None = None) -> Any:
        return await self._call(name, shapes.ProjectOnly(project_id=project_id), timeout_s=timeout_s)

    async def _call(self, name: str, arguments: Any, **options: Any) -> Any:
        return await self._connection.call(_METHODS[name], of_method(_METHODS[name], arguments, **options))
