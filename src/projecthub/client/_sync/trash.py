# Written by tools/unasync.py from client/_async; change it there.
from __future__ import annotations

from typing import TYPE_CHECKING, Any

from projecthub.client._sync.connection import Connection
from projecthub.wire import shapes

if TYPE_CHECKING:
    from projecthub.client._sync.project import Project


class ProjectTrash:
    """What was deleted from a project. It is kept for 30 days, or until room is needed."""

    def __init__(self, connection: Connection, project: Project) -> None:
        self._connection = connection
        self._project = project

    def list(self) -> list[shapes.TrashEntry]:
        """What is in the trash, oldest first.

        Example:
            ```python
            for entry in project.files.trash.list():
                print(entry["id"], entry["path"])
            ```
        """
        reply: dict[str, list[shapes.TrashEntry]] = self._json("GET", "trash")
        return reply["items"]

    def restore(self, id: str, path: str | None = None) -> str:
        """Bring something back; never overwrites.

        Args:
            id: Which, as `list` tells it.
            path: Where to; None: where it was.

        Returns:
            Its path now, relative to the home.

        Raises:
            NotFound: There is no such thing in the trash.
            Conflict: Something has that path.

        Example:
            ```python
            trash_id = project.files.delete("names.txt")
            project.files.trash.restore(trash_id)
            ```
        """
        reply: dict[str, str] = self._json("POST", f"trash/{id}/restore", {"path": path})
        return reply["path"]

    def empty(self, id: str | None = None) -> int:
        """Delete all of the trash for good, or the one thing ``id`` of it; returns how many things that were.

        Example:
            ```python
            print(project.files.trash.empty())
            ```
        """
        reply: dict[str, int] = self._json("DELETE", "trash" if id is None else f"trash/{id}")
        return reply["items"]

    def _json(self, method: str, path: str, body: Any = None) -> Any:
        place = f"projects/{self._project._own_id()}/{path}"
        with self._connection.native(method, place, json=body) as response:
            response.read()
            return response.json()
