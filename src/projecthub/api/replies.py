"""Replies of many things, made in pieces beside the event loop: a long one holds up no other call."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final, TypeVar

from pydantic_core import to_json

T = TypeVar("T")

_AT_ONCE: Final = 500
"""So many things become JSON in one go, in which no other thread can do anything."""


@dataclass(frozen=True, slots=True)
class Encoded:
    """A value that is JSON already.

    Attributes:
        body: The JSON.
    """

    body: bytes


def encoded_list(things: Iterator[T], shape: Callable[[T], Any]) -> bytes:
    """The JSON of a list of things, each in its shape."""
    parts = []
    while shapes := [shape(thing) for thing in islice(things, _AT_ONCE)]:
        parts.append(to_json(shapes)[1:-1])
    return b"[" + b",".join(parts) + b"]"
