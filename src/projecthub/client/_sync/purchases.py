# Written by tools/unasync.py from client/_async; change it there.
from __future__ import annotations

from projecthub.client._sync.connection import Connection
from projecthub.client.requests import of_method
from projecthub.wire.methods import METHODS, Endpoint
from projecthub.wire.shapes import NoArguments

_METHODS = METHODS[Endpoint.HUB]


class Purchases:
    """Nothing is sold here, and so nobody owes anything: for scripts that ask."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def get_balance(self) -> int:
        """What you have paid ahead: 0.

        Example:
            ```python
            hub.purchases.get_balance()  # 0
            ```
        """
        return self._call("purchases.getBalance")

    def get_min_balance(self) -> int:
        """How little you may have: 0.

        Example:
            ```python
            hub.purchases.get_min_balance()  # 0
            ```
        """
        return self._call("purchases.getMinBalance")

    def _call(self, name: str) -> int:
        reply: int = self._connection.call(_METHODS[name], of_method(_METHODS[name], NoArguments()))
        return reply
