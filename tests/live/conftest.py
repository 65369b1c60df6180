"""One real hub for the live tests that do not need one of their own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.hubs import HubProcess


@pytest.fixture(scope="session")
def hub_process() -> Iterator[HubProcess]:
    process = HubProcess()
    yield process
    process.close()


@pytest.fixture
def own_hub() -> Iterator[HubProcess]:
    process = HubProcess()
    yield process
    process.close()
