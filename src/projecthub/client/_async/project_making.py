from __future__ import annotations

import json
import math
import os
import uuid
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any, Final

from projecthub.client import replies
from projecthub.client._async.connection import AsyncConnection
from projecthub.client._async.file_transfers import pieces_of
from projecthub.client.requests import of_method
from projecthub.client.transfers import Local, Progress, reading, remaining
from projecthub.errors import ProtocolError
from projecthub.wire import shapes, sharing
from projecthub.wire.methods import METHODS, Endpoint

_METHODS = METHODS[Endpoint.HUB]
_PREPARING_S: Final = 3600.0
"""How long the hub may take to unpack an export that has come, or to find the next thing of one."""


class AsyncProjectMaking:
    """Projects that begin as others: the part of `projects` about clones, templates, exports."""

    _connection: AsyncConnection

    async def clone(
        self,
        project_id: str,
        title: str | None = None,
        *,
        exclude: list[str] | None = None,
        with_collaborators: bool = False,
        start: bool = False,
        progress: Progress | None = None,
    ) -> str:
        """Make a project of your own that is as another one is now: all of it, or none. Neither has to run.

        It has the files, the description, the looks, the image and the environment of that; not its people, licenses,
        course, jobs and trash.

        Args:
            project_id: The project to clone; that you may read it is enough.
            title: What the new one is called. Default: the same, with ``(copy)``.
            exclude: Patterns of names to leave out.
            with_collaborators: Have its people on it as well; its owners become collaborators.
            start: Start it in the background.
            progress: Called now and then with how many bytes are copied, and about how many there are.

        Returns:
            The new project's id.

        Raises:
            PermissionDenied: You are not on the project.
            Conflict: It is deleted.
            LimitError: There is no room for it.

        Example:
            ```python
            mine = await hub.projects.clone(project_id, "Another try", exclude=["*.log"])
            ```
        """
        arguments = sharing.CloneProject(
            project_id=project_id,
            title=title,
            exclude=exclude,
            with_collaborators=with_collaborators,
            start=start,
        )
        key = str(uuid.uuid4())
        if progress is not None:
            return await self._made(f"projects/{project_id}/clone", arguments, key, progress)
        request = of_method(
            _METHODS["projects.clone"], arguments, repeatable=True, wait_s=math.inf, headers={"idempotency-key": key}
        )
        reply: str = await self._connection.call(_METHODS["projects.clone"], request)
        return reply

    async def set_template(
        self, project_id: str, template: bool = True, *, everybody: bool | None = None
    ) -> sharing.TemplateSet:
        """Say whether new projects can begin as this one.

        Args:
            project_id: The project.
            template: Whether it is a template.
            everybody: Offer it to all who are signed in, for site admins; else it is for who is on the project.
                None: as it was.

        Raises:
            PermissionDenied: You may not change the project, or not offer it to everybody.
            Conflict: It is deleted.

        Example:
            ```python
            await hub.projects.set_template(project_id)
            mine = await hub.projects.create_project(template_id=project_id)
            ```
        """
        arguments = sharing.SetTemplate(project_id=project_id, template=template, everybody=everybody)
        method = _METHODS["projects.setTemplate"]
        reply: sharing.TemplateSet = await self._connection.call(method, of_method(method, arguments))
        return reply

    async def templates(self) -> list[sharing.Template]:
        """The projects that you can have new ones begin as, by their titles.

        Example:
            ```python
            for template in await hub.projects.templates():
                print(template["project_id"], template["title"])
            ```
        """
        method = _METHODS["projects.templates"]
        request = of_method(method, shapes.NoArguments(), repeatable=True)
        reply: list[sharing.Template] = await self._connection.call(method, request)
        return reply

    async def export(
        self, project_id: str, target: str | os.PathLike[str] | IO[bytes], *, progress: Progress | None = None
    ) -> int:
        """Write a whole project into one file: a tar.zst, which `import_` of any hub makes a project of again.

        Exporting the same files again gives the same bytes. Its environment, which may hold secrets, its people and its
        licenses are not in it; neither are its jobs and its trash.

        Args:
            project_id: The project; that you may read it is enough.
            target: A path on this machine, which gets its content when all of it is there; or an open binary file.
            progress: Called after each piece with how many bytes have come.

        Returns:
            The bytes of the file.

        Raises:
            TransportError: The connection was lost; a file that was given by its path is as it was.

        Example:
            ```python
            await hub.projects.export(project_id, "analysis.tar.zst")
            ```
        """
        if not isinstance(target, str | os.PathLike):
            return await self._export(project_id, target, progress)
        part = Path(target).with_name(f".{Path(target).name}.part-{uuid.uuid4().hex[:8]}")
        try:
            with part.open("xb") as file:
                size = await self._export(project_id, file, progress)
            part.replace(target)
            return size
        finally:
            part.unlink(missing_ok=True)

    async def _export(self, project_id: str, file: IO[bytes], progress: Progress | None) -> int:
        at = 0
        async with self._connection.native("GET", f"projects/{project_id}/export", wait_s=_PREPARING_S) as answer:
            async for piece in answer.aiter_bytes():
                file.write(piece)
                at += len(piece)
                if progress is not None:
                    progress(at, None)
        return at

    async def import_(
        self, source: Local, title: str | None = None, *, progress: Progress | None = None
    ) -> sharing.ImportedProject:
        """Make a project of your own from a file that `export` has written, on this hub or another: all of it, or none.

        Args:
            source: A path on this machine, bytes, or an open binary file.
            title: What it is called. Default: as it was.
            progress: Called after each piece with how many bytes are sent, and how many there are.

        Returns:
            `project_id`; `files` and `bytes` that it has; `left_out`: what the export does not hold, such as sockets.

        Raises:
            InvalidArgument: It is no export, damaged, or not whole.
            LimitError: There is no room for it.

        Example:
            ```python
            project_id = (await hub.projects.import_("analysis.tar.zst"))["project_id"]
            ```
        """
        with reading(source) as file:
            length = remaining(file)
            async with self._connection.native(
                "POST",
                "projects/import",
                params={"title": title},
                headers={} if length is None else {"content-length": str(length)},
                content=pieces_of(file, length, progress),
                wait_s=_PREPARING_S,
            ) as answer:
                await answer.aread()
                reply: sharing.ImportedProject = answer.json()
                return reply

    async def _made(self, path: str, arguments: Any, key: str, progress: Progress) -> str:
        """Have a project made, and pass on what is told meanwhile."""
        values = {name: value for name, value in asdict(arguments).items() if value is not None}
        last: dict[str, Any] = {}
        waiting = b""
        async with self._connection.native("POST", path, json=values, headers={"idempotency-key": key}) as answer:
            async for piece in answer.aiter_bytes():
                *lines, waiting = (waiting + piece).split(b"\n")
                for line in lines:
                    last = json.loads(line)
                    if "bytes" in last:
                        progress(last["bytes"], last["expected_bytes"])
        if "problem" in last:
            raise replies.told(last["problem"])
        if "project_id" not in last:
            raise ProtocolError(f"{self._connection.target.host} did not tell of what became of the project; look")
        return str(last["project_id"])
