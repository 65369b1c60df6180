"""Server-sent events, as the hub sends them: one line of data each."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, NamedTuple

from projecthub.errors import ProtocolError


class Event(NamedTuple):
    """One event.

    Attributes:
        kind: Such as ``output``.
        id: Where to go on from after it.
        data: Its data, which is JSON.
    """

    kind: str
    id: int
    data: Any


class Events:
    """Takes what arrives apart."""

    def __init__(self) -> None:
        self._pending = bytearray()

    def feed(self, data: bytes) -> Iterator[Event]:
        """Take what has arrived; yields the events that are whole.

        Raises:
            ProtocolError: It is not of a hub.
        """
        searched_to = max(len(self._pending) - 1, 0)
        self._pending += data
        place = 0
        while (end := self._pending.find(b"\n\n", max(place, searched_to))) >= 0:
            block, place = bytes(memoryview(self._pending)[place:end]), end + 2
            if not block.startswith(b":"):  # a sign of life
                yield _event(block)
        del self._pending[:place]


def _event(block: bytes) -> Event:
    try:
        fields = dict(line.split(b": ", 1) for line in block.split(b"\n"))
        return Event(fields[b"event"].decode(), int(fields[b"id"]), json.loads(fields[b"data"]))
    except (ValueError, KeyError, RecursionError) as error:
        raise ProtocolError("the hub's answer is no stream of events") from error
