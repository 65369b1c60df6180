"""What the global options say, and the hub that they lead to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    import httpx2

    from projecthub import AsyncHub, Hub

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]
"""The option ``--json`` of a command."""


@dataclass
class Session:
    """One run of the command line.

    Attributes:
        api_key: The key; None: the client looks for one.
        url: The hub's address; None: the client's default.
        as_json: Whether to print JSON.
        transport: Carries calls instead of the network.
        async_transport: Carries calls that are made several at a time.
    """

    api_key: str | None = None
    url: str | None = None
    as_json: bool = False
    transport: httpx2.BaseTransport | None = None
    async_transport: httpx2.AsyncBaseTransport | None = None

    @classmethod
    def of(cls, context: typer.Context, as_json: bool) -> Session:
        """The session of a command that may have been given ``--json`` itself."""
        session = context.find_object(cls)
        assert session is not None
        session.as_json = session.as_json or as_json
        return session

    def hub(self) -> Hub:
        """The hub, for one call after the other. To be closed.

        Raises:
            NotSignedIn: There is no key anywhere.
            InvalidArgument: The key or the address is malformed.
        """
        from projecthub import Hub

        if self.transport is None:
            return Hub(self.api_key, self.url)
        import httpx2

        return Hub(self.api_key, self.url, client=httpx2.Client(transport=self.transport))

    def async_hub(self) -> AsyncHub:
        """The hub, for several calls at a time. Raises as `hub`."""
        from projecthub import AsyncHub

        if self.async_transport is None:
            return AsyncHub(self.api_key, self.url)
        import httpx2

        return AsyncHub(self.api_key, self.url, client=httpx2.AsyncClient(transport=self.async_transport))
