from __future__ import annotations

from collections.abc import Iterator

import httpx2
import pytest
from scripted_wire import HOST, KEY, Wire

from projecthub import Hub


@pytest.fixture
def wire() -> Wire:
    return Wire()


@pytest.fixture
def http(wire: Wire) -> Iterator[httpx2.Client]:
    with httpx2.Client(transport=httpx2.MockTransport(wire.handle)) as client:
        yield client


@pytest.fixture
def hub(http: httpx2.Client) -> Hub:
    return Hub(KEY, HOST, client=http)


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Time that stands still: the pauses a client would have made."""
    made: list[float] = []

    async def async_sleep(pause_s: float) -> None:
        made.append(pause_s)

    monkeypatch.setattr("projecthub.client._sync.connection.time.sleep", made.append)
    monkeypatch.setattr("projecthub.client._async.connection.asyncio.sleep", async_sleep)
    return made
