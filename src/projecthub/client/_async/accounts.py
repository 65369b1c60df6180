from __future__ import annotations

from typing import Any

from projecthub.client._async.connection import AsyncConnection
from projecthub.client.requests import of_method
from projecthub.wire import shapes
from projecthub.wire.methods import METHODS, Endpoint

_METHODS = METHODS[Endpoint.HUB]
_Accounts = list[shapes.Account]


class AsyncAccounts:
    """The hub's accounts. For site admins."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def create(
        self, email_address: str, first_name: str = "", last_name: str = "", admin: bool = False
    ) -> shapes.Account:
        """Make an account.

        Args:
            email_address: Its address; no other account may have it.
            first_name: First name.
            last_name: Last name.
            admin: Whether it is a site admin.

        Returns:
            The new account.

        Raises:
            Conflict: Another account has the address.
            PermissionDenied: You are not a site admin.

        Example:
            ```python
            account = await hub.accounts.create("ada@example.org", "Ada", "Lovelace")
            ```
        """
        arguments = shapes.CreateAccount(
            email_address=email_address, first_name=first_name, last_name=last_name, admin=admin
        )
        reply: shapes.Account = await self._call("accounts.create", arguments)
        return reply

    async def list(self, query: str | None = None, limit: int = 100, after: str | None = None) -> _Accounts:
        """Accounts, newest first.

        Args:
            query: Only those whose name or address holds this text; None: all.
            limit: How many at most, from 1.
            after: The last `account_id` of the page before; None: the first page.

        Raises:
            PermissionDenied: You are not a site admin.

        Example:
            ```python
            for account in await hub.accounts.list(query="example.org"):
                print(account["email_address"])
            ```
        """
        reply: _Accounts = await self._call("accounts.list", shapes.ListAccounts(query=query, limit=limit, after=after))
        return reply

    async def _call(self, name: str, arguments: Any) -> Any:
        return await self._connection.call(_METHODS[name], of_method(_METHODS[name], arguments))
