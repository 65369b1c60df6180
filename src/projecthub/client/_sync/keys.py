# Written by tools/unasync.py from client/_async; change it there.
from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from projecthub.client._sync.connection import Connection
from projecthub.client.requests import of_method
from projecthub.client.times import Time, on_the_wire
from projecthub.wire import shapes
from projecthub.wire.methods import METHODS, Endpoint

_METHODS = METHODS[Endpoint.HUB]
_ApiKeys = list[shapes.ApiKey]


class Keys:
    """API keys, of accounts and of projects."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def create(
        self,
        account_id: str | None = None,
        project_id: str | None = None,
        name: str = "",
        expire: Time | None = None,
        scopes: Sequence[str] | None = None,
        calls_per_minute: int | None = None,
    ) -> shapes.ApiKey:
        """Make a key.

        Args:
            account_id: Whose, as an account's id or e-mail address (for site admins). Default: yours.
            project_id: Make it a key of this project alone, good for nothing but calls into it.
            name: What people call it, up to 128 characters.
            expire: When it ends: an aware datetime, an ISO time, or milliseconds since the epoch; None: never.
            scopes: What it is good for, some of ``read``, ``run``, ``write`` and ``manage``; default: what your own is.
            calls_per_minute: How often it may be used; None: any number of times.

        Returns:
            The key with its `secret`, which is shown only this once.

        Raises:
            PermissionDenied: The account is another's and you are not a site admin, you are not on the project, or
                the key would be good for more than your own.
            NotFound: There is no such account.
            InvalidArgument: The name is too long, or one of the others is out of its range.

        Example:
            ```python
            secret = hub.keys.create(name="laptop", scopes=["read", "run"])["secret"]
            ```
        """
        arguments = shapes.CreateKey(
            account_id=account_id,
            project_id=project_id,
            name=name,
            expire=on_the_wire(expire, "expire"),
            scopes=None if scopes is None else [*scopes],
            calls_per_minute=calls_per_minute,
        )
        reply: shapes.ApiKey = self._call("keys.create", arguments)
        return reply

    def list(self, account_id: str | None = None, project_id: str | None = None) -> _ApiKeys:
        """Keys, without their secrets.

        Args:
            account_id: Whose (for site admins). Default: yours.
            project_id: Those of this project instead.

        Raises:
            PermissionDenied: They are not yours to see.

        Example:
            ```python
            print([key["name"] for key in hub.keys.list()])
            ```
        """
        reply: _ApiKeys = self._call("keys.list", shapes.ListKeys(account_id=account_id, project_id=project_id))
        return reply

    def update(
        self,
        id: int,
        *,
        name: str | None = None,
        expire: Time | None = None,
        scopes: Sequence[str] | None = None,
        calls_per_minute: int | None = None,
    ) -> shapes.ApiKey:
        """Change a key; what is not given stays. It counts from now on.

        Args:
            id: The key's number, as in `list`.
            name: What people call it.
            expire: When it ends, as in `create`; ``never`` takes the end away.
            scopes: What it is good for, as in `create`.
            calls_per_minute: How often it may be used; 0: any number of times.

        Returns:
            The key as it is now, without its secret.

        Raises:
            NotFound: You have no key of that number.
            PermissionDenied: It is, or would be, good for more than your own.
            InvalidArgument: As of `create`.

        Example:
            ```python
            hub.keys.update(key_id, scopes=["read"], expire="2030-01-31")
            ```
        """
        arguments = shapes.UpdateKey(
            id=id,
            name=name,
            expire=on_the_wire(expire, "expire"),
            scopes=None if scopes is None else [*scopes],
            calls_per_minute=calls_per_minute,
        )
        reply: shapes.ApiKey = self._call("keys.update", arguments)
        return reply

    def revoke(self, id: int) -> shapes.Revoked:
        """End a key; calls with it fail from now on.

        Args:
            id: The key's number, as in `list`.

        Raises:
            NotFound: You have no key of that number.

        Example:
            ```python
            hub.keys.revoke(key_id)
            ```
        """
        reply: shapes.Revoked = self._call("keys.revoke", shapes.RevokeKey(id=id))
        return reply

    def _call(self, name: str, arguments: Any) -> Any:
        return self._connection.call(_METHODS[name], of_method(_METHODS[name], arguments))
