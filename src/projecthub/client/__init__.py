"""The client: `Hub` and `Project`, and their async twins. They load when first asked for.

The sync side is generated from the async one: ``client/_sync`` from ``client/_async``, by ``tools/unasync.py``. What
does no I/O stands once, beside the two.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from projecthub.client._async.hub import AsyncHub
    from projecthub.client._async.project import AsyncProject
    from projecthub.client._sync.hub import Hub
    from projecthub.client._sync.project import Project

__all__ = ["AsyncHub", "AsyncProject", "Hub", "Project"]

_HOMES = {
    "AsyncHub": "projecthub.client._async.hub",
    "AsyncProject": "projecthub.client._async.project",
    "Hub": "projecthub.client._sync.hub",
    "Project": "projecthub.client._sync.project",
}


def __getattr__(name: str) -> Any:
    # A script that needs one side does not wait for the other to load.
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
