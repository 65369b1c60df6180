"""Shapes of a project's `system.*` beside commands and files, as `shapes` for all else.

Source: Wire contract 5.5.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, TypedDict

VERSION: Final = 1
"""Of what a project server offers; `projects.status` tells it, too."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Configuration:
    """Argument of `system.configuration`, which is the word itself: ``main`` or ``x11``."""

    aspect: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Signal:
    """`system.signal` of a project. `signal`: a number, or a name such as ``SIGINT``; `pid` and `pids` go together."""

    signal: int | str
    pid: int | None = None
    pids: list[int] | None = None


class Configured(TypedDict):
    """Reply of `system.configuration`: when it was looked at (ISO), and what is there, from name to true or false."""

    timestamp: str
    capabilities: dict[str, Any]
