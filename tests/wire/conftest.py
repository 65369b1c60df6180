"""One real hub for the whole suite."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.hubs import HubProcess


@pytest.fixture(scope="session")
def hub_process() -> Iterator[HubProcess]:
    process = HubProcess()
    yield process
    process.close()
