from __future__ import annotations

from typing import Any

from projecthub.client._async.connection import AsyncConnection
from projecthub.client.requests import of_method
from projecthub.wire import shapes
from projecthub.wire.methods import METHODS, Endpoint

_METHODS = METHODS[Endpoint.HUB]
_ApiKeys = list[shapes.ApiKey]


class AsyncKeys:
    """API keys, of accounts and of projects."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def create(
        self,
        account_id: str | None = None,
        project_id: str | None = None,
        name: str = "",
        expire: str | int | None = None,
    ) -> shapes.ApiKey:
        """Make a key.

        Args:
            account_id: Whose, as an account's id or e-mail address (for site admins). Default: yours.
            project_id: Make it a key of this project alone, good for nothing but calls into it.
            name: What people call it, up to 128 characters.
            expire: When it ends: an ISO time, or milliseconds since the epoch; None: never.

        Returns:
            The key with its `secret`, which is shown only this once.

        Raises:
            PermissionDenied: The account is another's and you are not a site admin, or you are not on the project.
            NotFound: There is no such account.

        Example:
            ```python
            secret = (await hub.keys.create(name="laptop"))["secret"]
            ```
        """
        arguments = shapes.CreateKey(account_id=account_id, project_id=project_id, name=name, expire=expire)
        reply: shapes.ApiKey = await self._call("keys.create", arguments)
        return reply

    async def list(self, account_id: str | None = None, project_id: str | None = None) -> _ApiKeys:
        """Keys, without their secrets.

        Args:
            account_id: Whose (for site admins). Default: yours.
            project_id: Those of this project instead.

        Raises:
            PermissionDenied: They are not yours to see.

        Example:
            ```python
            print([key["name"] for key in await hub.keys.list()])
            ```
        """
        reply: _ApiKeys = await self._call("keys.list", shapes.ListKeys(account_id=account_id, project_id=project_id))
        return reply

    async def revoke(self, id: int) -> shapes.Revoked:
        """End a key; calls with it fail from now on.

        Args:
            id: The key's number, as in `list`.

        Raises:
            NotFound: You have no key of that number.

        Example:
            ```python
            await hub.keys.revoke(7)
            ```
        """
        reply: shapes.Revoked = await self._call("keys.revoke", shapes.RevokeKey(id=id))
        return reply

    async def _call(self, name: str, arguments: Any) -> Any:
        return await self._connection.call(_METHODS[name], of_method(_METHODS[name], arguments))
