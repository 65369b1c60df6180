from __future__ import annotations

import json
from typing import Any

from projecthub.client._async.connection import AsyncConnection
from projecthub.client.requests import of_method
from projecthub.errors import NotFound, ProtocolError
from projecthub.wire import histories as shapes
from projecthub.wire import patches
from projecthub.wire.methods import METHODS, Endpoint

_METHODS = METHODS[Endpoint.HUB]


class AsyncSync:
    """The histories of text files: what the hub has seen them hold."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def history(
        self, project_id: str, path: str, *, start_seq: int | None = None, end_seq: int | None = None
    ) -> list[shapes.FileVersion]:
        """The versions of a text file that the hub has seen, oldest first.

        It sees what is written, uploaded, copied, moved, unpacked and restored through it, what notebooks write that it
        runs, what was there before any of these, and checkpoints; not what else processes of the project write.

        Args:
            project_id: The project, which need not run.
            path: The file, relative to the home; it need not be there any more.
            start_seq: Only from this number on.
            end_seq: Only up to this number.

        Returns:
            Versions; none of a file that was never seen to change. The first one's `patch` makes its text of nothing,
            each other one's of the text before; `text` does that. The hub waits some seconds for what it has yet to
            write down: of very much that was changed a moment ago the newest may come later.

        Raises:
            PermissionDenied: You are not on the project.
            InvalidArgument: The path leads out of the home.

        Example:
            ```python
            for version in await hub.sync.history(project_id, "homework.py"):
                print(version["seq"], version["event"], version["account_id"])
            ```
        """
        reply = await self._history(project_id, path, start_seq, end_seq)
        users = reply["info"].get("users", [])
        return [
            shapes.FileVersion(
                seq=entry["seq"],
                time=entry["time"],
                account_id=users[entry["mesg"]["user_id"]] if entry["mesg"]["user_id"] else None,
                event=entry["mesg"]["event"],
                is_snapshot=entry["mesg"].get("is_snapshot", False),
                patch=entry["mesg"]["patch"],
            )
            for entry in reply["patches"]
        ]

    async def text(self, project_id: str, path: str, seq: int | None = None) -> str:
        """The text of a file at one of its versions.

        Args:
            project_id: The project.
            path: The file, relative to the home.
            seq: Number of the version, as `history` tells it; None: the newest.

        Raises:
            NotFound: There is no such version.
            PermissionDenied: You are not on the project.

        Example:
            ```python
            first = (await hub.sync.history(project_id, "homework.py"))[0]["seq"]
            print(await hub.sync.text(project_id, "homework.py", first))
            ```
        """
        reply = await self._history(project_id, path, None, seq)
        found, info = reply["patches"], reply["info"]
        if not found or (seq is not None and found[-1]["seq"] != seq):
            kept = (
                f"those from {info['first_seq']} to {info['last_seq']} are kept"
                if "first_seq" in info
                else "it has no history"
            )
            raise NotFound(f"there is no version {'' if seq is None else f'{seq} '}of '{path}': {kept}")
        text = ""
        try:
            for entry in found:
                text = patches.apply_patch(text, json.loads(entry["mesg"]["patch"]))
        except ValueError as error:
            raise ProtocolError(f"the history of '{path}' does not fit together: {error}") from error
        return text

    async def checkpoint(self, project_id: str, path: str) -> shapes.Checkpoint:
        """Take a file into its history as it is now, such as after the project's own processes have changed it.

        Args:
            project_id: The project, which need not run.
            path: The file, relative to the home.

        Returns:
            `seq` and `time` (milliseconds since the epoch) of the newest version; `created`: whether it is a new one.

        Raises:
            NotFound: There is no such file.
            InvalidArgument: It is no text, or has more than 1 MB.
            PermissionDenied: You are not on the project, or only view it.

        Example:
            ```python
            await hub.sync.checkpoint(project_id, "homework.py")  # {'seq': 3, 'time': 1764252000000, 'created': True}
            ```
        """
        reply: shapes.Checkpoint = await self._call(
            "sync.checkpoint", shapes.MakeCheckpoint(project_id=project_id, path=path)
        )
        return reply

    async def _history(
        self, project_id: str, path: str, start_seq: int | None, end_seq: int | None
    ) -> shapes.SyncHistory:
        arguments = shapes.GetHistory(project_id=project_id, path=path, start_seq=start_seq, end_seq=end_seq)
        reply: shapes.SyncHistory = await self._call("sync.history", arguments)
        return reply

    async def _call(self, name: str, arguments: Any) -> Any:
        return await self._connection.call(_METHODS[name], of_method(_METHODS[name], arguments))
