"""One real hub for the whole suite."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.hubs import HubProcess


@pytest.fixture(scope="session")
def hub_process() -> Iterator[HubProcess]:
    process = HubProcess()
    yield process
    process.close()


@pytest.fixture(scope="module")
def closed_connections() -> Iterator[None]:
    """Closes every connection of the official client in the end: it has no way to."""
    made: list[httpx.Client] = []

    class Closed(httpx.Client):
        def __init__(self, **options: Any) -> None:
            super().__init__(**options)
            made.append(self)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(httpx, "Client", Closed)
        yield
        for client in made:
            client.close()
