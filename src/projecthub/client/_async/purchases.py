from __future__ import annotations

from projecthub.client._async.connection import AsyncConnection
from projecthub.client.requests import of_method
from projecthub.wire.methods import METHODS, Endpoint
from projecthub.wire.shapes import NoArguments

_METHODS = METHODS[Endpoint.HUB]


class AsyncPurchases:
    """Nothing is sold here, and so nobody owes anything: for scripts that ask."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def get_balance(self) -> int:
        """What you have paid ahead: 0.

        Example:
            ```python
            await hub.purchases.get_balance()  # 0
            ```
        """
        return await self._call("purchases.getBalance")

    async def get_min_balance(self) -> int:
        """How little you may have: 0.

        Example:
            ```python
            await hub.purchases.get_min_balance()  # 0
            ```
        """
        return await self._call("purchases.getMinBalance")

    async def _call(self, name: str) -> int:
        reply: int = await self._connection.call(_METHODS[name], of_method(_METHODS[name], NoArguments()))
        return reply
