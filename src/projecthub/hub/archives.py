"""Directories of projects as archives, out and in, whether a project runs or not.

Every method is for callers who are known to be on the project. Paths are relative to its home, or absolute as the
project sees it.
"""

from __future__ import annotations

import contextlib
import functools
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from projecthub.errors import Conflict
from projecthub.files import packing
from projecthub.files.changes import StagedFile
from projecthub.files.paths import DIRECTORY, open_beneath, same, shown, split
from projecthub.files.places import opened_home, told
from projecthub.files.unpacking import Unpacked, Unpacking
from projecthub.hub.files import gathered
from projecthub.hub.workplaces import path_in
from projecthub.wire.methods import Ability

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator

    from projecthub.files import Home
    from projecthub.files.packing import Form
    from projecthub.hub.principals import Principal
    from projecthub.hub.workplaces import Workplaces
    from projecthub.store.records import Project


@dataclass(frozen=True, slots=True)
class OpenDirectory:
    """A directory that is going to be packed.

    Attributes:
        home: The home that it is in.
        fd: The directory; whoever has it closes it.
        name: Its name; of the home: ``home``.
        is_home: Whether it is the home itself.
    """

    home: Home
    fd: int
    name: str
    is_home: bool


class Archives:
    """Packs and unpacks."""

    def __init__(self, workplaces: Workplaces) -> None:
        """Make the service."""
        self._workplaces = workplaces

    async def open(self, caller: Principal, project: Project, path: str, form: Form) -> OpenDirectory:
        """Open a directory to be packed.

        Raises:
            NotFound: Nothing is there.
            Conflict: It is no directory.
            InvalidArgument: It holds more than an archive of that form can.
        """
        home = await self._workplaces.home(caller, project)
        inner = path_in(home, path)

        def work() -> OpenDirectory:
            with opened_home(home.path) as home_fd, told(inner):
                try:
                    fd = open_beneath(home_fd, inner, DIRECTORY, follow=True)
                except NotADirectoryError as error:
                    raise Conflict(f"'{shown(inner)}' is no directory; download it as a file") from error
                try:
                    if form == "zip":
                        packing.require_few(fd)
                    is_home = same(os.fstat(fd), os.fstat(home_fd))
                    return OpenDirectory(home, fd, shown(split(inner)[1]) or "home", is_home)
                except BaseException:
                    os.close(fd)
                    raise

        return await self._workplaces.run(home, work)

    async def content(self, directory: OpenDirectory, form: Form) -> AsyncGenerator[bytes, None]:
        """The bytes of an archive, as they are asked for. To be closed before the directory is."""
        pieces = self._workplaces.pieces(
            directory.home, packing.packed(directory.fd, form, whole_home=directory.is_home)
        )
        async with contextlib.aclosing(pieces):
            async for piece in pieces:
                if piece:
                    yield piece

    async def unpack(
        self,
        caller: Principal,
        project: Project,
        path: str,
        form: Form,
        chunks: AsyncIterator[bytes],
        *,
        length: int | None = None,
    ) -> Unpacked:
        """Unpack an archive into a directory, which is made if it is missing.

        The archive is kept beside the home until all of it has come: who sends slowly holds nobody up, and what breaks
        off is never begun. It needs room on the disk meanwhile, and no more of the quota than what is in it.

        Args:
            caller: Who.
            project: Where.
            path: The directory.
            form: Of the archive.
            chunks: Its bytes.
            length: How many they are, if known.

        Raises:
            PermissionDenied, Conflict: The caller is not on the project any more, or it was deleted meanwhile.
            HubError: See `Unpacking.steps <projecthub.files.unpacking.Unpacking.steps>`; nothing was changed.
        """
        home = await self._workplaces.home(caller, project)
        inner, run = path_in(home, path), self._workplaces.run
        allowance = await self._workplaces.homes.reserve(project, length or 0)
        with contextlib.closing(allowance):
            staged = await run(home, lambda: StagedFile(home))
            try:
                async for piece in gathered(chunks):
                    allowance.take(len(piece))
                    await run(home, functools.partial(staged.write, piece))
                await self._workplaces.require_access(caller, project, Ability.WRITE)  # it may have come for hours
                allowance.begin_again()  # the archive goes; what is in it comes into its room
                async with self._workplaces.histories.recording(
                    project.project_id, caller.account_id, "unpacked"
                ) as keeper:
                    unpacking = Unpacking(home, inner, allowance.take, keeper)
                    async with contextlib.aclosing(
                        self._workplaces.pieces(home, unpacking.steps(staged.fd, form))
                    ) as steps:
                        async for _ in steps:
                            pass
            finally:
                await run(None, staged.close)
        done = unpacking.done
        event = {"event": "archive_unpacked", "path": shown(inner), "files": done.files, "bytes": done.bytes}
        await self._workplaces.note(caller, project, event)
        return done
