"""Callers of the hub that go away before they have their answer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from starlette.requests import ClientDisconnect

from projecthub import departures

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from starlette.types import Receive

_T = TypeVar("_T")


def unless_left(work: Coroutine[Any, Any, _T], receive: Receive) -> Coroutine[Any, Any, _T]:
    """Do some work, and cancel it when the caller, whose body has been read, goes away.

    Raises:
        ClientDisconnect: The caller went away, and the work has ended.
    """
    return departures.unless_left(work, receive, ClientDisconnect)
