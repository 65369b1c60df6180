"""Recorded calls, played against a real hub: texts that clients match on, and shapes of results, to the letter.

Source: Wire contract 1 to 3, 5.1, 5.5, 5.6; where its section 0 differs, section 0.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.hubs import HubProcess
from tests.wire.recordings import World, load, names_of_recordings

_ALL = [
    pytest.param(recording, index, id=f"{recording}: {exchange['title']}")
    for recording in names_of_recordings()
    for index, exchange in enumerate(load(recording))
]


@pytest.fixture(scope="module")
def worlds(hub_process: HubProcess) -> Iterator[dict[str, World]]:
    made: dict[str, World] = {}
    yield made
    for world in made.values():
        world.close()


@pytest.mark.parametrize(("recording", "index"), _ALL)
def test_exchange(recording: str, index: int, worlds: dict[str, World], hub_process: HubProcess) -> None:
    world = worlds.get(recording) or worlds.setdefault(recording, World(hub_process, recording))
    assert world.problem(index) is None


@pytest.mark.parametrize("recording", names_of_recordings())
def test_titles_are_unique(recording: str) -> None:
    titles = [exchange["title"] for exchange in load(recording)]
    assert len(titles) == len(set(titles))
