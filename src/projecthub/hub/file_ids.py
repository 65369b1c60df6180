"""Ids of files: what the hub keeps of a file is found by one."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from projecthub.wire.ids import ProjectId


def file_id(project_id: ProjectId, path: str) -> str:
    """The id of a file of a project: 40 hex digits that follow from the two."""
    return hashlib.sha1(f"{project_id}{path}".encode("utf-8", "surrogatepass"), usedforsecurity=False).hexdigest()
