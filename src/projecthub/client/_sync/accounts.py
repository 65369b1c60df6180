# Written by tools/unasync.py from client/_async; change it there.
from __future__ import annotations

from typing import Any

from projecthub.client._sync.connection import Connection
from projecthub.client.requests import of_method
from projecthub.wire import shapes
from projecthub.wire.methods import METHODS, Endpoint

_METHODS = METHODS[Endpoint.HUB]
_Accounts = list[shapes.Account]


class Accounts:
    """The hub's accounts. For site admins."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def create(
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
            account = hub.accounts.create("ada@example.org", "Ada", "Lovelace")
            ```
        """
        arguments = shapes.CreateAccount(
            email_address=email_address, first_name=first_name, last_name=last_name, admin=admin
        )
        reply: shapes.Account = self._call("accounts.create", arguments)
        return reply

    def list(self, query: str | None = None, limit: int = 100, after: str | None = None) -> _Accounts:
        """Accounts, newest first.

        Args:
            query: Only those whose name or address holds this text; None: all.
            limit: How many at most, from 1.
            after: The last `account_id` of the page before; None: the first page.

        Raises:
            PermissionDenied: You are not a site admin.

        Example:
            ```python
            for account in hub.accounts.list(query="example.org"):
                print(account["email_address"])
            ```
        """
        reply: _Accounts = self._call("accounts.list", shapes.ListAccounts(query=query, limit=limit, after=after))
        return reply

    def _call(self, name: str, arguments: Any) -> Any:
        return self._connection.call(_METHODS[name], of_method(_METHODS[name], arguments))
