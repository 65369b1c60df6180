from __future__ import annotations

from typing import Any

from projecthub.client._async.connection import AsyncConnection
from projecthub.client.requests import is_get, of_method
from projecthub.wire import histories, shapes
from projecthub.wire.methods import METHODS, Endpoint

_METHODS = METHODS[Endpoint.HUB]
_USER_QUERY = _METHODS["db.userQuery"]


class AsyncDatabase:
    """What the hub remembers, as far as the key's account may read and change it."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def query(self, query: Any, options: list[dict[str, Any]] | None = None) -> Any:
        """Read or change rows of a table.

        An object with a None anywhere reads: it comes back with the None filled in. Without one it changes the row of
        its key. ``{"table": {...}}`` is about one row, ``{"table": [{...}]}`` about all that match.

        Args:
            query: An object with exactly one table's name as key; or a list of such objects, answered in order.
            options: Such as ``[{"limit": 10}, {"order_by": "-last_edited"}]``; each object holds one option.

        Returns:
            For reading an object of the same form; for changing ``{}``; for a list of queries a list.

        Raises:
            QueryRefused: A rule of the table forbids it.
            PermissionDenied: The row is not yours to read or change.

        Example:
            ```python
            await hub.db.query({"accounts": {"first_name": None}})  # {'accounts': {'first_name': 'Ada'}}
            await hub.db.query({"accounts": {"first_name": "Ada"}})  # {}
            ```

        Source: Wire contract 3.
        """
        arguments = shapes.UserQuery(query=query, options=options)
        request = of_method(_USER_QUERY, arguments, repeatable=is_get(query, options))
        return await self._connection.call(_USER_QUERY, request)

    async def touch(self, project_id: str | None = None, path: str | None = None, action: str = "edit") -> None:
        """Note that you use a project, or a file of it. The project is not started.

        Args:
            project_id: The project; None: only that you are there.
            path: The file, relative to the home.
            action: What you do with it: ``open``, ``edit``, ``chat`` or another word.

        Raises:
            PermissionDenied: You are not on the project.
            InvalidArgument: ``action`` is no word, or the path is too long.

        Example:
            ```python
            await hub.db.touch(project_id, "notes.md", "open")
            ```
        """
        await self._call("db.touch", histories.Touch(project_id=project_id, path=path, action=action))

    async def file_use_times(
        self,
        project_id: str,
        path: str,
        target_account_id: str | None = None,
        limit: int = 1000,
        access_times: bool = True,
        edit_times: bool = False,
    ) -> histories.UseTimes:
        """When somebody used a file, newest first.

        Args:
            project_id: The project.
            path: The file, relative to the home.
            target_account_id: Who; None: you.
            limit: Times of each kind at most, 1 to 1000.
            access_times: Tell when they last did what they have noted by `touch`, one time for each word.
            edit_times: Tell when they changed it, as far as its history tells.

        Returns:
            `target_account_id`, and `access_times` and `edit_times` as far as they are asked for, in milliseconds since
            the epoch.

        Raises:
            PermissionDenied: You are not on the project.
            InvalidArgument: An id is none, or ``limit`` is out of range.

        Example:
            ```python
            times = await hub.db.file_use_times(project_id, "notes.md", edit_times=True)
            ```
        """
        arguments = histories.FileUseTimes(
            project_id=project_id,
            path=path,
            target_account_id=target_account_id,
            limit=limit,
            access_times=access_times,
            edit_times=edit_times,
        )
        reply: histories.UseTimes = await self._call("db.fileUseTimes", arguments)
        return reply

    async def _call(self, name: str, arguments: Any) -> Any:
        return await self._connection.call(_METHODS[name], of_method(_METHODS[name], arguments))
