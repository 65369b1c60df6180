"""Projects as files, out of one hub and into another.

Source: docs/wire-extensions.md.
"""

from __future__ import annotations

import contextlib
import functools
import os
from typing import TYPE_CHECKING, Final

from projecthub import __version__
from projecthub.files.changes import StagedFile
from projecthub.files.exporting import Export, require_few
from projecthub.files.importing import Importing
from projecthub.files.paths import DIRECTORY
from projecthub.files.places import told
from projecthub.hub.archives import OpenDirectory
from projecthub.hub.beginnings import Beginning
from projecthub.hub.files import gathered
from projecthub.store.records import Selection
from projecthub.wire.shapes import CreateProject

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator

    from projecthub.files import Home
    from projecthub.files.keeping import Keeper
    from projecthub.hub.creation import Creation
    from projecthub.hub.principals import Principal
    from projecthub.hub.workplaces import Workplaces
    from projecthub.store import Store
    from projecthub.store.records import Project
    from projecthub.wire.ids import ProjectId
    from projecthub.wire.sharing import ImportedProject

_UNTITLED: Final = "Imported"


class Exports:
    """Exports and imports."""

    def __init__(self, store: Store, workplaces: Workplaces, creation: Creation) -> None:
        """Make the service."""
        self._store = store
        self._workplaces = workplaces
        self._creation = creation

    async def open(self, caller: Principal, project: Project) -> OpenDirectory:
        """Open a home to be exported. It is for callers who are known to be on the project.

        Raises:
            InvalidArgument: It holds more than an export can.
        """
        home = await self._workplaces.home(caller, project)

        def work() -> OpenDirectory:
            with told(""):
                fd = os.open(home.path, DIRECTORY | os.O_NOFOLLOW)
                try:
                    require_few(fd)
                    return OpenDirectory(home, fd, project.title, is_home=True)
                except BaseException:
                    os.close(fd)
                    raise

        return await self._workplaces.run(home, work)

    async def content(self, project: Project, home: OpenDirectory) -> AsyncGenerator[bytes, None]:
        """The bytes of an export, as they are asked for. To be closed before the home is."""
        wanted = Selection(columns=("title", "description", "color", "compute_image"))
        async with self._store.read() as tx:
            row = (await tx.projects.select(wanted, member=None, project_id=project.project_id))[0]
        export = Export(home.fd, {"hub_version": __version__, "project": row})
        async with contextlib.aclosing(self._workplaces.pieces(home.home, export.pieces())) as pieces:
            async for piece in pieces:
                if piece:
                    yield piece

    async def import_(
        self, caller: Principal, chunks: AsyncIterator[bytes], *, title: str | None = None, length: int | None = None
    ) -> ImportedProject:
        """Make a project of an export: all of it, or none.

        The export is kept beside the home that is to be until all of it has come, as `Archives.unpack` does.

        Args:
            caller: Becomes its owner.
            chunks: The bytes of the export.
            title: What the project is called; None: as it was.
            length: How many bytes there are, if known.

        Raises:
            InvalidArgument: It is no export, damaged, not whole, or holds what is refused.
            LimitError: There is no room for it.
            CallTimeout: Nothing came for long.
        """
        filling = _Import(self._workplaces, chunks, length)
        project_id = await self._creation.populate(caller, CreateProject(title=title), filling)
        done = filling.done
        return {"project_id": project_id, "files": done.files, "bytes": done.bytes, "left_out": filling.left_out}


class _Import:
    """Fills a home with an export.

    Attributes:
        done: What has been unpacked.
        left_out: What the export does not hold.
    """

    def __init__(self, workplaces: Workplaces, chunks: AsyncIterator[bytes], length: int | None) -> None:
        self._workplaces = workplaces
        self._chunks = chunks
        self._length = length
        self.left_out = 0

    async def fill(self, project_id: ProjectId, unix_slot: int, keeper: Keeper) -> Beginning:
        """See `Filling.fill`; histories begin with what is changed later."""
        homes, run = self._workplaces.homes, self._workplaces.run
        home = await homes.prepared(project_id, unix_slot)
        allowance = await homes.reserve_new(project_id, self._length or 0)
        with contextlib.closing(allowance):
            staged = await run(home, lambda: StagedFile(home))
            try:
                async for piece in gathered(self._chunks):
                    allowance.take(len(piece))
                    await run(home, functools.partial(staged.write, piece))
                allowance.begin_again()  # the export goes; what is in it comes into its room
                importing = Importing(home, "", allowance.take)
                await self._unpack(home, importing, staged.fd)
            finally:
                await run(None, staged.close)
        self.done, self.left_out = importing.done, importing.left_out
        manifest = importing.manifest
        return Beginning(
            title=_UNTITLED if manifest.title is None else manifest.title,
            description=manifest.description or "",
            compute_image=manifest.compute_image,
            looks={} if manifest.color is None else {"color": manifest.color},
            event={"imported": True, "files": self.done.files, "bytes": self.done.bytes},
        )

    async def _unpack(self, home: Home, importing: Importing, fd: int) -> None:
        async with contextlib.aclosing(self._workplaces.pieces(home, importing.steps_of(fd))) as steps:
            async for _ in steps:
                pass
