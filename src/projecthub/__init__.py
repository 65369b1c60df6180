"""projecthub: a self-hosted hub of projects. The client's classes are here; they load when first asked for."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from projecthub.client import AsyncHub, AsyncProject, Hub, Project

__all__ = ["AsyncHub", "AsyncProject", "Hub", "Project", "__version__"]

__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    # The launcher and the project server import this package too, and must stay small: no HTTP client in them.
    if name in __all__:
        return getattr(import_module("projecthub.client"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
