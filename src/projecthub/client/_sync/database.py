# Written by tools/unasync.py from client/_async; change it there.
from __future__ import annotations

from typing import Any

from projecthub.client._sync.connection import Connection
from projecthub.client.requests import is_get, of_method
from projecthub.wire import shapes
from projecthub.wire.methods import METHODS, Endpoint

_USER_QUERY = METHODS[Endpoint.HUB]["db.userQuery"]


class Database:
    """What the hub remembers, as far as the key's account may read and change it."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def query(self, query: Any, options: list[dict[str, Any]] | None = None) -> Any:
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
            hub.db.query({"accounts": {"first_name": None}})  # {'accounts': {'first_name': 'Ada'}}
            hub.db.query({"accounts": {"first_name": "Ada"}})  # {}
            ```

        Source: Wire contract 3.
        """
        arguments = shapes.UserQuery(query=query, options=options)
        request = of_method(_USER_QUERY, arguments, repeatable=is_get(query, options))
        return self._connection.call(_USER_QUERY, request)
