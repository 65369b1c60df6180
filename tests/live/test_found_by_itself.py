"""A hub on this machine is found by who started it, whatever its port."""

from __future__ import annotations

import pytest

from projecthub import Hub
from projecthub.errors import InvalidArgument, NotSignedIn
from tests.hubs import HubProcess


def test_its_address_and_key_are_in_its_data_directory(
    hub_process: HubProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("PROJECTHUB_URL", "PROJECTHUB_API_KEY", "COCALC_HOST", "COCALC_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PROJECTHUB_DATA_DIR", str(hub_process.data_dir))
    with Hub() as hub:
        assert hub.system.ping()["now"] > 0


def test_an_empty_key_is_not_taken_for_none(hub_process: HubProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROJECTHUB_DATA_DIR", str(hub_process.data_dir))
    with pytest.raises((NotSignedIn, InvalidArgument)):
        Hub(api_key="", host=hub_process.url)
